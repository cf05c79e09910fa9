/* The graph's invariants, and topological order. */
#include <string.h>

#include "ir/op.h"

static bool in_list(const hone_graph *g, const hone_value *v) {
    return v->id >= 0 && v->id < g->n_values && g->values[v->id] == v;
}

static hone_status bad(const hone_node *n, hone_error *err, const char *what, const char *name) {
    hone_fail(err, HONE_E_FORMAT, "%s '%s'", what, name);
    return n ? hone_fail_node(err, HONE_E_FORMAT, n->name, n->op_name) : HONE_E_FORMAT;
}

static hone_status verify_subgraphs(const hone_graph *g, const hone_node *n, hone_error *err) {
    for (int i = 0; i < n->n_attrs; ++i) {
        const hone_attr *a = &n->attrs[i];
        int count = a->kind == HONE_ATTR_GRAPH ? 1 : a->kind == HONE_ATTR_GRAPHS ? a->n : 0;
        for (int k = 0; k < count; ++k) {
            const hone_graph *sub = a->kind == HONE_ATTR_GRAPH ? a->g : a->graphs[k];
            for (int j = 0; j < sub->n_values; ++j) {
                const hone_value *outer = sub->values[j]->outer;
                if (outer && !in_list(g, outer))
                    return bad(n, err, "a subgraph captures a value that is gone:", outer->name);
            }
            HONE_TRY(hone_graph_verify(sub, err));
        }
    }
    return HONE_OK;
}

static hone_status verify_node(const hone_graph *g, const hone_node *n, bool *defined,
                               hone_error *err) {
    for (int i = 0; i < n->n_in; ++i) {
        if (!n->in[i])
            continue;
        if (!in_list(g, n->in[i]))
            return bad(n, err, "an input is not a value of the graph:", n->in[i]->name);
        if (!defined[n->in[i]->id])
            return bad(n, err, "an input is used before it is made:", n->in[i]->name);
    }
    if (n->op) {
        if (n->n_in < n->op->min_in || (n->op->max_in >= 0 && n->n_in > n->op->max_in))
            return bad(n, err, "wrong number of inputs of", n->op_name);
        if (n->n_out < n->op->min_out || (n->op->max_out >= 0 && n->n_out > n->op->max_out))
            return bad(n, err, "wrong number of outputs of", n->op_name);
    }
    for (int i = 0; i < n->n_out; ++i) {
        if (!n->out[i])
            continue;
        if (!in_list(g, n->out[i]) || n->out[i]->producer != n)
            return bad(n, err, "an output has lost its producer:", n->out[i]->name);
        if (defined[n->out[i]->id])
            return bad(n, err, "a value is made twice:", n->out[i]->name);
        defined[n->out[i]->id] = true;
    }
    return verify_subgraphs(g, n, err);
}

hone_status hone_graph_verify(const hone_graph *g, hone_error *err) {
    hone_arena temp;
    hone_arena_init(&temp, 0);
    bool *defined = HONE_NEW_ARRAY(&temp, bool, g->n_values);
    hone_status status = defined ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory to verify");
    for (int i = 0; status == HONE_OK && i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        if (v->id != i)
            status = bad(NULL, err, "stale index of value", v->name);
        defined[i] = v->constant || v->outer;
    }
    for (int i = 0; status == HONE_OK && i < g->n_inputs; ++i)
        defined[g->inputs[i]->id] = true;
    for (int i = 0; status == HONE_OK && i < g->n_nodes; ++i)
        status = verify_node(g, g->nodes[i], defined, err);
    for (int i = 0; status == HONE_OK && i < g->n_outputs; ++i) {
        if (!in_list(g, g->outputs[i]) || !defined[g->outputs[i]->id])
            status = bad(NULL, err, "nothing makes the output", g->outputs[i]->name);
    }
    hone_arena_deinit(&temp);
    return status;
}

/* ---- order ------------------------------------------------------------------------------------
 */

/* Kahn's algorithm, taking ready nodes in the order they are listed. A node waits for the producers
 * of its inputs and of what its subgraphs capture. */
typedef struct edge_list {
    int *consumer;
    int *next;
    int n, cap_consumer, cap_next;
    int *first; /* by node: head of its consumers */
} edge_list;

