/* Deep copy of a graph; the bytes of constants are shared. */
#include <string.h>

#include "ir/graph.h"

/* Values map to their copies through their index in the list, which the source graph keeps in
 * `id`; captures map through the enclosing graph's cloner. */
typedef struct cloner {
    const hone_graph *from;
    hone_graph *to;
    hone_value **copy; /* by id of from's values */
    struct cloner *outer;
} cloner;

static hone_graph *clone_into(const hone_graph *g, hone_graph *copy, cloner *outer);

static hone_type clone_type(hone_arena *a, const hone_type *t, bool *ok) {
    hone_type copy = *t;
    if (t->contents) {
        int64_t *c = HONE_NEW_ARRAY(a, int64_t, t->n_contents);
        *ok = *ok && c;
        if (c)
            memcpy(c, t->contents, (size_t)t->n_contents * sizeof *c);
        copy.contents = c;
    }
    if (t->elem) {
        hone_type *e = HONE_NEW(a, hone_type);
        *ok = *ok && e;
        if (e)
            *e = clone_type(a, t->elem, ok);
        copy.elem = e;
    }
    return copy;
}

static const hone_tensor *clone_tensor(hone_arena *a, const hone_tensor *t, bool *ok) {
    if (!t)
        return NULL;
    hone_tensor *copy = HONE_NEW(a, hone_tensor);
    *ok = *ok && copy;
    if (copy)
        *copy = *t;
    return copy;
}

static hone_value *mapped(const cloner *c, const hone_value *v) {
    return v && v->id >= 0 && v->id < c->from->n_values ? c->copy[v->id] : NULL;
}

static bool clone_attr(cloner *c, hone_attr *dst, const hone_attr *src) {
    hone_arena *a = c->to->arena;
    *dst = *src;
    dst->name = hone_arena_strdup(a, src->name, strlen(src->name));
    bool ok = dst->name != NULL;
    if (src->kind == HONE_ATTR_GRAPH) {
        dst->g = clone_into(src->g, hone_graph_sub(c->to), c);
        ok = ok && dst->g;
    } else if (src->kind == HONE_ATTR_GRAPHS) {
        hone_graph **graphs = HONE_NEW_ARRAY(a, hone_graph *, src->n);
        if (!graphs)
            return false;
        for (int i = 0; ok && i < src->n; ++i) {
            graphs[i] = clone_into(src->graphs[i], hone_graph_sub(c->to), c);
            ok = graphs[i] != NULL;
        }
        dst->graphs = graphs;
    }
    /* Numbers, strings and tensors stay in the source graph's arena, which outlives the copy. */
    return ok;
}

static bool clone_node(cloner *c, const hone_node *n) {
    hone_arena *a = c->to->arena;
    hone_node *copy = HONE_NEW(a, hone_node);
    if (!copy)
        return false;
    *copy = *n;
    copy->in = HONE_NEW_ARRAY(a, hone_value *, n->n_in);
    copy->out = HONE_NEW_ARRAY(a, hone_value *, n->n_out);
    copy->attrs = HONE_NEW_ARRAY(a, hone_attr, n->n_attrs);
    if (!copy->in || !copy->out || !copy->attrs)
        return false;
    for (int i = 0; i < n->n_in; ++i)
        copy->in[i] = mapped(c, n->in[i]);
    for (int i = 0; i < n->n_out; ++i)
        copy->out[i] = mapped(c, n->out[i]);
    for (int i = 0; i < n->n_attrs; ++i) {
        if (!clone_attr(c, &copy->attrs[i], &n->attrs[i]))
            return false;
    }
    return hone_graph_append(c->to, copy);
}

static bool clone_values(cloner *c) {
    const hone_graph *g = c->from;
    hone_arena *a = c->to->arena;
    c->copy = HONE_NEW_ARRAY(a, hone_value *, g->n_values);
    bool ok = c->copy != NULL;
    for (int i = 0; ok && i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        hone_value *copy = hone_graph_value(c->to, v->name);
        if (!copy)
            return false;
        copy->type = clone_type(a, &v->type, &ok);
        copy->constant = clone_tensor(a, v->constant, &ok);
        copy->initial = clone_tensor(a, v->initial, &ok);
        copy->next = v->next;
        copy->outer = v->outer && c->outer ? mapped(c->outer, v->outer) : NULL;
        c->copy[i] = copy;
    }
    return ok;
}

static hone_graph *clone_into(const hone_graph *g, hone_graph *copy, cloner *outer) {
    if (!copy)
        return NULL;
    cloner c = {.from = g, .to = copy, .outer = outer};
    copy->name = g->name;
    copy->opset = g->opset;
    copy->fresh = g->fresh;
    bool ok = clone_values(&c);
    for (int i = 0; ok && i < g->n_nodes; ++i)
        ok = clone_node(&c, g->nodes[i]);
    for (int i = 0; ok && i < g->n_inputs; ++i)
        ok = HONE_PUSH(copy->arena, copy->inputs, copy->n_inputs, copy->cap_inputs,
                       mapped(&c, g->inputs[i]));
    for (int i = 0; ok && i < g->n_outputs; ++i)
        ok = HONE_PUSH(copy->arena, copy->outputs, copy->n_outputs, copy->cap_outputs,
                       mapped(&c, g->outputs[i]));
    return ok ? copy : NULL;
}

hone_graph *hone_graph_clone(const hone_graph *g) {
    hone_graph *copy = hone_graph_create();
    if (!copy)
        return NULL;
    bool ok = true;
    for (int i = 0; i < g->symbols->n; ++i)
        ok = ok && hone_symbol(copy, g->symbols->name[i]) >= 0;
    if (!ok || !clone_into(g, copy, NULL) || hone_graph_index(copy) != HONE_OK) {
        hone_graph_destroy(copy);
        return NULL;
    }
    return copy;
}
