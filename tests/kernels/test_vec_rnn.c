/* Recurrent steps against double references. */
#include "vec_test.h"

/* Numbers in [-limit, limit), for BF16 such as it has: the references round nothing. */
static float *numbers(int64_t n, float limit, bool is_bf16) {
    float *x = random_array(n, -limit, limit);
    for (int64_t i = 0; is_bf16 && i < n; ++i) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0xffff0000u;
        memcpy(x + i, &bits, sizeof bits);
    }
    return x;
}

/* Rows of BF16 with a zero behind an odd count. */
static uint16_t *pairs(const float *x, int64_t n_rows, int64_t n) {
    int64_t even = (n + 1) / 2 * 2;
    uint16_t *y = calloc((size_t)(n_rows * even), sizeof *y);
    for (int64_t i = 0; i < n_rows * n; ++i) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        y[i / n * even + i % n] = (uint16_t)(bits >> 16);
    }
    return y;
}

static void *pack(const float *r, int64_t n, int n_gates, bool is_bf16) {
    uint16_t *rounded = is_bf16 ? pairs(r, n_gates * n, n) : NULL;
    void *packed = malloc(4 * hone_rnn_packed_count(n, n_gates, is_bf16));
    hone_rnn_pack(is_bf16 ? (const void *)rounded : r, n, n_gates, is_bf16, packed);
    free(rounded);
    return packed;
}

/* The rounded rows hold the result, and a zero behind an odd count. */
static void check_rounded(const uint16_t *rounded, const float *y, int64_t batch, int64_t n,
                          const char *what, const char *isa) {
    int64_t even = (n + 1) / 2 * 2;
    for (int64_t i = 0; rounded && i < batch * even; ++i) {
        uint32_t bits = (uint32_t)rounded[i] << 16;
        float got;
        memcpy(&got, &bits, sizeof got);
        float want = i % even < n ? y[i / even * n + i % even] : 0;
        CHECK(fabsf(got - want) <= fabsf(want) / 256, "%s %s rounded %g %g", isa, what, (double)got,
              (double)want);
    }
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* Product of row b of h with recurrent row r. */
static double dot(const float *h, const float *r, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; ++i)
        s += (double)h[i] * r[i];
    return s;
}

static void test_lstm(const hone_vec_kernels *k, const char *isa, int64_t batch, int64_t n,
                      bool is_bf16) {
    float *gates = random_array(batch * 4 * n, -1, 1), *h = numbers(batch * n, 1, is_bf16);
    float *c = random_array(batch * n, -1, 1), *r = numbers(4 * n * n, 0.5f, is_bf16);
    void *packed = pack(r, n, 4, is_bf16);
    uint16_t *h_pairs = is_bf16 ? pairs(h, batch, n) : NULL;
    size_t pair_bytes = (size_t)(batch * hone_rnn_terms(n, true)) * 4;
    guarded ho = guarded_new((size_t)(batch * n) * 4), co = guarded_new((size_t)(batch * n) * 4);
    guarded rounded = guarded_new(pair_bytes);
    memset(rounded.p, 0, pair_bytes);
    memcpy(co.p, c, (size_t)(batch * n) * 4); /* the cell is updated in place */
    hone_lstm_step p = {.n_batch = batch,
                        .hidden = n,
                        .gates = gates,
                        .h = h,
                        .c = (float *)(void *)co.p,
                        .packed = packed,
                        .h_out = (float *)(void *)ho.p,
                        .c_out = (float *)(void *)co.p,
                        .gates_stride = 4 * n,
                        .h_stride = n,
                        .c_stride = n,
                        .h_out_stride = n,
                        .c_out_stride = n,
                        .bf16 = {h_pairs, is_bf16 ? (uint16_t *)(void *)rounded.p : NULL}};
    k->lstm_step(&p, 0, hone_rnn_tasks(n));
    for (int64_t i = 0; i < batch * n; ++i) {
        const float *row = h + i / n * n, *g = gates + i / n * 4 * n + i % n;
        double z[4];
        for (int64_t j = 0; j < 4; ++j)
            z[j] = g[j * n] + dot(row, r + (j * n + i % n) * n, n);
        double cell = sigmoid(z[2]) * c[i] + sigmoid(z[0]) * tanh(z[3]);
        double out = sigmoid(z[1]) * tanh(cell);
        check_close(p.c_out + i, &cell, 1, 3e-6, "lstm cell", isa);
        check_close(p.h_out + i, &out, 1, 3e-6, "lstm", isa);
    }
    check_rounded(p.bf16.out, p.h_out, batch, n, "lstm", isa);
    guarded_free(&ho, "lstm");
    guarded_free(&co, "lstm");
    guarded_free(&rounded, "lstm");
    free(gates), free(h), free(c), free(r), free(packed), free(h_pairs);
}

