/* The attention core, for both float types, and what the attention operators share. */
#include "ops/attend.h"

#include <inttypes.h>
#include <math.h>

/* Queries of a parallel task. */
#define ATTEND_BLOCK 16

#define REAL          float
#define ATTEND_(name) f32_##name
#define DOT           hone_dot_f32
#define VECMAT        hone_vecmat_f32
#define REAL_EXP      expf
#define REAL_TANH     tanhf
#include "ops/attend_tmpl.h"
#undef REAL
#undef ATTEND_
#undef DOT
#undef VECMAT
#undef REAL_EXP
#undef REAL_TANH
#define REAL          double
#define ATTEND_(name) f64_##name
#define DOT           hone_dot_f64
#define VECMAT        hone_vecmat_f64
#define REAL_EXP      exp
#define REAL_TANH     tanh
#include "ops/attend_tmpl.h"

hone_status hone_attend_run(hone_op_ctx *c, const hone_attend *a, hone_dtype real) {
    return real == HONE_DTYPE_F64 ? f64_run(c, a) : f32_run(c, a);
}

const void *hone_attend_mask(hone_op_ctx *c, const hone_tensor *t, hone_dtype real, bool *ok) {
    if (!t || t->dtype != HONE_DTYPE_BOOL)
        return hone_op_widen(c, t, real, ok);
    int64_t n = hone_tensor_count(t);
    const uint8_t *m = t->data;
    void *p = hone_op_array(c, n, real == HONE_DTYPE_F64 ? sizeof(double) : sizeof(float));
    if (!p)
        *ok = false;
    for (int64_t i = 0; p && i < n; ++i) {
        if (real == HONE_DTYPE_F64)
            ((double *)p)[i] = m[i] ? 0 : -INFINITY;
        else
            ((float *)p)[i] = m[i] ? 0 : -INFINITY;
    }
    return p;
}

hone_status hone_attend_mask_dims(hone_op_ctx *c, const hone_tensor *t, const int64_t full[4],
                                  bool short_keys, int64_t at[4]) {
    int64_t stride = 1;
    if (t->rank > 4)
        return hone_op_fail(c, HONE_E_SHAPE, "the attention mask has rank %d, at most 4 is allowed",
                            t->rank);
    for (int axis = 3; axis >= 0; --axis) {
        int from = axis - (4 - t->rank);
        int64_t dim = from < 0 ? 1 : t->dims[from];
        bool fits = dim == full[axis] || dim == 1 || (axis == 3 && short_keys && dim < full[3]);
        if (!fits)
            return hone_op_fail(c, HONE_E_SHAPE,
                                "dim %d of the attention mask is %" PRId64
                                ", which does not broadcast to %" PRId64,
                                from, dim, full[axis]);
        at[axis] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return HONE_OK;
}

void hone_attend_concat(hone_dtype real, int64_t n_batch, int64_t n_heads, int64_t size,
                        const void *past, int64_t n_past, const void *fresh, hone_bhs fresh_at,
                        int64_t n_new, void *to) {
    size_t elem = real == HONE_DTYPE_F64 ? sizeof(double) : sizeof(float);
    size_t row = (size_t)size * elem;
    if (row == 0)
        return;
    char *at = to;
    for (int64_t head = 0; head < n_batch * n_heads; ++head) {
        if (n_past > 0)
            memcpy(at, (const char *)past + (size_t)(head * n_past) * row, (size_t)n_past * row);
        at += (size_t)n_past * row;
        int64_t from = head / n_heads * fresh_at.b + head % n_heads * fresh_at.h;
        for (int64_t s = 0; s < n_new; ++s, at += row)
            memcpy(at, (const char *)fresh + (size_t)(from + s * fresh_at.s) * elem, row);
    }
}

void hone_rope_f32(const float *x, const float *cos_row, const float *sin_row, int64_t n,
                   bool interleaved, float *y) {
    int64_t half = n / 2, step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;
    for (int64_t i = 0; i < half; ++i) {
        float a = x[i * step], b = x[i * step + apart];
        y[i * step] = cos_row[i] * a - sin_row[i] * b;
        y[i * step + apart] = sin_row[i] * a + cos_row[i] * b;
    }
}
