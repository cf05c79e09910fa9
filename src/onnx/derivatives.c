/* The derivative of each operator, in the canonical form of its attributes. */
#include <math.h>
#include <string.h>

#include "onnx/gradient.h"

static hone_value *mul(hone_grad *d, hone_value *a, hone_value *b) {
    return hone_grad_op2(d, "Mul", a, b);
}
static hone_value *quotient(hone_grad *d, hone_value *a, hone_value *b) {
    return hone_grad_op2(d, "Div", a, b);
}
static hone_value *add(hone_grad *d, hone_value *a, hone_value *b) {
    return hone_grad_op2(d, "Add", a, b);
}
static hone_value *sub(hone_grad *d, hone_value *a, hone_value *b) {
    return hone_grad_op2(d, "Sub", a, b);
}
static hone_value *neg(hone_grad *d, hone_value *a) {
    return hone_grad_op1(d, "Neg", a);
}
static hone_value *scaled(hone_grad *d, hone_value *a, double k) {
    return mul(d, a, hone_grad_number(d, k, a));
}
static hone_value *plus(hone_grad *d, hone_value *a, double k) {
    return add(d, a, hone_grad_number(d, k, a));
}
/* k - a */
static hone_value *from(hone_grad *d, double k, hone_value *a) {
    return sub(d, hone_grad_number(d, k, a), a);
}
static hone_value *square(hone_grad *d, hone_value *a) {
    return mul(d, a, a);
}
/* g where `a op b`, else 0 */
static hone_value *where(hone_grad *d, const char *op, hone_value *a, hone_value *b,
                         hone_value *g) {
    return hone_grad_op3(d, "Where", hone_grad_op2(d, op, a, b), g, hone_grad_number(d, 0, g));
}

static hone_value *in(const hone_grad *d, int i) {
    return i < d->n->n_in ? d->n->in[i] : NULL;
}

static double attr(const hone_grad *d, const char *name, double missing) {
    return (double)hone_attr_float(d->n, name, (float)missing);
}

/* ---- of one input, element by element ---------------------------------------------------------
 * UNARY(operator, derivative by x, multiplied by g, in terms of x, y = operator(x) and g) */

#define UNARY_LIST                                                                                 \
    UNARY(Abs, mul(d, g, hone_grad_op1(d, "Sign", x)))                                             \
    UNARY(Acos, neg(d, quotient(d, g, hone_grad_op1(d, "Sqrt", from(d, 1, square(d, x))))))        \
    UNARY(Acosh, quotient(d, g, hone_grad_op1(d, "Sqrt", plus(d, square(d, x), -1))))              \
    UNARY(Asin, quotient(d, g, hone_grad_op1(d, "Sqrt", from(d, 1, square(d, x)))))                \
    UNARY(Asinh, quotient(d, g, hone_grad_op1(d, "Sqrt", plus(d, square(d, x), 1))))               \
    UNARY(Atan, quotient(d, g, plus(d, square(d, x), 1)))                                          \
    UNARY(Atanh, quotient(d, g, from(d, 1, square(d, x))))                                         \
    UNARY(Cos, neg(d, mul(d, g, hone_grad_op1(d, "Sin", x))))                                      \
    UNARY(Cosh, mul(d, g, hone_grad_op1(d, "Sinh", x)))                                            \
    UNARY(Elu, elu(d, g, x, y, attr(d, "alpha", 1), 1))                                            \
    UNARY(Erf, mul(d, g, bell(d, x, 1, 1.1283791670955126)))                                       \
    UNARY(Exp, mul(d, g, y))                                                                       \
    UNARY(HardSigmoid, scaled(d,                                                                   \
                              where(d, "Less", y, hone_grad_number(d, 1, y),                       \
                                    where(d, "Greater", y, hone_grad_number(d, 0, y), g)),         \
                              attr(d, "alpha", 0.2)))                                              \
    UNARY(LeakyRelu, add(d, where(d, "GreaterOrEqual", x, hone_grad_number(d, 0, x), g),           \
                         scaled(d, where(d, "Less", x, hone_grad_number(d, 0, x), g),              \
                                attr(d, "alpha", 0.01))))                                          \
    UNARY(Log, quotient(d, g, x))                                                                  \
    UNARY(Neg, neg(d, g))                                                                          \
    UNARY(Reciprocal, neg(d, mul(d, g, square(d, y))))                                             \
    UNARY(Relu, where(d, "Greater", x, hone_grad_number(d, 0, x), g))                              \
    UNARY(Selu, elu(d, g, x, y, attr(d, "alpha", 1.67326324), attr(d, "gamma", 1.05070102)))       \
    UNARY(Sigmoid, mul(d, g, mul(d, y, from(d, 1, y))))                                            \
    UNARY(Sin, mul(d, g, hone_grad_op1(d, "Cos", x)))                                              \
    UNARY(Sinh, mul(d, g, hone_grad_op1(d, "Cosh", x)))                                            \
    UNARY(Softplus, mul(d, g, hone_grad_op1(d, "Sigmoid", x)))                                     \
    UNARY(Softsign, quotient(d, g, square(d, plus(d, hone_grad_op1(d, "Abs", x), 1))))             \
    UNARY(Sqrt, quotient(d, scaled(d, g, 0.5), y))                                                 \
    UNARY(Swish, swish(d, g, x))                                                                   \
    UNARY(Tan, mul(d, g, plus(d, square(d, y), 1)))                                                \
    UNARY(Tanh, mul(d, g, from(d, 1, square(d, y))))                                               \
    UNARY(ThresholdedRelu, where(d, "Greater", x, hone_grad_number(d, attr(d, "alpha", 1), x), g)) \
    UNARY(Gelu, mul(d, g, gelu(d, x)))

