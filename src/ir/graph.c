/* Building and editing graphs. */
#include "ir/graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

hone_graph *hone_graph_create(void) {
    hone_arena arena;
    hone_arena_init(&arena, 0);
    hone_graph *g = HONE_NEW(&arena, hone_graph);
    hone_arena *own = HONE_NEW(&arena, hone_arena);
    hone_symtab *symbols = HONE_NEW(&arena, hone_symtab);
    hone_weights *weights = hone_weights_create(&arena);
    if (!g || !own || !symbols || !weights) {
        hone_arena_deinit(&arena);
        return NULL;
    }
    *own = arena; /* the arena lives in its own first block */
    g->arena = own;
    g->symbols = symbols;
    g->weights = weights;
    g->name = "";
    return g;
}

void hone_graph_destroy(hone_graph *root) {
    if (!root)
        return;
    hone_arena arena = *root->arena;
    hone_arena_deinit(&arena);
}

hone_graph *hone_graph_sub(hone_graph *parent) {
    hone_graph *g = HONE_NEW(parent->arena, hone_graph);
    if (!g)
        return NULL;
    g->arena = parent->arena;
    g->symbols = parent->symbols;
    g->weights = parent->weights;
    g->parent = parent;
    g->opset = parent->opset;
    g->name = "";
    return g;
}

hone_value *hone_graph_value(hone_graph *g, const char *name) {
    hone_value *v = HONE_NEW(g->arena, hone_value);
    if (!v)
        return NULL;
    v->name = hone_arena_strdup(g->arena, name, strlen(name));
    v->type.rank = -1;
    v->id = g->n_values;
    if (!v->name || !HONE_PUSH(g->arena, g->values, g->n_values, g->cap_values, v))
        return NULL;
    return v;
}

hone_value *hone_graph_fresh(hone_graph *g, const char *base) {
    /* Ids only grow within a graph and "#" does not occur in names that exporters write; the
     * reader makes names that do unique. */
    char name[256];
    snprintf(name, sizeof name, "%.200s#%d", base, g->fresh++);
    return hone_graph_value(g, name);
}

hone_value *hone_graph_constant(hone_graph *g, const char *base, const hone_tensor *t) {
    hone_value *v = hone_graph_fresh(g, base);
    if (!v)
        return NULL;
    v->constant = t;
    v->type = hone_type_of(t);
    return v;
}

static hone_value *constant_of(hone_graph *g, const char *base, hone_dtype d, int n,
                               const void *data) {
    int64_t dims[1] = {n < 0 ? 1 : n};
    size_t bytes = hone_dtype_bytes(d, dims[0]);
    hone_tensor *t = HONE_NEW(g->arena, hone_tensor);
    void *copy = hone_arena_alloc(g->arena, bytes);
    if (!t || !copy)
        return NULL;
    if (bytes)
        memcpy(copy, data, bytes);
    *t = hone_tensor_view(d, n < 0 ? 0 : 1, dims, copy);
    return hone_graph_constant(g, base, t);
}

hone_value *hone_graph_const_i64(hone_graph *g, const char *base, const int64_t *v, int n) {
    return constant_of(g, base, HONE_DTYPE_I64, n, v);
}

hone_value *hone_graph_const_f32(hone_graph *g, const char *base, float v) {
    return constant_of(g, base, HONE_DTYPE_F32, -1, &v);
}

hone_node *hone_node_create(hone_graph *g, const hone_op_def *op, const char *name,
                            hone_value *const *in, int n_in, hone_value *const *out, int n_out) {
    hone_node *n = HONE_NEW(g->arena, hone_node);
    if (!n)
        return NULL;
    n->op = op;
    n->op_name = op ? hone_op_name(op) : "";
    n->domain = op ? hone_op_domain(op) : "";
    n->name = hone_arena_strdup(g->arena, name, strlen(name));
    n->origin = n->name;
    n->n_in = n_in;
    n->n_out = n_out;
    n->in = HONE_NEW_ARRAY(g->arena, hone_value *, n_in);
    n->out = HONE_NEW_ARRAY(g->arena, hone_value *, n_out);
    if (!n->name || !n->in || !n->out)
        return NULL;
    for (int i = 0; i < n_in; ++i)
        n->in[i] = in[i];
    for (int i = 0; i < n_out; ++i) {
        n->out[i] = out[i];
        if (out[i])
            out[i]->producer = n;
    }
    return n;
}

