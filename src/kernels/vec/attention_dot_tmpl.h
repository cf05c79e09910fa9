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
                const uint16_t *from = x + (p + r) * stride + 2 * c;
                if (left == VW && width == VW && stride % 2 == 0) {
                    vf_transpose((const float *)(const void *)from, stride / 2, to + c * MM_NW + r,
                                 MM_NW);
                    continue;
                }
                memset(tile, 0, sizeof tile);
                for (int64_t i = 0; i < left; ++i)
                    memcpy(tile + i * VW, from + i * stride, (size_t)width * 4);
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

/* 2^t = 2^n 2^r, 2^r by a polynomial for |r| <= 1/2, t >= -150: 5e-6 of it, where BF16 rounds to
 * 4e-3. */
static inline vf mmd_exp2(vf t) {
    static const float c[] = {9.999992614e-01f, 6.931218149e-01f, 2.402474511e-01f,
                              5.591785941e-02f, 9.570090331e-03f};
    t = vf_max(vf_set1(-150.0f), t);
    vf n = vf_rint(t);
    return vf_scale2(vf_poly(vf_sub(t, n), c, 5), n);
}

/* y = exp(x - top) as BF16, returning the sum. Each vector of x is read before its place is
 * written, so that y may begin where x does. */
static float mmd_exp(const float *x, uint16_t *y, int64_t n, float top) {
    const vf log2e = vf_set1(1.44269504f), t = vf_set1(top);
    vf sum = vf_set1(0.0f);
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vf e = mmd_exp2(vf_mul(vf_sub(vf_load(x + i), t), log2e));
        sum = vf_add(sum, e);
        vf_store_bf16(y + i, e);
    }
    float rest = 0;
    if (i < n) {
        float lane[VW];
        vf e = mmd_exp2(vf_mul(vf_sub(vf_load_n(x + i, n - i), t), log2e));
        vf_store(lane, e);
        for (int64_t k = 0; k < n - i; ++k)
            rest += lane[k];
        vf_store_bf16_n(y + i, e, n - i);
    }
    return vf_hsum(sum) + rest;
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
        if (at_raise(st, i, at_scores(st, i, first, n, p->scale)))
            st->sum[i] += mmd_exp(s, weights, n, st->top[i]);
        else
            memset(weights, 0, (size_t)n * sizeof *weights);
        if (n % 2)
            weights[n] = 0;
    }
    mmd_pack(v, n, p->v_size, p->v_at[2], st->vp);
    mmd_run(st->n_rows, p->v_size, (n + 1) / 2, (const uint16_t *)(const void *)st->s, 2 * AT_LDS,
            st->vp, st->o, st->ldo, true);
}
