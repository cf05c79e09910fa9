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

/* Channels that are handled together where they lie side by side. */
enum { NORM_CHANNELS = 256 };

/* Sums of x - mean, or of its square, over all positions, a channel in every lane; blocked, since
 * there may be many positions. */
static void norm_columns(const float *x, int64_t stride, int64_t positions, int64_t channels,
                         const float *mean, bool is_square, float *sums) {
    for (int64_t c = 0; c < channels; c += VW) {
        int64_t lanes = channels - c < VW ? channels - c : VW;
        const vf m = mean ? vf_load_n(mean + c, lanes) : vf_set1(0.0f);
        vf total = vf_set1(0.0f);
        for (int64_t i = 0; i < positions;) {
            int64_t stop = positions - i < 128 ? positions : i + 128;
            vf sum = vf_set1(0.0f);
            for (; i < stop; ++i) {
                const float *from = x + i * stride + c;
                vf v = vf_sub(lanes < VW ? vf_load_n(from, lanes) : vf_load(from), m);
                sum = is_square ? vf_fma(v, v, sum) : vf_add(sum, v);
            }
            total = vf_add(total, sum);
        }
        vf_store_n(sums + c, total, lanes);
    }
}

/* Every channel's sum becomes that of its group over `count`. */
static void norm_share(float *sums, int64_t n_groups, int64_t channels, float count) {
    for (int64_t g = 0; g < n_groups; ++g, sums += channels) {
        float sum = 0;
        for (int64_t c = 0; c < channels; ++c)
            sum += sums[c];
        for (int64_t c = 0; c < channels; ++c)
            sums[c] = sum / count;
    }
}

/* Neighbouring groups of NHWC, NORM_CHANNELS channels at most. */
static void group_norm_last(const hone_group_norm *p, int64_t group, int64_t n_groups,
                            const float *x, float *y) {
    float mean[NORM_CHANNELS], factor[NORM_CHANNELS], offset[NORM_CHANNELS];
    float count = (float)p->channels * (float)p->positions;
    int64_t first = group * p->channels, n = n_groups * p->channels;
    norm_columns(x, p->position_stride, p->positions, n, NULL, false, mean);
    norm_share(mean, n_groups, p->channels, count);
    norm_columns(x, p->position_stride, p->positions, n, mean, true, factor);
    norm_share(factor, n_groups, p->channels, count);
    for (int64_t c = 0; c < n; ++c) {
        factor[c] = 1.0f / sqrtf(factor[c] + p->eps) * (p->scale ? p->scale[first + c] : 1.0f);
        offset[c] = (p->bias ? p->bias[first + c] : 0.0f) - mean[c] * factor[c];
    }
    for (int64_t i = 0; i < p->positions; ++i) {
        const float *from = x + i * p->position_stride;
        float *to = y + i * p->position_stride;
        for (int64_t c = 0; c < n; c += VW) {
            int64_t lanes = n - c;
            if (lanes >= VW)
                vf_store(to + c,
                         vf_fma(vf_load(from + c), vf_load(factor + c), vf_load(offset + c)));
            else
                vf_store_n(to + c,
                           vf_fma(vf_load_n(from + c, lanes), vf_load_n(factor + c, lanes),
                                  vf_load_n(offset + c, lanes)),
                           lanes);
        }
    }
}

static void group_norm_run(const hone_group_norm *p, int64_t begin, int64_t end) {
    bool is_last = p->position_stride != 1 && p->channels <= NORM_CHANNELS;
    int64_t most = is_last ? NORM_CHANNELS / p->channels : 1;
    for (int64_t i = begin, n; i < end; i += n) {
        int64_t group = i % p->n_groups;
        int64_t at = i / p->n_groups * p->batch_stride + group * p->channels * p->channel_stride;
        n = end - i < p->n_groups - group ? end - i : p->n_groups - group;
        n = n < most ? n : most;
        if (is_last)
            group_norm_last(p, group, n, p->x + at, p->y + at);
        else
            group_norm_one(p, group, p->x + at, p->y + at);
    }
}
