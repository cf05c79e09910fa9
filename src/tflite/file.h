/* A TensorFlow Lite file as lists of tensors and operators, checked: indices are in range, sizes of
 * constants fit their shapes. Everything lives in the arena or is a view into the file. */
#ifndef HONE_TFLITE_FILE_H
#define HONE_TFLITE_FILE_H

#include "base/arena.h"
#include "tflite/flat_read.h"
#include "tflite/schema.h"

/* real = scale * (stored - zero_point); n_scales 0: not quantised, 1: one for the tensor, else one for
 * each slice of `axis`. Blockwise: block > 0 and tensors that hold scales and zero points. */
typedef struct tfr_quant {
    int n_scales;
    const float *scale;
    const int64_t *zero_point;
    int axis;
    int block, scales_tensor, zeros_tensor;
} tfr_quant;

typedef struct tfr_tensor {
    const char *name;
    hone_dtype dtype; /* NONE: resources and variants */
    int rank;         /* -1: unknown */
    int64_t dims[HONE_MAX_RANK]; /* -1: known when it runs */
    const void *data; /* of constants, else NULL; any alignment */
    tfr_quant quant;
    bool is_variable;
    bool has_rank; /* false and rank 0: may be of any rank */
} tfr_tensor;

typedef struct tfr_op {
    int code;
    const char *custom; /* name of a custom operator, else NULL */
    const int *in, *out; /* tensors; -1: omitted */
    int n_in, n_out;
    tfr_table options, options_2; /* at 0: none */
    tfr_vector custom_options;    /* bytes */
    const int *intermediates; /* tensors whose quantisation the operator uses */
    int n_intermediates;
} tfr_op;

typedef struct tfr_graph {
    const tfr_tensor *tensors;
    const tfr_op *ops;
    const int *inputs, *outputs;
    int n_tensors, n_ops, n_inputs, n_outputs;
} tfr_graph;

typedef struct tfr_name {
    const char *name;
    int tensor;
} tfr_name;

/* What a caller may call: names for the inputs and outputs of a subgraph. */
typedef struct tfr_signature {
    const char *key;
    int graph, n_inputs, n_outputs;
    const tfr_name *inputs, *outputs;
} tfr_signature;

typedef struct tfr_file {
    tfr_flat flat;
    hone_arena *arena;
    const char *description;
    const tfr_graph *graphs;
    const tfr_signature *signatures;
    int n_graphs, n_signatures;
} tfr_file;

/** The bytes begin as a TensorFlow Lite file does. */
bool tfr_is_file(const uint8_t *bytes, size_t n);
/** The bytes must outlive what is read. */
HONE_NODISCARD hone_status tfr_file_read(tfr_file *file, hone_arena *arena, const uint8_t *bytes,
                                         size_t n, hone_error *err);
/** The subgraphs that an operator calls; at most two. */
int tfr_called(tfr_flat *flat, const tfr_op *op, int *called);
/** "CONV_2D"; "?" for a number that the schema does not have. */
const char *tfr_op_name(int code);

#endif
