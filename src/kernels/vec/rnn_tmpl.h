/* Recurrent steps: see kernels/rnn.h. */
#include "kernels/rnn.h"

#ifndef VEC_HAS_DOT
/* acc + the products of pairs of BF16. */
VEC_INLINE vf vf_dot_bf16(vf x, vf w, vf acc) {
    uint16_t a[2 * VW], b[2 * VW], even[2][VW], odd[2][VW];
    memcpy(a, &x, sizeof x);
    memcpy(b, &w, sizeof w);
    for (int i = 0; i < VW; ++i) {
        even[0][i] = a[2 * i], odd[0][i] = a[2 * i + 1];
        even[1][i] = b[2 * i], odd[1][i] = b[2 * i + 1];
    }
    acc = vf_fma(vf_load_bf16(odd[0]), vf_load_bf16(odd[1]), acc);
    return vf_fma(vf_load_bf16(even[0]), vf_load_bf16(even[1]), acc);
}
#endif

/* What a step's rows are multiplied with: floats, or pairs of BF16 by their bits. */
typedef struct rnn_terms {
    const char *h;
    int64_t stride, n; /* bytes; terms of 4 bytes */
    bool is_bf16;
} rnn_terms;

VEC_INLINE rnn_terms rnn_terms_of(const float *h, int64_t stride, const hone_rnn_bf16 *b,
                                  int64_t hidden, bool is_bf16) {
    int64_t n = hone_rnn_terms(hidden, is_bf16);
    return (rnn_terms){is_bf16 ? (const char *)b->h : (const char *)h, (is_bf16 ? n : stride) * 4,
                       n, is_bf16};
}

