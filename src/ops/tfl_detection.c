/* QDetectionPostProcess: boxes of a detector from its codes and anchors, the best ones of each
 * object kept. Inputs: codes [1, n, 4 or more] (y, x, height, width), scores [1, n, classes, and
 * one for the background before them, or none], anchors [n, 4]. Outputs: boxes [1, m, 4] (top,
 * left, bottom, right), classes [1, m], scores [1, m], their number [1]; m = max_detections *
 * max_classes. Source: tflite/kernels/detection_postprocess.cc (LiteRT). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/tfl_quant.h"

typedef struct scored {
    float score;
    int32_t anchor, class_;
} scored;

typedef struct detector {
    int64_t n, columns, classes, offset; /* columns of scores; the first of a class */
    int64_t most, per_box, per_class;
    float threshold, overlap;
    const float *scores;
    float (*box)[4];
    scored *order; /* n candidates of a class */
    bool *is_out;
    scored *kept; /* what is left: most + per_class */
    int64_t n_kept;
} detector;

static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->anchor > y->anchor) - (x->anchor < y->anchor);
}

static void decode(detector *d, const float *codes, int64_t step, const float *anchors,
                   const hone_node *n) {
    double y = (double)hone_attr_float(n, "y_scale", 1),
           x = (double)hone_attr_float(n, "x_scale", 1);
    double h = (double)hone_attr_float(n, "h_scale", 1),
           w = (double)hone_attr_float(n, "w_scale", 1);
    for (int64_t i = 0; i < d->n; ++i) {
        const float *c = codes + i * step, *a = anchors + 4 * i;
        float cy = (float)((double)c[0] / y * (double)a[2] + (double)a[0]);
        float cx = (float)((double)c[1] / x * (double)a[3] + (double)a[1]);
        float half_h = (float)(0.5 * exp((double)c[2] / h) * (double)a[2]);
        float half_w = (float)(0.5 * exp((double)c[3] / w) * (double)a[3]);
        const float box[4] = {cy - half_h, cx - half_w, cy + half_h, cx + half_w};
        memcpy(d->box[i], box, sizeof box);
    }
}

static float overlap_of(const float *a, const float *b) {
    float area_a = (a[2] - a[0]) * (a[3] - a[1]), area_b = (b[2] - b[0]) * (b[3] - b[1]);
    if (area_a <= 0 || area_b <= 0)
        return 0;
    float h = fminf(a[2], b[2]) - fmaxf(a[0], b[0]), w = fminf(a[3], b[3]) - fmaxf(a[1], b[1]);
    float both = fmaxf(h, 0) * fmaxf(w, 0);
    return both / (area_a + area_b - both);
}

/* The candidates in d->order, best first; at most `most` go to d->kept. */
static void suppress(detector *d, int64_t n, int64_t most) {
    int64_t n_found = 0;
    qsort(d->order, (size_t)n, sizeof *d->order, by_score);
    memset(d->is_out, 0, (size_t)n * sizeof *d->is_out);
    for (int64_t i = 0; i < n && n_found < most; ++i) {
        if (d->is_out[i])
            continue;
        d->kept[d->n_kept++] = d->order[i];
        ++n_found;
        for (int64_t j = i + 1; j < n; ++j) {
            if (!d->is_out[j])
                d->is_out[j] =
                    overlap_of(d->box[d->order[i].anchor], d->box[d->order[j].anchor]) > d->overlap;
        }
    }
}

static float score_at(const detector *d, int64_t anchor, int64_t k) {
    return d->scores[anchor * d->columns + d->offset + k];
}

/* Each class on its own; over all classes the best are left. */
static void each_class(detector *d) {
    for (int64_t k = 0; k < d->classes; ++k) {
        int64_t n = 0;
        for (int64_t i = 0; i < d->n; ++i) {
            float score = score_at(d, i, k);
            if (score >= d->threshold)
                d->order[n++] = (scored){score, (int32_t)i, (int32_t)k};
        }
        suppress(d, n, d->per_class);
        /* Stable: classes come in order. */
        for (int64_t i = 1; i < d->n_kept; ++i) {
            scored v = d->kept[i];
            int64_t to = i;
            for (; to > 0 && d->kept[to - 1].score < v.score; --to)
                d->kept[to] = d->kept[to - 1];
            d->kept[to] = v;
        }
        d->n_kept = d->n_kept < d->most ? d->n_kept : d->most;
    }
}

/* By the best class of each anchor. */
static void best_class(detector *d) {
    int64_t n = 0;
    for (int64_t i = 0; i < d->n; ++i) {
        int64_t best = 0;
        for (int64_t k = 1; k < d->classes; ++k)
            best = score_at(d, i, k) > score_at(d, i, best) ? k : best;
        float score = score_at(d, i, best);
        if (score >= d->threshold)
            d->order[n++] = (scored){score, (int32_t)i, (int32_t)best};
    }
    suppress(d, n, d->most);
}