static int node_index(const hone_graph *g, const hone_value *v, const int *position) {
    return v && v->producer && in_list(g, v) ? position[v->id] : -1;
}

static bool add_edge(hone_arena *a, edge_list *e, int from, int to, int *waits) {
    if (from < 0)
        return true;
    int n = e->n;
    if (!hone_arena_grow(a, (void **)&e->consumer, &e->cap_consumer, n, sizeof(int)) ||
        !hone_arena_grow(a, (void **)&e->next, &e->cap_next, n, sizeof(int)))
        return false;
    e->consumer[n] = to;
    e->next[n] = e->first[from];
    e->first[from] = n;
    e->n++;
    waits[to]++;
    return true;
}

static bool add_edges(const hone_graph *g, hone_arena *a, edge_list *e, int i, const int *position,
                      int *waits) {
    const hone_node *n = g->nodes[i];
    bool ok = true;
    for (int k = 0; k < n->n_in; ++k)
        ok = ok && add_edge(a, e, node_index(g, n->in[k], position), i, waits);
    for (int k = 0; k < n->n_attrs; ++k) {
        const hone_attr *at = &n->attrs[k];
        int count = at->kind == HONE_ATTR_GRAPH ? 1 : at->kind == HONE_ATTR_GRAPHS ? at->n : 0;
        for (int s = 0; s < count; ++s) {
            const hone_graph *sub = at->kind == HONE_ATTR_GRAPH ? at->g : at->graphs[s];
            for (int j = 0; j < sub->n_values; ++j)
                ok = ok && add_edge(a, e, node_index(g, sub->values[j]->outer, position), i, waits);
        }
    }
    return ok;
}

static bool is_in_order(const edge_list *e, int n) {
    for (int i = 0; i < n; ++i) {
        for (int k = e->first[i]; k >= 0; k = e->next[k]) {
            if (e->consumer[k] <= i)
                return false;
        }
    }
    return true;
}

static hone_status sort_with(hone_graph *g, hone_arena *a, hone_error *err) {
    int n = g->n_nodes;
    int *position = HONE_NEW_ARRAY(a, int, g->n_values);
    int *waits = HONE_NEW_ARRAY(a, int, n), *ready = HONE_NEW_ARRAY(a, int, n);
    hone_node **order = HONE_NEW_ARRAY(a, hone_node *, n);
    edge_list e = {.first = HONE_NEW_ARRAY(a, int, n)};
    if (!position || !waits || !ready || !order || !e.first)
        return hone_fail(err, HONE_E_NOMEM, "no memory to sort the graph");
    for (int i = 0; i < n; ++i) {
        e.first[i] = -1;
        for (int k = 0; k < g->nodes[i]->n_out; ++k) {
            if (g->nodes[i]->out[k])
                position[g->nodes[i]->out[k]->id] = i;
        }
    }
    for (int i = 0; i < n; ++i) {
        if (!add_edges(g, a, &e, i, position, waits))
            return hone_fail(err, HONE_E_NOMEM, "no memory to sort the graph");
    }
    if (is_in_order(&e, n))
        return HONE_OK; /* the file's order is kept: it is often better for memory */
    int head = 0, tail = 0;
    for (int i = 0; i < n; ++i) {
        if (waits[i] == 0)
            ready[tail++] = i;
    }
    while (head < tail) {
        int i = ready[head];
        order[head++] = g->nodes[i];
        for (int k = e.first[i]; k >= 0; k = e.next[k]) {
            if (--waits[e.consumer[k]] == 0)
                ready[tail++] = e.consumer[k];
        }
    }
    for (int i = 0; tail < n && i < n; ++i) {
        if (waits[i] > 0) {
            hone_fail(err, HONE_E_FORMAT, "the graph has a cycle through this node");
            return hone_fail_node(err, HONE_E_FORMAT, g->nodes[i]->name, g->nodes[i]->op_name);
        }
    }
    memcpy(g->nodes, order, (size_t)n * sizeof *order);
    return HONE_OK;
}

hone_status hone_graph_sort(hone_graph *g, hone_error *err) {
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    hone_arena temp;
    hone_arena_init(&temp, 0);
    hone_status status = g->n_nodes ? sort_with(g, &temp, err) : HONE_OK;
    hone_arena_deinit(&temp);
    return status;
}
