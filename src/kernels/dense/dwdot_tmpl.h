/* Depthwise convolution of BF16 data by VDPBF16PS: a pair is the same channel in two rows of the
 * window, so that one instruction does two taps and takes the data as they are stored. Weights are
 * rounded to BF16, sums are FP32. A block of DD_CHANNELS is two vectors of sums: interleaving two
 * loads gives channels 0-3, 8-11, 16-19, 24-27 (lo) and the others (hi), and results are put in
 * order when they are stored.
 *
 * Packed, by block: bias [blocks][lo, hi], then weights [block][pair of rows][kx][lo, hi] of pairs;
 * an odd last row is paired with zeros. Tasks are those of depthwise_tmpl.h. */

enum { DD_CHANNELS = 2 * VW, DD_ROWS = 8 };

static bool dd_has_window(const hone_conv *p) {
    for (size_t i = 1; i < sizeof dw_kernels / sizeof *dw_kernels; ++i) {
        if (dw_kernels[i].kw == p->kw && dw_kernels[i].sw == p->sw)
            return p->dw == 1 && p->kh <= DD_ROWS;
    }
    return false;
}

static const char *dd_supports(const hone_conv *p) {
    if (p->groups != p->ic || p->groups != p->oc)
        return "not depthwise with one output a channel";
    if (p->ic <= VW)
        return "no more channels than a vector has lanes";
    return dd_has_window(p) ? NULL : "no code for this window";
}

static int64_t dd_pairs(const hone_conv *p) {
    return dn_ceil(p->kh, 2);
}

static size_t dd_packed_bytes(const hone_conv *p) {
    return sizeof(float) * (size_t)(dn_round(p->oc, DD_CHANNELS) * (1 + dd_pairs(p) * p->kw));
}

/* The channel, in a block, of lane i of lo and hi. */
static int64_t dd_channel(int64_t i) {
    return i % VW / 4 * 8 + i % 4 + i / VW * 4;
}

static uint16_t dd_weight(const hone_conv *p, const hone_conv_weights *w, int64_t c, int64_t ky,
                          int64_t kx) {
    return c < p->oc && ky < p->kh ? dot_round(w->data[c * w->so + ky * w->sky + kx * w->skx]) : 0;
}

static void dd_pack(const hone_conv *p, const hone_conv_weights *w, float *to) {
    const int64_t channels = dn_round(p->oc, DD_CHANNELS);
    for (int64_t i = 0; i < channels; ++i) {
        int64_t c = i / DD_CHANNELS * DD_CHANNELS + dd_channel(i % DD_CHANNELS);
        *to++ = w->bias && c < p->oc ? w->bias[c] : 0.0f;
    }
    for (int64_t first = 0; first < channels; first += DD_CHANNELS) {
        for (int64_t tap = 0; tap < dd_pairs(p) * p->kw; ++tap) {
            for (int64_t i = 0; i < DD_CHANNELS; ++i) {
                int64_t c = first + dd_channel(i), ky = 2 * (tap / p->kw), kx = tap % p->kw;
                uint16_t pair[2] = {dd_weight(p, w, c, ky, kx), dd_weight(p, w, c, ky + 1, kx)};
                memcpy(to++, pair, sizeof pair);
            }
        }
    }
}

/* A few output pixels of one row, and where the taps of their first channel lie: in rows of the
 * input, by pointers when some fall into the padding. Rows there have a step of 0. */
typedef struct dd_group {
    const uint16_t *row[DD_ROWS];
    int64_t step[DD_ROWS];
    const uint16_t *const *table; /* [row][column], or NULL */
    int64_t columns, pairs;
    const float *weights, *bias; /* [block][w_step]; [block] */
    int64_t w_step;
    uint16_t *y;
    const uint16_t *residual;
    int64_t ldy, ldr, px, channels; /* px are stored */
    float lo, hi;
} dd_group;

typedef struct dd_sums {
    vf lo[DW_PX], hi[DW_PX];
} dd_sums;

DN_INLINE __m512i dd_load(const uint16_t *p, __mmask32 mask) {
    return _mm512_maskz_loadu_epi16(mask, p);
}

DN_INLINE __m512i dd_column(bool is_table, const dd_group *g, int64_t row, int j, int64_t c,
                            __mmask32 mask) {
    const uint16_t *x = is_table ? g->table[row * g->columns + j] : g->row[row] + j * g->step[row];
    return dd_load(x + c, mask);
}

