/* Gated activations from their formulas: Swish x * sigmoid(a x), HardSwish x * clip(x + 3, 0, 6) /
 * 6 and x * hardsigmoid(x), Mish x * tanh(softplus(x)). */
#include <math.h>

#include "passes/rewrite.h"

static bool is_near(double a, double b) {
    return fabs(a - b) <= 1e-4 * fabs(b);
}

/* v is sigmoid(alpha * x). */
static bool match_sigmoid(const hone_value *v, const hone_value *x, double *alpha) {
    hone_node *n = hone_made_by(v, "Sigmoid");
    hone_product p;
    if (!n || !hone_product_of(n->in[0], x, &p) || p.n != 1 || p.factor[0] != x)
        return false;
    *alpha = p.constant;
    return true;
}

static bool is_hard_sigmoid(const hone_value *v, const hone_value *x) {
    hone_node *n = hone_made_by(v, "HardSigmoid");
    return n && n->in[0] == x && is_near((double)hone_attr_float(n, "alpha", 0.2f), 1.0 / 6) &&
           is_near((double)hone_attr_float(n, "beta", 0.5f), 0.5);
}

/* v is clip(x + 3, 0, 6). */
static bool is_shifted_clip(const hone_value *v, const hone_value *x) {
    hone_node *clip = hone_made_by(v, "Clip");
    double low;
    if (!clip || clip->n_in != 3 || !hone_const_scalar(clip->in[1], &low) || low != 0 ||
        !hone_const_is(clip->in[2], 6))
        return false;
    hone_node *add = hone_made_by(clip->in[0], "Add");
    return add && hone_other_if_const(add, 3) == x;
}

static bool is_mish_gate(const hone_value *v, const hone_value *x) {
    hone_node *curve = hone_made_by(v, "Tanh");
    hone_node *soft = curve ? hone_made_by(curve->in[0], "Softplus") : NULL;
    return soft && soft->in[0] == x;
}

/* The operator for constant * x * gate, or NULL. */
static const char *match_gate(double constant, const hone_value *gate, const hone_value *x,
                              double *alpha) {
    *alpha = 1;
    if (is_near(constant, 1) && match_sigmoid(gate, x, alpha))
        return "Swish";
    if (is_near(constant, 1) && is_hard_sigmoid(gate, x))
        return "HardSwish";
    if (is_near(constant, 1.0 / 6) && is_shifted_clip(gate, x))
        return "HardSwish";
    return is_near(constant, 1) && is_mish_gate(gate, x) ? "Mish" : NULL;
}

static bool silu(hone_rewriter *r) {
    hone_node *n = r->node;
    hone_product p;
    if (!(hone_is(n, "Mul") || hone_is(n, "Div")) || !hone_product_of(n->out[0], NULL, &p) ||
        p.n != 2)
        return false;
    for (int i = 0; i < 2; ++i) {
        hone_value *x = p.factor[i];
        double alpha;
        const char *op = match_gate(p.constant, p.factor[1 - i], x, &alpha);
        if (!op || !hone_same_dtype(&x->type, &n->out[0]->type) ||
            x->type.rank != n->out[0]->type.rank)
            continue;
        hone_node *made = hone_rewrite_replace(r, op, &x, 1);
        if (made && alpha != 1 && !hone_attr_set_float(r->g, made, "alpha", (float)alpha))
            r->no_memory = true;
        return made != NULL;
    }
    return false;
}

hone_status hone_pass_fuse_silu(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {silu};
    return hone_rewrite(g, rules, 1, n_changes, err);
}
