/* 3x3 convolution of stride 1 by Winograd's F(4x4,3x3) (Lavin and Gray, arXiv 1509.09308), with the
 * interpolation points 0, +-p, +-q and infinity, p = 5/8, q = 3/2, whose error is several times
 * less than that of 0, +-1, +-2. A block of tiles is transformed, multiplied and transformed back
 * while it stays in the cache.
 *
 * Errors: on inputs and weights of order 1, scaled to outputs of order 1, at most five times the
 * bound of the plain sum, which is 1.5e-6 + 1.2e-7 sqrt(9 ic); tests/kernels/test_conv.c checks it.
 * Engines built with is_exact do without.
 *
 * Packed: bias [columns padded to VW], then U [panel][36][ic][width], as panels of igemm.
 * Scratch: V [36][tile][ld], M [36][tile][DN_NR], row pointers. */

enum { WG_OUT = 4, WG_IN = 6, WG_N = 36, WG_TILES = 24 };

/* With a = p^2, b = q^2: rows of B^T are the coefficients of x (x^2-a)(x^2-b) over each root's
 * factor; G holds powers of the points over the products of their distances; A^T the powers. */
#define WG_P 0.625f
#define WG_Q 1.5f
#define WG_A (WG_P * WG_P)
#define WG_B (WG_Q * WG_Q)

static const char *wg_supports(const hone_conv *p) {
    if (p->kh != 3 || p->kw != 3)
        return "kernel is not 3x3";
    if (p->sh != 1 || p->sw != 1 || p->dh != 1 || p->dw != 1)
        return "stride or dilation is not 1";
    if (p->groups != 1)
        return "grouped";
    if (p->ic < VW || p->oc < VW)
        return "fewer channels than a vector has lanes";
    if (p->ic2 && (p->ic - p->ic2) % VW)
        return "the parts of the channels are no whole vectors";
    return NULL;
}

/* Transformed weights are four times as large, and every tile multiplies all of them: with few
 * tiles the time goes into reading them, and the gain is small. */
static const char *wg_wastes(const hone_conv *p) {
    enum { TILES = 8, WEIGHTS = 1 << 22 }; /* 16 MiB */
    int64_t tiles = (p->oh + WG_OUT - 1) / WG_OUT * ((p->ow + WG_OUT - 1) / WG_OUT);
    bool is_large = p->ic * p->oc > WEIGHTS / WG_N;
    return is_large && p->n * tiles < TILES ? "few tiles for over 16 MiB of transformed weights"
                                            : NULL;
}

static int64_t wg_cols(const hone_conv *p) {
    return dn_round(p->oc, VW);
}

static size_t wg_packed_bytes(const hone_conv *p) {
    return sizeof(float) * (size_t)(wg_cols(p) * (1 + WG_N * p->ic));
}

/* One dimension of the weight transform: 3 values to 6. */
static void wg_weight1(const double *g, int64_t step, double *u, int64_t u_step) {
    const double p = 0.625, q = 1.5, a = p * p, b = q * q;
    const double np = 2 * a * (a - b), nq = 2 * b * (b - a);
    double g0 = g[0], g1 = g[step], g2 = g[2 * step];
    u[0] = g0 / (a * b);
    u[u_step] = (g0 + p * g1 + a * g2) / np;
    u[2 * u_step] = (g0 - p * g1 + a * g2) / np;
    u[3 * u_step] = (g0 + q * g1 + b * g2) / nq;
    u[4 * u_step] = (g0 - q * g1 + b * g2) / nq;
    u[5 * u_step] = g2;
}

static void wg_weight(const hone_conv_weights *w, int64_t o, int64_t i, double u[WG_N]) {
    double g[9], t[18];
    for (int k = 0; k < 9; ++k)
        g[k] = (double)w->data[o * w->so + i * w->si + k / 3 * w->sky + k % 3 * w->skx];
    for (int x = 0; x < 3; ++x)
        wg_weight1(g + x, 3, t + x, 3);
    for (int y = 0; y < WG_IN; ++y)
        wg_weight1(t + 3 * y, 1, u + WG_IN * y, 1);
}

static void wg_pack(const hone_conv *p, const hone_conv_weights *w, float *to) {
    int64_t cols = wg_cols(p);
    for (int64_t o = 0; o < cols; ++o)
        *to++ = w->bias && o < p->oc ? w->bias[o] : 0.0f;
    for (int64_t first = 0; first < cols; first += DN_NR) {
        int64_t width = dn_min(DN_NR, cols - first);
        for (int64_t i = 0; i < p->ic; ++i) {
            for (int64_t o = 0; o < width; ++o) {
                double u[WG_N] = {0};
                if (first + o < p->oc)
                    wg_weight(w, first + o, i, u);
                for (int64_t k = 0; k < WG_N; ++k)
                    to[(k * p->ic + i) * width + o] = (float)u[k];
            }
        }
        to += WG_N * p->ic * width;
    }
}

