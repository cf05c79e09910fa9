/* ONNX bytes -> canonical graph: read, adapt to the newest operator forms, infer types. */
#ifndef HONE_ONNX_IMPORT_H
#define HONE_ONNX_IMPORT_H

#include "onnx/reader.h"

/** As hone_onnx_read_model, followed by naming nodes without a name ("<operator>_<first output>"),
 * adapting and inference. */
HONE_NODISCARD hone_status hone_onnx_import(const uint8_t *bytes, size_t n, const char *dir,
                                            hone_graph **out, hone_onnx_facts *facts,
                                            hone_error *err);

#endif
