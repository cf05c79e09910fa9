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

#define RNN_STEP(name, type, n_gates)                                                              \
    static void name##_run(const type *p, int64_t begin, int64_t end) {                            \
        for (int64_t block = begin; block < end; ++block) {                                        \
            const float *packed = p->packed + block * p->hidden * (n_gates)*HONE_RNN_BLOCK;        \
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
RNN_STEP(lstm, hone_lstm_step, 4)
RNN_STEP(gru, hone_gru_step, 3)
#undef RNN_STEP
