/* The vector kernels on data stored as BF16 against the contract in double: inputs are the upper
 * halves of floats, results are rounded once, half to even, from sums in FP32. */
#include "vec_test.h"

static uint16_t bf16_of(float x) {
    uint32_t w;
    memcpy(&w, &x, sizeof w);
    return (uint16_t)((x != x ? w | 0x400000u : w + 0x7fffu + (w >> 16 & 1u)) >> 16);
}
static float f32_of(uint16_t h) {
    uint32_t w = (uint32_t)h << 16;
    float x;
    memcpy(&x, &w, sizeof x);
    return x;
}

static uint16_t *random_bf16(int64_t n) {
    uint16_t *x = malloc((size_t)(n + 1) * sizeof *x);
    if (!x)
        exit(2);
    for (int64_t i = 0; i < n; ++i)
        x[i] = bf16_of(random_f32(-2, 2));
    return x;
}

/* A result that is rounded to BF16 from within `slack` of `want`. */
static void check_one(uint16_t got, double want, double slack, int64_t i, const char *what,
                      const char *isa) {
    double bound = fabs(want) * 0x1p-8 * 1.01 + slack, y = (double)f32_of(got);
    CHECK(isnan(want) ? isnan(y) : fabs(y - want) <= bound, "%s %s [%lld]: %g, not %g", isa, what,
          (long long)i, y, want);
}

static void test_convert(const hone_vec_kernels *k, const char *isa) {
    /* Ties, the largest number, infinities, NaN; no denormals, which AVX512-BF16 drops. */
    static const uint32_t words[] = {0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff,
                                     0x7f800000, 0xff800000, 0x80000000, 0x7fc00001, 0xc0490fdb};
    for (int a = 0; a < N_AWKWARD; ++a) {
        int64_t n = awkward[a];
        float *x = random_array(n, -3, 3), *back = random_array(n, 0, 1);
        guarded y = guarded_new((size_t)n * sizeof(uint16_t));
        uint16_t *h = (uint16_t *)(void *)y.p;
        for (int64_t i = 0; i < n; ++i)
            memcpy(&x[i], &words[i % 10], i % 3 ? 4 : 0);
        k->f32_to_bf16(x, h, n);
        k->bf16_to_f32(h, back, n);
        for (int64_t i = 0; i < n; ++i) {
            CHECK(h[i] == bf16_of(x[i]), "%s narrows %g to %04x, not %04x", isa, (double)x[i], h[i],
                  bf16_of(x[i]));
            float want = f32_of(h[i]);
            CHECK(memcmp(&back[i], &want, 4) == 0, "%s widens %04x wrongly", isa, h[i]);
        }
        guarded_free(&y, "conversion");
        free(x);
        free(back);
    }
}

/* relu(x * s + z), s one number a column as BF16, z as floats; result BF16. */
static void test_chain(const hone_vec_kernels *k, const char *isa) {
    static const int64_t rows[] = {1, 3, 50, 300}, columns[] = {1, 5, 16, 33, 300, 1100};
    for (int c = 0; c < 24; ++c) {
        int64_t m = rows[c % 4], n = columns[c / 4];
        hone_ew_program p = {.n_in = 3,
                             .n_out = 1,
                             .n_steps = 2,
                             .rank = 2,
                             .dims = {m, n},
                             .strides = {{n, 1}, {0, 1}, {n, 1}},
                             .in_type = {HONE_EW_BF16, HONE_EW_BF16, HONE_EW_F32},
                             .out_type = {HONE_EW_BF16},
                             .out_value = {4},
                             .steps = {{HONE_EW_FMA, {0, 1, 2}, 0, 0}, {HONE_EW_RELU, {3}, 0, 0}}};
        uint16_t *x = random_bf16(m * n), *s = random_bf16(n);
        float *z = random_array(m * n, -1, 1);
        guarded y = guarded_new((size_t)(m * n) * sizeof(uint16_t));
        CHECK(hone_ew_prepare(&p), "the program is refused");
        void *scratch = scratch_new(hone_ew_scratch_bytes(&p));
        const void *in[] = {x, s, z};
        void *out[] = {y.p};
        int64_t half = m * n / 3;
        k->eltwise(&p, in, out, 0, half, scratch);
        k->eltwise(&p, in, out, half, m * n, scratch);
        for (int64_t i = 0; i < m * n; ++i) {
            double want = fmax(0, (double)f32_of(x[i]) * (double)f32_of(s[i % n]) + (double)z[i]);
            check_one(((uint16_t *)(void *)y.p)[i], want, 1e-6, i, "chain", isa);
        }
        guarded_free(&y, "chain");
        free(scratch);
        free(x);
        free(s);
        free(z);
    }
}

