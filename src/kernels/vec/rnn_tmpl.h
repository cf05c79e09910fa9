/* Recurrent steps: see kernels/rnn.h. */
#include "kernels/rnn.h"

/* Products of `rows` rows of h with VW units of each gate, straight from the packed block. */
VEC_INLINE void rnn_products(int rows, int n_gates, const float *h, int64_t h_stride,
                             const float *packed, int64_t hidden, vf acc[][4]) {
    for (int b = 0; b < rows; ++b) {
        for (int g = 0; g < n_gates; ++g)
            acc[b][g] = vf_set1(0.0f);
    }
    for (int64_t k = 0; k < hidden; ++k, packed += n_gates * HONE_RNN_BLOCK) {
        vf w[4];
#pragma GCC unroll 4
        for (int g = 0; g < n_gates; ++g)
            w[g] = vf_load(packed + g * HONE_RNN_BLOCK);
#pragma GCC unroll 4
        for (int b = 0; b < rows; ++b) {
            vf x = vf_set1(h[b * h_stride + k]);
#pragma GCC unroll 4
            for (int g = 0; g < n_gates; ++g)
                acc[b][g] = vf_fma(x, w[g], acc[b][g]);
        }
    }
}

/* The gates of one row at `unit`; fewer than VW lanes at the end of the hidden units. */
VEC_INLINE vf rnn_load(const float *p, int64_t lanes) {
    return lanes < VW ? vf_load_n(p, lanes) : vf_load(p);
}
VEC_INLINE void rnn_store(float *p, vf v, int64_t lanes) {
    if (lanes < VW)
        vf_store_n(p, v, lanes);
    else
        vf_store(p, v);
}

VEC_INLINE void lstm_rows(const hone_lstm_step *p, int rows, int64_t row, int64_t unit,
                          const float *packed) {
    vf acc[4][4];
    int64_t lanes = p->hidden - unit < VW ? p->hidden - unit : VW;
    rnn_products(rows, 4, p->h + row * p->h_stride, p->h_stride, packed, p->hidden, acc);
    for (int b = 0; b < rows; ++b) {
        const float *g = p->gates + (row + b) * p->gates_stride + unit;
        vf i = vf_sigmoid(vf_add(acc[b][0], rnn_load(g, lanes)));
        vf o = vf_sigmoid(vf_add(acc[b][1], rnn_load(g + p->hidden, lanes)));
        vf f = vf_sigmoid(vf_add(acc[b][2], rnn_load(g + 2 * p->hidden, lanes)));
        vf t = vf_tanh(vf_add(acc[b][3], rnn_load(g + 3 * p->hidden, lanes)));
        vf c = rnn_load(p->c + (row + b) * p->c_stride + unit, lanes);
        c = vf_fma(f, c, vf_mul(i, t));
        rnn_store(p->c_out + (row + b) * p->c_out_stride + unit, c, lanes);
        rnn_store(p->h_out + (row + b) * p->h_out_stride + unit, vf_mul(o, vf_tanh(c)), lanes);
    }
}

VEC_INLINE void gru_rows(const hone_gru_step *p, int rows, int64_t row, int64_t unit,
                         const float *packed) {
    vf acc[4][4];
    int64_t lanes = p->hidden - unit < VW ? p->hidden - unit : VW;
    vf bias = p->recurrent_bias ? rnn_load(p->recurrent_bias + unit, lanes) : vf_set1(0.0f);
    rnn_products(rows, 3, p->h + row * p->h_stride, p->h_stride, packed, p->hidden, acc);
    for (int b = 0; b < rows; ++b) {
        const float *g = p->gates + (row + b) * p->gates_stride + unit;
        vf z = vf_sigmoid(vf_add(acc[b][0], rnn_load(g, lanes)));
        vf r = vf_sigmoid(vf_add(acc[b][1], rnn_load(g + p->hidden, lanes)));
        vf n = vf_fma(r, vf_add(acc[b][2], bias), rnn_load(g + 2 * p->hidden, lanes));
        n = vf_tanh(n);
        vf h = rnn_load(p->h + (row + b) * p->h_stride + unit, lanes);
        rnn_store(p->h_out + (row + b) * p->h_out_stride + unit, vf_fma(z, vf_sub(h, n), n), lanes);
    }
}

VEC_INLINE void gru_reset_rows(const hone_gru_plain_step *p, int rows, int64_t row, int64_t unit,
                               const float *packed) {
    vf acc[4][4];
    int64_t lanes = p->hidden - unit < VW ? p->hidden - unit : VW;
    rnn_products(rows, 2, p->h + row * p->h_stride, p->h_stride, packed, p->hidden, acc);
    for (int b = 0; b < rows; ++b) {
        const float *g = p->gates + (row + b) * p->gates_stride + unit;
        int64_t at = (row + b) * p->hidden + unit;
        vf h = rnn_load(p->h + (row + b) * p->h_stride + unit, lanes);
        vf r = vf_sigmoid(vf_add(acc[b][1], rnn_load(g + p->hidden, lanes)));
        rnn_store(p->z + at, vf_sigmoid(vf_add(acc[b][0], rnn_load(g, lanes))), lanes);
        rnn_store(p->reset + at, vf_mul(r, h), lanes);
    }
}

VEC_INLINE void gru_finish_rows(const hone_gru_plain_step *p, int rows, int64_t row, int64_t unit,
                                const float *packed) {
    vf acc[4][4];
    int64_t lanes = p->hidden - unit < VW ? p->hidden - unit : VW;
    rnn_products(rows, 1, p->reset + row * p->hidden, p->hidden, packed, p->hidden, acc);
    for (int b = 0; b < rows; ++b) {
        const float *g = p->gates + (row + b) * p->gates_stride + 2 * p->hidden + unit;
        vf n = vf_tanh(vf_add(acc[b][0], rnn_load(g, lanes)));
        vf z = rnn_load(p->z + (row + b) * p->hidden + unit, lanes);
        vf h = rnn_load(p->h + (row + b) * p->h_stride + unit, lanes);
        rnn_store(p->h_out + (row + b) * p->h_out_stride + unit, vf_fma(z, vf_sub(h, n), n), lanes);
    }
}

#define RNN_STEP(name, type, weights, n_gates)                                                     \
    static void name##_run(const type *p, int64_t begin, int64_t end) {                            \
        for (int64_t block = begin; block < end; ++block) {                                        \
            const float *packed = p->weights + block * p->hidden * (n_gates)*HONE_RNN_BLOCK;       \
            for (int64_t i = 0; i < HONE_RNN_BLOCK; i += VW) {                                     \
                int64_t unit = block * HONE_RNN_BLOCK + i, row = 0;                                \
                if (unit >= p->hidden)                                                             \
                    break;                                                                         \
                for (; row + VRNN <= p->n_batch; row += VRNN)                                      \
                    name##_rows(p, VRNN, row, unit, packed + i);                                   \
                for (; row < p->n_batch; ++row)                                                    \
                    name##_rows(p, 1, row, unit, packed + i);                                      \
            }                                                                                      \
        }                                                                                          \
    }

/* Rows that share a pass over the weights: their accumulators fill the registers. */
#if VW == 16
enum { VRNN = 4 };
#else
enum { VRNN = 2 };
#endif
RNN_STEP(lstm, hone_lstm_step, packed, 4)
RNN_STEP(gru, hone_gru_step, packed, 3)
RNN_STEP(gru_reset, hone_gru_plain_step, packed_zr, 2)
RNN_STEP(gru_finish, hone_gru_plain_step, packed_h, 1)
#undef RNN_STEP