typedef struct wg_shape {
    int64_t ty, tx, tiles, blocks, tb; /* tb: most tiles of a block */
    int64_t panels, n_nb;
    int64_t ldv; /* between tiles in V: kept off multiples of 4096 bytes */
} wg_shape;

static wg_shape wg_shape_of(const hone_conv *p) {
    wg_shape s = {.ty = dn_ceil(p->oh, WG_OUT), .tx = dn_ceil(p->ow, WG_OUT)};
    s.tiles = p->n * s.ty * s.tx;
    /* V and M of a block within 2 MiB: they need not stay in L2 as a whole, and every block reads
     * all weights, so that small blocks cost more. */
    int64_t tb = (int64_t)(2 << 20) / (WG_N * 4 * (p->ic + DN_NR));
    tb = tb < 2 * DN_MR ? 2 * DN_MR : tb > WG_TILES ? WG_TILES : tb;
    s.blocks = dn_ceil(s.tiles, tb);
    if (s.blocks > 4 && s.blocks < DN_MAX_TASKS)
        s.blocks = dn_round(s.blocks, 4);
    s.tb = dn_ceil(s.tiles, s.blocks);
    s.panels = dn_ceil(p->oc, DN_NR);
    /* Few blocks: share out panels too, at the cost of repeating the input transform. */
    s.n_nb = s.blocks >= 4 ? 1 : dn_min(s.panels, 2);
    s.ldv = dn_round(p->ic, VW) + VW;
    return s;
}

static size_t wg_scratch_bytes(const hone_conv *p) {
    wg_shape s = wg_shape_of(p);
    return sizeof(float) * (size_t)(WG_N * s.tb * (s.ldv + DN_NR));
}

static int64_t wg_n_tasks(const hone_conv *p) {
    wg_shape s = wg_shape_of(p);
    return s.blocks * s.n_nb;
}

/* d -> B^T d for one dimension. */
DN_INLINE void wg_input1(vf d0, vf d1, vf d2, vf d3, vf d4, vf d5, vf u[WG_IN]) {
    const vf a = vf_set1(WG_A), b = vf_set1(WG_B), ab = vf_set1(WG_A * WG_B);
    const vf sum = vf_set1(WG_A + WG_B), p = vf_set1(WG_P), q = vf_set1(WG_Q);
    vf even_p = vf_fnma(b, d2, d4), odd_p = vf_mul(p, vf_fnma(b, d1, d3));
    vf even_q = vf_fnma(a, d2, d4), odd_q = vf_mul(q, vf_fnma(a, d1, d3));
    u[0] = vf_fma(ab, d0, vf_fnma(sum, d2, d4));
    u[1] = vf_add(even_p, odd_p);
    u[2] = vf_sub(even_p, odd_p);
    u[3] = vf_add(even_q, odd_q);
    u[4] = vf_sub(even_q, odd_q);
    u[5] = vf_fma(ab, d1, vf_fnma(sum, d3, d5));
}

/* m -> A^T m for one dimension. */
DN_INLINE void wg_output1(vf m0, vf m1, vf m2, vf m3, vf m4, vf m5, vf y[WG_OUT]) {
    const vf p = vf_set1(WG_P), q = vf_set1(WG_Q), a = vf_set1(WG_A), b = vf_set1(WG_B);
    const vf p3 = vf_set1(WG_A * WG_P), q3 = vf_set1(WG_B * WG_Q);
    vf sp = vf_add(m1, m2), dp = vf_sub(m1, m2), sq = vf_add(m3, m4), dq = vf_sub(m3, m4);
    y[0] = vf_add(m0, vf_add(sp, sq));
    y[1] = vf_fma(p, dp, vf_mul(q, dq));
    y[2] = vf_fma(a, sp, vf_mul(b, sq));
    y[3] = vf_add(m5, vf_fma(p3, dp, vf_mul(q3, dq)));
}

typedef struct wg_at {
    int64_t in, oy, ox; /* image, first output pixel */
} wg_at;

static wg_at wg_where(const wg_shape *s, int64_t tile) {
    return (wg_at){tile / s->tx / s->ty, tile / s->tx % s->ty * WG_OUT, tile % s->tx * WG_OUT};
}

