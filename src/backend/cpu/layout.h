/* Channels-last layout for convolutional parts of a graph: see layout.c. */
#ifndef HONE_BACKEND_CPU_LAYOUT_H
#define HONE_BACKEND_CPU_LAYOUT_H

#include "ir/op.h"

/** Rewrites convolutions and pooling to hone.Conv and hone.Pool (weights still as in ONNX). The
 * graph must be indexed with types inferred. */
HONE_NODISCARD hone_status hone_cpu_layout(hone_graph *g, hone_error *err);

#endif
