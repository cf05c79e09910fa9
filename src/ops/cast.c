/* Cast, CastLike and BitCast. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/op.h"

enum { NUMBER_TEXT = 64 };

typedef enum round_mode { ROUND_UP, ROUND_DOWN, ROUND_NEAREST } round_mode;

typedef struct cast_job {
    const hone_tensor *in;
    hone_tensor *out;
    bool saturate;
    round_mode mode;
} cast_job;

/* ---- between numbers --------------------------------------------------------------------------
 */

/* E8M0 holds powers of two: the exponent of x, rounded as `round_mode` says. */
static uint8_t to_e8m0(float x, bool saturate, round_mode mode) {
    if (isnan(x) || (x == 0 && !saturate))
        return 255;
    x = fabsf(x);
    if (isinf(x))
        return saturate ? 254 : 255;
    if (x == 0)
        return 0;
    int exponent;
    float fraction = frexpf(x, &exponent); /* x = fraction * 2^exponent, fraction in [0.5, 1) */
    int e = exponent - 1 + 127;
    if (mode == ROUND_UP)
        e += fraction > 0.5f;
    else if (mode == ROUND_NEAREST)
        e += fraction >= 0.75f;
    if (e < 0)
        return saturate ? 0 : 255;
    if (e > 254)
        return saturate ? 254 : 255;
    return (uint8_t)e;
}

static void set_nibble(void *data, int64_t i, uint8_t v) {
    uint8_t *byte = &((uint8_t *)data)[i / 2];
    *byte = (uint8_t)(i % 2 ? (*byte & 0x0f) | (v << 4) : (*byte & 0xf0) | (v & 0x0f));
}

static void store_float(const cast_job *j, int64_t i, double v) {
    hone_dtype d = j->out->dtype;
    uint8_t *bytes = j->out->data;
    if (d == HONE_DTYPE_F8E8M0)
        bytes[i] = to_e8m0((float)v, j->saturate, j->mode);
    else if (hone_dtype_in(d, HONE_T_F8))
        bytes[i] = hone_f8_from_f32(d, (float)v, j->saturate);
    else if (d == HONE_DTYPE_F4E2M1)
        set_nibble(bytes, i, hone_f8_from_f32(d, (float)v, true));
    else
        hone_store_f64(d, bytes, i, v);
}

#define FAST(D1, T1, D2, T2, expr)                                                                 \
    if (j->in->dtype == HONE_DTYPE_##D1 && j->out->dtype == HONE_DTYPE_##D2) {                     \
        const T1 *src = j->in->data;                                                               \
        T2 *dst = j->out->data;                                                                    \
        for (int64_t i = begin; i < end; ++i) {                                                    \
            T1 x = src[i];                                                                         \
            dst[i] = (T2)(expr);                                                                   \
        }                                                                                          \
        return true;                                                                               \
    }

/* The pairs that models use between layers. */
static bool fast_range(const cast_job *j, int64_t begin, int64_t end) {
    FAST(I64, int64_t, F32, float, x)
    FAST(I32, int32_t, F32, float, x)
    FAST(U8, uint8_t, F32, float, x)
    FAST(BOOL, uint8_t, F32, float, x != 0)
    FAST(BOOL, uint8_t, I64, int64_t, x != 0)
    FAST(BOOL, uint8_t, I32, int32_t, x != 0)
    FAST(I64, int64_t, I32, int32_t, x)
    FAST(I32, int32_t, I64, int64_t, x)
    FAST(I64, int64_t, BOOL, uint8_t, x != 0)
    FAST(I32, int32_t, BOOL, uint8_t, x != 0)
    FAST(F32, float, BOOL, uint8_t, x != 0)
    FAST(F32, float, F64, double, x)
    FAST(F64, double, F32, float, x)
    FAST(F32, float, BF16, uint16_t, hone_bf16_from_f32(x))
    FAST(BF16, uint16_t, F32, float, hone_bf16_to_f32(x))
    FAST(F32, float, F16, uint16_t, hone_f16_from_f32(x))
    FAST(F16, uint16_t, F32, float, hone_f16_to_f32(x))
    return false;
}

