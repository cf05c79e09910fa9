/* Canonical graph to TensorFlow Lite file. */
#ifndef HONE_TFLITE_CONVERT_H
#define HONE_TFLITE_CONVERT_H

#include "ir/findings.h"

typedef struct hone_tflite_options {
    bool is_fp16;              /* large constants in half precision */
    bool has_channels_last_io; /* inputs and outputs of rank 4 in NHWC instead of the model's order
                                */
} hone_tflite_options;

typedef hone_status (*hone_tflite_put)(void *arg, const void *bytes, size_t n);

/** Bring `g` (indexed, types inferred) to the form that the conversion works on: the passes, operators
 * that have their quantisation as inputs taken apart, uint8 made int8 where LiteRT's kernels want
 * that. hone_tflite_convert does it, too. */
HONE_NODISCARD hone_status hone_tflite_prepare(hone_graph *g, hone_error *err);
/** Convert `g` (indexed, types inferred; passes are run on it) and hand the file's bytes to `put`.
 * What has no equivalent goes into `findings`, all at once, and nothing is written then:
 * HONE_E_UNSUPPORTED. Constants of `g` are only read. */
HONE_NODISCARD hone_status hone_tflite_convert(hone_graph *g, const hone_tflite_options *options,
                                               hone_findings *findings, hone_tflite_put put,
                                               void *arg, hone_error *err);

#endif
