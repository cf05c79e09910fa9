/* Convolution as a matrix product over rows of channels, as igemm, of BF16 pairs by VDPBF16PS: sums
 * are FP32, weights rounded to BF16. x and y may each be FP32 or BF16. Rows are read where they lie
 * when they are BF16 and groups have an even number of channels; else, and with few channels in a
 * group, they are gathered into scratch, so that k is long and even.
 *
 * Packed: bias [groups][columns padded to VW] as floats, then panels
 * [groups][panel][pair][width][2] of BF16, pairs along [tap][channel]; width = DOT_NR, less in the
 * last panel. */

enum { DOT_NV = 4, DOT_NR = DOT_NV * VW, DOT_MR_MAX = 12 };

/* Rows of the register tile by its vectors: 24 sums and the vectors of weights fit 32 registers. */
static const int dot_mr[DOT_NV + 1] = {0, 12, 12, 8, 6};

typedef struct dot_shape {
    int64_t m, taps, icg, ocg, k, cols, panels; /* k: pairs over all taps; cols: ocg padded */
    dn_split split;
    bool is_gathered, is_plain; /* plain: row m of A is pixel m of x */
} dot_shape;

static dot_shape dot_shape_of(const hone_conv *p) {
    dot_shape s = {.m = p->n * p->oh * p->ow, .taps = p->kh * p->kw};
    s.icg = p->ic / p->groups;
    s.ocg = p->oc / p->groups;
    s.k = dn_ceil(s.taps * s.icg, 2);
    s.cols = dn_round(s.ocg, VW);
    s.panels = dn_ceil(s.ocg, DOT_NR);
    bool is_narrow = s.taps > 1 && s.icg <= 8;
    s.is_gathered = p->x_storage == HONE_ELEM_F32 || s.icg % 2 || (is_narrow && p->groups == 1);
    s.is_plain = s.taps == 1 && p->sh == 1 && p->sw == 1 && p->pt == 0 && p->pl == 0 &&
                 p->ih == p->oh && p->iw == p->ow;
    /* Rows of a block stay in L2 while the panels stream past. */
    int64_t row = s.is_gathered ? 2 * s.k : p->ic * dn_min(s.taps, p->sh * p->sw);
    int64_t mb = (192 << 10) / row;
    const double x_size = p->x_storage == HONE_ELEM_F32 ? 4 : 2;
    const dn_product product = {.m = s.m,
                                .units = s.panels * p->groups,
                                .most_rows = mb < 48 ? 48 : dn_min(mb, 240),
                                .mr = dot_mr[dn_min(DOT_NV, s.cols / VW)],
                                .work = (double)s.m * (double)s.k * (double)p->oc,
                                .a_bytes = x_size * (double)(p->n * p->ih * p->iw) * (double)p->ic,
                                .b_bytes = 4.0 * (double)s.k * (double)p->oc};
    s.split = dn_split_of(&product);
    return s;
}

static const char *dot_supports(const hone_conv *p) {
    if (p->groups > 1 && (p->x_storage == HONE_ELEM_F32 || p->ic / p->groups % 2))
        return "groups whose channels would have to be gathered";
    return NULL;
}

/* ---- packing ----------------------------------------------------------------------------------
 */

static size_t dot_packed_bytes(const hone_conv *p) {
    dot_shape s = dot_shape_of(p);
    return sizeof(float) * (size_t)(p->groups * s.cols * (1 + s.k));
}

static inline uint16_t dot_round(float x) {
    uint32_t w;
    memcpy(&w, &x, sizeof w);
    return (uint16_t)((x != x ? w | 0x400000u : w + 0x7fffu + (w >> 16 & 1u)) >> 16);
}

