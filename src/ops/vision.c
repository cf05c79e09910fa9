/* NonMaxSuppression, RoiAlign, MaxRoiPool (ONNX operator specification). */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "ops/dense.h"

/* ---- NonMaxSuppression ---------------------------------------------------------------------- */

hone_status hone_infer_nms(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x3));
    for (int i = 0; i < 2; ++i)
        if (hone_infer_has(c, i) && c->in[i].rank >= 0 && c->in[i].rank != 3)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank 3", i);
    if (hone_infer_has(c, 0) && hone_infer_has(c, 1) && c->in[0].rank == 3 && c->in[1].rank == 3) {
        int64_t d;
        HONE_TRY(hone_infer_same_dim(c, c->in[0].dims[0], c->in[1].dims[0], &d));
        HONE_TRY(hone_infer_same_dim(c, c->in[0].dims[1], c->in[1].dims[2], &d));
        HONE_TRY(hone_infer_same_dim(c, c->in[0].dims[2], 4, &d));
    }
    hone_infer_set(c, 0, HONE_DTYPE_I64, 2, (int64_t[]){HONE_DIM_UNKNOWN, 3});
    return HONE_OK;
}

typedef struct box {
    float x0, y0, x1, y1, area;
} box;

typedef struct candidate {
    float score;
    int32_t index;
} candidate;

static box make_box(const float *p, bool center) {
    box b;
    if (center) {
        b = (box){p[0] - p[2] / 2, p[1] - p[3] / 2, p[0] + p[2] / 2, p[1] + p[3] / 2, 0};
    } else {
        b = (box){fminf(p[1], p[3]), fminf(p[0], p[2]), fmaxf(p[1], p[3]), fmaxf(p[0], p[2]), 0};
    }
    b.area = (b.x1 - b.x0) * (b.y1 - b.y0);
    return b;
}

/* Boxes chosen so far, a coordinate at a time, so that one box is compared with many at once. */
typedef struct chosen_boxes {
    float *x0, *y0, *x1, *y1, *area;
} chosen_boxes;

/* A box without area, or with NaN in it (whose area is NaN or 0), neither suppresses nor is
 * suppressed. */
static bool is_suppressed(const box *b, const chosen_boxes *c, int64_t n, float threshold) {
    enum { BLOCK = 32 };
    for (int64_t first = 0; first < n; first += BLOCK) {
        int64_t end = first + BLOCK < n ? first + BLOCK : n;
        int any = 0;
        for (int64_t k = first; k < end; ++k) {
            float w = (b->x1 < c->x1[k] ? b->x1 : c->x1[k]) - (b->x0 > c->x0[k] ? b->x0 : c->x0[k]);
            float h = (b->y1 < c->y1[k] ? b->y1 : c->y1[k]) - (b->y0 > c->y0[k] ? b->y0 : c->y0[k]);
            float both = w * h, all = b->area + c->area[k] - both;
            any |= (w > 0) & (h > 0) & (both > 0) & (b->area > 0) & (c->area[k] > 0) & (all > 0) &
                   (both / all > threshold);
        }
        if (any)
            return true;
    }
    return false;
}

/* Best score first, then lowest index. */
static bool is_better(const candidate *a, const candidate *b) {
    return a->score != b->score ? a->score > b->score : a->index < b->index;
}

/* Restore the heap whose root alone may be out of place; the best is on top. */
static void sift_down(candidate *heap, int64_t n, int64_t at) {
    candidate c = heap[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_better(&heap[child + 1], &heap[child]))
            ++child;
        if (!is_better(&heap[child], &c))
            break;
        heap[at] = heap[child];
    }
    heap[at] = c;
}

typedef struct nms {
    int64_t n_boxes, max;
    float iou, min_score;
    bool has_min_score;
    box *boxes;
    candidate *list;
    chosen_boxes kept;
} nms;

/* Writes the chosen indices, returns their number. */
static int64_t nms_class(const nms *p, const float *scores, int32_t *chosen) {
    int64_t n = 0, n_chosen = 0;
    for (int64_t i = 0; i < p->n_boxes; ++i) {
        if (p->has_min_score && !(scores[i] > p->min_score))
            continue;
        p->list[n++] = (candidate){isnan(scores[i]) ? -INFINITY : scores[i], (int32_t)i};
    }
    /* A heap, since the best few are often all that is wanted. */
    for (int64_t i = n / 2 - 1; i >= 0; --i)
        sift_down(p->list, n, i);
    const chosen_boxes *k = &p->kept;
    while (n > 0 && n_chosen < p->max) {
        int32_t index = p->list[0].index;
        const box *b = &p->boxes[index];
        p->list[0] = p->list[--n];
        if (n > 0)
            sift_down(p->list, n, 0);
        if (is_suppressed(b, k, n_chosen, p->iou))
            continue;
        k->x0[n_chosen] = b->x0;
        k->y0[n_chosen] = b->y0;
        k->x1[n_chosen] = b->x1;
        k->y1[n_chosen] = b->y1;
        k->area[n_chosen] = b->area;
        chosen[n_chosen++] = index;
    }
    return n_chosen;
}

