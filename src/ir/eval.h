/* Running one node on tensors at hand: what the executor does for values whose shape depends on
 * data, and what folding does with constants. */
#ifndef HONE_IR_EVAL_H
#define HONE_IR_EVAL_H

#include "ir/op.h"

/** Infer the outputs' types from the actual inputs and allocate them (c->in, c->out, c->alloc set;
 * out structs are overwritten). Outputs of HONE_OP_DYNAMIC operators that infer() leaves open are
 * left with kind NONE for run() to make. `types` gets the input types then the output types (room
 * for n_in + n_out), `temp` is for the contents that infer() gives. */
HONE_NODISCARD hone_status hone_eval_alloc(hone_op_ctx *c, hone_type *types, hone_arena *temp);

/** Evaluate a node without subgraphs on constants with its reference kernel. `out` has room for
 * n_out handles, which the caller releases. HONE_E_UNSUPPORTED for nodes that cannot be evaluated
 * this way (random, control flow, no implementation). */
HONE_NODISCARD hone_status hone_eval_node(const hone_node *node, const hone_tensor *const *in,
                                          hone_tensor *out, hone_alloc *alloc, hone_error *err);

#endif
