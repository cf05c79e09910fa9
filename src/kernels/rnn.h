/* One time step of LSTM and GRU. The products with the input, x W^T + biases, are made outside for
 * all steps; here h R^T is added and the gates are applied. */
#ifndef HONE_KERNELS_RNN_H
#define HONE_KERNELS_RNN_H

#include <stddef.h>
#include <stdint.h>

enum { HONE_RNN_BLOCK = 16 }; /* hidden units of one task */

/** Floats of packed recurrent weights: [ceil(hidden / 16)][hidden][n_gates][16]. */
size_t hone_rnn_packed_floats(int64_t hidden, int n_gates);
/** r: [n_gates * hidden][hidden], as ONNX has it. Padding is 0. */
void hone_rnn_pack(const float *r, int64_t hidden, int n_gates, float *packed);
static inline int64_t hone_rnn_tasks(int64_t hidden) {
    return (hidden + HONE_RNN_BLOCK - 1) / HONE_RNN_BLOCK;
}

/* Gates in ONNX's order: i o f c. Sigmoid for i, o, f; tanh for the cell and the output. */
typedef struct hone_lstm_step {
    int64_t n_batch, hidden;
    const float *gates; /* [batch][4 * hidden] at gates_stride: input products and both biases */
    const float *h, *c; /* previous, [batch] rows at h_stride and c_stride */
    const float *packed;
    float *h_out, *c_out; /* h_out overlaps nothing; c_out may be c */
    int64_t gates_stride, h_stride, c_stride, h_out_stride, c_out_stride;
} hone_lstm_step;

/* Gates in ONNX's order: z r h, with linear_before_reset:
 * h' = (1 - z) tanh(gates_h + r (h R_h^T + recurrent_bias)) + z h. */
typedef struct hone_gru_step {
    int64_t n_batch, hidden;
    const float *gates; /* [batch][3 * hidden]: input products, biases but R_h's */
    const float *h, *packed;
    const float *recurrent_bias; /* [hidden]: bias of R_h, or NULL */
    float *h_out;                /* overlaps nothing */
    int64_t gates_stride, h_stride, h_out_stride;
} hone_gru_step;

/* GRU without linear_before_reset, h' = (1 - z) tanh(gates_h + (r h) R_h^T) + z h, takes two calls:
 * the first, for all blocks, makes z and r h; the second makes h'. Gates z and r are packed
 * together (the first 2 * hidden rows of R), gate h by itself. */
typedef struct hone_gru_plain_step {
    int64_t n_batch, hidden;
    const float *gates; /* [batch][3 * hidden]: input products and all biases */
    const float *h, *packed_zr, *packed_h;
    float *z, *reset; /* [batch][hidden], dense: handed from the first call to the second */
    float *h_out;     /* may be h */
    int64_t gates_stride, h_stride, h_out_stride;
} hone_gru_plain_step;

/** Blocks [begin, end) of hone_rnn_tasks(hidden). A row's result does not depend on n_batch. */
typedef void hone_lstm_step_fn(const hone_lstm_step *p, int64_t begin, int64_t end);
typedef void hone_gru_step_fn(const hone_gru_step *p, int64_t begin, int64_t end);
typedef void hone_gru_plain_fn(const hone_gru_plain_step *p, int64_t begin, int64_t end);

#endif
