/* LayerNormalization and RMSNormalization from their formulas, as exporters write them out:
 *   d = x - mean(x), y = d / sqrt(mean(d^2) + eps) [* scale [+ bias]]
 *   y = x / sqrt(mean(x^2) + eps) * scale
 * and the order of TensorFlow: y = x * s + (bias - mean(x) * s) with s = scale / sqrt(...).
 * The division may be by way of Reciprocal; the means are over the trailing axes. */
#include "passes/rewrite.h"

typedef struct norm {
    hone_value *x;
    int n_axes; /* trailing ones */
    double epsilon;
    bool is_centred; /* the mean is subtracted */
} norm;

/* v is the mean of its input over the last axes, dims kept: their number, 0 if not. */
static int match_mean(const hone_value *v, hone_value **in) {
    hone_node *n = hone_made_by(v, "ReduceMean");
    int64_t axes[HONE_MAX_RANK];
    if (!n || n->n_in != 2 || hone_attr_int(n, "keepdims", 1) != 1)
        return 0;
    int rank = n->in[0]->type.rank, n_axes = hone_const_ints(n->in[1], axes, HONE_MAX_RANK);
    unsigned seen = 0;
    for (int i = 0; i < n_axes; ++i) {
        int64_t a = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (a < rank - n_axes || a >= rank)
            return 0;
        seen |= 1u << (rank - 1 - a);
    }
    *in = n->in[0];
    return n_axes > 0 && seen == (1u << n_axes) - 1 ? n_axes : 0;
}

/* v is the square of something. */
static hone_value *match_square(const hone_value *v) {
    hone_node *power = hone_made_by(v, "Pow"), *mul = hone_made_by(v, "Mul");
    double c;
    if (power && hone_const_scalar(power->in[1], &c) && c == 2)
        return power->in[0];
    return mul && mul->in[0] == mul->in[1] ? mul->in[0] : NULL;
}

/* v is x minus the mean of x over the last n axes. */
static hone_value *match_centred(const hone_value *v, int n_axes) {
    hone_node *sub = hone_made_by(v, "Sub");
    hone_value *in = NULL;
    return sub && match_mean(sub->in[1], &in) == n_axes && in == sub->in[0] ? in : NULL;
}

/* v is sqrt(mean(d^2) + eps): gives d, n_axes and epsilon. */
static hone_value *match_deviation(const hone_value *v, norm *m) {
    hone_node *root = hone_made_by(v, "Sqrt");
    hone_node *add = root ? hone_made_by(root->in[0], "Add") : NULL;
    if (!add)
        return NULL;
    hone_value *square = NULL, *mean = add->in[0];
    if (!hone_const_scalar(add->in[1], &m->epsilon)) {
        mean = add->in[1];
        if (!hone_const_scalar(add->in[0], &m->epsilon))
            return NULL;
    }
    m->n_axes = match_mean(mean, &square);
    return m->n_axes && m->epsilon >= 0 ? match_square(square) : NULL;
}

/* v is 1 / sqrt(mean(d^2) + eps). */
static hone_value *match_inverse(const hone_value *v, norm *m) {
    hone_node *inverse = hone_made_by(v, "Reciprocal"), *div = hone_made_by(v, "Div");
    if (inverse)
        return match_deviation(inverse->in[0], m);
    return div && hone_const_is(div->in[0], 1) ? match_deviation(div->in[1], m) : NULL;
}

/* v is d / sqrt(mean(d^2) + eps), d being x or x minus its mean. */
static bool match_core(const hone_value *v, norm *m) {
    hone_node *div = hone_made_by(v, "Div"), *mul = hone_made_by(v, "Mul");
    hone_value *d = NULL;
    if (div && match_deviation(div->in[1], m) == div->in[0])
        d = div->in[0];
    for (int i = 0; mul && !d && i < 2; ++i) {
        if (match_inverse(mul->in[i], m) == mul->in[1 - i])
            d = mul->in[1 - i];
    }
    if (!d)
        return false;
    hone_value *x = match_centred(d, m->n_axes);
    m->is_centred = x != NULL;
    m->x = x ? x : d;
    return true;
}

/* The constant seen as a tensor of the normalised dims; NULL when it is not one. */
static hone_value *as_parameter(hone_rewriter *r, hone_value *v, const norm *m) {
    const hone_type *x = &m->x->type;
    const hone_tensor *t = v ? v->constant : NULL;
    const int64_t *dims = x->dims + x->rank - m->n_axes;
    if (!t || t->dtype != x->dtype || t->rank < m->n_axes ||
        hone_tensor_count(t) != hone_dims_count(dims, 0, m->n_axes) || t->rank > x->rank)
        return NULL;
    for (int i = 0; i < m->n_axes; ++i) {
        if (t->dims[t->rank - m->n_axes + i] != dims[i])
            return NULL;
    }
    if (t->rank == m->n_axes)
        return v;
    hone_tensor *view = HONE_NEW(r->g->arena, hone_tensor); /* the leading ones left out */
    if (view)
        *view = hone_tensor_view(t->dtype, m->n_axes, dims, t->data);
    return hone_rewrite_constant(r, v->name, view);
}

/* A parameter of equal elements. */
static hone_value *make_parameter(hone_rewriter *r, const norm *m, double x) {
    const hone_type *type = &m->x->type;
    hone_tensor *t =
        hone_rewrite_tensor(r, type->dtype, m->n_axes, type->dims + type->rank - m->n_axes);
    if (!t)
        return NULL;
    for (int64_t i = 0, n = hone_tensor_count(t); i < n; ++i)
        hone_store_f64(t->dtype, t->data, i, x);
    return hone_rewrite_constant(r, "scale", t);
}