static void dot_pack(const hone_conv *p, const hone_conv_weights *w, float *packed) {
    dot_shape s = dot_shape_of(p);
    const int64_t n_k = s.taps * s.icg;
    uint16_t *to = (uint16_t *)(void *)(packed + p->groups * s.cols);
    for (int64_t g = 0; g < p->groups; ++g) {
        for (int64_t o = 0; o < s.cols; ++o)
            *packed++ = w->bias && o < s.ocg ? w->bias[g * s.ocg + o] : 0.0f;
    }
    for (int64_t unit = 0; unit < p->groups * s.panels; ++unit) {
        int64_t first = unit % s.panels * DOT_NR, width = dn_min(DOT_NR, s.cols - first);
        int64_t n = dn_min(width, s.ocg - first);
        const float *from = w->data + (unit / s.panels * s.ocg + first) * w->so;
        for (int64_t k = 0; k < 2 * s.k; ++k) {
            int64_t tap = k / s.icg;
            const float *row =
                from + k % s.icg * w->si + tap / p->kw * w->sky + tap % p->kw * w->skx;
            uint16_t *lane = to + k / 2 * 2 * width + k % 2;
            for (int64_t o = 0; o < width; ++o)
                lane[2 * o] = k < n_k && o < n ? dot_round(row[o * w->so]) : 0;
        }
        to += 2 * s.k * width;
    }
}

/* ---- the register tile ------------------------------------------------------------------------
 */

typedef struct dot_tile {
    const uint16_t *const *rows; /* [tap][mr]: where row i of A starts for each tap */
    int64_t taps, k, offset;     /* k: pairs of a tap; offset is added to every row pointer */
    const uint16_t *b;           /* [tap][k][nv * VW][2] */
    const float *bias;           /* nv * VW */
    const void *residual;        /* or NULL */
    int64_t ldr;
    void *y;
    int64_t ldy, n; /* n columns are stored */
    bool is_f32;    /* y and the residual are */
    float lo, hi;
    hone_act act;
    float a1, b1;
    dn_ahead ahead;
} dot_tile;

typedef void dot_tile_fn(const dot_tile *t);
typedef uint32_t __attribute__((may_alias, aligned(2))) dot_pair;

/* acc[v] += pair * w[v] for the vectors of one row. One block of assembly: the compiler spills sums
 * when it schedules the intrinsics. */
DN_INLINE void dot_row(int nv, const uint16_t *a, const __m512i *w, vf *acc) {
    const dot_pair *pair = (const dot_pair *)(const void *)a;
#define DOT(a, w, y) "vdpbf16ps " a "%{1to16%}, " w ", " y "\n\t"
    if (nv == 4)
        __asm__(DOT("%4", "%5", "%0") DOT("%4", "%6", "%1") DOT("%4", "%7", "%2")
                    DOT("%4", "%8", "%3")
                : "+v"(acc[0]), "+v"(acc[1]), "+v"(acc[2]), "+v"(acc[3])
                : "m"(*pair), "v"(w[0]), "v"(w[1]), "v"(w[2]), "v"(w[3]));
    else if (nv == 3)
        __asm__(DOT("%3", "%4", "%0") DOT("%3", "%5", "%1") DOT("%3", "%6", "%2")
                : "+v"(acc[0]), "+v"(acc[1]), "+v"(acc[2])
                : "m"(*pair), "v"(w[0]), "v"(w[1]), "v"(w[2]));
    else if (nv == 2)
        __asm__(DOT("%2", "%3", "%0") DOT("%2", "%4", "%1")
                : "+v"(acc[0]), "+v"(acc[1])
                : "m"(*pair), "v"(w[0]), "v"(w[1]));
    else
        __asm__(DOT("%1", "%2", "%0") : "+v"(acc[0]) : "m"(*pair), "v"(w[0]));
#undef DOT
}

/* As dot_row for the first VH columns of one vector, at twice the rate. */
DN_INLINE vh dot_half(const uint16_t *a, const uint16_t *w, vh acc) {
    const dot_pair *pair = (const dot_pair *)(const void *)a;
    __asm__("vdpbf16ps %1%{1to8%}, %2, %0"
            : "+v"(acc)
            : "m"(*pair), "v"(_mm256_loadu_si256((const __m256i *)(const void *)w)));
    return acc;
}

