/* DeformConv (arXiv 1703.06211, 1811.11168): a convolution whose taps are moved by offsets, read
 * with linear interpolation and weighted by a mask. */
#include <inttypes.h>
#include <math.h>

#include "ops/conv_shape.h"

hone_status hone_infer_deform_conv(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    const hone_type *x = &c->in[0], *w = &c->in[1];
    hone_window win;
    hone_infer_set(c, 0, x->dtype, -1, NULL);
    if (x->rank < 0 || !hone_type_is_static(w))
        return HONE_OK;
    if (x->rank < 3 || x->rank != w->rank)
        return hone_infer_fail(c, HONE_E_SHAPE, "input and weight have ranks %d and %d", x->rank,
                               w->rank);
    const char *wrong = hone_window_read(c->node, x->rank - 2, x->dims + 2, w->dims + 2, &win);
    if (wrong)
        return hone_infer_fail(c, HONE_E_SHAPE, "%s", wrong);
    int64_t dims[HONE_MAX_RANK] = {x->dims[0], w->dims[0]};
    for (int d = 0; d < win.n; ++d)
        dims[d + 2] = win.out[d];
    hone_infer_set(c, 0, x->dtype, x->rank, dims);
    return HONE_OK;
}

typedef struct deform_job {
    hone_window w;
    const hone_tensor *x, *weight, *offset, *bias, *mask;
    hone_tensor *out;
    int64_t channels, ic, oc, group, offset_group; /* ic: of a group; oc: in all */
    int64_t in_plane, out_plane, taps;
} deform_job;

static double get(const hone_tensor *t, int64_t i) {
    return hone_load_f64(t->dtype, t->data, i);
}

/* Value of a plane at a fractional position; 0 outside. */
static double interpolate(const deform_job *j, int64_t plane, const double *at) {
    double sum = 0;
    for (int corner = 0; corner < 1 << j->w.n; ++corner) {
        double weight = 1;
        int64_t offset = 0;
        for (int d = 0; d < j->w.n && weight != 0; ++d) {
            double low = floor(at[d]), i = low + (corner >> d & 1);
            weight *= corner >> d & 1 ? at[d] - low : 1 - (at[d] - low);
            if (!(i >= 0 && i < (double)j->w.in[d]))
                weight = 0;
            else
                offset = offset * j->w.in[d] + (int64_t)i;
        }
        if (weight != 0)
            sum += weight * get(j->x, plane * j->in_plane + offset);
    }
    return sum;
}

/* Tap t of output position p in image n, for input channel k. */
static double tap_value(const deform_job *j, int64_t n, int64_t k, int64_t t, int64_t p) {
    const hone_window *w = &j->w;
    int64_t og = k / (j->channels / j->offset_group), kt = t, kp = p;
    double at[HONE_WINDOW_MAX];
    for (int d = w->n - 1; d >= 0; --d) {
        int64_t tap = kt % w->kernel[d], position = kp % w->out[d];
        kt /= w->kernel[d];
        kp /= w->out[d];
        int64_t slot = ((n * j->offset_group + og) * j->taps + t) * w->n + d;
        at[d] = (double)(position * w->stride[d] + tap * w->dilation[d] - w->pad[d]) +
                get(j->offset, slot * j->out_plane + p);
        if (!(fabs(at[d]) < 0x1p40))
            return 0;
    }
    double m =
        j->mask ? get(j->mask, ((n * j->offset_group + og) * j->taps + t) * j->out_plane + p) : 1;
    return m * interpolate(j, n * j->channels + k, at);
}

static void deform_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const deform_job *j = arg;
    int64_t n = task / j->oc, o = task % j->oc, first = o / (j->oc / j->group) * j->ic;
    for (int64_t p = 0; p < j->out_plane; ++p) {
        double sum = j->bias ? get(j->bias, o) : 0;
        for (int64_t i = 0; i < j->ic; ++i) {
            for (int64_t t = 0; t < j->taps; ++t)
                sum += get(j->weight, (o * j->ic + i) * j->taps + t) *
                       tap_value(j, n, first + i, t, p);
        }
        hone_store_f64(j->out->dtype, j->out->data, task * j->out_plane + p, sum);
    }
}

static bool has_count(const hone_tensor *t, int64_t n) {
    return !t || hone_tensor_count(t) == n;
}

hone_status hone_ref_deform_conv(hone_op_ctx *c) {
    deform_job j = {.x = hone_in(c, 0),
                    .weight = hone_in(c, 1),
                    .offset = hone_in(c, 2),
                    .bias = hone_in(c, 3),
                    .mask = hone_in(c, 4),
                    .out = hone_out(c, 0),
                    .group = hone_attr_int(c->node, "group", 1),
                    .offset_group = hone_attr_int(c->node, "offset_group", 1)};
    const char *wrong =
        hone_window_read(c->node, j.x->rank - 2, j.x->dims + 2, j.weight->dims + 2, &j.w);
    if (wrong)
        return hone_op_fail(c, HONE_E_SHAPE, "%s", wrong);
    j.channels = j.x->dims[1];
    j.oc = j.weight->dims[0];
    j.ic = j.weight->dims[1];
    j.in_plane = hone_dims_count(j.w.in, 0, j.w.n);
    j.out_plane = hone_dims_count(j.w.out, 0, j.w.n);
    j.taps = hone_dims_count(j.w.kernel, 0, j.w.n);
    if (j.group < 1 || j.offset_group < 1 || j.oc % j.group || j.channels % j.offset_group ||
        j.ic > j.channels || j.ic * j.group != j.channels || !has_count(j.bias, j.oc) ||
        !has_count(j.offset, j.x->dims[0] * j.offset_group * j.taps * j.w.n * j.out_plane) ||
        !has_count(j.mask, j.x->dims[0] * j.offset_group * j.taps * j.out_plane))
        return hone_op_fail(c, HONE_E_SHAPE, "channels, groups, offsets and mask do not fit");
    if (hone_tensor_count(j.out))
        hone_op_parallel(c, j.x->dims[0] * j.oc, deform_task, &j);
    return HONE_OK;
}
