/* Float operators without a form on integers, written by operators that have one, before a graph is
 * quantised: what is computed stays the same up to rounding. */
#ifndef HONE_QUANT_DECOMPOSE_H
#define HONE_QUANT_DECOMPOSE_H

#include "ir/graph.h"

/** `g` is indexed, its types inferred; again so afterwards. */
HONE_NODISCARD hone_status hone_quant_decompose(hone_graph *g, hone_error *err);

#endif
