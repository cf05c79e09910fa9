/* Operators that compute the same in any layout, once their axes are renamed. */
#include <string.h>

#include "backend/cpu/layout_walk.h"

/* A constant operand [c, 1, 1, ...] or of full rank, seen channels-last: the same bytes when at
 * most one axis is longer than 1, a transposed copy otherwise. NULL: cannot be used. */
static hone_value *constant_operand(hone_layout *l, hone_value *v, int rank) {
    const hone_tensor *t = v->constant;
    hone_type full = {.kind = HONE_KIND_TENSOR, .dtype = t->dtype, .rank = rank};
    int n_long = 0;
    if (t->rank > rank)
        return NULL;
    for (int i = 0; i < rank; ++i) {
        int k = i - (rank - t->rank);
        full.dims[i] = k < 0 ? 1 : t->dims[k];
        n_long += full.dims[i] != 1;
    }
    if (n_long > 1)
        return NULL;
    int64_t dims[HONE_MAX_RANK];
    for (int i = 0; i < rank; ++i)
        dims[hone_layout_axis(i, rank)] = full.dims[i];
    hone_tensor *copy = HONE_NEW(l->g->arena, hone_tensor);
    if (!copy)
        return NULL;
    *copy = hone_tensor_view(t->dtype, rank, dims, t->data);
    return hone_graph_constant(l->g, v->name, copy);
}

/* Clip's bounds and the like: scalars are the same in every layout. */
static bool is_scalar(const hone_value *v) {
    return v->type.kind == HONE_KIND_TENSOR && v->type.rank == 0;
}

static bool follow_elementwise(hone_layout *l, hone_node *n) {
    int rank = n->out[0]->type.rank;
    hone_value *in[8];
    bool has_any = false;
    if (n->n_in > 8 || rank < 3 || n->n_out != 1)
        return false;
    for (int i = 0; i < n->n_in; ++i) {
        hone_value *v = n->in[i];
        in[i] = v;
        if (!v || is_scalar(v))
            continue;
        if (v->type.kind != HONE_KIND_TENSOR || (!v->constant && v->type.rank != rank))
            return false;
        has_any |= hone_layout_has_twin(l, v);
    }
    if (!has_any)
        return false;
    for (int i = 0; i < n->n_in; ++i) {
        hone_value *v = n->in[i];
        if (!v || is_scalar(v))
            continue;
        if (v->constant && !hone_layout_has_twin(l, v)) {
            in[i] = constant_operand(l, v, rank);
            if (!in[i])
                in[i] = v->type.rank == rank ? hone_layout_last(l, v) : NULL;
            if (!in[i])
                return false;
        } else {
            in[i] = hone_layout_last(l, v);
        }
    }
    hone_value *out = hone_layout_output(l, n, 0);
    hone_layout_emit(l, hone_layout_again(l, n, in, &out));
    return true;
}

static bool follow_concat(hone_layout *l, hone_node *n) {
    int rank = n->out[0]->type.rank;
    int64_t axis = hone_attr_int(n, "axis", 0);
    bool has_any = false;
    if (rank < 3)
        return false;
    for (int i = 0; i < n->n_in; ++i)
        has_any |= hone_layout_has_twin(l, n->in[i]);
    hone_value **in = HONE_NEW_ARRAY(l->g->arena, hone_value *, n->n_in);
    if (!has_any || !in)
        return false;
    for (int i = 0; i < n->n_in; ++i)
        in[i] = hone_layout_last(l, n->in[i]);
    hone_value *out = hone_layout_output(l, n, 0);
    hone_node *made = hone_layout_again(l, n, in, &out);
    if (made && !hone_attr_set_int(l->g, made, "axis",
                                   hone_layout_axis((int)(axis < 0 ? axis + rank : axis), rank)))
        l->is_out_of_memory = true;
    hone_layout_emit(l, made);
    return true;
}

static bool is_global(const hone_node *n) {
    return strncmp(n->op_name, "Global", 6) == 0;
}

/* Axes to reduce, renamed: how many, or -1. */
static int reduced_axes(const hone_node *n, int rank, int64_t axes[2 * HONE_MAX_RANK]) {
    int count = 0;
    if (is_global(n)) {
        for (int d = 2; d < rank; ++d)
            axes[count++] = d;
    } else if (n->n_in < 2 || (count = hone_layout_ints(n, 1, axes)) < 1) {
        return -1;
    }
    for (int i = 0; i < count; ++i) {
        int64_t a = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (a < 0 || a >= rank)
            return -1;
        axes[i] = hone_layout_axis((int)a, rank);
    }
    return count;
}

/* Axes that go must take all positions or the channels with them, so that the order of those left
 * is the canonical one. */
static bool leaves_in_order(const int64_t *axes, int n, int rank) {
    uint32_t set = 0;
    for (int i = 0; i < n; ++i)
        set |= 1u << axes[i];
    uint32_t positions = ((1u << (rank - 1)) - 1) & ~1u;
    return (set & positions) == positions || (set >> (rank - 1) & 1);
}

