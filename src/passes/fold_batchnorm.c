/* Affine maps per channel folded into the weights before them.
 *
 * BatchNormalization with constant statistics, and Mul, Add, Sub and Div by constants of one
 * element a channel, are y = a[c] x + d[c]. After Conv, ConvTranspose and Gemm they go into weights
 * and bias, a scale after MatMul into its constant, also where a Transpose stands between, as in
 * channels-last exports; BatchNormalization elsewhere becomes Mul and Add. */
#include <math.h>

#include "passes/rewrite.h"

typedef struct affine {
    int64_t n;
    double *a, *d;
    hone_value *x;
} affine;

/* ---- reading the map --------------------------------------------------------------------------
 */

static bool make_affine(hone_rewriter *r, affine *f, int64_t n) {
    f->n = n;
    f->a = HONE_NEW_ARRAY(r->g->arena, double, n);
    f->d = HONE_NEW_ARRAY(r->g->arena, double, n);
    r->no_memory |= !f->a || !f->d;
    return f->a && f->d;
}

static bool is_float_constant(const hone_value *v) {
    return v && v->constant && v->constant->kind == HONE_KIND_TENSOR &&
           hone_dtype_in(v->constant->dtype, HONE_T_FLOAT);
}

static double at(const hone_value *v, int64_t i) {
    const hone_tensor *t = v->constant;
    return hone_load_f64(t->dtype, t->data, hone_tensor_count(t) == 1 ? 0 : i);
}

static bool read_batchnorm(hone_rewriter *r, affine *f) {
    const hone_node *n = r->node;
    if (!hone_is(n, "BatchNormalization") || hone_attr_int(n, "training_mode", 0) != 0)
        return false;
    for (int i = 1; i < n->n_out; ++i) {
        if (n->out[i] && n->out[i]->n_uses > 0)
            return false;
    }
    for (int i = 1; i < 5; ++i) {
        if (!is_float_constant(n->in[i]) || n->in[i]->constant->rank != 1 ||
            n->in[i]->constant->dims[0] != n->in[1]->constant->dims[0])
            return false;
    }
    f->x = n->in[0];
    if (!make_affine(r, f, n->in[1]->constant->dims[0]))
        return false;
    double epsilon = (double)hone_attr_float(n, "epsilon", 1e-5f);
    for (int64_t c = 0; c < f->n; ++c) {
        f->a[c] = at(n->in[1], c) / sqrt(at(n->in[4], c) + epsilon);
        f->d[c] = at(n->in[2], c) - at(n->in[3], c) * f->a[c];
    }
    return true;
}

/* Elements of v lie along `axis` of a tensor of this rank only: their number (1: the same for all
 * channels), or 0. */
static int64_t count_along(const hone_value *v, int rank, int axis) {
    if (!is_float_constant(v) || v->constant->rank > rank)
        return 0;
    const hone_tensor *t = v->constant;
    for (int i = 0; i < t->rank; ++i) {
        if (i + rank - t->rank != axis && t->dims[i] != 1)
            return 0;
    }
    return hone_tensor_count(t);
}

/* Mul, Add, Sub or Div with a constant; x has n channels on `axis`. A negative axis counts from the
 * end: that is MatMul's, which takes no shift. */
static bool read_arithmetic(hone_rewriter *r, int axis, int64_t n_channels, affine *f) {
    const hone_node *n = r->node;
    int k = hone_is(n, "Mul")   ? 0
            : hone_is(n, "Div") ? 1
            : hone_is(n, "Add") ? 2
            : hone_is(n, "Sub") ? 3
                                : -1;
    if (k < 0 || (k >= 2 && axis < 0))
        return false;
    int side = n->in[1]->constant ? 1 : 0;
    const hone_value *c = n->in[side];
    int rank = n->in[1 - side]->type.rank;
    int64_t count = count_along(c, rank, axis < 0 ? rank + axis : axis);
    if ((count != 1 && count != n_channels) || (k == 1 && side == 0) ||
        !make_affine(r, f, n_channels))
        return false;
    f->x = n->in[1 - side];
    for (int64_t i = 0; i < f->n; ++i) {
        double v = at(c, i), sign = k == 3 && side == 0 ? -1 : 1;
        f->a[i] = k == 0 ? v : k == 1 ? 1 / v : sign;
        f->d[i] = k < 2 ? 0 : k == 3 && side == 1 ? -v : v;
        if (!isfinite(f->a[i]))
            return false;
    }
    return true;
}

/* ---- weights ----------------------------------------------------------------------------------
 */

/* Where the output channels of an operator are: weights as [n_outer][n_channels][n_inner], with
 * channels of the outer groups one after the other for ConvTranspose. */
