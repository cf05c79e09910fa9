/* Operators that move elements around, on channels-last values. */
#include <string.h>

#include "backend/cpu/layout_walk.h"

static bool is_op(const hone_node *n, const char *name) {
    return n && n->domain[0] == '\0' && strcmp(n->op_name, name) == 0;
}

/* The one node that reads v, unless v is an output of the graph. */
static hone_node *only_user(const hone_layout *l, const hone_value *v, int *position) {
    *position = v->id >= 0 && v->id < l->n_ids ? l->user[v->id] : -1;
    return *position < 0 ? NULL : l->g->nodes[*position];
}

static bool read_perm(const hone_node *n, int rank, int64_t perm[HONE_MAX_RANK]) {
    const int64_t *given;
    int count = hone_attr_ints(n, "perm", &given);
    if (count && count != rank)
        return false;
    for (int i = 0; i < rank; ++i) {
        perm[i] = count ? given[i] : rank - 1 - i;
        perm[i] += perm[i] < 0 ? rank : 0;
        if (perm[i] < 0 || perm[i] >= rank)
            return false;
    }
    return true;
}

static bool is_identity(const int64_t *perm, int rank) {
    for (int i = 0; i < rank; ++i) {
        if (perm[i] != i)
            return false;
    }
    return true;
}

/* ---- transposes -------------------------------------------------------------------------------
 */

/* The twin is what the node makes. */
static void become(hone_layout *l, const hone_node *n, hone_value *twin) {
    if (hone_graph_is_output(l->g, n->out[0]))
        hone_layout_add(l, n, "Identity", &twin, 1, n->out[0]);
    else
        hone_graph_replace_uses(l->g, n->out[0], twin);
}

/* Only axes of 1 change places: the same bytes. */
static bool moves_ones(const hone_type *t, const int64_t *perm) {
    int64_t last = -1;
    for (int i = 0; i < t->rank; ++i) {
        if (t->dims[perm[i]] <= 0 || (t->dims[perm[i]] != 1 && perm[i] < last))
            return false;
        last = t->dims[perm[i]] != 1 ? perm[i] : last;
    }
    return true;
}

static bool move_transpose(hone_layout *l, hone_node *n) {
    hone_value *x = n->in[0];
    int rank = x->type.rank;
    int64_t perm[HONE_MAX_RANK], seen[HONE_MAX_RANK];
    if (x->type.kind != HONE_KIND_TENSOR || rank < 3 || !read_perm(n, rank, perm))
        return false;
    if (moves_ones(&x->type, perm) && n->out[0]->type.rank == rank &&
        (!hone_layout_has_twin(l, x) || l->is_made[x->id])) {
        hone_layout_need(l, x);
        hone_layout_reshape(l, n, x, n->out[0]->type.dims, rank, n->out[0]);
        return true;
    }
    if (hone_layout_has_twin(l, x)) {
        for (int i = 0; i < rank; ++i)
            seen[i] = hone_layout_axis((int)perm[i], rank);
        if (is_identity(seen, rank))
            become(l, n, hone_layout_last(l, x));
        else if (!l->is_made[x->id])
            hone_layout_transpose(l, n, hone_layout_last(l, x), seen, rank, n->out[0]);
        else
            return false;
        return true;
    }
    /* From channels-last to the canonical order: what it reads is the twin of what it makes. */
    for (int i = 0; i < rank; ++i) {
        if (hone_layout_axis(i, rank) != perm[i])
            return false;
    }
    hone_layout_set_twin(l, n->out[0], x);
    return true;
}

/* ---- reshapes ---------------------------------------------------------------------------------
 */

static bool is_same_dim(int64_t a, int64_t b) {
    return a == b && a != HONE_DIM_UNKNOWN;
}

/* [n, c, positions...] to [n, c, other positions...]: the same on the twin. */
static bool reshape_positions(hone_layout *l, hone_node *n) {
    const hone_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    int64_t dims[HONE_MAX_RANK];
    int n_open = 0;
    if (y->rank < 3 || !is_same_dim(x->dims[0], y->dims[0]) || x->dims[1] < 0 ||
        x->dims[1] != y->dims[1])
        return false;
    dims[0] = 0;
    dims[y->rank - 1] = y->dims[1];
    for (int i = 2; i < y->rank; ++i) {
        dims[i - 1] = y->dims[i] < 0 ? -1 : y->dims[i];
        n_open += y->dims[i] < 0;
        if (y->dims[i] == 0)
            return false;
    }
    if (n_open > 1)
        return false;
    hone_value *twin = hone_layout_last(l, n->in[0]);
    hone_layout_reshape(l, n, twin, dims, y->rank, hone_layout_output(l, n, 0));
    return true;
}

