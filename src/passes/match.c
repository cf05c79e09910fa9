#include "passes/match.h"

#include <math.h>
#include <stdio.h>

bool hone_const_scalar(const hone_value *v, double *out) {
    if (!v || !v->constant || hone_tensor_count(v->constant) != 1 ||
        !hone_dtype_is_float(v->constant->dtype))
        return false;
    *out = hone_load_f64(v->constant->dtype, v->constant->data, 0);
    return true;
}

bool hone_const_is(const hone_value *v, double x) {
    double c;
    return hone_const_scalar(v, &c) && fabs(c - x) <= 1e-4 * fabs(x);
}

int hone_input_of(const hone_node *n, const hone_value *v) {
    return n->in[0] == v ? 0 : n->in[1] == v ? 1 : -1;
}

hone_value *hone_other_if_const(const hone_node *n, double x) {
    if (hone_const_is(n->in[1], x))
        return n->in[0];
    return hone_const_is(n->in[0], x) ? n->in[1] : NULL;
}

hone_node *hone_only_user(const hone_graph *g, const hone_value *v) {
    if (v->n_uses != 1)
        return NULL;
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        for (int k = 0; n && k < n->n_in; ++k) {
            if (n->in[k] == v)
                return n;
        }
    }
    return NULL;
}

int hone_position(const hone_graph *g, const hone_node *n) {
    for (int i = 0; i < g->n_nodes; ++i) {
        if (g->nodes[i] == n)
            return i;
    }
    return -1;
}

hone_node *hone_replace_node(hone_graph *g, hone_node *last, const char *domain, const char *name,
                             hone_value *const *in, int n_in) {
    const hone_op_def *op = hone_op_find(domain, name);
    int at = hone_position(g, last);
    if (!op || at < 0)
        return NULL;
    hone_node *n = hone_node_create(g, op, last->name, in, n_in, last->out, 1);
    if (!n)
        return NULL;
    n->origin = last->origin;
    g->nodes[at] = n;
    return n;
}

int hone_const_ints(const hone_value *v, int64_t *out, int max) {
    if (!v || !v->constant || v->constant->rank > 1 ||
        !hone_dtype_in(v->constant->dtype, HONE_T_INT))
        return -1;
    int64_t n = hone_tensor_count(v->constant);
    if (n > max)
        return -1;
    for (int64_t i = 0; i < n; ++i)
        out[i] = hone_load_i64(v->constant->dtype, v->constant->data, i);
    return (int)n;
}
