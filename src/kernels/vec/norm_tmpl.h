/* Normalisations: see kernels/norm.h. */
#include <math.h>

#include "kernels/norm.h"

/* Sum of (x - mean)^2 over a contiguous run. */
static float norm_deviation(const float *x, int64_t n, float mean) {
    const vf m = vf_set1(mean);
    vf a[2] = {vf_set1(0.0f), vf_set1(0.0f)};
    int64_t i = 0;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        vf u = vf_sub(vf_load(x + i), m), v = vf_sub(vf_load(x + i + VW), m);
        a[0] = vf_fma(u, u, a[0]);
        a[1] = vf_fma(v, v, a[1]);
    }
    float rest = 0;
    for (; i < n; ++i)
        rest += (x[i] - mean) * (x[i] - mean);
    return vf_hsum(vf_add(a[0], a[1])) + rest;
}

static void norm_add(const float *x, const float *r, float *y, int64_t n) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        vf_store(y + i, vf_add(vf_load(x + i), vf_load(r + i)));
    if (i < n)
        vf_store_n(y + i, vf_add(vf_load_n(x + i, n - i), vf_load_n(r + i, n - i)), n - i);
}

VEC_INLINE vf norm_scaled(vf x, vf mean, vf inv, vf scale, vf bias) {
    return vf_fma(vf_mul(vf_sub(x, mean), inv), scale, bias);
}

/* y = (x - mean) * inv * scale + bias, scale and bias per element or NULL. */
static void norm_apply(const float *x, float *y, int64_t n, float mean, float inv,
                       const float *scale, const float *bias) {
    const vf m = vf_set1(mean), v = vf_set1(inv), one = vf_set1(1.0f), zero = vf_set1(0.0f);
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vf s = scale ? vf_load(scale + i) : one, b = bias ? vf_load(bias + i) : zero;
        vf_store(y + i, norm_scaled(vf_load(x + i), m, v, s, b));
    }
    if (i < n) {
        int64_t k = n - i;
        vf s = scale ? vf_load_n(scale + i, k) : one, b = bias ? vf_load_n(bias + i, k) : zero;
        vf_store_n(y + i, norm_scaled(vf_load_n(x + i, k), m, v, s, b), k);
    }
}

static void layer_norm_run(const hone_layer_norm *p, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const float *h = p->x + row * p->x_stride;
        float *y = p->y + row * p->y_stride, mean = 0, sum;
        if (p->residual) {
            float *to = p->sum ? p->sum + row * p->x_stride : y;
            norm_add(h, p->residual + row * p->x_stride, to, p->n);
            h = to;
        } else if (p->sum) {
            softmax_affine(h, p->sum + row * p->x_stride, p->n, 1.0f, 0.0f);
        }
        float n = (float)p->n;
        if (p->rms) {
            sum = red_row(HONE_REDUCE_SUMSQ, h, p->n);
        } else {
            mean = red_row(HONE_REDUCE_SUM, h, p->n) / n;
            sum = norm_deviation(h, p->n, mean);
        }
        float inv = 1.0f / sqrtf(sum / n + p->eps);
        if (p->mean)
            p->mean[row] = mean;
        if (p->inv_std)
            p->inv_std[row] = inv;
        norm_apply(h, y, p->n, mean, inv, p->scale, p->bias);
    }
}

VEC_INLINE vf norm_load_bf16(const uint16_t *x, int64_t n) {
    return n >= VW ? vf_load_bf16(x) : vf_load_bf16_n(x, n);
}

static float norm_sum_bf16(const uint16_t *x, int64_t n) {
    vf a[2] = {vf_set1(0.0f), vf_set1(0.0f)};
    for (int64_t i = 0; i < n; i += 2 * VW) {
        a[0] = vf_add(a[0], norm_load_bf16(x + i, n - i));
        if (i + VW < n)
            a[1] = vf_add(a[1], norm_load_bf16(x + i + VW, n - i - VW));
    }
    return vf_hsum(vf_add(a[0], a[1]));
}

