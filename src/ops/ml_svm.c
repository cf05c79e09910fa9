/* SVMRegressor and SVMClassifier (ai.onnx.ml). Class probabilities by pairwise coupling: T.-F. Wu,
 * C.-J. Lin, R. C. Weng, "Probability Estimates for Multi-class Classification by Pairwise
 * Coupling", JMLR 5 (2004), second method. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/ml_util.h"

typedef enum svm_kernel { SVM_LINEAR, SVM_POLY, SVM_RBF, SVM_SIGMOID, SVM_UNKNOWN } svm_kernel;

typedef struct svm_model {
    svm_kernel kernel;
    double gamma, coef0, degree;
    const float *vectors; /* [n_vectors, n_features] */
    const float *coef;
    const float *rho, *prob_a, *prob_b;
    int n_coef, n_rho, n_prob;
    int64_t n_vectors, n_features; /* n_vectors 0: coef are the weights of linear models */
    int64_t rows;
    hone_post post;
} svm_model;

static svm_kernel parse_kernel(const char *name) {
    static const char *const names[] = {"LINEAR", "POLY", "RBF", "SIGMOID"};
    for (int i = 0; i < SVM_UNKNOWN; ++i) {
        if (strcmp(name, names[i]) == 0)
            return (svm_kernel)i;
    }
    return SVM_UNKNOWN;
}

static double kernel_value(const svm_model *m, svm_kernel kernel, const double *x, const float *v) {
    double sum = 0;
    if (kernel == SVM_RBF) {
        for (int64_t k = 0; k < m->n_features; ++k) {
            double d = x[k] - (double)v[k];
            sum += d * d;
        }
        return exp(-m->gamma * sum);
    }
    for (int64_t k = 0; k < m->n_features; ++k)
        sum += x[k] * (double)v[k];
    if (kernel == SVM_POLY)
        return pow(m->gamma * sum + m->coef0, m->degree);
    return kernel == SVM_SIGMOID ? tanh(m->gamma * sum + m->coef0) : sum;
}

static hone_status svm_load(hone_op_ctx *c, int64_t n_vectors, svm_model *m) {
    const hone_node *n = c->node;
    const float *params;
    *m = (svm_model){.n_vectors = n_vectors};
    m->kernel = parse_kernel(hone_attr_string(n, "kernel_type", "LINEAR"));
    int n_values = hone_attr_floats(n, "support_vectors", &m->vectors);
    m->n_coef = hone_attr_floats(n, "coefficients", &m->coef);
    m->n_rho = hone_attr_floats(n, "rho", &m->rho);
    m->n_prob = hone_attr_floats(n, "prob_a", &m->prob_a);
    int n_b = hone_attr_floats(n, "prob_b", &m->prob_b);
    if (hone_attr_floats(n, "kernel_params", &params) >= 3) {
        m->gamma = (double)params[0];
        m->coef0 = (double)params[1];
        m->degree = (double)params[2];
    }
    HONE_TRY(hone_rows_of(c, hone_in(c, 0), &m->rows, &m->n_features));
    int64_t need = 0;
    if (m->kernel == SVM_UNKNOWN || !hone_post_parse(n, &m->post))
        return hone_op_fail(c, HONE_E_FORMAT, "unknown kernel_type or post_transform");
    if (m->n_rho < 1 || n_b != m->n_prob)
        return hone_op_fail(c, HONE_E_FORMAT, "rho is missing, or prob_a and prob_b differ");
    if (n_vectors < 0 || __builtin_mul_overflow(n_vectors, m->n_features, &need) ||
        (n_vectors > 0 && need != n_values))
        return hone_op_fail(c, HONE_E_SHAPE,
                            "%d support vector values do not fit %" PRId64 " vectors of %" PRId64
                            " features",
                            n_values, n_vectors, m->n_features);
    return HONE_OK;
}

/* ---- regressor --------------------------------------------------------------------------------
 */

hone_status hone_infer_ml_svm_reg(hone_infer_ctx *c) {
    int64_t dims[2] = {hone_infer_rows(&c->in[0]), 1};
    hone_infer_set(c, 0, HONE_DTYPE_F32, 2, dims);
    return HONE_OK;
}

/* post_transform is left out, as in ONNX Runtime: one score has nothing to be normalised with. */
hone_status hone_ref_ml_svm_reg(hone_op_ctx *c) {
    svm_model m = {0};
    HONE_TRY(svm_load(c, hone_attr_int(c->node, "n_supports", 0), &m));
    if (m.n_coef != (m.n_vectors ? m.n_vectors : m.n_features))
        return hone_op_fail(c, HONE_E_SHAPE, "%d coefficients do not fit", m.n_coef);
    bool one_class = hone_attr_int(c->node, "one_class", 0) != 0;
    double *x = hone_op_scratch(c, (size_t)m.n_features * sizeof *x + 1);
    if (!x)
        return HONE_E_NOMEM;
    for (int64_t r = 0; r < m.rows; ++r) {
        hone_load_row(hone_in(c, 0), r * m.n_features, m.n_features, x);
        double s = (double)m.rho[0];
        for (int64_t j = 0; j < m.n_vectors; ++j)
            s += (double)m.coef[j] * kernel_value(&m, m.kernel, x, m.vectors + j * m.n_features);
        if (m.n_vectors == 0)
            s += kernel_value(&m, SVM_LINEAR, x, m.coef);
        if (one_class)
            s = s > 0 ? 1 : -1;
        ((float *)hone_out(c, 0)->data)[r] = (float)s;
    }
    return HONE_OK;
}

