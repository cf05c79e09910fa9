/* Nodes none of whose outputs is used are dropped, from the end to the start; unused optional
 * outputs of the others become omitted. */
#include "passes/pass.h"

static bool is_dead(const hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && n->out[i]->n_uses > 0)
            return false;
    }
    return true;
}

static void release_captures(const hone_graph *sub);

static void release_inputs(const hone_node *n) {
    for (int i = 0; i < n->n_in; ++i) {
        if (n->in[i])
            n->in[i]->n_uses--;
    }
    for (int i = 0; i < n->n_attrs; ++i) {
        if (n->attrs[i].kind == HONE_ATTR_GRAPH)
            release_captures(n->attrs[i].g);
    }
}

static void release_captures(const hone_graph *sub) {
    for (int i = 0; i < sub->n_values; ++i) {
        if (sub->values[i]->outer)
            hone_value_mutable(sub->values[i]->outer)->n_uses--;
    }
}

static int omit_unused_outputs(hone_node *n) {
    int n_omitted = 0;
    int least = n->op ? n->op->min_out : n->n_out;
    for (int i = n->n_out - 1; i >= least; --i) {
        if (n->out[i] && n->out[i]->n_uses == 0) {
            n->out[i] = NULL;
            ++n_omitted;
        }
    }
    return n_omitted;
}

hone_status hone_pass_remove_dead(hone_graph *g, int *n_changes, hone_error *err) {
    (void)err;
    for (int i = g->n_nodes - 1; i >= 0; --i) {
        hone_node *n = g->nodes[i];
        if (is_dead(n)) {
            release_inputs(n);
            g->nodes[i] = NULL;
            ++*n_changes;
        } else if (!n->op || !(n->op->flags & HONE_OP_CONTROL)) {
            *n_changes += omit_unused_outputs(n);
        }
    }
    hone_graph_compact(g);
    return HONE_OK;
}
