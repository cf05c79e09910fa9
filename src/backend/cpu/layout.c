/* Channels-last layout: convolutions and pooling work on [n, spatial..., channels], and what lies
 * between them follows, so that transposes are needed only where such a region begins and ends.
 *
 * One forward walk. A value may have a channels-last twin; the canonical value itself is made, by a
 * transpose of the twin, only when somebody asks for it. */
#include "backend/cpu/layout.h"

#include <stdio.h>
#include <string.h>

#include "kernels/conv.h"
#include "ops/conv_shape.h"

typedef struct layout {
    hone_graph *g;
    hone_value **twin; /* by value id of the graph as it was */
    bool *is_made;     /* the canonical value exists */
    int n_ids;
    hone_node **nodes; /* the new list */
    int n_nodes, cap_nodes;
    bool is_out_of_memory;
} layout;

/* ---- building ---------------------------------------------------------------------------------
 */

static void emit(layout *l, hone_node *n) {
    if (!n || !HONE_PUSH(l->g->arena, l->nodes, l->n_nodes, l->cap_nodes, n))
        l->is_out_of_memory = true;
}

/* perm[i]: which canonical axis is axis i of the twin. */
static void to_last(int rank, int64_t *perm) {
    perm[0] = 0;
    for (int i = 1; i < rank - 1; ++i)
        perm[i] = i + 1;
    perm[rank - 1] = 1;
}

static void to_first(int rank, int64_t *perm) {
    perm[0] = 0;
    perm[1] = rank - 1;
    for (int i = 2; i < rank; ++i)
        perm[i] = i - 1;
}

static int twin_axis(int axis, int rank) {
    return axis == 0 ? 0 : axis == 1 ? rank - 1 : axis - 1;
}

static hone_type twin_type(const hone_type *t) {
    hone_type twin = *t;
    int64_t perm[HONE_MAX_RANK];
    to_last(t->rank, perm);
    for (int i = 0; i < t->rank; ++i)
        twin.dims[i] = t->dims[perm[i]];
    twin.contents = NULL;
    return twin;
}

static void emit_transpose(layout *l, hone_value *from, hone_value *to, bool is_to_last) {
    int64_t perm[HONE_MAX_RANK];
    int rank = from->type.rank;
    if (is_to_last)
        to_last(rank, perm);
    else
        to_first(rank, perm);
    char name[300];
    snprintf(name, sizeof name, "%.200s:%s", from->name,
             is_to_last ? "channels_last" : "channels_first");
    hone_node *n = hone_node_create(l->g, hone_op_find("", "Transpose"), name, &from, 1, &to, 1);
    if (!n || !hone_attr_set_ints(l->g, n, "perm", perm, rank)) {
        l->is_out_of_memory = true;
        return;
    }
    n->origin = "";
    emit(l, n);
}

static bool has_twin(const layout *l, const hone_value *v) {
    return v && v->id >= 0 && v->id < l->n_ids && l->twin[v->id];
}

static hone_value *new_twin(layout *l, hone_value *v) {
    hone_value *t = hone_graph_fresh(l->g, v->name);
    if (!t) {
        l->is_out_of_memory = true;
        return v;
    }
    t->type = twin_type(&v->type);
    l->twin[v->id] = t;
    return t;
}

/* The channels-last form of v, made if need be. */
static hone_value *channels_last(layout *l, hone_value *v) {
    if (has_twin(l, v))
        return l->twin[v->id];
    hone_value *t = new_twin(l, v);
    if (!l->is_out_of_memory)
        emit_transpose(l, v, t, true);
    return t;
}

/* Make sure that the canonical form of v exists. */
static void need_canonical(layout *l, hone_value *v) {
    if (!has_twin(l, v) || l->is_made[v->id])
        return;
    l->is_made[v->id] = true;
    emit_transpose(l, l->twin[v->id], v, false);
}

/* The node's one output will live as a twin only. */
static hone_value *output_twin(layout *l, const hone_node *n) {
    l->is_made[n->out[0]->id] = false;
    return new_twin(l, n->out[0]);
}

static hone_node *lowered_node(layout *l, const hone_node *n, const char *op, hone_value *const *in,
                               int n_in, hone_value *out) {
    hone_node *made = hone_node_create(l->g, hone_op_find("hone", op), n->name, in, n_in, &out, 1);
    if (!made) {
        l->is_out_of_memory = true;
        return NULL;
    }
    made->origin = n->origin;
    return made;
}