bool hone_graph_insert(hone_graph *g, int position, hone_node *node) {
    if (!HONE_PUSH(g->arena, g->nodes, g->n_nodes, g->cap_nodes, node))
        return false;
    for (int i = g->n_nodes - 1; i > position; --i)
        g->nodes[i] = g->nodes[i - 1];
    g->nodes[position] = node;
    return true;
}

bool hone_graph_append(hone_graph *g, hone_node *node) {
    return hone_graph_insert(g, g->n_nodes, node);
}

/* Calls fn for every subgraph attribute of the node. */
typedef void (*subgraph_fn)(hone_graph *sub, void *arg);
static void each_subgraph(const hone_node *node, subgraph_fn fn, void *arg) {
    for (int i = 0; i < node->n_attrs; ++i) {
        const hone_attr *a = &node->attrs[i];
        if (a->kind == HONE_ATTR_GRAPH)
            fn(a->g, arg);
        for (int k = 0; a->kind == HONE_ATTR_GRAPHS && k < a->n; ++k)
            fn(a->graphs[k], arg);
    }
}

struct replacement {
    const hone_value *from;
    hone_value *to;
};

static void replace_captures(hone_graph *sub, void *arg) {
    const struct replacement *r = arg;
    for (int i = 0; i < sub->n_values; ++i) {
        if (sub->values[i]->outer == r->from) {
            sub->values[i]->outer = r->to;
            sub->values[i]->type = r->to->type;
        }
    }
}

void hone_graph_replace_uses(hone_graph *g, const hone_value *from, hone_value *to) {
    struct replacement r = {from, to};
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        if (!n)
            continue;
        for (int k = 0; k < n->n_in; ++k) {
            if (n->in[k] == from)
                n->in[k] = to;
        }
        each_subgraph(n, replace_captures, &r);
    }
    for (int i = 0; i < g->n_outputs; ++i) {
        if (g->outputs[i] == from)
            g->outputs[i] = to;
    }
}

void hone_graph_compact(hone_graph *g) {
    int n = 0;
    for (int i = 0; i < g->n_nodes; ++i) {
        if (g->nodes[i])
            g->nodes[n++] = g->nodes[i];
    }
    g->n_nodes = n;
}

static void forget_uses(hone_graph *g) {
    for (int i = 0; i < g->n_values; ++i) {
        g->values[i]->n_uses = 0;
        g->values[i]->producer = NULL;
        g->values[i]->id = -1;
    }
}

static void index_subgraph(hone_graph *sub, void *arg) {
    hone_status *status = arg;
    if (*status != HONE_OK)
        return;
    *status = hone_graph_index(sub);
    for (int i = 0; *status == HONE_OK && i < sub->n_values; ++i) {
        /* The capture is the only link from the inner value to the outer one. */
        const hone_value *outer = sub->values[i]->outer;
        if (outer)
            hone_value_mutable(outer)->n_uses++;
    }
}

static bool keep_value(hone_graph *g, hone_value *v) {
    if (!v || v->id >= 0)
        return true;
    v->id = g->n_values;
    return HONE_PUSH(g->arena, g->values, g->n_values, g->cap_values, v);
}

hone_status hone_graph_index(hone_graph *g) {
    forget_uses(g);
    g->n_values = 0;
    bool ok = true;
    for (int i = 0; i < g->n_inputs; ++i)
        ok = keep_value(g, g->inputs[i]) && ok;
    hone_status status = HONE_OK;
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; ++k) {
            ok = keep_value(g, n->in[k]) && ok;
            if (n->in[k])
                n->in[k]->n_uses++;
        }
        for (int k = 0; k < n->n_out; ++k) {
            ok = keep_value(g, n->out[k]) && ok;
            if (n->out[k])
                n->out[k]->producer = n;
        }
    }
    for (int i = 0; i < g->n_outputs; ++i) {
        ok = keep_value(g, g->outputs[i]) && ok;
        g->outputs[i]->n_uses++;
    }
    /* Captures refer to values that only a subgraph uses: keep those too, in a second walk, since
     * indexing a subgraph counts into values that must have been reset above. */
    for (int i = 0; i < g->n_nodes; ++i)
        each_subgraph(g->nodes[i], index_subgraph, &status);
    for (int i = 0; i < g->n_nodes; ++i)
        ok = hone_graph_keep_captures(g, g->nodes[i]) && ok;
    if (status != HONE_OK)
        return status;
    return ok ? HONE_OK : HONE_E_NOMEM;
}

