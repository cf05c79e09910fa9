#include "backend/cpu/eltwise_steps.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The step for an operator and where its constants come from. */
static const struct {
    const char *name;
    uint8_t op;
    const char *attr_a, *attr_b;
    float a, b;
} rows[] = {
    {"Abs", HONE_EW_ABS, NULL, NULL, 0, 0},
    {"Add", HONE_EW_ADD, NULL, NULL, 0, 0},
    {"Ceil", HONE_EW_CEIL, NULL, NULL, 0, 0},
    {"Clip", HONE_EW_CLIP, NULL, NULL, 0, 0},
    {"Cos", HONE_EW_COS, NULL, NULL, 0, 0},
    {"Div", HONE_EW_DIV, NULL, NULL, 0, 0},
    {"Elu", HONE_EW_ELU, "alpha", NULL, 1, 0},
    {"Equal", HONE_EW_EQ, NULL, NULL, 0, 0},
    {"Erf", HONE_EW_ERF, NULL, NULL, 0, 0},
    {"Exp", HONE_EW_EXP, NULL, NULL, 0, 0},
    {"Floor", HONE_EW_FLOOR, NULL, NULL, 0, 0},
    {"Gelu", HONE_EW_GELU, NULL, NULL, 0, 0},
    {"Greater", HONE_EW_GT, NULL, NULL, 0, 0},
    {"GreaterOrEqual", HONE_EW_GE, NULL, NULL, 0, 0},
    {"HardSigmoid", HONE_EW_HARD_SIGMOID, "alpha", "beta", 0.2f, 0.5f},
    {"HardSwish", HONE_EW_HARD_SWISH, NULL, NULL, 1.0f / 6, 0.5f},
    {"LeakyRelu", HONE_EW_LEAKY, "alpha", NULL, 0.01f, 0},
    {"Less", HONE_EW_LT, NULL, NULL, 0, 0},
    {"LessOrEqual", HONE_EW_LE, NULL, NULL, 0, 0},
    {"Log", HONE_EW_LOG, NULL, NULL, 0, 0},
    {"Max", HONE_EW_MAX, NULL, NULL, 0, 0},
    {"Min", HONE_EW_MIN, NULL, NULL, 0, 0},
    {"Mish", HONE_EW_MISH, NULL, NULL, 0, 0},
    {"Mul", HONE_EW_MUL, NULL, NULL, 0, 0},
    {"Neg", HONE_EW_NEG, NULL, NULL, 0, 0},
    {"PRelu", HONE_EW_PRELU, NULL, NULL, 0, 0},
    {"Pow", HONE_EW_POW, NULL, NULL, 0, 0},
    {"Reciprocal", HONE_EW_RECIP, NULL, NULL, 0, 0},
    {"Relu", HONE_EW_RELU, NULL, NULL, 0, 0},
    {"Round", HONE_EW_ROUND, NULL, NULL, 0, 0},
    {"Sigmoid", HONE_EW_SIGMOID, NULL, NULL, 0, 0},
    {"Sin", HONE_EW_SIN, NULL, NULL, 0, 0},
    {"Softplus", HONE_EW_SOFTPLUS, NULL, NULL, 0, 0},
    {"Sqrt", HONE_EW_SQRT, NULL, NULL, 0, 0},
    {"Sub", HONE_EW_SUB, NULL, NULL, 0, 0},
    {"Swish", HONE_EW_SILU, "alpha", NULL, 1, 0},
    {"Tanh", HONE_EW_TANH, NULL, NULL, 0, 0},
    {"Where", HONE_EW_WHERE, NULL, NULL, 0, 0},
};

/* Clip's bounds must be known: they are constants of the step. */
static bool clip_bounds(const hone_node *n, const hone_tensor *const *value, hone_ew_step *step) {
    float bound[2] = {-INFINITY, INFINITY};
    for (int i = 1; i <= 2 && i < n->n_in; ++i) {
        if (!n->in[i])
            continue;
        if (!value[i] || value[i]->dtype != HONE_DTYPE_F32 || hone_tensor_count(value[i]) != 1)
            return false;
        bound[i - 1] = *(const float *)value[i]->data;
    }
    step->a = bound[0];
    step->b = bound[1];
    return true;
}

