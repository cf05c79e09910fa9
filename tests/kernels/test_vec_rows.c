/* Reductions, softmax and normalisations against double references. */
#include "vec_test.h"

static double reduce_reference(int op, const float *x, int64_t n, int64_t stride, double *scale) {
    double r = op == HONE_REDUCE_MAX ? -INFINITY : op == HONE_REDUCE_MIN ? INFINITY : 0, sum = 0;
    if (op == HONE_REDUCE_PROD)
        r = 1;
    for (int64_t i = 0; i < n; ++i) {
        double v = x[i * stride];
        sum += op == HONE_REDUCE_SUMSQ ? v * v : fabs(v);
        if (op == HONE_REDUCE_MAX || op == HONE_REDUCE_MIN)
            r = isnan(r) || isnan(v) ? NAN : (op == HONE_REDUCE_MAX) == (v > r) ? v : r;
        else if (op == HONE_REDUCE_PROD)
            r *= v;
        else
            r += op == HONE_REDUCE_SUMSQ ? v * v : op == HONE_REDUCE_SUMABS ? fabs(v) : v;
    }
    if (op == HONE_REDUCE_MEAN)
        r /= (double)n, sum /= (double)n;
    *scale = op == HONE_REDUCE_PROD ? fabs(r) : isnan(sum) ? 0 : sum;
    return r;
}

static void test_reduce(const hone_vec_kernels *k, const char *isa, int64_t outer, int64_t n,
                        int64_t inner, bool has_nan) {
    float *x = random_array(outer * n * inner, -1.5f, 1.5f);
    if (has_nan && outer * n * inner > 0)
        x[outer * n * inner / 2] = NAN;
    for (int op = 0; op < HONE_REDUCE_OP_COUNT; ++op) {
        int64_t count = outer * inner;
        guarded y = guarded_new((size_t)count * 4);
        float *once = random_array(count, 0, 0), *got = random_array(count, 0, 0);
        k->reduce((hone_reduce_op)op, x, n, inner, (float *)(void *)y.p, 0, count / 3);
        k->reduce((hone_reduce_op)op, x, n, inner, (float *)(void *)y.p, count / 3, count);
        k->reduce((hone_reduce_op)op, x, n, inner, once, 0, count);
        memcpy(got, y.p, (size_t)count * 4);
        CHECK(memcmp(got, once, (size_t)count * 4) == 0, "%s reduce %d depends on the split", isa,
              op);
        for (int64_t i = 0; i < count; ++i) {
            double scale, bound;
            double want =
                reduce_reference(op, x + i / inner * n * inner + i % inner, n, inner, &scale);
            bound = 1e-6 * scale;
            if (op == HONE_REDUCE_PROD)
                bound = (double)n * 1e-7 * scale + 1e-42;
            if (op == HONE_REDUCE_MAX || op == HONE_REDUCE_MIN)
                bound = 0;
            check_close(got + i, &want, 1, bound, "reduce", isa);
        }
        guarded_free(&y, "reduce");
        free(once), free(got);
    }
    free(x);
}

static void test_softmax(const hone_vec_kernels *k, const char *isa, int64_t outer, int64_t n,
                         int64_t inner, bool is_log) {
    int64_t total = outer * n * inner, lines = outer * inner;
    float *x = random_array(total, -9, 9);
    guarded y = guarded_new((size_t)total * 4);
    memcpy(y.p, x, (size_t)total * 4);
    float *p = (float *)(void *)y.p; /* in place */
    k->softmax(p, p, n, inner, is_log, 0, lines / 2);
    k->softmax(p, p, n, inner, is_log, lines / 2, lines);
    for (int64_t i = 0; i < lines; ++i) {
        const float *from = x + i / inner * n * inner + i % inner;
        const float *to = p + i / inner * n * inner + i % inner;
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < n; ++j)
            top = fmax(top, from[j * inner]);
        for (int64_t j = 0; j < n; ++j)
            sum += exp(from[j * inner] - top);
        for (int64_t j = 0; j < n; ++j) {
            double want =
                is_log ? from[j * inner] - top - log(sum) : exp(from[j * inner] - top) / sum;
            double relative = 1e-6 + 6e-8 * (top - from[j * inner]);
            double bound = is_log ? 4e-7 * fmax(1, fabs(want)) : relative * want;
            check_close(to + j * inner, &want, 1, bound, "softmax", isa);
        }
    }
    guarded_free(&y, "softmax");
    free(x);
}

static void test_softmax_special(const hone_vec_kernels *k, const char *isa) {
    float x[3][5] = {{-INFINITY, 0, -INFINITY, 0, -INFINITY},
                     {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY},
                     {1, 2, NAN, 3, 4}},
          y[3][5];
    k->softmax(x[0], y[0], 5, 1, false, 0, 3);
    for (int j = 0; j < 5; ++j) {
        CHECK(y[0][j] == (j % 2 ? 0.5f : 0.0f), "%s softmax with -infinity", isa);
        CHECK(isnan(y[1][j]) && isnan(y[2][j]), "%s softmax without a number", isa);
    }
}

