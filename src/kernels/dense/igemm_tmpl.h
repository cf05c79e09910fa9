/* Convolution as a matrix product over pointers to rows of channels (Dukhan, "The Indirect
 * Convolution Algorithm", arXiv 1907.02129); taps in the padding point to a row of zeros. With few
 * channels in a group, a row of the window counts as one tap, as it lies in memory in one piece; at
 * the edges of the input it is copied to scratch.
 *
 * Packed: bias [groups][columns padded to VW], then panels [groups][panel][tap][k][width], width =
 * DN_NR, less in the last panel: its columns padded to VW. */

enum { IG_PART = 1536 }; /* of k: with DN_NR columns less than half of L2 */

typedef struct ig_shape {
    int64_t m, taps, k, icg, ocg, cols, panels; /* k: of a tap; cols: ocg padded */
    int64_t mr;                                 /* rows of a tile */
    dn_split split;
    int64_t n_kb;   /* parts of k that are summed one after the other */
    bool is_merged; /* a tap is a row of the window */
    bool is_plain;  /* row m of A is pixel m */
} ig_shape;

static ig_shape ig_shape_of(const hone_conv *p) {
    ig_shape s = {.m = p->n * p->oh * p->ow, .taps = p->kh * p->kw};
    s.icg = p->ic / p->groups;
    s.ocg = p->oc / p->groups;
    s.k = s.icg;
    s.cols = dn_round(s.ocg, VW);
    s.panels = dn_ceil(s.ocg, DN_NR);
    s.is_merged = p->kw > 1 && s.icg <= 8 && p->groups == 1;
    if (s.is_merged) {
        s.taps = p->kh;
        s.k = p->kw * s.icg;
    }
    s.is_plain = p->kh * p->kw == 1 && p->sh * p->sw == 1 && p->ih == p->oh && p->iw == p->ow &&
                 p->pt + p->pl == 0;
    s.mr = s.cols <= 2 * VW ? DN_MR_THIN : DN_MR;
    /* A part of a panel stays in L2 while the rows of a block pass, */
    s.n_kb = s.taps == 1 && !s.is_merged ? dn_ceil(s.k, IG_PART) : 1;
    /* and the rows of a block while the panels stream past. */
    int64_t row = dn_ceil(p->ic, s.n_kb) * dn_min(p->kh * p->kw, p->sh * p->sw);
    int64_t mb = (128 << 10) / row;
    const dn_product product = {.m = s.m,
                                .units = s.panels * p->groups,
                                .most_rows = mb < 4 * s.mr ? 4 * s.mr : dn_min(mb, 240),
                                .mr = s.mr,
                                .work = (double)s.m * (double)s.k * (double)s.taps * (double)p->oc,
                                .a_bytes = 4.0 * (double)(p->n * p->ih * p->iw) * (double)p->ic,
                                .b_bytes = 4.0 * (double)(s.k * s.taps) * (double)p->oc};
    s.split = dn_split_of(&product);
    return s;
}

static const char *ig_supports(const hone_conv *p) {
    (void)p;
    return NULL;
}

static size_t ig_packed_bytes(const hone_conv *p) {
    ig_shape s = ig_shape_of(p);
    return sizeof(float) * (size_t)(p->groups * s.cols * (1 + s.taps * s.k));
}

static inline void ig_pack_row(const float *from, int64_t step, int64_t n, int64_t width,
                               float *to) {
    if (step == 1) {
        memcpy(to, from, (size_t)n * sizeof *to);
    } else {
        for (int64_t o = 0; o < n; ++o)
            to[o] = from[o * step];
    }
    for (int64_t o = n; o < width; ++o)
        to[o] = 0.0f;
}

