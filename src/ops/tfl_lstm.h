/* QLstm: TensorFlow Lite's LSTM over a sequence. Its inputs stand where
 * UNIDIRECTIONAL_SEQUENCE_LSTM has them, gates in the order input, forget, cell, output; the states
 * come as values and go out again: 0 x [time, batch, n] or, unless time_major, [batch, time, n];
 * 1-4 weights [cells, n]; 5-8 recurrent weights [cells, outputs]; 9-11 peepholes [cells] of the
 * gates but cell; 12-15 biases [cells]; 16 projection [outputs, cells], 17 its bias; 18 output
 * state [batch, outputs], 19 cell state [batch, cells]; 20-23 layer normalisation [cells]; 24
 * auxiliary x, 25-28 its weights. Without weights of the input gate it is 1 - forget gate. Outputs:
 * y, output state, cell state. Float x: weights are float, or int8 (hybrid; `scales`, by input).
 * int8 x: integer arithmetic with an int16 cell state whose scale is 2^cell_log2. Source:
 * tflite/kernels/lstm_eval.cc (LiteRT). */
#ifndef HONE_OPS_TFL_LSTM_H
#define HONE_OPS_TFL_LSTM_H

#include "ops/tfl_quant.h"

enum {
    LSTM_X,
    LSTM_W,
    LSTM_R = 5,
    LSTM_PEEPHOLE = 9,
    LSTM_BIAS = 12,
    LSTM_PROJECTION = 16,
    LSTM_PROJECTION_BIAS,
    LSTM_H,
    LSTM_C,
    LSTM_NORM,
    LSTM_AUX = 24,
    LSTM_AUX_W,
    LSTM_INPUTS = 29
};
enum { GATE_INPUT, GATE_FORGET, GATE_CELL, GATE_OUTPUT, GATES };

typedef struct lstm_shape {
    int64_t batch, time, n, n_aux, cells, outputs;
    int64_t step_batch, step_time; /* between rows of x and y, in rows */
    bool is_reverse;
} lstm_shape;

lstm_shape lstm_shape_of(const hone_op_ctx *c);
/** Row of x and y of step t of batch b. */
static inline int64_t lstm_row(const lstm_shape *s, int64_t b, int64_t t) {
    return b * s->step_batch + (s->is_reverse ? s->time - 1 - t : t) * s->step_time;
}
/** Input of a gate from position `first` on; peepholes: the cell gate has none. */
const hone_tensor *lstm_of_gate(const hone_op_ctx *c, int first, int gate);
/** The scale of input i; 1 when it has none. */
float lstm_scale(const hone_node *n, int i);
/** int8 (or 4-bit) matrix as 16-bit numbers in scratch memory; NULL with *status set on failure. */
const int16_t *tfl_wide_matrix(hone_op_ctx *c, const hone_tensor *w, hone_status *status);
/** A fused activation, by its number in the schema. */
float tfl_activation(int64_t activation, float v);

/** The integer kernel. */
hone_status lstm_run_integers(hone_op_ctx *c);

#endif
