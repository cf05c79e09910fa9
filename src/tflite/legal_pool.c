/* Pooling, resizing, depth to space. */
#include <math.h>
#include <string.h>

#include "tflite/legal_ops.h"
#include "tflite/window.h"

static void make_pool(tfl_legal *l, const hone_node *n, int code, const tfl_window *w, int padding,
                      int x, int out) {
    tfl_operator *op = tfl_op1(l, code, x, out);
    tfl_option_byte(op, 0, padding);
    tfl_option_i32(op, 1, (int32_t)w->stride[1]);
    tfl_option_i32(op, 2, (int32_t)w->stride[0]);
    tfl_option_i32(op, 3, (int32_t)w->kernel[1]);
    tfl_option_i32(op, 4, (int32_t)w->kernel[0]);
    tfl_option_byte(op, 5, TFL_ACT_NONE);
    (void)n;
}

static bool read_pool(tfl_legal *l, const hone_node *n, tfl_window *w) {
    if (!tfl_window_read(l, n, NULL, w))
        return false;
    if (!tfl_window_is_dilated(w))
        return true;
    tfl_refuse(l, n, "unsupported-form", "use pooling without dilation",
               "pooling with dilation has no equivalent");
    return false;
}

void tfl_legal_max_pool(tfl_legal *l, const hone_node *n) {
    tfl_window w;
    if (!read_pool(l, n, &w))
        return;
    if (n->n_out > 1 && n->out[1] && n->out[1]->n_uses) {
        tfl_refuse(l, n, "unsupported-form", "compute the indices outside of the model",
                   "the indices of the maxima have no equivalent");
        return;
    }
    int x = tfl_window_input(l, n->in[0], &w);
    int padding = tfl_window_padding(l, &w, true, &x);
    int out = tfl_window_output(l, n->out[0], &w);
    make_pool(l, n, TFL_MAX_POOL_2D, &w, padding, x, out);
    tfl_window_alias(l, n->out[0], out, &w);
}

/* ---- averages ---------------------------------------------------------------------------------
 */

/* Elements of the window at `out` along one dim that count: inside the image, or in its explicit
 * padding when that counts. */
static int64_t counted(const tfl_window *w, int i, int64_t out, int64_t low, int64_t high) {
    int64_t n = 0;
    for (int64_t k = 0; k < w->kernel[i]; ++k) {
        int64_t at = out * w->stride[i] - w->begin[i] + k;
        n += at >= low && at < high;
    }
    return n;
}

/* The runtime divides by the elements inside the image; after an explicit padding that is the whole
 * window. What is to be multiplied where the node counts otherwise: one factor for each place. */
static int correction(tfl_legal *l, const hone_node *n, const tfl_window *w) {
    bool counts_pads = hone_attr_int(n, "count_include_pad", 0) != 0;
    const int64_t *pads = NULL;
    int n_pads = hone_attr_ints(n, "pads", &pads), s = w->n_spatial;
    int32_t dims[4] = {1, (int32_t)w->out[0], (int32_t)w->out[1], 1};
    float *factor = tfl_alloc(l, (size_t)(w->out[0] * w->out[1]), sizeof *factor);
    for (int64_t y = 0; factor && y < w->out[0]; ++y) {
        for (int64_t x = 0; x < w->out[1]; ++x) {
            int64_t out[2] = {y, x}, count = 1;
            for (int i = 0; i < 2; ++i) {
                int k = i - (2 - s);
                bool has = counts_pads && k >= 0 && n_pads == 2 * s;
                count *=
                    counted(w, i, out[i], has ? -pads[k] : 0, w->in[i] + (has ? pads[s + k] : 0));
            }
            factor[y * w->out[1] + x] =
                (float)(w->kernel[0] * w->kernel[1]) / (float)(count ? count : 1);
        }
    }
    return tfl_const(l, TFL_F32, 4, dims, factor);
}

static bool is_padded(const tfl_window *w) {
    return w->begin[0] || w->begin[1] || w->end[0] || w->end[1];
}