/* ---- convolution and pooling ------------------------------------------------------------------
 */

static bool is_f32(const hone_value *v) {
    return v && v->type.kind == HONE_KIND_TENSOR && v->type.dtype == HONE_DTYPE_F32;
}

static void set_window(layout *l, hone_node *n, const hone_window *w) {
    int64_t pads[2 * HONE_WINDOW_MAX];
    for (int d = 0; d < w->n; ++d) {
        pads[d] = w->pad[d];
        pads[w->n + d] = w->pad_end[d];
    }
    if (!hone_attr_set_ints(l->g, n, "kernel", w->kernel, w->n) ||
        !hone_attr_set_ints(l->g, n, "strides", w->stride, w->n) ||
        !hone_attr_set_ints(l->g, n, "dilations", w->dilation, w->n) ||
        !hone_attr_set_ints(l->g, n, "pads", pads, 2 * w->n))
        l->is_out_of_memory = true;
}

/* SAME padding depends on the input's size, so that has to be known. */
static bool read_window(const hone_node *n, const hone_type *x, const int64_t *kernel,
                        hone_window *w) {
    const char *auto_pad = hone_attr_string(n, "auto_pad", "NOTSET");
    for (int d = 2; strncmp(auto_pad, "SAME_", 5) == 0 && d < x->rank; ++d) {
        if (x->dims[d] < 0)
            return false;
    }
    if (hone_window_read(n, x->rank - 2, x->dims + 2, kernel, w))
        return false;
    for (int d = 0; d < w->n; ++d) {
        if (w->pad[d] < 0 || w->pad_end[d] < 0)
            return false;
    }
    return true;
}

static bool lower_conv(layout *l, hone_node *n) {
    hone_value *x = n->in[0], *w = n->in[1], *bias = n->n_in > 2 ? n->in[2] : NULL;
    hone_window win;
    if (!is_f32(x) || x->type.rank < 3 || x->type.rank > 4 || !is_f32(w) || !w->constant ||
        (bias && (!bias->constant || bias->constant->dtype != HONE_DTYPE_F32)))
        return false;
    if (w->constant->rank != x->type.rank || hone_tensor_count(w->constant) == 0 ||
        !read_window(n, &x->type, w->constant->dims + 2, &win))
        return false;
    hone_value *in[3] = {channels_last(l, x), w, bias};
    hone_node *made = lowered_node(l, n, "Conv", in, 3, output_twin(l, n));
    if (!made)
        return true;
    set_window(l, made, &win);
    if (!hone_attr_set_int(l->g, made, "group", hone_attr_int(n, "group", 1)) ||
        !hone_attr_set_int(l->g, made, "out_channels", w->constant->dims[0]))
        l->is_out_of_memory = true;
    emit(l, made);
    return true;
}

/* Padding by rule, or to a given shape, is left to the reference. */
static bool lower_deconv(layout *l, hone_node *n) {
    hone_value *x = n->in[0], *w = n->in[1], *bias = n->n_in > 2 ? n->in[2] : NULL;
    const int64_t *unused, *extra;
    int64_t none[HONE_WINDOW_MAX] = {0};
    hone_window win;
    if (!is_f32(x) || x->type.rank < 3 || x->type.rank > 4 || !is_f32(w) || !w->constant ||
        (bias && (!bias->constant || bias->constant->dtype != HONE_DTYPE_F32)) ||
        hone_attr_int(n, "group", 1) != 1 || hone_attr_ints(n, "output_shape", &unused) ||
        strcmp(hone_attr_string(n, "auto_pad", "NOTSET"), "NOTSET") != 0)
        return false;
    if (w->constant->rank != x->type.rank || hone_tensor_count(w->constant) == 0 ||
        !read_window(n, &x->type, w->constant->dims + 2, &win))
        return false;
    if (hone_attr_ints(n, "output_padding", &extra) != win.n)
        extra = none;
    hone_value *in[3] = {channels_last(l, x), w, bias};
    hone_node *made = lowered_node(l, n, "ConvTranspose", in, 3, output_twin(l, n));
    if (!made)
        return true;
    set_window(l, made, &win);
    if (!hone_attr_set_ints(l->g, made, "output_padding", extra, win.n) ||
        !hone_attr_set_int(l->g, made, "out_channels", w->constant->dims[1]))
        l->is_out_of_memory = true;
    emit(l, made);
    return true;
}

