/* GridSample and AffineGrid. Coordinates run over [-1, 1]; the last of a grid's numbers is for the
 * first spatial axis. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ir/op.h"

enum { MAX_SPACE = 4 };

hone_status hone_infer_grid_sample(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *x = &c->in[0], *grid = &c->in[1];
    int64_t dims[HONE_MAX_RANK];
    hone_infer_set(c, 0, x->dtype, -1, NULL);
    if (x->rank < 0 || !hone_infer_has(c, 1) || grid->rank < 0)
        return HONE_OK;
    if (x->rank < 3 || x->rank != grid->rank || x->rank - 2 > MAX_SPACE ||
        (grid->dims[grid->rank - 1] >= 0 && grid->dims[grid->rank - 1] != x->rank - 2))
        return hone_infer_fail(c, HONE_E_SHAPE, "the grid does not fit the input's rank");
    HONE_TRY(hone_infer_same_dim(c, x->dims[0], grid->dims[0], &dims[0]));
    dims[1] = x->dims[1];
    for (int d = 2; d < x->rank; ++d)
        dims[d] = grid->dims[d - 1];
    hone_infer_set(c, 0, x->dtype, x->rank, dims);
    return HONE_OK;
}

typedef struct sampler {
    int n;
    int64_t dim[MAX_SPACE];
    enum { NEAREST, LINEAR, CUBIC } mode;
    enum { ZEROS, BORDER, REFLECTION } padding;
    bool align_corners;
    const hone_tensor *x;
} sampler;

static double reflect(double v, double low, double high) {
    double span = high - low;
    if (span <= 0)
        return low;
    if (v < low || v > high) {
        double d = fmod(fabs(v - low), 2 * span);
        v = low + (d > span ? 2 * span - d : d);
    }
    return v;
}

/* A coordinate in [-1, 1] as an index of an axis, brought inside as the padding mode says. */
static double to_index(const sampler *s, double v, int64_t n) {
    double size = (double)n;
    if (!(fabs(v) < 0x1p30))
        v = v > 0 ? 0x1p30 : -0x1p30; /* NaN too */
    double at = s->align_corners ? (v + 1) / 2 * (size - 1) : ((v + 1) * size - 1) / 2;
    if (s->mode == NEAREST)
        at = nearbyint(at);
    if (s->mode == CUBIC)
        return at; /* the taps are brought inside one by one */
    if (s->padding == BORDER)
        at = fmin(fmax(at, 0), size - 1);
    else if (s->padding == REFLECTION)
        at = s->align_corners ? reflect(at, 0, size - 1) : reflect(at, -0.5, size - 0.5);
    return at;
}

/* Source index of a tap; -1: a zero. */
static int64_t tap_index(const sampler *s, double i, int64_t n) {
    double size = (double)n;
    if (i >= 0 && i < size)
        return (int64_t)i;
    if (s->padding == ZEROS)
        return -1;
    if (s->padding == REFLECTION)
        i = nearbyint(s->align_corners ? reflect(i, 0, size - 1) : reflect(i, -0.5, size - 0.5));
    i = fmin(fmax(i, 0), size - 1);
    return (int64_t)i;
}

