/* The register tile C[mr x nv vectors] = bias + sum over taps and k of A B, and its epilogue. Each
 * element is summed in the same order whatever the tile's size, so that the blocking does not show
 * in results. */

enum { DN_NR = DN_NV * VW, DN_MR_MAX = 8 };

static inline vf dn_unit(vf x) {
    return vf_min(vf_set1(1.0f), vf_max(vf_set1(0.0f), x));
}

DN_INLINE vf dn_act1(hone_act act, vf x, vf a, vf b) {
    const vf half = vf_set1(0.5f);
    switch (act) {
    case HONE_ACT_LEAKY:
        return vf_sel(vf_lt(x, vf_set1(0.0f)), vf_mul(x, a), x);
    case HONE_ACT_HARD_SIGMOID:
        return dn_unit(vf_fma(a, x, b));
    case HONE_ACT_HARD_SWISH:
        return vf_mul(x, dn_unit(vf_fma(vf_set1(1.0f / 6.0f), x, half)));
    case HONE_ACT_SIGMOID:
        return vf_sigmoid(x);
    case HONE_ACT_SILU:
        return vf_mul(x, vf_sigmoid(x));
    case HONE_ACT_TANH:
        return vf_tanh(x);
    case HONE_ACT_GELU:
        return vf_gelu(x);
    case HONE_ACT_GELU_TANH:
        return vf_gelu_tanh(x);
    default:
        return x;
    }
}

/* m rows of n values at y, strided ldy. */
typedef void dn_act_fn(float a, float b, dn_elem *y, int64_t ldy, int64_t m, int64_t n);

/* Activations that need many registers run on what was stored just before. A loop for each, so that
 * its constants stay in registers. */
#define DN_ACT(name, act)                                                                          \
    static void dn_act_##name(float a, float b, dn_elem *y, int64_t ldy, int64_t m, int64_t n) {   \
        const vf va = vf_set1(a), vb = vf_set1(b);                                                 \
        for (int64_t i = 0; i < m; ++i, y += ldy) {                                                \
            int64_t j = 0;                                                                         \
            for (; j + VW <= n; j += VW)                                                           \
                dn_store(y + j, dn_act1(act, dn_load(y + j, VW), va, vb), VW);                     \
            if (j < n)                                                                             \
                dn_store(y + j, dn_act1(act, dn_load(y + j, n - j), va, vb), n - j);               \
        }                                                                                          \
    }
DN_ACT(leaky, HONE_ACT_LEAKY)
DN_ACT(hard_sigmoid, HONE_ACT_HARD_SIGMOID)
DN_ACT(hard_swish, HONE_ACT_HARD_SWISH)
DN_ACT(sigmoid, HONE_ACT_SIGMOID)
DN_ACT(silu, HONE_ACT_SILU)
DN_ACT(tanh, HONE_ACT_TANH)
DN_ACT(gelu, HONE_ACT_GELU)
DN_ACT(gelu_tanh, HONE_ACT_GELU_TANH)
#undef DN_ACT

/* NULL: none, or done by clipping. */
static dn_act_fn *const dn_acts[HONE_ACT_COUNT] = {[HONE_ACT_LEAKY] = dn_act_leaky,
                                                   [HONE_ACT_HARD_SIGMOID] = dn_act_hard_sigmoid,
                                                   [HONE_ACT_HARD_SWISH] = dn_act_hard_swish,
                                                   [HONE_ACT_SIGMOID] = dn_act_sigmoid,
                                                   [HONE_ACT_SILU] = dn_act_silu,
                                                   [HONE_ACT_TANH] = dn_act_tanh,
                                                   [HONE_ACT_GELU] = dn_act_gelu,
                                                   [HONE_ACT_GELU_TANH] = dn_act_gelu_tanh};

/* Weights that come after those of a panel. Tiles of the same panel find it in L2, and memory would
 * rest meanwhile: each fetches its share of the next panel, a bit for each k. */
typedef struct dn_ahead {
    const char *at;
    int64_t step, share; /* bytes for each k, and for each tile */
    bool is_far;         /* to L2 only */
} dn_ahead;

/* With fewer tiles lines come so fast that in L1 they would hold up the tile's own. Else L1 it is:
 * on Zen 4 products of weights from memory are 3 to 6 % faster so than with lines fetched to L2,
 * which is no better there than none fetched. */
