/* Convolution of pictures as they come, [n][channels][ih][iw] with few channels: the first layer of
 * a network. For each row of results the rows that its windows touch are laid out in scratch with
 * their padding, so that a tap of neighbouring results lies at constant distances. With DN_BF16, x
 * is FP32 all the same: two rows at a time are rounded and interleaved, as VDPBF16PS wants them.
 *
 * Packed: bias [columns padded to VW], then panels [panel][line][kx][width] of 4 bytes; width =
 * IM_NR, less in the last panel; a line is a channel's ky, or two of them as BF16. One task is a
 * band of output rows. */

enum { IM_MR = DN_MR_THIN, IM_NV = 2, IM_NR = IM_NV * VW };
#define IM_TASK_MACS 8e5

typedef struct im_shape {
    int64_t rows, lines;         /* rows of a window over all channels; lines in scratch */
    int64_t width, cols, panels; /* of a line, with what full tiles and vectors reach beyond */
    int64_t band, n_bands;       /* output rows of a task; tasks of a picture */
} im_shape;

static im_shape im_shape_of(const hone_conv *p) {
    im_shape s = {.rows = p->ic * p->kh};
#ifdef DN_BF16
    s.lines = dn_ceil(s.rows, 2);
#else
    s.lines = s.rows;
#endif
    s.width = (dn_round(p->ow, IM_MR) - 1) * p->sw + (p->kw - 1) * p->dw + 1 + VW;
    s.cols = dn_round(p->oc, VW);
    s.panels = dn_ceil(p->oc, IM_NR);
    double macs = (double)(p->ow * p->oc) * (double)(s.rows * p->kw);
    s.band = macs < IM_TASK_MACS ? dn_min(p->oh, (int64_t)(IM_TASK_MACS / macs)) : 1;
    s.n_bands = dn_ceil(p->oh, s.band);
    return s;
}

static const char *im_supports(const hone_conv *p) {
    if (p->x_storage != HONE_ELEM_F32 || !hone_conv_takes_planar(p->ic, p->kh, p->kw, p->groups))
        return "more channels, or wider windows, than pictures have";
    return NULL;
}

static size_t im_packed_bytes(const hone_conv *p) {
    im_shape s = im_shape_of(p);
    return sizeof(float) * (size_t)(s.cols * (1 + s.lines * p->kw));
}

/* The weight of row r, which may be one too many. */
static float im_weight(const hone_conv *p, const hone_conv_weights *w, int64_t o, int64_t r,
                       int64_t kx) {
    if (o >= p->oc || r >= p->ic * p->kh)
        return 0.0f;
    return w->data[o * w->so + r / p->kh * w->si + r % p->kh * w->sky + kx * w->skx];
}

static void im_pack(const hone_conv *p, const hone_conv_weights *w, float *to) {
    const im_shape s = im_shape_of(p);
    for (int64_t o = 0; o < s.cols; ++o)
        *to++ = w->bias && o < p->oc ? w->bias[o] : 0.0f;
    for (int64_t first = 0; first < s.cols; first += IM_NR) {
        for (int64_t i = 0; i < s.lines * p->kw; ++i) {
            int64_t line = i / p->kw, kx = i % p->kw;
            for (int64_t o = first; o < dn_min(first + IM_NR, s.cols); ++o, ++to) {
#ifdef DN_BF16
                uint16_t pair[2] = {dot_round(im_weight(p, w, o, 2 * line, kx)),
                                    dot_round(im_weight(p, w, o, 2 * line + 1, kx))};
                memcpy(to, pair, sizeof pair);
#else
                *to = im_weight(p, w, o, line, kx);
#endif
            }
        }
    }
}

/* ---- lines ------------------------------------------------------------------------------------
 */

#ifdef DN_BF16
/* n pairs, the first half from a; NULL: zeros. What is stored behind them does not matter. */
static void im_interleave(const float *a, const float *b, int64_t n, float *to) {
    for (int64_t i = 0; i < n; i += VW) {
        vf low = a ? vf_load_n(a + i, dn_min(n - i, VW)) : vf_set1(0.0f);
        vf high = b ? vf_load_n(b + i, dn_min(n - i, VW)) : vf_set1(0.0f);
        __m512i pair = _mm512_slli_epi32(_mm512_cvtepu16_epi32(vf_bf16(high)), 16);
        _mm512_storeu_si512(to + i, _mm512_or_si512(pair, _mm512_cvtepu16_epi32(vf_bf16(low))));
    }
}
#endif

/* Row r of the windows of output row oy, NULL where it is padding. x: the picture. */
static const float *im_row(const hone_conv *p, const float *x, int64_t oy, int64_t r) {
    int64_t iy = oy * p->sh - p->pt + r % p->kh * p->dh;
    return r < p->ic * p->kh && iy >= 0 && iy < p->ih ? x + (r / p->kh * p->ih + iy) * p->iw : NULL;
}

