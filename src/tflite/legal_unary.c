/* Element-wise operators of one operand. None cares about the order of dims. */
#include <math.h>
#include <string.h>

#include "tflite/legal_ops.h"

static const struct {
    const char *name;
    int code;
} codes[] = {
    {"Abs", TFL_ABS},   {"Neg", TFL_NEG},          {"Exp", TFL_EXP},
    {"Log", TFL_LOG},   {"Sqrt", TFL_SQRT},        {"Floor", TFL_FLOOR},
    {"Ceil", TFL_CEIL}, {"Round", TFL_ROUND},      {"Sin", TFL_SIN},
    {"Cos", TFL_COS},   {"Sign", TFL_SIGN},        {"Not", TFL_LOGICAL_NOT},
    {"Tanh", TFL_TANH}, {"Sigmoid", TFL_LOGISTIC}, {"HardSwish", TFL_HARD_SWISH},
};

/* The operand in its own order; results take the same. */
static int take(tfl_legal *l, const hone_node *n, int *perm) {
    tfl_order(l, n->in[0], perm);
    return tfl_take(l, n->in[0], perm);
}

static void finish(tfl_legal *l, const hone_node *n, int tensor, const int *perm) {
    tfl_alias(l, n->out[0], tensor, perm);
}

void tfl_legal_unary(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm), code = -1;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; ++i) {
        if (strcmp(codes[i].name, n->op_name) == 0)
            code = codes[i].code;
    }
    tfl_op1(l, code, x, tfl_give(l, n->out[0], perm));
}

void tfl_legal_identity(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    const hone_value *training = n->n_in > 2 ? n->in[2] : NULL; /* of Dropout */
    bool may_train = training && (!training->constant ||
                                  hone_load_f64(HONE_DTYPE_BOOL, training->constant->data, 0) != 0);
    if (may_train || (n->n_out > 1 && n->out[1] && n->out[1]->n_uses))
        tfl_refuse(l, n, "unsupported-form", "export for inference",
                   "elements dropped at random, or the mask of kept ones");
    finish(l, n, x, perm);
}

/* ---- limits -----------------------------------------------------------------------------------
 */

/* As the activation of what made the operand, or as an operator of its own. */
static void activate(tfl_legal *l, const hone_node *n, int activation, int code) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    if (tfl_fuse_activation(l, n->in[0], activation)) {
        l->model.tensors[x].name = n->out[0]->name; /* what it holds now */
        finish(l, n, x, perm);
    } else {
        tfl_op1(l, code, x, tfl_give(l, n->out[0], perm));
    }
}

void tfl_legal_relu(tfl_legal *l, const hone_node *n) {
    activate(l, n, TFL_ACT_RELU, TFL_RELU);
}

static bool limit(const hone_node *n, int at, double missing, double *v) {
    const hone_value *x = n->n_in > at ? n->in[at] : NULL;
    *v = missing;
    if (!x)
        return true;
    if (x->constant)
        *v = hone_load_f64(x->constant->dtype, x->constant->data, 0);
    return x->constant != NULL;
}

/* On integers: the same step of both the operand's and the result's quantisation. */
static bool is_same_limit(const tfl_legal *l, int x, double a, double b) {
    if (a == b || !l->is_integer || x < 0)
        return a == b;
    const tfl_tensor *t = &l->model.tensors[x];
    const tfl_stored *y = &l->target;
    return tfl_quantised(t->type, &t->quant, a) == tfl_quantised(t->type, &t->quant, b) &&
           tfl_quantised(y->type, &y->quant, a) == tfl_quantised(y->type, &y->quant, b);
}

