/* Convolution, its transpose, depthwise convolution and fully connected layers on integers (hybrid:
 * on floats that are quantised first): input [n, h, w, c]. Weights [o, kh, kw, c / group], for
 * depthwise [1, kh, kw, c * multiplier], for fully connected [o, c]. Sums are exact: 16-bit
 * products in 32-bit blocks, blocks in 64 bits. */
#include <inttypes.h>
#include <string.h>

#include "ops/conv_shape.h"
#include "ops/tfl_quant.h"

/* ---- rescaling of sums ------------------------------------------------------------------------
 */

typedef struct requant {
    tfl_factor *factor; /* one for each output channel */
    double *real;       /* instead of it: LiteRT rescales fully connected layers in double */
    const float *scale; /* hybrid layers: of the weights and of each image or row of the input */
    const float *rows;  /* NULL: not hybrid */
    int n_scales;
    const void *bias; /* NULL: none */
    hone_dtype bias_type;
    int32_t zero, low, high;
    bool is_wide; /* 64-bit sums */
} requant;

static hone_status make_requant(hone_op_ctx *c, const hone_tensor *bias, int64_t channels,
                                bool is_real, requant *r) {
    const hone_tensor *x = hone_in(c, 0), *y = hone_out(c, 0);
    const float *scale;
    int n_scales = hone_attr_floats(c->node, "w_scale", &scale);
    if (n_scales != 1 && n_scales != channels)
        return hone_op_fail(c, HONE_E_SHAPE, "%d scales for %" PRId64 " output channels", n_scales,
                            channels);
    bool is_hybrid = x->dtype == HONE_DTYPE_F32;
    uint32_t bias_types = is_hybrid ? HONE_T(F32) : HONE_T(I32) | HONE_T(I64);
    if (bias && (hone_tensor_count(bias) != channels || !hone_dtype_in(bias->dtype, bias_types)))
        return hone_op_fail(c, HONE_E_SHAPE, "the bias does not fit %" PRId64 " output channels",
                            channels);
    tfl_param in = tfl_param_of(c->node, "x"), out = tfl_param_of(c->node, "y");
    *r = (requant){.bias = bias ? bias->data : NULL,
                   .bias_type = bias ? bias->dtype : HONE_DTYPE_NONE,
                   .scale = scale,
                   .n_scales = n_scales,
                   .zero = out.zero,
                   .is_wide = x->dtype == HONE_DTYPE_I16};
    if (is_hybrid)
        return HONE_OK;
    tfl_range(c->node, y->dtype, &r->low, &r->high);
    r->factor = hone_op_scratch(c, (size_t)channels * sizeof *r->factor);
    r->real = is_real ? hone_op_scratch(c, (size_t)channels * sizeof *r->real) : NULL;
    if (!r->factor || (is_real && !r->real))
        return HONE_E_NOMEM;
    for (int64_t o = 0; o < channels; ++o) {
        double real = in.scale * (double)scale[n_scales == 1 ? 0 : o] / out.scale;
        r->factor[o] = tfl_factor_of(real);
        if (is_real)
            r->real[o] = real;
    }
    return HONE_OK;
}

static int32_t rescale(const requant *r, int64_t sum, int64_t o) {
    if (r->bias)
        sum = (int64_t)((uint64_t)sum + (uint64_t)hone_load_i64(r->bias_type, r->bias, o));
    int64_t v;
    if (!r->is_wide)
        sum = tfl_wrap(sum);
    if (r->real) {
        double real = round((double)sum * r->real[o]);
        v = !(real > -2147483648.0) ? INT32_MIN : real > 2147483647.0 ? INT32_MAX : (int64_t)real;
    } else if (r->is_wide && r->bias_type != HONE_DTYPE_I32) {
        v = tfl_scale_wide(sum, r->factor[o]);
    } else {
        v = tfl_scale(tfl_wrap(sum), r->factor[o]);
    }
    return (int32_t)tfl_clamp(v + r->zero, r->low, r->high);
}

