/* Convolution as a matrix product over pointers to rows of channels (Dukhan, "The Indirect
 * Convolution Algorithm", arXiv 1907.02129); taps in the padding point to a row of zeros. With few
 * channels in a group, rows are gathered into scratch instead, so that k is long.
 *
 * Packed: bias [groups][columns padded to VW], then panels [groups][panel][tap][k][width], width =
 * DN_NR, less in the last panel: its columns padded to VW. */

typedef struct ig_shape {
    int64_t m, taps, icg, ocg, cols, panels; /* cols: ocg padded */
    int64_t mr, n_mb, n_nb, mb;              /* blocks of rows and of panels; mb: most rows */
    bool is_gathered;
} ig_shape;

static ig_shape ig_shape_of(const hone_conv *p) {
    ig_shape s = {.m = p->n * p->oh * p->ow, .taps = p->kh * p->kw};
    s.icg = p->ic / p->groups;
    s.ocg = p->oc / p->groups;
    s.cols = dn_round(s.ocg, VW);
    s.panels = dn_ceil(s.ocg, DN_NR);
    s.is_gathered = s.taps > 1 && s.icg <= 8 && p->groups == 1;
    s.mr = s.cols <= 2 * VW ? DN_MR_THIN : DN_MR;
    /* Rows of a block stay in L2 while the panels stream past. */
    int64_t row = s.is_gathered ? s.taps * s.icg : p->ic * dn_min(s.taps, p->sh * p->sw);
    int64_t mb = (128 << 10) / row;
    mb = mb < 4 * s.mr ? 4 * s.mr : mb > 240 ? 240 : mb;
    s.n_mb = dn_ceil(s.m, mb);
    s.mb = dn_ceil(s.m, s.n_mb);
    /* Enough tasks for a few threads, none too small to be worth handing over. */
    double work = (double)s.m * (double)s.icg * (double)s.taps * (double)p->oc;
    int64_t most = work > 8e5 ? (int64_t)(work < 8e6 ? work / 1e5 : 64) : 1;
    int64_t units = s.panels * p->groups, wanted = dn_min(dn_ceil(most, s.n_mb), units);
    s.n_nb = s.n_mb >= 8 ? 1 : dn_min(wanted, dn_ceil(16, s.n_mb));
    return s;
}

static const char *ig_supports(const hone_conv *p) {
    (void)p;
    return NULL;
}

static size_t ig_packed_bytes(const hone_conv *p) {
    ig_shape s = ig_shape_of(p);
    return sizeof(float) * (size_t)(p->groups * s.cols * (1 + s.taps * s.icg));
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
    ig_shape s = ig_shape_of(p);
    for (int64_t g = 0; g < p->groups; ++g) {
        for (int64_t o = 0; o < s.cols; ++o)
            *to++ = w->bias && o < s.ocg ? w->bias[g * s.ocg + o] : 0.0f;
    }
    for (int64_t g = 0; g < p->groups; ++g) {
        for (int64_t first = 0; first < s.cols; first += DN_NR) {
            int64_t width = dn_min(DN_NR, s.cols - first), n = dn_min(width, s.ocg - first);
            for (int64_t tap = 0; tap < s.taps; ++tap) {
                const float *from = w->data + (g * s.ocg + first) * w->so + tap / p->kw * w->sky +
                                    tap % p->kw * w->skx;
                for (int64_t i = 0; i < s.icg; ++i, to += width) {
                    ig_pack_row(from + i * w->si, w->so, n, width, to);
                }
            }
        }
    }
}

static size_t ig_scratch_bytes(const hone_conv *p) {
    ig_shape s = ig_shape_of(p);
    int64_t pointers = s.is_gathered ? s.mb : s.mb * s.taps;
    int64_t floats = s.is_gathered ? s.mb * s.taps * s.icg : p->ic;
    return (size_t)dn_round(pointers * (int64_t)sizeof(float *), 64) +
           sizeof(float) * (size_t)floats;
}

static int64_t ig_n_tasks(const hone_conv *p) {
    ig_shape s = ig_shape_of(p);
    return s.n_mb * s.n_nb;
}

/* Pointers of the taps of output pixel m: to[tap * step]. */
static void ig_point(const hone_conv *p, const float *x, const float *zero, int64_t m,
                     const float **to, int64_t step) {
    int64_t ox = m % p->ow, oy = m / p->ow % p->oh, in = m / p->ow / p->oh;
    int64_t x0 = ox * p->sw - p->pl, y0 = oy * p->sh - p->pt;
    for (int64_t ky = 0; ky < p->kh; ++ky) {
        int64_t iy = y0 + ky * p->dh;
        bool is_row = iy >= 0 && iy < p->ih;
        for (int64_t kx = 0; kx < p->kw; ++kx, to += step) {
            int64_t ix = x0 + kx * p->dw;
            *to = is_row && ix >= 0 && ix < p->iw ? x + ((in * p->ih + iy) * p->iw + ix) * p->ldx
                                                  : zero;
        }
    }
}

