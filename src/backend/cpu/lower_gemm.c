#include <string.h>

#include "backend/cpu/fuse.h"
#include "backend/cpu/problem.h"

static bool is_f32_constant(const hone_value *v, int rank) {
    return v && v->constant && v->constant->dtype == HONE_DTYPE_F32 && v->constant->rank == rank;
}

static bool is_weight(const hone_value *v) {
    return is_f32_constant(v, 2) && hone_tensor_count(v->constant) > 0;
}

/* Gemm's C as a bias of n elements, if it is one. */
static bool is_bias(const hone_value *v, int64_t n) {
    if (!v)
        return true;
    const hone_tensor *t = v->constant;
    return t && t->dtype == HONE_DTYPE_F32 && hone_tensor_count(t) == n &&
           (t->rank == 1 || (t->rank == 2 && t->dims[0] == 1));
}

/* Inputs of the lowered node; false when the node is another kind of product. */
static bool takes(const hone_node *n, bool *trans_b) {
    const hone_value *a = n->n_in > 1 ? n->in[0] : NULL;
    *trans_b = false;
    if (n->domain[0] != '\0' || !a || a->type.dtype != HONE_DTYPE_F32 || a->type.rank < 2 ||
        !is_weight(n->in[1]))
        return false;
    if (strcmp(n->op_name, "MatMul") == 0)
        return true;
    if (strcmp(n->op_name, "Gemm") != 0 || hone_attr_int(n, "transA", 0) != 0)
        return false;
    *trans_b = hone_attr_int(n, "transB", 0) != 0;
    const hone_value *c = n->n_in > 2 ? n->in[2] : NULL;
    float alpha = hone_attr_float(n, "alpha", 1), beta = hone_attr_float(n, "beta", 1);
    return alpha == 1.0f && (!c || beta == 1.0f) && is_bias(c, n->in[1]->constant->dims[!*trans_b]);
}

hone_status hone_cpu_lower_gemm(hone_graph *g, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        bool trans_b;
        if (!takes(n, &trans_b))
            continue;
        const hone_tensor *w = n->in[1]->constant;
        hone_value *in[3] = {n->in[0], n->in[1], n->n_in > 2 ? n->in[2] : NULL};
        hone_node *made =
            hone_node_create(g, hone_op_find("hone", "Gemm"), n->name, in, 3, n->out, 1);
        if (!made || !hone_attr_set_int(g, made, "k", w->dims[trans_b]) ||
            !hone_attr_set_int(g, made, "out_channels", w->dims[!trans_b]) ||
            !hone_attr_set_int(g, made, "trans_b", trans_b))
            return hone_fail(err, HONE_E_NOMEM, "no memory to lower a product");
        made->origin = n->origin;
        g->nodes[i] = made;
    }
    return HONE_OK;
}