/* scale * exp(-k x^2) */
static hone_value *bell(hone_grad *d, hone_value *x, double k, double scale) {
    return scaled(d, hone_grad_op1(d, "Exp", scaled(d, square(d, x), -k)), scale);
}

/* gamma where x > 0, else y + gamma * alpha, which is gamma * alpha * exp(x). */
static hone_value *elu(hone_grad *d, hone_value *g, hone_value *x, hone_value *y, double alpha,
                       double gamma) {
    hone_value *zero = hone_grad_number(d, 0, x);
    hone_value *below = mul(d, g, plus(d, y, gamma * alpha));
    return add(d, where(d, "Greater", x, zero, scaled(d, g, gamma)),
               where(d, "LessOrEqual", x, zero, below));
}

static hone_value *swish(hone_grad *d, hone_value *g, hone_value *x) {
    hone_value *ax = scaled(d, x, attr(d, "alpha", 1)), *s = hone_grad_op1(d, "Sigmoid", ax);
    return mul(d, g, add(d, s, mul(d, ax, mul(d, s, from(d, 1, s)))));
}

static hone_value *gelu(hone_grad *d, hone_value *x) {
    if (strcmp(hone_attr_string(d->n, "approximate", "none"), "tanh") != 0) {
        hone_value *cdf =
            scaled(d, plus(d, hone_grad_op1(d, "Erf", scaled(d, x, 0.70710678118654752)), 1), 0.5);
        return add(d, cdf, mul(d, x, bell(d, x, 0.5, 0.3989422804014327)));
    }
    /* 0.5 x (1 + t), t = tanh(c (x + 0.044715 x^3)) */
    const double c = 0.7978845608028654;
    hone_value *xx = square(d, x);
    hone_value *u = scaled(d, mul(d, x, plus(d, scaled(d, xx, 0.044715), 1)), c);
    hone_value *t = hone_grad_op1(d, "Tanh", u);
    hone_value *du = plus(d, scaled(d, xx, 3 * 0.044715 * c), c);
    hone_value *slope = mul(d, mul(d, x, from(d, 1, square(d, t))), du);
    return scaled(d, add(d, plus(d, t, 1), slope), 0.5);
}