/* V of one tile, n <= VW channels: to[k * step]. is_inside: no pixel is padding. */
DN_INLINE void wg_input(const hone_conv *p, const dn_elem *x, int64_t ldx, wg_at at, bool is_inside,
                        int64_t n, float *to, int64_t step) {
    vf t[WG_IN][WG_IN]; /* [column][row] */
    const int64_t y0 = at.oy - p->pt, x0 = at.ox - p->pl, row = p->iw * ldx;
    const dn_elem *first = x + (at.in * p->ih + y0) * row + x0 * ldx;
    for (int64_t j = 0; j < WG_IN; ++j) {
        bool is_column = is_inside || (x0 + j >= 0 && x0 + j < p->iw);
        vf d[WG_IN];
#pragma GCC unroll 6
        for (int64_t i = 0; i < WG_IN; ++i) {
            bool is_in = is_inside || (is_column && y0 + i >= 0 && y0 + i < p->ih);
            d[i] = is_in ? dn_load(first + i * row + j * ldx, n) : vf_set1(0.0f);
        }
        wg_input1(d[0], d[1], d[2], d[3], d[4], d[5], t[j]);
    }
    for (int64_t i = 0; i < WG_IN; ++i) {
        vf u[WG_IN];
        wg_input1(t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i], u);
#pragma GCC unroll 6
        for (int64_t j = 0; j < WG_IN; ++j)
            vf_store(to + (i * WG_IN + j) * step, u[j]);
    }
}

/* n channels of a tile. */
static void wg_input_tile(const hone_conv *p, const dn_elem *x, int64_t ldx, int64_t n, wg_at at,
                          float *to, int64_t step) {
    const int64_t y0 = at.oy - p->pt, x0 = at.ox - p->pl;
    int64_t c = 0;
    if (y0 >= 0 && x0 >= 0 && y0 + WG_IN <= p->ih && x0 + WG_IN <= p->iw) {
        for (; c + VW <= n; c += VW)
            wg_input(p, x + c, ldx, at, true, VW, to + c, step);
    } else {
        for (; c + VW <= n; c += VW)
            wg_input(p, x + c, ldx, at, false, VW, to + c, step);
    }
    if (c < n)
        wg_input(p, x + c, ldx, at, false, n - c, to + c, step);
}

/* h x w pixels of output from y on. ld, ldr: elements from pixel to pixel and from row to row of y
 * and r, which may be NULL. */
typedef struct wg_place {
    dn_elem *y;
    const dn_elem *r;
    int64_t ld, row, ldr, row_r, h, w;
} wg_place;

/* Output of one tile, n <= VW columns from M: m[k * step]. is_whole: 4x4 pixels. */
DN_INLINE void wg_output(const wg_place *at, bool is_whole, bool has_residual, const float *m,
                         int64_t step, vf bias, vf lo, vf hi, int64_t n) {
    const int64_t h = is_whole ? WG_OUT : at->h, w = is_whole ? WG_OUT : at->w;
    const int64_t ld = at->ld, ldr = at->ldr, row = at->row, row_r = at->row_r;
    dn_elem *y = at->y;
    const dn_elem *r = at->r;
    vf s[WG_IN][WG_OUT]; /* [column][row] */
    for (int64_t j = 0; j < WG_IN; ++j) {
        const float *c = m + j * step;
        wg_output1(vf_load(c), vf_load(c + 6 * step), vf_load(c + 12 * step),
                   vf_load(c + 18 * step), vf_load(c + 24 * step), vf_load(c + 30 * step), s[j]);
    }
    for (int64_t i = 0; i < h; ++i, y += row) {
        vf o[WG_OUT];
        wg_output1(s[0][i], s[1][i], s[2][i], s[3][i], s[4][i], s[5][i], o);
#pragma GCC unroll 4
        for (int64_t j = 0; j < WG_OUT; ++j) {
            if (j >= w)
                break;
            vf v = vf_add(o[j], bias);
            if (has_residual)
                v = vf_add(v, dn_load(r + i * row_r + j * ldr, n));
            dn_store(y + j * ld, vf_min(hi, vf_max(lo, v)), n);
        }
    }
}

/* M = V U for one panel: 36 products of [tiles x ic] and [ic x width]. */
static void wg_multiply(const hone_conv *p, const wg_shape *s, int64_t n_tiles, const float *v,
                        const float *u, int64_t nv, float *m) {
    const float inf = __builtin_inff();
    const dn_cut cut = dn_cut_of(n_tiles, nv <= 2 ? DN_MR_THIN : DN_MR);
    const float *rows[DN_MR_MAX];
    dn_tile t = {
        .rows = rows, .taps = 1, .k = p->ic, .ldy = DN_NR, .n = nv * VW, .lo = -inf, .hi = inf};
    for (int64_t k = 0; k < WG_N; ++k) {
        t.b = u + k * p->ic * nv * VW;
        t.ahead = dn_ahead_of(t.b, t.k, nv * VW * (int64_t)sizeof *t.b, cut.tiles);
        for (int64_t i = 0, from = 0, mr; i < cut.tiles; ++i, from += mr) {
            mr = dn_cut_rows(&cut, i);
            for (int64_t r = 0; r < mr; ++r)
                rows[r] = v + (k * s->tb + from + r) * s->ldv;
            t.y = m + (k * s->tb + from) * DN_NR;
            dn_tile_for(mr, t.n)(&t);
            t.ahead.at += t.ahead.share;
        }
    }
}

