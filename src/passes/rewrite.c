/* The walk over a graph that applies rules, and the builders the rules use. */
#include "passes/rewrite.h"

#include "ir/weights.h"

/* Bounds on the text of an origin, and on how far unused nodes are followed to collect it. */
enum { MAX_ORIGIN = 1024, MAX_DEPTH = 32 };

typedef struct origins {
    char text[MAX_ORIGIN];
    size_t n;
} origins;

static bool has_name(const origins *o, const char *name, size_t len) {
    for (size_t at = 0; at < o->n;) {
        const char *end = memchr(o->text + at, ',', o->n - at);
        size_t n = end ? (size_t)(end - o->text) - at : o->n - at;
        if (n == len && memcmp(o->text + at, name, n) == 0)
            return true;
        at += n + 1;
    }
    return false;
}

static void add_origin(origins *o, const char *list) {
    for (const char *at = list ? list : ""; *at;) {
        size_t n = strcspn(at, ",");
        if (n && !has_name(o, at, n) && o->n + n + 2 < sizeof o->text) {
            if (o->n)
                o->text[o->n++] = ',';
            memcpy(o->text + o->n, at, n);
            o->n += n;
        }
        at += n + (at[n] == ',');
    }
}

static bool is_unused(const hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && n->out[i]->n_uses > 0)
            return false;
    }
    return true;
}

static bool has_subgraphs(const hone_node *n) {
    for (int i = 0; i < n->n_attrs; ++i) {
        if (n->attrs[i].kind == HONE_ATTR_GRAPH || n->attrs[i].kind == HONE_ATTR_GRAPHS)
            return true;
    }
    return false;
}

/* Release what the node reads; producers that lose their last use go the same way. A released node
 * has no inputs left and is dropped when the walk over the list comes to it. */
static void release(hone_node *n, origins *o, int depth) {
    int n_in = n->n_in;
    n->n_in = 0;
    for (int i = 0; i < n_in; ++i) {
        hone_value *v = n->in[i];
        if (!v || --v->n_uses > 0 || !v->producer || depth >= MAX_DEPTH)
            continue;
        if (is_unused(v->producer) && !has_subgraphs(v->producer))
            release(v->producer, o, depth + 1);
    }
    if (o)
        add_origin(o, n->origin);
}

static void count_uses(const hone_node *n) {
    for (int i = 0; i < n->n_in; ++i) {
        if (n->in[i])
            n->in[i]->n_uses++;
    }
}

static hone_node *make(hone_rewriter *r, const char *name, hone_value *const *in, int n_in,
                       hone_value **out) {
    const hone_op_def *op = hone_op_find("", name);
    hone_node *n = NULL;
    if (op && *out)
        n = hone_node_create(r->g, op, r->node->name, in, n_in, out, 1);
    if (!n)
        r->no_memory = true;
    return n;
}

hone_node *hone_rewrite_insert(hone_rewriter *r, const char *name, hone_value *const *in,
                               int n_in) {
    hone_value *out = hone_graph_fresh(r->g, r->node->out[0]->name);
    hone_node *n = make(r, name, in, n_in, &out);
    if (!n)
        return NULL;
    n->origin = r->node->origin;
    if (!hone_graph_insert(r->g, r->at, n)) {
        r->no_memory = true;
        return NULL;
    }
    count_uses(n);
    r->at++;
    return n;
}

hone_node *hone_rewrite_replace(hone_rewriter *r, const char *name, hone_value *const *in,
                                int n_in) {
    hone_node *old = r->node, *n = make(r, name, in, n_in, old->out);
    if (!n)
        return NULL;
    origins o = {.n = 0};
    count_uses(n);
    release(old, &o, 0);
    n->origin = hone_arena_strdup(r->g->arena, o.text, o.n);
    r->no_memory |= n->origin == NULL;
    r->g->nodes[r->at] = n;
    r->node = n;
    return n;
}

bool hone_rewrite_attrs(hone_rewriter *r, hone_node *to, const hone_node *from) {
    for (int i = 0; i < from->n_attrs; ++i) {
        if (!hone_attr_set(r->g, to, &from->attrs[i])) {
            r->no_memory = true;
            return false;
        }
    }
    return true;
}

hone_tensor *hone_rewrite_tensor(hone_rewriter *r, hone_dtype d, int rank, const int64_t *dims) {
    hone_tensor *t = HONE_NEW(r->g->arena, hone_tensor);
    size_t bytes = hone_dtype_bytes(d, hone_dims_count(dims, 0, rank));
    void *data = hone_graph_data(r->g, bytes);
    if (!t || !data) {
        r->no_memory = true;
        return NULL;
    }
    *t = hone_tensor_view(d, rank, dims, data);
    return t;
}

hone_value *hone_rewrite_constant(hone_rewriter *r, const char *base, const hone_tensor *t) {
    hone_value *v = t ? hone_graph_constant(r->g, base, t) : NULL;
    if (!v)
        r->no_memory = true;
    return v;
}

static int apply(hone_rewriter *r, const hone_rule *rules, int n_rules) {
    int n = 0;
    for (int k = 0; k < n_rules && !r->no_memory; ++k)
        n += rules[k](r);
    return n;
}

hone_status hone_rewrite(hone_graph *g, const hone_rule *rules, int n_rules, int *n_changes,
                         hone_error *err) {
    hone_rewriter r = {.g = g};
    int n_done = 0;
    for (int i = g->n_nodes - 1; i >= 0 && !r.no_memory; i = r.at - 1) {
        r.at = i;
        r.node = g->nodes[i];
        if (is_unused(r.node) && r.node->n_out > 0 && !has_subgraphs(r.node)) {
            release(r.node, NULL, 0);
            g->nodes[i] = NULL;
            ++n_done; /* so that the graph is indexed again */
            continue;
        }
        if (r.node->op && r.node->n_out > 0 && r.node->out[0])
            n_done += apply(&r, rules, n_rules);
    }
    hone_graph_compact(g);
    *n_changes += n_done;
    if (r.no_memory)
        return hone_fail(err, HONE_E_NOMEM, "no memory to rewrite the graph");
    return HONE_OK;
}
