/* Resize: every axis by itself. For each output index of an axis there is a short list of source
 * indices and weights; axes whose list is the identity are skipped. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/strided.h"

enum { IN_X, IN_ROI, IN_SCALES, IN_SIZES };

typedef struct resize_axis {
    double scale;
    int64_t in, out;
    double roi_start, roi_end;
} resize_axis;

typedef struct resize {
    int rank;
    resize_axis axis[HONE_MAX_RANK];
    enum { NEAREST, LINEAR, CUBIC } mode;
    const char *coordinates, *nearest;
    double cubic_a, extrapolation;
    bool is_antialiased, excludes_outside;
} resize;

/* ---- attributes and sizes ---------------------------------------------------------------------
 */

static const char *read_modes(const hone_node *n, resize *r) {
    const char *mode = hone_attr_string(n, "mode", "nearest");
    r->mode = strcmp(mode, "linear") == 0 ? LINEAR : strcmp(mode, "cubic") == 0 ? CUBIC : NEAREST;
    r->coordinates = hone_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    r->nearest = hone_attr_string(n, "nearest_mode", "round_prefer_floor");
    r->cubic_a = (double)hone_attr_float(n, "cubic_coeff_a", -0.75f);
    r->extrapolation = (double)hone_attr_float(n, "extrapolation_value", 0);
    r->is_antialiased = hone_attr_int(n, "antialias", 0) != 0 && r->mode != NEAREST;
    r->excludes_outside = hone_attr_int(n, "exclude_outside", 0) != 0;
    return NULL;
}

/* The axes that roi, scales and sizes are about. */
static int read_axes(const hone_node *n, int rank, int *axes) {
    const int64_t *given;
    int count = hone_attr_ints(n, "axes", &given);
    for (int i = 0; i < (count ? count : rank); ++i) {
        int64_t a = count ? given[i] : i;
        a = a < 0 ? a + rank : a;
        if (a < 0 || a >= rank || count > rank)
            return -1;
        axes[i] = (int)a;
    }
    return count ? count : rank;
}

static double number(const hone_tensor *t, int64_t i) {
    return hone_load_f64(t->dtype, t->data, i);
}

static bool fits(double v) {
    return v >= 0 && v < 0x1p31;
}

/* Sizes that keep the ratio: one factor for all axes. */
static bool keep_ratio(resize *r, const int *axes, int n, const hone_tensor *sizes,
                       bool is_larger) {
    double factor = is_larger ? 0 : INFINITY;
    for (int i = 0; i < n; ++i) {
        double f = number(sizes, i) / (double)r->axis[axes[i]].in;
        factor = is_larger ? fmax(factor, f) : fmin(factor, f);
    }
    for (int i = 0; i < n; ++i) {
        resize_axis *a = &r->axis[axes[i]];
        double size = floor(factor * (double)a->in + 0.5);
        if (!fits(size))
            return false;
        a->scale = factor;
        a->out = (int64_t)size;
    }
    return true;
}

static const char *read_resize(const hone_node *n, const int64_t *dims, int rank,
                               const hone_tensor *roi, const hone_tensor *scales,
                               const hone_tensor *sizes, resize *r) {
    int axes[HONE_MAX_RANK], count = read_axes(n, rank, axes);
    const char *policy = hone_attr_string(n, "keep_aspect_ratio_policy", "stretch");
    memset(r, 0, sizeof *r);
    read_modes(n, r);
    r->rank = rank;
    for (int d = 0; d < rank; ++d)
        r->axis[d] = (resize_axis){1, dims[d], dims[d], 0, 1};
    bool by_scale = scales && hone_tensor_count(scales) > 0;
    const hone_tensor *list = by_scale ? scales : sizes;
    if (count < 0 || !list || hone_tensor_count(list) != count)
        return "axes, scales and sizes do not fit";
    bool is_crop = strcmp(r->coordinates, "tf_crop_and_resize") == 0;
    if (is_crop && (!roi || hone_tensor_count(roi) != 2 * count))
        return "tf_crop_and_resize needs a roi of two numbers an axis";
    for (int i = 0; i < count && is_crop; ++i) {
        r->axis[axes[i]].roi_start = number(roi, i);
        r->axis[axes[i]].roi_end = number(roi, count + i);
    }
    if (!by_scale && strcmp(policy, "stretch") != 0)
        return keep_ratio(r, axes, count, sizes, strcmp(policy, "not_smaller") == 0)
                   ? NULL
                   : "a size is not possible";
    for (int i = 0; i < count; ++i) {
        resize_axis *a = &r->axis[axes[i]];
        double size = number(list, i);
        a->scale = by_scale ? size : a->in ? size / (double)a->in : 1;
        if (by_scale)
            size = floor((double)a->in * (is_crop ? a->roi_end - a->roi_start : 1) * size);
        if (!fits(size) || !(a->scale > 0 || a->in == 0 || size == 0))
            return "a scale or size is not possible";
        a->out = (int64_t)size;
    }
    return NULL;
}