typedef struct layout {
    const char *op;
    int axis;           /* of the output's channels; -1: the last */
    int64_t n_channels; /* in all */
    int64_t outer, channels, inner, n_groups;
} layout;

static bool layout_of(const hone_node *n, layout *w) {
    if (!n || n->n_in < 2 || n->n_out != 1 || !is_float_constant(n->in[1]) ||
        n->in[1]->n_uses != 1 || !hone_used_once(n->out[0]))
        return false;
    const hone_tensor *t = n->in[1]->constant;
    int64_t count = hone_tensor_count(t), groups = hone_attr_int(n, "group", 1);
    *w = (layout){.op = n->op_name, .axis = 1, .outer = 1, .n_groups = 1};
    if (count == 0 || t->rank < 2)
        return false;
    if (hone_is(n, "Conv")) {
        w->channels = t->dims[0];
        w->inner = count / t->dims[0];
    } else if (hone_is(n, "ConvTranspose")) {
        if (groups < 1 || t->dims[0] % groups != 0)
            return false;
        w->n_groups = groups;
        w->outer = t->dims[0];
        w->channels = t->dims[1];
        w->inner = count / t->dims[0] / t->dims[1];
    } else if (hone_is(n, "Gemm") || hone_is(n, "MatMul")) {
        bool transposed = hone_is(n, "Gemm") && hone_attr_int(n, "transB", 0) != 0;
        if (t->rank != 2)
            return false;
        w->axis = n->op_name[0] == 'G' ? 1 : -1;
        w->channels = t->dims[transposed ? 0 : 1];
        w->inner = transposed ? t->dims[1] : 1;
        w->outer = transposed ? 1 : t->dims[0];
    } else {
        return false;
    }
    w->n_channels = w->channels * w->n_groups;
    return true;
}

static void scale_row(const hone_tensor *from, const hone_tensor *to, int64_t at_element, int64_t n,
                      double a) {
    if (from->dtype == HONE_DTYPE_F32) {
        const float *x = (const float *)from->data + at_element;
        float *y = (float *)to->data + at_element;
        for (int64_t i = 0; i < n; ++i)
            y[i] = (float)((double)x[i] * a);
        return;
    }
    for (int64_t i = at_element; i < at_element + n; ++i)
        hone_store_f64(to->dtype, to->data, i, hone_load_f64(from->dtype, from->data, i) * a);
}

static hone_value *scale_weights(hone_rewriter *r, hone_value *v, const layout *w,
                                 const double *a) {
    bool is_same = true;
    for (int64_t c = 0; c < w->n_channels; ++c)
        is_same = is_same && a[c] == 1;
    if (is_same)
        return v;
    const hone_tensor *from = v->constant;
    hone_tensor *to = hone_rewrite_tensor(r, from->dtype, from->rank, from->dims);
    if (!to)
        return NULL;
    int64_t per_group = w->outer / w->n_groups;
    for (int64_t o = 0; o < w->outer; ++o) {
        const double *scale = a + o / per_group * w->channels;
        for (int64_t c = 0; c < w->channels; ++c)
            scale_row(from, to, (o * w->channels + c) * w->inner, w->inner, scale[c]);
    }
    return hone_rewrite_constant(r, v->name, to);
}

/* bias * a + d; NULL without no_memory when the bias is not per channel. */
static hone_value *move_bias(hone_rewriter *r, const hone_node *n, const layout *w,
                             const affine *f) {
    hone_value *bias = n->n_in > 2 ? n->in[2] : NULL;
    double beta = hone_is(n, "Gemm") ? (double)hone_attr_float(n, "beta", 1) : 1;
    int64_t count = bias ? count_along(bias, 2, 1) : 0;
    if (bias && count != 1 && count != w->n_channels)
        return NULL;
    hone_tensor *t =
        hone_rewrite_tensor(r, n->in[1]->constant->dtype, 1, (const int64_t[]){w->n_channels});
    if (!t)
        return NULL;
    for (int64_t c = 0; c < w->n_channels; ++c)
        hone_store_f64(t->dtype, t->data, c, (bias ? beta * at(bias, c) : 0) * f->a[c] + f->d[c]);
    return hone_rewrite_constant(r, bias ? bias->name : n->in[1]->name, t);
}

/* ---- rules ------------------------------------------------------------------------------------
 */

static bool all_zero(const affine *f) {
    for (int64_t i = 0; i < f->n; ++i) {
        if (f->d[i] != 0)
            return false;
    }
    return true;
}

/* The layer anew in the place of r->node, the Transpose that moves its result (or NULL) behind it.
 */