static bool follow_reduce(hone_layout *l, hone_node *n) {
    hone_value *x = n->in[0];
    int rank = x->type.rank;
    int64_t axes[2 * HONE_MAX_RANK];
    bool keeps = hone_attr_int(n, "keepdims", 1) != 0;
    int n_axes = reduced_axes(n, rank, axes);
    if (n_axes < 0 || (!keeps && !leaves_in_order(axes, n_axes, rank)))
        return false;
    const char *op = !is_global(n)                              ? n->op_name
                     : strcmp(n->op_name, "GlobalMaxPool") == 0 ? "ReduceMax"
                                                                : "ReduceMean";
    hone_value *in[2] = {hone_layout_last(l, x), hone_graph_const_i64(l->g, "axes", axes, n_axes)};
    hone_value *out = keeps ? hone_layout_output(l, n, 0) : n->out[0];
    hone_node *made = in[1] ? hone_layout_add(l, n, op, in, 2, out) : NULL;
    if (!made || !hone_attr_set_int(l->g, made, "keepdims", keeps))
        l->is_out_of_memory = true;
    return true;
}

/* Softmax, ArgMax and the like: one axis. */
static bool follow_axis(hone_layout *l, hone_node *n) {
    int rank = n->in[0]->type.rank;
    bool is_arg = n->op_name[0] == 'A', keeps = !is_arg || hone_attr_int(n, "keepdims", 1) != 0;
    int64_t axis = hone_attr_int(n, "axis", is_arg ? 0 : -1);
    axis += axis < 0 ? rank : 0;
    if (axis < 0 || axis >= rank || hone_attr_int(n, "hone_flatten", 0) || (!keeps && axis != 1))
        return false;
    hone_value *in = hone_layout_last(l, n->in[0]);
    hone_value *out = keeps ? hone_layout_output(l, n, 0) : n->out[0];
    hone_node *made = hone_layout_again(l, n, &in, &out);
    if (made && !hone_attr_set_int(l->g, made, "axis", hone_layout_axis((int)axis, rank)))
        l->is_out_of_memory = true;
    hone_layout_emit(l, made);
    return true;
}

/* Normalisation over groups of channels, or each by itself. */
static bool follow_norm(hone_layout *l, hone_node *n) {
    const hone_type *x = &n->in[0]->type;
    int64_t channels = x->dims[1], groups = hone_attr_int(n, "num_groups", channels);
    if (x->dtype != HONE_DTYPE_F32 || channels < 1 || groups < 1 || channels % groups ||
        n->n_in != 3)
        return false;
    for (int i = 1; i <= 2; ++i) {
        const hone_tensor *t = n->in[i] ? n->in[i]->constant : NULL;
        if (!t || t->dtype != HONE_DTYPE_F32 || hone_tensor_count(t) != channels)
            return false;
    }
    hone_value *in[3] = {hone_layout_last(l, n->in[0]), n->in[1], n->in[2]};
    hone_value *out = hone_layout_output(l, n, 0);
    hone_node *made =
        hone_node_create(l->g, hone_op_find("hone", "GroupNorm"), n->name, in, 3, &out, 1);
    if (!made || !hone_attr_set_int(l->g, made, "num_groups", groups) ||
        !hone_attr_set_float(l->g, made, "epsilon", hone_attr_float(n, "epsilon", 1e-5f)))
        l->is_out_of_memory = true;
    else
        made->origin = n->origin;
    hone_layout_emit(l, made);
    return true;
}

static const struct {
    const char *op;
    bool (*follow)(hone_layout *l, hone_node *n);
} follows[] = {
    {"GlobalAveragePool", follow_reduce},
    {"GlobalMaxPool", follow_reduce},
    {"ReduceMean", follow_reduce},
    {"ReduceSum", follow_reduce},
    {"ReduceMax", follow_reduce},
    {"ReduceMin", follow_reduce},
    {"Softmax", follow_axis},
    {"LogSoftmax", follow_axis},
    {"ArgMax", follow_axis},
    {"ArgMin", follow_axis},
    {"InstanceNormalization", follow_norm},
    {"GroupNormalization", follow_norm},
};

bool hone_layout_follow(hone_layout *l, hone_node *n) {
    if (strcmp(n->op_name, "Concat") == 0)
        return follow_concat(l, n);
    if (n->op->flags & HONE_OP_ELEMENTWISE)
        return follow_elementwise(l, n);
    if (!hone_layout_has_twin(l, n->in[0]) || n->in[0]->type.rank < 3)
        return false;
    for (size_t i = 0; i < sizeof follows / sizeof follows[0]; ++i) {
        if (strcmp(n->op_name, follows[i].op) == 0)
            return (n->n_out < 2 || !n->out[1]) && follows[i].follow(l, n);
    }
    return false;
}