static float norm_deviation_bf16(const uint16_t *x, int64_t n, float mean) {
    const vf m = vf_set1(mean);
    vf sum = vf_set1(0.0f);
    float lane[VW], rest = 0;
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vf u = vf_sub(vf_load_bf16(x + i), m);
        sum = vf_fma(u, u, sum);
    }
    if (i < n) {
        vf_store(lane, vf_load_bf16_n(x + i, n - i));
        for (int64_t k = 0; k < n - i; ++k)
            rest += (lane[k] - mean) * (lane[k] - mean);
    }
    return vf_hsum(sum) + rest;
}

static void norm_apply_bf16(const uint16_t *x, uint16_t *y, int64_t n, float mean, float inv,
                            const float *scale, const float *bias) {
    const vf m = vf_set1(mean), v = vf_set1(inv), one = vf_set1(1.0f), zero = vf_set1(0.0f);
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vf s = scale ? vf_load(scale + i) : one, b = bias ? vf_load(bias + i) : zero;
        vf_store_bf16(y + i, norm_scaled(vf_load_bf16(x + i), m, v, s, b));
    }
    if (i < n) {
        int64_t k = n - i;
        vf s = scale ? vf_load_n(scale + i, k) : one, b = bias ? vf_load_n(bias + i, k) : zero;
        vf_store_bf16_n(y + i, norm_scaled(vf_load_bf16_n(x + i, k), m, v, s, b), k);
    }
}

static void layer_norm_bf16_run(const hone_layer_norm *p, const uint16_t *x, uint16_t *y,
                                int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        const uint16_t *from = x + row * p->x_stride;
        float mean = p->rms ? 0.0f : norm_sum_bf16(from, p->n) / (float)p->n;
        float sum = norm_deviation_bf16(from, p->n, mean);
        float inv = 1.0f / sqrtf(sum / (float)p->n + p->eps);
        if (p->mean)
            p->mean[row] = mean;
        if (p->inv_std)
            p->inv_std[row] = inv;
        norm_apply_bf16(from, y + row * p->y_stride, p->n, mean, inv, p->scale, p->bias);
    }
}

/* One group: `n_runs` contiguous runs of `run` elements at distance `stride`. The runs are the
 * channels (NCHW) or the positions (NHWC). */
static void group_norm_one(const hone_group_norm *p, int64_t group, const float *x, float *y) {
    bool nchw = p->position_stride == 1;
    int64_t n_runs = nchw ? p->channels : p->positions, run = nchw ? p->positions : p->channels;
    int64_t stride = nchw ? p->channel_stride : p->position_stride;
    float count = (float)p->channels * (float)p->positions, sum = 0, deviation = 0;
    for (int64_t r = 0; r < n_runs; ++r)
        sum += red_row(HONE_REDUCE_SUM, x + r * stride, run);
    float mean = sum / count;
    for (int64_t r = 0; r < n_runs; ++r)
        deviation += norm_deviation(x + r * stride, run, mean);
    float inv = 1.0f / sqrtf(deviation / count + p->eps);
    const float *scale = p->scale ? p->scale + group * p->channels : NULL;
    const float *bias = p->bias ? p->bias + group * p->channels : NULL;
    for (int64_t r = 0; r < n_runs; ++r) {
        const float *from = x + r * stride;
        float *to = y + r * stride;
        if (!nchw) {
            norm_apply(from, to, run, mean, inv, scale, bias);
            continue;
        }
        float s = scale ? inv * scale[r] : inv, b = bias ? bias[r] : 0.0f;
        softmax_affine(from, to, run, s, b - mean * s);
    }
}

static void group_norm_run(const hone_group_norm *p, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
        int64_t group = i % p->n_groups;
        int64_t at = i / p->n_groups * p->batch_stride + group * p->channels * p->channel_stride;
        group_norm_one(p, group, p->x + at, p->y + at);
    }
}
