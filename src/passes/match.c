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

bool hone_same_shape(const hone_type *a, const hone_type *b) {
    if (a->kind != HONE_KIND_TENSOR || b->kind != HONE_KIND_TENSOR || a->rank < 0 ||
        a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; ++i) {
        if (!hone_same_dim(a->dims[i], b->dims[i]))
            return false;
    }
    return true;
}

bool hone_transpose_perm(const hone_node *n, int64_t perm[HONE_MAX_RANK], int *rank) {
    const int64_t *given;
    int n_perm = hone_attr_ints(n, "perm", &given);
    *rank = n_perm ? n_perm : n->in[0]->type.rank;
    if (*rank < 0 || *rank > HONE_MAX_RANK)
        return false;
    for (int i = 0; i < *rank; ++i) {
        perm[i] = n_perm ? given[i] : *rank - 1 - i;
        if (perm[i] < 0 || perm[i] >= *rank)
            return false;
    }
    return true;
}

static bool take_apart(hone_value *v, const hone_value *base, hone_product *p, bool is_root) {
    double c;
    bool may_open = v != base && (base || is_root || hone_used_once(v));
    hone_node *mul = may_open ? hone_made_by(v, "Mul") : NULL;
    hone_node *div = may_open ? hone_made_by(v, "Div") : NULL;
    hone_node *power = may_open && base ? hone_made_by(v, "Pow") : NULL;
    if (hone_const_scalar(v, &c)) {
        p->constant *= c;
        return true;
    }
    if (mul)
        return take_apart(mul->in[0], base, p, false) && take_apart(mul->in[1], base, p, false);
    if (div && hone_const_scalar(div->in[1], &c) && c != 0) {
        p->constant /= c;
        return take_apart(div->in[0], base, p, false);
    }
    int n = 1;
    if (power && power->in[0] == base && hone_const_scalar(power->in[1], &c) &&
        (c == 2.0 || c == 3.0)) {
        n = (int)c;
        v = power->in[0];
    }
    for (int i = 0; i < n; ++i) {
        if (p->n == HONE_MAX_FACTORS)
            return false;
        p->factor[p->n++] = v;
    }
    return true;
}

bool hone_product_of(hone_value *v, const hone_value *base, hone_product *p) {
    *p = (hone_product){.constant = 1};
    return take_apart(v, base, p, true);
}

hone_value *hone_alias_of(hone_value *const *alias, hone_value *v) {
    while (alias[v->id])
        v = alias[v->id];
    return v;
}

static void alias_captures(const hone_graph *sub, hone_value *const *alias) {
    for (int i = 0; i < sub->n_values; ++i) {
        hone_value *v = sub->values[i];
        if (v->outer)
            v->outer = hone_alias_of(alias, hone_value_mutable(v->outer));
    }
}

void hone_alias_apply(hone_graph *g, hone_value *const *alias) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; ++k) {
            if (n->in[k])
                n->in[k] = hone_alias_of(alias, n->in[k]);
        }
        for (int k = 0; k < n->n_attrs; ++k) {
            const hone_attr *a = &n->attrs[k];
            int n_graphs = a->kind == HONE_ATTR_GRAPH ? 1 : a->kind == HONE_ATTR_GRAPHS ? a->n : 0;
            for (int s = 0; s < n_graphs; ++s)
                alias_captures(a->kind == HONE_ATTR_GRAPH ? a->g : a->graphs[s], alias);
        }
    }
}