void tfl_legal_average_pool(tfl_legal *l, const hone_node *n) {
    tfl_window w;
    if (!read_pool(l, n, &w))
        return;
    if (is_padded(&w) && (w.in[0] < 0 || w.in[1] < 0 || w.out[0] < 0 || w.out[1] < 0)) {
        tfl_refuse(l, n, "dynamic-size", "fix the image's size with --shape",
                   "the average of padded windows of an image of unknown size");
        return;
    }
    int source = tfl_window_input(l, n->in[0], &w), x = source;
    int padding = tfl_window_padding(l, &w, false, &x);
    int out = tfl_window_output(l, n->out[0], &w);
    bool counts_pads = hone_attr_int(n, "count_include_pad", 0) != 0;
    /* SAME counts only what is inside; an explicit padding counts as a whole. */
    bool is_right = !is_padded(&w) || (padding == TFL_SAME && x == source && !counts_pads);
    int made = is_right ? out : tfl_like(l, out);
    if (!is_right && (padding == TFL_SAME || l->is_integer)) {
        tfl_refuse(l, n, "unsupported-form", "export with explicit Pad nodes",
                   "an average over counted padding of this shape has no equivalent");
        return;
    }
    make_pool(l, n, TFL_AVERAGE_POOL_2D, &w, padding, x, made);
    if (!is_right)
        tfl_no_activation(tfl_op2(l, TFL_MUL, made, correction(l, n, &w), out));
    tfl_window_alias(l, n->out[0], out, &w);
}

void tfl_legal_global_pool(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->in[0]);
    int32_t axes[TFL_MAX_RANK];
    int x;
    tfl_order(l, n->in[0], perm);
    x = tfl_take(l, n->in[0], perm);
    for (int i = 2; i < rank; ++i)
        axes[i - 2] = tfl_position(perm, rank, i);
    bool is_mean = n->op_name[6] == 'A'; /* GlobalAveragePool */
    int out = tfl_give(l, n->out[0], perm);
    tfl_option_byte(
        tfl_op2(l, is_mean ? TFL_MEAN : TFL_REDUCE_MAX, x, tfl_const_i32s(l, axes, rank - 2), out),
        0, 1);
}

/* ---- resizing ---------------------------------------------------------------------------------
 */

typedef struct resize {
    bool is_linear, aligns_corners, is_half_pixel;
} resize;

/* TensorFlow Lite knows sizes only: scales that do not lead from one to the other exactly mean
 * other places between the pixels. */
static bool has_exact_scales(const hone_node *n) {
    const hone_value *v = n->n_in > 2 ? n->in[2] : NULL;
    const hone_tensor *scales = v ? v->constant : NULL;
    const hone_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    int64_t count = scales ? hone_tensor_count(scales) : 0;
    for (int64_t i = 0; i < count; ++i) {
        int64_t d = i + x->rank - count; /* some exporters leave the first dims out */
        double size = hone_load_f64(scales->dtype, scales->data, i) * (double)x->dims[d];
        if (fabs(size - (double)y->dims[d]) > 1e-3)
            return false;
    }
    return scales || !v;
}

/* NULL when there is an equivalent, else what is in its way. */
static const char *read_resize(const hone_node *n, resize *r) {
    const char *mode = hone_attr_string(n, "mode", "nearest");
    const char *where = hone_attr_string(n, "coordinate_transformation_mode", "half_pixel");
    const char *rounds = hone_attr_string(n, "nearest_mode", "round_prefer_floor");
    *r = (resize){.is_linear = strcmp(mode, "linear") == 0,
                  .aligns_corners = strcmp(where, "align_corners") == 0,
                  .is_half_pixel =
                      strcmp(where, "half_pixel") == 0 || strcmp(where, "pytorch_half_pixel") == 0};
    if (!r->is_linear && strcmp(mode, "nearest") != 0)
        return "cubic interpolation has no equivalent";
    if (!r->aligns_corners && !r->is_half_pixel && strcmp(where, "asymmetric") != 0)
        return "this coordinate transformation has no equivalent";
    if (hone_attr_int(n, "antialias", 0) && r->is_linear)
        return "antialiasing has no equivalent";
    const hone_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    bool to_one = (y->dims[2] == 1 && x->dims[2] > 1) || (y->dims[3] == 1 && x->dims[3] > 1);
    if (strcmp(where, "pytorch_half_pixel") == 0 && to_one)
        return "pytorch_half_pixel to one pixel has no equivalent";
    if (!has_exact_scales(n))
        return "these scales do not make a whole number of pixels: give sizes";
    if (r->is_linear)
        return NULL;
    bool is_whole = true; /* enlarged by whole factors: all ways of rounding agree but at ties */
    for (int d = 2; d < 4; ++d)
        is_whole &= x->dims[d] > 0 && y->dims[d] % x->dims[d] == 0;
    if (is_whole && !r->aligns_corners) {
        bool is_floor_asymmetric = !r->is_half_pixel && strcmp(rounds, "floor") == 0;
        bool is_half = r->is_half_pixel && strncmp(rounds, "round", 5) == 0;
        r->is_half_pixel = false; /* out = floor(i / factor) in both */
        return is_floor_asymmetric || is_half ? NULL : "this rounding has no equivalent";
    }
    if (!r->is_half_pixel && !r->aligns_corners && strcmp(rounds, "floor") == 0)
        return NULL;
    return "nearest neighbours by this factor and rounding have no equivalent";
}

