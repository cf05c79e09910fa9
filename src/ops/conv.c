/* Conv, ConvTranspose, ConvInteger, QLinearConv: plain loops over output planes. Everything is
 * computed on planes of float (integers: of double, which holds their sums exactly). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/conv_shape.h"

/* ---- inference --------------------------------------------------------------------------------
 */

static hone_status infer_conv(hone_infer_ctx *c, int x, int w, hone_dtype d) {
    if (!hone_infer_has(c, x) || !hone_infer_has(c, w) || c->in[x].rank < 0 || c->in[w].rank < 0) {
        hone_infer_set(c, 0, d, hone_infer_has(c, x) ? -1 : -1, NULL);
        return HONE_OK;
    }
    const hone_type *in = &c->in[x], *weight = &c->in[w];
    if (in->rank < 3 || in->rank != weight->rank)
        return hone_infer_fail(c, HONE_E_SHAPE, "input and weight have ranks %d and %d", in->rank,
                               weight->rank);
    hone_window win;
    for (int i = 2; i < weight->rank; ++i) {
        if (weight->dims[i] < 0 && !hone_attr_find(c->node, "kernel_shape")) {
            hone_infer_set(c, 0, d, -1, NULL);
            return HONE_OK;
        }
    }
    const char *wrong =
        hone_window_read(c->node, in->rank - 2, in->dims + 2, weight->dims + 2, &win);
    if (wrong)
        return hone_infer_fail(c, HONE_E_SHAPE, "%s", wrong);
    int64_t group = hone_attr_int(c->node, "group", 1);
    if (group < 1 || group > INT32_MAX || weight->dims[1] > INT32_MAX ||
        (weight->dims[0] >= 0 && weight->dims[0] % group))
        return hone_infer_fail(c, HONE_E_SHAPE, "%" PRId64 " groups do not fit the channels",
                               group);
    if (in->dims[1] >= 0 && weight->dims[1] >= 0 && in->dims[1] != weight->dims[1] * group)
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "the input has %" PRId64 " channels, the weight expects %" PRId64,
                               in->dims[1], weight->dims[1] * group);
    int64_t dims[HONE_MAX_RANK] = {in->dims[0], weight->dims[0]};
    for (int i = 0; i < win.n; ++i)
        dims[i + 2] = win.out[i];
    hone_infer_set(c, 0, d, in->rank, dims);
    return HONE_OK;
}

hone_status hone_infer_conv(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_alike(c, 0, 1));
    HONE_TRY(hone_infer_alike(c, 0, 2));
    return infer_conv(c, 0, 1, hone_infer_has(c, 0) ? c->in[0].dtype : HONE_DTYPE_NONE);
}

hone_status hone_infer_conv_integer(hone_infer_ctx *c) {
    return infer_conv(c, 0, 1, HONE_DTYPE_I32);
}