/* Class with the k-th best score of an anchor, classes with equal scores in order. */
static int64_t class_at(const detector *d, int64_t anchor, int64_t k) {
    for (int64_t c = 0; c < d->classes; ++c) {
        int64_t before = 0;
        for (int64_t o = 0; o < d->classes; ++o) {
            float a = score_at(d, anchor, o), b = score_at(d, anchor, c);
            before += a > b || (a == b && o < c);
        }
        if (before == k)
            return c;
    }
    return 0;
}

static void put(const detector *d, hone_op_ctx *c, int64_t at, int32_t anchor, int64_t class_) {
    memcpy((float *)hone_out(c, 0)->data + 4 * at, d->box[anchor], sizeof d->box[anchor]);
    ((float *)hone_out(c, 1)->data)[at] = (float)class_;
    ((float *)hone_out(c, 2)->data)[at] = score_at(d, anchor, class_);
}

static detector read(const hone_op_ctx *c) {
    const hone_node *n = c->node;
    detector d = {.n = hone_in(c, 0)->dims[1],
                  .columns = hone_in(c, 1)->dims[2],
                  .classes = hone_attr_int(n, "num_classes", 1),
                  .most = hone_attr_int(n, "max_detections", 1),
                  .per_box = hone_attr_int(n, "max_classes", 1),
                  .per_class = hone_attr_int(n, "detections_per_class", 100),
                  .threshold = hone_attr_float(n, "score_threshold", 0),
                  .overlap = hone_attr_float(n, "iou_threshold", 0.5f),
                  .scores = hone_in(c, 1)->data};
    d.offset = d.columns - d.classes;
    d.per_class = d.per_class < d.most ? d.per_class : d.most;
    return d;
}

hone_status hone_ref_tfl_detection(hone_op_ctx *c) {
    detector d = read(c);
    d.box = hone_op_scratch(c, ((size_t)d.n + 1) * sizeof *d.box);
    d.order = hone_op_scratch(c, ((size_t)d.n + 1) * sizeof *d.order);
    d.is_out = hone_op_scratch(c, ((size_t)d.n + 1) * sizeof *d.is_out);
    d.kept = hone_op_scratch(c, (size_t)(2 * d.most + 1) * sizeof *d.kept);
    if (!d.box || !d.order || !d.is_out || !d.kept)
        return HONE_E_NOMEM;
    decode(&d, hone_in(c, 0)->data, hone_in(c, 0)->dims[2], hone_in(c, 2)->data, c->node);
    for (int i = 0; i < 4; ++i)
        memset(hone_out(c, i)->data, 0, hone_tensor_bytes(hone_out(c, i)));
    bool is_regular = hone_attr_int(c->node, "regular", 0) != 0;
    (is_regular ? each_class : best_class)(&d);
    int64_t per_box = d.per_box < d.classes ? d.per_box : d.classes;
    for (int64_t i = 0; i < d.n_kept; ++i) {
        if (is_regular)
            put(&d, c, i, d.kept[i].anchor, d.kept[i].class_);
        for (int64_t k = 0; !is_regular && k < per_box; ++k)
            put(&d, c, i * d.per_box + k, d.kept[i].anchor, class_at(&d, d.kept[i].anchor, k));
    }
    *(float *)hone_out(c, 3)->data = (float)d.n_kept;
    return HONE_OK;
}

hone_status hone_infer_tfl_detection(hone_infer_ctx *c) {
    enum { MOST = 1 << 14 };
    for (int i = 0; i < 3; ++i) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            return HONE_OK;
    }
    HONE_TRY(tfl_check_type(c));
    const hone_type *codes = &c->in[0], *scores = &c->in[1], *anchors = &c->in[2];
    int64_t classes = hone_attr_int(c->node, "num_classes", 0),
            most = hone_attr_int(c->node, "max_detections", 0);
    int64_t per_box = hone_attr_int(c->node, "max_classes", 1);
    bool fits = codes->rank == 3 && scores->rank == 3 && anchors->rank == 2 &&
                codes->dims[2] >= 4 && anchors->dims[1] == 4 && codes->dims[0] == 1 &&
                scores->dims[0] == 1 && scores->dtype == HONE_DTYPE_F32 &&
                anchors->dtype == HONE_DTYPE_F32 && codes->dims[1] >= 0 &&
                codes->dims[1] <= INT32_MAX && scores->dims[1] == codes->dims[1] &&
                anchors->dims[0] == codes->dims[1] && c->n_out == 4;
    for (int i = 0; fits && i < 4; ++i)
        fits = c->node->out[i] != NULL;
    if (!fits || classes < 1 || classes > scores->dims[2] || scores->dims[2] - classes > 1 ||
        most < 1 || most > MOST || per_box < 1 || per_box > MOST ||
        hone_attr_int(c->node, "detections_per_class", 100) < 1)
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "codes, scores, anchors and options do not fit each other");
    int64_t m = most * per_box;
    hone_infer_set(c, 0, HONE_DTYPE_F32, 3, (int64_t[]){1, m, 4});
    hone_infer_set(c, 1, HONE_DTYPE_F32, 2, (int64_t[]){1, m});
    hone_infer_set(c, 2, HONE_DTYPE_F32, 2, (int64_t[]){1, m});
    hone_infer_set(c, 3, HONE_DTYPE_F32, 1, (int64_t[]){1});
    return HONE_OK;
}