/* Products of `rows` rows from row0 with VW units of each gate, straight from the packed block. */
VEC_INLINE void rnn_products(int rows, int n_gates, rnn_terms x, int64_t row0, const float *packed,
                             vf acc[][4]) {
    const char *h = x.h + row0 * x.stride;
    for (int b = 0; b < rows; ++b) {
        for (int g = 0; g < n_gates; ++g)
            acc[b][g] = vf_set1(0.0f);
    }
    for (int64_t k = 0; k < x.n; ++k, packed += n_gates * HONE_RNN_BLOCK) {
        vf w[4];
#pragma GCC unroll 4
        for (int g = 0; g < n_gates; ++g)
            w[g] = vf_load(packed + g * HONE_RNN_BLOCK);
#pragma GCC unroll 4
        for (int b = 0; b < rows; ++b) {
            float bits;
            memcpy(&bits, h + b * x.stride + 4 * k, sizeof bits);
            vf one = vf_set1(bits);
#pragma GCC unroll 4
            for (int g = 0; g < n_gates; ++g)
                acc[b][g] =
                    x.is_bf16 ? vf_dot_bf16(one, w[g], acc[b][g]) : vf_fma(one, w[g], acc[b][g]);
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

/* Row `row` of a result, rounded for the next product. */
VEC_INLINE void rnn_round(bool is_bf16, const hone_rnn_bf16 *b, int64_t hidden, int64_t row,
                          int64_t unit, vf v, int64_t lanes) {
    uint16_t *to = is_bf16 ? b->out + row * 2 * hone_rnn_terms(hidden, true) + unit : NULL;
    if (is_bf16 && lanes < VW)
        vf_store_bf16_n(to, v, lanes);
    else if (is_bf16)
        vf_store_bf16(to, v);
}

VEC_INLINE void lstm_rows(const hone_lstm_step *p, int rows, int64_t row, int64_t unit,
                          const float *packed, bool is_bf16) {
    vf acc[4][4];
    int64_t lanes = p->hidden - unit < VW ? p->hidden - unit : VW;
    rnn_terms x = rnn_terms_of(p->h, p->h_stride, &p->bf16, p->hidden, is_bf16);
    rnn_products(rows, 4, x, row, packed, acc);
    for (int b = 0; b < rows; ++b) {
        const float *g = p->gates + (row + b) * p->gates_stride + unit;
        vf i = vf_sigmoid(vf_add(acc[b][0], rnn_load(g, lanes)));
        vf o = vf_sigmoid(vf_add(acc[b][1], rnn_load(g + p->hidden, lanes)));
        vf f = vf_sigmoid(vf_add(acc[b][2], rnn_load(g + 2 * p->hidden, lanes)));
        vf t = vf_tanh(vf_add(acc[b][3], rnn_load(g + 3 * p->hidden, lanes)));
        vf c = rnn_load(p->c + (row + b) * p->c_stride + unit, lanes);
        c = vf_fma(f, c, vf_mul(i, t));
        rnn_store(p->c_out + (row + b) * p->c_out_stride + unit, c, lanes);
        vf h = vf_mul(o, vf_tanh(c));
        rnn_store(p->h_out + (row + b) * p->h_out_stride + unit, h, lanes);
        rnn_round(is_bf16, &p->bf16, p->hidden, row + b, unit, h, lanes);
    }
}

VEC_INLINE void gru_rows(const hone_gru_step *p, int rows, int64_t row, int64_t unit,
                         const float *packed, bool is_bf16) {
    vf acc[4][4];
    int64_t lanes = p->hidden - unit < VW ? p->hidden - unit : VW;
    vf bias = p->recurrent_bias ? rnn_load(p->recurrent_bias + unit, lanes) : vf_set1(0.0f);
    rnn_terms x = rnn_terms_of(p->h, p->h_stride, &p->bf16, p->hidden, is_bf16);
    rnn_products(rows, 3, x, row, packed, acc);
    for (int b = 0; b < rows; ++b) {
        const float *g = p->gates + (row + b) * p->gates_stride + unit;
        vf z = vf_sigmoid(vf_add(acc[b][0], rnn_load(g, lanes)));
        vf r = vf_sigmoid(vf_add(acc[b][1], rnn_load(g + p->hidden, lanes)));
        vf n = vf_fma(r, vf_add(acc[b][2], bias), rnn_load(g + 2 * p->hidden, lanes));
        n = vf_tanh(n);
        vf h = rnn_load(p->h + (row + b) * p->h_stride + unit, lanes);
        h = vf_fma(z, vf_sub(h, n), n);
        rnn_store(p->h_out + (row + b) * p->h_out_stride + unit, h, lanes);
        rnn_round(is_bf16, &p->bf16, p->hidden, row + b, unit, h, lanes);
    }
}

VEC_INLINE void gru_reset_rows(const hone_gru_plain_step *p, int rows, int64_t row, int64_t unit,
                               const float *packed, bool is_bf16) {
    vf acc[4][4];
    int64_t lanes = p->hidden - unit < VW ? p->hidden - unit : VW;
    rnn_terms x = rnn_terms_of(p->h, p->h_stride, &p->bf16, p->hidden, is_bf16);
    rnn_products(rows, 2, x, row, packed, acc);
    for (int b = 0; b < rows; ++b) {
        const float *g = p->gates + (row + b) * p->gates_stride + unit;
        int64_t at = (row + b) * p->hidden + unit;
        vf h = rnn_load(p->h + (row + b) * p->h_stride + unit, lanes);
        vf r = vf_sigmoid(vf_add(acc[b][1], rnn_load(g + p->hidden, lanes)));
        rnn_store(p->z + at, vf_sigmoid(vf_add(acc[b][0], rnn_load(g, lanes))), lanes);
        rnn_store(p->reset + at, vf_mul(r, h), lanes);
        rnn_round(is_bf16, &p->bf16, p->hidden, row + b, unit, vf_mul(r, h), lanes);
    }
}

VEC_INLINE void gru_finish_rows(const hone_gru_plain_step *p, int rows, int64_t row, int64_t unit,
                                const float *packed, bool is_bf16) {
    vf acc[4][4];
    int64_t lanes = p->hidden - unit < VW ? p->hidden - unit : VW;
    rnn_terms x = rnn_terms_of(p->reset, p->hidden, &p->bf16, p->hidden, is_bf16);
    rnn_products(rows, 1, x, row, packed, acc);
    for (int b = 0; b < rows; ++b) {
        const float *g = p->gates + (row + b) * p->gates_stride + 2 * p->hidden + unit;
        vf n = vf_tanh(vf_add(acc[b][0], rnn_load(g, lanes)));
        vf z = rnn_load(p->z + (row + b) * p->hidden + unit, lanes);
        vf h = rnn_load(p->h + (row + b) * p->h_stride + unit, lanes);
        h = vf_fma(z, vf_sub(h, n), n);
        rnn_store(p->h_out + (row + b) * p->h_out_stride + unit, h, lanes);
        rnn_round(is_bf16, &p->bf16, p->hidden, row + b, unit, h, lanes);
    }
}

#define RNN_STEP(name, type, weights, n_gates)                                                     \
    VEC_INLINE void name##_blocks(const type *p, int64_t begin, int64_t end, bool is_bf16) {       \
        int64_t count = hone_rnn_terms(p->hidden, is_bf16) * (n_gates)*HONE_RNN_BLOCK;             \
        for (int64_t block = begin; block < end; ++block) {                                        \
            const float *packed = (const float *)p->weights + block * count;                       \
            for (int64_t i = 0; i < HONE_RNN_BLOCK; i += VW) {                                     \
                int64_t unit = block * HONE_RNN_BLOCK + i, row = 0;                                \
                if (unit >= p->hidden)                                                             \
                    break;                                                                         \
                for (; row + VRNN <= p->n_batch; row += VRNN)                                      \
                    name##_rows(p, VRNN, row, unit, packed + i, is_bf16);                          \
                for (; row < p->n_batch; ++row)                                                    \
                    name##_rows(p, 1, row, unit, packed + i, is_bf16);                             \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void name##_run(const type *p, int64_t begin, int64_t end) {                            \
        if (p->bf16.h)                                                                             \
            name##_blocks(p, begin, end, true);                                                    \
        else                                                                                       \
            name##_blocks(p, begin, end, false);                                                   \
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