/* n columns of a tile. */
static void wg_output_tile(const wg_place *tile, const float *m, int64_t step, const float *bias,
                           float least, float most, int64_t n) {
    const vf lo = vf_set1(least), hi = vf_set1(most);
    const bool is_whole = tile->h == WG_OUT && tile->w == WG_OUT;
    wg_place at = *tile;
    for (int64_t c = 0; c < n; c += VW) {
        if (!is_whole || n - c < VW)
            wg_output(&at, false, at.r != NULL, m + c, step, vf_load(bias + c), lo, hi, n - c);
        else if (at.r)
            wg_output(&at, true, true, m + c, step, vf_load(bias + c), lo, hi, VW);
        else
            wg_output(&at, true, false, m + c, step, vf_load(bias + c), lo, hi, VW);
        at.y += VW;
        at.r = at.r ? at.r + VW : NULL;
    }
}

/* Transform the panel's M into output pixels. */
static void wg_finish(const hone_conv *p, const hone_conv_args *args, const wg_shape *s,
                      int64_t first, int64_t n_tiles, int64_t col, int64_t n, const float *m) {
    dn_tile t = {0};
    dn_tile_act(&t, p);
    for (int64_t i = 0; i < n_tiles; ++i) {
        wg_at at = wg_where(s, first + i);
        int64_t pixel = (at.in * p->oh + at.oy) * p->ow + at.ox;
        wg_place place = {.y = (dn_elem *)args->y + pixel * p->ldy + col,
                          .ld = p->ldy,
                          .row = p->ow * p->ldy,
                          .ldr = p->ldr,
                          .row_r = p->ow * p->ldr,
                          .h = dn_min(WG_OUT, p->oh - at.oy),
                          .w = dn_min(WG_OUT, p->ow - at.ox)};
        if (p->has_residual)
            place.r = (const dn_elem *)args->residual + pixel * p->ldr + col;
        wg_output_tile(&place, m + i * DN_NR, s->tb * DN_NR, args->packed + col, t.lo, t.hi, n);
        for (int64_t row = 0; t.act && row < place.h; ++row)
            t.act(t.a1, t.b1, place.y + row * place.row, p->ldy, place.w, n);
    }
}

static void wg_run(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch) {
    const wg_shape s = wg_shape_of(p);
    const int64_t block = task / s.n_nb, part = task % s.n_nb;
    const int64_t first = s.tiles * block / s.blocks;
    const int64_t n_tiles = s.tiles * (block + 1) / s.blocks - first;
    float *v = scratch, *m = v + WG_N * s.tb * s.ldv;
    const int64_t ic1 = p->ic - p->ic2;
    for (int64_t i = 0; i < n_tiles; ++i) {
        const wg_at at = wg_where(&s, first + i);
        wg_input_tile(p, args->x, p->ldx, ic1, at, v + i * s.ldv, s.tb * s.ldv);
        if (p->ic2)
            wg_input_tile(p, args->x2, p->ldx2, p->ic2, at, v + i * s.ldv + ic1, s.tb * s.ldv);
    }
    const float *u = args->packed + wg_cols(p);
    for (int64_t b = s.panels * part / s.n_nb; b < s.panels * (part + 1) / s.n_nb; ++b) {
        int64_t col = b * DN_NR, n = dn_min(DN_NR, p->oc - col);
        wg_multiply(p, &s, n_tiles, v, u + col * WG_N * p->ic, dn_ceil(n, VW), m);
        wg_finish(p, args, &s, first, n_tiles, col, n, m);
    }
}

const hone_conv_kernel DN_NAME(wino4) = {
    .name = DN_TEXT("wino4"),
    .isa = DN_ISA,
    .storages = DN_STORAGES,
    .is_exact = false,
    .takes_more = true,
    .supports = wg_supports,
    .wastes = wg_wastes,
    .packed_bytes = wg_packed_bytes,
    .pack = wg_pack,
    .scratch_bytes = wg_scratch_bytes,
    .n_tasks = wg_n_tasks,
    .run = wg_run,
};