enum { DN_NEAR_TILES = 5 };

/* For the first of n tiles on a panel of `steps` times `bytes` bytes; `at` moves on by a share with
 * every tile. What lies behind all weights is fetched too, which does no harm. */
static inline dn_ahead dn_ahead_of(const void *panel, int64_t steps, int64_t bytes, int64_t n) {
    return (dn_ahead){(const char *)panel + steps * bytes, bytes / n, steps * bytes / n,
                      n < DN_NEAR_TILES};
}

/* Two lines, as a tile may be one of two. */
DN_INLINE void dn_fetch_ahead(dn_ahead *ahead) {
    if (ahead->is_far) {
        __builtin_prefetch(ahead->at, 0, 2);
        __builtin_prefetch(ahead->at + 64, 0, 2);
    } else {
        __builtin_prefetch(ahead->at, 0, 3);
        __builtin_prefetch(ahead->at + 64, 0, 3);
    }
    ahead->at += ahead->step;
}

typedef struct dn_tile {
    const float *const *rows; /* [tap][mr]: where row i of A starts for each tap */
    int64_t taps, k, offset;  /* offset is added to every row pointer */
    const float *b;           /* [tap][k][nv * VW] */
    const float *bias;        /* nv * VW, or NULL */
    const float *sum;         /* [mr][DN_NR] to start from instead of the bias, or NULL */
    const float *residual;    /* or NULL */
    int64_t ldr;
    float *y;
    int64_t ldy, n; /* n columns are stored */
    float lo, hi;
    dn_act_fn *act; /* NULL: clipping does it */
    float a1, b1;
    dn_ahead ahead;
} dn_tile;

typedef void dn_tile_fn(const dn_tile *t);

/* The fields of t are read once: stores might change them, as far as the compiler knows. */
DN_INLINE void dn_tile_add(int mr, int nv, const dn_tile *t, vf (*acc)[DN_NV]) {
    const float *from = t->residual;
    const int64_t n = t->n, ld = t->ldr;
#pragma GCC unroll 8
    for (int i = 0; i < mr; ++i, from += ld) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v) {
            int64_t left = n - v * VW;
            acc[i][v] = vf_add(acc[i][v], left >= VW ? vf_load(from + v * VW)
                                                     : vf_load_n(from + v * VW, left));
        }
    }
}

DN_INLINE void dn_tile_rows(int mr, int nv, bool clips, const dn_tile *t, vf (*acc)[DN_NV]) {
    const vf lo = vf_set1(t->lo), hi = vf_set1(t->hi);
    const int64_t left = t->n - (nv - 1) * VW, ld = t->ldy; /* left: for the last vector */
    float *y = t->y;
#pragma GCC unroll 8
    for (int i = 0; i < mr; ++i, y += ld) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v) {
            vf x = clips ? vf_min(hi, vf_max(lo, acc[i][v])) : acc[i][v];
            if (v + 1 < nv || left == VW)
                vf_store(y + v * VW, x);
            else
                vf_store_n(y + v * VW, x, left);
        }
    }
}

DN_INLINE void dn_tile_store(int mr, int nv, const dn_tile *t, vf (*acc)[DN_NV]) {
    const float inf = __builtin_inff();
    if (t->residual)
        dn_tile_add(mr, nv, t, acc);
    if (t->lo == -inf && t->hi == inf)
        dn_tile_rows(mr, nv, false, t, acc);
    else
        dn_tile_rows(mr, nv, true, t, acc);
#ifndef DN_BF16 /* where tiles make Winograd's sums only */
    if (t->act)
        t->act(t->a1, t->b1, t->y, t->ldy, mr, t->n);
#endif
}

