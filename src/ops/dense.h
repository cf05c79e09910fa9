/* Small dense loops over contiguous floats that the compiler vectorises, and widening of half
 * types; shared by the operator families with inner products (recurrent, attention, contrib). */
#ifndef HONE_OPS_DENSE_H
#define HONE_OPS_DENSE_H

#include <string.h>

#include "ir/op.h"

#define HONE_DENSE_DEFINE(real, sfx)                                                               \
    /* y[0..n) += sum over k of x[k] * w[k * ldw + 0..n) */                                        \
    static inline void hone_vecmat_##sfx(int64_t n, int64_t n_k, const real *x, const real *w,     \
                                         int64_t ldw, real *restrict y) {                          \
        int64_t k = 0;                                                                             \
        for (; k + 4 <= n_k; k += 4) {                                                             \
            const real *w0 = w + k * ldw, *w1 = w0 + ldw, *w2 = w1 + ldw, *w3 = w2 + ldw;          \
            real x0 = x[k], x1 = x[k + 1], x2 = x[k + 2], x3 = x[k + 3];                           \
            for (int64_t j = 0; j < n; ++j)                                                        \
                y[j] += x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j];                         \
        }                                                                                          \
        for (; k < n_k; ++k)                                                                       \
            for (int64_t j = 0; j < n; ++j)                                                        \
                y[j] += x[k] * w[k * ldw + j];                                                     \
    }                                                                                              \
    /* Inner product in 16 partial sums. */                                                        \
    static inline real hone_dot_##sfx(const real *a, const real *b, int64_t n) {                   \
        real s[16] = {0}, sum = 0;                                                                 \
        int64_t i = 0;                                                                             \
        for (; i + 16 <= n; i += 16)                                                               \
            for (int l = 0; l < 16; ++l)                                                           \
                s[l] += a[i + l] * b[i + l];                                                       \
        for (; i < n; ++i)                                                                         \
            sum += a[i] * b[i];                                                                    \
        for (int l = 0; l < 16; ++l)                                                               \
            sum += s[l];                                                                           \
        return sum;                                                                                \
    }                                                                                              \
    /* t[cols, rows] = transpose of w[rows, cols] */                                               \
    static inline void hone_transpose_##sfx(int64_t rows, int64_t cols, const real *w, real *t) {  \
        for (int64_t r0 = 0; r0 < rows; r0 += 16)                                                  \
            for (int64_t col = 0; col < cols; ++col)                                               \
                for (int64_t r = r0; r < rows && r < r0 + 16; ++r)                                 \
                    t[col * rows + r] = w[r * cols + col];                                         \
    }

HONE_DENSE_DEFINE(float, f32)
HONE_DENSE_DEFINE(double, f64)

/** n elements of a numeric array as float. */
static inline void hone_to_f32(hone_dtype d, const void *src, int64_t n, float *dst) {
    if (d == HONE_DTYPE_F32 && n > 0)
        memcpy(dst, src, (size_t)n * sizeof *dst);
    else if (d == HONE_DTYPE_F16)
        for (int64_t i = 0; i < n; ++i)
            dst[i] = hone_f16_to_f32(((const uint16_t *)src)[i]);
    else if (d == HONE_DTYPE_BF16)
        for (int64_t i = 0; i < n; ++i)
            dst[i] = hone_bf16_to_f32(((const uint16_t *)src)[i]);
    else
        for (int64_t i = 0; i < n; ++i)
            dst[i] = (float)hone_load_f64(d, src, i);
}

/** n floats into a numeric array, rounded once. */
static inline void hone_from_f32(hone_dtype d, void *dst, int64_t n, const float *src) {
    if (d == HONE_DTYPE_F32 && n > 0)
        memcpy(dst, src, (size_t)n * sizeof *src);
    else if (d == HONE_DTYPE_F16)
        for (int64_t i = 0; i < n; ++i)
            ((uint16_t *)dst)[i] = hone_f16_from_f32(src[i]);
    else if (d == HONE_DTYPE_BF16)
        for (int64_t i = 0; i < n; ++i)
            ((uint16_t *)dst)[i] = hone_bf16_from_f32(src[i]);
    else
        for (int64_t i = 0; i < n; ++i)
            hone_store_f64(d, dst, i, (double)src[i]);
}

/** Fails unless each input whose bit is set in `mask`, and output 0 where the operator must have
 * one, is there: a node may omit any of them. */
static inline hone_status hone_infer_need(hone_infer_ctx *c, uint32_t mask) {
    for (int i = 0; i < 32; ++i)
        if (((mask >> i) & 1) && (i >= c->n_in || !c->node->in[i]))
            return hone_infer_fail(c, HONE_E_FORMAT, "input %d is needed", i);
    if (c->node->op->min_out > 0 && (c->n_out < 1 || !c->node->out[0]))
        return hone_infer_fail(c, HONE_E_FORMAT, "output 0 is needed");
    return HONE_OK;
}

/** Scratch for n elements of `size` bytes, with an overflow check. */
static inline void *hone_op_array(hone_op_ctx *c, int64_t n, size_t size) {
    size_t bytes;
    if (n < 0 || !hone_mul_size((size_t)n, size, &bytes)) {
        hone_op_fail(c, HONE_E_NOMEM, "scratch memory larger than the address space");
        return NULL;
    }
    return hone_op_scratch(c, bytes ? bytes : 1);
}

/** t's elements as `real` (F32 or F64): its own data when it has that type, else a widened copy in
 * scratch; NULL when t is NULL. *ok becomes false when out of memory. */
static inline const void *hone_op_widen(hone_op_ctx *c, const hone_tensor *t, hone_dtype real,
                                        bool *ok) {
    if (!t || t->dtype == real)
        return t ? t->data : NULL;
    int64_t n = hone_tensor_count(t);
    void *p = hone_op_array(c, n, real == HONE_DTYPE_F64 ? sizeof(double) : sizeof(float));
    if (!p)
        *ok = false;
    else if (real == HONE_DTYPE_F32)
        hone_to_f32(t->dtype, t->data, n, p);
    else
        for (int64_t i = 0; i < n; ++i)
            ((double *)p)[i] = hone_load_f64(t->dtype, t->data, i);
    return p;
}

/** Where to compute output t as `real`: its own data when it has that type, else scratch; NULL when
 * t is NULL. hone_op_narrow() then rounds the result into place. */
static inline void *hone_op_wide_out(hone_op_ctx *c, const hone_tensor *t, hone_dtype real,
                                     bool *ok) {
    if (!t || t->dtype == real)
        return t ? t->data : NULL;
    void *p = hone_op_array(c, hone_tensor_count(t),
                            real == HONE_DTYPE_F64 ? sizeof(double) : sizeof(float));
    if (!p)
        *ok = false;
    return p;
}

static inline void hone_op_narrow(hone_tensor *t, hone_dtype real, const void *wide) {
    if (!t || t->dtype == real)
        return;
    int64_t n = hone_tensor_count(t);
    if (real == HONE_DTYPE_F32)
        hone_from_f32(t->dtype, t->data, n, wide);
    else
        for (int64_t i = 0; i < n; ++i)
            hone_store_f64(t->dtype, t->data, i, ((const double *)wide)[i]);
}

#endif