#define UNARY(op, formula)                                                                         \
    static void rule_##op(hone_grad *d) {                                                          \
        hone_value *g = d->g[0], *x = in(d, 0), *y = d->n->out[0];                                 \
        (void)x, (void)y;                                                                          \
        hone_grad_add(d, 0, formula);                                                              \
    }
UNARY_LIST
#undef UNARY

static void rule_same(hone_grad *d) {
    hone_grad_add(d, 0, d->g[0]);
}

/* Constant between jumps. */
static void rule_zero(hone_grad *d) {
    (void)d;
}

static void rule_cast(hone_grad *d) {
    if (in(d, 0) && hone_dtype_in(in(d, 0)->type.dtype, HONE_T_FLOAT))
        hone_grad_add(d, 0,
                      hone_grad_with_int(d, "Cast", d->g[0], NULL, "to", in(d, 0)->type.dtype));
}

static void rule_dropout(hone_grad *d) {
    if (in(d, 2))
        hone_grad_fail(d, HONE_E_UNSUPPORTED, "no derivative is known of Dropout in training");
    hone_grad_add(d, 0, d->g[0]);
}

static void rule_clip(hone_grad *d) {
    hone_value *g = d->g[0];
    if (in(d, 1))
        g = where(d, "GreaterOrEqual", in(d, 0), in(d, 1), g);
    if (in(d, 2))
        g = where(d, "LessOrEqual", in(d, 0), in(d, 2), g);
    hone_grad_add(d, 0, g);
}

/* ---- of several inputs, which broadcast -------------------------------------------------------
 */

static void rule_sum(hone_grad *d) {
    double share = strcmp(d->n->op_name, "Mean") == 0 ? 1.0 / d->n->n_in : 1;
    hone_value *g = share == 1 ? d->g[0] : scaled(d, d->g[0], share);
    for (int i = 0; i < d->n->n_in; ++i)
        hone_grad_add_broadcast(d, i, g);
}

static void rule_sub(hone_grad *d) {
    hone_grad_add_broadcast(d, 0, d->g[0]);
    hone_grad_add_broadcast(d, 1, neg(d, d->g[0]));
}

static void rule_mul(hone_grad *d) {
    hone_grad_add_broadcast(d, 0, mul(d, d->g[0], in(d, 1)));
    hone_grad_add_broadcast(d, 1, mul(d, d->g[0], in(d, 0)));
}

static void rule_div(hone_grad *d) {
    hone_value *g = quotient(d, d->g[0], in(d, 1));
    hone_grad_add_broadcast(d, 0, g);
    hone_grad_add_broadcast(d, 1, neg(d, mul(d, g, d->n->out[0])));
}

/* x^p: p x^(p-1) by x, and y ln x by p, where x > 0. */
static void rule_pow(hone_grad *d) {
    hone_value *x = in(d, 0), *p = in(d, 1), *g = d->g[0];
    if (!x || !p || x->type.dtype != p->type.dtype) {
        hone_grad_fail(d, HONE_E_UNSUPPORTED, "no derivative is known of Pow with two types");
        return;
    }
    hone_value *less = hone_grad_op2(d, "Pow", x, plus(d, p, -1));
    hone_grad_add_broadcast(d, 0, mul(d, g, mul(d, p, less)));
    hone_value *zero = hone_grad_number(d, 0, x);
    hone_value *log = hone_grad_op3(d, "Where", hone_grad_op2(d, "Greater", x, zero),
                                    hone_grad_op1(d, "Log", x), zero);
    hone_grad_add_broadcast(d, 1, mul(d, g, mul(d, d->n->out[0], log)));
}

/* Max, Min: to every input that is the result; shared among equals. */
static void rule_extreme(hone_grad *d) {
    hone_value *y = d->n->out[0], *hit[16], *total = NULL;
    if (d->n->n_in > 16) {
        hone_grad_fail(d, HONE_E_UNSUPPORTED, "no derivative is known of %s of more than 16 inputs",
                       d->n->op_name);
        return;
    }
    for (int i = 0; i < d->n->n_in; ++i) {
        hone_value *one = hone_grad_number(d, 1, y);
        hit[i] = where(d, "Equal", in(d, i), y, one);
        total = total ? add(d, total, hit[i]) : hit[i];
    }
    for (int i = 0; i < d->n->n_in; ++i)
        hone_grad_add_broadcast(d, i, quotient(d, mul(d, d->g[0], hit[i]), total));
}

