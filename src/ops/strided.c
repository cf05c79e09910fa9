#include "ops/strided.h"

#include <string.h>

void hone_row_major(int rank, const int64_t *dims, int64_t *stride) {
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
        stride[i] = step;
        step *= dims[i];
    }
}

/* Drop dims of 1 and merge neighbours that continue each other in both views. */
static hone_strided collapse(const hone_strided *w) {
    hone_strided s = {.src_offset = w->src_offset, .dst_offset = w->dst_offset};
    for (int i = 0; i < w->rank; ++i) {
        if (w->dims[i] == 1)
            continue;
        int last = s.rank - 1;
        if (s.rank && s.src_stride[last] == w->src_stride[i] * w->dims[i] &&
            s.dst_stride[last] == w->dst_stride[i] * w->dims[i]) {
            s.dims[last] *= w->dims[i];
            s.src_stride[last] = w->src_stride[i];
            s.dst_stride[last] = w->dst_stride[i];
            continue;
        }
        s.dims[s.rank] = w->dims[i];
        s.src_stride[s.rank] = w->src_stride[i];
        s.dst_stride[s.rank++] = w->dst_stride[i];
    }
    if (s.rank == 0) {
        s.dims[0] = 1;
        s.src_stride[0] = s.dst_stride[0] = 1;
        s.rank = 1;
    }
    return s;
}

#define COPY_LOOP(T)                                                                               \
    do {                                                                                           \
        const T *from = (const T *)src + so;                                                       \
        T *to = (T *)dst + d_o;                                                                    \
        if (ss == 0) {                                                                             \
            T x = *from;                                                                           \
            for (int64_t i = 0; i < n; ++i)                                                        \
                to[i * ds] = x;                                                                    \
        } else {                                                                                   \
            for (int64_t i = 0; i < n; ++i)                                                        \
                to[i * ds] = from[i * ss];                                                         \
        }                                                                                          \
    } while (0)

typedef struct wide_elem {
    uint64_t part[2];
} wide_elem; /* complex128 and strings */

static void copy_row(hone_dtype d, void *dst, int64_t d_o, int64_t ds, const void *src, int64_t so,
                     int64_t ss, int64_t n) {
    if (ss == 1 && ds == 1) {
        hone_copy_elems(d, dst, d_o, src, so, n);
        return;
    }
    switch (hone_dtype_bits(d)) {
    case 8:
        COPY_LOOP(uint8_t);
        break;
    case 16:
        COPY_LOOP(uint16_t);
        break;
    case 32:
        COPY_LOOP(uint32_t);
        break;
    case 64:
        COPY_LOOP(uint64_t);
        break;
    case 128:
        COPY_LOOP(wide_elem);
        break;
    default:
        for (int64_t i = 0; i < n; ++i)
            hone_copy_elems(d, dst, d_o + i * ds, src, so + i * ss, 1);
        break;
    }
}

typedef struct strided_job {
    hone_strided walk;
    hone_dtype dtype;
    void *dst;
    const void *src;
    int64_t rows, chunk; /* rows: index over all dims but the last */
} strided_job;

/* Rows of a whole number of bytes that lie together in both views; short ones, as slices of the
 * innermost axis have them, by copies of a constant size. */
#define COPY_SHORT(size)                                                                           \
    case size:                                                                                     \
        for (int64_t i = 0; i < rows; ++i)                                                         \
            memcpy(dst + i * dst_step, src + i * src_step, size);                                  \
        break
static void copy_dense_rows(char *dst, int64_t dst_step, const char *src, int64_t src_step,
                            int64_t rows, int64_t bytes) {
    switch (bytes) {
        COPY_SHORT(1);
        COPY_SHORT(2);
        COPY_SHORT(4);
        COPY_SHORT(8);
        COPY_SHORT(12);
        COPY_SHORT(16);
        COPY_SHORT(24);
        COPY_SHORT(32);
    default:
        for (int64_t i = 0; i < rows; ++i)
            memcpy(dst + i * dst_step, src + i * src_step, (size_t)bytes);
        break;
    }
}