DN_INLINE vf dot_load(const void *p, int64_t at, bool is_f32, int64_t n) {
    if (is_f32)
        return n >= VW ? vf_load((const float *)p + at) : vf_load_n((const float *)p + at, n);
    return n >= VW ? vf_load_bf16((const uint16_t *)p + at)
                   : vf_load_bf16_n((const uint16_t *)p + at, n);
}

DN_INLINE void dot_store(void *p, int64_t at, bool is_f32, int64_t n, vf v) {
    if (is_f32 && n >= VW)
        vf_store((float *)p + at, v);
    else if (is_f32)
        vf_store_n((float *)p + at, v, n);
    else if (n >= VW)
        vf_store_bf16((uint16_t *)p + at, v);
    else
        vf_store_bf16_n((uint16_t *)p + at, v, n);
}

/* Activations that need many registers run on sums put aside; a loop for each, so that its
 * constants stay in registers. */
typedef void dot_act_fn(float a, float b, vf *sums, int64_t n);
#define DOT_ACT(name, act)                                                                         \
    static void dot_act_##name(float a, float b, vf *sums, int64_t n) {                            \
        const vf va = vf_set1(a), vb = vf_set1(b);                                                 \
        for (int64_t i = 0; i < n; ++i)                                                            \
            sums[i] = dn_act1(act, sums[i], va, vb);                                               \
    }
DOT_ACT(leaky, HONE_ACT_LEAKY)
DOT_ACT(hard_sigmoid, HONE_ACT_HARD_SIGMOID)
DOT_ACT(hard_swish, HONE_ACT_HARD_SWISH)
DOT_ACT(sigmoid, HONE_ACT_SIGMOID)
DOT_ACT(silu, HONE_ACT_SILU)
DOT_ACT(tanh, HONE_ACT_TANH)
DOT_ACT(gelu, HONE_ACT_GELU)
DOT_ACT(gelu_tanh, HONE_ACT_GELU_TANH)
#undef DOT_ACT
static dot_act_fn *const dot_acts[HONE_ACT_COUNT] = {[HONE_ACT_LEAKY] = dot_act_leaky,
                                                     [HONE_ACT_HARD_SIGMOID] = dot_act_hard_sigmoid,
                                                     [HONE_ACT_HARD_SWISH] = dot_act_hard_swish,
                                                     [HONE_ACT_SIGMOID] = dot_act_sigmoid,
                                                     [HONE_ACT_SILU] = dot_act_silu,
                                                     [HONE_ACT_TANH] = dot_act_tanh,
                                                     [HONE_ACT_GELU] = dot_act_gelu,
                                                     [HONE_ACT_GELU_TANH] = dot_act_gelu_tanh};

/* The fields of t are read once: stores might change them, as far as the compiler knows. */
DN_INLINE void dot_add_residual(int mr, int nv, const dot_tile *t, vf (*acc)[DOT_NV]) {
    const char *from = t->residual;
    const int64_t n = t->n, ld = t->ldr;
    const bool is_f32 = t->is_f32;
    if (!is_f32 && n == nv * VW) {
#pragma GCC unroll 12
        for (int i = 0; i < mr; ++i) {
#pragma GCC unroll 4
            for (int v = 0; v < nv; ++v)
                acc[i][v] = vf_add(acc[i][v], vf_load_bf16((const uint16_t *)(const void *)from +
                                                           i * ld + v * VW));
        }
        return;
    }
#pragma GCC unroll 12
    for (int i = 0; i < mr; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v)
            acc[i][v] = vf_add(acc[i][v], dot_load(from, i * ld + v * VW, is_f32, n - v * VW));
    }
}

DN_INLINE void dot_store_tile(int mr, int nv, const dot_tile *t, vf (*acc)[DOT_NV]) {
    const int64_t n = t->n, ld = t->ldy;
    const bool is_f32 = t->is_f32;
    if (!is_f32 && n == nv * VW) {
        uint16_t *y = t->y;
#pragma GCC unroll 12
        for (int i = 0; i < mr; ++i) {
#pragma GCC unroll 4
            for (int v = 0; v < nv; v += 2) {
                uint16_t *to = y + i * ld + v * VW;
                if (v + 1 < nv)
                    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(acc[i][v + 1], acc[i][v]));
                else
                    vf_store_bf16(to, acc[i][v]);
            }
        }
        return;
    }
    void *y = t->y;
