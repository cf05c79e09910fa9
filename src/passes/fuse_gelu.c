/* Gelu from its formula: x / 2 * (1 + erf(x / sqrt 2)), or with
 * tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) in erf's place, in whatever order the products are. */
#include <math.h>

#include "passes/rewrite.h"

static const double half_root = 0.70710678118654752440, tanh_scale = 0.79788456080286535588,
                    cubic = 0.044715;

static bool is_near(double a, double b) {
    return fabs(a - b) <= 1e-4 * fabs(b);
}

static bool all_are(const hone_product *p, const hone_value *x, int n) {
    for (int i = 0; i < p->n; ++i) {
        if (p->factor[i] != x)
            return false;
    }
    return p->n == n;
}

/* v is c * x^n. */
static bool is_power(hone_value *v, const hone_value *x, double c, int n) {
    hone_product p;
    return hone_product_of(v, x, &p) && all_are(&p, x, n) && is_near(p.constant, c);
}

/* v is sqrt(2 / pi) * (x + 0.044715 x^3), or sqrt(2 / pi) * x * (1 + 0.044715 x^2). */
static bool is_tanh_argument(hone_value *v, hone_value *x) {
    hone_product p;
    if (!hone_product_of(v, x, &p) || !is_near(p.constant, tanh_scale) || p.n < 1 || p.n > 2)
        return false;
    hone_value *sum = p.factor[0] == x ? p.factor[p.n - 1] : p.factor[0];
    hone_node *add = hone_made_by(sum, "Add");
    if (!add || sum == x)
        return false;
    if (p.n == 1)
        return (add->in[0] == x && is_power(add->in[1], x, cubic, 3)) ||
               (add->in[1] == x && is_power(add->in[0], x, cubic, 3));
    hone_value *rest = hone_other_if_const(add, 1);
    return (p.factor[0] == x || p.factor[1] == x) && rest && is_power(rest, x, cubic, 2);
}

/* v is 1 + erf(...) or 1 + tanh(...) of x: gives the attribute's value, or NULL. */
static const char *match_bell(const hone_value *v, hone_value *x) {
    hone_node *add = hone_made_by(v, "Add");
    hone_value *inner = add ? hone_other_if_const(add, 1) : NULL;
    hone_node *erf = hone_made_by(inner, "Erf"), *curve = hone_made_by(inner, "Tanh");
    if (erf && is_power(erf->in[0], x, half_root, 1))
        return "none";
    if (curve && is_tanh_argument(curve->in[0], x))
        return "tanh";
    return NULL;
}

static bool gelu(hone_rewriter *r) {
    hone_node *n = r->node;
    hone_product p;
    if (!(hone_is(n, "Mul") || hone_is(n, "Div")) || !hone_product_of(n->out[0], NULL, &p) ||
        p.n != 2 || !is_near(p.constant, 0.5))
        return false;
    for (int i = 0; i < 2; ++i) {
        hone_value *x = p.factor[i];
        const char *form = match_bell(p.factor[1 - i], x);
        if (!form || !hone_same_dtype(&x->type, &n->out[0]->type) ||
            x->type.rank != n->out[0]->type.rank)
            continue;
        hone_node *made = hone_rewrite_replace(r, "Gelu", &x, 1);
        if (made && form[0] == 't' && !hone_attr_set_string(r->g, made, "approximate", form))
            r->no_memory = true;
        return made != NULL;
    }
    return false;
}

hone_status hone_pass_fuse_gelu(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {gelu};
    return hone_rewrite(g, rules, 1, n_changes, err);
}
