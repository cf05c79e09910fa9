/* A float graph becomes a quantised one: pairs of QuantizeLinear and DequantizeLinear around the
 * operators that have a form on integers.
 *
 * Activations are int8 with one scale and zero point for each tensor, so that 0 is a number of
 * theirs; results that must be stored as their operands are (form.h) share theirs. Weights are int8
 * in [-127, 127] with a zero point of 0 and a scale for each output, biases int32 on the product of
 * the scales: LiteRT's specification of 8-bit quantisation.
 *
 * Layers compute on integers; other operators that can do when one of their operands comes from an
 * operator on integers or from an input of the graph. All others stay on floats. */
#ifndef HONE_QUANT_INSERT_QDQ_H
#define HONE_QUANT_INSERT_QDQ_H

#include "ir/findings.h"
#include "quant/observe.h"

typedef struct hone_quant_count {
    int n_integer, n_float; /* nodes with a float result, by how they compute now */
} hone_quant_count;

/** Rewrite `g` (indexed, types inferred; indexed and inferred again afterwards). Values keep their
 * names: what was computed as v is v, dequantised. Values that `ranges` lacks, whose range is not
 * finite or beyond 2^20 (masks), stay floats, and results that the scale which the format fixes
 * would leave fewer than 16 steps. Operators that stay on floats are noted in `findings`, once for
 * each kind. */
HONE_NODISCARD hone_status hone_quant_insert(hone_graph *g, hone_ranges *ranges,
                                             hone_findings *findings, hone_quant_count *count,
                                             hone_error *err);
/** Float inputs that are quantised at once, and outputs that are dequantised at last, become the
 * integers. Those of operators on floats stay. */
HONE_NODISCARD hone_status hone_quant_integer_io(hone_graph *g, hone_error *err);
/** Weights and other constants as the floats that their integers stand for, for a fast run of a
 * quantised graph on floats. */
HONE_NODISCARD hone_status hone_quant_unpack(hone_graph *g, hone_error *err);

#endif
