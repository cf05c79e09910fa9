/* Memory of large constants that may go before their graph does: a build makes aligned, folded and
 * packed copies of every weight, one after the other, and only the last is needed. */
#ifndef HONE_IR_WEIGHTS_H
#define HONE_IR_WEIGHTS_H

#include "ir/graph.h"

/** Zeroed memory for the contents of a constant, 64-byte aligned, until hone_graph_sweep
 * finds that nothing refers to it, at the latest until the root graph goes. NULL when out of
 * memory. */
void *hone_graph_data(hone_graph *g, size_t bytes);
/** Free what neither a node, an input, an output nor an attribute of the root graph and its
 * subgraphs refers to; a pointer into the middle of a block counts. Values that no node uses any
 * more must not be read afterwards (hone_graph_index drops them). */
void hone_graph_sweep(hone_graph *g);

#endif