/* Adds the taps of two rows. Each column is loaded once for all the pixels that it reaches. */
DN_INLINE void dd_rows(int kw, int sw, int px, bool is_table, const dd_group *g, int64_t pair,
                       int64_t c, const float *w, __mmask32 mask, dd_sums *sums) {
#pragma GCC unroll 32
    for (int j = 0; j < (px - 1) * sw + kw; ++j) {
        __m512i a = dd_column(is_table, g, 2 * pair, j, c, mask),
                b = dd_column(is_table, g, 2 * pair + 1, j, c, mask);
        vf lo = _mm512_castsi512_ps(_mm512_unpacklo_epi16(a, b)),
           hi = _mm512_castsi512_ps(_mm512_unpackhi_epi16(a, b));
#pragma GCC unroll 8
        for (int kx = 0; kx < kw; ++kx) {
            int i = (j - kx) / sw;
            if (j >= kx && i * sw == j - kx && i < px) {
                sums->lo[i] = vf_dot_bf16(lo, vf_load(w + kx * DD_CHANNELS), sums->lo[i]);
                sums->hi[i] = vf_dot_bf16(hi, vf_load(w + kx * DD_CHANNELS + VW), sums->hi[i]);
            }
        }
    }
}

/* g is read once: stores might change it, as far as the compiler knows. */
DN_INLINE void dd_store(int px, const dd_group *g, int64_t c, __mmask32 mask, dd_sums *sums) {
    const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), zero = _mm512_setzero_si512();
    const vf least = vf_set1(g->lo), most = vf_set1(g->hi);
    const int64_t stored = g->px, ldy = g->ldy, ldr = g->ldr;
    const uint16_t *residual = g->residual;
    uint16_t *y = g->y + c;
#pragma GCC unroll 8
    for (int i = 0; i < px; ++i) {
        vf lo = sums->lo[i], hi = sums->hi[i];
        if (i >= stored)
            break;
        if (residual) {
            __m512i r = dd_load(residual + i * ldr + c, mask);
            lo = vf_add(lo, _mm512_castsi512_ps(_mm512_unpacklo_epi16(zero, r)));
            hi = vf_add(hi, _mm512_castsi512_ps(_mm512_unpackhi_epi16(zero, r)));
        }
        lo = vf_min(most, vf_max(least, lo));
        hi = vf_min(most, vf_max(least, hi));
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
        _mm512_mask_storeu_epi16(y + i * ldy, mask, _mm512_permutexvar_epi64(order, both));
    }
}

DN_INLINE void dd_block(int kw, int sw, int px, bool is_table, const dd_group *g, int64_t c,
                        __mmask32 mask) {
    const float *w = g->weights + c / DD_CHANNELS * g->w_step;
    dd_sums sums;
#pragma GCC unroll 8
    for (int i = 0; i < px; ++i) {
        sums.lo[i] = vf_load(g->bias + c);
        sums.hi[i] = vf_load(g->bias + c + VW);
    }
    for (int64_t pair = 0; pair < g->pairs; ++pair, w += kw * DD_CHANNELS)
        dd_rows(kw, sw, px, is_table, g, pair, c, w, mask, &sums);
    dd_store(px, g, c, mask, &sums);
}

DN_INLINE void dd_channels(int kw, int sw, int px, bool is_table, const dd_group *g) {
    int64_t c = 0;
    for (; c + DD_CHANNELS <= g->channels; c += DD_CHANNELS)
        dd_block(kw, sw, px, is_table, g, c, 0xffffffffu);
    if (c < g->channels)
        dd_block(kw, sw, px, is_table, g, c, (1u << (g->channels - c)) - 1u);
}

#define DD_FN(kw, sw)                                                                              \
    static void dd_##kw##_##sw(const dd_group *g) {                                                \
        if (g->px > DW_PX_FEW) {                                                                   \
            if (g->table)                                                                          \
                dd_channels(kw, sw, DW_PX, true, g);                                               \
            else                                                                                   \
                dd_channels(kw, sw, DW_PX, false, g);                                              \
        } else if (g->table) {                                                                     \
            dd_channels(kw, sw, DW_PX_FEW, true, g);                                               \
        } else {                                                                                   \
            dd_channels(kw, sw, DW_PX_FEW, false, g);                                              \
        }                                                                                          \
    }
DD_FN(3, 1)
DD_FN(3, 2)
DD_FN(5, 1)
DD_FN(5, 2)
DD_FN(7, 1)
#undef DD_FN

typedef void dd_fn(const dd_group *g);

static dd_fn *dd_fn_for(const hone_conv *p) {
    return p->kw == 7   ? dd_7_1
           : p->kw == 5 ? (p->sw == 1 ? dd_5_1 : dd_5_2)
           : p->sw == 1 ? dd_3_1
                        : dd_3_2;
}

static int64_t dd_columns(const hone_conv *p) {
    return (DW_PX - 1) * p->sw + p->kw;
}

static size_t dd_table_bytes(const hone_conv *p) {
    return (size_t)dn_round(dd_columns(p) * DD_ROWS * (int64_t)sizeof(uint16_t *), 64);
}

