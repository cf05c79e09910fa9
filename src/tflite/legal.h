/* Legalisation: nodes of the canonical graph become TensorFlow Lite operators.
 *
 * ONNX means channels-first, TensorFlow Lite channels-last. A layout is therefore no flag that
 * could be wrong but a permutation that each value carries: perm[i] is the dim, as ONNX counts,
 * that lies at position i of the TensorFlow Lite tensor. Operators that need an order ask for it
 * (tfl_take), those that do not care work on whatever there is and map their axes, and a Transpose
 * in the model only changes the permutation: an operator is made of it when somebody asks for
 * another order.
 *
 * Running out of memory and refusals are remembered in the context; the builders go on with
 * placeholders, so that all refusals are found in one go. Not thread-safe. */
#ifndef HONE_TFLITE_LEGAL_H
#define HONE_TFLITE_LEGAL_H

#include "ir/findings.h"
#include "ir/op.h"
#include "tflite/model.h"

/* Quantised models. A DequantizeLinear makes no operator: its result is *stored*, and an operator
 * that computes on integers takes what is stored. One that computes on floats gets a DEQUANTIZE.
 * quant.h decides which it is; the functions of legal.def ask for values and give results as ever.
 *
 * How a value is stored as integers: real = scale * (stored - zero_point). */
typedef struct tfl_stored {
    const hone_value *in; /* whose forms hold the integers: the value itself, or what its
                             DequantizeLinear reads; NULL: the value is not stored so */
    tfl_type type;
    tfl_quant quant; /* axis by ONNX's count */
} tfl_stored;

/* A tensor that holds a value, and how. */
typedef struct tfl_form {
    int tensor;
    int perm[TFL_MAX_RANK];
    struct tfl_form *next; /* the same value in another order */
} tfl_form;

typedef struct tfl_legal {
    tfl_model model; /* of this graph */
    tfl_model *file; /* the root graph's, which lists those that operators call */
    hone_graph *graph;
    bool is_fp16;             /* store large constants in half precision */
    tfl_form **forms;         /* by value id; the first is what the producer made */
    tfl_stored *stored;       /* by value id */
    const hone_node **reader; /* by value id: a node that reads the value */
    bool is_integer;          /* the node being converted computes on stored integers, and its */
    tfl_stored target;        /* results are stored so */
    bool rescales;            /* its operands must be stored as its result is */
    hone_findings *findings;
    bool is_refused; /* the node being converted */
    bool is_too_open; /* it has asked for a RESHAPE to several dims that are not known */
    bool is_out_of_memory;
} tfl_legal;

typedef void (*tfl_legal_fn)(tfl_legal *l, const hone_node *n);

/** The node has no equivalent: record why and what to do. `reason` and `cure` are not copied. */
void tfl_refuse(tfl_legal *l, const hone_node *n, const char *reason, const char *cure,
                const char *format, ...) HONE_PRINTF(5, 6);

/* ---- permutations ---- */
void tfl_identity(int rank, int *perm);
bool tfl_is_identity(const int *perm, int rank);
/** Batch first, channels last: of rank 4: 0, 2, 3, 1. */
void tfl_channels_last(int rank, int *perm);
/** Position of dim `axis` in the tensor. */
int tfl_position(const int *perm, int rank, int axis);

/* ---- values ---- */
/** Contents of a constant as the node being converted takes it; NULL: v is none. */
const hone_tensor *tfl_contents(const tfl_legal *l, const hone_value *v);
/** Element type of a value in the file: half precision is computed in float. -1: there is none. */
int tfl_type_of(hone_dtype d);
int tfl_rank(const hone_value *v);
/** The order in which v lies now; for constants, which take any, ONNX's own. */
void tfl_order(tfl_legal *l, const hone_value *v, int *perm);
/** The tensor that holds v in this order (NULL: as ONNX counts), transposed when need be. */
int tfl_take(tfl_legal *l, const hone_value *v, const int *perm);
/** v in this order (of `rank` dims) after leading dims of size 1 were added. */
int tfl_take_padded(tfl_legal *l, const hone_value *v, int rank, const int *perm);
/** A new tensor for the value v, which the operator being made computes in this order. */
int tfl_give(tfl_legal *l, const hone_value *v, const int *perm);
/** v is this tensor, in this order. */
void tfl_alias(tfl_legal *l, const hone_value *v, int tensor, const int *perm);

/* ---- tensors ---- */
/** An intermediate result. */
int tfl_temp(tfl_legal *l, tfl_type type, int rank, const int32_t *dims);
/** An intermediate result of the type that the node's results have, which are floats. */
int tfl_result(tfl_legal *l, int rank, const int32_t *dims);
/** An intermediate result of the type and quantisation of another tensor. */
int tfl_shaped_like(tfl_legal *l, int tensor, int rank, const int32_t *dims);
/** The same with its dims, too. */
int tfl_like(tfl_legal *l, int tensor);
int tfl_const_i32s(tfl_legal *l, const int32_t *v, int n);
int tfl_const_i32(tfl_legal *l, int32_t v); /* a scalar */
int tfl_const_f32(tfl_legal *l, float v);   /* a scalar */
/** `data` must live as long as the context: memory of tfl_alloc, or a mapped file. */
int tfl_const(tfl_legal *l, tfl_type type, int rank, const int32_t *dims, const void *data);
/** A constant number as a tensor has them: on its quantisation, a float, or an integer. A scalar. */
int tfl_const_like(tfl_legal *l, int tensor, float v);
/** The tensor has one quantisation, and it is this one. */
bool tfl_has_quant(const tfl_legal *l, int tensor, const tfl_stored *s);
/** The stored value (what DequantizeLinear would make an integer of, rounded away from zero at
 * halves), within the type's range. */
int64_t tfl_quantised(tfl_type type, const tfl_quant *q, double real);
/** Zeroed; NULL when out of memory, which is remembered. */
void *tfl_alloc(tfl_legal *l, size_t n, size_t size);
/** The contents of a constant as floats or as int64; NULL when v is none. */
const float *tfl_floats(tfl_legal *l, const hone_value *v);
const int64_t *tfl_ints(tfl_legal *l, const hone_value *v, int *n);

/* ---- operators ---- */
/** The operator's inputs are counted, -1 leaves one out; NULL when out of memory. */
tfl_operator *tfl_op(tfl_legal *l, int code, const int *in, int n_in, int out);
tfl_operator *tfl_op1(tfl_legal *l, int code, int in, int out);
tfl_operator *tfl_op2(tfl_legal *l, int code, int a, int b, int out);
/** The same with a new tensor like the first input for the result, which is returned. */
int tfl_apply1(tfl_legal *l, int code, int in);
int tfl_apply2(tfl_legal *l, int code, int a, int b);
int tfl_reshape(tfl_legal *l, int tensor, int rank, const int32_t *dims);
/** Element-wise operators have options with an activation and nothing else. */
void tfl_no_activation(tfl_operator *op);
/** Let the operator that made v, which nobody else uses, apply the activation; false when it
 * cannot. */
bool tfl_fuse_activation(tfl_legal *l, const hone_value *v, int activation);

#endif
