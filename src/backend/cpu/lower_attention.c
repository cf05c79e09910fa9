/* Attention of static shape reads its operands where they lie, through strides, and writes its
 * result in the order that the Transpose behind it wants: splitting into heads and joining them
 * moves nothing. */
#include <string.h>

#include "backend/cpu/fuse.h"
#include "backend/cpu/view.h"

static bool is_op(const hone_node *n, const char *name) {
    return n && n->domain[0] == '\0' && strcmp(n->op_name, name) == 0;
}

static bool set_view(hone_graph *g, hone_node *n, const char *name, const hone_view *v) {
    int64_t list[8] = {v->offset};
    memcpy(list + 1, v->dims, 4 * sizeof *list);
    memcpy(list + 5, v->stride, 3 * sizeof *list);
    return hone_attr_set_ints(g, n, name, list, 8);
}

static bool is_plain(const hone_node *n) {
    if (!is_op(n, "Attention") || n->n_in < 3 || n->n_in > 4)
        return false;
    for (int i = 1; i < n->n_out; ++i) {
        if (n->out[i])
            return false;
    }
    for (int i = 0; i < 3; ++i) {
        const hone_type *t = n->in[i] ? &n->in[i]->type : NULL;
        if (!t || !hone_type_is_static(t) || t->rank != 4 || t->dtype != HONE_DTYPE_F32 ||
            hone_dims_count(t->dims, 0, 4) == 0)
            return false;
    }
    return hone_type_is_static(&n->out[0]->type) && n->out[0]->type.rank == 4;
}

/* The only reader of the result, if it transposes and leaves rows whole. */
static hone_node *joining_transpose(const hone_graph *g, const hone_value *y, int after) {
    const int64_t *perm;
    if (y->n_uses != 1 || hone_graph_is_output(g, y))
        return NULL;
    for (int i = after; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        if (n && n->n_in > 0 && n->in[0] == y)
            return is_op(n, "Transpose") && hone_attr_ints(n, "perm", &perm) == 4 && perm[3] == 3
                       ? n
                       : NULL;
    }
    return NULL;
}

static void output_view(const hone_type *y, const hone_node *transpose, hone_view *v) {
    const int64_t *perm;
    int64_t step = 1;
    *v = (hone_view){.rank = 4};
    memcpy(v->dims, y->dims, 4 * sizeof *v->dims);
    int count = transpose ? hone_attr_ints(transpose, "perm", &perm) : 0;
    for (int i = 3; i >= 0; --i) {
        int64_t axis = count == 4 ? perm[i] : i;
        v->stride[axis] = step;
        step *= y->dims[axis];
    }
}

static hone_status lower(hone_graph *g, int position, const hone_view *views, hone_error *err) {
    static const char *const names[] = {"q_view", "k_view", "v_view"};
    hone_node *n = g->nodes[position];
    hone_node *join = joining_transpose(g, n->out[0], position + 1);
    hone_value *in[4] = {views[0].base, views[1].base, views[2].base,
                         n->n_in > 3 ? n->in[3] : NULL};
    hone_value *out = join ? join->out[0] : n->out[0];
    hone_view y;
    output_view(&n->out[0]->type, join, &y);
    hone_node *made =
        hone_node_create(g, hone_op_find("hone", "Attention"), n->name, in, n->n_in, &out, 1);
    bool ok = made && hone_attr_set_ints(g, made, "y_dims", out->type.dims, out->type.rank) &&
              set_view(g, made, "y_view", &y);
    for (int i = 0; ok && i < 3; ++i)
        ok = set_view(g, made, names[i], &views[i]);
    for (int i = 0; ok && i < n->n_attrs; ++i)
        ok = hone_attr_set(g, made, &n->attrs[i]);
    if (!ok)
        return hone_fail(err, HONE_E_NOMEM, "no memory to lower attention");
    made->origin = n->origin;
    if (join) {
        for (int i = position + 1; i < g->n_nodes; ++i) {
            if (g->nodes[i] == join)
                g->nodes[i] = NULL;
        }
    }
    g->nodes[position] = made;
    return HONE_OK;
}

hone_status hone_cpu_lower_attention(hone_graph *g, hone_error *err) {
    bool has_any = false;
    for (int k = 0; k < g->n_nodes; ++k) {
        hone_node *n = g->nodes[k];
        hone_view views[3];
        if (!n || !is_plain(n))
            continue;
        bool ok = true;
        for (int i = 0; i < 3; ++i) {
            ok = ok && hone_view_trace(n->in[i], &views[i]) && views[i].rank == 4;
            /* Rows must be whole; what cannot be read in place stays as it is. */
            if (ok && views[i].stride[3] != 1 && views[i].dims[3] != 1)
                ok = false;
        }
        if (ok) {
            HONE_TRY(lower(g, k, views, err));
            has_any = true;
        }
    }
    return has_any ? hone_cpu_drop_unread(g, err) : HONE_OK;
}