/* The taps of output pixel m, one after the other. */
static void ig_gather(const hone_conv *p, const float *x, int64_t m, float *to) {
    int64_t ox = m % p->ow, oy = m / p->ow % p->oh, in = m / p->ow / p->oh;
    int64_t x0 = ox * p->sw - p->pl, y0 = oy * p->sh - p->pt, row = p->kw * p->ic;
    bool is_inside = p->dw == 1 && p->ldx == p->ic && x0 >= 0 && x0 + p->kw <= p->iw;
    for (int64_t ky = 0; ky < p->kh; ++ky, to += row) {
        int64_t iy = y0 + ky * p->dh;
        const int64_t from = ((in * p->ih + iy) * p->iw + x0) * p->ldx; /* may be outside */
        if (iy < 0 || iy >= p->ih) {
            memset(to, 0, (size_t)row * sizeof *to);
        } else if (is_inside) {
            for (int64_t i = 0; i < row; i += VW) {
                int64_t left = row - i;
                if (left >= VW)
                    vf_store(to + i, vf_load(x + from + i));
                else
                    vf_store_n(to + i, vf_load_n(x + from + i, left), left);
            }
        } else {
            for (int64_t kx = 0; kx < p->kw; ++kx) {
                int64_t ix = x0 + kx * p->dw;
                bool is_pixel = ix >= 0 && ix < p->iw;
                for (int64_t c = 0; c < p->ic; ++c)
                    to[kx * p->ic + c] = is_pixel ? x[from + kx * p->dw * p->ldx + c] : 0.0f;
            }
        }
    }
}

/* Row pointers of the block [first, first + rows): tile after tile, [tap][row of tile]. */
static void ig_rows(const hone_conv *p, const ig_shape *s, const float *x, int64_t first,
                    int64_t rows, int64_t tiles, const float **to, float *room) {
    if (!s->is_gathered)
        memset(room, 0, (size_t)p->ic * sizeof *room);
    for (int64_t t = 0; t < tiles; ++t) {
        int64_t from = rows * t / tiles, mr = rows * (t + 1) / tiles - from;
        for (int64_t i = 0; i < mr; ++i) {
            int64_t m = first + from + i;
            if (s->is_gathered) {
                float *row = room + (from + i) * s->taps * s->icg;
                ig_gather(p, x, m, row);
                to[i] = row;
            } else {
                ig_point(p, x, room, m, to + i, mr);
            }
        }
        to += s->is_gathered ? mr : mr * s->taps;
    }
}

static void ig_run(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch) {
    const ig_shape s = ig_shape_of(p);
    const int64_t bm = task / s.n_nb, bn = task % s.n_nb, units = s.panels * p->groups;
    const int64_t first = s.m * bm / s.n_mb, rows = s.m * (bm + 1) / s.n_mb - first;
    const int64_t tiles = dn_ceil(rows, s.mr), k_all = s.taps * s.icg;
    const float **pointers = scratch;
    int64_t n_pointers = s.is_gathered ? s.mb : s.mb * s.taps;
    float *room = (float *)((char *)scratch + dn_round(n_pointers * (int64_t)sizeof(float *), 64));
    ig_rows(p, &s, args->x, first, rows, tiles, pointers, room);
    dn_tile t = {.taps = s.is_gathered ? 1 : s.taps, .k = s.is_gathered ? k_all : s.icg};
    t.ldr = p->ldr;
    t.ldy = p->ldy;
    dn_tile_act(&t, p);
    for (int64_t u = units * bn / s.n_nb; u < units * (bn + 1) / s.n_nb; ++u) {
        int64_t g = u / s.panels, col = u % s.panels * DN_NR;
        int64_t nv = dn_ceil(dn_min(DN_NR, s.ocg - col), VW);
        t.offset = g * s.icg;
        t.n = dn_min(DN_NR, s.ocg - col);
        t.bias = args->packed + g * s.cols + col;
        t.b = args->packed + p->groups * s.cols + (g * s.cols + col) * k_all;
        t.rows = pointers;
        for (int64_t i = 0; i < tiles; ++i) {
            int64_t from = rows * i / tiles, mr = rows * (i + 1) / tiles - from;
            int64_t at = first + from, c = g * s.ocg + col;
            t.y = (float *)args->y + at * p->ldy + c;
            t.residual = p->has_residual ? (const float *)args->residual + at * p->ldr + c : NULL;
            dn_tiles[mr - 1][nv - 1](&t);
            t.rows += mr * t.taps;
        }
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