#pragma GCC unroll 12
    for (int i = 0; i < mr; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v)
            dot_store(y, i * ld + v * VW, is_f32, n - v * VW, acc[i][v]);
    }
}

static void dot_store_sums(const dot_tile *t, const vf *sums, int64_t mr, int64_t nv) {
    const int64_t n = t->n, ld = t->ldy;
    const bool is_f32 = t->is_f32;
    void *y = t->y;
    for (int64_t i = 0; i < mr; ++i, sums += nv) {
        int64_t v = 0;
        for (; !is_f32 && (v + 2) * VW <= n; v += 2)
            _mm512_storeu_si512((uint16_t *)y + i * ld + v * VW,
                                (__m512i)_mm512_cvtne2ps_pbh(sums[v + 1], sums[v]));
        for (; v < nv; ++v)
            dot_store(y, i * ld + v * VW, is_f32, n - v * VW, sums[v]);
    }
}

DN_INLINE void dot_finish(int mr, int nv, const dot_tile *t, vf (*acc)[DOT_NV]) {
    const vf lo = vf_set1(t->lo), hi = vf_set1(t->hi);
    dot_act_fn *act = dot_acts[t->act];
    if (t->residual)
        dot_add_residual(mr, nv, t, acc);
#pragma GCC unroll 12
    for (int i = 0; i < mr; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v)
            acc[i][v] = vf_min(hi, vf_max(lo, acc[i][v]));
    }
    if (!act) {
        dot_store_tile(mr, nv, t, acc);
        return;
    }
    vf sums[DOT_MR_MAX * DOT_NV];
#pragma GCC unroll 12
    for (int i = 0; i < mr; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v)
            sums[i * nv + v] = acc[i][v];
    }
    act(t->a1, t->b1, sums, mr * nv);
    dot_store_sums(t, sums, mr, nv);
}

/* is_half: only the first VH columns of the last vector count. */
DN_INLINE void dot_tile_run(int mr, int nv, bool is_half, const dot_tile *t) {
    vf acc[DOT_MR_MAX][DOT_NV];
    vh half[DOT_MR_MAX];
    const int full = nv - is_half;
    const uint16_t *b = t->b;
    const int64_t n_k = 2 * t->k;
    dn_ahead ahead = t->ahead;
#pragma GCC unroll 12
    for (int i = 0; i < mr; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; ++v)
            acc[i][v] = vf_load(t->bias + v * VW);
        half[i] = vf_low(acc[i][nv - 1]);
    }
    for (int64_t tap = 0; tap < t->taps; ++tap) {
        const uint16_t *a[DOT_MR_MAX];
#pragma GCC unroll 12
        for (int i = 0; i < mr; ++i)
            a[i] = t->rows[tap * mr + i] + t->offset;
        for (int64_t k = 0; k < n_k; k += 2, b += 2 * nv * VW) {
            __m512i w[DOT_NV];
            dn_fetch_ahead(&ahead);
#pragma GCC unroll 4
            for (int v = 0; v < full; ++v)
                w[v] = _mm512_loadu_si512(b + 2 * v * VW);
#pragma GCC unroll 12
            for (int i = 0; i < mr; ++i) {
                if (full > 0)
                    dot_row(full, a[i] + k, w, acc[i]);
                if (is_half)
                    half[i] = dot_half(a[i] + k, b + 2 * full * VW, half[i]);
            }
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < mr && is_half; ++i)
        acc[i][full] = vf_widen(half[i]);
    dot_finish(mr, nv, t, acc);
}

#define TILE(mr, nv)                                                                               \
    static void dot_tile_##mr##_##nv(const dot_tile *t) {                                          \
        dot_tile_run(mr, nv, false, t);                                                            \
    }                                                                                              \
    static void dot_half_##mr##_##nv(const dot_tile *t) {                                          \
        dot_tile_run(mr, nv, true, t);                                                             \
    }