hone_status hone_infer_qlinear_conv(hone_infer_ctx *c) {
    return infer_conv(c, 0, 3, hone_infer_has(c, 7) ? c->in[7].dtype : HONE_DTYPE_NONE);
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

/* Adds the taps of one weight plane times one input plane to one output plane. Written once, for
 * float and double. */
#define PLANE_LOOP(T)                                                                              \
    static void add_plane_##T(const hone_window *w, const T *x, const T *k, T *y) {                \
        for (int64_t kd = 0; kd < w->kernel[0]; ++kd) {                                            \
            for (int64_t kh = 0; kh < w->kernel[1]; ++kh) {                                        \
                for (int64_t kw = 0; kw < w->kernel[2]; ++kw)                                      \
                    add_tap_##T(w, x, *k++, kd, kh, kw, y);                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define TAP_LOOP(T)                                                                                \
    static void add_tap_##T(const hone_window *w, const T *x, T f, int64_t kd, int64_t kh,         \
                            int64_t kw, T *y) {                                                    \
        int64_t d0, d1, h0, h1, w0, w1;                                                            \
        hone_window_valid(w, 0, kd, &d0, &d1);                                                     \
        hone_window_valid(w, 1, kh, &h0, &h1);                                                     \
        hone_window_valid(w, 2, kw, &w0, &w1);                                                     \
        for (int64_t d = d0; d < d1; ++d) {                                                        \
            int64_t id = d * w->stride[0] + kd * w->dilation[0] - w->pad[0];                       \
            for (int64_t h = h0; h < h1; ++h) {                                                    \
                int64_t ih = h * w->stride[1] + kh * w->dilation[1] - w->pad[1];                   \
                const T *row = x + (id * w->in[1] + ih) * w->in[2];                                \
                T *out = y + (d * w->out[1] + h) * w->out[2];                                      \
                int64_t shift = kw * w->dilation[2] - w->pad[2], s = w->stride[2];                 \
                if (s == 1) {                                                                      \
                    for (int64_t i = w0; i < w1; ++i)                                              \
                        out[i] += f * row[i + shift];                                              \
                } else {                                                                           \
                    for (int64_t i = w0; i < w1; ++i)                                              \
                        out[i] += f * row[i * s + shift];                                          \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
TAP_LOOP(float)
PLANE_LOOP(float)
TAP_LOOP(double)
PLANE_LOOP(double)

typedef struct conv_job {
    hone_window w;
    const hone_tensor *bias;
    hone_tensor *out;
    const void *x, *k; /* float or double planes */
    void *y;
    bool is_double;
    int64_t in_plane, out_plane, taps; /* elements */
    int64_t ic, oc, group;             /* ic: of a group; oc: in all */
} conv_job;

/* One output plane: image n, channel o. */
static void conv_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const conv_job *j = arg;
    int64_t n = task / j->oc, o = task % j->oc, g = o / (j->oc / j->group);
    int64_t first = (n * j->group + g) * j->ic;
    double start = j->bias ? hone_load_f64(j->bias->dtype, j->bias->data, o) : 0;
    if (j->is_double) {
        double *y = (double *)j->y + task * j->out_plane;
        for (int64_t i = 0; i < j->out_plane; ++i)
            y[i] = start;
        for (int64_t i = 0; i < j->ic; ++i)
            add_plane_double(&j->w, (const double *)j->x + (first + i) * j->in_plane,
                             (const double *)j->k + (o * j->ic + i) * j->taps, y);
        return;
    }
    float *y = (float *)j->y + task * j->out_plane;
    for (int64_t i = 0; i < j->out_plane; ++i)
        y[i] = (float)start;
    for (int64_t i = 0; i < j->ic; ++i)
        add_plane_float(&j->w, (const float *)j->x + (first + i) * j->in_plane,
                        (const float *)j->k + (o * j->ic + i) * j->taps, y);
}

/* Elements as double in scratch memory, less their zero point (one, or one for each slice of the
 * first axis). */
static const double *as_double(hone_op_ctx *c, const hone_tensor *t, const hone_tensor *zero) {
    int64_t n = hone_tensor_count(t), n_zero = zero ? hone_tensor_count(zero) : 0;
    double *out = hone_op_scratch(c, (size_t)n * sizeof *out + 1);
    if (!out)
        return NULL;
    int64_t slice = n_zero > 1 ? n / n_zero : n;
    for (int64_t i = 0; i < n; ++i) {
        double z = n_zero ? hone_load_f64(zero->dtype, zero->data, n_zero > 1 ? i / slice : 0) : 0;
        out[i] = hone_load_f64(t->dtype, t->data, i) - z;
    }
    return out;
}

/* Fills the job and runs it; is_double results are left in j->y. */
static hone_status run_conv(hone_op_ctx *c, conv_job *j, const hone_tensor *x, const hone_tensor *k,
                            const hone_tensor *x_zero, const hone_tensor *k_zero) {
    const char *wrong = hone_window_read(c->node, x->rank - 2, x->dims + 2, k->dims + 2, &j->w);
    if (wrong || j->w.n > 3)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "%s",
                            wrong ? wrong : "more than 3 spatial axes");
    if (x_zero && hone_tensor_count(x_zero) != 1)
        return hone_op_fail(c, HONE_E_SHAPE, "the input's zero point is no scalar");
    if (k_zero && hone_tensor_count(k_zero) != 1 && hone_tensor_count(k_zero) != k->dims[0])
        return hone_op_fail(c, HONE_E_SHAPE, "the weight's zero points do not fit its channels");
    hone_window_as_3d(&j->w);
    j->group = hone_attr_int(c->node, "group", 1);
    j->ic = k->dims[1];
    j->oc = k->dims[0];
    j->in_plane = hone_dims_count(j->w.in, 0, 3);
    j->out_plane = hone_dims_count(j->w.out, 0, 3);
    j->taps = hone_dims_count(j->w.kernel, 0, 3);
    if (j->bias && hone_tensor_count(j->bias) != j->oc)
        return hone_op_fail(c, HONE_E_SHAPE, "the bias does not fit %" PRId64 " channels", j->oc);
    j->x = x->data;
    j->k = k->data;
    j->y = j->out->data;
    if (j->is_double) {
        j->x = as_double(c, x, x_zero);
        j->k = as_double(c, k, k_zero);
        j->y = hone_op_scratch(c, (size_t)hone_tensor_count(j->out) * sizeof(double) + 1);
        if (!j->x || !j->k || !j->y)
            return HONE_E_NOMEM;
    }
    if (hone_tensor_count(j->out))
        hone_op_parallel(c, x->dims[0] * j->oc, conv_task, j);
    return HONE_OK;
}

static void store_all(const conv_job *j) {
    for (int64_t i = 0, n = hone_tensor_count(j->out); i < n; ++i)
        hone_store_f64(j->out->dtype, j->out->data, i, ((const double *)j->y)[i]);
}

hone_status hone_ref_conv(hone_op_ctx *c) {
    conv_job j = {.bias = hone_in(c, 2), .out = hone_out(c, 0)};
    j.is_double = j.out->dtype != HONE_DTYPE_F32;
    HONE_TRY(run_conv(c, &j, hone_in(c, 0), hone_in(c, 1), NULL, NULL));
    if (j.is_double)
        store_all(&j);
    return HONE_OK;
}

hone_status hone_ref_conv_integer(hone_op_ctx *c) {
    conv_job j = {.out = hone_out(c, 0), .is_double = true};
    HONE_TRY(run_conv(c, &j, hone_in(c, 0), hone_in(c, 1), hone_in(c, 2), hone_in(c, 3)));
    store_all(&j);
    return HONE_OK;
}

hone_status hone_ref_qlinear_conv(hone_op_ctx *c) {
    const hone_tensor *x_scale = hone_in(c, 1), *w_scale = hone_in(c, 4), *y_scale = hone_in(c, 6);
    const hone_tensor *y_zero = hone_in(c, 7);
    conv_job j = {.bias = hone_in(c, 8), .out = hone_out(c, 0), .is_double = true};
    int64_t n_scales = hone_tensor_count(w_scale);
    if (hone_tensor_count(x_scale) != 1 || hone_tensor_count(y_scale) != 1 ||
        hone_tensor_count(y_zero) != 1 || (n_scales != 1 && n_scales != hone_in(c, 3)->dims[0]))
        return hone_op_fail(c, HONE_E_SHAPE, "the scales and zero points do not fit the channels");
    HONE_TRY(run_conv(c, &j, hone_in(c, 0), hone_in(c, 3), hone_in(c, 2), hone_in(c, 5)));
    bool is_signed = j.out->dtype == HONE_DTYPE_I8;
    double low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
    double zero = hone_load_f64(y_zero->dtype, y_zero->data, 0);
    double ratio = hone_load_f64(x_scale->dtype, x_scale->data, 0) /
                   hone_load_f64(y_scale->dtype, y_scale->data, 0);
    for (int64_t i = 0, n = hone_tensor_count(j.out); i < n; ++i) {
        int64_t o = i / j.out_plane % j.oc;
        double scale = ratio * hone_load_f64(w_scale->dtype, w_scale->data, n_scales > 1 ? o : 0);
        double v = nearbyint(((const double *)j.y)[i] * scale) + zero;
        hone_store_f64(j.out->dtype, j.out->data, i, v < low ? low : v > high ? high : v);
    }
    return HONE_OK;
}
