/* A TensorFlow Lite model in the making: lists of tensors and operators that write.c turns into a
 * file. Everything lives in one arena; constants' bytes are borrowed or in the arena.
 * Builders return -1 or NULL when out of memory. Not thread-safe. */
#ifndef HONE_TFLITE_MODEL_H
#define HONE_TFLITE_MODEL_H

#include "base/arena.h"
#include "tflite/schema.h"

enum { TFL_MAX_RANK = 8, TFL_MAX_OPTIONS = 8 };

/* real = scale * (stored - zero_point); n 1: of the whole tensor, else of each slice of `axis`. */
typedef struct tfl_quant {
    const float *scale;
    const int64_t *zero_point;
    int n, axis;
} tfl_quant;

typedef struct tfl_tensor {
    const char *name;
    tfl_type type;
    int rank;
    int32_t dims[TFL_MAX_RANK]; /* -1: known when it runs */
    const void *data;           /* contents of a constant, else NULL */
    size_t bytes;
    tfl_quant quant; /* n 0: none */
    bool is_variable;
    int producer; /* the operator that makes it, -1: none */
} tfl_tensor;

typedef enum tfl_option_kind {
    TFL_OPTION_BYTE,
    TFL_OPTION_I32,
    TFL_OPTION_F32,
    TFL_OPTION_I32S
} tfl_option_kind;

/* A field of an operator's options table. */
typedef struct tfl_option {
    int id;
    tfl_option_kind kind;
    int32_t i;
    float f;
    const int32_t *list;
    int n;
} tfl_option;

typedef struct tfl_operator {
    int code, version;
    const int *in, *out; /* tensors; in[i] -1: omitted */
    int n_in, n_out;
    tfl_option options[TFL_MAX_OPTIONS];
    int n_options;
} tfl_operator;

/* A graph; the file's first one, which callers see, knows the others. */
typedef struct tfl_model tfl_model;
struct tfl_model {
    hone_arena *arena;
    tfl_tensor *tensors;
    int n_tensors, cap_tensors;
    tfl_operator *operators;
    int n_operators, cap_operators;
    int *inputs, *outputs;
    const char **input_names, **output_names; /* of the signature */
    int n_inputs, n_outputs;
    const char *name;
    const tfl_model **called; /* by operators, as subgraphs 1, 2, ... */
    int n_called, cap_called;
};

/** Index of a new tensor; the name is borrowed. */
int tfl_model_tensor(tfl_model *m, const char *name, tfl_type type, int rank, const int32_t *dims);
/** A new operator at the end, version 1; valid until the next call. Lists are copied. */
tfl_operator *tfl_model_operator(tfl_model *m, int code, const int *in, int n_in, const int *out,
                                 int n_out);
/* Options: byte for enumerations and bools. */
void tfl_option_byte(tfl_operator *op, int id, int v);
void tfl_option_i32(tfl_operator *op, int id, int32_t v);
void tfl_option_f32(tfl_operator *op, int id, float v);
void tfl_option_i32s(tfl_operator *op, int id, const int32_t *v, int n);
/** NULL: the field is not there. */
tfl_option *tfl_option_find(tfl_operator *op, int id);

/** Bytes of an element; 0 for types that the writer does not write. */
size_t tfl_type_bytes(tfl_type t);

/** Subgraph i of the file: 0 is `m` itself. */
const tfl_model *tfl_model_subgraph(const tfl_model *m, int i);

/** Put the file together: `put` is called with its bytes in order. */
HONE_NODISCARD hone_status tfl_model_write(const tfl_model *m,
                                           hone_status (*put)(void *arg, const void *bytes,
                                                              size_t n),
                                           void *arg, hone_error *err);

#endif