void tfl_legal_clip(tfl_legal *l, const hone_node *n) {
    static const struct {
        double low, high;
        int activation, code;
    } known[] = {
        {0, INFINITY, TFL_ACT_RELU, TFL_RELU},
        {0, 6, TFL_ACT_RELU6, TFL_RELU6},
        {-1, 1, TFL_ACT_RELU_N1_TO_1, TFL_RELU_N1_TO_1},
    };
    double low, high;
    for (int i = 1; i < n->n_in; ++i) {
        if (!n->in[i] || n->in[i]->type.dtype == n->in[0]->type.dtype)
            continue;
        tfl_refuse(l, n, "unsupported-type", "store the limits in the type of the input",
                   "the limits are of another type than the input");
        return;
    }
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    bool is_constant = limit(n, 1, -INFINITY, &low);
    is_constant &= limit(n, 2, INFINITY, &high);
    bool is_float = tfl_type_of(n->in[0]->type.dtype) == TFL_F32;
    for (int i = 0; is_constant && is_float && i < 3; ++i) {
        bool is_known =
            is_same_limit(l, x, low, known[i].low) &&
            (is_same_limit(l, x, high, known[i].high) || (high > 3e38 && known[i].high > 3e38));
        if (is_known) {
            activate(l, n, known[i].activation, known[i].code);
            return;
        }
    }
    if (n->n_in > 1 && n->in[1])
        x = tfl_apply2(l, TFL_MAXIMUM, x,
                       l->is_integer ? tfl_const_like(l, x, (float)low)
                                     : tfl_take(l, n->in[1], NULL));
    if (n->n_in > 2 && n->in[2])
        x = tfl_apply2(l, TFL_MINIMUM, x,
                       l->is_integer ? tfl_const_like(l, x, (float)high)
                                     : tfl_take(l, n->in[2], NULL));
    finish(l, n, x, perm);
}

/* ---- composed of others -----------------------------------------------------------------------
 */

static int scale(tfl_legal *l, int x, float factor) {
    return factor == 1 ? x : tfl_apply2(l, TFL_MUL, x, tfl_const_f32(l, factor));
}

static int plus(tfl_legal *l, int x, float c) {
    return c == 0 ? x : tfl_apply2(l, TFL_ADD, x, tfl_const_f32(l, c));
}

void tfl_legal_leaky_relu(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    tfl_option_f32(tfl_op1(l, TFL_LEAKY_RELU, x, tfl_give(l, n->out[0], perm)), 0,
                   hone_attr_float(n, "alpha", 0.01F));
}

/* max(x, 0) + alpha * (exp(min(x, 0) / width) - 1) */
static int elu(tfl_legal *l, int x, float alpha, float width) {
    int low = tfl_apply2(l, TFL_MINIMUM, x, tfl_const_f32(l, 0));
    int bent = tfl_apply1(l, TFL_EXP, scale(l, low, 1 / width));
    bent = scale(l, plus(l, bent, -1), alpha);
    return tfl_apply2(l, TFL_ADD, tfl_apply1(l, TFL_RELU, x), bent);
}

void tfl_legal_elu(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    float alpha = hone_attr_float(n, "alpha", 1);
    if (alpha == 1)
        tfl_op1(l, TFL_ELU, x, tfl_give(l, n->out[0], perm));
    else
        finish(l, n, elu(l, x, alpha, 1), perm);
}

void tfl_legal_celu(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    float alpha = hone_attr_float(n, "alpha", 1);
    finish(l, n, elu(l, x, alpha, alpha), perm);
}

void tfl_legal_selu(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    float alpha = hone_attr_float(n, "alpha", 1.67326319F);
    float gamma = hone_attr_float(n, "gamma", 1.05070102F);
    finish(l, n, scale(l, elu(l, x, alpha, 1), gamma), perm);
}

void tfl_legal_thresholded_relu(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    int mask = tfl_like(l, x), number = tfl_like(l, x);
    if (mask < 0 || number < 0)
        return;
    l->model.tensors[mask].type = TFL_BOOL;
    tfl_op2(l, TFL_GREATER, x, tfl_const_f32(l, hone_attr_float(n, "alpha", 1)), mask);
    tfl_operator *op = tfl_op1(l, TFL_CAST, mask, number);
    tfl_option_byte(op, 0, TFL_BOOL);
    tfl_option_byte(op, 1, TFL_F32);
    finish(l, n, tfl_apply2(l, TFL_MUL, x, number), perm);
}

void tfl_legal_gelu(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    bool is_tanh = strcmp(hone_attr_string(n, "approximate", "none"), "tanh") == 0;
    tfl_option_byte(tfl_op1(l, TFL_GELU, x, tfl_give(l, n->out[0], perm)), 0, is_tanh);
}

void tfl_legal_swish(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    int gate = tfl_apply1(l, TFL_LOGISTIC, scale(l, x, hone_attr_float(n, "alpha", 1)));
    finish(l, n, tfl_apply2(l, TFL_MUL, x, gate), perm);
}