/* Integers to and from integers keep all bits; everything else goes through double. */
static void cast_range(const cast_job *j, int64_t begin, int64_t end) {
    hone_dtype from = j->in->dtype, to = j->out->dtype;
    if (fast_range(j, begin, end))
        return;
    bool from_int = !hone_dtype_is_float(from) && !hone_dtype_in(from, HONE_T_COMPLEX);
    bool to_int = !hone_dtype_is_float(to) && !hone_dtype_in(to, HONE_T_COMPLEX);
    for (int64_t i = begin; i < end; ++i) {
        if (from_int && to_int)
            hone_store_i64(to, j->out->data, i, hone_load_i64(from, j->in->data, i));
        else
            store_float(j, i, hone_load_f64(from, j->in->data, i));
    }
}

enum { GRAIN = 1 << 15 }; /* a multiple of what shares a byte */

static void cast_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const cast_job *j = arg;
    int64_t begin = task * GRAIN, n = hone_tensor_count(j->in);
    cast_range(j, begin, begin + GRAIN < n ? begin + GRAIN : n);
}

/* ---- strings ----------------------------------------------------------------------------------
 */

static void format_number(hone_dtype d, const void *data, int64_t i, char *text) {
    if (d == HONE_DTYPE_U64) {
        snprintf(text, NUMBER_TEXT, "%" PRIu64, ((const uint64_t *)data)[i]);
    } else if (d == HONE_DTYPE_BOOL) {
        snprintf(text, NUMBER_TEXT, "%s", ((const uint8_t *)data)[i] ? "True" : "False");
    } else if (!hone_dtype_is_float(d)) {
        snprintf(text, NUMBER_TEXT, "%" PRId64, hone_load_i64(d, data, i));
    } else {
        double v = hone_load_f64(d, data, i);
        if (isnan(v) || isinf(v)) {
            snprintf(text, NUMBER_TEXT, "%s", isnan(v) ? "NaN" : v > 0 ? "INF" : "-INF");
            return;
        }
        /* The shortest text that reads back as the same number. */
        int most = d == HONE_DTYPE_F64 ? 17 : 9;
        for (int digits = 1; digits <= most; ++digits) {
            snprintf(text, NUMBER_TEXT, "%.*g", digits, v);
            double back = strtod(text, NULL);
            if (d == HONE_DTYPE_F64 ? back == v : (float)back == (float)v)
                return;
        }
    }
}

static hone_status to_strings(hone_op_ctx *c, const hone_tensor *in, hone_tensor *out) {
    for (int64_t i = 0, n = hone_tensor_count(in); i < n; ++i) {
        char text[NUMBER_TEXT];
        format_number(in->dtype, in->data, i, text);
        HONE_TRY(hone_string_set(out, i, text, strlen(text), c->err));
    }
    return HONE_OK;
}

static hone_status from_strings(hone_op_ctx *c, const cast_job *j) {
    const hone_string *s = j->in->data;
    hone_dtype d = j->out->dtype;
    for (int64_t i = 0, n = hone_tensor_count(j->in); i < n; ++i) {
        char text[NUMBER_TEXT], *end = text;
        size_t len = s[i].len < NUMBER_TEXT ? s[i].len : 0;
        if (len)
            memcpy(text, s[i].data, len);
        text[len] = '\0';
        if (hone_dtype_is_float(d)) {
            store_float(j, i, strtod(text, &end));
        } else {
            int64_t whole = (int64_t)(d == HONE_DTYPE_U64 ? strtoull(text, &end, 10)
                                                          : (uint64_t)strtoll(text, &end, 10));
            if (*end == '.' || *end == 'e' || *end == 'E')
                hone_store_f64(d, j->out->data, i, strtod(text, &end));
            else
                hone_store_i64(d, j->out->data, i, whole);
        }
        if (len == 0 || *end != '\0')
            return hone_op_fail(c, HONE_E_RUNTIME, "string element %" PRId64 " is not a number", i);
    }
    return HONE_OK;
}