void tfl_legal_resize(tfl_legal *l, const hone_node *n) {
    const hone_type *x = &n->in[0]->type, *y = &n->out[0]->type;
    resize r = {.is_linear = false};
    const char *why = "only images are resized";
    bool is_image = x->rank == 4 && x->dims[0] == y->dims[0] && x->dims[1] == y->dims[1];
    if (is_image && (y->dims[2] < 0 || y->dims[3] < 0 || x->dims[2] < 0 || x->dims[3] < 0))
        why = "the sizes must be known (--shape)";
    else if (is_image)
        why = read_resize(n, &r);
    if (why) {
        tfl_refuse(l, n, "unsupported-form",
                   "use mode nearest (asymmetric, floor) or linear (half_pixel)", "%s", why);
        return;
    }
    int perm[TFL_MAX_RANK];
    int32_t size[2] = {(int32_t)y->dims[2], (int32_t)y->dims[3]};
    tfl_channels_last(4, perm);
    int in = tfl_take(l, n->in[0], perm), out = tfl_give(l, n->out[0], perm);
    int first = r.is_linear ? 2 : 0; /* the bilinear options begin with two that are not used */
    tfl_operator *op = tfl_op2(l, r.is_linear ? TFL_RESIZE_BILINEAR : TFL_RESIZE_NEAREST_NEIGHBOR,
                               in, tfl_const_i32s(l, size, 2), out);
    tfl_option_byte(op, first, r.aligns_corners);
    tfl_option_byte(op, first + 1, r.is_half_pixel);
}

/* ---- depth and space --------------------------------------------------------------------------
 */

static void make_block(tfl_legal *l, const hone_node *n, int code) {
    int perm[TFL_MAX_RANK];
    tfl_channels_last(4, perm);
    int x = tfl_take(l, n->in[0], perm), out = tfl_give(l, n->out[0], perm);
    tfl_option_i32(tfl_op1(l, code, x, out), 0, (int32_t)hone_attr_int(n, "blocksize", 1));
}

/* Channels count the block's columns last: reshape, transpose, reshape. */
static void make_crd(tfl_legal *l, const hone_node *n) {
    static const int32_t order[6] = {0, 1, 4, 2, 5, 3};
    const int64_t *d = n->in[0]->type.dims;
    int32_t b = (int32_t)hone_attr_int(n, "blocksize", 1), c = (int32_t)(d[1] / ((int64_t)b * b));
    int32_t batch = d[0] < 0 ? -1 : (int32_t)d[0], h = (int32_t)d[2], w = (int32_t)d[3];
    int32_t split[6] = {batch, h, w, c, b, b}, moved[6] = {batch, h, b, w, b, c};
    int32_t joined[4] = {batch, h * b, w * b, c};
    int perm[TFL_MAX_RANK];
    tfl_channels_last(4, perm);
    int x = tfl_reshape(l, tfl_take(l, n->in[0], perm), 6, split);
    int y = tfl_shaped_like(l, x, 6, moved);
    tfl_op2(l, TFL_TRANSPOSE, x, tfl_const_i32s(l, order, 6), y);
    tfl_alias(l, n->out[0], tfl_reshape(l, y, 4, joined), perm);
}

void tfl_legal_depth_to_space(tfl_legal *l, const hone_node *n) {
    const int64_t *d = n->in[0]->type.dims;
    if (strcmp(hone_attr_string(n, "mode", "DCR"), "DCR") == 0)
        make_block(l, n, TFL_DEPTH_TO_SPACE);
    else if (d[1] < 0 || d[2] < 0 || d[3] < 0)
        tfl_refuse(l, n, "dynamic-size", "fix the image's size with --shape",
                   "mode CRD of an image of unknown size");
    else
        make_crd(l, n);
}

void tfl_legal_space_to_depth(tfl_legal *l, const hone_node *n) {
    if (strcmp(hone_attr_string(n, "mode", "DCR"), "DCR") != 0) {
        tfl_refuse(l, n, "unsupported-form", "use mode DCR", "mode CRD has no equivalent");
        return;
    }
    make_block(l, n, TFL_SPACE_TO_DEPTH);
}
