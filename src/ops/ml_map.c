/* Operators on maps: ZipMap, DictVectorizer, CastMap (ai.onnx.ml). A map is a value of kind MAP:
 * two tensors, keys and values, of one dim each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ml_util.h"
#include "ops/place.h"

/* ---- ZipMap -----------------------------------------------------------------------------------
 */

hone_status hone_infer_ml_zipmap(hone_infer_ctx *c) {
    static const hone_type map = {.kind = HONE_KIND_MAP, .rank = -1};
    if (c->n_out > 0)
        c->out[0] = (hone_type){.kind = HONE_KIND_SEQUENCE, .rank = -1, .elem = &map};
    return HONE_OK;
}

static hone_status make_keys(hone_op_ctx *c, const hone_labels *l, hone_tensor *keys) {
    int64_t n = l->n;
    *keys = hone_tensor_view(hone_labels_dtype(l), 1, &n, NULL);
    hone_status status = hone_tensor_alloc(c->alloc, keys, c->err);
    for (int64_t i = 0; i < n && status == HONE_OK; ++i)
        status = hone_labels_set(c, keys, i, l, i);
    if (status != HONE_OK)
        hone_tensor_release(keys);
    return status;
}

/* One map of the shared keys and row r of x. */
static hone_status make_map(hone_op_ctx *c, const hone_tensor *keys, const hone_tensor *x,
                            int64_t r, hone_tensor *map) {
    int64_t n = keys->dims[0];
    const hone_tensor row = hone_tensor_view(HONE_DTYPE_F32, 1, &n, (const float *)x->data + r * n);
    *map = (hone_tensor){.kind = HONE_KIND_MAP, .rank = 1, .dims = {n}};
    HONE_TRY(hone_tensor_alloc(c->alloc, map, c->err));
    hone_status status = hone_seq_set(c->alloc, map, 0, keys, c->err);
    if (status == HONE_OK)
        status = hone_seq_set(c->alloc, map, 1, &row, c->err);
    if (status != HONE_OK)
        hone_tensor_release(map);
    return status;
}

static hone_status zip_rows(hone_op_ctx *c, const hone_tensor *keys, int64_t rows) {
    HONE_TRY(hone_put_sequence(c, 0, rows));
    for (int64_t r = 0; r < rows; ++r) {
        hone_tensor map;
        HONE_TRY(make_map(c, keys, hone_in(c, 0), r, &map));
        hone_status status = hone_seq_set(c->alloc, hone_out(c, 0), r, &map, c->err);
        hone_tensor_release(&map);
        HONE_TRY(status);
    }
    return HONE_OK;
}

hone_status hone_ref_ml_zipmap(hone_op_ctx *c) {
    hone_labels l = hone_labels_of(c->node, "classlabels_int64s", "classlabels_strings");
    int64_t rows = 0, cols = 0;
    HONE_TRY(hone_rows_of(c, hone_in(c, 0), &rows, &cols));
    if (hone_in(c, 0)->dtype != HONE_DTYPE_F32)
        return hone_op_bad_type(c, hone_in(c, 0)->dtype);
    if (cols != l.n || l.n == 0)
        return hone_op_fail(c, HONE_E_SHAPE, "there are %" PRId64 " columns but %d class labels",
                            cols, l.n);
    hone_tensor keys;
    HONE_TRY(make_keys(c, &l, &keys));
    hone_status status = zip_rows(c, &keys, rows);
    hone_tensor_release(&keys);
    return status;
}

/* ---- DictVectorizer ---------------------------------------------------------------------------
 */

/* The keys and values of input 0, checked. */
static hone_status read_map(hone_op_ctx *c, const hone_tensor **keys, const hone_tensor **values) {
    const hone_tensor *m = hone_in(c, 0);
    *keys = NULL;
    *values = NULL;
    if (m && m->kind == HONE_KIND_MAP) {
        *keys = hone_seq_at(m, 0);
        *values = hone_seq_at(m, 1);
    }
    if (!*keys || !*values || (*keys)->kind != HONE_KIND_TENSOR ||
        (*values)->kind != HONE_KIND_TENSOR ||
        hone_tensor_count(*keys) != hone_tensor_count(*values))
        return hone_op_fail(c, HONE_E_TYPE, "input 0 must be a map");
    return HONE_OK;
}

hone_status hone_infer_ml_dict(hone_infer_ctx *c) {
    (void)c; /* the type of the values is that of the map, which types do not tell */
    return HONE_OK;
}

static int64_t find_label(const hone_labels *l, const hone_tensor *keys, int64_t i) {
    for (int k = 0; k < l->n; ++k) {
        if (l->strings ? hone_string_equal(l->strings[k], ((const hone_string *)keys->data)[i])
                       : l->ints[k] == ((const int64_t *)keys->data)[i])
            return k;
    }
    return -1;
}