/* The table of pointers, then a pixel of zeros. */
static size_t dd_scratch_bytes(const hone_conv *p) {
    return dd_table_bytes(p) + sizeof(uint16_t) * (size_t)p->ic;
}

/* Pointers to the columns from column ix on. */
static void dd_point(const hone_conv *p, const dd_group *g, int64_t ix, const uint16_t *zero,
                     const uint16_t **to) {
    for (int64_t r = 0; r < 2 * g->pairs; ++r) {
        for (int64_t j = 0; j < g->columns; ++j) {
            bool is_in = ix + j >= 0 && ix + j < p->iw;
            *to++ = is_in ? g->row[r] + (ix + j) * g->step[r] : zero;
        }
    }
}

/* An output row; g: its first pixel, rows from column 0 on. */
static void dd_line(const hone_conv *p, const dd_group *line, const uint16_t **table,
                    const uint16_t *zero) {
    dd_fn *run = dd_fn_for(p);
    dd_group g = *line;
    for (int64_t ox = 0; ox < p->ow; ox += g.px) {
        g.px = dw_next(p->ow - ox);
        int64_t ix = ox * p->sw - p->pl, most = g.px > DW_PX_FEW ? DW_PX : DW_PX_FEW;
        bool is_inside = ix >= 0 && ix + (most - 1) * p->sw + p->kw <= p->iw;
        g.table = is_inside ? NULL : table;
        if (!is_inside)
            dd_point(p, line, ix, zero, table);
        for (int64_t r = 0; r < 2 * g.pairs && is_inside; ++r)
            g.row[r] = line->row[r] + ix * g.step[r];
        run(&g);
        g.y += g.px * g.ldy;
        g.residual = g.residual ? g.residual + g.px * g.ldr : NULL;
    }
}

/* Rows of the window of output row oy, from channel c on; zeros outside of the picture. */
static void dd_window(const hone_conv *p, const uint16_t *x, int64_t oy, const uint16_t *zero,
                      dd_group *g) {
    for (int64_t r = 0; r < 2 * g->pairs; ++r) {
        int64_t iy = oy * p->sh - p->pt + r * p->dh;
        bool is_in = r < p->kh && iy >= 0 && iy < p->ih;
        g->row[r] = is_in ? x + iy * p->iw * p->ldx : zero;
        g->step[r] = is_in ? p->ldx : 0;
    }
}

static void dd_run(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch) {
    const dw_shape s = dw_shape_of(p);
    const int64_t blocks = dn_ceil(p->oc, DD_CHANNELS), in = task / s.bands / s.parts;
    const dn_range band = dn_part(p->oh, task / s.parts % s.bands, s.bands);
    const dn_range part = dn_part(blocks, task % s.parts, s.parts);
    const int64_t end = dn_min(p->oc, part.to * DD_CHANNELS), taken = dw_taken(p, DD_CHANNELS);
    const uint16_t **table = scratch;
    uint16_t *zero = (uint16_t *)(void *)((char *)scratch + dd_table_bytes(p));
    memset(zero, 0, (size_t)p->ic * sizeof *zero);
    dn_tile t = {0};
    dn_tile_act(&t, p);
    dd_group g = {.columns = dd_columns(p),
                  .pairs = dd_pairs(p),
                  .w_step = dd_pairs(p) * p->kw * DD_CHANNELS,
                  .ldy = p->ldy,
                  .ldr = p->ldr,
                  .lo = t.lo,
                  .hi = t.hi};
    const float *weights = args->packed + blocks * DD_CHANNELS;
    for (int64_t c = part.from * DD_CHANNELS; c < end; c += taken) {
        g.channels = dn_min(taken, end - c);
        g.bias = args->packed + c;
        g.weights = weights + c / DD_CHANNELS * g.w_step;
        for (int64_t oy = band.from; oy < band.to; ++oy) {
            const int64_t pixel = (in * p->oh + oy) * p->ow;
            dd_window(p, (const uint16_t *)args->x + in * p->ih * p->iw * p->ldx + c, oy, zero, &g);
            g.y = (uint16_t *)args->y + pixel * p->ldy + c;
            g.residual =
                p->has_residual ? (const uint16_t *)args->residual + pixel * p->ldr + c : NULL;
            dd_line(p, &g, table, zero);
            if (t.act)
                t.act(t.a1, t.b1, g.y, p->ldy, p->ow, g.channels);
        }
    }
}

const hone_conv_kernel DN_NAME(dwdot) = {
    .name = DN_TEXT("dwdot"),
    .isa = DN_ISA,
    .storages = DN_STORAGES,
    .is_exact = true,
    .supports = dd_supports,
    .packed_bytes = dd_packed_bytes,
    .pack = dd_pack,
    .scratch_bytes = dd_scratch_bytes,
    .n_tasks = dw_n_tasks,
    .run = dd_run,
};