/* ---- classifier -------------------------------------------------------------------------------
 */

typedef struct svm_classes {
    hone_labels labels;
    int64_t n;            /* classes, at least 1 */
    const int64_t *sizes; /* support vectors of each class; NULL: linear models */
    int64_t n_vectors, n_pairs;
    bool has_prob;
    int64_t n_scores, n_out; /* before and after the post transform */
} svm_classes;

static bool svm_shape(const hone_node *n, svm_classes *k) {
    const float *p;
    *k = (svm_classes){.labels = hone_labels_of(n, "classlabels_ints", "classlabels_strings")};
    k->n = k->labels.n > 0 ? k->labels.n : 1;
    int n_sizes = hone_attr_ints(n, "vectors_per_class", &k->sizes);
    for (int i = 0; i < n_sizes; ++i) {
        if (k->sizes[i] < 0 || __builtin_add_overflow(k->n_vectors, k->sizes[i], &k->n_vectors))
            return false;
    }
    if (k->n_vectors > 0 && (n_sizes != k->n || k->n < 2))
        return false;
    if (k->n_vectors == 0)
        k->sizes = NULL;
    k->n_pairs = k->n * (k->n - 1) / 2;
    k->has_prob = k->sizes && hone_attr_floats(n, "prob_a", &p) > 0;
    k->n_scores = k->sizes && !k->has_prob ? k->n_pairs : k->n;
    bool has_pair = k->n_scores == 1 && k->labels.n == 2;
    k->n_out = has_pair ? 2 : k->n_scores;
    return true;
}

hone_status hone_infer_ml_svm_class(hone_infer_ctx *c) {
    svm_classes k;
    if (!svm_shape(c->node, &k))
        return hone_infer_fail(c, HONE_E_FORMAT, "vectors_per_class does not match the labels");
    int64_t dims[2] = {hone_infer_rows(&c->in[0]), k.n_out};
    hone_infer_set(c, 0, hone_labels_dtype(&k.labels), 1, dims);
    hone_infer_set(c, 1, HONE_DTYPE_F32, 2, dims);
    return HONE_OK;
}

/* One-against-one decisions: a score for each pair of classes, and the votes. */
static void pair_scores(const svm_model *m, const svm_classes *k, const double *kernels,
                        double *score, double *votes) {
    for (int64_t i = 0; i < k->n; ++i)
        votes[i] = 0;
    int64_t start_i = 0, pair = 0;
    for (int64_t i = 0; i < k->n; ++i) {
        int64_t start_j = start_i + k->sizes[i];
        for (int64_t j = i + 1; j < k->n; ++j) {
            const float *a = m->coef + (j - 1) * k->n_vectors + start_i;
            const float *b = m->coef + i * k->n_vectors + start_j;
            double s = (double)m->rho[pair];
            for (int64_t v = 0; v < k->sizes[i]; ++v)
                s += (double)a[v] * kernels[start_i + v];
            for (int64_t v = 0; v < k->sizes[j]; ++v)
                s += (double)b[v] * kernels[start_j + v];
            score[pair++] = s;
            votes[s > 0 ? i : j] += 1;
            start_j += k->sizes[j];
        }
        start_i += k->sizes[i];
    }
}

/* Coupling: r[i*n+j] is the probability of i against j; p gets those of the classes. q is n*n. */
static void couple(int64_t n, const double *r, double *q, double *qp, double *p) {
    for (int64_t t = 0; t < n; ++t) {
        p[t] = 1.0 / (double)n;
        q[t * n + t] = 0;
        for (int64_t j = 0; j < n; ++j) {
            if (j == t)
                continue;
            q[t * n + t] += r[j * n + t] * r[j * n + t];
            q[t * n + j] = -r[j * n + t] * r[t * n + j];
        }
    }
    int64_t max_steps = n > 100 ? n : 100;
    for (int64_t step = 0; step < max_steps; ++step) {
        double pqp = 0, error = 0;
        for (int64_t t = 0; t < n; ++t) {
            qp[t] = 0;
            for (int64_t j = 0; j < n; ++j)
                qp[t] += q[t * n + j] * p[j];
            pqp += p[t] * qp[t];
        }
        for (int64_t t = 0; t < n; ++t)
            error = fmax(error, fabs(qp[t] - pqp));
        if (error < 0.005 / (double)n)
            return;
        for (int64_t t = 0; t < n; ++t) {
            double d = (pqp - qp[t]) / q[t * n + t];
            p[t] += d;
            pqp = (pqp + d * (d * q[t * n + t] + 2 * qp[t])) / ((1 + d) * (1 + d));
            for (int64_t j = 0; j < n; ++j) {
                qp[j] = (qp[j] + d * q[t * n + j]) / (1 + d);
                p[j] /= 1 + d;
            }
        }
    }
}

