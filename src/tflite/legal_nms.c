/* NonMaxSuppression as NON_MAX_SUPPRESSION_V4, once for each class of each picture.
 *
 * That operator takes boxes [n, 4] as two corners and scores [n], and gives indices of a fixed
 * length and how many of them count. It drops a box whose overlap is the threshold or more, ONNX
 * one whose overlap is more (LiteRT, kernels/internal/reference/non_max_suppression.h). */
#include <float.h>
#include <math.h>

#include "tflite/legal_ops.h"

enum { MAX_PASSES = 256 }; /* classes times pictures; each makes some five operators */

typedef struct suppression {
    int n_batch, n_class, n_box; /* n_box -1: not known */
    int64_t most;
    float iou, score;
} suppression;

/* A scalar input that may be left out. False: it is no constant. */
static bool read_scalar(const hone_node *n, int i, double missing, double *to) {
    const hone_value *v = n->n_in > i ? n->in[i] : NULL;
    *to = missing;
    if (!v)
        return true;
    if (!v->constant || hone_tensor_count(v->constant) != 1)
        return false;
    *to = hone_load_f64(v->constant->dtype, v->constant->data, 0);
    return true;
}

/* The number of boxes, which boxes and scores agree about; -1: not known. */
static int box_count(const hone_node *n) {
    int64_t a = n->in[0]->type.dims[1], b = n->in[1]->type.dims[2];
    int64_t count = a >= 0 ? a : b;
    return count < 0 || count > INT32_MAX ? -1 : (int)count;
}

static bool read_sizes(tfl_legal *l, const hone_node *n, suppression *s) {
    const hone_type *scores = &n->in[1]->type;
    int64_t batch = scores->dims[0], classes = scores->dims[1];
    if (batch < 0 || classes < 0) {
        tfl_refuse(l, n, "dynamic-size", "fix batch and classes with --shape",
                   "there is one operator for each class and picture, whose numbers are open");
        return false;
    }
    if (batch == 0 || classes == 0 || batch > MAX_PASSES || classes > MAX_PASSES / batch) {
        tfl_refuse(l, n, "unsupported-form",
                   "suppress all classes in one, boxes shifted by class, or after the model",
                   "%lld classes of %lld pictures; from 1 to %d can be written", (long long)classes,
                   (long long)batch, MAX_PASSES);
        return false;
    }
    s->n_batch = (int)batch;
    s->n_class = (int)classes;
    s->n_box = box_count(n);
    return true;
}

static bool read_limits(tfl_legal *l, const hone_node *n, suppression *s) {
    double most, iou, score;
    if (!read_scalar(n, 2, 0, &most) || !read_scalar(n, 3, 0, &iou) ||
        !read_scalar(n, 4, -FLT_MAX, &score)) {
        tfl_refuse(l, n, "variable-size", "export with constant limits",
                   "the number of boxes or a threshold is no constant");
        return false;
    }
    if (!(most > 0) || s->n_box == 0) {
        tfl_refuse(l, n, "empty-tensor", "ask for one box at least", "no box is ever selected");
        return false;
    }
    /* No denormal number, which threads may take for 0. */
    s->iou = fmaxf(nextafterf((float)iou, INFINITY), FLT_MIN);
    if (!(iou >= 0 && s->iou <= 1)) {
        tfl_refuse(l, n, "unsupported-form", "use a threshold from 0 to below 1",
                   "the threshold %g of the overlap", iou);
        return false;
    }
    s->score = (float)score;
    s->most = most < INT32_MAX ? (int64_t)most : INT32_MAX;
    if (s->n_box > 0 && s->most > s->n_box)
        s->most = s->n_box;
    return true;
}

/* The number of results, a scalar tensor: no more than there are boxes, as space is made for it. */
static int most_results(tfl_legal *l, const suppression *s, int scores) {
    int32_t one = 1;
    if (s->n_box > 0)
        return tfl_const_i32(l, (int32_t)s->most);
    int shape = tfl_temp(l, TFL_I32, 1, &one);
    tfl_option_byte(tfl_op1(l, TFL_SHAPE, scores, shape), 0, TFL_I32);
    return tfl_apply2(l, TFL_MINIMUM, tfl_reshape(l, shape, 0, NULL),
                      tfl_const_i32(l, (int32_t)s->most));
}

/* Two of the four numbers of each box, [batch, n, 2]. */
static int half_of(tfl_legal *l, const suppression *s, int boxes, int32_t from) {
    int32_t dims[3] = {s->n_batch, s->n_box, 2}, begin[3] = {0, 0, from};
    int32_t size[3] = {s->n_batch, -1, 2};
    int out = tfl_temp(l, TFL_F32, 3, dims);
    int in[3] = {boxes, tfl_const_i32s(l, begin, 3), tfl_const_i32s(l, size, 3)};
    tfl_op(l, TFL_SLICE, in, 3, out);
    return out;
}

/* Corners of boxes that are given by center and size. */
static int corners(tfl_legal *l, const suppression *s, int boxes) {
    int center = half_of(l, s, boxes, 0);
    int half = tfl_apply2(l, TFL_MUL, half_of(l, s, boxes, 2), tfl_const_f32(l, 0.5F));
    int in[2] = {tfl_apply2(l, TFL_SUB, center, half), tfl_apply2(l, TFL_ADD, center, half)};
    int out = tfl_like(l, boxes);
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, in, 2, out);
    tfl_option_i32(op, 0, 2);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    return out;
}

