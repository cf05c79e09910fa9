/* LabelEncoder and CategoryMapper (ai.onnx.ml): element-wise look-up in a table of pairs. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/ml_util.h"

/* Keys or values of any type as a tensor view. */
static bool read_list(const hone_node *n, const char *base, hone_tensor *out) {
    char name[48];
    const int64_t *ints;
    const float *floats;
    const hone_string *strings;
    int64_t count;
    const struct {
        const char *suffix;
        hone_dtype dtype;
    } kinds[] = {
        {"_strings", HONE_DTYPE_STRING}, {"_int64s", HONE_DTYPE_I64}, {"_floats", HONE_DTYPE_F32}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i) {
        const void *data = NULL;
        strcpy(name, base);
        strcat(name, kinds[i].suffix);
        if (kinds[i].dtype == HONE_DTYPE_STRING) {
            count = hone_attr_strings(n, name, &strings);
            data = strings;
        } else if (kinds[i].dtype == HONE_DTYPE_I64) {
            count = hone_attr_ints(n, name, &ints);
            data = ints;
        } else {
            count = hone_attr_floats(n, name, &floats);
            data = floats;
        }
        if (data) {
            *out = hone_tensor_view(kinds[i].dtype, 1, &count, data);
            return true;
        }
    }
    strcpy(name, base);
    strcat(name, "_tensor");
    const hone_tensor *t = hone_attr_tensor(n, name);
    if (!t)
        return false;
    *out = *t;
    out->owner = NULL;
    return true;
}

/* The table of a node: pairs, what else there is, and the index that finds a key. */
typedef struct label_table {
    hone_tensor keys, values;
    hone_tensor missing; /* one element of the values' type */
    int64_t n;
    int32_t *slot; /* open addressing: pair number + 1, 0 free */
    uint64_t mask;
    int64_t missing_int;
    int32_t missing_i32;
    int16_t missing_i16;
    float missing_float;
    double missing_double;
    hone_string missing_string;
} label_table;

/* Elements with equal keys hash equally: -0 and 0, all NaN. */
static uint64_t hash_key(const hone_tensor *t, int64_t i) {
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    unsigned char bytes[8];
    const unsigned char *p = bytes;
    size_t n = sizeof bytes;
    if (t->dtype == HONE_DTYPE_STRING) {
        const hone_string *s = (const hone_string *)t->data + i;
        p = (const unsigned char *)s->data;
        n = s->len;
    } else if (hone_dtype_is_float(t->dtype)) {
        double v = hone_load_f64(t->dtype, t->data, i);
        v = isnan(v) ? 0.5 : v == 0 ? 0 : v;
        memcpy(bytes, &v, sizeof v);
    } else {
        int64_t v = hone_load_i64(t->dtype, t->data, i);
        memcpy(bytes, &v, sizeof v);
    }
    for (size_t k = 0; k < n; ++k)
        h = (h ^ p[k]) * 1099511628211u;
    return h ^ (h >> 29);
}

static bool same_key(const hone_tensor *a, int64_t i, const hone_tensor *b, int64_t k) {
    if (a->dtype == HONE_DTYPE_STRING)
        return hone_string_equal(((const hone_string *)a->data)[i],
                                 ((const hone_string *)b->data)[k]);
    if (hone_dtype_is_float(a->dtype)) {
        double x = hone_load_f64(a->dtype, a->data, i), y = hone_load_f64(b->dtype, b->data, k);
        return x == y || (isnan(x) && isnan(y));
    }
    return hone_load_i64(a->dtype, a->data, i) == hone_load_i64(b->dtype, b->data, k);
}

static uint64_t find_slot(const label_table *t, const hone_tensor *x, int64_t i) {
    uint64_t at = hash_key(x, i) & t->mask;
    while (t->slot[at] && !same_key(&t->keys, t->slot[at] - 1, x, i))
        at = (at + 1) & t->mask;
    return at;
}