/* [n, c, positions...] to [n, a, b, positions...], a b = c. */
static bool splits_channels(const hone_type *x, const hone_type *y) {
    if (y->kind != HONE_KIND_TENSOR || y->rank != x->rank + 1 || y->rank > HONE_MAX_RANK ||
        !is_same_dim(x->dims[0], y->dims[0]) || x->dims[1] <= 0 || y->dims[1] <= 0 ||
        y->dims[2] <= 0 || y->dims[1] > x->dims[1] || y->dims[1] * y->dims[2] != x->dims[1])
        return false;
    for (int i = 2; i < x->rank; ++i) {
        if (!is_same_dim(x->dims[i], y->dims[i + 1]))
            return false;
    }
    return true;
}

/* Channels swapped in groups and joined again, [n, b, a, positions...] to [n, c, positions...]. */
static hone_node *joining_reshape(const hone_layout *l, const hone_node *transpose,
                                  const int64_t *perm, const hone_type *x, int *position) {
    hone_node *join = only_user(l, transpose->out[0], position);
    int rank = x->rank + 1;
    if (!is_op(join, "Reshape") || join->in[0] != transpose->out[0] || perm[0] != 0 ||
        perm[1] != 2 || perm[2] != 1)
        return NULL;
    for (int i = 3; i < rank; ++i) {
        if (perm[i] != i)
            return NULL;
    }
    const hone_type *z = &join->out[0]->type;
    if (z->kind != HONE_KIND_TENSOR || z->rank != x->rank)
        return NULL;
    for (int i = 0; i < z->rank; ++i) {
        if (!is_same_dim(z->dims[i], x->dims[i]))
            return NULL;
    }
    return join;
}

/* Channels split into two axes and transposed (shuffles, detection heads): one transpose of the
 * twin, split in the same way. */
static bool reshape_channels(hone_layout *l, hone_node *n) {
    const hone_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    int at, join_at, rank = y->rank;
    int64_t perm[HONE_MAX_RANK], dims[HONE_MAX_RANK] = {0};
    if (!splits_channels(x, y))
        return false;
    hone_node *transpose = only_user(l, n->out[0], &at);
    if (!is_op(transpose, "Transpose") || !read_perm(transpose, rank, perm))
        return false;
    dims[rank - 2] = y->dims[1];
    dims[rank - 1] = y->dims[2];
    hone_value *split = hone_layout_reshape(l, n, hone_layout_last(l, n->in[0]), dims, rank, NULL);
    if (!split)
        return true;
    l->is_done[at] = true;
    hone_node *join = joining_reshape(l, transpose, perm, x, &join_at);
    if (!join) {
        for (int i = 0; i < rank; ++i)
            perm[i] = perm[i] == 0 ? 0 : perm[i] <= 2 ? rank - 3 + perm[i] : perm[i] - 2;
        hone_layout_transpose(l, transpose, split, perm, rank, transpose->out[0]);
        return true;
    }
    for (int i = 0; i < rank; ++i)
        perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    hone_value *swapped = hone_layout_transpose(l, transpose, split, perm, rank, NULL);
    l->is_done[join_at] = true;
    if (swapped) {
        dims[rank - 2] = x->dims[1];
        hone_layout_reshape(l, join, swapped, dims, rank - 1, hone_layout_output(l, join, 0));
    }
    return true;
}

static bool move_reshape(hone_layout *l, hone_node *n) {
    return n->out[0]->type.kind == HONE_KIND_TENSOR &&
           (reshape_positions(l, n) || reshape_channels(l, n));
}

/* ---- depth to space and back ------------------------------------------------------------------
 */

