/* Preparation of features: Scaler, Normalizer, Binarizer, Imputer, OneHotEncoder,
 * FeatureVectorizer, ArrayFeatureExtractor (ai.onnx.ml). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/ml_util.h"
#include "ops/place.h"

hone_status hone_infer_ml_same(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0))
        hone_infer_same(c, 0, 0);
    return HONE_OK;
}

hone_status hone_infer_ml_float_same(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0))
        hone_infer_set(c, 0, HONE_DTYPE_F32, c->in[0].rank, c->in[0].dims);
    else
        hone_infer_set(c, 0, HONE_DTYPE_F32, -1, NULL);
    return HONE_OK;
}

/* Any shape as rows along the last dim. */
static hone_status any_rows(hone_op_ctx *c, const hone_tensor *x, int64_t *rows, int64_t *cols,
                            double **row) {
    *cols = x->rank ? x->dims[x->rank - 1] : 1;
    *rows = *cols ? hone_tensor_count(x) / *cols : 0;
    *row = hone_op_scratch(c, (size_t)*cols * sizeof **row + 1);
    return *row ? HONE_OK : HONE_E_NOMEM;
}

static hone_status check_length(hone_op_ctx *c, const char *name, int n, int64_t cols) {
    if (n == 1 || n == cols)
        return HONE_OK;
    return hone_op_fail(c, HONE_E_SHAPE, "%s has %d values, but 1 or %" PRId64 " are needed", name,
                        n, cols);
}

hone_status hone_ref_ml_scaler(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    float *y = hone_out(c, 0)->data;
    const float *scale, *offset;
    int64_t rows = 0, cols = 0;
    double *row;
    HONE_TRY(any_rows(c, x, &rows, &cols, &row));
    int n_scale = hone_attr_floats(c->node, "scale", &scale);
    int n_offset = hone_attr_floats(c->node, "offset", &offset);
    if (rows > 0) {
        HONE_TRY(check_length(c, "scale", n_scale, cols));
        HONE_TRY(check_length(c, "offset", n_offset, cols));
    }
    for (int64_t r = 0; r < rows; ++r) {
        hone_load_row(x, r * cols, cols, row);
        for (int64_t k = 0; k < cols; ++k)
            y[r * cols + k] = (float)((row[k] - (double)offset[n_offset == 1 ? 0 : k]) *
                                      (double)scale[n_scale == 1 ? 0 : k]);
    }
    return HONE_OK;
}

/* The divisor of a row; for L2 the sum of squares. */
static double row_norm(char norm, const double *row, int64_t n) {
    double v = norm == 'M' ? -HUGE_VAL : 0;
    for (int64_t k = 0; k < n; ++k) {
        if (norm == 'M')
            v = row[k] > v ? row[k] : v;
        else
            v += norm == '1' ? fabs(row[k]) : row[k] * row[k];
    }
    return norm == '2' ? sqrt(v) : v;
}

hone_status hone_ref_ml_normalizer(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    const char *name = hone_attr_string(c->node, "norm", "MAX");
    char norm = strcmp(name, "MAX") == 0  ? 'M'
                : strcmp(name, "L1") == 0 ? '1'
                : strcmp(name, "L2") == 0 ? '2'
                                          : 0;
    float *y = hone_out(c, 0)->data;
    int64_t rows = 0, cols = 0;
    double *row;
    if (!norm)
        return hone_op_fail(c, HONE_E_FORMAT, "norm must be MAX, L1 or L2, not %s", name);
    HONE_TRY(any_rows(c, x, &rows, &cols, &row));
    for (int64_t r = 0; r < rows; ++r) {
        hone_load_row(x, r * cols, cols, row);
        double by = row_norm(norm, row, cols);
        by = by == 0 ? 1 : by;
        for (int64_t k = 0; k < cols; ++k)
            y[r * cols + k] = (float)(row[k] / by);
    }
    return HONE_OK;
}

#define BINARIZE(type)                                                                             \
    for (int64_t i = 0; i < n; ++i)                                                                \
        ((type *)y)[i] = (double)((const type *)x->data)[i] > threshold ? 1 : 0;

hone_status hone_ref_ml_binarizer(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    void *y = hone_out(c, 0)->data;
    double threshold = (double)hone_attr_float(c->node, "threshold", 0);
    int64_t n = hone_tensor_count(x);
    switch (x->dtype) {
    case HONE_DTYPE_F32:
        BINARIZE(float)
        return HONE_OK;
    case HONE_DTYPE_F64:
        BINARIZE(double)
        return HONE_OK;
    case HONE_DTYPE_I64:
        BINARIZE(int64_t)
        return HONE_OK;
    case HONE_DTYPE_I32:
        BINARIZE(int32_t)
        return HONE_OK;
    default:
        return hone_op_bad_type(c, x->dtype);
    }
}