bool hone_graph_keep_captures(hone_graph *g, const hone_node *node) {
    bool ok = true;
    for (int i = 0; i < node->n_attrs; ++i) {
        const hone_attr *a = &node->attrs[i];
        int n_graphs = a->kind == HONE_ATTR_GRAPH ? 1 : a->kind == HONE_ATTR_GRAPHS ? a->n : 0;
        for (int k = 0; k < n_graphs; ++k) {
            const hone_graph *sub = a->kind == HONE_ATTR_GRAPH ? a->g : a->graphs[k];
            for (int j = 0; j < sub->n_values; ++j) {
                if (sub->values[j]->outer)
                    ok = keep_value(g, hone_value_mutable(sub->values[j]->outer)) && ok;
            }
        }
    }
    return ok;
}

bool hone_graph_is_output(const hone_graph *g, const hone_value *v) {
    for (int i = 0; i < g->n_outputs; ++i) {
        if (g->outputs[i] == v)
            return true;
    }
    return false;
}

int hone_symbol(hone_graph *g, const char *name) {
    hone_symtab *s = g->symbols;
    for (int i = 0; i < s->n; ++i) {
        if (strcmp(s->name[i], name) == 0)
            return i;
    }
    const char *copy = hone_arena_strdup(g->arena, name, strlen(name));
    if (!copy || !HONE_PUSH(g->arena, s->name, s->n, s->cap, copy))
        return -1;
    return s->n - 1;
}

const char *hone_dim_text(const hone_graph *g, int64_t dim, char buf[24]) {
    if (hone_dim_is_symbol(dim) && g && hone_dim_symbol(dim) < g->symbols->n)
        return g->symbols->name[hone_dim_symbol(dim)];
    if (dim < 0)
        return "?";
    snprintf(buf, 24, "%" PRId64, dim);
    return buf;
}

char *hone_type_describe(const hone_graph *g, const hone_type *t, char *buf, size_t size) {
    if (t->kind == HONE_KIND_SEQUENCE && t->elem) {
        char inner[160];
        snprintf(buf, size, "sequence(%s)", hone_type_describe(g, t->elem, inner, sizeof inner));
        return buf;
    }
    if (t->kind != HONE_KIND_TENSOR) {
        snprintf(buf, size, "%s",
                 t->kind == HONE_KIND_SEQUENCE ? "sequence"
                 : t->kind == HONE_KIND_MAP    ? "map"
                                               : "?");
        return buf;
    }
    const char *name = t->dtype ? hone_dtype_name(t->dtype) : "?";
    if (t->rank < 0) {
        snprintf(buf, size, "%s[...]", name);
        return buf;
    }
    size_t at = (size_t)snprintf(buf, size, "%s[", name);
    for (int i = 0; i < t->rank && at < size; ++i) {
        char dim[24];
        at += (size_t)snprintf(buf + at, size - at, "%s%s", i ? "," : "",
                               hone_dim_text(g, t->dims[i], dim));
    }
    if (at < size)
        snprintf(buf + at, size - at, "]");
    return buf;
}

hone_type hone_type_of(const hone_tensor *t) {
    hone_type type = {.kind = t->kind, .dtype = t->dtype, .rank = t->rank};
    if (t->kind == HONE_KIND_TENSOR)
        memcpy(type.dims, t->dims, sizeof type.dims);
    else
        type.rank = -1;
    return type;
}

hone_type hone_type_tensor(hone_dtype d, int rank, const int64_t *dims) {
    hone_type type = {.kind = HONE_KIND_TENSOR, .dtype = d, .rank = rank};
    for (int i = 0; i < rank; ++i)
        type.dims[i] = dims[i];
    return type;
}

bool hone_type_is_static(const hone_type *t) {
    if (t->kind != HONE_KIND_TENSOR || t->optional || t->dtype == HONE_DTYPE_NONE || t->rank < 0)
        return false;
    for (int i = 0; i < t->rank; ++i) {
        if (t->dims[i] < 0)
            return false;
    }
    return true;
}