/* is_half: only the first VH columns of the last vector count. */
DN_INLINE void dn_tile_run(int mr, int nv, bool is_half, const dn_tile *t) {
    vf acc[DN_MR_MAX][DN_NV];
    const float *b = t->b;
    const int64_t n_k = t->k;
    dn_ahead ahead = t->ahead;
#if VH
    vh half[DN_MR_MAX];
    const int full = nv - is_half;
#else
    const int full = nv;
    (void)is_half;
#endif
#pragma GCC unroll 8
    for (int i = 0; i < mr; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v)
            acc[i][v] = t->sum    ? vf_load(t->sum + i * DN_NR + v * VW)
                        : t->bias ? vf_load(t->bias + v * VW)
                                  : vf_set1(0.0f);
#if VH
        half[i] = vf_low(acc[i][nv - 1]);
#endif
    }
    for (int64_t tap = 0; tap < t->taps; ++tap) {
        const float *a[DN_MR_MAX];
#pragma GCC unroll 8
        for (int i = 0; i < mr; ++i)
            a[i] = t->rows[tap * mr + i] + t->offset;
        for (int64_t k = 0; k < n_k; ++k, b += nv * VW) {
            vf w[DN_NV];
            dn_fetch_ahead(&ahead);
#pragma GCC unroll 4
            for (int v = 0; v < full; ++v)
                w[v] = vf_load(b + v * VW);
#pragma GCC unroll 8
            for (int i = 0; i < mr; ++i) {
                vf s = vf_set1(a[i][k]);
#pragma GCC unroll 4
                for (int v = 0; v < full; ++v)
                    acc[i][v] = vf_fma(s, w[v], acc[i][v]);
#if VH
                if (is_half)
                    half[i] = vh_fma(vf_low(s), vh_load(b + full * VW), half[i]);
#endif
            }
        }
    }
#if VH
#pragma GCC unroll 8
    for (int i = 0; i < mr && is_half; ++i)
        acc[i][full] = vf_widen(half[i]);
#endif
    dn_tile_store(mr, nv, t, acc);
}

#if VH
enum { DN_HALF = VH };
#define TILE(mr, nv)                                                                               \
    static void dn_tile_##mr##_##nv(const dn_tile *t) {                                            \
        dn_tile_run(mr, nv, false, t);                                                             \
    }                                                                                              \
    static void dn_half_##mr##_##nv(const dn_tile *t) {                                            \
        dn_tile_run(mr, nv, true, t);                                                              \
    }
#define PAIR(mr, nv)                                                                               \
    { dn_tile_##mr##_##nv, dn_half_##mr##_##nv }
#else
enum { DN_HALF = 0 };
#define TILE(mr, nv)                                                                               \
    static void dn_tile_##mr##_##nv(const dn_tile *t) {                                            \
        dn_tile_run(mr, nv, false, t);                                                             \
    }
#define PAIR(mr, nv)                                                                               \
    { dn_tile_##mr##_##nv, NULL }
#endif
#define TILES(mr) TILE(mr, 1) TILE(mr, 2)
TILES(1)
TILES(2)
TILES(3)
TILES(4)
TILES(5)
TILES(6)
TILES(7)
TILES(8)
#if DN_NV > 2
#define WIDE(mr) TILE(mr, 3) TILE(mr, 4)
WIDE(1)
WIDE(2)
WIDE(3)
WIDE(4)
WIDE(5)
WIDE(6)
#undef WIDE
#define ROW(mr)                                                                                    \
    { PAIR(mr, 1), PAIR(mr, 2), PAIR(mr, 3), PAIR(mr, 4) }
#else
#define ROW(mr)                                                                                    \
    { PAIR(mr, 1), PAIR(mr, 2) }
#endif
#define ROW_THIN(mr)                                                                               \
    { PAIR(mr, 1), PAIR(mr, 2) }
/* [rows - 1][vectors - 1][is_half] */
static dn_tile_fn *const dn_tiles[DN_MR_MAX][DN_NV][2] = {ROW(1), ROW(2), ROW(3),      ROW(4),
                                                          ROW(5), ROW(6), ROW_THIN(7), ROW_THIN(8)};
#undef TILE
#undef PAIR
#undef TILES
#undef ROW
#undef ROW_THIN

/* For n columns, the bias and b of which are padded to VW. */
static inline dn_tile_fn *dn_tile_for(int64_t mr, int64_t n) {
    int64_t nv = dn_ceil(n, VW);
    return dn_tiles[mr - 1][nv - 1][n - (nv - 1) * VW <= DN_HALF];
}

/* Epilogue fields from the problem. */
static void dn_tile_act(dn_tile *t, const hone_conv *p) {
    const float inf = __builtin_inff();
    t->lo = p->act == HONE_ACT_RELU ? 0.0f : p->act == HONE_ACT_CLIP ? p->a : -inf;
    t->hi = p->act == HONE_ACT_CLIP ? p->b : inf;
    t->act = dn_acts[p->act];
    t->a1 = p->a;
    t->b1 = p->b;
}