/* Output channel o of image or row `row`, at element `at`. */
static void emit(const requant *r, hone_tensor *y, int64_t at, int64_t row, int64_t o,
                 int64_t sum) {
    if (!r->rows) {
        tfl_store(y->dtype, y->data, at, rescale(r, sum, o));
        return;
    }
    float v = (float)sum * r->scale[r->n_scales == 1 ? 0 : o] * r->rows[row];
    ((float *)y->data)[at] = r->bias ? v + ((const float *)r->bias)[o] : v;
}

/* ---- the loops --------------------------------------------------------------------------------
 */

typedef struct conv_job {
    const hone_tensor *x;
    hone_tensor *y;
    const int16_t *w;
    int16_t *patch; /* n_patch numbers for each thread */
    int64_t n_patch, taps, in_channels, channels, group;
    int32_t x_zero;
    hone_window win;
    requant r;
} conv_job;

/* The window's inputs in the order of the weights; 0 where it leaves the image. */
static void gather(const conv_job *j, int64_t image, int64_t oy, int64_t ox, int16_t *to) {
    const hone_window *w = &j->win;
    for (int64_t ky = 0; ky < w->kernel[0]; ++ky) {
        int64_t iy = oy * w->stride[0] - w->pad[0] + ky * w->dilation[0];
        for (int64_t kx = 0; kx < w->kernel[1]; ++kx, to += j->in_channels) {
            int64_t ix = ox * w->stride[1] - w->pad[1] + kx * w->dilation[1];
            if (iy < 0 || iy >= w->in[0] || ix < 0 || ix >= w->in[1])
                memset(to, 0, (size_t)j->in_channels * sizeof *to);
            else
                tfl_widen(j->x, ((image * w->in[0] + iy) * w->in[1] + ix) * j->in_channels,
                          j->in_channels, j->x_zero, to);
        }
    }
}

static void conv_pixel(const conv_job *j, const int16_t *patch, int64_t image, int64_t at) {
    int64_t per_group = j->channels / j->group, c = j->in_channels / j->group;
    for (int64_t o = 0; o < j->channels; ++o) {
        const int16_t *w = j->w + o * j->taps * c;
        int64_t sum = 0;
        if (j->group == 1)
            sum = tfl_dot(patch, w, j->taps * c);
        for (int64_t t = 0; j->group > 1 && t < j->taps; ++t)
            sum += tfl_dot(patch + t * j->in_channels + o / per_group * c, w + t * c, c);
        emit(&j->r, j->y, at + o, image, o, sum);
    }
}

static void depthwise_pixel(const conv_job *j, const int16_t *patch, int64_t image, int64_t at) {
    int64_t multiplier = j->channels / j->in_channels;
    for (int64_t o = 0; o < j->channels; ++o) {
        int64_t sum = 0, i = o / multiplier;
        for (int64_t t = 0; t < j->taps; ++t)
            sum += (int32_t)patch[t * j->in_channels + i] * j->w[t * j->channels + o];
        emit(&j->r, j->y, at + o, image, o, sum);
    }
}

/* A task is a row of the output. */
static void run_row(const conv_job *j, int64_t row, int worker,
                    void (*pixel)(const conv_job *, const int16_t *, int64_t, int64_t)) {
    int16_t *patch = j->patch + worker * j->n_patch;
    int64_t height = j->win.out[0], width = j->win.out[1];
    for (int64_t ox = 0; ox < width; ++ox) {
        gather(j, row / height, row % height, ox, patch);
        pixel(j, patch, row / height, (row * width + ox) * j->channels);
    }
}

static void conv_row(void *arg, int64_t row, int worker) {
    run_row(arg, row, worker, conv_pixel);
}

static void depthwise_row(void *arg, int64_t row, int worker) {
    run_row(arg, row, worker, depthwise_pixel);
}

static hone_status widen_weights(hone_op_ctx *c, const hone_tensor *w, const int16_t **out) {
    int64_t n = hone_tensor_count(w);
    int16_t *wide = hone_op_scratch(c, (size_t)n * sizeof *wide);
    if (!wide)
        return HONE_E_NOMEM;
    tfl_widen(w, 0, n, (int32_t)tfl_clamp(hone_attr_int(c->node, "w_zero", 0), -255, 255), wide);
    *out = wide;
    return HONE_OK;
}