static bool replace_layer(hone_rewriter *r, const hone_node *n, const hone_node *move,
                          hone_value *const *in, int n_in) {
    hone_node *made = move ? hone_rewrite_insert(r, n->op_name, in, n_in)
                           : hone_rewrite_replace(r, n->op_name, in, n_in);
    if (!made || !hone_rewrite_attrs(r, made, n))
        return false;
    hone_attr_remove(made, "beta");
    hone_node *moved = move ? hone_rewrite_replace(r, move->op_name, made->out, 1) : made;
    return moved && (!move || hone_rewrite_attrs(r, moved, move));
}

static bool fold_into(hone_rewriter *r, const hone_node *n, const hone_node *move, const layout *w,
                      const affine *f) {
    bool is_matmul = hone_is(n, "MatMul");
    if (f->n != w->n_channels || (is_matmul && !all_zero(f)))
        return false;
    hone_value *bias = is_matmul ? NULL : move_bias(r, n, w, f);
    hone_value *weights = is_matmul || bias ? scale_weights(r, n->in[1], w, f->a) : NULL;
    if (!weights)
        return false;
    return replace_layer(r, n, move, (hone_value *[]){n->in[0], weights, bias}, bias ? 3 : 2);
}

static bool fold_batchnorm(hone_rewriter *r) {
    affine f;
    layout w;
    hone_node *before = hone_is(r->node, "BatchNormalization") ? r->node->in[0]->producer : NULL;
    return layout_of(before, &w) && w.axis == 1 && r->node->in[0] == before->out[0] &&
           read_batchnorm(r, &f) && fold_into(r, before, NULL, &w, &f);
}

/* Where a Transpose puts an axis; -1 when that is not known. */
static int axis_behind(const hone_node *move, int axis) {
    int64_t perm[HONE_MAX_RANK];
    int rank;
    if (!hone_transpose_perm(move, perm, &rank))
        return -1;
    for (int i = 0; i < rank; ++i) {
        if (perm[i] == axis)
            return i;
    }
    return -1;
}

static bool fold_arithmetic(hone_rewriter *r) {
    const hone_node *n = r->node;
    if (n->n_in != 2 || n->domain[0] || !n->in[0] || !n->in[1] ||
        !n->in[0]->constant == !n->in[1]->constant)
        return false;
    hone_value *x = n->in[0]->constant ? n->in[1] : n->in[0];
    const hone_node *move = hone_used_once(x) ? hone_made_by(x, "Transpose") : NULL;
    const hone_node *before = move ? move->in[0]->producer : x->producer;
    affine f;
    layout w;
    if (!layout_of(before, &w) || x->type.rank < 2)
        return false;
    int axis = move ? axis_behind(move, w.axis) : w.axis;
    /* The result must have the shape of x: the constant has no more dims, checked when it is read,
     * and no larger ones, as it has one element or as many as there are channels. */
    return (!move || axis >= 0) && read_arithmetic(r, axis, w.n_channels, &f) &&
           fold_into(r, before, move, &w, &f);
}

static hone_value *channel_constant(hone_rewriter *r, const double *x, int64_t n) {
    const hone_type *type = &r->node->in[0]->type;
    int64_t dims[HONE_MAX_RANK] = {n};
    for (int i = 1; i < type->rank - 1; ++i)
        dims[i] = 1;
    hone_tensor *t = hone_rewrite_tensor(r, type->dtype, type->rank - 1, dims);
    if (!t)
        return NULL;
    for (int64_t i = 0; i < n; ++i)
        hone_store_f64(t->dtype, t->data, i, x[i]);
    return hone_rewrite_constant(r, r->node->in[1]->name, t);
}

static bool split_batchnorm(hone_rewriter *r) {
    if (!hone_is(r->node, "BatchNormalization"))
        return false;
    const hone_type *x = &r->node->in[0]->type;
    affine f;
    if (x->kind != HONE_KIND_TENSOR || x->rank < 2 || !hone_dtype_in(x->dtype, HONE_T_FLOAT) ||
        !read_batchnorm(r, &f))
        return false;
    hone_value *a = channel_constant(r, f.a, f.n), *d = channel_constant(r, f.d, f.n);
    hone_node *mul =
        a && d ? hone_rewrite_insert(r, "Mul", (hone_value *[]){r->node->in[0], a}, 2) : NULL;
    return mul && hone_rewrite_replace(r, "Add", (hone_value *[]){mul->out[0], d}, 2);
}

hone_status hone_pass_fold_batchnorm(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {fold_batchnorm, fold_arithmetic, split_batchnorm};
    return hone_rewrite(g, rules, (int)(sizeof rules / sizeof rules[0]), n_changes, err);
}