static float scalar_f32(const hone_tensor *t, float missing) {
    return t && hone_tensor_count(t) > 0 ? (float)hone_load_f64(t->dtype, t->data, 0) : missing;
}

static hone_status nms_output(hone_op_ctx *c, int64_t n_lists, int64_t n_classes, int64_t stride,
                              const int32_t *chosen, const int64_t *count) {
    int64_t total = 0;
    for (int64_t i = 0; i < n_lists; ++i)
        total += count[i];
    HONE_TRY(hone_op_alloc(c, 0, HONE_DTYPE_I64, 2, (int64_t[]){total, 3}));
    int64_t *y = c->out[0]->data;
    for (int64_t i = 0; i < n_lists; ++i) {
        for (int64_t k = 0; k < count[i]; ++k, y += 3) {
            y[0] = i / n_classes;
            y[1] = i % n_classes;
            y[2] = chosen[i * stride + k];
        }
    }
    return HONE_OK;
}

hone_status hone_ref_nms(hone_op_ctx *c) {
    const hone_tensor *boxes = c->in[0], *scores = c->in[1], *max = hone_in(c, 2);
    bool center = hone_attr_int(c->node, "center_point_box", 0) != 0;
    int64_t n_lists = scores->dims[0] * scores->dims[1];
    nms p = {.n_boxes = boxes->dims[1],
             .iou = scalar_f32(hone_in(c, 3), 0),
             .min_score = scalar_f32(hone_in(c, 4), 0),
             .has_min_score = hone_in(c, 4) != NULL};
    if (boxes->dtype != HONE_DTYPE_F32 || scores->dtype != HONE_DTYPE_F32)
        return hone_op_bad_type(c, boxes->dtype);
    if (p.n_boxes > INT32_MAX)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "more than 2^31 boxes");
    p.max = max && hone_tensor_count(max) ? hone_load_i64(max->dtype, max->data, 0) : 0;
    p.max = p.max < 0 ? 0 : p.max > p.n_boxes ? p.n_boxes : p.max;
    p.boxes = hone_op_array(c, p.n_boxes, sizeof(box));
    p.list = hone_op_array(c, p.n_boxes, sizeof(candidate));
    int64_t *count = hone_op_array(c, n_lists, sizeof *count);
    int32_t *chosen = hone_op_array(c, n_lists, sizeof *chosen * (size_t)p.max);
    float *kept = hone_op_array(c, p.max, 5 * sizeof *kept);
    if (!p.boxes || !p.list || !count || !chosen || !kept)
        return HONE_E_NOMEM;
    p.kept =
        (chosen_boxes){kept, kept + p.max, kept + 2 * p.max, kept + 3 * p.max, kept + 4 * p.max};
    for (int64_t i = 0; i < n_lists; ++i) {
        const float *from = (const float *)boxes->data + i / scores->dims[1] * p.n_boxes * 4;
        for (int64_t k = 0; i % scores->dims[1] == 0 && k < p.n_boxes; ++k)
            p.boxes[k] = make_box(from + k * 4, center);
        count[i] = nms_class(&p, (const float *)scores->data + i * p.n_boxes, chosen + i * p.max);
    }
    return nms_output(c, n_lists, scores->dims[1], p.max, chosen, count);
}

/* ---- RoiAlign ------------------------------------------------------------------------------- */

/* Output [number of rois, channels, height, width]. */
static hone_status infer_roi(hone_infer_ctx *c, int columns, int64_t height, int64_t width) {
    int64_t dims[4] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, height, width}, d;
    const hone_type *x = &c->in[0], *rois = &c->in[1];
    if (height < 1 || width < 1)
        return hone_infer_fail(c, HONE_E_SHAPE, "the pooled size must be 1 or more");
    if (hone_infer_has(c, 0) && x->rank >= 0) {
        if (x->rank != 4)
            return hone_infer_fail(c, HONE_E_SHAPE, "X must have rank 4, not %d", x->rank);
        dims[1] = x->dims[1];
    }
    if (hone_infer_has(c, 1) && rois->rank >= 0) {
        if (rois->rank != 2)
            return hone_infer_fail(c, HONE_E_SHAPE, "rois must have rank 2, not %d", rois->rank);
        HONE_TRY(hone_infer_same_dim(c, rois->dims[1], columns, &d));
        dims[0] = rois->dims[0];
    }
    if (columns == 4 && hone_infer_has(c, 2) && c->in[2].rank == 1)
        HONE_TRY(hone_infer_same_dim(c, dims[0], c->in[2].dims[0], &dims[0]));
    hone_infer_set(c, 0, x->dtype, 4, dims);
    return HONE_OK;
}