/* Input 0 as 16-bit numbers: hybrid layers quantise it now, in n_rows slices. `to` is a view. */
static hone_status quantise_input(hone_op_ctx *c, int64_t n_rows, requant *r, hone_tensor *to) {
    const hone_tensor *x = hone_in(c, 0);
    *to = *x;
    if (x->dtype != HONE_DTYPE_F32)
        return HONE_OK;
    int64_t n = hone_tensor_count(x);
    int16_t *wide = hone_op_scratch(c, (size_t)n * sizeof *wide);
    float *rows = hone_op_scratch(c, (size_t)n_rows * sizeof *rows);
    if (!wide || !rows)
        return HONE_E_NOMEM;
    if (n)
        tfl_quantise_rows(x->data, n_rows, n / n_rows,
                          hone_attr_int(c->node, "is_symmetric", 0) != 0, wide, rows);
    r->rows = rows;
    to->dtype = HONE_DTYPE_I16;
    to->data = wide;
    return HONE_OK;
}

static hone_status run_conv(hone_op_ctx *c, bool is_depthwise) {
    const hone_tensor *x = hone_in(c, 0), *w = hone_in(c, 1);
    hone_tensor *y = hone_out(c, 0);
    conv_job j = {.x = x, .y = y, .in_channels = x->dims[3], .channels = y->dims[3]};
    const char *wrong = hone_window_read(c->node, 2, x->dims + 1, w->dims + 1, &j.win);
    if (wrong)
        return hone_op_fail(c, HONE_E_SHAPE, "%s", wrong);
    if (hone_tensor_count(y) == 0)
        return HONE_OK;
    j.taps = w->dims[1] * w->dims[2];
    j.group = is_depthwise || w->dims[3] == 0 ? 1 : x->dims[3] / w->dims[3];
    j.x_zero = tfl_param_of(c->node, "x").zero;
    j.n_patch = j.taps * j.in_channels;
    HONE_TRY(make_requant(c, hone_in(c, 2), j.channels, false, &j.r));
    hone_tensor wide;
    HONE_TRY(quantise_input(c, x->dims[0], &j.r, &wide));
    j.x = &wide;
    HONE_TRY(widen_weights(c, w, &j.w));
    j.patch = hone_op_scratch(c, (size_t)j.n_patch * (size_t)hone_pool_threads(c->pool) *
                                     sizeof *j.patch);
    if (!j.patch)
        return HONE_E_NOMEM;
    hone_op_parallel(c, x->dims[0] * j.win.out[0], is_depthwise ? depthwise_row : conv_row, &j);
    return HONE_OK;
}

hone_status hone_ref_tfl_conv(hone_op_ctx *c) {
    return run_conv(c, false);
}

hone_status hone_ref_tfl_depthwise(hone_op_ctx *c) {
    return run_conv(c, true);
}

/* A row of the input, against every row of the weights. */
hone_status hone_ref_tfl_dense(hone_op_ctx *c) {
    const hone_tensor *w = hone_in(c, 1);
    hone_tensor *y = hone_out(c, 0);
    int64_t channels = w->dims[0], n = w->dims[1];
    if (hone_tensor_count(y) == 0)
        return HONE_OK;
    requant r;
    const int16_t *wide;
    HONE_TRY(make_requant(c, hone_in(c, 2), channels, hone_attr_int(c->node, "real", 0) != 0, &r));
    HONE_TRY(widen_weights(c, w, &wide));
    int64_t n_rows = hone_tensor_count(y) / channels;
    hone_tensor in;
    HONE_TRY(quantise_input(c, n_rows, &r, &in));
    int16_t *row = hone_op_scratch(c, (size_t)n * sizeof *row);
    if (!row)
        return HONE_E_NOMEM;
    int32_t zero = tfl_param_of(c->node, "x").zero;
    for (int64_t i = 0; i < n_rows; ++i) {
        tfl_widen(&in, i * n, n, zero, row);
        for (int64_t o = 0; o < channels; ++o)
            emit(&r, y, i * channels + o, i, o, tfl_dot(row, wide + o * n, n));
    }
    return HONE_OK;
}

