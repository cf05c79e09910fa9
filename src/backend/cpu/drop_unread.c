/* What rewriting leaves behind. */
#include "backend/cpu/fuse.h"
#include "ir/op.h"

static hone_status reindex(hone_graph *g, hone_error *err) {
    hone_graph_compact(g);
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index");
    return HONE_OK;
}

hone_status hone_cpu_drop_unread(hone_graph *g, hone_error *err) {
    HONE_TRY(reindex(g, err));
    for (int k = g->n_nodes - 1; k >= 0; --k) {
        const hone_node *n = g->nodes[k];
        bool is_needed = n->op->flags & (HONE_OP_CONTROL | HONE_OP_RANDOM);
        for (int o = 0; o < n->n_out; ++o)
            is_needed = is_needed || (n->out[o] && n->out[o]->n_uses > 0);
        for (int i = 0; !is_needed && i < n->n_in; ++i) {
            if (n->in[i])
                n->in[i]->n_uses--;
        }
        if (!is_needed)
            g->nodes[k] = NULL;
    }
    return reindex(g, err);
}
