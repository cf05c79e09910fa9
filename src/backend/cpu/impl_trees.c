/* Tree ensembles: their attributes are read once for a plan; the walk is the reference's. */
#include "backend/cpu/impl.h"
#include "ops/ml_tree.h"

hone_status hone_prepare_trees(hone_prepare_ctx *c, void **state) {
    hone_trees *t;
    HONE_TRY(hone_trees_prepare(c->node, c->arena, &t, c->err));
    *state = t;
    return HONE_OK;
}

hone_status hone_run_trees(hone_op_ctx *c) {
    return c->node->op->run(c);
}