/* The normalised dims are known and both operators compute with at least the type's precision. */
static bool is_supported(const norm *m) {
    const hone_type *x = &m->x->type;
    if (x->kind != HONE_KIND_TENSOR || x->rank < m->n_axes ||
        !hone_dtype_in(x->dtype, HONE_T(F32) | HONE_T(F16) | HONE_T(BF16)))
        return false;
    for (int i = x->rank - m->n_axes; i < x->rank; ++i) {
        if (x->dims[i] <= 0)
            return false;
    }
    return true;
}

static bool put(hone_rewriter *r, const norm *m, hone_value *scale, hone_value *bias) {
    hone_value *in[3] = {m->x, scale, bias};
    const char *op = m->is_centred ? "LayerNormalization" : "RMSNormalization";
    hone_node *n = scale ? hone_rewrite_replace(r, op, in, bias ? 3 : 2) : NULL;
    if (!n)
        return false;
    if (!hone_attr_set_int(r->g, n, "axis", -m->n_axes) ||
        !hone_attr_set_float(r->g, n, "epsilon", (float)m->epsilon))
        r->no_memory = true;
    return true;
}

/* core * scale + bias */
static bool scaled_and_shifted(hone_rewriter *r) {
    for (int i = 0; hone_is(r->node, "Add") && i < 2; ++i) {
        hone_node *mul = hone_made_by(r->node->in[i], "Mul");
        for (int k = 0; mul && k < 2; ++k) {
            norm m;
            if (!match_core(mul->in[k], &m) || !m.is_centred || !is_supported(&m))
                continue;
            hone_value *scale = as_parameter(r, mul->in[1 - k], &m);
            hone_value *bias = as_parameter(r, r->node->in[1 - i], &m);
            if (scale && bias)
                return put(r, &m, scale, bias);
        }
    }
    return false;
}

static bool scaled(hone_rewriter *r) {
    for (int k = 0; hone_is(r->node, "Mul") && k < 2; ++k) {
        norm m;
        if (!match_core(r->node->in[k], &m) || !is_supported(&m))
            continue;
        hone_value *scale = as_parameter(r, r->node->in[1 - k], &m);
        if (scale)
            return put(r, &m, scale, NULL);
    }
    return false;
}

static bool plain(hone_rewriter *r) {
    norm m;
    return (hone_is(r->node, "Div") || hone_is(r->node, "Mul")) &&
           match_core(r->node->out[0], &m) && is_supported(&m) &&
           put(r, &m, make_parameter(r, &m, 1), NULL);
}

/* LayerNormalization with a scale only, and its bias added after. */
static bool shifted(hone_rewriter *r) {
    for (int i = 0; hone_is(r->node, "Add") && i < 2; ++i) {
        hone_node *n = hone_made_by(r->node->in[i], "LayerNormalization");
        if (!n || n->n_in != 2 || !hone_used_once(n->out[0]) || n->n_out != 1)
            continue;
        norm m = {.x = n->in[0], .is_centred = true};
        m.n_axes = (int)-hone_attr_int(n, "axis", -1);
        m.epsilon = (double)hone_attr_float(n, "epsilon", 1e-5f);
        if (m.n_axes < 1 || hone_attr_int(n, "stash_type", 1) != 1 || !is_supported(&m))
            continue;
        hone_value *bias = as_parameter(r, r->node->in[1 - i], &m);
        if (bias)
            return put(r, &m, n->in[1], bias);
    }
    return false;
}

/* s = scale / sqrt(mean(d^2) + eps), d = x minus its mean. */
static hone_value *match_factor(hone_rewriter *r, const hone_value *s, norm *m) {
    hone_node *mul = hone_made_by(s, "Mul");
    for (int i = 0; mul && i < 2; ++i) {
        hone_value *d = match_inverse(mul->in[i], m);
        m->x = d ? match_centred(d, m->n_axes) : NULL;
        if (m->x && is_supported(m))
            return as_parameter(r, mul->in[1 - i], m);
    }
    return NULL;
}

/* x * s + (bias - mean(x) * s) */
static bool distributed(hone_rewriter *r) {
    for (int i = 0; hone_is(r->node, "Add") && i < 2; ++i) {
        hone_node *mul = hone_made_by(r->node->in[i], "Mul");
        hone_node *sub = hone_made_by(r->node->in[1 - i], "Sub");
        hone_node *shift = sub ? hone_made_by(sub->in[1], "Mul") : NULL;
        for (int k = 0; mul && shift && k < 2; ++k) {
            norm m = {.is_centred = true};
            hone_value *s = mul->in[k], *in = NULL, *scale = match_factor(r, s, &m);
            int at = scale && m.x == mul->in[1 - k] ? hone_input_of(shift, s) : -1;
            if (at < 0 || match_mean(shift->in[1 - at], &in) != m.n_axes || in != m.x)
                continue;
            hone_value *bias = as_parameter(r, sub->in[0], &m);
            if (bias)
                return put(r, &m, scale, bias);
        }
    }
    return false;
}

hone_status hone_pass_fuse_norm(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {scaled_and_shifted, distributed, shifted, scaled, plain};
    return hone_rewrite(g, rules, (int)(sizeof rules / sizeof rules[0]), n_changes, err);
}