/* The line that row r, and with BF16 the one after, makes. */
static void im_line(const hone_conv *p, const im_shape *s, const float *x, int64_t oy, int64_t line,
                    float *to) {
    const int64_t from = dn_min(p->pl, s->width), n = dn_min(p->iw, s->width - VW - from);
    memset(to, 0, (size_t)from * sizeof *to);
#ifdef DN_BF16
    if (n > 0)
        im_interleave(im_row(p, x, oy, 2 * line), im_row(p, x, oy, 2 * line + 1), n, to + from);
#else
    const float *row = im_row(p, x, oy, line);
    if (n > 0 && row)
        memcpy(to + from, row, (size_t)n * sizeof *to);
    else if (n > 0)
        memset(to + from, 0, (size_t)n * sizeof *to);
#endif
    if (n >= 0)
        memset(to + from + n, 0, (size_t)(s->width - from - n) * sizeof *to);
}

/* ---- the register tile ------------------------------------------------------------------------
 */

typedef struct im_tile {
    const float *x; /* the first result's first tap */
    int64_t lines, width, kw, sw, dw;
    const float *b, *bias; /* [line][kx][nv * VW] */
    dn_elem *y;
    const dn_elem *residual; /* or NULL */
    int64_t ldy, ldr, m, n;  /* m rows of n columns are stored */
    float lo, hi, a1, b1;
    hone_act act;
    bool is_late; /* clipping does not do the activation */
} im_tile;

/* acc += a line's tap of IM_MR results. */
DN_INLINE void im_tap(int nv, const float *a, int64_t sw, const float *b, vf (*acc)[IM_NV]) {
#ifdef DN_BF16
    __m512i w[IM_NV];
#pragma GCC unroll 2
    for (int v = 0; v < nv; ++v)
        w[v] = _mm512_loadu_si512(b + v * VW);
#pragma GCC unroll 8
    for (int i = 0; i < IM_MR; ++i)
        dot_row(nv, (const uint16_t *)(const void *)(a + i * sw), w, acc[i]);
#else
    vf w[IM_NV];
#pragma GCC unroll 2
    for (int v = 0; v < nv; ++v)
        w[v] = vf_load(b + v * VW);
#pragma GCC unroll 8
    for (int i = 0; i < IM_MR; ++i) {
        vf one = vf_set1(a[i * sw]);
#pragma GCC unroll 2
        for (int v = 0; v < nv; ++v)
            acc[i][v] = vf_fma(one, w[v], acc[i][v]);
    }
#endif
}

static void im_late(const im_tile *t, int nv, const vf *sums) {
    const vf a = vf_set1(t->a1), b = vf_set1(t->b1);
    for (int64_t i = 0; i < t->m; ++i) {
        for (int64_t v = 0; v < nv; ++v)
            dn_store(t->y + i * t->ldy + v * VW, dn_act1(t->act, sums[i * IM_NV + v], a, b),
                     t->n - v * VW);
    }
}

/* All rows of whole vectors. */
DN_INLINE void im_store_all(int nv, dn_elem *y, int64_t ld, vf lo, vf hi, vf (*acc)[IM_NV]) {
#pragma GCC unroll 8
    for (int i = 0; i < IM_MR; ++i, y += ld) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; ++v)
            acc[i][v] = vf_min(hi, vf_max(lo, acc[i][v]));
#ifdef DN_BF16
        if (nv == 2) {
            _mm512_storeu_si512(y, (__m512i)_mm512_cvtne2ps_pbh(acc[i][nv - 1], acc[i][0]));
            continue;
        }
#endif
#pragma GCC unroll 2
        for (int v = 0; v < nv; ++v)
            dn_store(y + v * VW, acc[i][v], VW);
    }
}

DN_INLINE void im_finish(int nv, const im_tile *t, vf (*acc)[IM_NV]) {
    const vf lo = vf_set1(t->lo), hi = vf_set1(t->hi);
    /* Read once: stores might change t, as far as the compiler knows. */
    const int64_t m = t->m, n = t->n, ldy = t->ldy, ldr = t->ldr;
    const dn_elem *residual = t->residual;
    const bool is_late = t->is_late;
    dn_elem *y = t->y;
    if (m == IM_MR && n == nv * VW && !residual && !is_late) {
        im_store_all(nv, y, ldy, lo, hi, acc);
        return;
    }
#pragma GCC unroll 8
    for (int i = 0; i < IM_MR; ++i) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; ++v) {
            int64_t left = n - v * VW;
            if (i >= m)
                continue;
            if (residual)
                acc[i][v] = vf_add(acc[i][v], dn_load(residual + i * ldr + v * VW, left));
            acc[i][v] = vf_min(hi, vf_max(lo, acc[i][v]));
            if (!is_late)
                dn_store(y + i * ldy + v * VW, acc[i][v], left);
        }
    }
    if (!is_late)
        return;
    vf sums[IM_MR * IM_NV];
