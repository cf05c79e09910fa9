/* Reductions of BF16: see kernels/reduce.h. */

VEC_INLINE vf redb_load(const uint16_t *p, int64_t n) {
    return n >= VW ? vf_load_bf16(p) : vf_load_bf16_n(p, n);
}

/* `lanes` neighbouring columns, as red_columns. */
VEC_INLINE void redb_columns(int op, const uint16_t *x, int64_t n, int64_t stride, int64_t lanes,
                             uint16_t *y, float factor) {
    vf total = vf_set1(red_init(op));
    for (int64_t j = 0; j < n;) {
        int64_t stop = n - j < 128 ? n : j + 128;
        vf a = vf_set1(red_init(op));
        for (; j < stop; ++j)
            a = red_step(op, a, redb_load(x + j * stride, lanes));
        total = red_join(op, total, a);
    }
    if (op == HONE_REDUCE_MEAN)
        total = vf_mul(total, vf_set1(factor));
    if (lanes < VW)
        vf_store_bf16_n(y, total, lanes);
    else
        vf_store_bf16(y, total);
}

/* A contiguous row, widened piece by piece. */
VEC_INLINE float redb_row(int op, const uint16_t *x, int64_t n) {
    enum { PIECE = 1024 };
    float wide[PIECE], part[VW];
    vf total = vf_set1(red_init(op));
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t size = n - i < PIECE ? n - i : PIECE;
        ew_widen(x + i, size, wide);
        for (int k = 0; k < VW; ++k)
            part[k] = k ? red_init(op) : red_row(op, wide, size);
        total = red_join(op, total, vf_load(part));
    }
    return red_lanes(op, total);
}

VEC_INLINE void redb_all(int op, const uint16_t *x, int64_t n, int64_t inner, uint16_t *y,
                         int64_t begin, int64_t end) {
    float factor = 1.0f / (float)n;
    for (int64_t i = begin; i < end;) {
        if (inner == 1) {
            float r = redb_row(op, x + i * n, n);
            vf_store_bf16_n(y + i, vf_set1(op == HONE_REDUCE_MEAN ? r * factor : r), 1);
            ++i;
            continue;
        }
        int64_t column = i % inner, left = inner - column;
        left = end - i < left ? end - i : left;
        left = left < VW ? left : VW;
        redb_columns(op, x + (i / inner) * n * inner + column, n, inner, left, y + i, factor);
        i += left;
    }
}

static void reduce_bf16_run(hone_reduce_op op, const uint16_t *x, int64_t n, int64_t inner,
                            uint16_t *y, int64_t begin, int64_t end) {
    if (op == HONE_REDUCE_SUM)
        redb_all(HONE_REDUCE_SUM, x, n, inner, y, begin, end);
    else if (op == HONE_REDUCE_MEAN)
        redb_all(HONE_REDUCE_MEAN, x, n, inner, y, begin, end);
    else if (op == HONE_REDUCE_MAX)
        redb_all(HONE_REDUCE_MAX, x, n, inner, y, begin, end);
    else if (op == HONE_REDUCE_MIN)
        redb_all(HONE_REDUCE_MIN, x, n, inner, y, begin, end);
}
