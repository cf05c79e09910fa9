/* Transposes: see kernels/transpose.h. */
#include <string.h>

#include "kernels/transpose.h"

/* y[i * out + j] = x[j * in + i] for a block of n_i x n_j, element by element. Blocks of a few
 * columns or rows, as channel shuffles have them, get loops of a constant length. */
#define TR_SCALAR(type, name)                                                                      \
    VEC_INLINE void name##_few_j(const type *x, int64_t in, type *y, int64_t n_i, int64_t n_j) {   \
        for (int64_t i = 0; i < n_i; ++i) {                                                        \
            for (int64_t j = 0; j < n_j; ++j)                                                      \
                y[i * n_j + j] = x[j * in + i];                                                    \
        }                                                                                          \
    }                                                                                              \
    VEC_INLINE void name##_few_i(const type *x, type *y, int64_t out, int64_t n_i, int64_t n_j) {  \
        for (int64_t j = 0; j < n_j; ++j) {                                                        \
            for (int64_t i = 0; i < n_i; ++i)                                                      \
                y[i * out + j] = x[j * n_i + i];                                                   \
        }                                                                                          \
    }                                                                                              \
    static void name(const type *restrict x, int64_t in, type *restrict y, int64_t out,            \
                     int64_t n_i, int64_t n_j) {                                                   \
        if (out == n_j && n_j == 2) {                                                              \
            name##_few_j(x, in, y, n_i, 2);                                                        \
        } else if (out == n_j && n_j == 3) {                                                       \
            name##_few_j(x, in, y, n_i, 3);                                                        \
        } else if (out == n_j && n_j == 4) {                                                       \
            name##_few_j(x, in, y, n_i, 4);                                                        \
        } else if (in == n_i && n_i == 2) {                                                        \
            name##_few_i(x, y, out, 2, n_j);                                                       \
        } else if (in == n_i && n_i == 3) {                                                        \
            name##_few_i(x, y, out, 3, n_j);                                                       \
        } else {                                                                                   \
            for (int64_t i = 0; i < n_i; ++i) {                                                    \
                for (int64_t j = 0; j < n_j; ++j)                                                  \
                    y[i * out + j] = x[j * in + i];                                                \
            }                                                                                      \
        }                                                                                          \
    }
TR_SCALAR(uint8_t, tr_scalar_1)
TR_SCALAR(uint16_t, tr_scalar_2)
TR_SCALAR(uint32_t, tr_scalar_4)
TR_SCALAR(uint64_t, tr_scalar_8)
#undef TR_SCALAR

static void tr_scalar(int size, const char *x, int64_t in, char *y, int64_t out, int64_t n_i,
                      int64_t n_j) {
    switch (size) {
    case 1:
        tr_scalar_1((const uint8_t *)x, in, (uint8_t *)y, out, n_i, n_j);
        break;
    case 2:
        tr_scalar_2((const uint16_t *)(const void *)x, in, (uint16_t *)(void *)y, out, n_i, n_j);
        break;
    case 4:
        tr_scalar_4((const uint32_t *)(const void *)x, in, (uint32_t *)(void *)y, out, n_i, n_j);
        break;
    default:
        tr_scalar_8((const uint64_t *)(const void *)x, in, (uint64_t *)(void *)y, out, n_i, n_j);
        break;
    }
}

/* Small sub-blocks, so that the lines read by one are still cached when the next needs them. */
static void tr_block(int size, const char *x, int64_t in, char *y, int64_t out, int64_t n_i,
                     int64_t n_j) {
    const int64_t sub = size == 4 && VW > 1 ? VW : 16;
    if ((out == n_j && n_j <= 4) || (in == n_i && n_i <= 3)) {
        tr_scalar(size, x, in, y, out, n_i, n_j);
        return;
    }
    for (int64_t i = 0; i < n_i; i += sub) {
        int64_t m = n_i - i < sub ? n_i - i : sub;
        for (int64_t j = 0; j < n_j; j += sub) {
            int64_t n = n_j - j < sub ? n_j - j : sub;
            const char *from = x + (j * in + i) * size;
            char *to = y + (i * out + j) * size;
            if (VW > 1 && size == 4 && m == VW && n == VW)
                vf_transpose((const float *)(const void *)from, in, (float *)(void *)to, out);
            else
                tr_scalar(size, from, in, to, out, m, n);
        }
    }
}

static void tr_task(const hone_transpose *t, const char *x, char *y, int64_t task) {
    int last = t->rank - 1, unit = t->unit;
    int64_t in = 0, out = 0, n_i = 1, n_j = t->dims[last];
    int64_t n = (t->dims[last] + HONE_TRANSPOSE_TILE_J - 1) / HONE_TRANSPOSE_TILE_J;
    int64_t j = task % n * HONE_TRANSPOSE_TILE_J;
    task /= n;
    n_j = n_j - j < HONE_TRANSPOSE_TILE_J ? n_j - j : HONE_TRANSPOSE_TILE_J;
    in = j * t->strides[last];
    out = j;
    for (int d = last - 1; d >= 0; --d) {
        int64_t tile = d == unit ? HONE_TRANSPOSE_TILE_I : 1;
        n = (t->dims[d] + tile - 1) / tile;
        int64_t at = task % n * tile;
        task /= n;
        in += at * t->strides[d];
        out += at * t->out_strides[d];
        if (d == unit)
            n_i = t->dims[d] - at < tile ? t->dims[d] - at : tile;
    }
    x += in * t->size;
    y += out * t->size;
    tr_block(t->size, x, t->strides[last], y, t->out_strides[unit], n_i, n_j);
}

/* Rows that stay whole: a walk over the input by strides. */
static void tr_rows(const hone_transpose *t, const char *x, char *y, int64_t begin, int64_t end) {
    int last = t->rank - 1;
    int64_t at[HONE_TRANSPOSE_MAX_RANK], in = 0, rest = begin, bytes = t->dims[last] * t->size;
    for (int d = last - 1; d >= 0; --d) {
        at[d] = rest % t->dims[d];
        rest /= t->dims[d];
        in += at[d] * t->strides[d];
    }
    for (int64_t row = begin; row < end; ++row) {
        memcpy(y + row * bytes, x + in * t->size, (size_t)bytes);
        for (int d = last - 1; d >= 0; --d) {
            in += t->strides[d];
            if (++at[d] < t->dims[d])
                break;
            in -= t->dims[d] * t->strides[d];
            at[d] = 0;
        }
    }
}

static void transpose_run(const hone_transpose *t, const void *x, void *y, int64_t begin,
                          int64_t end) {
    if (t->unit == t->rank - 1) {
        tr_rows(t, x, y, begin, end);
        return;
    }
    for (int64_t task = begin; task < end; ++task)
        tr_task(t, x, y, task);
}