hone_status hone_infer_roi_align(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    return infer_roi(c, 4, hone_attr_int(c->node, "output_height", 1),
                     hone_attr_int(c->node, "output_width", 1));
}

typedef struct axis {
    double start, bin; /* of the region; of an output element */
    int64_t grid;      /* samples an output element */
    int64_t size;      /* of the image */
} axis;

/* One of the two axes of a region: where it starts and how it is sampled. */
static bool roi_axis(double lo, double hi, bool half_pixel, int64_t pooled, int64_t ratio,
                     int64_t size, axis *a) {
    double length = hi - lo;
    if (!half_pixel && length < 1)
        length = 1;
    double grid = ratio > 0 ? (double)ratio : ceil(length / (double)pooled);
    *a = (axis){lo, length / (double)pooled, 0, size};
    /* More samples than this a bin means a region far larger than any image. */
    if (!isfinite(lo) || !isfinite(hi) || grid > 16.0 * (double)size + 1024)
        return false;
    a->grid = grid > 0 ? (int64_t)grid : 0;
    return true;
}

/* Neighbours and weight of sample i of output element p; false outside of the image. */
static bool sample(const axis *a, int64_t p, int64_t i, int64_t *lo, int64_t *hi, double *w) {
    double v = a->start + (double)p * a->bin + ((double)i + 0.5) * a->bin / (double)a->grid;
    if (v < -1 || v > (double)a->size)
        return false;
    v = v < 0 ? 0 : v;
    *lo = (int64_t)v;
    *hi = *lo + 1;
    if (*lo >= a->size - 1) {
        *lo = *hi = a->size - 1;
        v = (double)*lo;
    }
    *w = v - (double)*lo;
    return true;
}

static double roi_element(const axis *h, const axis *w, const float *x, int64_t p, int64_t q,
                          bool max) {
    double sum = 0;
    int64_t y0, y1, x0, x1;
    double wy, wx;
    for (int64_t i = 0; i < h->grid; ++i) {
        for (int64_t j = 0; j < w->grid; ++j) {
            double v[4] = {0};
            if (sample(h, p, i, &y0, &y1, &wy) && sample(w, q, j, &x0, &x1, &wx)) {
                v[0] = (1 - wy) * (1 - wx) * (double)x[y0 * w->size + x0];
                v[1] = (1 - wy) * wx * (double)x[y0 * w->size + x1];
                v[2] = wy * (1 - wx) * (double)x[y1 * w->size + x0];
                v[3] = wy * wx * (double)x[y1 * w->size + x1];
            }
            if (max) {
                double top = fmax(fmax(v[0], v[1]), fmax(v[2], v[3]));
                sum = i + j == 0 ? top : fmax(sum, top);
            } else {
                sum += v[0] + v[1] + v[2] + v[3];
            }
        }
    }
    int64_t n = h->grid * w->grid;
    return max || n == 0 ? sum : sum / (double)n;
}

static hone_status check_batch(hone_op_ctx *c, int64_t index, int64_t n) {
    if (index < 0 || index >= n)
        return hone_op_fail(c, HONE_E_RUNTIME,
                            "a region refers to image %" PRId64 " of a batch of %" PRId64, index,
                            n);
    return HONE_OK;
}

