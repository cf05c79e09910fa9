/* One time step of LSTM and GRU. The products with the input, x W^T + biases, are made outside for
 * all steps; here h R^T is added and the gates are applied. */
#ifndef HONE_KERNELS_RNN_H
#define HONE_KERNELS_RNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HONE_RNN_BLOCK = 16 }; /* hidden units of one task */

/** What a sum has of terms: floats, or pairs of BF16, the last one with a zero where hidden is odd.
 */
static inline int64_t hone_rnn_terms(int64_t hidden, bool is_bf16) {
    return is_bf16 ? (hidden + 1) / 2 : hidden;
}
/** Packed recurrent weights: [ceil(hidden / 16)][terms][n_gates][16], 4 bytes each. */
size_t hone_rnn_packed_count(int64_t hidden, int n_gates, bool is_bf16);
/** r: [n_gates * hidden][terms], as ONNX has it. Padding is 0. Both are aligned to 4. */
void hone_rnn_pack(const void *r, int64_t hidden, int n_gates, bool is_bf16, void *packed);
static inline int64_t hone_rnn_tasks(int64_t hidden) {
    return (hidden + HONE_RNN_BLOCK - 1) / HONE_RNN_BLOCK;
}

/* With BF16 weights: what is multiplied, and the same of the result, rounded, for the step after.
 * Dense rows of 2 * terms; what is behind an odd count must be 0 and is not written. */
typedef struct hone_rnn_bf16 {
    const uint16_t *h; /* NULL: the weights are FP32 */
    uint16_t *out;     /* overlaps nothing */
} hone_rnn_bf16;

/* Gates in ONNX's order: i o f c. Sigmoid for i, o, f; tanh for the cell and the output. */
typedef struct hone_lstm_step {
    int64_t n_batch, hidden;
    const float *gates; /* [batch][4 * hidden] at gates_stride: input products and both biases */
    const float *h, *c; /* previous, [batch] rows at h_stride and c_stride */
    const void *packed;
    float *h_out, *c_out; /* h_out overlaps nothing; c_out may be c */
    int64_t gates_stride, h_stride, c_stride, h_out_stride, c_out_stride;
    hone_rnn_bf16 bf16;
} hone_lstm_step;

/* Gates in ONNX's order: z r h, with linear_before_reset:
 * h' = (1 - z) tanh(gates_h + r (h R_h^T + recurrent_bias)) + z h. */
typedef struct hone_gru_step {
    int64_t n_batch, hidden;
    const float *gates; /* [batch][3 * hidden]: input products, biases but R_h's */
    const float *h;
    const void *packed;
    const float *recurrent_bias; /* [hidden]: bias of R_h, or NULL */
    float *h_out;                /* overlaps nothing */
    int64_t gates_stride, h_stride, h_out_stride;
    hone_rnn_bf16 bf16;
} hone_gru_step;

/* GRU without linear_before_reset, h' = (1 - z) tanh(gates_h + (r h) R_h^T) + z h, takes two calls:
 * the first, for all blocks, makes z and r h; the second makes h'. Gates z and r are packed
 * together (the first 2 * hidden rows of R), gate h by itself. */
typedef struct hone_gru_plain_step {
    int64_t n_batch, hidden;
    const float *gates; /* [batch][3 * hidden]: input products and all biases */
    const float *h;
    const void *packed_zr, *packed_h;
    float *z, *reset; /* [batch][hidden], dense: handed from the first call to the second */
    float *h_out;     /* may be h */
    int64_t gates_stride, h_stride, h_out_stride;
    hone_rnn_bf16 bf16; /* first call: h to r h; second: r h to h' */
} hone_gru_plain_step;

/** Blocks [begin, end) of hone_rnn_tasks(hidden). A row's result does not depend on n_batch. */
typedef void hone_lstm_step_fn(const hone_lstm_step *p, int64_t begin, int64_t end);
typedef void hone_gru_step_fn(const hone_gru_step *p, int64_t begin, int64_t end);
typedef void hone_gru_plain_fn(const hone_gru_plain_step *p, int64_t begin, int64_t end);

#endif