static void rule_where(hone_grad *d) {
    hone_value *g = d->g[0], *zero = hone_grad_number(d, 0, g);
    hone_grad_add_broadcast(d, 1, hone_grad_op3(d, "Where", in(d, 0), g, zero));
    hone_grad_add_broadcast(d, 2, hone_grad_op3(d, "Where", in(d, 0), zero, g));
}

static void rule_prelu(hone_grad *d) {
    hone_value *x = in(d, 0), *zero = hone_grad_number(d, 0, x), *g = d->g[0];
    hone_grad_add(d, 0,
                  add(d, where(d, "GreaterOrEqual", x, zero, g),
                      where(d, "Less", x, zero, mul(d, g, in(d, 1)))));
    hone_grad_add_broadcast(d, 1, where(d, "Less", x, zero, mul(d, g, x)));
}

/* ---- products ---------------------------------------------------------------------------------
 */

static hone_value *unsqueezed(hone_grad *d, hone_value *x, int64_t axis) {
    return hone_grad_op2(d, "Unsqueeze", x, hone_grad_ints(d, &axis, 1));
}

/* x with its last two axes swapped. */
static hone_value *swapped(hone_grad *d, hone_value *x) {
    int64_t perm[HONE_MAX_RANK];
    int rank = x ? x->type.rank : 0;
    for (int i = 0; i < rank; ++i)
        perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    hone_node *n = hone_grad_node(d, "Transpose", &x, 1);
    if (n && !hone_attr_set_ints(d->a->g, n, "perm", perm, rank))
        hone_grad_fail(d, HONE_E_NOMEM, "out of memory while importing");
    return hone_grad_emit(d, n);
}

/* Vectors are matrices of one row or column, whose axis the result lacks. */
static void rule_matmul(hone_grad *d) {
    hone_value *a = in(d, 0), *b = in(d, 1), *g = d->g[0];
    if (!a || !b || a->type.rank < 1 || b->type.rank < 1) {
        hone_grad_fail(d, HONE_E_UNSUPPORTED, "no derivative is known of MatMul of unknown ranks");
        return;
    }
    bool row = a->type.rank == 1, column = b->type.rank == 1;
    if (row)
        a = unsqueezed(d, a, 0);
    if (column)
        b = unsqueezed(d, b, 1);
    if (column)
        g = unsqueezed(d, g, -1);
    if (row)
        g = unsqueezed(d, g, -2);
    hone_value *da = hone_grad_op2(d, "MatMul", g, swapped(d, b));
    hone_value *db = hone_grad_op2(d, "MatMul", swapped(d, a), g);
    int64_t axis = -2;
    if (row && da) /* [..., 1, k] -> [..., k], which broadcasts from [k] */
        da = hone_grad_op2(d, "Squeeze", da, hone_grad_ints(d, &axis, 1));
    axis = -1;
    if (column && db)
        db = hone_grad_op2(d, "Squeeze", db, hone_grad_ints(d, &axis, 1));
    hone_grad_add_broadcast(d, 0, da);
    hone_grad_add_broadcast(d, 1, db);
}

static hone_value *gemm(hone_grad *d, hone_value *a, hone_value *b, bool ta, bool tb) {
    hone_node *n = hone_grad_node(d, "Gemm", (hone_value *[]){a, b}, 2);
    hone_graph *g = d->a->g;
    if (n && (!hone_attr_set_int(g, n, "transA", ta) || !hone_attr_set_int(g, n, "transB", tb) ||
              !hone_attr_set_float(g, n, "alpha", hone_attr_float(d->n, "alpha", 1))))
        hone_grad_fail(d, HONE_E_NOMEM, "out of memory while importing");
    return hone_grad_emit(d, n);
}