static void ig_pack(const hone_conv *p, const hone_conv_weights *w, float *to) {
    const ig_shape s = ig_shape_of(p);
    const int64_t taps = p->kh * p->kw;
    for (int64_t g = 0; g < p->groups; ++g) {
        for (int64_t o = 0; o < s.cols; ++o)
            *to++ = w->bias && o < s.ocg ? w->bias[g * s.ocg + o] : 0.0f;
    }
    for (int64_t g = 0; g < p->groups; ++g) {
        for (int64_t first = 0; first < s.cols; first += DN_NR) {
            int64_t width = dn_min(DN_NR, s.cols - first), n = dn_min(width, s.ocg - first);
            for (int64_t tap = 0; tap < taps; ++tap) {
                const float *from = w->data + (g * s.ocg + first) * w->so + tap / p->kw * w->sky +
                                    tap % p->kw * w->skx;
                for (int64_t i = 0; i < s.icg; ++i, to += width) {
                    ig_pack_row(from + i * w->si, w->so, n, width, to);
                }
            }
        }
    }
}

static size_t ig_pointer_bytes(const ig_shape *s) {
    return (size_t)dn_round(s->split.mb * s->taps * (int64_t)sizeof(float *), 64);
}

/* Pointers, a tap of zeros, room for copied taps or for sums of the parts so far. */
static size_t ig_scratch_bytes(const hone_conv *p) {
    const ig_shape s = ig_shape_of(p);
    int64_t zeros = s.is_merged ? s.k : p->ic;
    int64_t floats = zeros + (s.is_merged ? s.split.mb * s.taps * s.k : 0);
    floats += s.n_kb > 1 ? s.split.mb * DN_NR : 0;
    return ig_pointer_bytes(&s) + sizeof(float) * (size_t)floats;
}

static int64_t ig_n_tasks(const hone_conv *p) {
    ig_shape s = ig_shape_of(p);
    return s.split.n_mb * s.split.n_nb;
}

typedef struct ig_pixel {
    int64_t in, oy, ox;
} ig_pixel;

static void ig_next(const hone_conv *p, ig_pixel *at) {
    if (++at->ox < p->ow)
        return;
    at->ox = 0;
    if (++at->oy < p->oh)
        return;
    at->oy = 0;
    ++at->in;
}

/* Pointers of the taps of an output pixel: to[tap * step]. */
static void ig_point(const hone_conv *p, const float *x, const float *zero, ig_pixel at,
                     const float **to, int64_t step) {
    int64_t x0 = at.ox * p->sw - p->pl, y0 = at.oy * p->sh - p->pt;
    for (int64_t ky = 0; ky < p->kh; ++ky) {
        int64_t iy = y0 + ky * p->dh, row = (at.in * p->ih + iy) * p->iw;
        bool is_row = iy >= 0 && iy < p->ih;
        for (int64_t kx = 0; kx < p->kw; ++kx, to += step) {
            int64_t ix = x0 + kx * p->dw;
            *to = is_row && ix >= 0 && ix < p->iw ? x + (row + ix) * p->ldx : zero;
        }
    }
}

/* Pointers of the rows of an output pixel's window; what no row of the input holds in one piece
 * goes to room. */
static void ig_point_merged(const hone_conv *p, const float *x, const float *zero, ig_pixel at,
                            const float **to, int64_t step, float *room) {
    int64_t x0 = at.ox * p->sw - p->pl, y0 = at.oy * p->sh - p->pt;
    bool is_inside = p->dw == 1 && p->ldx == p->ic && x0 >= 0 && x0 + p->kw <= p->iw;
    for (int64_t ky = 0; ky < p->kh; ++ky, to += step) {
        int64_t iy = y0 + ky * p->dh;
        const int64_t row = (at.in * p->ih + iy) * p->iw;
        if (iy < 0 || iy >= p->ih) {
            *to = zero;
        } else if (is_inside) {
            *to = x + (row + x0) * p->ldx;
        } else {
            *to = room;
            for (int64_t kx = 0; kx < p->kw; ++kx) {
                int64_t ix = x0 + kx * p->dw;
                bool is_pixel = ix >= 0 && ix < p->iw;
                for (int64_t c = 0; c < p->ic; ++c)
                    *room++ = is_pixel ? x[(row + ix) * p->ldx + c] : 0.0f;
            }
        }
    }
}

