/* Inner matrix product on packed panels: C[m x NW] (+)= A[m x k] B[k x NW], NW = VNR vectors. Each
 * element is summed over k in order whatever m is, so that results do not depend on the blocking of
 * rows. */
enum { MM_NW = VNR * VW };

VEC_INLINE void mm_rows(int m, const float *a, int64_t lda, const float *b, int64_t k, float *c,
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
        for (int i = 0; i < m; ++i) {
            vf s = vf_set1(a[i * lda + j]);
#pragma GCC unroll 4
            for (int v = 0; v < VNR; ++v)
                acc[i][v] = vf_fma(s, w[v], acc[i][v]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < m; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < VNR; ++v)
            vf_store(c + i * ldc + v * VW, acc[i][v]);
    }
}

static void mm_panel(int64_t m, const float *a, int64_t lda, const float *b, int64_t k, float *c,
                     int64_t ldc, bool accumulate) {
    for (; m >= VMR; m -= VMR, a += VMR * lda, c += VMR * ldc)
        mm_rows(VMR, a, lda, b, k, c, ldc, accumulate);
    switch (m) {
#define CASE(r)                                                                                    \
    case r:                                                                                        \
        mm_rows(r, a, lda, b, k, c, ldc, accumulate);                                              \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
#if VMR > 4
        CASE(4)
        CASE(5)
#endif
#if VMR > 6
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
#endif
#undef CASE
    default:
        break;
    }
}

/* C[m x n] (+)= A B, B packed in panels [ceil(n / NW)][k][NW]; columns of C up to a multiple of NW
 * are written. */
static void mm_run(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                   float *c, int64_t ldc, bool accumulate) {
    for (int64_t j = 0; j < n; j += MM_NW)
        mm_panel(m, a, lda, b + j * k, k, c + j, ldc, accumulate);
}

/* Panels [ceil(rows / NW)][columns][NW] of the transpose of x[rows x columns]; padded with 0. */
static void mm_pack_transposed(const float *x, int64_t rows, int64_t columns, int64_t stride,
                               float *to) {
    for (int64_t p = 0; p < rows; p += MM_NW, to += columns * MM_NW) {
        for (int64_t r = 0; r < MM_NW; r += VW) {
            const float *from = x + (p + r) * stride;
            int64_t left = rows - p - r, c = 0;
            if (left >= VW) {
                for (; c + VW <= columns; c += VW)
                    vf_transpose(from + c, stride, to + c * MM_NW + r, MM_NW);
            }
            for (; c < columns; ++c) {
                for (int64_t i = 0; i < VW; ++i)
                    to[c * MM_NW + r + i] = i < left ? from[i * stride + c] : 0.0f;
            }
        }
    }
}

/* Panels [ceil(columns / NW)][rows][NW] of x[rows x columns]; padded with 0. */
static void mm_pack(const float *x, int64_t rows, int64_t columns, int64_t stride, float *to) {
    for (int64_t p = 0; p < columns; p += MM_NW) {
        int64_t n = columns - p < MM_NW ? columns - p : MM_NW;
        for (int64_t r = 0; r < rows; ++r, to += MM_NW) {
            const float *from = x + r * stride + p;
            for (int64_t i = 0; i < MM_NW; i += VW) {
                vf v = i + VW <= n ? vf_load(from + i)
                       : i < n     ? vf_load_n(from + i, n - i)
                                   : vf_set1(0.0f);
                vf_store(to + i, v);
            }
        }
    }
}
