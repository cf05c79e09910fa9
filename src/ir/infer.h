/* Types of a graph's values, found by running the operators' infer functions over it. */
#ifndef HONE_IR_INFER_H
#define HONE_IR_INFER_H

#include "ir/op.h"

/** Infer every node in order, subgraphs included. What a value's type said before (declared in the
 * model, or found earlier) is completed; where sizes disagree the inferred ones stand, since
 * exporters' annotations are often stale. Element types in conflict fail. Nodes without an operator
 * leave their outputs as declared. */
HONE_NODISCARD hone_status hone_graph_infer(hone_graph *g, hone_error *err);
/** The outputs of one node; the types of its subgraphs must be known. */
HONE_NODISCARD hone_status hone_infer_node(hone_graph *g, hone_node *node, hone_error *err);
/** Give the node's subgraphs what is known from outside: their inputs' types, and their captures'
 * types and contents. */
void hone_infer_enter(hone_node *node);

#endif