bool hone_eltwise_step(const hone_node *n, const hone_tensor *const *value, hone_ew_step *step,
                       const char **reason) {
    size_t i = 0, n_rows = sizeof rows / sizeof rows[0];
    while (i < n_rows && strcmp(rows[i].name, n->op_name) != 0)
        ++i;
    if (i == n_rows) {
        *reason = "no such step";
        return false;
    }
    *step = (hone_ew_step){.op = rows[i].op};
    step->a = rows[i].attr_a ? hone_attr_float(n, rows[i].attr_a, rows[i].a) : rows[i].a;
    step->b = rows[i].attr_b ? hone_attr_float(n, rows[i].attr_b, rows[i].b) : rows[i].b;
    if (step->op == HONE_EW_GELU && strcmp(hone_attr_string(n, "approximate", "none"), "tanh") == 0)
        step->op = HONE_EW_GELU_TANH;
    if (step->op == HONE_EW_CLIP) {
        *reason = "the bounds are not constant";
        return clip_bounds(n, value, step);
    }
    *reason = "another number of operands";
    return n->n_in == hone_ew_arity(step->op);
}

/* ---- attributes -------------------------------------------------------------------------------
 */

bool hone_eltwise_write(hone_graph *g, hone_node *n, const hone_ew_program *p) {
    int64_t sources[3 * HONE_EW_MAX_STEPS];
    float constants[2 * HONE_EW_MAX_STEPS];
    char ops[HONE_EW_MAX_STEPS * 24] = "";
    for (int i = 0; i < p->n_steps; ++i) {
        const hone_ew_step *s = &p->steps[i];
        size_t at = strlen(ops);
        snprintf(ops + at, sizeof ops - at, "%s%s", i ? " " : "", hone_ew_name(s->op));
        for (int k = 0; k < 3; ++k)
            sources[3 * i + k] = k < hone_ew_arity(s->op) ? s->src[k] : 0;
        constants[2 * i] = s->a;
        constants[2 * i + 1] = s->b;
    }
    return hone_attr_set_string(g, n, "ops", ops) &&
           hone_attr_set_ints(g, n, "sources", sources, 3 * p->n_steps) &&
           hone_attr_set_floats(g, n, "constants", constants, 2 * p->n_steps);
}

static int op_named(const char *name, size_t length) {
    for (int op = 0; op < HONE_EW_OP_COUNT; ++op) {
        if (strlen(hone_ew_name(op)) == length && memcmp(hone_ew_name(op), name, length) == 0)
            return op;
    }
    return -1;
}

bool hone_eltwise_read(const hone_node *n, hone_ew_program *p) {
    const int64_t *sources;
    const float *constants;
    const char *at = hone_attr_string(n, "ops", "");
    int n_sources = hone_attr_ints(n, "sources", &sources);
    int n_constants = hone_attr_floats(n, "constants", &constants);
    p->n_steps = 0;
    while (*at && p->n_steps < HONE_EW_MAX_STEPS) {
        size_t length = strcspn(at, " ");
        int i = p->n_steps++, op = op_named(at, length);
        at += length + (at[length] == ' ');
        if (op < 0 || 3 * i + 3 > n_sources || 2 * i + 2 > n_constants)
            return false;
        p->steps[i] =
            (hone_ew_step){.op = (uint8_t)op, .a = constants[2 * i], .b = constants[2 * i + 1]};
        for (int k = 0; k < hone_ew_arity(op); ++k) {
            if (sources[3 * i + k] < 0 || sources[3 * i + k] >= n->n_in + i)
                return false;
            p->steps[i].src[k] = (uint8_t)sources[3 * i + k];
        }
    }
    return p->n_steps > 0 && !*at && n_sources == 3 * p->n_steps && n_constants == 2 * p->n_steps &&
           n->n_in <= HONE_EW_MAX_IN;
}