static void test_layer_norm(const hone_vec_kernels *k, const char *isa, int64_t rows, int64_t n,
                            int mode) {
    bool rms = mode & 1, affine = mode & 2, residual = mode & 4;
    int64_t stride = n + 3;
    float *x = random_array(rows * stride, 7, 9), *r = random_array(rows * stride, -1, 1);
    float *scale = random_array(n, -2, 2), *bias = random_array(n, -2, 2);
    float *sum = random_array(rows * stride, 0, 0), *mean = random_array(rows, 0, 0);
    guarded y = guarded_new((size_t)(rows * n) * 4);
    hone_layer_norm p = {.x = x,
                         .residual = residual ? r : NULL,
                         .scale = affine ? scale : NULL,
                         .bias = affine ? bias : NULL,
                         .y = (float *)(void *)y.p,
                         .sum = mode & 8 ? sum : NULL,
                         .mean = mean,
                         .n = n,
                         .x_stride = stride,
                         .y_stride = n,
                         .eps = 1e-5f,
                         .rms = rms};
    k->layer_norm(&p, 0, rows / 2);
    k->layer_norm(&p, rows / 2, rows);
    for (int64_t i = 0; i < rows && n > 0; ++i) {
        double m = 0, v = 0;
        for (int64_t j = 0; j < n; ++j)
            m += x[i * stride + j] + (residual ? r[i * stride + j] : 0.0f);
        m = rms ? 0 : m / (double)n;
        for (int64_t j = 0; j < n; ++j) {
            double h = x[i * stride + j] + (residual ? r[i * stride + j] : 0.0f);
            v += (h - m) * (h - m) / (double)n;
        }
        CHECK(fabs(mean[i] - m) < 1e-5, "%s layer norm mean", isa);
        for (int64_t j = 0; j < n; ++j) {
            float h = x[i * stride + j] + (residual ? r[i * stride + j] : 0.0f);
            double want = (h - m) / sqrt(v + 1e-5f);
            want = affine ? want * scale[j] + bias[j] : want;
            /* a mean of 8 is known to half an ulp, 5e-7; a row of one divides that by sqrt(eps) */
            double bound = 2e-6 * 8 / sqrt(v + 1e-5f) + 2e-6;
            check_close(p.y + i * n + j, &want, 1, bound, "layer norm", isa);
            CHECK(!(mode & 8) || sum[i * stride + j] == h, "%s layer norm sum", isa);
        }
    }
    guarded_free(&y, "layer norm");
    free(x), free(r), free(scale), free(bias), free(sum), free(mean);
}

static void test_group_norm(const hone_vec_kernels *k, const char *isa, int64_t groups,
                            int64_t channels, int64_t positions, bool nchw) {
    int64_t all = groups * channels, batch = all * positions;
    float *x = random_array(2 * batch, -1, 3), *y = random_array(2 * batch, 0, 0);
    float *scale = random_array(all, -2, 2), *bias = random_array(all, -2, 2);
    hone_group_norm p = {.x = x,
                         .scale = scale,
                         .bias = bias,
                         .y = y,
                         .n_groups = groups,
                         .channels = channels,
                         .positions = positions,
                         .batch_stride = batch,
                         .channel_stride = nchw ? positions : 1,
                         .position_stride = nchw ? 1 : all,
                         .eps = 1e-3f};
    k->group_norm(&p, 0, groups);
    k->group_norm(&p, groups, 2 * groups);
    for (int64_t i = 0; i < 2 * groups; ++i) {
        int64_t at = i / groups * batch + i % groups * channels * p.channel_stride;
        double m = 0, v = 0, n = (double)(channels * positions);
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t s = 0; s < positions; ++s)
                m += x[at + c * p.channel_stride + s * p.position_stride] / n;
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t s = 0; s < positions; ++s)
                v += pow(x[at + c * p.channel_stride + s * p.position_stride] - m, 2) / n;
        for (int64_t c = 0; c < channels; ++c) {
            for (int64_t s = 0; s < positions; ++s) {
                int64_t e = at + c * p.channel_stride + s * p.position_stride;
                int64_t w = i % groups * channels + c;
                double want = (x[e] - m) / sqrt(v + 1e-3f) * scale[w] + bias[w];
                check_close(y + e, &want, 1, 2e-5, "group norm", isa);
            }
        }
    }
    free(x), free(y), free(scale), free(bias);
}

static void test_isa(const hone_vec_kernels *k, const char *isa) {
    for (int s = 0; s < N_AWKWARD; ++s) {
        int64_t n = awkward[s];
        test_reduce(k, isa, 3, n, 1, s & 1);
        test_reduce(k, isa, 2, 5, n, s & 1);
        test_reduce(k, isa, 1, n, 19, false);
        for (int is_log = 0; is_log < 2; ++is_log) {
            test_softmax(k, isa, 3, n, 1, is_log);
            test_softmax(k, isa, 2, 6, n, is_log);
        }
        for (int mode = 0; mode < 16; ++mode)
            test_layer_norm(k, isa, 3, n, mode);
        if (n > 0 && n < 200) {
            test_group_norm(k, isa, 3, 5, n, true);
            test_group_norm(k, isa, 3, n, 6, false);
        }
    }
    test_softmax_special(k, isa);
}

int main(void) {
    return for_each_isa(test_isa);
}