#define TILES_6(nv)  TILE(1, nv) TILE(2, nv) TILE(3, nv) TILE(4, nv) TILE(5, nv) TILE(6, nv)
#define TILES_8(nv)  TILES_6(nv) TILE(7, nv) TILE(8, nv)
#define TILES_12(nv) TILES_8(nv) TILE(9, nv) TILE(10, nv) TILE(11, nv) TILE(12, nv)
TILES_12(1)
TILES_12(2)
TILES_8(3)
TILES_6(4)
#undef TILE
#define ROW(name, mr, nv) [mr] = dot_##name##_##mr##_##nv
#define ROW_6(name, nv)                                                                            \
    ROW(name, 1, nv), ROW(name, 2, nv), ROW(name, 3, nv), ROW(name, 4, nv), ROW(name, 5, nv),      \
        ROW(name, 6, nv)
#define ROW_8(name, nv) ROW_6(name, nv), ROW(name, 7, nv), ROW(name, 8, nv)
#define ROW_12(name, nv)                                                                           \
    ROW_8(name, nv), ROW(name, 9, nv), ROW(name, 10, nv), ROW(name, 11, nv), ROW(name, 12, nv)
#define ROWS(name)                                                                                 \
    {                                                                                              \
        [1] = {ROW_12(name, 1)}, [2] = {ROW_12(name, 2)}, [3] = {ROW_8(name, 3)}, [4] = {          \
            ROW_6(name, 4)                                                                         \
        }                                                                                          \
    }
/* [is_half][vectors][rows] */
static dot_tile_fn *const dot_tiles[2][DOT_NV + 1][DOT_MR_MAX + 1] = {ROWS(tile), ROWS(half)};
#undef ROWS
#undef ROW_12
#undef ROW_8
#undef ROW_6
#undef ROW

/* ---- rows of A --------------------------------------------------------------------------------
 */

/* Scratch of a task: pointers to rows, [row][tap]; those of the tile at hand, [tap][row]; a row of
 * zeros, or gathered rows. */
static int64_t dot_pointer_bytes(const dot_shape *s) {
    int64_t taps = s->is_gathered ? 1 : s->taps;
    return dn_round((s->split.mb + DOT_MR_MAX) * taps * (int64_t)sizeof(uint16_t *), 64);
}

static size_t dot_scratch_bytes(const hone_conv *p) {
    dot_shape s = dot_shape_of(p);
    int64_t elements = s.is_gathered ? s.split.mb * 2 * s.k : p->ic;
    return (size_t)(dot_pointer_bytes(&s) + 2 * elements);
}

/* n elements of x from `at` on as BF16. */
DN_INLINE void dot_fetch(const hone_conv *p, const void *x, int64_t at, int64_t n, uint16_t *to) {
    if (p->x_storage == HONE_ELEM_BF16) {
        const uint16_t *from = (const uint16_t *)x + at;
        int64_t i = 0;
        for (; i + 2 * VW <= n; i += 2 * VW)
            _mm512_storeu_si512(to + i, _mm512_loadu_si512(from + i));
        if (i < n) {
            __mmask32 rest = (__mmask32)((1u << (n - i)) - 1u);
            _mm512_mask_storeu_epi16(to + i, rest, _mm512_maskz_loadu_epi16(rest, from + i));
        }
        return;
    }
    const float *from = (const float *)x + at;
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        vf_store_bf16(to + i, vf_load(from + i));
    if (i < n)
        vf_store_bf16_n(to + i, vf_load_n(from + i, n - i), n - i);
}

/* Where the window of an output pixel lies in x. */
typedef struct dot_window {
    const hone_conv *p;
    int64_t in, oy, ox, y0, x0;
} dot_window;

static dot_window dot_window_of(const hone_conv *p, int64_t m) {
    dot_window w = {p, m / p->ow / p->oh, m / p->ow % p->oh, m % p->ow, 0, 0};
    w.y0 = w.oy * p->sh - p->pt;
    w.x0 = w.ox * p->sw - p->pl;
    return w;
}

