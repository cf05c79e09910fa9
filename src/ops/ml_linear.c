/* LinearRegressor and LinearClassifier (ai.onnx.ml). */
#include <inttypes.h>

#include "ops/ml_util.h"

/* y = x . w + b for several targets. */
typedef struct linear_model {
    const float *w, *b; /* [targets, features]; b may be NULL */
    int64_t n_targets, n_features;
} linear_model;

static void linear_row(const linear_model *m, const double *x, double *y) {
    for (int64_t t = 0; t < m->n_targets; ++t) {
        const float *w = m->w + t * m->n_features;
        double sum = m->b ? (double)m->b[t] : 0;
        for (int64_t k = 0; k < m->n_features; ++k)
            sum += x[k] * (double)w[k];
        y[t] = sum;
    }
}

static hone_status linear_load(hone_op_ctx *c, int64_t n_targets, linear_model *m, int64_t *rows,
                               hone_post *post) {
    const float *b;
    *m = (linear_model){.n_targets = n_targets};
    int n_b = hone_attr_floats(c->node, "intercepts", &b);
    int n_w = hone_attr_floats(c->node, "coefficients", &m->w);
    HONE_TRY(hone_rows_of(c, hone_in(c, 0), rows, &m->n_features));
    int64_t need;
    if (n_targets < 1 || __builtin_mul_overflow(n_targets, m->n_features, &need) || n_w != need)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "%d coefficients do not fit %" PRId64 " targets of %" PRId64
                            " features",
                            n_w, n_targets, m->n_features);
    if (n_b && n_b != n_targets)
        return hone_op_fail(c, HONE_E_SHAPE, "there are %d intercepts for %" PRId64 " targets", n_b,
                            n_targets);
    m->b = n_b ? b : NULL;
    if (!hone_post_parse(c->node, post))
        return hone_op_fail(c, HONE_E_FORMAT, "unknown post_transform");
    return HONE_OK;
}

hone_status hone_infer_ml_linear_reg(hone_infer_ctx *c) {
    int64_t dims[2] = {hone_infer_rows(&c->in[0]), hone_attr_int(c->node, "targets", 1)};
    if (dims[1] < 1)
        return hone_infer_fail(c, HONE_E_FORMAT, "targets is %" PRId64, dims[1]);
    hone_infer_set(c, 0, HONE_DTYPE_F32, 2, dims);
    return HONE_OK;
}

hone_status hone_ref_ml_linear_reg(hone_op_ctx *c) {
    linear_model m = {0};
    hone_post post = HONE_POST_NONE;
    int64_t rows = 0;
    HONE_TRY(linear_load(c, hone_attr_int(c->node, "targets", 1), &m, &rows, &post));
    double *x = hone_op_scratch(c, (size_t)(m.n_features + m.n_targets) * sizeof *x);
    if (!x)
        return HONE_E_NOMEM;
    double *s = x + m.n_features;
    float *y = hone_out(c, 0)->data;
    for (int64_t r = 0; r < rows; ++r) {
        hone_load_row(hone_in(c, 0), r * m.n_features, m.n_features, x);
        linear_row(&m, x, s);
        hone_post_scores(post, HONE_SECOND_NONE, s, m.n_targets);
        for (int64_t t = 0; t < m.n_targets; ++t)
            y[r * m.n_targets + t] = (float)s[t];
    }
    return HONE_OK;
}

/* ---- classifier -------------------------------------------------------------------------------
 */

/* Intercepts tell the number of scores; without them the labels do. */
static int64_t n_class_scores(const hone_node *n, const hone_labels *l) {
    const float *b;
    int n_b = hone_attr_floats(n, "intercepts", &b);
    return n_b ? n_b : l->n;
}

hone_status hone_infer_ml_linear_class(hone_infer_ctx *c) {
    hone_labels l = hone_labels_of(c->node, "classlabels_ints", "classlabels_strings");
    int64_t n = n_class_scores(c->node, &l);
    int64_t dims[2] = {hone_infer_rows(&c->in[0]), n == 1 && l.n == 2 ? 2 : n};
    hone_infer_set(c, 0, hone_labels_dtype(&l), 1, dims);
    hone_infer_set(c, 1, HONE_DTYPE_F32, 2, dims);
    return HONE_OK;
}

static int64_t best_of(const double *s, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i)
        best = s[i] > s[best] ? i : best;
    return best;
}

hone_status hone_ref_ml_linear_class(hone_op_ctx *c) {
    hone_labels l = hone_labels_of(c->node, "classlabels_ints", "classlabels_strings");
    linear_model m = {0};
    hone_post post = HONE_POST_NONE;
    int64_t rows = 0;
    HONE_TRY(linear_load(c, n_class_scores(c->node, &l), &m, &rows, &post));
    double *x = hone_op_scratch(c, (size_t)(m.n_features + m.n_targets + 1) * sizeof *x);
    if (!x)
        return HONE_E_NOMEM;
    double *s = x + m.n_features;
    hone_tensor *z = hone_out(c, 1);
    bool has_pair = m.n_targets == 1 && l.n == 2;
    const hone_labels numbers = {.strings = l.strings}; /* "0" and "1" when there is no pair */
    for (int64_t r = 0; r < rows; ++r) {
        hone_load_row(hone_in(c, 0), r * m.n_features, m.n_features, x);
        linear_row(&m, x, s);
        int64_t k = m.n_targets == 1 ? s[0] > 0 : best_of(s, m.n_targets);
        HONE_TRY(
            hone_labels_set(c, hone_out(c, 0), r, m.n_targets > 1 || has_pair ? &l : &numbers, k));
        int64_t n = hone_post_scores(post, has_pair ? HONE_SECOND_COMPLEMENT : HONE_SECOND_NONE, s,
                                     m.n_targets);
        for (int64_t t = 0; z && t < z->dims[1]; ++t)
            ((float *)z->data)[r * z->dims[1] + t] = t < n ? (float)s[t] : 0.0f;
    }
    return HONE_OK;
}
