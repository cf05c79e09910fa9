/* Canonical graph -> ONNX model, in the oldest opset that has the forms in use (17 at least).
 *
 * Constants are written straight from where they lie. What has no ONNX form (operators of the
 * domain "hone", Scan-8) fails, naming the node. */
#ifndef HONE_ONNX_WRITER_H
#define HONE_ONNX_WRITER_H

#include "onnx/reader.h"

/* The complete file or none. Models whose constants exceed 2 GB get them in "<path>.data". `facts`
 * (metadata, documentation) may be NULL. The graph must be indexed. */
HONE_NODISCARD hone_status hone_onnx_write(const hone_graph *g, const hone_onnx_facts *facts,
                                           const char *path, hone_error *err);
/** As bytes through a sink, nothing external. */
HONE_NODISCARD hone_status hone_onnx_write_to(const hone_graph *g, const hone_onnx_facts *facts,
                                              hone_status (*sink)(void *arg, const void *bytes,
                                                                  size_t n),
                                              void *arg, hone_error *err);

#endif
