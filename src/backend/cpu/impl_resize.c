/* Resize of pictures, nearest and linear: [n, h, w, c] on the kernel, and [n, c, h, w] by widening
 * every row of a plane and handing rows to the kernel as if they were channels. */
#include <string.h>

#include "backend/cpu/impl.h"

enum { IN_X, IN_ROI, IN_SCALES, IN_SIZES };

/* Where the outputs along one axis come from. */
typedef struct axis_table {
    int64_t in, out;
    int64_t *lo, *hi;
    float *weight; /* of hi */
} axis_table;

typedef struct resize_state {
    axis_table h, w;
    int64_t n_outer; /* images, or planes of [n, c, h, w] */
    int64_t channels;
    bool is_nearest, is_planar;
    size_t scratch_bytes; /* of one thread */
    hone_resize_fn *fn;
} resize_state;

/* ---- preparing --------------------------------------------------------------------------------
 */

static bool read_coord(const hone_node *n, hone_resize_coord *coord) {
    static const char *const names[] = {"half_pixel", "pytorch_half_pixel", "asymmetric",
                                        "align_corners"};
    const char *given = hone_attr_string(n, "coordinate_transformation_mode", names[0]);
    for (int i = 0; i < 4; ++i) {
        if (strcmp(given, names[i]) == 0) {
            *coord = (hone_resize_coord)i;
            return true;
        }
    }
    return false;
}