/* A repeated key: the last pair wins, or the first. */
static hone_status build_index(hone_op_ctx *c, label_table *t, bool last_wins) {
    t->n = hone_tensor_count(&t->keys);
    if (t->n != hone_tensor_count(&t->values))
        return hone_op_fail(c, HONE_E_FORMAT, "there are %" PRId64 " keys but %" PRId64 " values",
                            t->n, hone_tensor_count(&t->values));
    if (t->n > INT32_MAX / 4)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "%" PRId64 " keys are too many", t->n);
    uint64_t size = 16;
    while (size < (uint64_t)t->n * 2)
        size *= 2;
    t->mask = size - 1;
    t->slot = hone_op_scratch(c, size * sizeof *t->slot);
    if (!t->slot)
        return HONE_E_NOMEM;
    memset(t->slot, 0, size * sizeof *t->slot);
    for (int64_t i = 0; i < t->n; ++i) {
        uint64_t at = find_slot(t, &t->keys, i);
        if (!t->slot[at] || last_wins)
            t->slot[at] = (int32_t)(i + 1);
    }
    return HONE_OK;
}

static hone_status look_up(hone_op_ctx *c, const label_table *t) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    if (x->dtype != t->keys.dtype)
        return hone_op_fail(c, HONE_E_TYPE, "the input is %s, but the keys are %s",
                            hone_dtype_name(x->dtype), hone_dtype_name(t->keys.dtype));
    for (int64_t i = 0, n = hone_tensor_count(x); i < n; ++i) {
        int32_t pair = t->slot[find_slot(t, x, i)];
        const hone_tensor *from = pair ? &t->values : &t->missing;
        int64_t k = pair ? pair - 1 : 0;
        if (y->dtype == HONE_DTYPE_STRING) {
            hone_string s = ((const hone_string *)from->data)[k];
            HONE_TRY(hone_string_set(y, i, s.data, s.len, c->err));
        } else {
            hone_copy_elems(y->dtype, y->data, i, from->data, k, 1);
        }
    }
    return HONE_OK;
}

/* The string attribute, with its length. */
static hone_string string_attr(const hone_node *n, const char *name, hone_string missing) {
    const hone_attr *a = hone_attr_find(n, name);
    return a && a->kind == HONE_ATTR_STRING ? a->s : missing;
}

static hone_status set_missing(hone_op_ctx *c, label_table *t) {
    const hone_node *n = c->node;
    const hone_tensor *given = hone_attr_tensor(n, "default_tensor");
    t->missing_int = hone_attr_int(n, "default_int64", -1);
    t->missing_i32 = -1;
    t->missing_i16 = -1;
    t->missing_float = hone_attr_float(n, "default_float", -0.0f);
    t->missing_double = (double)t->missing_float;
    t->missing_string = string_attr(n, "default_string", (hone_string){"_Unused", 7});
    if (given) {
        if (given->dtype != t->values.dtype || hone_tensor_count(given) != 1)
            return hone_op_fail(c, HONE_E_TYPE, "default_tensor must be one %s",
                                hone_dtype_name(t->values.dtype));
        t->missing = *given;
        return HONE_OK;
    }
    const void *data = t->values.dtype == HONE_DTYPE_STRING ? (const void *)&t->missing_string
                       : t->values.dtype == HONE_DTYPE_I64  ? (const void *)&t->missing_int
                       : t->values.dtype == HONE_DTYPE_I32  ? (const void *)&t->missing_i32
                       : t->values.dtype == HONE_DTYPE_I16  ? (const void *)&t->missing_i16
                       : t->values.dtype == HONE_DTYPE_F32  ? (const void *)&t->missing_float
                       : t->values.dtype == HONE_DTYPE_F64  ? (const void *)&t->missing_double
                                                            : NULL;
    if (!data)
        return hone_op_bad_type(c, t->values.dtype);
    t->missing = hone_tensor_view(t->values.dtype, 0, NULL, data);
    return HONE_OK;
}

