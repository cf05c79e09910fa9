/* Channels-last layout: convolutions and pooling work on [n, spatial..., channels], and what lies
 * between them follows, so that transposes are needed only where such a region begins and ends.
 *
 * One forward walk. A value may have a channels-last twin; the canonical value itself is made, by a
 * transpose of the twin, only when somebody asks for it. */
#include "backend/cpu/layout.h"

#include <stdio.h>
#include <string.h>

#include "backend/cpu/layout_walk.h"
#include "ir/infer.h"

/* ---- building ---------------------------------------------------------------------------------
 */

void hone_layout_emit(hone_layout *l, hone_node *n) {
    if (!n || !HONE_PUSH(l->g->arena, l->nodes, l->n_nodes, l->cap_nodes, n))
        l->is_out_of_memory = true;
}

hone_node *hone_layout_again(hone_layout *l, const hone_node *n, hone_value *const *in,
                             hone_value *const *out) {
    hone_node *made = hone_node_create(l->g, n->op, n->name, in, n->n_in, out, n->n_out);
    if (!made) {
        l->is_out_of_memory = true;
        return NULL;
    }
    for (int i = 0; i < n->n_attrs; ++i)
        l->is_out_of_memory |= !hone_attr_set(l->g, made, &n->attrs[i]);
    made->origin = n->origin;
    return made;
}

hone_node *hone_layout_add(hone_layout *l, const hone_node *origin, const char *op,
                           hone_value *const *in, int n_in, hone_value *out) {
    const char *name = origin ? origin->name : op;
    if (!out)
        out = hone_graph_fresh(l->g, name[0] ? name : op);
    hone_node *n =
        out ? hone_node_create(l->g, hone_op_find("", op), name, in, n_in, &out, 1) : NULL;
    if (n)
        n->origin = origin ? origin->origin : "";
    hone_layout_emit(l, n);
    return n;
}

/* What was emitted gets its type, unless it has one. */
static hone_value *finish(hone_layout *l, hone_node *n) {
    if (l->is_out_of_memory || !n)
        return NULL;
    if (n->out[0]->type.kind == HONE_KIND_NONE && hone_infer_node(l->g, n, NULL) != HONE_OK)
        n->out[0]->type = (hone_type){.kind = HONE_KIND_NONE, .rank = -1}; /* the plan will say */
    return n->out[0];
}

hone_value *hone_layout_transpose(hone_layout *l, const hone_node *origin, hone_value *x,
                                  const int64_t *perm, int rank, hone_value *out) {
    hone_node *n = hone_layout_add(l, origin, "Transpose", &x, 1, out);
    if (n && !hone_attr_set_ints(l->g, n, "perm", perm, rank))
        l->is_out_of_memory = true;
    return finish(l, n);
}

hone_value *hone_layout_reshape(hone_layout *l, const hone_node *origin, hone_value *x,
                                const int64_t *dims, int rank, hone_value *out) {
    hone_value *in[2] = {x, hone_graph_const_i64(l->g, "dims", dims, rank)};
    if (!in[1]) {
        l->is_out_of_memory = true;
        return NULL;
    }
    return finish(l, hone_layout_add(l, origin, "Reshape", in, 2, out));
}

int hone_layout_ints(const hone_node *n, int i, int64_t out[2 * HONE_MAX_RANK]) {
    if (i >= n->n_in || !n->in[i])
        return 0;
    const hone_tensor *t = n->in[i]->constant;
    if (!t || (t->dtype != HONE_DTYPE_I64 && t->dtype != HONE_DTYPE_I32) || t->rank > 1 ||
        hone_tensor_count(t) > 2 * HONE_MAX_RANK)
        return -1;
    int count = (int)hone_tensor_count(t);
    for (int k = 0; k < count; ++k)
        out[k] = hone_load_i64(t->dtype, t->data, k);
    return count;
}

/* ---- twins ------------------------------------------------------------------------------------
 */

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