static bool read_nearest(const hone_node *n, hone_resize_nearest *nearest) {
    static const char *const names[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    const char *given = hone_attr_string(n, "nearest_mode", names[0]);
    for (int i = 0; i < 4; ++i) {
        if (strcmp(given, names[i]) == 0) {
            *nearest = (hone_resize_nearest)i;
            return true;
        }
    }
    return false;
}

/* Two rules look at the exact, not at the rounded output size. */
static bool is_whole(const hone_prepare_ctx *c, hone_resize_coord coord, const double *scale) {
    if (coord != HONE_RESIZE_ALIGN_CORNERS && coord != HONE_RESIZE_PYTORCH_HALF_PIXEL)
        return true;
    for (int i = 0; i < c->in[IN_X].rank; ++i) {
        if ((double)c->in[IN_X].dims[i] * scale[i] != (double)c->out[0].dims[i])
            return false;
    }
    return true;
}

/* Output per input size of every axis; false when it is not known now. */
static bool read_scales(const hone_prepare_ctx *c, double scale[HONE_MAX_RANK]) {
    const hone_type *x = &c->in[IN_X], *y = &c->out[0];
    const hone_tensor *scales = c->n_in > IN_SCALES ? c->value[IN_SCALES] : NULL;
    const int64_t *axes;
    int n_axes = hone_attr_ints(c->node, "axes", &axes);
    bool is_given = c->n_in > IN_SCALES && c->node->in[IN_SCALES];
    if (is_given && !scales)
        return false;
    is_given = is_given && hone_tensor_count(scales) > 0;
    if (n_axes > x->rank)
        return false;
    for (int i = 0; i < x->rank; ++i)
        scale[i] = is_given ? 1 : (double)y->dims[i] / (double)x->dims[i];
    int n = n_axes ? n_axes : x->rank;
    for (int i = 0; is_given && i < n && i < hone_tensor_count(scales); ++i) {
        int64_t a = !n_axes ? i : axes[i] < 0 ? axes[i] + x->rank : axes[i];
        scale[a] = hone_load_f64(scales->dtype, scales->data, i);
    }
    return true;
}

static bool make_table(hone_prepare_ctx *c, const resize_state *s, int axis, double scale,
                       axis_table *t) {
    hone_resize_coord coord;
    hone_resize_nearest nearest;
    t->in = c->in[IN_X].dims[axis];
    t->out = c->out[0].dims[axis];
    t->lo = HONE_NEW_ARRAY(c->arena, int64_t, t->out);
    t->hi = HONE_NEW_ARRAY(c->arena, int64_t, t->out);
    t->weight = HONE_NEW_ARRAY(c->arena, float, t->out);
    if (!t->lo || !t->hi || !t->weight || !read_coord(c->node, &coord) ||
        !read_nearest(c->node, &nearest))
        return false;
    if (s->is_nearest)
        hone_resize_nearest_table(coord, nearest, t->in, t->out, scale, t->lo);
    else
        hone_resize_linear_table(coord, t->in, t->out, scale, t->lo, t->hi, t->weight);
    return true;
}

hone_status hone_prepare_resize(hone_prepare_ctx *c, void **state) {
    const hone_type *x = &c->in[IN_X], *y = &c->out[0];
    resize_state *s = HONE_NEW(c->arena, resize_state);
    double scale[HONE_MAX_RANK];
    hone_resize_coord coord;
    hone_resize_nearest nearest;
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    const char *mode = hone_attr_string(c->node, "mode", "nearest");
    s->is_nearest = strcmp(mode, "nearest") == 0;
    HONE_REJECT_IF(!hone_is_f32(x) || x->rank != 4, "not a float32 array of rank 4");
    HONE_REJECT_IF(hone_count(x) == 0 || hone_count(y) == 0, "empty");
    HONE_REJECT_IF(!s->is_nearest && strcmp(mode, "linear") != 0, "neither nearest nor linear");
    HONE_REJECT_IF(hone_attr_int(c->node, "antialias", 0) && !s->is_nearest, "antialiased");
    HONE_REJECT_IF(hone_attr_int(c->node, "exclude_outside", 0), "exclude_outside");
    HONE_REJECT_IF(!read_coord(c->node, &coord) || !read_nearest(c->node, &nearest),
                   "another rule for coordinates");
    HONE_REJECT_IF(
        strcmp(hone_attr_string(c->node, "keep_aspect_ratio_policy", "stretch"), "stretch") != 0,
        "the ratio is kept");
    HONE_REJECT_IF(!read_scales(c, scale), "the scales are not known");
    HONE_REJECT_IF(!is_whole(c, coord, scale), "the output is cut off");
    bool changes[4];
    for (int i = 0; i < 4; ++i)
        changes[i] = scale[i] != 1 || x->dims[i] != y->dims[i];
    HONE_REJECT_IF(changes[0] || (changes[1] && changes[3]), "other axes than the positions");
    s->is_planar = !changes[1];
    int h = s->is_planar ? 2 : 1;
    s->n_outer = s->is_planar ? x->dims[0] * x->dims[1] : x->dims[0];
    s->channels = s->is_planar ? 1 : x->dims[3];
    if (!make_table(c, s, h, scale[h], &s->h) || !make_table(c, s, h + 1, scale[h + 1], &s->w))
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    s->scratch_bytes = s->is_planar ? (size_t)(s->h.in * s->w.out) * sizeof(float) : 0;
    s->scratch_bytes = (s->scratch_bytes + 63) / 64 * 64;
    c->scratch_bytes = s->scratch_bytes * (size_t)c->n_threads + 64;
    s->fn = hone_vec()->resize;
    *state = s;
    return HONE_OK;
}

/* ---- running ----------------------------------------------------------------------------------
 */

typedef struct resize_job {
    const resize_state *s;
    hone_resize p;
    unsigned char *scratch;
} resize_job;

static void image_rows(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const resize_job *j = arg;
    j->s->fn(&j->p, begin, end);
}

static void widen_row(const resize_state *s, const float *x, float *to) {
    const axis_table *t = &s->w;
    if (s->is_nearest) {
        for (int64_t i = 0; i < t->out; ++i)
            to[i] = x[t->lo[i]];
        return;
    }
    for (int64_t i = 0; i < t->out; ++i)
        to[i] = x[t->lo[i]] + t->weight[i] * (x[t->hi[i]] - x[t->lo[i]]);
}

static void planes(void *arg, int64_t begin, int64_t end, int worker) {
    const resize_job *j = arg;
    const resize_state *s = j->s;
    float *wide = (float *)(void *)(j->scratch + (size_t)worker * s->scratch_bytes);
    for (int64_t plane = begin; plane < end; ++plane) {
        const float *x = j->p.x + plane * s->h.in * s->w.in;
        for (int64_t row = 0; row < s->h.in; ++row)
            widen_row(s, x + row * s->w.in, wide + row * s->w.out);
        hone_resize p = j->p;
        p.x = wide;
        p.y += plane * s->h.out * s->w.out;
        s->fn(&p, 0, s->h.out);
    }
}

hone_status hone_run_resize(hone_op_ctx *c) {
    static const int64_t first = 0;
    static const float no_weight = 0;
    const resize_state *s = c->state;
    resize_job j = {.s = s};
    int64_t row = s->w.out * s->channels, channels = s->is_planar ? s->w.out : s->channels;
    j.p = (hone_resize){
        .x = hone_in(c, IN_X)->data,
        .y = hone_out(c, 0)->data,
        .n_batch = s->is_planar ? 1 : s->n_outer,
        .channels = channels,
        .out_height = s->h.out,
        .out_width = s->is_planar ? 1 : s->w.out,
        .x_pixel = channels,
        .x_row = s->is_planar ? s->w.out : s->w.in * channels,
        .x_image = s->h.in * s->w.in * channels,
        .y_pixel = channels,
        .y_row = row,
        .y_image = s->h.out * row,
        .y_lo = s->h.lo,
        .y_hi = s->h.hi,
        .x_lo = s->is_planar ? &first : s->w.lo,
        .x_hi = s->is_planar ? &first : s->w.hi,
        .y_weight = s->h.weight,
        .x_weight = s->is_planar ? &no_weight : s->w.weight,
        .is_nearest = s->is_nearest,
    };
    if (!s->is_planar) {
        hone_parallel_range(c->pool, s->n_outer * s->h.out, 4, image_rows, &j);
        return HONE_OK;
    }
    j.scratch = hone_op_scratch(c, s->scratch_bytes * (size_t)hone_pool_threads(c->pool) + 64);
    if (!j.scratch)
        return HONE_E_NOMEM;
    hone_parallel_range(c->pool, s->n_outer, 1, planes, &j);
    return HONE_OK;
}