static void test_layer_norm(const hone_vec_kernels *k, const char *isa) {
    for (int a = 1; a < N_AWKWARD; ++a) {
        int64_t n = awkward[a], rows = 3;
        uint16_t *x = random_bf16(rows * n);
        float *scale = random_array(n, 0, 2), *bias = random_array(n, -1, 1);
        guarded y = guarded_new((size_t)(rows * n) * sizeof(uint16_t));
        hone_layer_norm p = {.scale = scale, .bias = a % 2 ? bias : NULL, .n = n};
        p.x_stride = p.y_stride = n;
        p.eps = 1e-5f;
        p.rms = a % 3 == 0;
        k->layer_norm_bf16(&p, x, (uint16_t *)(void *)y.p, 0, rows);
        for (int64_t i = 0; i < rows * n; ++i) {
            double mean = 0, sum = 0;
            for (int64_t j = 0; j < n && !p.rms; ++j)
                mean += (double)f32_of(x[i / n * n + j]) / (double)n;
            for (int64_t j = 0; j < n; ++j)
                sum += pow((double)f32_of(x[i / n * n + j]) - mean, 2) / (double)n;
            double want =
                ((double)f32_of(x[i]) - mean) / sqrt(sum + (double)p.eps) * (double)scale[i % n] +
                (p.bias ? (double)bias[i % n] : 0);
            check_one(((uint16_t *)(void *)y.p)[i], want, 1e-4, i, "layer norm", isa);
        }
        guarded_free(&y, "layer norm");
        free(x);
        free(scale);
        free(bias);
    }
}

static double reduced(hone_reduce_op op, const uint16_t *x, int64_t n, int64_t stride) {
    double r = op == HONE_REDUCE_MAX ? -INFINITY : op == HONE_REDUCE_MIN ? INFINITY : 0;
    for (int64_t i = 0; i < n; ++i) {
        double v = (double)f32_of(x[i * stride]);
        r = op == HONE_REDUCE_MAX ? fmax(r, v) : op == HONE_REDUCE_MIN ? fmin(r, v) : r + v;
    }
    return op == HONE_REDUCE_MEAN ? r / (double)n : r;
}

static void test_reduce(const hone_vec_kernels *k, const char *isa) {
    static const hone_reduce_op ops[] = {HONE_REDUCE_SUM, HONE_REDUCE_MEAN, HONE_REDUCE_MAX,
                                         HONE_REDUCE_MIN};
    static const int64_t inners[] = {1, 3, 16, 37, 100};
    for (int c = 0; c < 100; ++c) {
        hone_reduce_op op = ops[c % 4];
        int64_t inner = inners[c / 4 % 5], n = awkward[1 + c % (N_AWKWARD - 2)], outer = 2;
        uint16_t *x = random_bf16(outer * n * inner);
        guarded y = guarded_new((size_t)(outer * inner) * sizeof(uint16_t));
        uint16_t *to = (uint16_t *)(void *)y.p;
        k->reduce_bf16(op, x, n, inner, to, 0, inner);
        k->reduce_bf16(op, x, n, inner, to, inner, outer * inner);
        for (int64_t i = 0; i < outer * inner; ++i) {
            double want = reduced(op, x + i / inner * n * inner + i % inner, n, inner);
            check_one(to[i], want, op == HONE_REDUCE_SUM ? 1e-6 * (double)n : 1e-6, i, "reduction",
                      isa);
        }
        guarded_free(&y, "reduction");
        free(x);
    }
}

static void test_pool(const hone_vec_kernels *k, const char *isa) {
    static const int64_t channels[] = {1, 15, 16, 33, 64, 100};
    for (int c = 0; c < 12; ++c) {
        int64_t n_c = channels[c / 2], size = 9, out = 5;
        uint16_t *x = random_bf16(size * size * n_c);
        guarded y = guarded_new((size_t)(out * out * n_c) * sizeof(uint16_t));
        hone_pool2d p = {.x = x, .y = y.p, .n_batch = 1, .height = size, .width = size};
        p.channels = p.x_pixel = p.y_pixel = n_c;
        p.out_height = p.out_width = out;
        p.kernel_h = p.kernel_w = 3;
        p.stride_h = p.stride_w = 2;
        p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = 1;
        p.dilation_h = p.dilation_w = 1;
        p.x_row = size * n_c;
        p.y_row = out * n_c;
        p.is_max = c % 2;
        k->pool2d_bf16(&p, 0, out);
        for (int64_t i = 0; i < out * out * n_c; ++i) {
            double want = p.is_max ? -INFINITY : 0, n = 0;
            for (int64_t t = 0; t < 9; ++t) {
                int64_t iy = i / n_c / out * 2 - 1 + t / 3, ix = i / n_c % out * 2 - 1 + t % 3;
                if (iy < 0 || ix < 0 || iy >= size || ix >= size)
                    continue;
                double v = (double)f32_of(x[(iy * size + ix) * n_c + i % n_c]);
                want = p.is_max ? fmax(want, v) : want + v;
                ++n;
            }
            check_one(((uint16_t *)(void *)y.p)[i], p.is_max ? want : want / n, 1e-6, i, "pooling",
                      isa);
        }
        guarded_free(&y, "pooling");
        free(x);
    }
}