/* IS_MISSING(v) decides; NaN marks NaN. */
#define IMPUTE(type, is_missing)                                                                   \
    for (int64_t i = 0; i < n; ++i) {                                                              \
        type v = ((const type *)x->data)[i];                                                       \
        ((type *)y)[i] = (is_missing) ? (type)values[n_values == 1 ? 0 : i % cols] : v;            \
    }

static hone_status impute_floats(hone_op_ctx *c, const hone_tensor *x, int64_t cols) {
    void *y = hone_out(c, 0)->data;
    const float *values;
    int n_values = hone_attr_floats(c->node, "imputed_value_floats", &values);
    float missing = hone_attr_float(c->node, "replaced_value_float", 0);
    int64_t n = hone_tensor_count(x);
    if (n > 0)
        HONE_TRY(check_length(c, "imputed_value_floats", n_values, cols));
    bool nan = isnan(missing);
    if (x->dtype == HONE_DTYPE_F32)
        IMPUTE(float, v == missing || (nan && isnan(v)))
    else
        IMPUTE(double, v == (double)missing || (nan && isnan(v)))
    return HONE_OK;
}

static hone_status impute_ints(hone_op_ctx *c, const hone_tensor *x, int64_t cols) {
    void *y = hone_out(c, 0)->data;
    const int64_t *values;
    int n_values = hone_attr_ints(c->node, "imputed_value_int64s", &values);
    int64_t missing = hone_attr_int(c->node, "replaced_value_int64", 0);
    int64_t n = hone_tensor_count(x);
    if (n > 0)
        HONE_TRY(check_length(c, "imputed_value_int64s", n_values, cols));
    if (x->dtype == HONE_DTYPE_I64)
        IMPUTE(int64_t, v == missing)
    else
        IMPUTE(int32_t, v == missing)
    return HONE_OK;
}

hone_status hone_ref_ml_imputer(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    int64_t cols = x->rank ? x->dims[x->rank - 1] : 1;
    if (hone_dtype_in(x->dtype, HONE_T(F32) | HONE_T(F64)))
        return impute_floats(c, x, cols);
    if (hone_dtype_in(x->dtype, HONE_T(I64) | HONE_T(I32)))
        return impute_ints(c, x, cols);
    return hone_op_bad_type(c, x->dtype);
}

/* ---- OneHotEncoder ----------------------------------------------------------------------------
 */