static bool lower_pool(layout *l, hone_node *n) {
    hone_value *x = n->in[0];
    hone_window w;
    if (!is_f32(x) || x->type.rank != 4 || !has_twin(l, x) || (n->n_out > 1 && n->out[1]) ||
        !read_window(n, &x->type, NULL, &w))
        return false;
    hone_value *in = channels_last(l, x);
    hone_node *made = lowered_node(l, n, "Pool", &in, 1, output_twin(l, n));
    if (!made)
        return true;
    set_window(l, made, &w);
    if (!hone_attr_set_int(l->g, made, "is_max", strcmp(n->op_name, "MaxPool") == 0) ||
        !hone_attr_set_int(l->g, made, "count_include_pad",
                           hone_attr_int(n, "count_include_pad", 0)) ||
        !hone_attr_set_int(l->g, made, "ceil_mode", hone_attr_int(n, "ceil_mode", 0)))
        l->is_out_of_memory = true;
    emit(l, made);
    return true;
}

/* ---- operators that do not care ---------------------------------------------------------------
 */

static hone_node *same_node(layout *l, const hone_node *n, hone_value *const *in, hone_value *out) {
    hone_node *made = hone_node_create(l->g, n->op, n->name, in, n->n_in, &out, 1);
    if (!made) {
        l->is_out_of_memory = true;
        return NULL;
    }
    for (int i = 0; i < n->n_attrs; ++i)
        l->is_out_of_memory |= !hone_attr_set(l->g, made, &n->attrs[i]);
    made->origin = n->origin;
    return made;
}

/* A constant operand [c, 1, 1, ...] or of full rank, seen channels-last: the same bytes when at
 * most one axis is longer than 1, a transposed copy otherwise. NULL: cannot be used. */
static hone_value *constant_operand(layout *l, hone_value *v, int rank) {
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
    hone_type twin = twin_type(&full);
    hone_tensor *copy = HONE_NEW(l->g->arena, hone_tensor);
    if (!copy)
        return NULL;
    *copy = hone_tensor_view(t->dtype, rank, twin.dims, t->data);
    return hone_graph_constant(l->g, v->name, copy);
}

/* Clip's bounds and the like: scalars are the same in every layout. */
static bool is_scalar(const hone_value *v) {
    return v->type.kind == HONE_KIND_TENSOR && v->type.rank == 0;
}

static bool follow_elementwise(layout *l, hone_node *n) {
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
        has_any |= has_twin(l, v);
    }
    if (!has_any)
        return false;
    for (int i = 0; i < n->n_in; ++i) {
        hone_value *v = n->in[i];
        if (!v || is_scalar(v))
            continue;
        if (v->constant && !has_twin(l, v)) {
            in[i] = constant_operand(l, v, rank);
            if (!in[i])
                in[i] = v->type.rank == rank ? channels_last(l, v) : NULL;
            if (!in[i])
                return false;
        } else {
            in[i] = channels_last(l, v);
        }
    }
    emit(l, same_node(l, n, in, output_twin(l, n)));
    return true;
}

static bool follow_concat(layout *l, hone_node *n) {
    int rank = n->out[0]->type.rank;
    int64_t axis = hone_attr_int(n, "axis", 0);
    bool has_any = false;
    if (rank < 3)
        return false;
    for (int i = 0; i < n->n_in; ++i)
        has_any |= has_twin(l, n->in[i]);
    hone_value **in = HONE_NEW_ARRAY(l->g->arena, hone_value *, n->n_in);
    if (!has_any || !in)
        return false;
    for (int i = 0; i < n->n_in; ++i)
        in[i] = channels_last(l, n->in[i]);
    hone_node *made = same_node(l, n, in, output_twin(l, n));
    if (made && !hone_attr_set_int(l->g, made, "axis",
                                   twin_axis((int)(axis < 0 ? axis + rank : axis), rank)))
        l->is_out_of_memory = true;
    emit(l, made);
    return true;
}

