/* Element-wise nodes on the chain kernel: a program of one step. */
#include <math.h>
#include <string.h>

#include "backend/cpu/impl.h"

enum { GRAIN = 1 << 15 };

typedef struct eltwise_state {
    hone_ew_program program;
    hone_ew_fn *fn;
    int n_in;
    size_t scratch_bytes; /* of one thread */
} eltwise_state;

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

static bool step_for(const hone_node *n, hone_ew_step *step) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
        if (strcmp(rows[i].name, n->op_name) != 0)
            continue;
        step->op = rows[i].op;
        step->a = rows[i].attr_a ? hone_attr_float(n, rows[i].attr_a, rows[i].a) : rows[i].a;
        step->b = rows[i].attr_b ? hone_attr_float(n, rows[i].attr_b, rows[i].b) : rows[i].b;
        if (step->op == HONE_EW_GELU &&
            strcmp(hone_attr_string(n, "approximate", "none"), "tanh") == 0)
            step->op = HONE_EW_GELU_TANH;
        return true;
    }
    return false;
}

/* Strides of an operand against the result's dims; 0 where it is repeated. */
static void strides_of(const hone_type *t, const hone_type *out, int64_t *stride) {
    int64_t step = 1;
    for (int i = out->rank - 1; i >= 0; --i) {
        int k = i - (out->rank - t->rank);
        int64_t dim = k < 0 ? 1 : t->dims[k];
        stride[i] = dim == 1 ? 0 : step;
        step *= dim;
    }
}

/* Clip's bounds must be known, they are constants of the step. */
static hone_status clip_bounds(hone_prepare_ctx *c, hone_ew_step *step) {
    float bound[2] = {-INFINITY, INFINITY};
    for (int i = 1; i <= 2 && i < c->n_in; ++i) {
        if (!c->node->in[i])
            continue;
        HONE_REJECT_IF(!c->value[i] || hone_tensor_count(c->value[i]) != 1,
                       "the bounds are not constant");
        bound[i - 1] = *(const float *)c->value[i]->data;
    }
    step->a = bound[0];
    step->b = bound[1];
    return HONE_OK;
}

static hone_status set_operands(hone_prepare_ctx *c, eltwise_state *s) {
    hone_ew_program *p = &s->program;
    p->n_in = hone_ew_arity(p->steps[0].op);
    for (int i = 0; i < p->n_in; ++i) {
        const hone_type *t = &c->in[i];
        bool is_bool = t->dtype == HONE_DTYPE_BOOL;
        HONE_REJECT_IF(!hone_is_f32(t) && !(is_bool && i == 0 && p->steps[0].op == HONE_EW_WHERE),
                       "an operand is not float32");
        p->in_type[i] = is_bool ? HONE_EW_U8 : HONE_EW_F32;
        p->steps[0].src[i] = (uint8_t)i;
        strides_of(t, &c->out[0], p->strides[i]);
    }
    return HONE_OK;
}

hone_status hone_prepare_eltwise(hone_prepare_ctx *c, void **state) {
    const hone_type *out = &c->out[0];
    eltwise_state *s = HONE_NEW(c->arena, eltwise_state);
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    hone_ew_program *p = &s->program;
    HONE_REJECT_IF(!step_for(c->node, &p->steps[0]), "no such step");
    HONE_REJECT_IF(out->rank > HONE_EW_MAX_RANK, "the rank is too high");
    HONE_REJECT_IF(out->dtype != HONE_DTYPE_F32 && out->dtype != HONE_DTYPE_BOOL,
                   "the result is not float32");
    bool is_clip = p->steps[0].op == HONE_EW_CLIP;
    HONE_REJECT_IF(!is_clip && c->n_in != hone_ew_arity(p->steps[0].op),
                   "another number of operands");
    if (is_clip)
        HONE_TRY(clip_bounds(c, &p->steps[0]));
    p->rank = out->rank;
    memcpy(p->dims, out->dims, sizeof p->dims[0] * (size_t)out->rank);
    if (p->rank == 0) {
        p->rank = 1;
        p->dims[0] = 1;
    }
    HONE_TRY(set_operands(c, s));
    p->n_steps = p->n_out = 1;
    p->out_type[0] = out->dtype == HONE_DTYPE_BOOL ? HONE_EW_U8 : HONE_EW_F32;
    p->out_value[0] = (uint8_t)p->n_in;
    HONE_REJECT_IF(!hone_ew_prepare(p), "the program does not fit");
    s->n_in = p->n_in;
    s->fn = hone_vec()->eltwise;
    s->scratch_bytes = (hone_ew_scratch_bytes(p) + 63) / 64 * 64;
    c->scratch_bytes = s->scratch_bytes * (size_t)c->n_threads + 64;
    *state = s;
    return HONE_OK;
}

typedef struct eltwise_job {
    const eltwise_state *s;
    const void *in[HONE_EW_MAX_IN];
    void *out[1];
    unsigned char *scratch;
} eltwise_job;

static void eltwise_range(void *arg, int64_t begin, int64_t end, int worker) {
    eltwise_job *j = arg;
    j->s->fn(&j->s->program, j->in, j->out, begin, end,
             j->scratch + (size_t)worker * j->s->scratch_bytes);
}

hone_status hone_run_eltwise(hone_op_ctx *c) {
    const eltwise_state *s = c->state;
    eltwise_job j = {.s = s, .out = {hone_out(c, 0)->data}};
    for (int i = 0; i < s->n_in; ++i)
        j.in[i] = hone_in(c, i)->data;
    j.scratch = hone_op_scratch(c, s->scratch_bytes * (size_t)hone_pool_threads(c->pool) + 1);
    if (!j.scratch)
        return HONE_E_NOMEM;
    hone_parallel_range(c->pool, s->program.n_elements, GRAIN, eltwise_range, &j);
    return HONE_OK;
}
