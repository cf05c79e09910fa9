/* Transposes that reshapes keep apart: where a value is another one seen through strides, one
 * reshape and one transpose make it, whatever the steps between. Exporters write detection heads
 * so: [n, h, w, a * c] to [n, a * c, h, w] to [n, a, c, h * w] to [n, a, h * w, c]. */
#include <string.h>

#include "backend/cpu/fuse.h"
#include "backend/cpu/view.h"
#include "ir/op.h"

/* The base's dims as they lie in memory, ones left out, and where each dim of the view comes from.
 */
typedef struct order {
    int rank;
    int64_t dims[HONE_MAX_RANK], perm[HONE_MAX_RANK];
} order;

static bool is_transpose(const hone_node *n) {
    return n && n->domain[0] == '\0' && strcmp(n->op_name, "Transpose") == 0;
}

/* False when the view is no permutation of all that the base holds. */
static bool order_of(const hone_view *v, order *o) {
    int source[HONE_MAX_RANK], n = 0; /* dims of the view by falling stride */
    *o = (order){0};
    for (int i = 0; i < v->rank; ++i) {
        if (v->dims[i] == 1)
            continue;
        int at = n++;
        for (; at > 0 && v->stride[source[at - 1]] < v->stride[i]; --at)
            source[at] = source[at - 1];
        source[at] = i;
    }
    int64_t step = 1;
    for (int k = n - 1; k >= 0; --k) {
        if (v->stride[source[k]] != step)
            return false;
        step *= v->dims[source[k]];
        o->dims[k] = v->dims[source[k]];
    }
    for (int i = 0; i < v->rank; ++i) {
        for (int k = 0; k < n && v->dims[i] != 1; ++k) {
            if (source[k] == i)
                o->perm[o->rank++] = k;
        }
    }
    return v->offset == 0 && step == hone_dims_count(v->base->type.dims, 0, v->base->type.rank);
}

/* Whether v is another value transposed, with at most reshapes behind. */
static bool is_moved(hone_value *v) {
    hone_view w;
    order o;
    if (!hone_view_trace(v, &w) || !order_of(&w, &o))
        return false;
    for (int i = 0; i < o.rank; ++i) {
        if (o.perm[i] != i)
            return true;
    }
    return false;
}

/* A node before `position`, which moves on; NULL when out of memory. */
static hone_node *insert(hone_graph *g, int *position, const char *op, const hone_node *origin,
                         hone_value **in, int n_in, hone_value *out) {
    hone_node *n = hone_node_create(g, hone_op_find("", op), origin->name, in, n_in, &out, 1);
    if (!n || !hone_graph_insert(g, *position, n))
        return NULL;
    n->origin = origin->origin;
    ++*position;
    return n;
}

/* [dims] of the base, transposed, and back to the dims that readers expect. */
static bool rewrite(hone_graph *g, int *position, const hone_view *v, const order *o) {
    const hone_node *n = g->nodes[*position];
    hone_value *out = n->out[0], *split = hone_graph_fresh(g, n->name),
               *turned = hone_graph_fresh(g, n->name);
    int64_t dims[HONE_MAX_RANK];
    for (int i = 0; i < o->rank; ++i)
        dims[i] = o->dims[o->perm[i]];
    hone_value *to_split[2] = {v->base, hone_graph_const_i64(g, "dims", o->dims, o->rank)};
    hone_value *to_out[2] = {turned,
                             hone_graph_const_i64(g, "dims", out->type.dims, out->type.rank)};
    if (!split || !turned || !to_split[1] || !to_out[1])
        return false;
    split->type = hone_type_tensor(out->type.dtype, o->rank, o->dims);
    turned->type = hone_type_tensor(out->type.dtype, o->rank, dims);
    hone_node *transpose;
    if (!insert(g, position, "Reshape", n, to_split, 2, split) ||
        !(transpose = insert(g, position, "Transpose", n, &split, 1, turned)) ||
        !hone_attr_set_ints(g, transpose, "perm", o->perm, o->rank) ||
        !insert(g, position, "Reshape", n, to_out, 2, out))
        return false;
    g->nodes[*position] = NULL;
    return true;
}

hone_status hone_cpu_lower_moves(hone_graph *g, hone_error *err) {
    bool has_any = false;
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_view v;
        order o;
        const hone_node *n = g->nodes[i];
        if (!is_transpose(n) || is_transpose(n->in[0]->producer) || !is_moved(n->in[0]) ||
            !hone_view_trace(n->out[0], &v) || v.base == n->in[0] || v.base == n->out[0] ||
            !order_of(&v, &o) || o.rank == 0)
            continue;
        if (!rewrite(g, &i, &v, &o))
            return hone_fail(err, HONE_E_NOMEM, "no memory to merge transposes");
        has_any = true;
    }
    return has_any ? hone_cpu_drop_unread(g, err) : HONE_OK;
}