void tfl_legal_hard_sigmoid(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    float alpha = hone_attr_float(n, "alpha", 0.2F), beta = hone_attr_float(n, "beta", 0.5F);
    /* relu6(6 alpha x + 6 beta) / 6: the activation belongs to the addition. */
    int y = tfl_apply2(l, TFL_ADD, scale(l, x, 6 * alpha), tfl_const_f32(l, 6 * beta));
    if (y < 0)
        return;
    tfl_option_find(&l->model.operators[l->model.tensors[y].producer], 0)->i = TFL_ACT_RELU6;
    finish(l, n, scale(l, y, 1.0F / 6), perm);
}

/* max(x, 0) + log(1 + exp(-|x|)) */
static int softplus(tfl_legal *l, int x) {
    int small = tfl_apply1(l, TFL_EXP, tfl_apply1(l, TFL_NEG, tfl_apply1(l, TFL_ABS, x)));
    return tfl_apply2(l, TFL_ADD, tfl_apply1(l, TFL_RELU, x),
                      tfl_apply1(l, TFL_LOG, plus(l, small, 1)));
}

void tfl_legal_softplus(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    finish(l, n, softplus(l, x), perm);
}

void tfl_legal_softsign(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    finish(l, n, tfl_apply2(l, TFL_DIV, x, plus(l, tfl_apply1(l, TFL_ABS, x), 1)), perm);
}

/* x tanh(log(1 + e)), e = exp(x), is x m / (m + 2) with m = e (e + 2), without a logarithm that
 * cancels. From x = 20 on it is x. */
void tfl_legal_mish(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    int e = tfl_apply1(l, TFL_EXP, tfl_apply2(l, TFL_MINIMUM, x, tfl_const_f32(l, 20)));
    int m = tfl_apply2(l, TFL_MUL, e, plus(l, e, 2));
    finish(l, n, tfl_apply2(l, TFL_MUL, x, tfl_apply2(l, TFL_DIV, m, plus(l, m, 2))), perm);
}

void tfl_legal_reciprocal(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    tfl_no_activation(tfl_op2(l, TFL_DIV, tfl_const_f32(l, 1), x, tfl_give(l, n->out[0], perm)));
}

void tfl_legal_tan(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    finish(l, n, tfl_apply2(l, TFL_DIV, tfl_apply1(l, TFL_SIN, x), tfl_apply1(l, TFL_COS, x)),
           perm);
}

/* sign(x) (1 - (((((a5 t + a4) t) + a3) t + a2) t + a1) t exp(-x^2)), t = 1 / (1 + p |x|), within
 * 1.5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26). */
void tfl_legal_erf(tfl_legal *l, const hone_node *n) {
    static const float a[] = {1.061405429F, -1.453152027F, 1.421413741F, -0.284496736F,
                              0.254829592F};
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    int size = tfl_apply1(l, TFL_ABS, x), t = tfl_like(l, x);
    int sum = plus(l, scale(l, size, 0.3275911F), 1);
    tfl_no_activation(tfl_op2(l, TFL_DIV, tfl_const_f32(l, 1), sum, t));
    int p = scale(l, t, a[0]);
    for (int i = 1; i < 5; ++i)
        p = tfl_apply2(l, TFL_MUL, plus(l, p, a[i]), t);
    int bell = tfl_apply1(l, TFL_EXP, tfl_apply1(l, TFL_NEG, tfl_apply1(l, TFL_SQUARE, x)));
    int rest = tfl_apply1(l, TFL_NEG, tfl_apply2(l, TFL_MUL, p, bell));
    finish(l, n, tfl_apply2(l, TFL_MUL, tfl_apply1(l, TFL_SIGN, x), plus(l, rest, 1)), perm);
}

void tfl_legal_is_nan(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    tfl_op2(l, TFL_NOT_EQUAL, x, x, tfl_give(l, n->out[0], perm));
}

void tfl_legal_cast(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], x = take(l, n, perm);
    int from = tfl_type_of(n->in[0]->type.dtype), to = tfl_type_of(n->out[0]->type.dtype);
    if (from == to) {
        finish(l, n, x, perm);
        return;
    }
    tfl_operator *op = tfl_op1(l, TFL_CAST, x, tfl_give(l, n->out[0], perm));
    tfl_option_byte(op, 0, from);
    tfl_option_byte(op, 1, to);
}
