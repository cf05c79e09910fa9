/* Levels of dims, outer ones first, each dense or with lists of the indices that are there (as in
 * CSR). Levels from the rank on are blocks: they continue the dim that block_map says. Source:
 * tensorflow/lite/schema/schema.fbs (SparsityParameters). */
#include "tflite/sparse.h"

#include <string.h>

enum { ORDER, BLOCK_MAP, DIMS };
enum { FORMAT, DENSE_SIZE, SEGMENTS_TYPE, SEGMENTS, INDICES_TYPE, INDICES };
enum { MAX_LEVELS = 2 * HONE_MAX_RANK };

/* Numbers of 32, 16 or 8 bits, by their kind in the schema: 1, 2, 3. */
typedef struct numbers {
    tfr_vector v;
    int64_t kind;
} numbers;

typedef struct level {
    bool is_sparse;
    int64_t size;
    numbers segments, indices;
    int dim; /* of the tensor */
} level;

typedef struct sparse {
    tfr_file *f;
    level levels[MAX_LEVELS];
    int n_levels, rank;
    int64_t dims[HONE_MAX_RANK];
    const uint8_t *stored;
    uint8_t *dense;
    size_t n_stored, element, next; /* elements */
} sparse;

static numbers read_numbers(tfr_flat *f, tfr_table t, int type_id, int id) {
    static const size_t sizes[] = {1, 4, 2, 1};
    numbers n = {.kind = tfr_u8(f, t, type_id, 0)};
    if (n.kind < 1 || n.kind > 3)
        return n;
    n.v = tfr_list(f, tfr_sub(f, t, id), 0, sizes[n.kind]);
    return n;
}

static int64_t at(const tfr_flat *f, numbers n, uint64_t i) {
    if (i >= n.v.n)
        return -1;
    const uint8_t *p = f->data + n.v.at;
    return n.kind == 1   ? tfr_at_i32(f, n.v, (size_t)i)
           : n.kind == 2 ? p[2 * i] | p[2 * i + 1] << 8
                         : p[i];
}

static hone_status bad(sparse *s) {
    return tfr_flat_fail(&s->f->flat, 0, "a sparse tensor that is not possible");
}

static hone_status read_levels(sparse *s, tfr_table t) {
    tfr_flat *f = &s->f->flat;
    tfr_vector order = tfr_list(f, t, ORDER, 4), map = tfr_list(f, t, BLOCK_MAP, 4),
               dims = tfr_list(f, t, DIMS, 4);
    HONE_TRY(f->status);
    if (order.n < 1 || order.n > MAX_LEVELS || dims.n != order.n ||
        order.n != (size_t)s->rank + map.n)
        return bad(s);
    s->n_levels = (int)order.n;
    for (int i = 0; i < s->n_levels; ++i) {
        level *l = &s->levels[i];
        tfr_table d = tfr_at(f, dims, (size_t)i);
        int64_t which = tfr_at_i32(f, order, (size_t)i);
        l->is_sparse = tfr_i8(f, d, FORMAT, 0) != 0;
        l->size = tfr_i32(f, d, DENSE_SIZE, 0);
        l->segments = read_numbers(f, d, SEGMENTS_TYPE, SEGMENTS);
        l->indices = read_numbers(f, d, INDICES_TYPE, INDICES);
        if (which >= s->rank && which - s->rank < (int64_t)map.n)
            which = tfr_at_i32(f, map, (size_t)(which - s->rank));
        if (which < 0 || which >= s->rank || (!l->is_sparse && l->size < 1))
            return bad(s);
        l->dim = (int)which;
    }
    return f->status;
}

/* Block dims have their dense size only; one that is sparse takes what is left of its dim. */
static int64_t block_size(const sparse *s, int i) {
    return s->levels[i].is_sparse ? 0 : s->levels[i].size;
}

static hone_status put(sparse *s, const int64_t *index) {
    int64_t own[HONE_MAX_RANK] = {0}, flat = 0;
    for (int i = 0; i < s->n_levels; ++i) {
        int64_t size = i < s->rank ? 0 : block_size(s, i), *to = &own[s->levels[i].dim];
        *to = i < s->rank ? index[i] : *to * size + index[i];
        if (*to < 0 || *to >= s->dims[s->levels[i].dim])
            return bad(s);
    }
    for (int d = 0; d < s->rank; ++d)
        flat = flat * s->dims[d] + own[d];
    if (s->next >= s->n_stored)
        return bad(s);
    memcpy(s->dense + (size_t)flat * s->element, s->stored + s->next++ * s->element, s->element);
    return HONE_OK;
}

/* The elements below position `above` of the level before; they are stored in this order. */
static hone_status walk(sparse *s, int i, uint64_t above, int64_t *index) {
    const tfr_flat *f = &s->f->flat;
    if (i == s->n_levels)
        return put(s, index);
    const level *l = &s->levels[i];
    int64_t begin = l->is_sparse ? at(f, l->segments, above) : 0;
    int64_t end = l->is_sparse ? at(f, l->segments, above + 1) : l->size;
    if (begin < 0 || end < begin)
        return bad(s);
    for (int64_t k = begin; k < end; ++k) {
        index[i] = l->is_sparse ? at(f, l->indices, (uint64_t)k) : k;
        /* Nothing more is stored: what is left cannot be filled. */
        if (index[i] < 0 || s->next >= s->n_stored)
            return s->next >= s->n_stored && !l->is_sparse ? HONE_OK : bad(s);
        HONE_TRY(walk(s, i + 1,
                      l->is_sparse ? (uint64_t)k : above * (uint64_t)l->size + (uint64_t)k, index));
    }
    return HONE_OK;
}

const void *tfr_densify(tfr_file *f, tfr_table t, const tfr_tensor *x, const uint8_t *stored,
                        size_t n) {
    sparse s = {
        .f = f, .rank = x->rank, .stored = stored, .element = hone_dtype_bytes(x->dtype, 1)};
    int64_t count = 1, index[MAX_LEVELS] = {0};
    bool fits = x->rank > 0 && s.element > 0 && hone_dtype_bits(x->dtype) >= 8 &&
                x->dtype != HONE_DTYPE_STRING;
    for (int d = 0; fits && d < x->rank; ++d) {
        s.dims[d] = x->dims[d];
        fits = x->dims[d] >= 0 && !__builtin_mul_overflow(count, x->dims[d], &count);
    }
    if (!fits)
        return (void)bad(&s), NULL;
    s.n_stored = n / s.element;
    s.dense = hone_arena_alloc(f->arena, hone_dtype_bytes(x->dtype, count) + 1);
    if (!s.dense) {
        f->flat.status =
            hone_fail(f->flat.err, HONE_E_NOMEM,
                      "tensor %s takes more memory than the file's size allows", x->name);
        return NULL;
    }
    memset(s.dense, 0, hone_dtype_bytes(x->dtype, count));
    if (count == 0)
        return s.dense;
    if (read_levels(&s, t) != HONE_OK || walk(&s, 0, 0, index) != HONE_OK)
        return NULL;
    return s.dense;
}