/* One query of one head in double. */
static void attend(const hone_attention *p, int64_t h, int64_t i, double *want) {
    const uint16_t *q = (const uint16_t *)p->q + h * p->q_at[1] + i * p->q_at[2];
    double sum = 0;
    for (int64_t d = 0; d < p->v_size; ++d)
        want[d] = 0;
    for (int64_t j = 0; j < p->n_kv && (!p->causal || j <= i); ++j) {
        const uint16_t *key = (const uint16_t *)p->k + h * p->k_at[1] + j * p->k_at[2];
        const uint16_t *v = (const uint16_t *)p->v + h * p->v_at[1] + j * p->v_at[2];
        double s = 0;
        for (int64_t d = 0; d < p->size; ++d)
            s += (double)f32_of(q[d]) * (double)f32_of(key[d]);
        double w = exp(s * (double)p->scale + (p->mask ? (double)p->mask[j] : 0));
        sum += w;
        for (int64_t d = 0; d < p->v_size; ++d)
            want[d] += w * (double)f32_of(v[d]);
    }
    for (int64_t d = 0; d < p->v_size; ++d)
        want[d] /= sum;
}

static void test_attention(const hone_vec_kernels *k, const char *isa) {
    static const int64_t sizes[][4] = {/* queries, keys, size, size of values */
                                       {1, 1, 1, 1},
                                       {2, 7, 8, 5},
                                       {13, 130, 33, 64},
                                       {128, 128, 64, 64},
                                       {100, 300, 40, 17}};
    for (int c = 0; c < 10; ++c) {
        const int64_t *n = sizes[c / 2], heads = 2;
        hone_attention p = {.n_batch = 1, .n_heads = heads, .n_kv_heads = heads, .is_bf16 = true};
        p.n_q = n[0], p.n_kv = n[1], p.size = n[2], p.v_size = n[3];
        p.scale = 1 / sqrtf((float)n[2]);
        p.causal = c % 2;
        p.left = p.right = -1;
        uint16_t *q = random_bf16(heads * n[0] * n[2]), *key = random_bf16(heads * n[1] * n[2]),
                 *v = random_bf16(heads * n[1] * n[3]);
        float *mask = random_array(n[1], -1, 1);
        guarded y = guarded_new((size_t)(heads * n[0] * n[3]) * sizeof(uint16_t));
        p.q = q, p.k = key, p.v = v, p.y = y.p;
        p.mask = c % 2 ? NULL : mask;
        p.mask_at[3] = 1;
        p.q_at[1] = n[0] * n[2], p.q_at[2] = n[2];
        p.k_at[1] = n[1] * n[2], p.k_at[2] = n[2];
        p.v_at[1] = n[1] * n[3], p.v_at[2] = n[3];
        p.y_at[1] = n[0] * n[3], p.y_at[2] = n[3];
        void *scratch = scratch_new(hone_attention_scratch_bytes(&p));
        k->attention(&p, 0, hone_attention_tasks(&p), scratch);
        double *want = malloc((size_t)n[3] * sizeof *want);
        for (int64_t i = 0; want && i < heads * n[0]; ++i) {
            attend(&p, i / n[0], i % n[0], want);
            /* Weights may be rounded to BF16 before they meet the values. */
            for (int64_t d = 0; d < n[3]; ++d)
                check_one(((uint16_t *)(void *)y.p)[i * n[3] + d], want[d], 0x1p-8, i, "attention",
                          isa);
        }
        guarded_free(&y, "attention");
        free(want);
        free(scratch);
        free(q);
        free(key);
        free(v);
        free(mask);
    }
}

static void test_all(const hone_vec_kernels *k, const char *isa) {
    test_convert(k, isa);
    test_chain(k, isa);
    test_layer_norm(k, isa);
    test_reduce(k, isa);
    test_pool(k, isa);
    test_attention(k, isa);
}

int main(void) {
    return for_each_isa(test_all);
}