hone_status hone_ref_ml_dict(hone_op_ctx *c) {
    hone_labels l = hone_labels_of(c->node, "int64_vocabulary", "string_vocabulary");
    const hone_tensor *keys, *values;
    HONE_TRY(read_map(c, &keys, &values));
    if (keys->dtype != hone_labels_dtype(&l))
        return hone_op_fail(c, HONE_E_TYPE, "the map's keys are %s, the vocabulary's %s",
                            hone_dtype_name(keys->dtype), hone_dtype_name(hone_labels_dtype(&l)));
    int64_t dims[2] = {1, l.n};
    hone_tensor *y = hone_out(c, 0);
    hone_tensor_release(y);
    HONE_TRY(hone_op_alloc(c, 0, values->dtype, 2, dims));
    if (hone_tensor_bytes(y) && y->dtype != HONE_DTYPE_STRING)
        memset(y->data, 0, hone_tensor_bytes(y));
    for (int64_t i = 0, n = hone_tensor_count(keys); i < n; ++i) {
        int64_t k = find_label(&l, keys, i);
        if (k >= 0) /* other keys are ignored */
            HONE_TRY(hone_place(c, y, k, values, i, 1));
    }
    return HONE_OK;
}

/* ---- CastMap ----------------------------------------------------------------------------------
 */

static bool cast_target(const hone_node *n, hone_dtype *d) {
    const char *to = hone_attr_string(n, "cast_to", "TO_FLOAT");
    *d = strcmp(to, "TO_FLOAT") == 0    ? HONE_DTYPE_F32
         : strcmp(to, "TO_STRING") == 0 ? HONE_DTYPE_STRING
         : strcmp(to, "TO_INT64") == 0  ? HONE_DTYPE_I64
                                        : HONE_DTYPE_NONE;
    return *d != HONE_DTYPE_NONE;
}

hone_status hone_infer_ml_cast_map(hone_infer_ctx *c) {
    hone_dtype d;
    if (!cast_target(c->node, &d))
        return hone_infer_fail(c, HONE_E_FORMAT, "cast_to must be TO_FLOAT, TO_STRING or TO_INT64");
    hone_infer_set(c, 0, d, 2, (int64_t[]){1, HONE_DIM_UNKNOWN});
    return HONE_OK;
}

/* y[at] = values[i], converted. */
static hone_status cast_value(hone_op_ctx *c, hone_tensor *y, int64_t at, const hone_tensor *values,
                              int64_t i) {
    char text[64];
    if (values->dtype == y->dtype)
        return hone_place(c, y, at, values, i, 1);
    if (y->dtype == HONE_DTYPE_STRING) {
        int len = snprintf(text, sizeof text, "%f", hone_load_f64(values->dtype, values->data, i));
        return hone_string_set(y, at, text, (size_t)len, c->err);
    }
    double v = 0;
    if (values->dtype == HONE_DTYPE_STRING) {
        hone_string s = ((const hone_string *)values->data)[i];
        char *end = text;
        if (s.len > 0 && s.len < sizeof text) {
            memcpy(text, s.data, s.len);
            text[s.len] = 0;
            v = strtod(text, &end);
        }
        if (end == text)
            return hone_op_fail(c, HONE_E_RUNTIME, "a value of the map is no number");
    } else {
        v = hone_load_f64(values->dtype, values->data, i);
    }
    hone_store_f64(y->dtype, y->data, at, v);
    return HONE_OK;
}

typedef struct map_entry {
    int64_t key, at;
} map_entry;

static int by_key(const void *a, const void *b) {
    const map_entry *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static hone_status clear_output(hone_op_ctx *c, hone_tensor *y) {
    if (y->dtype == HONE_DTYPE_STRING) {
        for (int64_t i = 0; i < y->dims[1]; ++i)
            HONE_TRY(hone_string_set(y, i, "", 0, c->err));
    } else if (hone_tensor_bytes(y)) {
        memset(y->data, 0, hone_tensor_bytes(y));
    }
    return HONE_OK;
}

hone_status hone_ref_ml_cast_map(hone_op_ctx *c) {
    const hone_tensor *keys, *values;
    hone_tensor *y = hone_out(c, 0);
    hone_dtype d = HONE_DTYPE_NONE;
    cast_target(c->node, &d);
    HONE_TRY(read_map(c, &keys, &values));
    if (keys->dtype != HONE_DTYPE_I64)
        return hone_op_fail(c, HONE_E_TYPE, "the map's keys must be int64");
    bool is_sparse = strcmp(hone_attr_string(c->node, "map_form", "DENSE"), "SPARSE") == 0;
    int64_t n = hone_tensor_count(keys);
    int64_t dims[2] = {1, is_sparse ? hone_attr_int(c->node, "max_map", 1) : n};
    hone_tensor_release(y);
    HONE_TRY(hone_op_alloc(c, 0, d, 2, dims));
    HONE_TRY(clear_output(c, y));
    map_entry *e = hone_op_scratch(c, (size_t)n * sizeof *e + 1);
    if (!e)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < n; ++i)
        e[i] = (map_entry){((const int64_t *)keys->data)[i], i};
    if (n > 0)
        qsort(e, (size_t)n, sizeof *e, by_key);
    for (int64_t i = 0; i < n; ++i) {
        int64_t at = is_sparse ? e[i].key : i;
        if (at < 0 || at >= dims[1])
            return hone_op_fail(c, HONE_E_RUNTIME, "key %" PRId64 " is outside max_map %" PRId64,
                                at, dims[1]);
        HONE_TRY(cast_value(c, y, at, values, e[i].at));
    }
    return HONE_OK;
}