static void rule_gemm(hone_grad *d) {
    bool ta = hone_attr_int(d->n, "transA", 0) != 0, tb = hone_attr_int(d->n, "transB", 0) != 0;
    hone_value *a = in(d, 0), *b = in(d, 1), *g = d->g[0];
    hone_grad_add(d, 0, ta ? gemm(d, b, g, tb, true) : gemm(d, g, b, false, !tb));
    hone_grad_add(d, 1, tb ? gemm(d, g, a, true, ta) : gemm(d, a, g, !ta, false));
    if (in(d, 2))
        hone_grad_add_broadcast(d, 2, scaled(d, g, attr(d, "beta", 1)));
}

/* ---- reductions -------------------------------------------------------------------------------
 */

/* A value of the result's shape with the reduced axes as ones. */
static hone_value *kept(hone_grad *d, hone_value *v) {
    if (hone_attr_int(d->n, "keepdims", 1) != 0 || !in(d, 1))
        return v; /* without axes a scalar remains, which broadcasts */
    return hone_grad_op2(d, "Unsqueeze", v, in(d, 1));
}

static hone_value *expanded(hone_grad *d, hone_value *v, hone_value *like) {
    return hone_grad_op2(d, "Expand", v, hone_grad_op1(d, "Shape", like));
}

/* Elements of x for each element of y, as a number of v's type. */
static hone_value *share(hone_grad *d, hone_value *x, hone_value *y, hone_value *v) {
    hone_value *n =
        hone_grad_op2(d, "Div", hone_grad_op1(d, "Size", x), hone_grad_op1(d, "Size", y));
    return v ? quotient(d, v, hone_grad_with_int(d, "Cast", n, NULL, "to", v->type.dtype)) : NULL;
}

static void rule_reduce(hone_grad *d) {
    const char *op = d->n->op_name + strlen("Reduce");
    hone_value *x = in(d, 0), *y = d->n->out[0], *g = kept(d, d->g[0]), *full = kept(d, y);
    if (strcmp(op, "Mean") == 0)
        g = share(d, x, y, g);
    else if (strcmp(op, "SumSquare") == 0)
        g = mul(d, g, scaled(d, x, 2));
    else if (strcmp(op, "L1") == 0)
        g = mul(d, g, hone_grad_op1(d, "Sign", x));
    else if (strcmp(op, "L2") == 0)
        g = mul(d, g, quotient(d, x, full));
    else if (strcmp(op, "LogSum") == 0)
        g = quotient(d, g, hone_grad_op1(d, "Exp", full));
    else if (strcmp(op, "LogSumExp") == 0)
        g = mul(d, g, hone_grad_op1(d, "Exp", sub(d, x, full)));
    hone_grad_add(d, 0, expanded(d, g, x));
}

/* ReduceMax, ReduceMin: shared among the elements that are the result. */
static void rule_reduce_extreme(hone_grad *d) {
    hone_value *x = in(d, 0), *full = kept(d, d->n->out[0]), *g = kept(d, d->g[0]);
    hone_value *hit = where(d, "Equal", x, full, hone_grad_number(d, 1, x)), *n;
    bool noop = !in(d, 1) && hone_attr_int(d->n, "noop_with_empty_axes", 0) != 0;
    if (noop)
        n = hit;
    else if (in(d, 1))
        n = hone_grad_with_int(d, "ReduceSum", hit, in(d, 1), "keepdims", 1);
    else
        n = hone_grad_with_int(d, "ReduceSum", hit, NULL, "keepdims", 1);
    hone_grad_add(d, 0, mul(d, quotient(d, hit, n), g));
}

static void rule_global_mean(hone_grad *d) {
    hone_value *x = in(d, 0);
    hone_grad_add(d, 0, expanded(d, share(d, x, d->n->out[0], d->g[0]), x));
}