#pragma GCC unroll 8
    for (int i = 0; i < IM_MR; ++i) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; ++v)
            sums[i * IM_NV + v] = acc[i][v];
    }
    im_late(t, nv, sums);
}

DN_INLINE void im_tile_run(int nv, int64_t sw, const im_tile *t) {
    vf acc[IM_MR][IM_NV];
    const float *b = t->b;
#pragma GCC unroll 8
    for (int i = 0; i < IM_MR; ++i) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; ++v)
            acc[i][v] = vf_load(t->bias + v * VW);
    }
    for (int64_t line = 0; line < t->lines; ++line) {
        const float *a = t->x + line * t->width;
        for (int64_t kx = 0; kx < t->kw; ++kx, a += t->dw, b += nv * VW)
            im_tap(nv, a, sw, b, acc);
    }
    im_finish(nv, t, acc);
}

/* By vectors, and by strides that have code of their own. */
#define IM_TILE(nv)                                                                                \
    static void im_tile_##nv(const im_tile *t) {                                                   \
        if (t->sw == 1)                                                                            \
            im_tile_run(nv, 1, t);                                                                 \
        else if (t->sw == 2)                                                                       \
            im_tile_run(nv, 2, t);                                                                 \
        else                                                                                       \
            im_tile_run(nv, t->sw, t);                                                             \
    }
IM_TILE(1)
IM_TILE(2)
#undef IM_TILE

/* ---- the product ------------------------------------------------------------------------------
 */

static size_t im_scratch_bytes(const hone_conv *p) {
    im_shape s = im_shape_of(p);
    return sizeof(float) * (size_t)(s.lines * s.width);
}

static int64_t im_n_tasks(const hone_conv *p) {
    return p->n * im_shape_of(p).n_bands;
}

/* Output pixels [pixel, pixel + ow), a row whose lines are there. */
static void im_output_row(const hone_conv *p, const im_shape *s, const hone_conv_args *args,
                          const float *lines, int64_t pixel, im_tile t) {
    for (int64_t panel = 0; panel < s->panels; ++panel) {
        const int64_t col = panel * IM_NR;
        t.n = dn_min(IM_NR, p->oc - col);
        t.bias = args->packed + col;
        t.b = args->packed + s->cols + col * s->lines * p->kw;
        for (int64_t ox = 0; ox < p->ow; ox += IM_MR) {
            t.x = lines + ox * p->sw;
            t.m = dn_min(IM_MR, p->ow - ox);
            t.y = (dn_elem *)args->y + (pixel + ox) * p->ldy + col;
            if (p->has_residual)
                t.residual = (const dn_elem *)args->residual + (pixel + ox) * p->ldr + col;
            if (t.n > VW)
                im_tile_2(&t);
            else
                im_tile_1(&t);
        }
    }
}

static void im_run(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch) {
    const im_shape s = im_shape_of(p);
    const int64_t picture = task / s.n_bands, first = task % s.n_bands * s.band;
    const float *x = (const float *)args->x + picture * p->ic * p->ih * p->iw;
    float *lines = scratch;
    dn_tile act = {0};
    dn_tile_act(&act, p);
    const im_tile t = {.lines = s.lines,
                       .width = s.width,
                       .kw = p->kw,
                       .sw = p->sw,
                       .dw = p->dw,
                       .ldy = p->ldy,
                       .ldr = p->ldr,
                       .lo = act.lo,
                       .hi = act.hi,
                       .a1 = act.a1,
                       .b1 = act.b1,
                       .act = p->act,
                       .is_late = act.act != NULL};
    for (int64_t oy = first; oy < dn_min(first + s.band, p->oh); ++oy) {
        for (int64_t line = 0; line < s.lines; ++line)
            im_line(p, &s, x, oy, line, lines + line * s.width);
        im_output_row(p, &s, args, lines, (picture * p->oh + oy) * p->ow, t);
    }
}

const hone_conv_kernel DN_NAME(image) = {
    .name = DN_TEXT("image"),
    .isa = DN_ISA,
#ifdef DN_BF16
    .storages = HONE_CONV_MIXED,
#endif
    .is_exact = true,
    .is_planar = true,
    .supports = im_supports,
    .packed_bytes = im_packed_bytes,
    .pack = im_pack,
    .scratch_bytes = im_scratch_bytes,
    .n_tasks = im_n_tasks,
    .run = im_run,
};
