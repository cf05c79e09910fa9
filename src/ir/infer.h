/* Type and shape inference over a graph. */
#ifndef HONE_IR_INFER_H
#define HONE_IR_INFER_H

#include "ir/op.h"

/** Infer the outputs of one node from what is known of its inputs, and merge the result into the
 * output values' types: the more specific of two dims wins, a conflict fails. */
HONE_NODISCARD hone_status hone_infer_node(hone_graph *g, hone_node *n, hone_error *err);
/** All nodes in order, subgraphs included (their captures' types are refreshed first; types of
 * their inputs are what the file declares, or what the control-flow operator's infer() sets).
 * Unknown operators leave their outputs unknown. */
HONE_NODISCARD hone_status hone_graph_infer(hone_graph *g, hone_error *err);

#endif