/* Means over axes that are kept as 1. */
static bool follow_reduce(layout *l, hone_node *n) {
    hone_value *x = n->in[0];
    int rank = x->type.rank;
    int64_t axes[HONE_MAX_RANK];
    int n_axes = 0;
    bool is_global = strcmp(n->op_name, "GlobalAveragePool") == 0;
    if (!has_twin(l, x) || rank < 3 || !hone_attr_int(n, "keepdims", 1) ||
        hone_attr_int(n, "noop_with_empty_axes", 0))
        return false;
    if (is_global) {
        for (int d = 2; d < rank; ++d)
            axes[n_axes++] = d;
    } else {
        const hone_tensor *t = n->n_in > 1 && n->in[1] ? n->in[1]->constant : NULL;
        if (!t || hone_tensor_count(t) > rank)
            return false;
        for (int64_t i = 0; i < hone_tensor_count(t); ++i) {
            int64_t a = hone_load_i64(t->dtype, t->data, i);
            axes[n_axes++] = a < 0 ? a + rank : a;
        }
    }
    for (int i = 0; i < n_axes; ++i)
        axes[i] = twin_axis((int)axes[i], rank);
    hone_value *in[2] = {channels_last(l, x), hone_graph_const_i64(l->g, "axes", axes, n_axes)};
    hone_value *out = output_twin(l, n);
    const char *op = is_global ? "ReduceMean" : n->op_name;
    hone_node *made =
        in[1] ? hone_node_create(l->g, hone_op_find("", op), n->name, in, 2, &out, 1) : NULL;
    if (made)
        made->origin = n->origin;
    emit(l, made);
    return true;
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

static bool try_lower(layout *l, hone_node *n) {
    if (n->domain[0] != '\0' || n->n_out < 1 || !n->out[0] || n->n_in < 1 || !n->in[0])
        return false;
    if (strcmp(n->op_name, "Conv") == 0)
        return lower_conv(l, n);
    if (strcmp(n->op_name, "ConvTranspose") == 0)
        return lower_deconv(l, n);
    if (strcmp(n->op_name, "MaxPool") == 0 || strcmp(n->op_name, "AveragePool") == 0)
        return lower_pool(l, n);
    if (strcmp(n->op_name, "Concat") == 0)
        return follow_concat(l, n);
    if (strcmp(n->op_name, "GlobalAveragePool") == 0 || strcmp(n->op_name, "ReduceMean") == 0)
        return follow_reduce(l, n);
    if (n->op->flags & HONE_OP_ELEMENTWISE)
        return follow_elementwise(l, n);
    return false;
}

static void need_captured(layout *l, const hone_graph *sub) {
    for (int i = 0; i < sub->n_values; ++i) {
        if (sub->values[i]->outer)
            need_canonical(l, hone_value_mutable(sub->values[i]->outer));
    }
}

static void keep_node(layout *l, hone_node *n) {
    for (int i = 0; i < n->n_in; ++i)
        need_canonical(l, n->in[i]);
    for (int i = 0; i < n->n_attrs; ++i) {
        if (n->attrs[i].kind == HONE_ATTR_GRAPH)
            need_captured(l, n->attrs[i].g);
    }
    emit(l, n);
}

hone_status hone_cpu_layout(hone_graph *g, hone_error *err) {
    layout l = {.g = g, .n_ids = g->n_values};
    l.twin = HONE_NEW_ARRAY(g->arena, hone_value *, g->n_values);
    l.is_made = HONE_NEW_ARRAY(g->arena, bool, g->n_values);
    if (!l.twin || !l.is_made)
        return hone_fail(err, HONE_E_NOMEM, "no memory to choose layouts");
    for (int i = 0; i < g->n_values; ++i)
        l.is_made[i] = true;
    for (int i = 0; i < g->n_nodes && !l.is_out_of_memory; ++i) {
        if (!try_lower(&l, g->nodes[i]))
            keep_node(&l, g->nodes[i]);
    }
    for (int i = 0; i < g->n_outputs; ++i)
        need_canonical(&l, g->outputs[i]);
    if (l.is_out_of_memory)
        return hone_fail(err, HONE_E_NOMEM, "no memory to choose layouts");
    g->nodes = l.nodes;
    g->n_nodes = l.n_nodes;
    g->cap_nodes = l.cap_nodes;
    return hone_graph_index(g) == HONE_OK ? HONE_OK
                                          : hone_fail(err, HONE_E_NOMEM, "no memory to index");
}
