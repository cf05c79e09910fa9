/* Which operators have a form on integers, and how its operands and results are stored: what
 * quantising a graph (insert_qdq.h) and writing a quantised one (tflite/quant.h) agree on.
 *
 * real = scale * (stored - zero_point). Pure functions on nodes whose types are inferred. */
#ifndef HONE_QUANT_FORM_H
#define HONE_QUANT_FORM_H

#include "ir/op.h"

/** How the result of an operator on integers is stored. */
typedef enum hone_quant_kind {
    HONE_QUANT_NONE = 0, /* no form on integers: it computes on floats */
    HONE_QUANT_AS_INPUT, /* as its input, without rounding */
    HONE_QUANT_ROUNDED,  /* as its input, with rounding */
    HONE_QUANT_FREE,     /* on a scale of its own; all operands are stored */
    HONE_QUANT_JOINED,   /* likewise, and all operands the same way */
    HONE_QUANT_FIXED,    /* as the format fixes it */
    HONE_QUANT_LAYER,    /* on a scale of its own; with weights and a bias, or of two products */
} hone_quant_kind;

typedef struct hone_quant_form {
    hone_quant_kind kind;
    int n_data; /* operands that must be stored; of layers: the first */
} hone_quant_form;

/** The node's form: attributes and limits that integers do not have make it NONE. What its operands
 * are (constants, stored values) is the caller's to check. */
hone_quant_form hone_quant_form_of(const hone_node *n);
/** The dim of a layer's weights that counts outputs. */
int hone_quant_output_axis(const hone_node *layer);
/** `t`, as bias of the layer: one number for each output. */
bool hone_quant_is_bias(const hone_node *layer, const hone_tensor *t);
/** The quantisation of a FIXED operator's result. False: the type is none of the operator's. */
bool hone_quant_fixed(const hone_node *n, hone_dtype d, const float **scale, const int64_t **zero);

#endif