/* Probabilities of the classes from the pair scores; room is 2 n*n + n. */
static void class_probabilities(const svm_model *m, int64_t n, const double *score, double *room,
                                double *p) {
    double *r = room, *q = room + n * n, *qp = q + n * n;
    int64_t pair = 0;
    for (int64_t i = 0; i < n; ++i) {
        r[i * n + i] = 0;
        for (int64_t j = i + 1; j < n; ++j, ++pair) {
            double a = (double)m->prob_a[pair], b = (double)m->prob_b[pair];
            double v = 1 - hone_logistic(score[pair] * a + b);
            v = fmin(fmax(v, 1e-7), 1 - 1e-7);
            r[i * n + j] = v;
            r[j * n + i] = 1 - v;
        }
    }
    couple(n, r, q, qp, p);
}

static int64_t best_of(const double *s, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i)
        best = s[i] > s[best] ? i : best;
    return best;
}

typedef struct svm_room {
    double *x, *kernels, *score, *votes, *prob, *square;
    bool all_positive;
} svm_room;

static hone_status svm_class_load(hone_op_ctx *c, svm_model *m, svm_classes *k, svm_room *w) {
    if (!svm_shape(c->node, k))
        return hone_op_fail(c, HONE_E_FORMAT, "vectors_per_class does not match the labels");
    HONE_TRY(svm_load(c, k->n_vectors, m));
    int64_t need = 0;
    bool fits =
        k->sizes ? !__builtin_mul_overflow(k->n - 1, k->n_vectors, &need) && m->n_rho >= k->n_pairs
                 : !__builtin_mul_overflow(k->n, m->n_features, &need);
    if (!fits || m->n_coef != need || (k->has_prob && m->n_prob < k->n_pairs))
        return hone_op_fail(c, HONE_E_SHAPE,
                            "coefficients, rho or prob_a do not fit %" PRId64 " classes", k->n);
    size_t n = (size_t)k->n;
    size_t count = (size_t)m->n_features + (size_t)k->n_vectors + (size_t)k->n_pairs + 4 * n + 4 +
                   (k->has_prob ? 2 * n * n : 0);
    w->x = hone_op_scratch(c, count * sizeof *w->x);
    if (!w->x)
        return HONE_E_NOMEM;
    w->kernels = w->x + m->n_features;
    w->score = w->kernels + k->n_vectors;
    w->votes = w->score + k->n_pairs + k->n + 2;
    w->prob = w->votes + n;
    w->square = w->prob + n + 1;
    w->all_positive = true;
    for (int i = 0; i < m->n_coef; ++i)
        w->all_positive &= m->coef[i] >= 0;
    return HONE_OK;
}

/* Scores of the row in w->x; *best is the class they speak for, *weight its weight. */
static double *svm_scores(const svm_model *m, const svm_classes *k, svm_room *w, int64_t *best,
                          double *weight) {
    if (!k->sizes) {
        for (int64_t i = 0; i < k->n; ++i)
            w->score[i] =
                (double)m->rho[0] + kernel_value(m, m->kernel, w->x, m->coef + i * m->n_features);
        *best = best_of(w->score, k->n);
        *weight = w->score[*best];
        return w->score;
    }
    for (int64_t v = 0; v < k->n_vectors; ++v)
        w->kernels[v] = kernel_value(m, m->kernel, w->x, m->vectors + v * m->n_features);
    pair_scores(m, k, w->kernels, w->score, w->votes);
    *best = best_of(w->votes, k->n);
    *weight = w->votes[*best];
    if (!k->has_prob)
        return w->score;
    class_probabilities(m, k->n, w->score, w->square, w->prob);
    return w->prob;
}

hone_status hone_ref_ml_svm_class(hone_op_ctx *c) {
    svm_model m = {0};
    svm_classes k = {0};
    svm_room w = {0};
    HONE_TRY(svm_class_load(c, &m, &k, &w));
    hone_tensor *z = hone_out(c, 1);
    const hone_labels numbers = {.strings = k.labels.strings};
    for (int64_t r = 0; r < m.rows; ++r) {
        int64_t best = 0;
        double weight = 0;
        hone_load_row(hone_in(c, 0), r * m.n_features, m.n_features, w.x);
        double *s = svm_scores(&m, &k, &w, &best, &weight);
        bool is_single = m.n_rho == 1 && k.labels.n != 2;
        HONE_TRY(hone_labels_set(c, hone_out(c, 0), r, is_single ? &numbers : &k.labels,
                                 is_single ? weight > 0 : best));
        hone_second second = k.n_out == k.n_scores      ? HONE_SECOND_NONE
                             : m.post == HONE_POST_NONE ? HONE_SECOND_NEGATION
                                                        : HONE_SECOND_COMPLEMENT;
        int64_t n = hone_post_scores(m.post, second, s, k.n_scores);
        for (int64_t i = 0; z && i < k.n_out; ++i)
            ((float *)z->data)[r * k.n_out + i] = i < n ? (float)s[i] : 0.0f;
    }
    return HONE_OK;
}