/* ---- transposed convolution -------------------------------------------------------------------
 */

typedef struct transpose_job {
    const hone_tensor *w;
    hone_tensor *y;
    const int16_t *x, *wide; /* less their zero points */
    int64_t in[2], channels; /* of the input */
    int64_t stride[2], pad[2];
    requant r;
} transpose_job;

/* Position of the input that tap k of the window meets at output o, or -1. */
static int64_t met(const transpose_job *j, int d, int64_t o, int64_t k) {
    int64_t at = o + j->pad[d] - k;
    return at < 0 || at % j->stride[d] || at / j->stride[d] >= j->in[d] ? -1 : at / j->stride[d];
}

/* A task is a row of the output. */
static void transpose_row(void *arg, int64_t row, int worker) {
    const transpose_job *j = arg;
    int64_t height = j->y->dims[1], width = j->y->dims[2], outputs = j->y->dims[3];
    int64_t image = row / height, oy = row % height;
    (void)worker;
    for (int64_t i = 0; i < width * outputs; ++i) {
        int64_t ox = i / outputs, o = i % outputs, sum = 0;
        for (int64_t ky = 0; ky < j->w->dims[1]; ++ky) {
            int64_t iy = met(j, 0, oy, ky);
            for (int64_t kx = 0; iy >= 0 && kx < j->w->dims[2]; ++kx) {
                int64_t ix = met(j, 1, ox, kx);
                if (ix >= 0)
                    sum += tfl_dot(j->x + ((image * j->in[0] + iy) * j->in[1] + ix) * j->channels,
                                   j->wide + ((o * j->w->dims[1] + ky) * j->w->dims[2] + kx) *
                                                 j->channels,
                                   j->channels);
            }
        }
        emit(&j->r, j->y, row * width * outputs + i, image, o, sum);
    }
}

hone_status hone_ref_tfl_transpose_conv(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0), *w = hone_in(c, 1);
    const int64_t *stride, *pad;
    transpose_job j = {
        .w = w, .y = hone_out(c, 0), .in = {x->dims[1], x->dims[2]}, .channels = x->dims[3]};
    hone_attr_ints(c->node, "strides", &stride);
    hone_attr_ints(c->node, "pads", &pad);
    for (int d = 0; d < 2; ++d) {
        j.stride[d] = stride[d];
        j.pad[d] = pad[d];
    }
    if (hone_tensor_count(j.y) == 0)
        return HONE_OK;
    HONE_TRY(make_requant(c, hone_in(c, 2), w->dims[0], false, &j.r));
    hone_tensor in;
    HONE_TRY(quantise_input(c, x->dims[0], &j.r, &in));
    int64_t n = hone_tensor_count(x);
    int16_t *wide = hone_op_scratch(c, ((size_t)n + 1) * sizeof *wide);
    if (!wide)
        return HONE_E_NOMEM;
    tfl_widen(&in, 0, n, tfl_param_of(c->node, "x").zero, wide);
    j.x = wide;
    HONE_TRY(widen_weights(c, w, &j.wide));
    hone_op_parallel(c, x->dims[0] * j.y->dims[1], transpose_row, &j);
    return HONE_OK;
}

/* ---- shapes -----------------------------------------------------------------------------------
 */

static hone_status check_weights(hone_infer_ctx *c, int rank) {
    uint32_t types = HONE_T(I8) | HONE_T(U8) | HONE_T(I4) | HONE_T(U4) | HONE_T(I2);
    const float *scale;
    HONE_TRY(tfl_check_type(c));
    if (hone_attr_floats(c->node, "w_scale", &scale) < 1)
        return hone_infer_fail(c, HONE_E_FORMAT, "the weights have no scale");
    if (c->in[1].rank != rank || !hone_dtype_in(c->in[1].dtype, types))
        return hone_infer_fail(c, HONE_E_SHAPE, "the weights are not integers of rank %d", rank);
    hone_dtype to = tfl_out_type(c);
    if (to == HONE_DTYPE_NONE || (to == HONE_DTYPE_F32) != (c->in[0].dtype == HONE_DTYPE_F32))
        return hone_infer_fail(c, HONE_E_TYPE, "quantised to a type that is not supported");
    return HONE_OK;
}