static double cubic(double x) {
    const double a = -0.75;
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* The interpolated value of one plane at `at`: taps of all axes multiplied out. */
static double sample(const sampler *s, int64_t plane, const double *at) {
    int taps = s->mode == NEAREST ? 1 : s->mode == LINEAR ? 2 : 4, total = 1;
    double sum = 0;
    for (int d = 0; d < s->n; ++d)
        total *= taps;
    for (int t = 0; t < total; ++t) {
        int rest = t;
        int64_t offset = 0;
        double weight = 1;
        for (int d = 0; d < s->n && weight != 0; ++d) {
            double first = s->mode == NEAREST ? at[d] : floor(at[d]) - (taps == 4);
            double i = first + rest % taps;
            rest /= taps;
            int64_t index = tap_index(s, i, s->dim[d]);
            weight *= s->mode == CUBIC    ? cubic(at[d] - i)
                      : s->mode == LINEAR ? 1 - fabs(at[d] - i)
                                          : 1;
            weight = index < 0 ? 0 : weight;
            offset = offset * s->dim[d] + index;
        }
        if (weight != 0)
            sum += weight * hone_load_f64(s->x->dtype, s->x->data, plane + offset);
    }
    return sum;
}

hone_status hone_ref_grid_sample(hone_op_ctx *c) {
    const hone_tensor *grid = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    sampler s = {.x = hone_in(c, 0),
                 .align_corners = hone_attr_int(c->node, "align_corners", 0) != 0};
    const char *mode = hone_attr_string(c->node, "mode", "linear");
    const char *padding = hone_attr_string(c->node, "padding_mode", "zeros");
    s.mode = strcmp(mode, "nearest") == 0 ? NEAREST : strstr(mode, "cubic") ? CUBIC : LINEAR;
    s.padding = strcmp(padding, "border") == 0       ? BORDER
                : strcmp(padding, "reflection") == 0 ? REFLECTION
                                                     : ZEROS;
    s.n = s.x->rank - 2;
    int64_t pixels = hone_dims_count(out->dims, 2, out->rank), plane = 1;
    for (int d = 0; d < s.n; ++d) {
        s.dim[d] = s.x->dims[d + 2];
        plane *= s.dim[d];
    }
    for (int64_t i = 0; i < out->dims[0] * pixels && plane; ++i) {
        double at[MAX_SPACE];
        for (int d = 0; d < s.n; ++d)
            at[d] = to_index(&s, hone_load_f64(grid->dtype, grid->data, i * s.n + s.n - 1 - d),
                             s.dim[d]);
        for (int64_t k = 0; k < out->dims[1]; ++k) {
            int64_t image = i / pixels * out->dims[1] + k;
            hone_store_f64(out->dtype, out->data, image * pixels + i % pixels,
                           sample(&s, image * plane, at));
        }
    }
    return HONE_OK;
}

/* ---- AffineGrid -------------------------------------------------------------------------------
 */

hone_status hone_infer_affine_grid(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    int64_t size[HONE_MAX_RANK], dims[HONE_MAX_RANK];
    int n = hone_infer_dims(c, 1, size, HONE_MAX_RANK);
    hone_infer_set(c, 0, c->in[0].dtype, -1, NULL);
    if (n < 0)
        return HONE_OK;
    if (n != 4 && n != 5)
        return hone_infer_fail(c, HONE_E_SHAPE, "the size has %d numbers, not 4 or 5", n);
    for (int d = 0; d < n; ++d) {
        if (hone_infer_value(c, 1) && size[d] < 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "size %d is %" PRId64, d, size[d]);
    }
    dims[0] = size[0];
    for (int d = 2; d < n; ++d)
        dims[d - 1] = size[d];
    dims[n - 1] = n - 2;
    hone_infer_set(c, 0, c->in[0].dtype, n, dims);
    return HONE_OK;
}

hone_status hone_ref_affine_grid(hone_op_ctx *c) {
    const hone_tensor *theta = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    bool align = hone_attr_int(c->node, "align_corners", 0) != 0;
    int n = out->rank - 2;
    if (theta->rank != 3 || theta->dims[0] != out->dims[0] || theta->dims[1] != n ||
        theta->dims[2] != n + 1)
        return hone_op_fail(c, HONE_E_SHAPE, "theta does not fit the size");
    int64_t pixels = hone_dims_count(out->dims, 1, out->rank - 1);
    for (int64_t i = 0; i < out->dims[0] * pixels; ++i) {
        double at[3] = {0}; /* x, y, z: the last axis first */
        int64_t rest = i % pixels;
        for (int d = 0; d < n; ++d) {
            int64_t size = out->dims[n - d];
            double index = (double)(rest % size);
            rest /= size;
            at[d] = align ? (size > 1 ? -1 + 2 * index / (double)(size - 1) : 0)
                          : (2 * index + 1) / (double)size - 1;
        }
        for (int row = 0; row < n; ++row) {
            int64_t base = (i / pixels * n + row) * (n + 1);
            double v = hone_load_f64(theta->dtype, theta->data, base + n);
            for (int d = 0; d < n; ++d)
                v += at[d] * hone_load_f64(theta->dtype, theta->data, base + d);
            hone_store_f64(out->dtype, out->data, i * n + row, v);
        }
    }
    return HONE_OK;
}
