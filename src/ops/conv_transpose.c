/* ConvTranspose: the convolution whose gradient it is, run backwards: every input element is spread
 * over the window that would have read it. */
#include <inttypes.h>
#include <string.h>

#include "ops/conv_shape.h"

/* The window of the mirrored convolution, from the output (its input) to the input (its output). */
static const char *read_transposed(const hone_node *n, int axes, const int64_t *in,
                                   const int64_t *kernel, hone_window *w) {
    const int64_t *shape, *extra;
    int n_shape = hone_attr_ints(n, "output_shape", &shape);
    int n_extra = hone_attr_ints(n, "output_padding", &extra);
    const char *auto_pad = hone_attr_string(n, "auto_pad", "NOTSET");
    bool is_same = strncmp(auto_pad, "SAME_", 5) == 0;
    const char *wrong = hone_window_read(n, axes, in, kernel, w);
    if (wrong)
        return wrong;
    if ((n_shape && n_shape != axes && n_shape != axes + 2) || (n_extra && n_extra != axes))
        return "output_shape or output_padding does not fit the input's rank";
    for (int d = 0; d < axes; ++d) {
        int64_t more = n_extra ? extra[d] : 0;
        if (more < 0 || more > INT32_MAX || (n_shape && shape[n_shape - axes + d] < 0))
            return "output_shape or output_padding is not possible";
        int64_t span = (w->kernel[d] - 1) * w->dilation[d] + 1 + more;
        w->out[d] = HONE_DIM_UNKNOWN;
        if (is_same) {
            w->pad[d] = w->pad_end[d] = 0;
        }
        if (in[d] < 0)
            continue;
        int64_t full = w->stride[d] * (in[d] - 1) + span;
        if (n_shape || is_same) {
            w->out[d] = n_shape ? shape[n_shape - axes + d] : in[d] * w->stride[d];
            int64_t total = full - w->out[d];
            total = total < 0 ? 0 : total;
            bool is_upper = strcmp(auto_pad, "SAME_UPPER") == 0;
            w->pad[d] = is_upper ? total / 2 : total - total / 2;
            w->pad_end[d] = total - w->pad[d];
        } else {
            w->out[d] = full - w->pad[d] - w->pad_end[d];
        }
        if (w->out[d] < 0)
            return "the output would have a negative size";
    }
    return NULL;
}

hone_status hone_infer_conv_transpose(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    HONE_TRY(hone_infer_alike(c, 0, 1));
    HONE_TRY(hone_infer_alike(c, 0, 2));
    const hone_type *x = &c->in[0], *k = &c->in[1];
    hone_infer_set(c, 0, x->dtype, -1, NULL);
    if (x->rank < 0 || k->rank < 0 || !hone_type_is_static(k))
        return HONE_OK;
    if (x->rank < 3 || x->rank != k->rank)
        return hone_infer_fail(c, HONE_E_SHAPE, "input and weight have ranks %d and %d", x->rank,
                               k->rank);
    hone_window w;
    const char *wrong = read_transposed(c->node, x->rank - 2, x->dims + 2, k->dims + 2, &w);
    if (wrong)
        return hone_infer_fail(c, HONE_E_SHAPE, "%s", wrong);
    int64_t group = hone_attr_int(c->node, "group", 1);
    if (group < 1 || group > INT32_MAX || k->dims[1] > INT32_MAX || k->dims[0] % group ||
        (x->dims[1] >= 0 && x->dims[1] != k->dims[0]))
        return hone_infer_fail(c, HONE_E_SHAPE, "channels, weight and groups do not fit");
    int64_t dims[HONE_MAX_RANK] = {x->dims[0], k->dims[1] * group};
    for (int d = 0; d < w.n; ++d)
        dims[d + 2] = w.out[d];
    hone_infer_set(c, 0, x->dtype, x->rank, dims);
    return HONE_OK;
}