/* Whether no window of the tile of mr pixels from `at` on meets the padding, and all lie in one row
 * of the output: then pointers differ by a step. */
static bool ig_is_inner(const hone_conv *p, const ig_shape *s, ig_pixel at, int64_t mr) {
    int64_t x0 = at.ox * p->sw - p->pl, y0 = at.oy * p->sh - p->pt;
    return at.ox + mr <= p->ow && x0 >= 0 && y0 >= 0 && y0 + (p->kh - 1) * p->dh < p->ih &&
           x0 + (mr - 1) * p->sw + (p->kw - 1) * p->dw < p->iw &&
           (!s->is_merged || (p->dw == 1 && p->ldx == p->ic));
}

static void ig_point_inner(const hone_conv *p, const ig_shape *s, const float *x, ig_pixel at,
                           int64_t mr, const float **to) {
    const int64_t x0 = at.ox * p->sw - p->pl, y0 = at.oy * p->sh - p->pt, step = p->sw * p->ldx;
    const int64_t kw = s->is_merged ? 1 : p->kw;
    for (int64_t ky = 0; ky < p->kh; ++ky) {
        const float *row = x + (((at.in * p->ih + y0 + ky * p->dh) * p->iw) + x0) * p->ldx;
        for (int64_t kx = 0; kx < kw; ++kx, row += p->dw * p->ldx) {
            for (int64_t i = 0; i < mr; ++i)
                *to++ = row + i * step;
        }
    }
}

/* Row pointers of the block [first, first + rows): tile after tile, [tap][row of tile]. */
static void ig_rows(const hone_conv *p, const ig_shape *s, const float *x, int64_t first,
                    int64_t rows, const dn_cut *cut, const float **to, float *zero) {
    int64_t n_zeros = s->is_merged ? s->k : p->ic;
    float *room = zero + n_zeros;
    ig_pixel at = {first / p->ow / p->oh, first / p->ow % p->oh, first % p->ow};
    if (s->is_plain) {
        for (int64_t i = 0; i < rows; ++i)
            to[i] = x + (first + i) * p->ldx;
        return;
    }
    memset(zero, 0, (size_t)n_zeros * sizeof *zero);
    for (int64_t t = 0; t < cut->tiles; ++t) {
        int64_t mr = dn_cut_rows(cut, t);
        if (ig_is_inner(p, s, at, mr)) {
            ig_point_inner(p, s, x, at, mr, to);
            at.ox += mr - 1;
            ig_next(p, &at);
            to += mr * s->taps;
            continue;
        }
        for (int64_t i = 0; i < mr; ++i, ig_next(p, &at)) {
            if (s->is_merged) {
                ig_point_merged(p, x, zero, at, to + i, mr, room);
                room += s->taps * s->k;
            } else {
                ig_point(p, x, zero, at, to + i, mr);
            }
        }
        to += mr * s->taps;
    }
}

static bool ig_is_padding(const float *const *rows, int64_t mr, const float *zero) {
    for (int64_t i = 0; i < mr; ++i) {
        if (rows[i] != zero)
            return false;
    }
    return true;
}

/* Leaves out the first and last taps that lie in the padding for all of the tile's mr rows. */
static void ig_skip_padding(dn_tile *t, int64_t mr, int64_t width, const float *zero) {
    while (t->taps > 1 && ig_is_padding(t->rows, mr, zero)) {
        t->rows += mr;
        t->b += t->k * width;
        --t->taps;
    }
    while (t->taps > 1 && ig_is_padding(t->rows + (t->taps - 1) * mr, mr, zero))
        --t->taps;
}