/* Softmax: y (g - sum of g y); LogSoftmax: g - exp(y) sum of g. */
static void rule_softmax(hone_grad *d) {
    bool is_log = d->n->op_name[0] == 'L';
    int64_t axis = hone_attr_int(d->n, "axis", -1);
    hone_value *g = d->g[0], *y = d->n->out[0];
    if (hone_attr_int(d->n, "hone_flatten", 0)) {
        hone_grad_fail(d, HONE_E_UNSUPPORTED, "no derivative is known of %s before version 13",
                       d->n->op_name);
        return;
    }
    hone_value *sum = hone_grad_with_int(d, "ReduceSum", is_log ? g : mul(d, g, y),
                                         hone_grad_ints(d, &axis, 1), "keepdims", 1);
    hone_grad_add(d, 0,
                  is_log ? sub(d, g, mul(d, hone_grad_op1(d, "Exp", y), sum))
                         : mul(d, y, sub(d, g, sum)));
}

/* ---- data movement ----------------------------------------------------------------------------
 */

static void rule_reshape(hone_grad *d) {
    hone_grad_add(d, 0, hone_grad_reshape(d, d->g[0], in(d, 0)));
}

static void rule_transpose(hone_grad *d) {
    const int64_t *perm;
    int64_t back[HONE_MAX_RANK];
    int n = hone_attr_ints(d->n, "perm", &perm);
    hone_node *t = hone_grad_node(d, "Transpose", d->g, 1);
    for (int i = 0; i < n && i < HONE_MAX_RANK; ++i)
        if (perm[i] >= 0 && perm[i] < n)
            back[perm[i]] = i;
    if (t && n && !hone_attr_set_ints(d->a->g, t, "perm", back, n))
        hone_grad_fail(d, HONE_E_NOMEM, "out of memory while importing");
    hone_grad_add(d, 0, hone_grad_emit(d, t));
}

/* Operators that only choose and repeat elements of input 0: apply them to the elements' indices,
 * and add each derivative where its element came from. */
static void rule_moved(hone_grad *d) {
    hone_value *list[8], *x = in(d, 0);
    if (d->n->n_in > 8)
        return;
    for (int i = 0; i < d->n->n_in; ++i)
        list[i] = d->n->in[i];
    list[0] = hone_grad_index(d, x);
    int n_in = d->n->n_in;
    while (n_in > 1 && !list[n_in - 1])
        --n_in;
    if (!list[0])
        return;
    hone_node *n = hone_node_create(d->a->g, d->n->op, d->a->n->name, list, n_in, d->n->out, 1);
    hone_value *at = n ? hone_graph_fresh(d->a->g, "at") : NULL;
    if (!at) {
        hone_grad_fail(d, HONE_E_NOMEM, "out of memory while importing");
        return;
    }
    n->out[0] = at;
    n->op_name = d->n->op_name;
    n->origin = d->a->n->origin;
    n->attrs = d->n->attrs; /* adapters are done with it: shared */
    n->n_attrs = d->n->n_attrs;
    hone_grad_add(d, 0, hone_grad_scatter(d, x, hone_grad_emit(d, n), d->g[0]));
}

static void rule_scatter(hone_grad *d) {
    int64_t axis = hone_attr_int(d->n, "axis", 0);
    if (strcmp(hone_attr_string(d->n, "reduction", "none"), "add") != 0) {
        hone_grad_fail(d, HONE_E_UNSUPPORTED,
                       "no derivative is known of ScatterElements that does not add");
        return;
    }
    hone_grad_add(d, 0, d->g[0]);
    hone_grad_add(d, 2, hone_grad_with_int(d, "GatherElements", d->g[0], in(d, 1), "axis", axis));
}