static void test_gru(const hone_vec_kernels *k, const char *isa, int64_t batch, int64_t n,
                     bool is_bf16) {
    float *gates = random_array(batch * 3 * n, -1, 1), *h = numbers(batch * n, 1, is_bf16);
    float *bias = random_array(n, -1, 1), *r = numbers(3 * n * n, 0.5f, is_bf16);
    void *packed = pack(r, n, 3, is_bf16);
    uint16_t *h_pairs = is_bf16 ? pairs(h, batch, n) : NULL;
    size_t pair_bytes = (size_t)(batch * hone_rnn_terms(n, true)) * 4;
    guarded ho = guarded_new((size_t)(batch * n) * 4), rounded = guarded_new(pair_bytes);
    memset(rounded.p, 0, pair_bytes);
    hone_gru_step p = {.n_batch = batch,
                       .hidden = n,
                       .gates = gates,
                       .h = h,
                       .packed = packed,
                       .recurrent_bias = bias,
                       .h_out = (float *)(void *)ho.p,
                       .gates_stride = 3 * n,
                       .h_stride = n,
                       .h_out_stride = n,
                       .bf16 = {h_pairs, is_bf16 ? (uint16_t *)(void *)rounded.p : NULL}};
    k->gru_step(&p, 0, hone_rnn_tasks(n));
    for (int64_t i = 0; i < batch * n; ++i) {
        const float *row = h + i / n * n, *g = gates + i / n * 3 * n + i % n;
        double z = sigmoid(g[0] + dot(row, r + i % n * n, n));
        double reset = sigmoid(g[n] + dot(row, r + (n + i % n) * n, n));
        double t = tanh(g[2 * n] + reset * (dot(row, r + (2 * n + i % n) * n, n) + bias[i % n]));
        double out = (1 - z) * t + z * h[i];
        check_close(p.h_out + i, &out, 1, 3e-6, "gru", isa);
    }
    check_rounded(p.bf16.out, p.h_out, batch, n, "gru", isa);
    guarded_free(&ho, "gru");
    guarded_free(&rounded, "gru");
    free(gates), free(h), free(bias), free(r), free(packed), free(h_pairs);
}

/* Row `row` of what the second call multiplies: its input as it is, or what the first call rounded.
 */
static void read_reset(const hone_gru_plain_step *p, const uint16_t *rounded, int64_t row,
                       float *reset) {
    for (int64_t i = 0; i < p->hidden; ++i) {
        uint32_t bits;
        memcpy(&bits, p->reset + row * p->hidden + i, sizeof bits);
        if (rounded)
            bits = (uint32_t)rounded[row * 2 * hone_rnn_terms(p->hidden, true) + i] << 16;
        memcpy(reset + i, &bits, sizeof bits);
    }
}

static void test_gru_plain(const hone_vec_kernels *k, const char *isa, int64_t batch, int64_t n,
                           bool is_bf16) {
    float *gates = random_array(batch * 3 * n, -1, 1), *h = numbers(batch * n, 1, is_bf16);
    float *r = numbers(3 * n * n, 0.5f, is_bf16), *z = random_array(batch * n, 0, 0);
    void *zr = pack(r, n, 2, is_bf16), *rh = pack(r + 2 * n * n, n, 1, is_bf16);
    float *reset = random_array(n, 0, 0);
    uint16_t *h_pairs = is_bf16 ? pairs(h, batch, n) : NULL;
    size_t pair_bytes = (size_t)(batch * hone_rnn_terms(n, true)) * 4;
    guarded ho = guarded_new((size_t)(batch * n) * 4),
            buffer = guarded_new((size_t)(batch * n) * 4), rounded = guarded_new(pair_bytes);
    memset(rounded.p, 0, pair_bytes);
    uint16_t *reset_pairs = is_bf16 ? (uint16_t *)(void *)rounded.p : NULL;
    memcpy(ho.p, h, (size_t)(batch * n) * 4); /* in place */
    float *y = (float *)(void *)ho.p;
    hone_gru_plain_step p = {.n_batch = batch,
                             .hidden = n,
                             .gates = gates,
                             .h = y,
                             .packed_zr = zr,
                             .packed_h = rh,
                             .z = z,
                             .reset = (float *)(void *)buffer.p,
                             .h_out = y,
                             .gates_stride = 3 * n,
                             .h_stride = n,
                             .h_out_stride = n,
                             .bf16 = {h_pairs, reset_pairs}};
    k->gru_reset(&p, 0, hone_rnn_tasks(n));
    check_rounded(reset_pairs, p.reset, batch, n, "plain gru", isa);
    p.bf16 = (hone_rnn_bf16){reset_pairs, h_pairs}; /* the state's place takes the new one */
    k->gru_finish(&p, 0, hone_rnn_tasks(n));
    for (int64_t i = 0; i < batch * n; ++i) {
        const float *row = h + i / n * n, *g = gates + i / n * 3 * n;
        double gate = sigmoid(g[n + i % n] + dot(row, r + (n + i % n) * n, n)) * row[i % n];
        check_close(p.reset + i, &gate, 1, 3e-6, "plain gru reset", isa);
        read_reset(&p, reset_pairs, i / n, reset);
        double update = sigmoid(g[i % n] + dot(row, r + i % n * n, n));
        double t = tanh(g[2 * n + i % n] + dot(reset, r + (2 * n + i % n) * n, n));
        double out = (1 - update) * t + update * h[i];
        check_close(y + i, &out, 1, 3e-6, "plain gru", isa);
    }
    check_rounded(h_pairs, y, batch, n, "plain gru", isa);
    guarded_free(&ho, "plain gru");
    guarded_free(&buffer, "plain gru");
    guarded_free(&rounded, "plain gru");
    free(gates), free(h), free(r), free(z), free(zr), free(rh), free(reset), free(h_pairs);
}

static void test_isa(const hone_vec_kernels *k, const char *isa) {
    const int64_t sizes[] = {1, 3, 8, 15, 16, 17, 33, 67};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        for (int64_t batch = 1; batch < 7; batch += 2) {
            for (int is_bf16 = 0; is_bf16 < 2; ++is_bf16) {
                test_lstm(k, isa, batch, sizes[i], is_bf16);
                test_gru(k, isa, batch, sizes[i], is_bf16);
                test_gru_plain(k, isa, batch, sizes[i], is_bf16);
            }
        }
    }
}

int main(void) {
    return for_each_isa(test_isa);
}