/* To the next pixel. */
DN_INLINE void dot_advance(dot_window *w) {
    const hone_conv *p = w->p;
    w->x0 += p->sw;
    if (++w->ox < p->ow)
        return;
    w->ox = 0;
    w->x0 = -p->pl;
    w->y0 += p->sh;
    if (++w->oy < p->oh)
        return;
    w->oy = 0;
    w->y0 = -p->pt;
    ++w->in;
}

/* Element indices; -1 in the padding. */
static int64_t dot_row_at(const dot_window *w, int64_t ky) {
    int64_t iy = w->y0 + ky * w->p->dh;
    return iy >= 0 && iy < w->p->ih ? (w->in * w->p->ih + iy) * w->p->iw : -1;
}

static int64_t dot_pixel_at(const dot_window *w, int64_t row, int64_t kx) {
    int64_t ix = w->x0 + kx * w->p->dw;
    return row >= 0 && ix >= 0 && ix < w->p->iw ? (row + ix) * w->p->ldx : -1;
}

/* The taps of output pixel m, one after the other, and zeros up to an even number. */
static void dot_gather(const dot_window *w, const void *x, uint16_t *to) {
    const hone_conv *p = w->p;
    const bool is_run = p->dw == 1 && p->ldx == p->ic && w->x0 >= 0 && w->x0 + p->kw <= p->iw;
    const int64_t n = p->kw * p->ic;
    for (int64_t ky = 0; ky < p->kh; ++ky, to += n) {
        int64_t row = dot_row_at(w, ky);
        if (row < 0) {
            memset(to, 0, (size_t)n * sizeof *to);
        } else if (is_run) {
            dot_fetch(p, x, (row + w->x0) * p->ldx, n, to);
        } else {
            for (int64_t kx = 0; kx < p->kw; ++kx) {
                int64_t at = dot_pixel_at(w, row, kx);
                if (at >= 0)
                    dot_fetch(p, x, at, p->ic, to + kx * p->ic);
                else
                    memset(to + kx * p->ic, 0, (size_t)p->ic * sizeof *to);
            }
        }
    }
    if (p->kh * n % 2)
        *to = 0;
}

/* Pointers of the block's rows: to[row * taps + tap]. */
static void dot_rows(const hone_conv *p, const dot_shape *s, const void *x, int64_t first,
                     int64_t rows, const uint16_t **to, uint16_t *room) {
    const uint16_t *from = x;
    dot_window w = dot_window_of(p, first);
    if (!s->is_gathered)
        memset(room, 0, (size_t)p->ic * sizeof *room);
    for (int64_t m = 0; m < rows; ++m, dot_advance(&w)) {
        if (s->is_gathered) {
            uint16_t *row = room + m * 2 * s->k;
            dot_gather(&w, x, row);
            *to++ = row;
        } else if (s->is_plain) {
            *to++ = from + (first + m) * p->ldx;
        } else {
            for (int64_t ky = 0; ky < p->kh; ++ky) {
                int64_t row = dot_row_at(&w, ky);
                for (int64_t kx = 0; kx < p->kw; ++kx) {
                    int64_t at = dot_pixel_at(&w, row, kx);
                    *to++ = at >= 0 ? from + at : room;
                }
            }
        }
    }
}

/* ---- the product ------------------------------------------------------------------------------
 */

/* Gives the tile its pointers, [tap][row], from those of mr rows, [row][tap], without the first and
 * last taps that lie in the padding for all rows. */
static void dot_take_rows(dot_tile *t, const uint16_t *const *from, int64_t mr, int64_t width,
                          const uint16_t *zero, const uint16_t **to) {
    const int64_t taps = t->taps;
    int64_t first = taps - 1, last = 0; /* taps with a pixel */
    for (int64_t tap = 0; tap < taps; ++tap) {
        bool has_pixel = false;
        for (int64_t r = 0; r < mr; ++r) {
            to[tap * mr + r] = from[r * taps + tap];
            has_pixel |= from[r * taps + tap] != zero;
        }
        first = has_pixel && tap < first ? tap : first;
        last = has_pixel ? tap : last;
    }
    t->rows = to + first * mr;
    t->b += first * t->k * 2 * width;
    t->taps = first <= last ? last - first + 1 : 1;
}

