/* Normalisations. Statistics take two passes (mean, then squared deviations), so that large means
 * lose nothing. */
#ifndef HONE_KERNELS_NORM_H
#define HONE_KERNELS_NORM_H

#include <stdbool.h>
#include <stdint.h>

/* y = (h - mean(h)) / sqrt(var(h) + eps) * scale + bias for each row of n, h = x + residual.
 * rms: the mean is taken as 0. */
typedef struct hone_layer_norm {
    const float *x, *residual;     /* residual may be NULL */
    const float *scale, *bias;     /* n each, or NULL */
    float *y, *sum;                /* sum: receives h, or NULL; y and sum may be x or residual, not
                                      each other */
    float *mean, *inv_std;         /* one a row, or NULL */
    int64_t n, x_stride, y_stride; /* row strides; residual and sum are strided as x */
    float eps;
    bool rms;
} hone_layer_norm;

/** Rows [begin, end). Relative error about 1e-6 of the largest |y| of the row. */
typedef void hone_layer_norm_fn(const hone_layer_norm *p, int64_t begin, int64_t end);

/** The same with x and y stored as BF16, without residual and sum: rows [begin, end). */
typedef void hone_layer_norm_bf16_fn(const hone_layer_norm *p, const uint16_t *x, uint16_t *y,
                                     int64_t begin, int64_t end);

/* Group normalisation; instance normalisation has one channel a group. Statistics over one group's
 * channels and all positions; scale and bias are per channel. One of the two strides is 1:
 * position_stride (NCHW) or channel_stride (NHWC). */
typedef struct hone_group_norm {
    const float *x, *scale, *bias;         /* scale and bias: n_groups * channels, or NULL */
    float *y;                              /* strided as x; may be x */
    int64_t n_groups, channels, positions; /* channels in one group */
    int64_t batch_stride, channel_stride, position_stride;
    float eps;
} hone_group_norm;

/** Groups [begin, end) of the n_batch * n_groups. */
typedef void hone_group_norm_fn(const hone_group_norm *p, int64_t begin, int64_t end);

#endif