/* Part i goes back to input i: sizes along the axis from the inputs' shapes. */
static void rule_concat(hone_grad *d) {
    int64_t axis = hone_attr_int(d->n, "axis", 0), at = 0;
    hone_value *from_dim = hone_grad_ints(d, &at, 1), *axes = hone_grad_ints(d, &axis, 1);
    for (int i = 0; i < d->n->n_in; ++i) {
        hone_value *shape = hone_grad_op1(d, "Shape", in(d, i));
        hone_value *index = hone_grad_ints(d, &axis, 1);
        hone_value *size = hone_grad_op2(d, "Gather", shape, index);
        hone_value *end = add(d, from_dim, size);
        hone_value *part[4] = {d->g[0], from_dim, end, axes};
        hone_grad_add(d, i, hone_grad_emit(d, hone_grad_node(d, "Slice", part, 4)));
        from_dim = end;
    }
}

static void rule_split(hone_grad *d) {
    hone_value **parts = HONE_NEW_ARRAY(d->a->g->arena, hone_value *, d->n->n_out);
    for (int i = 0; parts && i < d->n->n_out; ++i) {
        if (!d->n->out[i]) {
            hone_grad_fail(d, HONE_E_UNSUPPORTED,
                           "no derivative is known of Split with omitted "
                           "outputs");
            return;
        }
        parts[i] = d->g[i] ? d->g[i] : hone_grad_full(d, d->n->out[i], 0);
    }
    hone_node *n = parts ? hone_grad_node(d, "Concat", parts, d->n->n_out) : NULL;
    if (n && !hone_attr_set_int(d->a->g, n, "axis", hone_attr_int(d->n, "axis", 0)))
        hone_grad_fail(d, HONE_E_NOMEM, "out of memory while importing");
    hone_grad_add(d, 0, hone_grad_emit(d, n));
}

/* ---- the table --------------------------------------------------------------------------------
 */

hone_grad_rule hone_grad_rule_of(const hone_node *n) {
    static const struct {
        const char *op;
        hone_grad_rule rule;
    } table[] = {
#define UNARY(op, formula) {#op, rule_##op},
        UNARY_LIST
#undef UNARY
        {"Identity", rule_same},
        {"Cast", rule_cast},
        {"CastLike", rule_cast},
        {"Dropout", rule_dropout},
        {"Clip", rule_clip},
        {"Floor", rule_zero},
        {"Ceil", rule_zero},
        {"Round", rule_zero},
        {"Sign", rule_zero},
        {"Add", rule_sum},
        {"Sum", rule_sum},
        {"Mean", rule_sum},
        {"Sub", rule_sub},
        {"Mul", rule_mul},
        {"Div", rule_div},
        {"Pow", rule_pow},
        {"Max", rule_extreme},
        {"Min", rule_extreme},
        {"Where", rule_where},
        {"PRelu", rule_prelu},
        {"MatMul", rule_matmul},
        {"Gemm", rule_gemm},
        {"ReduceSum", rule_reduce},
        {"ReduceMean", rule_reduce},
        {"ReduceSumSquare", rule_reduce},
        {"ReduceL1", rule_reduce},
        {"ReduceL2", rule_reduce},
        {"ReduceLogSum", rule_reduce},
        {"ReduceLogSumExp", rule_reduce},
        {"ReduceMax", rule_reduce_extreme},
        {"ReduceMin", rule_reduce_extreme},
        {"GlobalAveragePool", rule_global_mean},
        {"Softmax", rule_softmax},
        {"LogSoftmax", rule_softmax},
        {"Reshape", rule_reshape},
        {"Flatten", rule_reshape},
        {"Squeeze", rule_reshape},
        {"Unsqueeze", rule_reshape},
        {"Transpose", rule_transpose},
        {"Expand", rule_moved},
        {"Tile", rule_moved},
        {"Slice", rule_moved},
        {"Gather", rule_moved},
        {"GatherElements", rule_moved},
        {"GatherND", rule_moved},
        {"DepthToSpace", rule_moved},
        {"SpaceToDepth", rule_moved},
        {"ScatterElements", rule_scatter},
        {"Concat", rule_concat},
        {"Split", rule_split},
    };
    for (size_t i = 0; n->domain[0] == '\0' && i < sizeof table / sizeof table[0]; ++i)
        if (strcmp(table[i].op, n->op_name) == 0)
            return table[i].rule;
    return NULL;
}