hone_status hone_ref_roi_align(hone_op_ctx *c) {
    const hone_tensor *x = c->in[0], *batch = c->in[2];
    hone_tensor *y = c->out[0];
    bool ok = true;
    const float *data = hone_op_widen(c, x, HONE_DTYPE_F32, &ok);
    const float *rois = hone_op_widen(c, c->in[1], HONE_DTYPE_F32, &ok);
    float *out = hone_op_wide_out(c, y, HONE_DTYPE_F32, &ok), *to = out;
    if (!ok)
        return HONE_E_NOMEM;
    const hone_node *n = c->node;
    bool half = strcmp(hone_attr_string(n, "coordinate_transformation_mode", "half_pixel"),
                       "half_pixel") == 0;
    bool max = strcmp(hone_attr_string(n, "mode", "avg"), "max") == 0;
    double scale = (double)hone_attr_float(n, "spatial_scale", 1), shift = half ? 0.5 : 0;
    int64_t ratio = hone_attr_int(n, "sampling_ratio", 0), plane = x->dims[2] * x->dims[3];
    for (int64_t r = 0; r < y->dims[0]; ++r) {
        const float *roi = rois + r * 4;
        int64_t image = hone_load_i64(batch->dtype, batch->data, r);
        axis h, w;
        HONE_TRY(check_batch(c, image, x->dims[0]));
        if (!roi_axis((double)roi[0] * scale - shift, (double)roi[2] * scale - shift, half,
                      y->dims[3], ratio, x->dims[3], &w) ||
            !roi_axis((double)roi[1] * scale - shift, (double)roi[3] * scale - shift, half,
                      y->dims[2], ratio, x->dims[2], &h))
            return hone_op_fail(c, HONE_E_RUNTIME, "region %" PRId64 " is not of a sane size", r);
        if (plane == 0)
            h.grid = 0;
        for (int64_t ch = 0; ch < x->dims[1]; ++ch) {
            const float *from = data + (image * x->dims[1] + ch) * plane;
            for (int64_t p = 0; p < y->dims[2]; ++p)
                for (int64_t q = 0; q < y->dims[3]; ++q)
                    *to++ = (float)roi_element(&h, &w, from, p, q, max);
        }
    }
    hone_op_narrow(y, HONE_DTYPE_F32, out);
    return HONE_OK;
}

/* ---- MaxRoiPool ----------------------------------------------------------------------------- */

hone_status hone_infer_max_roi_pool(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x3));
    const int64_t *shape;
    if (hone_attr_ints(c->node, "pooled_shape", &shape) != 2)
        return hone_infer_fail(c, HONE_E_FORMAT, "pooled_shape must have two numbers");
    return infer_roi(c, 5, shape[0], shape[1]);
}

/* Range of image rows that output element p of an axis covers. */
static void pool_range(const axis *a, int64_t p, int64_t *lo, int64_t *hi) {
    double from = floor((double)p * a->bin) + a->start,
           to = ceil((double)(p + 1) * a->bin) + a->start;
    double top = (double)a->size;
    *lo = (int64_t)(from < 0 ? 0 : from > top ? top : from);
    *hi = (int64_t)(to < 0 ? 0 : to > top ? top : to);
}

static double pool_element(const axis *h, const axis *w, const float *x, int64_t p, int64_t q) {
    int64_t y0, y1, x0, x1;
    pool_range(h, p, &y0, &y1);
    pool_range(w, q, &x0, &x1);
    if (y0 >= y1 || x0 >= x1)
        return 0;
    float top = x[y0 * w->size + x0];
    for (int64_t i = y0; i < y1; ++i)
        for (int64_t j = x0; j < x1; ++j)
            top = x[i * w->size + j] > top ? x[i * w->size + j] : top;
    return (double)top;
}

hone_status hone_ref_max_roi_pool(hone_op_ctx *c) {
    const hone_tensor *x = c->in[0];
    hone_tensor *y = c->out[0];
    bool ok = true;
    const float *data = hone_op_widen(c, x, HONE_DTYPE_F32, &ok);
    const float *rois = hone_op_widen(c, c->in[1], HONE_DTYPE_F32, &ok);
    float *out = hone_op_wide_out(c, y, HONE_DTYPE_F32, &ok), *to = out;
    if (!ok)
        return HONE_E_NOMEM;
    float scale = hone_attr_float(c->node, "spatial_scale", 1);
    int64_t plane = x->dims[2] * x->dims[3];
    for (int64_t r = 0; r < y->dims[0]; ++r) {
        const float *roi = rois + r * 5;
        double at[5];
        for (int i = 0; i < 5; ++i) {
            at[i] = i == 0 ? (double)roi[0] : round((double)(roi[i] * scale));
            if (!(fabs(at[i]) < 1e9))
                return hone_op_fail(c, HONE_E_RUNTIME, "region %" PRId64 " is not of a sane size",
                                    r);
        }
        HONE_TRY(check_batch(c, (int64_t)at[0], x->dims[0]));
        axis w = {at[1], fmax(at[3] - at[1] + 1, 1) / (double)y->dims[3], 0, x->dims[3]};
        axis h = {at[2], fmax(at[4] - at[2] + 1, 1) / (double)y->dims[2], 0, x->dims[2]};
        for (int64_t ch = 0; ch < x->dims[1]; ++ch) {
            const float *from = data + ((int64_t)at[0] * x->dims[1] + ch) * plane;
            for (int64_t p = 0; p < y->dims[2]; ++p)
                for (int64_t q = 0; q < y->dims[3]; ++q)
                    *to++ = (float)pool_element(&h, &w, from, p, q);
        }
    }
    hone_op_narrow(y, HONE_DTYPE_F32, out);
    return HONE_OK;
}