typedef struct transpose_job {
    hone_window w; /* in: the input's sizes, out: the output's */
    const double *x, *k;
    const hone_tensor *bias;
    double *y;
    int64_t in_plane, out_plane, taps, ic, oc, group; /* ic, oc: of a group */
} transpose_job;

static void spread_plane(const transpose_job *j, const double *x, const double *k, double *y) {
    const hone_window *w = &j->w;
    for (int64_t tap = 0; tap < j->taps; ++tap) {
        int64_t kw = tap % w->kernel[2], kh = tap / w->kernel[2] % w->kernel[1];
        int64_t kd = tap / w->kernel[2] / w->kernel[1];
        for (int64_t i = 0; i < j->in_plane; ++i) {
            int64_t iw = i % w->in[2], ih = i / w->in[2] % w->in[1], id = i / w->in[2] / w->in[1];
            int64_t ow = iw * w->stride[2] + kw * w->dilation[2] - w->pad[2];
            int64_t oh = ih * w->stride[1] + kh * w->dilation[1] - w->pad[1];
            int64_t od = id * w->stride[0] + kd * w->dilation[0] - w->pad[0];
            if (ow >= 0 && ow < w->out[2] && oh >= 0 && oh < w->out[1] && od >= 0 && od < w->out[0])
                y[(od * w->out[1] + oh) * w->out[2] + ow] += x[i] * k[tap];
        }
    }
}

static void transpose_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const transpose_job *j = arg;
    int64_t all_oc = j->oc * j->group, n = task / all_oc, o = task % all_oc, g = o / j->oc;
    double *y = j->y + task * j->out_plane;
    double start = j->bias ? hone_load_f64(j->bias->dtype, j->bias->data, o) : 0;
    for (int64_t i = 0; i < j->out_plane; ++i)
        y[i] = start;
    for (int64_t i = g * j->ic; i < (g + 1) * j->ic; ++i)
        spread_plane(j, j->x + (n * j->group * j->ic + i) * j->in_plane,
                     j->k + (i * j->oc + o % j->oc) * j->taps, y);
}

static double *doubles(hone_op_ctx *c, const hone_tensor *t, int64_t n) {
    double *out = hone_op_scratch(c, (size_t)n * sizeof *out + 1);
    for (int64_t i = 0; out && t && i < n; ++i)
        out[i] = hone_load_f64(t->dtype, t->data, i);
    return out;
}

hone_status hone_ref_conv_transpose(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0), *k = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    transpose_job j = {.bias = hone_in(c, 2), .group = hone_attr_int(c->node, "group", 1)};
    const char *wrong = read_transposed(c->node, x->rank - 2, x->dims + 2, k->dims + 2, &j.w);
    if (wrong || j.w.n > 3)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "%s",
                            wrong ? wrong : "more than 3 spatial axes");
    hone_window_as_3d(&j.w);
    j.in_plane = hone_dims_count(j.w.in, 0, 3);
    j.out_plane = hone_dims_count(j.w.out, 0, 3);
    j.taps = hone_dims_count(j.w.kernel, 0, 3);
    j.ic = k->dims[0] / j.group;
    j.oc = k->dims[1];
    if (j.bias && hone_tensor_count(j.bias) != j.oc * j.group)
        return hone_op_fail(c, HONE_E_SHAPE, "the bias does not fit the output channels");
    int64_t n = hone_tensor_count(out);
    j.x = doubles(c, x, hone_tensor_count(x));
    j.k = doubles(c, k, hone_tensor_count(k));
    j.y = doubles(c, NULL, n);
    if (!j.x || !j.k || !j.y)
        return HONE_E_NOMEM;
    if (n)
        hone_op_parallel(c, x->dims[0] * j.oc * j.group, transpose_task, &j);
    for (int64_t i = 0; i < n; ++i)
        hone_store_f64(out->dtype, out->data, i, j.y[i]);
    return HONE_OK;
}