/* `rows` rows along the last dimension but one, from the given offsets on. */
static void copy_rows(const strided_job *j, int64_t so, int64_t d_o, int64_t rows) {
    const hone_strided *w = &j->walk;
    int last = w->rank - 1;
    int64_t n = w->dims[last], ss = last ? w->src_stride[last - 1] : 0,
            ds = last ? w->dst_stride[last - 1] : 0, size = hone_dtype_bits(j->dtype) / 8;
    if (w->src_stride[last] == 1 && w->dst_stride[last] == 1 && size > 0) {
        copy_dense_rows((char *)j->dst + d_o * size, ds * size, (const char *)j->src + so * size,
                        ss * size, rows, n * size);
        return;
    }
    for (int64_t i = 0; i < rows; ++i)
        copy_row(j->dtype, j->dst, d_o + i * ds, w->dst_stride[last], j->src, so + i * ss,
                 w->src_stride[last], n);
}

static void strided_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const strided_job *j = arg;
    const hone_strided *w = &j->walk;
    int last = w->rank - 1;
    int64_t end = (task + 1) * j->chunk < j->rows ? (task + 1) * j->chunk : j->rows;
    for (int64_t row = task * j->chunk, count; row < end; row += count) {
        int64_t so = w->src_offset, d_o = w->dst_offset, rest = row;
        count = end - row;
        for (int d = last - 1; d >= 0; --d) {
            int64_t index = rest % w->dims[d];
            rest /= w->dims[d];
            so += index * w->src_stride[d];
            d_o += index * w->dst_stride[d];
            if (d == last - 1 && count > w->dims[d] - index)
                count = w->dims[d] - index;
        }
        copy_rows(j, so, d_o, count);
    }
}

/* Elements were copied as views of the source's bytes: give them bytes of their own. */
static hone_status own_strings(hone_op_ctx *c, hone_tensor *dst, const hone_strided *w,
                               int64_t offset, int depth) {
    for (int64_t i = 0; i < w->dims[depth]; ++i, offset += w->dst_stride[depth]) {
        if (depth + 1 < w->rank) {
            HONE_TRY(own_strings(c, dst, w, offset, depth + 1));
            continue;
        }
        hone_string s = ((const hone_string *)dst->data)[offset];
        HONE_TRY(hone_string_set(dst, offset, s.data, s.len, c->err));
    }
    return HONE_OK;
}

hone_status hone_strided_copy(hone_op_ctx *c, hone_tensor *dst, const hone_tensor *src,
                              const hone_strided *walk) {
    if (hone_dims_count(walk->dims, 0, walk->rank) == 0)
        return HONE_OK;
    strided_job j = {
        .walk = collapse(walk), .dtype = src->dtype, .dst = dst->data, .src = src->data};
    int64_t inner = j.walk.dims[j.walk.rank - 1];
    j.rows = hone_dims_count(j.walk.dims, 0, j.walk.rank - 1);
    enum { GRAIN = 1 << 16 };
    j.chunk = inner >= GRAIN ? 1 : GRAIN / inner;
    /* Neighbouring sub-byte elements share bytes: one thread. */
    if (hone_dtype_bits(src->dtype) < 8)
        j.chunk = j.rows;
    hone_op_parallel(c, (j.rows + j.chunk - 1) / j.chunk, strided_task, &j);
    if (src->dtype == HONE_DTYPE_STRING)
        return own_strings(c, dst, &j.walk, j.walk.dst_offset, 0);
    return HONE_OK;
}

hone_status hone_copy_data(hone_op_ctx *c, hone_tensor *dst, const hone_tensor *src) {
    if (dst->data == src->data)
        return HONE_OK;
    hone_strided w = {
        .rank = 1, .dims = {hone_tensor_count(src)}, .src_stride = {1}, .dst_stride = {1}};
    return hone_strided_copy(c, dst, src, &w);
}
