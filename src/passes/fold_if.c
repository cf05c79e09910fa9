/* If with a constant condition: the branch that is taken moves into the graph. */
#include "passes/match.h"
#include "passes/pass.h"

static hone_value *outside(hone_value *v) {
    return v && v->outer ? hone_value_mutable(v->outer) : v;
}

/* Captures of a node's subgraphs, and their place, are those of the new home. */
static void rehome(hone_graph *g, const hone_node *n) {
    for (int i = 0; i < n->n_attrs; ++i) {
        const hone_attr *a = &n->attrs[i];
        int n_graphs = a->kind == HONE_ATTR_GRAPH ? 1 : a->kind == HONE_ATTR_GRAPHS ? a->n : 0;
        for (int k = 0; k < n_graphs; ++k) {
            hone_graph *sub = a->kind == HONE_ATTR_GRAPH ? a->g : a->graphs[k];
            sub->parent = g;
            for (int j = 0; j < sub->n_values; ++j) {
                const hone_value *outer = sub->values[j]->outer;
                if (outer && outer->outer)
                    sub->values[j]->outer = outer->outer;
            }
        }
    }
}

/* Inner names may occur outside, or twice when the model shares a subgraph. */
static bool rename_values(hone_graph *g, const hone_graph *branch) {
    for (int i = 0; i < branch->n_values; ++i) {
        hone_value *v = branch->values[i];
        if (v->outer)
            continue;
        v->name = hone_arena_printf(g->arena, "%.200s#%d", v->name, g->fresh++);
        v->id = -1; /* not yet in the outer graph's list */
        v->n_uses = 0;
        if (!v->name)
            return false;
    }
    return true;
}

static bool move_nodes(hone_graph *g, const hone_node *from, const hone_graph *branch, int at) {
    for (int i = 0; i < branch->n_nodes; ++i) {
        hone_node *n = branch->nodes[i];
        rehome(g, n);
        for (int k = 0; k < n->n_in; ++k)
            n->in[k] = outside(n->in[k]);
        if (!hone_graph_insert(g, at + i, n))
            return false;
    }
    const hone_op_def *identity = hone_op_find("", "Identity");
    for (int k = 0; k < from->n_out; ++k) {
        if (!from->out[k])
            continue;
        hone_value *in = outside(branch->outputs[k]);
        hone_node *n = hone_node_create(g, identity, from->name, &in, 1, &from->out[k], 1);
        if (!n || !hone_graph_insert(g, at + branch->n_nodes, n))
            return false;
        n->origin = from->origin;
    }
    return true;
}

static hone_graph *taken_branch(const hone_node *n) {
    const hone_tensor *t = hone_is(n, "If") && n->n_in == 1 && n->in[0] ? n->in[0]->constant : NULL;
    if (!t || t->kind != HONE_KIND_TENSOR || t->dtype != HONE_DTYPE_BOOL ||
        hone_tensor_count(t) != 1)
        return NULL;
    bool is_true = hone_load_i64(t->dtype, t->data, 0) != 0;
    hone_graph *branch = hone_attr_graph(n, is_true ? "then_branch" : "else_branch");
    return branch && branch->n_outputs >= n->n_out && branch->n_inputs == 0 ? branch : NULL;
}

hone_status hone_pass_fold_if(hone_graph *g, int *n_changes, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        const hone_graph *branch = taken_branch(n);
        if (!branch)
            continue;
        g->nodes[i] = NULL;
        int before = g->n_nodes;
        if (!rename_values(g, branch) || !move_nodes(g, n, branch, i + 1))
            return hone_fail(err, HONE_E_NOMEM, "no memory to move a branch");
        i += g->n_nodes - before;
        ++*n_changes;
    }
    hone_graph_compact(g);
    return HONE_OK;
}