/* The `count` parts of a tensor along its first dim, each of `rank` dims; NULL: out of memory. */
static int *parts(tfl_legal *l, int tensor, int count, int rank, const int32_t *dims) {
    int *out = tfl_alloc(l, (size_t)count, sizeof *out);
    for (int i = 0; out && i < count; ++i)
        out[i] = tfl_temp(l, TFL_F32, rank, dims);
    if (!out || tensor < 0 || l->is_out_of_memory)
        return NULL;
    tfl_operator *op = tfl_model_operator(&l->model, TFL_UNPACK, &tensor, 1, out, count);
    if (!op)
        l->is_out_of_memory = true;
    tfl_option_i32(op, 0, count);
    tfl_option_i32(op, 1, 0);
    return out;
}

/* Rows of picture, class and box, for the indices [length] of which the first `count` hold. */
static int rows(tfl_legal *l, int indices, int count, int32_t batch, int32_t class) {
    int32_t length = l->model.tensors[indices].dims[0];
    int32_t column[2] = {-1, 1}, wide[2] = {length, 3}, open[2] = {-1, 3}, square[2] = {2, 2};
    int32_t three = 3, two = 2, *pads = tfl_alloc(l, 4, sizeof *pads);
    if (pads)
        pads[2] = 2; /* columns in front */
    int at = tfl_reshape(l, indices, 2, column), padded = tfl_temp(l, TFL_I32, 2, wide);
    if (at >= 0)
        l->model.tensors[at].dims[0] = length;
    tfl_op2(l, TFL_PAD, at, tfl_const(l, TFL_I32, 2, square, pads), padded);
    if (batch || class)
        padded = tfl_apply2(l, TFL_ADD, padded, tfl_const_i32s(l, (int32_t[]){batch, class, 0}, 3));
    int size[2] = {tfl_reshape(l, count, 1, (int32_t[]){1}), tfl_const_i32s(l, &three, 1)};
    int sizes = tfl_temp(l, TFL_I32, 1, &two), out = tfl_temp(l, TFL_I32, 2, open);
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, size, 2, sizes);
    tfl_option_i32(op, 0, 0);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    int in[3] = {padded, tfl_const_i32s(l, (int32_t[]){0, 0}, 2), sizes};
    tfl_op(l, TFL_SLICE, in, 3, out);
    return out;
}

/* Boxes [n, 4] and scores [n] to rows; `limits`: number, overlap, score. */
static int suppress(tfl_legal *l, int boxes, int scores, const int *limits, int32_t length,
                    int32_t batch, int32_t class) {
    int in[5] = {boxes, scores, limits[0], limits[1], limits[2]};
    int out[2] = {tfl_temp(l, TFL_I32, 1, &length), tfl_temp(l, TFL_I32, 0, NULL)};
    if (out[0] < 0 || out[1] < 0)
        return -1;
    if (!tfl_model_operator(&l->model, TFL_NON_MAX_SUPPRESSION_V4, in, 5, out, 2))
        l->is_out_of_memory = true;
    return rows(l, out[0], out[1], batch, class);
}

/* All rows in ONNX's order: by picture, class, and falling score. -1: out of memory. */
static int all_rows(tfl_legal *l, const hone_node *n, const suppression *s) {
    int32_t each[2] = {s->n_box, 4}, flat[2] = {s->n_batch * s->n_class, s->n_box};
    int32_t open[2] = {-1, 3}, length = s->n_box > 0 ? (int32_t)s->most : -1;
    int boxes = tfl_take(l, n->in[0], NULL);
    if (hone_attr_int(n, "center_point_box", 0))
        boxes = corners(l, s, boxes);
    int *of_batch = parts(l, boxes, s->n_batch, 2, each);
    int *scores =
        parts(l, tfl_reshape(l, tfl_take(l, n->in[1], NULL), 2, flat), flat[0], 1, &flat[1]);
    int *found = tfl_alloc(l, (size_t)flat[0], sizeof *found);
    if (!of_batch || !scores || !found)
        return -1;
    int limits[3] = {most_results(l, s, scores[0]), tfl_const_f32(l, s->iou),
                     tfl_const_f32(l, s->score)};
    for (int i = 0; i < flat[0]; ++i)
        found[i] = suppress(l, of_batch[i / s->n_class], scores[i], limits, length, i / s->n_class,
                            i % s->n_class);
    if (flat[0] == 1)
        return found[0];
    int out = tfl_temp(l, TFL_I32, 2, open);
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, found, flat[0], out);
    tfl_option_i32(op, 0, 0);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    return out;
}

void tfl_legal_nms(tfl_legal *l, const hone_node *n) {
    suppression s;
    if (!read_sizes(l, n, &s) || !read_limits(l, n, &s))
        return;
    int all = all_rows(l, n, &s);
    tfl_operator *op = tfl_op1(l, TFL_CAST, all, tfl_give(l, n->out[0], NULL));
    tfl_option_byte(op, 0, TFL_I32);
    tfl_option_byte(op, 1, TFL_I64);
}
