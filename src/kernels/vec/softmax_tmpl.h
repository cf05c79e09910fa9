/* Softmax: see kernels/softmax.h. */
#include <math.h>

#include "kernels/softmax.h"

/* y = exp(x - top), returning the sum, which is blocked by 128 vectors for accuracy. */
static float softmax_exp(const float *x, float *y, int64_t n, float top) {
    const vf t = vf_set1(top);
    vf total = vf_set1(0.0f);
    int64_t i = 0;
    while (i + VW <= n) {
        int64_t stop = n - i < 128 * VW ? n : i + 128 * VW;
        vf sum = vf_set1(0.0f);
        for (; i + VW <= stop; i += VW) {
            vf e = vf_exp(vf_sub(vf_load(x + i), t));
            sum = vf_add(sum, e);
            if (y)
                vf_store(y + i, e);
        }
        total = vf_add(total, sum);
    }
    float rest = 0;
    if (i < n) {
        float lane[VW];
        vf_store(lane, vf_exp(vf_sub(vf_load_n(x + i, n - i), t)));
        for (int64_t k = 0; k < n - i; ++k)
            rest += lane[k];
        if (y)
            vf_store_n(y + i, vf_load(lane), n - i);
    }
    return vf_hsum(total) + rest;
}

/* y = x * factor + offset */
static void softmax_affine(const float *x, float *y, int64_t n, float factor, float offset) {
    const vf f = vf_set1(factor), o = vf_set1(offset);
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        vf_store(y + i, vf_fma(vf_load(x + i), f, o));
    if (i < n)
        vf_store_n(y + i, vf_fma(vf_load_n(x + i, n - i), f, o), n - i);
}

static void softmax_shift(const float *x, float *y, int64_t n, float top, float log_sum) {
    const vf t = vf_set1(top), l = vf_set1(log_sum);
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        vf_store(y + i, vf_sub(vf_sub(vf_load(x + i), t), l));
    if (i < n)
        vf_store_n(y + i, vf_sub(vf_sub(vf_load_n(x + i, n - i), t), l), n - i);
}

static void softmax_row(const float *x, float *y, int64_t n, bool is_log) {
    float top = red_row(HONE_REDUCE_MAX, x, n);
    float sum = softmax_exp(x, is_log ? NULL : y, n, top);
    if (is_log)
        softmax_shift(x, y, n, top, logf(sum));
    else
        softmax_affine(y, y, n, 1.0f / sum, 0.0f);
}

/* `lanes` neighbouring lines at once. */
VEC_INLINE void softmax_lines(const float *x, float *y, int64_t n, int64_t stride, bool is_log,
                              int64_t lanes) {
#define AT(p) (lanes < VW ? vf_load_n((p) + j * stride, lanes) : vf_load((p) + j * stride))
#define PUT(v)                                                                                     \
    do {                                                                                           \
        if (lanes < VW)                                                                            \
            vf_store_n(y + j * stride, v, lanes);                                                  \
        else                                                                                       \
            vf_store(y + j * stride, v);                                                           \
    } while (0)
    vf top = vf_set1(-__builtin_inff()), sum = vf_set1(0.0f);
    for (int64_t j = 0; j < n; ++j)
        top = red_step(HONE_REDUCE_MAX, top, AT(x));
    for (int64_t j = 0; j < n; ++j) {
        vf e = vf_exp(vf_sub(AT(x), top));
        sum = vf_add(sum, e);
        if (!is_log)
            PUT(e);
    }
    vf last = is_log ? vf_log(sum) : vf_div(vf_set1(1.0f), sum);
    for (int64_t j = 0; j < n; ++j)
        PUT(is_log ? vf_sub(vf_sub(AT(x), top), last) : vf_mul(AT(y), last));
#undef AT
#undef PUT
}

/* Rows shorter than a vector: a row in every lane. */
enum { SOFTMAX_SHORT = 16 };
static void softmax_short_rows(const float *x, float *y, int64_t n, bool is_log, int64_t begin,
                               int64_t end) {
    float lanes[SOFTMAX_SHORT * VW] = {0};
    for (int64_t i = begin; i < end; i += VW) {
        int64_t rows = end - i < VW ? end - i : VW;
        for (int64_t r = 0; r < rows; ++r) {
            for (int64_t j = 0; j < n; ++j)
                lanes[j * VW + r] = x[(i + r) * n + j];
        }
        softmax_lines(lanes, lanes, n, VW, is_log, VW);
        for (int64_t r = 0; r < rows; ++r) {
            for (int64_t j = 0; j < n; ++j)
                y[(i + r) * n + j] = lanes[j * VW + r];
        }
    }
}

static void softmax_run(const float *x, float *y, int64_t n, int64_t inner, bool is_log,
                        int64_t begin, int64_t end) {
    if (n <= 0)
        return;
    if (inner == 1 && n <= SOFTMAX_SHORT) {
        softmax_short_rows(x, y, n, is_log, begin, end);
        return;
    }
    if (inner == 1) {
        for (int64_t i = begin; i < end; ++i)
            softmax_row(x + i * n, y + i * n, n, is_log);
        return;
    }
    for (int64_t i = begin; i < end;) {
        int64_t column = i % inner, lanes = inner - column, at = (i / inner) * n * inner + column;
        lanes = end - i < lanes ? end - i : lanes;
        lanes = lanes < VW ? lanes : VW;
        softmax_lines(x + at, y + at, n, inner, is_log, lanes);
        i += lanes;
    }
}
