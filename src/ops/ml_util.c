#include "ops/ml_util.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

bool hone_post_parse(const hone_node *n, hone_post *out) {
    static const char *const names[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
    const hone_attr *a = hone_attr_find(n, "post_transform");
    *out = HONE_POST_NONE;
    if (!a)
        return true;
    if (a->kind == HONE_ATTR_INT && a->i >= HONE_POST_NONE && a->i <= HONE_POST_PROBIT) {
        *out = (hone_post)a->i;
        return true;
    }
    const char *text = hone_attr_string(n, "post_transform", "");
    for (int i = 0; i <= HONE_POST_PROBIT; ++i) {
        if (strcmp(text, names[i]) == 0) {
            *out = (hone_post)i;
            return true;
        }
    }
    return false;
}

double hone_logistic(double v) {
    double e = 1 / (1 + exp(-fabs(v)));
    return v < 0 ? 1 - e : e;
}

/* Inverse of erf by the approximation of S. Winitzki, "A handy approximation for the error function
 * and its inverse" (2008), a = 0.147: what other runtimes compute for PROBIT. */
static double inverse_erf(double x) {
    const double a = 0.147, pi = 3.14159;
    double log_part = log((1 - x) * (1 + x));
    double v = 2 / (pi * a) + 0.5 * log_part;
    double r = sqrt(-v + sqrt(v * v - log_part / a));
    return x < 0 ? -r : r;
}

double hone_probit(double v) {
    return 1.41421356237309504880 * inverse_erf(2 * v - 1);
}

static double max_of(const double *s, int64_t n) {
    double m = s[0];
    for (int64_t i = 1; i < n; ++i)
        m = s[i] > m ? s[i] : m;
    return m;
}

/* keep_zeros: scores that are (almost) zero are not raised to exp(0). */
static void softmax(double *s, int64_t n, bool keep_zeros) {
    double m = max_of(s, n), sum = 0;
    for (int64_t i = 0; i < n; ++i) {
        if (keep_zeros && fabs(s[i]) <= 1e-7) {
            s[i] *= exp(-m);
        } else {
            s[i] = exp(s[i] - m);
            sum += s[i];
        }
    }
    for (int64_t i = 0; i < n; ++i)
        s[i] /= sum;
}

void hone_post_apply(hone_post p, double *s, int64_t n) {
    if (n == 0)
        return;
    if (p == HONE_POST_SOFTMAX || p == HONE_POST_SOFTMAX_ZERO) {
        softmax(s, n, p == HONE_POST_SOFTMAX_ZERO);
    } else if (p == HONE_POST_LOGISTIC) {
        for (int64_t i = 0; i < n; ++i)
            s[i] = hone_logistic(s[i]);
    } else if (p == HONE_POST_PROBIT) {
        for (int64_t i = 0; i < n; ++i)
            s[i] = hone_probit(s[i]);
    }
}

int64_t hone_post_scores(hone_post p, hone_second second, double *s, int64_t n) {
    if (n != 1) {
        hone_post_apply(p, s, n);
        return n;
    }
    if (p == HONE_POST_PROBIT) {
        s[0] = hone_probit(s[0]);
        return 1;
    }
    if (second == HONE_SECOND_NONE)
        return 1;
    double v = s[0];
    bool is_logistic = p == HONE_POST_LOGISTIC;
    s[0] = is_logistic ? hone_logistic(-v) : second == HONE_SECOND_COMPLEMENT ? 1 - v : -v;
    s[1] = is_logistic ? hone_logistic(v) : v;
    return 2;
}

hone_labels hone_labels_of(const hone_node *n, const char *ints, const char *strings) {
    hone_labels l = {0};
    l.n = hone_attr_strings(n, strings, &l.strings);
    if (l.n == 0) {
        l.strings = NULL;
        l.n = hone_attr_ints(n, ints, &l.ints);
    }
    return l;
}

hone_dtype hone_labels_dtype(const hone_labels *l) {
    return l->strings ? HONE_DTYPE_STRING : HONE_DTYPE_I64;
}

hone_status hone_labels_set(hone_op_ctx *c, hone_tensor *t, int64_t i, const hone_labels *l,
                            int64_t k) {
    if (!t)
        return HONE_OK;
    bool is_known = k >= 0 && k < l->n;
    if (!l->strings) {
        ((int64_t *)t->data)[i] = is_known && l->ints ? l->ints[k] : k;
        return HONE_OK;
    }
    if (is_known)
        return hone_string_set(t, i, l->strings[k].data, l->strings[k].len, c->err);
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, k);
    return hone_string_set(t, i, text, (size_t)len, c->err);
}

hone_status hone_rows_of(hone_op_ctx *c, const hone_tensor *t, int64_t *rows, int64_t *cols) {
    if (!t || t->kind != HONE_KIND_TENSOR || t->rank < 1 || t->rank > 2)
        return hone_op_fail(c, HONE_E_SHAPE, "the input must be a [N,C] or [C] tensor");
    if (!hone_dtype_in(t->dtype, HONE_T_NUM))
        return hone_op_bad_type(c, t->dtype);
    *rows = t->rank == 1 ? 1 : t->dims[0];
    *cols = t->dims[t->rank - 1];
    return HONE_OK;
}

int64_t hone_infer_rows(const hone_type *t) {
    if (t->kind != HONE_KIND_TENSOR || t->rank < 1)
        return HONE_DIM_UNKNOWN;
    return t->rank == 1 ? 1 : t->dims[0];
}

#define LOAD(type)                                                                                 \
    for (int64_t i = 0; i < n; ++i)                                                                \
        out[i] = (double)((const type *)t->data)[at + i];

void hone_load_row(const hone_tensor *t, int64_t at, int64_t n, double *out) {
    switch (t->dtype) {
    case HONE_DTYPE_F32:
        LOAD(float)
        break;
    case HONE_DTYPE_F64:
        LOAD(double)
        break;
    case HONE_DTYPE_I64:
        LOAD(int64_t)
        break;
    case HONE_DTYPE_I32:
        LOAD(int32_t)
        break;
    default:
        for (int64_t i = 0; i < n; ++i)
            out[i] = hone_load_f64(t->dtype, t->data, at + i);
    }
}
