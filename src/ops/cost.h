/* Arithmetic cost of nodes, for inspection, profiling and tuning order. */
#ifndef HONE_OPS_COST_H
#define HONE_OPS_COST_H

#include "ir/op.h"

/** Multiply-accumulates of the node: 0 for operators that are not counted, -1 when the shapes are
 * not known. `types` is indexed by value id; NULL: the values' own types. */
int64_t hone_node_macs(const hone_node *n, const hone_type *types);

#endif