static bool move_blocks(hone_layout *l, hone_node *n) {
    const hone_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    int64_t b = hone_attr_int(n, "blocksize", 0);
    bool to_space = n->op_name[0] == 'D';
    bool is_crd = to_space && strcmp(hone_attr_string(n, "mode", "DCR"), "CRD") == 0;
    if (!hone_type_is_static(x) || !hone_type_is_static(y) || x->rank != 4 || y->rank != 4 || b < 1)
        return false;
    const int64_t *small = to_space ? x->dims : y->dims;
    int64_t c = to_space ? y->dims[1] : x->dims[1];
    int64_t h = small[2], w = small[3];
    int64_t split[6] = {x->dims[0], h, w, b, b, c};
    if (is_crd) {
        split[3] = c;
        split[5] = b;
    }
    if (!to_space)
        memcpy(split, (const int64_t[]){x->dims[0], h, b, w, b, c}, sizeof split);
    static const int64_t space[6] = {0, 1, 3, 2, 4, 5}, crd[6] = {0, 1, 4, 2, 5, 3};
    const int64_t joined[4] = {y->dims[0], y->dims[2], y->dims[3], y->dims[1]};
    hone_value *v = hone_layout_reshape(l, n, hone_layout_last(l, n->in[0]), split, 6, NULL);
    v = v ? hone_layout_transpose(l, n, v, is_crd ? crd : space, 6, NULL) : NULL;
    if (v)
        hone_layout_reshape(l, n, v, joined, 4, hone_layout_output(l, n, 0));
    return true;
}

/* ---- axes by name -----------------------------------------------------------------------------
 */

static bool map_axes(int64_t *axes, int n, int rank) {
    for (int i = 0; i < n; ++i) {
        int64_t a = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (a < 0 || a >= rank)
            return false;
        axes[i] = hone_layout_axis((int)a, rank);
    }
    return true;
}

/* The node again, on twins, with other constants for some inputs. */
static bool emit_on_twins(hone_layout *l, const hone_node *n, hone_value **in) {
    hone_value **out = HONE_NEW_ARRAY(l->g->arena, hone_value *, n->n_out);
    in[0] = hone_layout_last(l, n->in[0]);
    for (int o = 0; out && o < n->n_out; ++o)
        out[o] = n->out[o] ? hone_layout_output(l, n, o) : NULL;
    hone_layout_emit(l, out ? hone_layout_again(l, n, in, out) : NULL);
    return !l->is_out_of_memory;
}

static bool move_slice(hone_layout *l, hone_node *n) {
    int64_t axes[2 * HONE_MAX_RANK], unused[2 * HONE_MAX_RANK];
    int n_starts = hone_layout_ints(n, 1, unused), n_axes = hone_layout_ints(n, 3, axes);
    hone_value *in[5] = {NULL, n->in[1], n->in[2], NULL, n->n_in > 4 ? n->in[4] : NULL};
    if (n->n_in < 3 || n->n_in > 5 || n_axes < 0 || n_starts < 1 || (n_axes && n_axes != n_starts))
        return false;
    for (int i = 0; n_axes == 0 && i < n_starts; ++i)
        axes[i] = i;
    if (!map_axes(axes, n_starts, n->in[0]->type.rank))
        return false;
    in[3] = hone_graph_const_i64(l->g, "axes", axes, n_starts);
    hone_node as = *n;
    as.n_in = n->n_in > 4 ? 5 : 4;
    return in[3] && emit_on_twins(l, &as, in);
}

static bool move_split(hone_layout *l, hone_node *n) {
    hone_value *in[2] = {NULL, n->n_in > 1 ? n->in[1] : NULL};
    int rank = n->in[0]->type.rank;
    int64_t axis = hone_attr_int(n, "axis", 0);
    for (int o = 0; o < n->n_out; ++o) {
        if (n->out[o] && (n->out[o]->type.kind != HONE_KIND_TENSOR || n->out[o]->type.rank != rank))
            return false;
    }
    if (n->n_in > 2 || !map_axes(&axis, 1, rank))
        return false;
    if (emit_on_twins(l, n, in) && !hone_attr_set_int(l->g, l->nodes[l->n_nodes - 1], "axis", axis))
        l->is_out_of_memory = true;
    return true;
}