/* Rows [0, rows) of one panel. zero: the row that taps in the padding point to. */
static void dot_panel(const hone_conv *p, const uint16_t *const *pointers,
                      const uint16_t **tile_rows, const uint16_t *zero, int64_t rows, dot_tile *t,
                      int64_t y_size) {
    const int64_t nv = dn_ceil(t->n, VW), taps = t->taps;
    const uint16_t *const b = t->b;
    const dn_cut cut = dn_cut_of(rows, dot_mr[nv]);
    dot_tile_fn *const *const fns = dot_tiles[t->n - (nv - 1) * VW <= VH][nv];
    t->ahead = dn_ahead_of(b, taps * t->k, nv * VW * 4, cut.tiles);
    for (int64_t i = 0; i < cut.tiles; ++i) {
        const int64_t mr = dn_cut_rows(&cut, i);
        t->rows = pointers;
        if (taps > 1)
            dot_take_rows(t, pointers, mr, nv * VW, zero, tile_rows);
        fns[mr](t);
        t->b = b;
        t->taps = taps;
        t->ahead.at += t->ahead.share;
        t->y = (char *)t->y + mr * p->ldy * y_size;
        t->residual = t->residual ? (const char *)t->residual + mr * p->ldr * y_size : NULL;
        pointers += mr * taps;
    }
}

static void dot_run(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch) {
    const dot_shape s = dot_shape_of(p);
    const dn_range rows = dn_part(s.m, dn_row_block(&s.split, task), s.split.n_mb);
    const dn_range units =
        dn_part(s.panels * p->groups, dn_panel_block(&s.split, task), s.split.n_nb);
    const int64_t y_size = p->y_storage == HONE_ELEM_F32 ? 4 : 2;
    const uint16_t **pointers = scratch;
    const uint16_t *packed = (const uint16_t *)(const void *)(args->packed + p->groups * s.cols);
    dot_tile t = {.taps = s.is_gathered ? 1 : s.taps,
                  .ldr = p->ldr,
                  .ldy = p->ldy,
                  .is_f32 = p->y_storage == HONE_ELEM_F32};
    dn_tile act = {0};
    dn_tile_act(&act, p);
    t.lo = act.lo;
    t.hi = act.hi;
    t.act = p->act;
    t.a1 = act.a1;
    t.b1 = act.b1;
    t.k = s.k / t.taps;
    uint16_t *room = (uint16_t *)(void *)((char *)scratch + dot_pointer_bytes(&s));
    dot_rows(p, &s, args->x, rows.from, rows.to - rows.from, pointers, room);
    for (int64_t u = units.from; u < units.to; ++u) {
        int64_t g = u / s.panels, col = u % s.panels * DOT_NR;
        int64_t at = rows.from * p->ldy + g * s.ocg + col,
                r_at = rows.from * p->ldr + g * s.ocg + col;
        t.offset = g * s.icg;
        t.n = dn_min(DOT_NR, s.ocg - col);
        t.bias = args->packed + g * s.cols + col;
        t.b = packed + (g * s.cols + col) * 2 * s.k;
        t.y = (char *)args->y + at * y_size;
        t.residual = p->has_residual ? (const char *)args->residual + r_at * y_size : NULL;
        dot_panel(p, pointers, pointers + s.split.mb * t.taps, room, rows.to - rows.from, &t,
                  y_size);
    }
}

static int64_t dot_n_tasks(const hone_conv *p) {
    dot_shape s = dot_shape_of(p);
    return s.split.n_mb * s.split.n_nb;
}

const hone_conv_kernel DN_NAME(dot) = {
    .name = DN_TEXT("dot"),
    .isa = DN_ISA,
    .storages = HONE_CONV_MIXED,
    .is_exact = true,
    .supports = dot_supports,
    .packed_bytes = dot_packed_bytes,
    .pack = dot_pack,
    .scratch_bytes = dot_scratch_bytes,
    .n_tasks = dot_n_tasks,
    .run = dot_run,
};