/* LabelEncoder of opset 1: a list of classes, to and from their positions. */
static bool is_class_list(const hone_node *n, hone_tensor *classes) {
    const hone_string *s;
    int64_t count = hone_attr_strings(n, "classes_strings", &s);
    if (s)
        *classes = hone_tensor_view(HONE_DTYPE_STRING, 1, &count, s);
    return s != NULL;
}

hone_status hone_infer_ml_label(hone_infer_ctx *c) {
    hone_tensor values;
    hone_dtype d;
    bool is_known = hone_infer_has(c, 0);
    if (is_class_list(c->node, &values))
        d = !is_known                             ? HONE_DTYPE_NONE
            : c->in[0].dtype == HONE_DTYPE_STRING ? HONE_DTYPE_I64
                                                  : HONE_DTYPE_STRING;
    else if (read_list(c->node, "values", &values))
        d = values.dtype;
    else
        return hone_infer_fail(c, HONE_E_FORMAT, "a values_* attribute is needed");
    if (d != HONE_DTYPE_NONE)
        hone_infer_set(c, 0, d, is_known ? c->in[0].rank : -1, c->in[0].dims);
    return HONE_OK;
}

static hone_status map_positions(hone_op_ctx *c, label_table *t, const hone_tensor *classes) {
    int64_t n = hone_tensor_count(classes);
    int64_t *number = hone_op_scratch(c, (size_t)n * sizeof *number + 1);
    if (!number)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < n; ++i)
        number[i] = i;
    hone_tensor positions = hone_tensor_view(HONE_DTYPE_I64, 1, &n, number);
    bool to_int = hone_in(c, 0)->dtype == HONE_DTYPE_STRING;
    t->keys = to_int ? *classes : positions;
    t->values = to_int ? positions : *classes;
    return HONE_OK;
}

hone_status hone_ref_ml_label(hone_op_ctx *c) {
    label_table t = {0};
    hone_tensor classes;
    if (is_class_list(c->node, &classes))
        HONE_TRY(map_positions(c, &t, &classes));
    else if (!read_list(c->node, "keys", &t.keys) || !read_list(c->node, "values", &t.values))
        return hone_op_fail(c, HONE_E_FORMAT, "keys_* and values_* attributes are needed");
    HONE_TRY(set_missing(c, &t));
    HONE_TRY(build_index(c, &t, true));
    return look_up(c, &t);
}

/* ---- CategoryMapper ---------------------------------------------------------------------------
 */

hone_status hone_infer_ml_category(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || c->in[0].dtype == HONE_DTYPE_NONE)
        return HONE_OK;
    bool to_int = c->in[0].dtype == HONE_DTYPE_STRING;
    hone_infer_set(c, 0, to_int ? HONE_DTYPE_I64 : HONE_DTYPE_STRING, c->in[0].rank, c->in[0].dims);
    return HONE_OK;
}

hone_status hone_ref_ml_category(hone_op_ctx *c) {
    const hone_node *n = c->node;
    bool to_int = hone_in(c, 0)->dtype == HONE_DTYPE_STRING;
    label_table t = {0};
    const hone_string *s;
    const int64_t *k;
    int64_t n_s = hone_attr_strings(n, "cats_strings", &s);
    int64_t n_k = hone_attr_ints(n, "cats_int64s", &k);
    hone_tensor strings = hone_tensor_view(HONE_DTYPE_STRING, 1, &n_s, s);
    hone_tensor ints = hone_tensor_view(HONE_DTYPE_I64, 1, &n_k, k);
    t.keys = to_int ? strings : ints;
    t.values = to_int ? ints : strings;
    HONE_TRY(set_missing(c, &t));
    HONE_TRY(build_index(c, &t, true));
    return look_up(c, &t);
}