static bool move_pad(hone_layout *l, hone_node *n) {
    int64_t pads[2 * HONE_MAX_RANK], axes[2 * HONE_MAX_RANK], all[2 * HONE_MAX_RANK] = {0};
    int rank = n->in[0]->type.rank, n_pads = hone_layout_ints(n, 1, pads),
        n_axes = hone_layout_ints(n, 3, axes);
    bool has_axes = n->n_in > 3 && n->in[3];
    if (n_pads < 0 || n_axes < 0)
        return false;
    for (int i = 0; !has_axes && i < rank; ++i)
        axes[n_axes++] = i;
    if (n_pads != 2 * n_axes || !map_axes(axes, n_axes, rank))
        return false;
    for (int i = 0; i < n_axes; ++i) {
        all[axes[i]] = pads[i];
        all[rank + axes[i]] = pads[n_axes + i];
    }
    hone_value *in[4] = {NULL, hone_graph_const_i64(l->g, "pads", all, 2 * rank),
                         n->n_in > 2 ? n->in[2] : NULL, NULL};
    return in[1] && emit_on_twins(l, n, in);
}

/* A constant list with an entry for each axis, in the twin's order; v itself when omitted. */
static bool permuted_list(hone_layout *l, const hone_value *v, int rank, hone_value **out) {
    const hone_tensor *t = v ? v->constant : NULL;
    *out = NULL;
    if (!v)
        return true;
    if (!t || t->rank != 1 || (t->dtype != HONE_DTYPE_F32 && t->dtype != HONE_DTYPE_I64))
        return false;
    if (t->dims[0] == 0)
        return true;
    size_t size = t->dtype == HONE_DTYPE_F32 ? sizeof(float) : sizeof(int64_t);
    hone_tensor *list = HONE_NEW(l->g->arena, hone_tensor);
    char *data = (char *)HONE_NEW_ARRAY(l->g->arena, int64_t, rank);
    if (t->dims[0] != rank || !list || !data)
        return false;
    for (int i = 0; i < rank; ++i)
        memcpy(data + (size_t)hone_layout_axis(i, rank) * size,
               (const char *)t->data + (size_t)i * size, size);
    *list = hone_tensor_view(t->dtype, 1, t->dims, data);
    *out = hone_graph_constant(l->g, v->name, list);
    return *out != NULL;
}

static bool move_resize(hone_layout *l, hone_node *n) {
    const int64_t *given;
    int64_t axes[HONE_MAX_RANK];
    int rank = n->in[0]->type.rank, n_axes = hone_attr_ints(n, "axes", &given);
    hone_value *in[4] = {NULL, NULL, n->n_in > 2 ? n->in[2] : NULL, n->n_in > 3 ? n->in[3] : NULL};
    if (strcmp(hone_attr_string(n, "coordinate_transformation_mode", "half_pixel"),
               "tf_crop_and_resize") == 0 ||
        n->n_in > 4 || n_axes > rank)
        return false;
    /* What leaves the graph is better transposed before it grows. */
    if (hone_graph_is_output(l->g, n->out[0]))
        return false;
    if (n_axes == 0 &&
        (!permuted_list(l, in[2], rank, &in[2]) || !permuted_list(l, in[3], rank, &in[3])))
        return false;
    for (int i = 0; i < n_axes; ++i)
        axes[i] = given[i];
    if (!map_axes(axes, n_axes, rank))
        return false;
    if (emit_on_twins(l, n, in) && n_axes &&
        !hone_attr_set_ints(l->g, l->nodes[l->n_nodes - 1], "axes", axes, n_axes))
        l->is_out_of_memory = true;
    return true;
}

static const struct {
    const char *op;
    bool (*move)(hone_layout *l, hone_node *n);
} moves[] = {
    {"Reshape", move_reshape},   {"Flatten", move_reshape},     {"Squeeze", move_reshape},
    {"Unsqueeze", move_reshape}, {"DepthToSpace", move_blocks}, {"SpaceToDepth", move_blocks},
    {"Slice", move_slice},       {"Split", move_split},         {"Pad", move_pad},
    {"Resize", move_resize},
};

bool hone_layout_move(hone_layout *l, hone_node *n) {
    if (is_op(n, "Transpose"))
        return move_transpose(l, n);
    if (!hone_layout_has_twin(l, n->in[0]) || n->in[0]->type.rank < 3)
        return false;
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; ++i) {
        if (is_op(n, moves[i].op))
            return n->out[0]->type.kind == HONE_KIND_TENSOR && moves[i].move(l, n);
    }
    return false;
}