int hone_layout_axis(int axis, int rank) {
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

/* One channel, or one position: both layouts are the same bytes. */
static bool is_same_bytes(const hone_type *canonical) {
    bool is_one_position = true;
    for (int i = 2; i < canonical->rank; ++i)
        is_one_position = is_one_position && canonical->dims[i] == 1;
    for (int i = 1; i < canonical->rank; ++i) {
        if (canonical->dims[i] < 0)
            return false;
    }
    return is_one_position || canonical->dims[1] == 1;
}

/* Between a value and its twin. */
static void emit_change(hone_layout *l, hone_value *from, hone_value *to, bool is_to_last) {
    int64_t list[HONE_MAX_RANK];
    int rank = to->type.rank;
    char name[300];
    snprintf(name, sizeof name, "%.200s:%s", from->name,
             is_to_last ? "channels_last" : "channels_first");
    hone_node origin = {.name = name, .origin = ""};
    if (is_same_bytes(is_to_last ? &from->type : &to->type)) {
        for (int i = 0; i < rank; ++i)
            list[i] = i ? to->type.dims[i] : 0;
        hone_layout_reshape(l, &origin, from, list, rank, to);
        return;
    }
    if (is_to_last)
        to_last(rank, list);
    else
        to_first(rank, list);
    hone_layout_transpose(l, &origin, from, list, rank, to);
}

bool hone_layout_has_twin(const hone_layout *l, const hone_value *v) {
    return v && v->id >= 0 && v->id < l->n_ids && l->twin[v->id];
}

static hone_value *new_twin(hone_layout *l, hone_value *v) {
    hone_value *t = hone_graph_fresh(l->g, v->name);
    if (!t) {
        l->is_out_of_memory = true;
        return v;
    }
    t->type = twin_type(&v->type);
    l->twin[v->id] = t;
    return t;
}

hone_value *hone_layout_last(hone_layout *l, hone_value *v) {
    if (hone_layout_has_twin(l, v))
        return l->twin[v->id];
    hone_value *t = new_twin(l, v);
    if (!l->is_out_of_memory)
        emit_change(l, v, t, true);
    return t;
}

void hone_layout_need(hone_layout *l, hone_value *v) {
    if (!hone_layout_has_twin(l, v) || l->is_made[v->id])
        return;
    l->is_made[v->id] = true;
    emit_change(l, l->twin[v->id], v, false);
}

hone_value *hone_layout_output(hone_layout *l, const hone_node *n, int o) {
    l->is_made[n->out[o]->id] = false;
    return new_twin(l, n->out[o]);
}

void hone_layout_set_twin(hone_layout *l, const hone_value *v, hone_value *twin) {
    l->is_made[v->id] = false;
    l->twin[v->id] = twin;
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

static bool try_lower(hone_layout *l, hone_node *n) {
    if (n->domain[0] != '\0' || n->n_out < 1 || !n->out[0] || n->n_in < 1 || !n->in[0])
        return false;
    return hone_layout_window(l, n) || hone_layout_move(l, n) || hone_layout_follow(l, n);
}

static void need_captured(hone_layout *l, const hone_graph *sub) {
    for (int i = 0; i < sub->n_values; ++i) {
        if (sub->values[i]->outer)
            hone_layout_need(l, hone_value_mutable(sub->values[i]->outer));
    }
}

static void keep_node(hone_layout *l, hone_node *n) {
    for (int i = 0; i < n->n_in; ++i)
        hone_layout_need(l, n->in[i]);
    for (int i = 0; i < n->n_attrs; ++i) {
        if (n->attrs[i].kind == HONE_ATTR_GRAPH)
            need_captured(l, n->attrs[i].g);
    }
    hone_layout_emit(l, n);
}

static bool prepare(hone_layout *l) {
    hone_graph *g = l->g;
    l->n_ids = g->n_values;
    l->twin = HONE_NEW_ARRAY(g->arena, hone_value *, g->n_values);
    l->is_made = HONE_NEW_ARRAY(g->arena, bool, g->n_values);
    l->user = HONE_NEW_ARRAY(g->arena, int, g->n_values);
    l->is_done = HONE_NEW_ARRAY(g->arena, bool, g->n_nodes);
    if (!l->twin || !l->is_made || !l->user || !l->is_done)
        return false;
    for (int i = 0; i < g->n_values; ++i) {
        l->is_made[i] = true;
        l->user[i] = -1;
    }
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; ++k) {
            if (n->in[k] && n->in[k]->n_uses == 1)
                l->user[n->in[k]->id] = i;
        }
    }
    for (int i = 0; i < g->n_outputs; ++i)
        l->user[g->outputs[i]->id] = -1;
    return true;
}

hone_status hone_cpu_layout(hone_graph *g, hone_error *err) {
    hone_layout l = {.g = g};
    if (!prepare(&l))
        return hone_fail(err, HONE_E_NOMEM, "no memory to choose layouts");
    for (int i = 0; i < g->n_nodes && !l.is_out_of_memory; ++i) {
        if (!l.is_done[i] && !try_lower(&l, g->nodes[i]))
            keep_node(&l, g->nodes[i]);
    }
    for (int i = 0; i < g->n_outputs; ++i)
        hone_layout_need(&l, g->outputs[i]);
    if (l.is_out_of_memory)
        return hone_fail(err, HONE_E_NOMEM, "no memory to choose layouts");
    g->nodes = l.nodes;
    g->n_nodes = l.n_nodes;
    g->cap_nodes = l.cap_nodes;
    return hone_graph_index(g) == HONE_OK ? HONE_OK
                                          : hone_fail(err, HONE_E_NOMEM, "no memory to index");
}