/* ---- the operators ----------------------------------------------------------------------------
 */

static round_mode mode_of(const hone_node *n) {
    const char *text = hone_attr_string(n, "round_mode", "up");
    return strcmp(text, "down") == 0      ? ROUND_DOWN
           : strcmp(text, "nearest") == 0 ? ROUND_NEAREST
                                          : ROUND_UP;
}

static hone_status copy_all(hone_op_ctx *c, const hone_tensor *in, hone_tensor *out) {
    if (in->dtype == HONE_DTYPE_STRING) {
        const hone_string *s = in->data;
        for (int64_t i = 0, n = hone_tensor_count(in); i < n; ++i)
            HONE_TRY(hone_string_set(out, i, s[i].data, s[i].len, c->err));
    } else if (out->data != in->data && hone_tensor_bytes(in)) {
        memcpy(out->data, in->data, hone_tensor_bytes(in));
    }
    return HONE_OK;
}

hone_status hone_ref_cast(hone_op_ctx *c) {
    cast_job j = {
        .in = hone_in(c, 0),
        .out = hone_out(c, 0),
        .saturate = hone_attr_int(c->node, "saturate", 1) != 0,
        .mode = mode_of(c->node),
    };
    if (j.in->dtype == j.out->dtype)
        return copy_all(c, j.in, j.out);
    if (j.out->dtype == HONE_DTYPE_STRING)
        return to_strings(c, j.in, j.out);
    if (j.in->dtype == HONE_DTYPE_STRING)
        return from_strings(c, &j);
    int64_t n = hone_tensor_count(j.in);
    hone_op_parallel(c, (n + GRAIN - 1) / GRAIN, cast_task, &j);
    return HONE_OK;
}

static hone_status infer_to(hone_infer_ctx *c, int64_t to) {
    if (to <= 0 || to >= HONE_DTYPE_COUNT)
        return hone_infer_fail(c, HONE_E_TYPE, "there is no type number %" PRId64, to);
    if (!hone_infer_has(c, 0)) {
        hone_infer_set(c, 0, (hone_dtype)to, -1, NULL);
        return HONE_OK;
    }
    hone_infer_same(c, 0, 0);
    c->out[0].dtype = (hone_dtype)to;
    if (c->in[0].contents && hone_dtype_in(c->out[0].dtype, HONE_T_INT)) {
        c->out[0].contents = c->in[0].contents;
        c->out[0].n_contents = c->in[0].n_contents;
    }
    return HONE_OK;
}

hone_status hone_infer_cast(hone_infer_ctx *c) {
    return infer_to(c, hone_attr_int(c->node, "to", 0));
}

hone_status hone_infer_cast_like(hone_infer_ctx *c) {
    if (hone_infer_has(c, 1) && c->in[1].dtype)
        return infer_to(c, c->in[1].dtype);
    return HONE_OK;
}

/* ---- BitCast ----------------------------------------------------------------------------------
 */

hone_status hone_infer_bit_cast(hone_infer_ctx *c) {
    int64_t to = hone_attr_int(c->node, "to", 0);
    HONE_TRY(infer_to(c, to));
    c->out[0].contents = NULL;
    hone_dtype from = c->in[0].dtype;
    if (from && (from == HONE_DTYPE_STRING || to == HONE_DTYPE_STRING ||
                 hone_dtype_bits(from) != hone_dtype_bits((hone_dtype)to)))
        return hone_infer_fail(c, HONE_E_TYPE, "%s and %s do not have the same number of bits",
                               hone_dtype_name(from), hone_dtype_name((hone_dtype)to));
    return HONE_OK;
}

hone_status hone_ref_bit_cast(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    if (out->data != in->data && hone_tensor_bytes(in))
        memcpy(out->data, in->data, hone_tensor_bytes(in));
    return HONE_OK;
}