static hone_status infer_conv(hone_infer_ctx *c, bool is_depthwise) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1) || c->in[0].rank < 0)
        return HONE_OK;
    HONE_TRY(check_weights(c, 4));
    const hone_type *x = &c->in[0], *w = &c->in[1];
    if (x->rank != 4)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input has rank %d, not 4", x->rank);
    hone_window win;
    const char *wrong = hone_window_read(c->node, 2, x->dims + 1, w->dims + 1, &win);
    if (wrong)
        return hone_infer_fail(c, HONE_E_SHAPE, "%s", wrong);
    int64_t in = x->dims[3], out = is_depthwise ? w->dims[3] : w->dims[0], per = w->dims[3];
    bool fits =
        in < 0 || (is_depthwise ? in > 0 && w->dims[0] == 1 && out % in == 0
                                : per > 0 && in % per == 0 && in > 0 && out % (in / per) == 0);
    if (!fits || out < 0)
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "weights of %" PRId64 " channels do not fit %" PRId64 " channels",
                               per, in);
    hone_infer_set(c, 0, tfl_out_type(c), 4, (int64_t[]){x->dims[0], win.out[0], win.out[1], out});
    return HONE_OK;
}

hone_status hone_infer_tfl_conv(hone_infer_ctx *c) {
    return infer_conv(c, false);
}

hone_status hone_infer_tfl_depthwise(hone_infer_ctx *c) {
    return infer_conv(c, true);
}

/* Attributes: strides, pads (top, left), size (of the output). */
hone_status hone_infer_tfl_transpose_conv(hone_infer_ctx *c) {
    const int64_t *stride, *pad, *size;
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1) || c->in[0].rank < 0)
        return HONE_OK;
    HONE_TRY(check_weights(c, 4));
    bool fits = hone_attr_ints(c->node, "strides", &stride) == 2 &&
                hone_attr_ints(c->node, "pads", &pad) == 2 &&
                hone_attr_ints(c->node, "size", &size) == 2 && c->in[0].rank == 4;
    for (int d = 0; fits && d < 2; ++d)
        fits = stride[d] > 0 && stride[d] <= INT32_MAX && pad[d] >= 0 && pad[d] <= INT32_MAX &&
               size[d] >= 0 && size[d] <= INT32_MAX;
    const hone_type *x = &c->in[0], *w = &c->in[1];
    for (int d = 0; fits && d < 4; ++d)
        fits = w->dims[d] > 0 && w->dims[d] <= INT32_MAX;
    if (!fits || (x->dims[3] >= 0 && x->dims[3] != w->dims[3]))
        return hone_infer_fail(c, HONE_E_SHAPE, "strides, padding or weights do not fit the input");
    hone_infer_set(c, 0, tfl_out_type(c), 4, (int64_t[]){x->dims[0], size[0], size[1], w->dims[0]});
    return HONE_OK;
}

hone_status hone_infer_tfl_dense(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1) || c->in[0].rank < 0)
        return HONE_OK;
    HONE_TRY(check_weights(c, 2));
    const hone_type *x = &c->in[0], *w = &c->in[1];
    int64_t last = x->rank ? x->dims[x->rank - 1] : 0;
    if (x->rank < 1 || w->dims[0] < 1 || w->dims[1] < 1 || (last >= 0 && last != w->dims[1]))
        return hone_infer_fail(c, HONE_E_SHAPE, "rows of %" PRId64 " do not fit the weights", last);
    hone_infer_same(c, 0, 0);
    c->out[0].dtype = tfl_out_type(c);
    c->out[0].dims[x->rank - 1] = w->dims[0];
    return HONE_OK;
}
