/* Which values of a quantised model are stored as integers, and which operators compute on them.
 *
 * Models say it with QuantizeLinear and DequantizeLinear around float operators. An operator is one
 * on integers when what it reads is stored and its result, limits (Relu, Clip) aside, goes to one
 * QuantizeLinear; operators that only move elements are when what they read is. All others compute
 * on floats. */
#ifndef HONE_TFLITE_QUANT_H
#define HONE_TFLITE_QUANT_H

#include "tflite/legal.h"

/** Fill l->reader and what l->stored can know before the conversion: integers of the model. */
void tfl_quant_find(tfl_legal *l);
/** Before the function of `n`: set how it computes; constants that it takes as floats are
 * dequantised. False: refused. */
bool tfl_quant_enter(tfl_legal *l, const hone_node *n);
/** After it: floats again. */
void tfl_quant_leave(tfl_legal *l);
/** The quantisation that a QuantizeLinear or DequantizeLinear has constant: NULL, or what is in the
 * way. */
const char *tfl_quant_of(tfl_legal *l, const hone_node *n, tfl_stored *s);
/** A bias on the product of the scales of input and weights; `b` NULL: zeros. Stored integers that
 * have those scales are kept as they are. -1: out of memory, or b has not `channels` numbers. */
int tfl_quant_bias(tfl_legal *l, const hone_value *b, int64_t channels, int x, int w);
/** Weights as they are stored, put in an order by the caller: `axis` is the tensor's dim that
 * counts outputs. */
int tfl_quant_weights(tfl_legal *l, const hone_value *w, const int32_t *dims, int rank, int axis,
                      const void *data);

#endif
