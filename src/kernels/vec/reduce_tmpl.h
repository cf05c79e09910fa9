/* Reductions: see kernels/reduce.h. */
#include "kernels/reduce.h"

VEC_INLINE float red_init(int op) {
    switch (op) {
    case HONE_REDUCE_MAX:
        return -__builtin_inff();
    case HONE_REDUCE_MIN:
        return __builtin_inff();
    case HONE_REDUCE_PROD:
        return 1.0f;
    default:
        return 0.0f;
    }
}

/* One more element. */
VEC_INLINE vf red_step(int op, vf acc, vf x) {
    switch (op) {
    case HONE_REDUCE_MAX:
        return vf_sel(vf_nan(acc), acc, vf_max(acc, x));
    case HONE_REDUCE_MIN:
        return vf_sel(vf_nan(acc), acc, vf_min(acc, x));
    case HONE_REDUCE_SUMSQ:
        return vf_fma(x, x, acc);
    case HONE_REDUCE_SUMABS:
        return vf_add(acc, vf_abs(x));
    case HONE_REDUCE_PROD:
        return vf_mul(acc, x);
    default:
        return vf_add(acc, x);
    }
}

/* Join two partial results. */
VEC_INLINE vf red_join(int op, vf a, vf b) {
    bool is_sum = op == HONE_REDUCE_SUMSQ || op == HONE_REDUCE_SUMABS;
    return red_step(is_sum ? HONE_REDUCE_SUM : op, a, b);
}

VEC_INLINE float red_lanes(int op, vf a) {
    float lane[VW];
    if (op != HONE_REDUCE_MAX && op != HONE_REDUCE_MIN && op != HONE_REDUCE_PROD)
        return vf_hsum(a);
    if (op != HONE_REDUCE_PROD && vm_any(vf_nan(a)))
        return __builtin_nanf("");
    if (op == HONE_REDUCE_MAX)
        return vf_hmax(a);
    if (op == HONE_REDUCE_MIN)
        return vf_hmin(a);
    vf_store(lane, a);
    for (int i = 1; i < VW; ++i)
        lane[0] *= lane[i];
    return lane[0];
}

VEC_INLINE vf red_tail(int op, vf acc, const float *x, int64_t n) {
    float lane[VW];
    for (int i = 0; i < VW; ++i)
        lane[i] = i < n ? x[i] : red_init(op);
    return red_step(op, acc, vf_load(lane));
}

/* A contiguous row, in blocks of 64 steps of four vectors. */
VEC_INLINE float red_row(int op, const float *x, int64_t n) {
    const int64_t block = 64 * 4 * VW;
    vf total = vf_set1(red_init(op));
    int64_t i = 0;
    while (i < n) {
        vf a[4];
        int64_t stop = n - i < block ? n : i + block;
        for (int k = 0; k < 4; ++k)
            a[k] = vf_set1(red_init(op));
        for (; i + 4 * VW <= stop; i += 4 * VW) {
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k)
                a[k] = red_step(op, a[k], vf_load(x + i + k * VW));
        }
        for (; i + VW <= stop; i += VW)
            a[0] = red_step(op, a[0], vf_load(x + i));
        if (i < stop)
            a[1] = red_tail(op, a[1], x + i, stop - i);
        i = stop;
        vf join = red_join(op, red_join(op, a[0], a[1]), red_join(op, a[2], a[3]));
        total = red_join(op, total, join);
    }
    return red_lanes(op, total);
}

/* `lanes` neighbouring columns of n rows at distance `stride`, in blocks of 128 rows. */
VEC_INLINE void red_columns(int op, const float *x, int64_t n, int64_t stride, int n_vectors,
                            int64_t lanes, float *y, float factor) {
    vf total[4];
    for (int k = 0; k < n_vectors; ++k)
        total[k] = vf_set1(red_init(op));
    for (int64_t j = 0; j < n;) {
        int64_t stop = n - j < 128 ? n : j + 128;
        vf a[4];
        for (int k = 0; k < n_vectors; ++k)
            a[k] = vf_set1(red_init(op));
        for (; j < stop; ++j) {
            const float *row = x + j * stride;
            for (int k = 0; k < n_vectors; ++k) {
                vf v = lanes < VW ? vf_load_n(row, lanes) : vf_load(row + k * VW);
                a[k] = red_step(op, a[k], v);
            }
        }
        for (int k = 0; k < n_vectors; ++k)
            total[k] = red_join(op, total[k], a[k]);
    }
    for (int k = 0; k < n_vectors; ++k) {
        vf v = op == HONE_REDUCE_MEAN ? vf_mul(total[k], vf_set1(factor)) : total[k];
        if (lanes < VW)
            vf_store_n(y, v, lanes);
        else
            vf_store(y + k * VW, v);
    }
}

VEC_INLINE void red_all(int op, const float *x, int64_t n, int64_t inner, float *y, int64_t begin,
                        int64_t end) {
    float factor = 1.0f / (float)n;
    if (inner == 1) {
        for (int64_t i = begin; i < end; ++i) {
            float r = red_row(op, x + i * n, n);
            y[i] = op == HONE_REDUCE_MEAN ? (n > 0 ? r * factor : __builtin_nanf("")) : r;
        }
        return;
    }
    for (int64_t i = begin; i < end;) {
        int64_t column = i % inner, left = inner - column;
        const float *from = x + (i / inner) * n * inner + column;
        left = end - i < left ? end - i : left;
        if (left >= 4 * VW) {
            red_columns(op, from, n, inner, 4, VW, y + i, factor);
            i += 4 * VW;
        } else {
            int64_t lanes = left < VW ? left : VW;
            red_columns(op, from, n, inner, 1, lanes, y + i, factor);
            i += lanes;
        }
    }
}

static void red_run(hone_reduce_op op, const float *x, int64_t n, int64_t inner, float *y,
                    int64_t begin, int64_t end) {
    switch (op) {
#define CASE(o)                                                                                    \
    case o:                                                                                        \
        red_all(o, x, n, inner, y, begin, end);                                                    \
        break;
        CASE(HONE_REDUCE_SUM)
        CASE(HONE_REDUCE_MEAN)
        CASE(HONE_REDUCE_MAX)
        CASE(HONE_REDUCE_MIN)
        CASE(HONE_REDUCE_SUMSQ)
        CASE(HONE_REDUCE_SUMABS)
        CASE(HONE_REDUCE_PROD)
#undef CASE
    default:
        break;
    }
}