hone_status hone_infer_ml_one_hot(hone_infer_ctx *c) {
    hone_labels l = hone_labels_of(c->node, "cats_int64s", "cats_strings");
    int64_t dims[HONE_MAX_RANK];
    int rank = hone_infer_has(c, 0) ? c->in[0].rank : -1;
    if (rank >= HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %d is beyond the limit", rank + 1);
    for (int i = 0; i < rank; ++i)
        dims[i] = c->in[0].dims[i];
    if (rank >= 0)
        dims[rank] = l.n;
    hone_infer_set(c, 0, HONE_DTYPE_F32, rank < 0 ? -1 : rank + 1, dims);
    return HONE_OK;
}

static int find_category(const hone_labels *l, const hone_tensor *x, int64_t i) {
    if (l->strings) {
        for (int k = 0; k < l->n; ++k) {
            if (hone_string_equal(l->strings[k], ((const hone_string *)x->data)[i]))
                return k;
        }
        return -1;
    }
    int64_t v = hone_load_i64(x->dtype, x->data, i);
    for (int k = 0; k < l->n; ++k) {
        if (l->ints[k] == v)
            return k;
    }
    return -1;
}

hone_status hone_ref_ml_one_hot(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_labels l = hone_labels_of(c->node, "cats_int64s", "cats_strings");
    bool zeros = hone_attr_int(c->node, "zeros", 1) != 0;
    float *y = hone_out(c, 0)->data;
    if ((x->dtype == HONE_DTYPE_STRING) != (l.strings != NULL))
        return hone_op_fail(c, HONE_E_TYPE, "the categories do not have the input's type");
    for (int64_t i = 0, n = hone_tensor_count(x); i < n; ++i) {
        int k = find_category(&l, x, i);
        memset(y + i * l.n, 0, (size_t)l.n * sizeof *y);
        if (k >= 0)
            y[i * l.n + k] = 1;
        else if (!zeros)
            return hone_op_fail(c, HONE_E_RUNTIME, "element %" PRId64 " has an unknown category",
                                i);
    }
    return HONE_OK;
}

/* ---- FeatureVectorizer ------------------------------------------------------------------------
 */

static bool total_width(const hone_node *n, int n_in, int64_t *total) {
    const int64_t *widths;
    *total = 0;
    if (hone_attr_ints(n, "inputdimensions", &widths) != n_in)
        return false;
    for (int i = 0; i < n_in; ++i) {
        if (widths[i] < 0 || __builtin_add_overflow(*total, widths[i], total))
            return false;
    }
    return true;
}

hone_status hone_infer_ml_vectorizer(hone_infer_ctx *c) {
    int64_t dims[2];
    if (!total_width(c->node, c->n_in, &dims[1]))
        return hone_infer_fail(c, HONE_E_FORMAT, "inputdimensions must list %d widths", c->n_in);
    dims[0] = hone_infer_rows(&c->in[0]);
    hone_infer_set(c, 0, HONE_DTYPE_F32, 2, dims);
    return HONE_OK;
}

hone_status hone_ref_ml_vectorizer(hone_op_ctx *c) {
    const int64_t *widths;
    hone_attr_ints(c->node, "inputdimensions", &widths);
    hone_tensor *out = hone_out(c, 0);
    float *y = out->data;
    int64_t at = 0, total = out->dims[1];
    if (hone_tensor_bytes(out))
        memset(y, 0, hone_tensor_bytes(out));
    for (int i = 0; i < c->n_in; ++i) {
        const hone_tensor *x = hone_in(c, i);
        int64_t rows = 0, cols = 0;
        HONE_TRY(hone_rows_of(c, x, &rows, &cols));
        if (rows != out->dims[0])
            return hone_op_fail(c, HONE_E_SHAPE,
                                "input %d has %" PRId64 " rows, input 0 has %" PRId64, i, rows,
                                out->dims[0]);
        int64_t n = cols < widths[i] ? cols : widths[i];
        for (int64_t r = 0; r < rows; ++r) {
            for (int64_t k = 0; k < n; ++k)
                y[r * total + at + k] = (float)hone_load_f64(x->dtype, x->data, r * cols + k);
        }
        at += widths[i];
    }
    return HONE_OK;
}

/* ---- ArrayFeatureExtractor --------------------------------------------------------------------
 */

hone_status hone_infer_ml_extractor(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *x = &c->in[0];
    int64_t dims[HONE_MAX_RANK], n = HONE_DIM_UNKNOWN;
    if (x->rank == 0)
        return hone_infer_fail(c, HONE_E_SHAPE, "a scalar has no features");
    if (hone_infer_has(c, 1) && c->in[1].rank >= 0) {
        n = 1;
        for (int i = 0; i < c->in[1].rank; ++i) {
            int64_t d = c->in[1].dims[i];
            if (d < 0 || n < 0 || __builtin_mul_overflow(n, d, &n))
                n = HONE_DIM_UNKNOWN;
        }
    }
    int rank = x->rank == 1 ? 2 : x->rank;
    for (int i = 0; i < rank - 1; ++i)
        dims[i] = x->rank == 1 ? 1 : x->dims[i];
    if (rank > 0)
        dims[rank - 1] = n;
    hone_infer_set(c, 0, x->dtype, rank, dims);
    return HONE_OK;
}

hone_status hone_ref_ml_extractor(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0), *y = hone_in(c, 1);
    int64_t cols = x->dims[x->rank - 1], n = hone_tensor_count(y);
    const int64_t *index = y->data;
    if (y->dtype != HONE_DTYPE_I64)
        return hone_op_bad_type(c, y->dtype);
    for (int64_t k = 0; k < n; ++k) {
        if (index[k] < 0 || index[k] >= cols)
            return hone_op_fail(c, HONE_E_RUNTIME,
                                "index %" PRId64 " is outside the %" PRId64 " features", index[k],
                                cols);
    }
    int64_t rows = hone_dims_count(x->dims, 0, x->rank - 1);
    if (n == 0)
        return HONE_OK;
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t k = 0; k < n; ++k)
            HONE_TRY(hone_place(c, hone_out(c, 0), r * n + k, x, r * cols + index[k], 1));
    }
    return HONE_OK;
}
