/* What a graph is made for: the shapes of its inputs, and inputs that are constants. */
#ifndef HONE_ENGINE_PROFILE_H
#define HONE_ENGINE_PROFILE_H

#include "ir/graph.h"

/** Fix the dims that the ranges fix, wherever their symbols occur among the inputs, and infer
 * again.
 */
HONE_NODISCARD hone_status hone_apply_shapes(hone_graph *g, const hone_shape_range *shapes, int n,
                                             hone_error *err);
/** Inputs that the file gives a default are weights in all but name (exporters of old listed every
 * initialiser as an input): they become constants. State stays an input. */
void hone_fix_defaults(hone_graph *g);

#endif
