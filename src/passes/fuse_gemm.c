/* Gemm in its simplest form: constant factors go into constants, a matrix product with its bias
 * becomes one. Of higher ranks, MatMul and Add stay: Gemm knows matrices only. */
#include "passes/rewrite.h"

/* The constant times x; NULL when v is no constant that only this node uses. */
static hone_value *scaled(hone_rewriter *r, hone_value *v, double x) {
    const hone_tensor *t = v && hone_used_once(v) ? v->constant : NULL;
    if (!t || !hone_dtype_in(t->dtype, HONE_T_FLOAT))
        return NULL;
    hone_tensor *copy = hone_rewrite_tensor(r, t->dtype, t->rank, t->dims);
    if (!copy)
        return NULL;
    for (int64_t i = 0, n = hone_tensor_count(t); i < n; ++i)
        hone_store_f64(t->dtype, copy->data, i, hone_load_f64(t->dtype, t->data, i) * x);
    return hone_rewrite_constant(r, v->name, copy);
}

static bool fold_factors(hone_rewriter *r) {
    hone_node *n = r->node;
    if (!hone_is(n, "Gemm"))
        return false;
    hone_value *bias = n->n_in > 2 ? n->in[2] : NULL;
    double alpha = (double)hone_attr_float(n, "alpha", 1);
    double beta = bias ? (double)hone_attr_float(n, "beta", 1) : 1;
    hone_value *b = alpha != 1 ? scaled(r, n->in[1], alpha) : NULL;
    hone_value *c = beta != 1 ? scaled(r, bias, beta) : NULL;
    if (!b && !c)
        return false;
    hone_value *in[3] = {n->in[0], b ? b : n->in[1], c ? c : bias};
    hone_node *made = hone_rewrite_replace(r, "Gemm", in, bias ? 3 : 2);
    if (!made || !hone_rewrite_attrs(r, made, n))
        return false;
    if (b)
        hone_attr_remove(made, "alpha");
    if (c)
        hone_attr_remove(made, "beta");
    return true;
}

/* MatMul of matrices, B constant, plus a constant bias of one row. */
static bool join_bias(hone_rewriter *r) {
    for (int i = 0; hone_is(r->node, "Add") && i < 2; ++i) {
        hone_node *n = hone_made_by(r->node->in[i], "MatMul");
        hone_value *bias = r->node->in[1 - i];
        if (!n || !hone_used_once(n->out[0]) || !bias->constant || !n->in[1]->constant)
            continue;
        const hone_tensor *b = n->in[1]->constant, *c = bias->constant;
        if (n->in[0]->type.rank != 2 || b->rank != 2 || c->rank != 1 || c->dims[0] != b->dims[1] ||
            b->dtype != c->dtype || !hone_dtype_in(b->dtype, HONE_T_FLOAT))
            continue;
        hone_value *in[3] = {n->in[0], n->in[1], bias};
        return hone_rewrite_replace(r, "Gemm", in, 3) != NULL;
    }
    return false;
}

hone_status hone_pass_fuse_gemm(hone_graph *g, int *n_changes, hone_error *err) {
    static const hone_rule rules[] = {join_bias, fold_factors};
    return hone_rewrite(g, rules, 2, n_changes, err);
}