/* What the tiles of one block of rows share. */
typedef struct ig_block {
    const hone_conv *p;
    const hone_conv_args *args;
    const ig_shape *s;
    const float **pointers;
    const float *zero; /* where taps in the padding point to */
    float *sums;
    int64_t first;
    dn_cut cut;
} ig_block;

/* Part `part` of the sums of panel u: the last one finishes them. t: a tile without its place. */
static void ig_part(const ig_block *j, dn_tile t, int64_t u, int64_t part) {
    const hone_conv *p = j->p;
    const ig_shape *s = j->s;
    const int64_t g = u / s->panels, col = u % s->panels * DN_NR, c = g * s->ocg + col;
    const int64_t from_k = s->k * part / s->n_kb, width = dn_min(DN_NR, s->cols - col);
    const bool is_last = part + 1 == s->n_kb;
    t.k = s->k * (part + 1) / s->n_kb - from_k;
    t.n = dn_min(DN_NR, s->ocg - col);
    t.offset = g * s->icg + from_k;
    t.bias = j->args->packed + g * s->cols + col;
    t.b = j->args->packed + p->groups * s->cols + (g * s->cols + col) * s->taps * s->k +
          from_k * width;
    t.rows = (const float *const *)j->pointers;
    const float *const *rows = t.rows;
    const float *const b = t.b;
    t.ahead = dn_ahead_of(t.b, t.taps * t.k, width * (int64_t)sizeof *t.b, j->cut.tiles);
    for (int64_t i = 0, from = 0, mr; i < j->cut.tiles; ++i, from += mr) {
        int64_t at = j->first + from;
        mr = dn_cut_rows(&j->cut, i);
        t.sum = part > 0 ? j->sums + from * DN_NR : NULL;
        if (is_last) {
            t.y = (float *)j->args->y + at * p->ldy + c;
            t.residual =
                p->has_residual ? (const float *)j->args->residual + at * p->ldr + c : NULL;
        } else {
            t.y = j->sums + from * DN_NR;
        }
        if (s->taps > 1)
            ig_skip_padding(&t, mr, width, j->zero);
        dn_tile_for(mr, t.n)(&t);
        t.ahead.at += t.ahead.share;
        rows += mr * s->taps;
        t.rows = rows;
        t.b = b;
        t.taps = s->taps;
    }
}

static void ig_run(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch) {
    const ig_shape s = ig_shape_of(p);
    const dn_range rows = dn_part(s.m, dn_row_block(&s.split, task), s.split.n_mb);
    const dn_range units =
        dn_part(s.panels * p->groups, dn_panel_block(&s.split, task), s.split.n_nb);
    const int64_t n = rows.to - rows.from;
    float *zero = (float *)((char *)scratch + ig_pointer_bytes(&s));
    ig_block j = {p, args, &s, scratch, zero, zero + p->ic, rows.from, dn_cut_of(n, s.mr)};
    ig_rows(p, &s, args->x, j.first, n, &j.cut, j.pointers, zero);
    dn_tile finish = {.taps = s.taps, .ldr = p->ldr, .ldy = p->ldy};
    dn_tile_act(&finish, p);
    const dn_tile sum = {.taps = s.taps, .ldy = DN_NR, .lo = -HUGE_VALF, .hi = HUGE_VALF};
    for (int64_t u = units.from; u < units.to; ++u) {
        for (int64_t part = 0; part < s.n_kb; ++part)
            ig_part(&j, part + 1 < s.n_kb ? sum : finish, u, part);
    }
}

const hone_conv_kernel DN_NAME(igemm) = {
    .name = DN_TEXT("igemm"),
    .isa = DN_ISA,
    .is_exact = true,
    .supports = ig_supports,
    .packed_bytes = ig_packed_bytes,
    .pack = ig_pack,
    .scratch_bytes = ig_scratch_bytes,
    .n_tasks = ig_n_tasks,
    .run = ig_run,
};
