/* Blocks of attention on BF16 by VDPBF16PS: scores from pairs along a row of queries and keys, sums
 * of values from pairs of keys, their weights rounded to BF16. Included by attention_tmpl.h where
 * the instruction set has it. */

/* C[m x NW] (+)= A[m x k pairs] B, B packed as [k][NW] pairs. */
VEC_INLINE void mmd_rows(int m, const uint16_t *a, int64_t lda, const float *b, int64_t k, float *c,
                         int64_t ldc, bool accumulate) {
    vf acc[VMR][VNR];
#pragma GCC unroll 12
    for (int i = 0; i < m; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < VNR; ++v)
            acc[i][v] = accumulate ? vf_load(c + i * ldc + v * VW) : vf_set1(0.0f);
    }
    for (int64_t j = 0; j < k; ++j, b += MM_NW) {
        vf w[VNR];
#pragma GCC unroll 4
        for (int v = 0; v < VNR; ++v)
            w[v] = vf_load(b + v * VW);
#pragma GCC unroll 12
        for (int i = 0; i < m; ++i)
            vf_dot2_bf16(a + i * lda + 2 * j, w, acc[i]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < m; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < VNR; ++v)
            vf_store(c + i * ldc + v * VW, acc[i][v]);
    }
}

static void mmd_panel(int64_t m, const uint16_t *a, int64_t lda, const float *b, int64_t k,
                      float *c, int64_t ldc, bool accumulate) {
    for (; m >= VMR; m -= VMR, a += VMR * lda, c += VMR * ldc)
        mmd_rows(VMR, a, lda, b, k, c, ldc, accumulate);
    for (; m >= 4; m -= 4, a += 4 * lda, c += 4 * ldc)
        mmd_rows(4, a, lda, b, k, c, ldc, accumulate);
    for (; m > 0; --m, a += lda, c += ldc)
        mmd_rows(1, a, lda, b, k, c, ldc, accumulate);
}

static void mmd_run(int64_t m, int64_t n, int64_t k, const uint16_t *a, int64_t lda, const float *b,
                    float *c, int64_t ldc, bool accumulate) {
    for (int64_t j = 0; j < n; j += MM_NW)
        mmd_panel(m, a, lda, b + j * k, k, c + j, ldc, accumulate);
}

/* Panels [ceil(rows / NW)][pairs][NW] of the transpose of rows of pairs; padded with 0. */
static void mmd_pack_transposed(const uint16_t *x, int64_t rows, int64_t pairs, int64_t stride,
                                float *to) {
    float tile[VW * VW];
    for (int64_t p = 0; p < rows; p += MM_NW, to += pairs * MM_NW) {
        for (int64_t r = 0; r < MM_NW; r += VW) {
            int64_t left = rows - p - r < VW ? rows - p - r : VW;
            for (int64_t c = 0; c < pairs; c += VW) {
                int64_t width = pairs - c < VW ? pairs - c : VW;
                memset(tile, 0, sizeof tile);
                for (int64_t i = 0; i < left; ++i)
                    memcpy(tile + i * VW, x + (p + r + i) * stride + 2 * c, (size_t)width * 4);
                if (width == VW) {
                    vf_transpose(tile, VW, to + c * MM_NW + r, MM_NW);
                    continue;
                }
                for (int64_t j = 0; j < width; ++j) {
                    for (int64_t i = 0; i < VW; ++i)
                        memcpy(to + (c + j) * MM_NW + r + i, tile + i * VW + j, 4);
                }
            }
        }
    }
}

/* Panels [ceil(columns / NW)][ceil(rows / 2)][NW] of pairs of rows; padded with 0. */
static void mmd_pack(const uint16_t *x, int64_t rows, int64_t columns, int64_t stride, float *to) {
    for (int64_t p = 0; p < columns; p += MM_NW) {
        for (int64_t r = 0; r < rows; r += 2, to += MM_NW) {
            for (int64_t i = 0; i < MM_NW; i += VW) {
                int64_t left = columns - p - i;
                const uint16_t *from = x + r * stride + p + i;
                left = left < 0 ? 0 : left < VW ? left : VW;
                vf_store(to + i, vf_pair_bf16(from, r + 1 < rows ? from + stride : NULL, left));
            }
        }
    }
}

static void at_block_dot(at_state *st, int64_t first, int64_t n) {
    const hone_attention *p = st->p;
    const uint16_t *k = (const uint16_t *)(const void *)st->k + first * p->k_at[2];
    const uint16_t *v = (const uint16_t *)(const void *)st->v + first * p->v_at[2];
    const uint16_t *q = (const uint16_t *)p->q + st->batch * p->q_at[0] + st->head * p->q_at[1] +
                        st->q_first * p->q_at[2];
    mmd_pack_transposed(k, n, p->size / 2, p->k_at[2], st->kt);
    mmd_run(st->n_rows, n, p->size / 2, q, p->q_at[2], st->kt, st->s, AT_LDS, false);
    for (int64_t i = 0; i < st->n_rows; ++i) {
        float *s = st->s + i * AT_LDS;
        uint16_t *weights = (uint16_t *)(void *)s;
        softmax_affine(s, s, n, p->scale, 0.0f);
        at_row(st, i, first, n);
        ew_narrow(s, n, weights); /* each vector is read before its place is written */
        if (n % 2)
            weights[n] = 0;
    }
    mmd_pack(v, n, p->v_size, p->v_at[2], st->vp);
    mmd_run(st->n_rows, p->v_size, (n + 1) / 2, (const uint16_t *)(const void *)st->s, 2 * AT_LDS,
            st->vp, st->o, st->ldo, true);
}