hone_status hone_infer_resize(hone_infer_ctx *c) {
    if (!hone_infer_has(c, IN_X))
        return HONE_OK;
    const hone_type *in = &c->in[IN_X];
    int64_t dims[HONE_MAX_RANK];
    resize r;
    bool has_roi = c->n_in > IN_ROI && c->node->in[IN_ROI];
    for (int i = 0; i < HONE_MAX_RANK; ++i)
        dims[i] = HONE_DIM_UNKNOWN;
    const hone_tensor *scales = hone_infer_value(c, IN_SCALES),
                      *sizes = hone_infer_value(c, IN_SIZES);
    int64_t wanted[HONE_MAX_RANK];
    const int64_t *axes;
    hone_infer_set(c, 0, in->dtype, in->rank, dims);
    if (in->rank < 0 || (has_roi && !hone_infer_value(c, IN_ROI)))
        return HONE_OK;
    if (!scales && !sizes) { /* sizes may be known as symbols */
        int n = c->n_in > IN_SIZES ? hone_infer_dims(c, IN_SIZES, wanted, HONE_MAX_RANK) : -1;
        if (n == in->rank && !hone_attr_ints(c->node, "axes", &axes) &&
            strcmp(hone_attr_string(c->node, "keep_aspect_ratio_policy", "stretch"), "stretch") ==
                0)
            hone_infer_set(c, 0, in->dtype, in->rank, wanted);
        return HONE_OK;
    }
    if (!hone_type_is_static(in)) {
        /* Axes that are not resized keep even a symbol. */
        for (int i = 0; scales && hone_tensor_count(scales) == in->rank && i < in->rank; ++i) {
            double s = number(scales, i);
            if (s == 1 || in->dims[i] >= 0)
                dims[i] = s == 1                          ? in->dims[i]
                          : fits((double)in->dims[i] * s) ? (int64_t)floor((double)in->dims[i] * s)
                                                          : dims[i];
        }
        hone_infer_set(c, 0, in->dtype, in->rank, dims);
        return HONE_OK;
    }
    const char *wrong =
        read_resize(c->node, in->dims, in->rank, hone_infer_value(c, IN_ROI), scales, sizes, &r);
    if (wrong)
        return hone_infer_fail(c, HONE_E_SHAPE, "%s", wrong);
    for (int d = 0; d < in->rank; ++d)
        dims[d] = r.axis[d].out;
    hone_infer_set(c, 0, in->dtype, in->rank, dims);
    return HONE_OK;
}

/* ---- coordinates ------------------------------------------------------------------------------
 */

/* Where output index x of an axis lies in the source. */
static double source_of(const resize *r, const resize_axis *a, int64_t x) {
    double in = (double)a->in, out = a->scale * in, at = (double)x;
    const char *mode = r->coordinates;
    if (strcmp(mode, "align_corners") == 0)
        return out == 1 ? 0 : at * (in - 1) / (out - 1);
    if (strcmp(mode, "asymmetric") == 0)
        return at / a->scale;
    if (strcmp(mode, "tf_crop_and_resize") == 0) {
        double span = (a->roi_end - a->roi_start) * (in - 1);
        return a->roi_start * (in - 1) + (out == 1 ? span / 2 : at * span / (out - 1));
    }
    if (strcmp(mode, "pytorch_half_pixel") == 0 && out == 1)
        return -0.5;
    if (strcmp(mode, "tf_half_pixel_for_nn") == 0)
        return (at + 0.5) / a->scale;
    double base = 0;
    if (strcmp(mode, "half_pixel_symmetric") == 0)
        base = in / 2 * (1 - (double)a->out / out);
    return base + (at + 0.5) / a->scale - 0.5;
}

static int64_t clamp(int64_t i, int64_t n) {
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static int64_t nearest_index(const resize *r, double x) {
    if (x == floor(x))
        return (int64_t)x;
    if (strcmp(r->nearest, "floor") == 0)
        return (int64_t)floor(x);
    if (strcmp(r->nearest, "ceil") == 0)
        return (int64_t)ceil(x);
    double fraction = x - floor(x);
    bool is_up = strcmp(r->nearest, "round_prefer_ceil") == 0 ? fraction >= 0.5 : fraction > 0.5;
    return (int64_t)floor(x) + is_up;
}

/* Keys' cubic convolution kernel. */
static double cubic(double x, double a) {
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* How far the filter reaches: wider by 1 / scale when it also has to blur. */
static double filter_scale(const resize *r, const resize_axis *a) {
    return r->is_antialiased && a->scale < 1 ? a->scale : 1;
}

static int64_t tap_count(const resize *r, const resize_axis *a) {
    double radius = (r->mode == CUBIC ? 2 : 1) / filter_scale(r, a);
    return r->mode == NEAREST ? 1 : 2 * (int64_t)ceil(radius) + 2;
}

typedef struct taps {
    int64_t n;      /* of each output index */
    int64_t *index; /* [out][n] */
    double *weight;
    bool *is_outside; /* the extrapolation value is taken */
} taps;

static void set_taps(const resize *r, const resize_axis *a, int64_t x, taps *t) {
    double at = source_of(r, a, x), sum = 0, f = filter_scale(r, a);
    int64_t *index = t->index + x * t->n;
    double *weight = t->weight + x * t->n;
    t->is_outside[x] =
        strcmp(r->coordinates, "tf_crop_and_resize") == 0 && (at < 0 || at > (double)(a->in - 1));
    /* Clamped so that conversions stay defined for scales that are absurd. */
    at = fmin(fmax(at, -0x1p40), 0x1p40);
    if (r->mode == NEAREST) {
        index[0] = clamp(nearest_index(r, at), a->in);
        weight[0] = 1;
        return;
    }
    int64_t first = (int64_t)floor(at) - t->n / 2 + 1;
    for (int64_t i = 0; i < t->n; ++i) {
        double d = ((double)(first + i) - at) * f;
        weight[i] = r->mode == CUBIC ? cubic(d, r->cubic_a) : triangle(d);
        if (r->excludes_outside && (first + i < 0 || first + i >= a->in))
            weight[i] = 0;
        index[i] = clamp(first + i, a->in);
        sum += weight[i];
    }
    for (int64_t i = 0; i < t->n && (f < 1 || r->excludes_outside); ++i)
        weight[i] /= sum;
}

static hone_status make_taps(hone_op_ctx *c, const resize *r, const resize_axis *a, taps *t) {
    t->n = tap_count(r, a);
    size_t count = (size_t)(a->out * t->n);
    t->index = hone_op_scratch(c, count * sizeof *t->index + 1);
    t->weight = hone_op_scratch(c, count * sizeof *t->weight + 1);
    t->is_outside = hone_op_scratch(c, (size_t)a->out * sizeof *t->is_outside + 1);
    if (!t->index || !t->weight || !t->is_outside)
        return HONE_E_NOMEM;
    for (int64_t x = 0; x < a->out; ++x)
        set_taps(r, a, x, t);
    return HONE_OK;
}

/* ---- running ----------------------------------------------------------------------------------
 */

/* Nearest moves elements of any type: the source of each axis is looked up. */
static hone_status run_nearest(hone_op_ctx *c, const resize *r, const taps *t) {
    const hone_tensor *in = hone_in(c, IN_X);
    hone_tensor *out = hone_out(c, 0);
    int64_t stride[HONE_MAX_RANK], n = hone_tensor_count(out);
    hone_row_major(in->rank, in->dims, stride);
    for (int64_t i = 0; i < n; ++i) {
        int64_t rest = i, from = 0;
        bool is_outside = false;
        for (int d = in->rank - 1; d >= 0; --d) {
            int64_t x = rest % out->dims[d];
            rest /= out->dims[d];
            from += t[d].index[x] * stride[d];
            is_outside |= t[d].is_outside[x];
        }
        if (is_outside && in->dtype != HONE_DTYPE_STRING)
            hone_store_f64(out->dtype, out->data, i, r->extrapolation);
        else
            hone_copy_elems(out->dtype, out->data, i, in->data, from, 1);
    }
    return HONE_OK;
}

typedef struct axis_job {
    const taps *t;
    const double *src;
    double *dst;
    int64_t in, out, inner;
    double extrapolation;
} axis_job;

static void axis_task(void *arg, int64_t outer, int worker) {
    (void)worker;
    const axis_job *j = arg;
    for (int64_t x = 0; x < j->out; ++x) {
        double *to = j->dst + (outer * j->out + x) * j->inner;
        for (int64_t k = 0; k < j->inner; ++k)
            to[k] = j->t->is_outside[x] ? j->extrapolation : 0;
        for (int64_t i = 0; i < j->t->n && !j->t->is_outside[x]; ++i) {
            double w = j->t->weight[x * j->t->n + i];
            const double *from = j->src + (outer * j->in + j->t->index[x * j->t->n + i]) * j->inner;
            for (int64_t k = 0; w != 0 && k < j->inner; ++k)
                to[k] += w * from[k];
        }
    }
}

static hone_status run_weighted(hone_op_ctx *c, const resize *r, const taps *t) {
    const hone_tensor *in = hone_in(c, IN_X);
    hone_tensor *out = hone_out(c, 0);
    int64_t dims[HONE_MAX_RANK], n = hone_tensor_count(in);
    double *now = hone_op_scratch(c, (size_t)n * sizeof *now + 1);
    if (!now)
        return HONE_E_NOMEM;
    memcpy(dims, in->dims, sizeof dims);
    for (int64_t i = 0; i < n; ++i)
        now[i] = hone_load_f64(in->dtype, in->data, i);
    for (int d = in->rank - 1; d >= 0; --d) {
        const resize_axis *a = &r->axis[d];
        if (a->in == a->out && a->scale == 1 && strcmp(r->coordinates, "tf_crop_and_resize") != 0)
            continue;
        int64_t outer = hone_dims_count(dims, 0, d), inner = hone_dims_count(dims, d + 1, in->rank);
        double *next = hone_op_scratch(c, (size_t)(outer * a->out * inner) * sizeof *next + 1);
        if (!next)
            return HONE_E_NOMEM;
        axis_job j = {&t[d], now, next, a->in, a->out, inner, r->extrapolation};
        hone_op_parallel(c, outer, axis_task, &j);
        dims[d] = a->out;
        now = next;
    }
    bool is_int = !hone_dtype_is_float(out->dtype);
    for (int64_t i = 0, count = hone_tensor_count(out); i < count; ++i)
        hone_store_f64(out->dtype, out->data, i, is_int ? nearbyint(now[i]) : now[i]);
    return HONE_OK;
}

hone_status hone_ref_resize(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, IN_X);
    resize r;
    taps t[HONE_MAX_RANK];
    const char *wrong = read_resize(c->node, in->dims, in->rank, hone_in(c, IN_ROI),
                                    hone_in(c, IN_SCALES), hone_in(c, IN_SIZES), &r);
    if (wrong)
        return hone_op_fail(c, HONE_E_SHAPE, "%s", wrong);
    if (hone_tensor_count(hone_out(c, 0)) == 0)
        return HONE_OK;
    if (hone_tensor_count(in) == 0 || (r.mode != NEAREST && in->dtype == HONE_DTYPE_STRING))
        return hone_op_fail(c, HONE_E_SHAPE, "there is nothing to take samples from");
    for (int d = 0; d < in->rank; ++d)
        HONE_TRY(make_taps(c, &r, &r.axis[d], &t[d]));
    return r.mode == NEAREST ? run_nearest(c, &r, t) : run_weighted(c, &r, t);
}
