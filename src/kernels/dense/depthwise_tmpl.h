/* Depthwise convolution: vectors of channels, DW_PX output pixels of a row at a time, at the ends
 * of rows DW_PX_FEW (or fewer are stored).
 *
 * Packed: bias [channels padded to VW], then weights [vector][tap][VW]. One task is a band of
 * output rows; in small pictures a part of the channels, as the products before and after them are
 * cut there (dn_split_of). */

enum { DW_PX = 7, DW_PX_FEW = 4 };

static const char *dw_supports(const hone_conv *p) {
    if (p->groups != p->ic || p->groups != p->oc)
        return "not depthwise with one output a channel";
    if (p->ic < VW)
        return "fewer channels than a vector has lanes";
    return NULL;
}

static size_t dw_packed_bytes(const hone_conv *p) {
    return sizeof(float) * (size_t)(dn_round(p->oc, VW) * (1 + p->kh * p->kw));
}

static void dw_pack(const hone_conv *p, const hone_conv_weights *w, float *to) {
    int64_t cols = dn_round(p->oc, VW), taps = p->kh * p->kw;
    for (int64_t c = 0; c < cols; ++c)
        *to++ = w->bias && c < p->oc ? w->bias[c] : 0.0f;
    for (int64_t first = 0; first < cols; first += VW) {
        for (int64_t tap = 0; tap < taps; ++tap) {
            for (int64_t c = first; c < first + VW; ++c)
                *to++ = c < p->oc ? w->data[c * w->so + tap / p->kw * w->sky + tap % p->kw * w->skx]
                                  : 0.0f;
        }
    }
}

/* A few output pixels of one row, and where the taps of their first channel lie: in `rows` rows of
 * the input, by pointers when some fall into the padding. */
typedef struct dw_group {
    const dn_elem *const *table; /* [row][column], or NULL: all inside, from x on */
    const dn_elem *x;
    int64_t row_step, pixel_step; /* of x */
    int64_t rows, columns, kw;
    const float *weights, *bias; /* [vector][w_step]: from the first row on */
    int64_t w_step;
    dn_elem *y;
    const dn_elem *residual;
    int64_t ldy, ldr, px, channels; /* px are stored */
    float lo, hi;
} dw_group;

/* acc += the taps of one row. Each column is loaded once for all the pixels that it reaches. */
DN_INLINE void dw_row(int kw, int sw, int px, const dn_elem *const *columns, const dn_elem *x,
                      int64_t pixel_step, int64_t c, const float *w, int64_t n, vf *acc) {
    vf k[8];
#pragma GCC unroll 8
    for (int kx = 0; kx < kw; ++kx)
        k[kx] = vf_load(w + kx * VW);
#pragma GCC unroll 32
    for (int j = 0; j < (px - 1) * sw + kw; ++j) {
        vf v = dn_load((columns ? columns[j] : x + j * pixel_step) + c, n);
#pragma GCC unroll 8
        for (int kx = 0; kx < kw; ++kx) {
            int i = (j - kx) / sw;
            if (j >= kx && i * sw == j - kx && i < px)
                acc[i] = vf_fma(v, k[kx], acc[i]);
        }
    }
}

DN_INLINE void dw_any_row(int px, const dw_group *g, const dn_elem *const *columns, int64_t c,
                          const float *w, int64_t n, vf *acc) {
    for (int64_t kx = 0; kx < g->kw; ++kx, columns += DW_PX) {
        vf k = vf_load(w + kx * VW);
#pragma GCC unroll 8
        for (int i = 0; i < px; ++i)
            acc[i] = vf_fma(dn_load(columns[i] + c, n), k, acc[i]);
    }
}

/* n <= VW channels, from channel c on. */
DN_INLINE void dw_vector(int kw, int sw, int px, bool is_table, const dw_group *g, int64_t c,
                         int64_t n) {
    const vf lo = vf_set1(g->lo), hi = vf_set1(g->hi);
    const float *w = g->weights + c / VW * g->w_step;
    vf acc[DW_PX];
#pragma GCC unroll 8
    for (int i = 0; i < px; ++i)
        acc[i] = vf_load(g->bias + c);
    for (int64_t r = 0; r < g->rows; ++r, w += g->kw * VW) {
        if (kw == 0)
            dw_any_row(px, g, g->table + r * g->columns, c, w, n, acc);
        else if (is_table)
            dw_row(kw, sw, px, g->table + r * g->columns, NULL, 0, c, w, n, acc);
        else
            dw_row(kw, sw, px, NULL, g->x + r * g->row_step, g->pixel_step, c, w, n, acc);
    }
    /* Read once: stores might change g, as far as the compiler knows. */
    const int64_t stored = g->px, ldy = g->ldy, ldr = g->ldr;
    const dn_elem *residual = g->residual;
    dn_elem *y = g->y + c;
#pragma GCC unroll 8
    for (int i = 0; i < px; ++i) {
        vf v = acc[i];
        if (i >= stored)
            break;
        if (residual)
            v = vf_add(v, dn_load(residual + i * ldr + c, n));
        dn_store(y + i * ldy, vf_min(hi, vf_max(lo, v)), n);
    }
}

DN_INLINE void dw_channels(int kw, int sw, int px, bool is_table, const dw_group *g) {
    int64_t c = 0;
    for (; c + VW <= g->channels; c += VW)
        dw_vector(kw, sw, px, is_table, g, c, VW);
    if (c < g->channels)
        dw_vector(kw, sw, px, is_table, g, c, g->channels - c);
}

#define DW_FN(kw, sw)                                                                              \
    static void dw_##kw##_##sw(const dw_group *g) {                                                \
        if (kw == 0 || g->table) {                                                                 \
            if (g->px > DW_PX_FEW)                                                                 \
                dw_channels(kw, sw, DW_PX, true, g);                                               \
            else                                                                                   \
                dw_channels(kw, sw, DW_PX_FEW, true, g);                                           \
        } else if (g->px > DW_PX_FEW) {                                                            \
            dw_channels(kw, sw, DW_PX, false, g);                                                  \
        } else {                                                                                   \
            dw_channels(kw, sw, DW_PX_FEW, false, g);                                              \
        }                                                                                          \
    }
DW_FN(0, 1)
DW_FN(3, 1)
DW_FN(3, 2)
DW_FN(5, 1)
DW_FN(5, 2)
DW_FN(7, 1)
#undef DW_FN

/* Kernel widths and strides that have code of their own; the first takes any. */
static const struct dw_kernel {
    int kw, sw;
    void (*run)(const dw_group *g);
} dw_kernels[] = {{0, 0, dw_0_1}, {3, 1, dw_3_1}, {3, 2, dw_3_2},
                  {5, 1, dw_5_1}, {5, 2, dw_5_2}, {7, 1, dw_7_1}};

typedef struct dw_shape {
    int64_t bands;   /* of output rows, */
    int64_t parts;   /* or parts of the vectors of channels, for each image: the tasks */
    int64_t columns; /* of a table of pointers: what DW_PX output pixels need of a row */
    const struct dw_kernel *kernel;
} dw_shape;

static dw_shape dw_shape_of(const hone_conv *p) {
    dw_shape s = {.columns = p->kw * DW_PX, .kernel = dw_kernels};
    for (size_t i = 1; i < sizeof dw_kernels / sizeof *dw_kernels && (p->dw == 1 || p->sw == 1);
         ++i) {
        if (dw_kernels[i].kw == p->kw && dw_kernels[i].sw == p->sw)
            s.kernel = &dw_kernels[i];
    }
    if (s.kernel->kw)
        s.columns = (DW_PX - 1) * p->sw + p->kw;
    double row = (double)p->ow * (double)p->oc * (double)p->kh * (double)p->kw;
    int64_t tasks = dn_ceil(p->oh, row > 1e5 ? 1 : dn_min(4, 1 + (int64_t)(1e5 / row)));
    bool is_small = p->oh * p->ow <= 64;
    s.bands = is_small ? 1 : tasks < 16 ? dn_min(p->oh, dn_round(tasks, 4)) : tasks;
    s.parts = is_small ? dn_min(dn_ceil(p->oc, VW), dn_power_of_2(tasks)) : 1;
    return s;
}

static size_t dw_table_bytes(const hone_conv *p) {
    return (size_t)dn_round(dw_shape_of(p).columns * p->kh * (int64_t)sizeof(dn_elem *), 64);
}

/* The table of pointers, then a pixel of zeros. */
static size_t dw_scratch_bytes(const hone_conv *p) {
    return dw_table_bytes(p) + sizeof(dn_elem) * (size_t)p->ic;
}

static int64_t dw_n_tasks(const hone_conv *p) {
    dw_shape s = dw_shape_of(p);
    return p->n * s.bands * s.parts;
}

/* The taps [*from, *to) of k that fall into [0, in), the first at position at. */
static void dw_taps(int64_t at, int64_t in, int64_t k, int64_t dilation, int64_t *from,
                    int64_t *to) {
    *from = at < 0 ? dn_min(k, dn_ceil(-at, dilation)) : 0;
    *to = at >= in ? 0 : dn_min(k, dn_ceil(in - at, dilation));
    if (*to < *from)
        *to = *from;
}

/* Output pixels of a group are as far apart as taps: dilated kernels with code of their own take
 * every dw-th pixel, and the others in further passes. */
static int64_t dw_step(const hone_conv *p, const dw_shape *s) {
    return s->kernel->kw ? p->dw : 1;
}

/* Pointers to the columns from output pixel ox on, for the rows of the input from x on. */
static void dw_point(const hone_conv *p, const dw_shape *s, const dn_elem *x, int64_t rows,
                     int64_t ox, const dn_elem *zero, const dn_elem **to) {
    for (int64_t j = 0; j < s->columns; ++j) {
        int64_t ix = ox * p->sw - p->pl +
                     (s->kernel->kw ? j * p->dw : j % DW_PX * p->sw + j / DW_PX * p->dw);
        bool is_in = ix >= 0 && ix < p->iw;
        for (int64_t r = 0; r < rows; ++r)
            to[r * s->columns + j] = is_in ? x + r * p->dh * p->iw * p->ldx + ix * p->ldx : zero;
    }
}

/* Pixels of the next group when `left` are left of the row. */
static int64_t dw_next(int64_t left) {
    return left == 2 * DW_PX_FEW || left < DW_PX_FEW ? dn_min(left, DW_PX_FEW)
                                                     : dn_min(left, DW_PX);
}

/* Every step-th pixel of an output row from `first` on; g describes the row's first pixel and
 * channels. x: the first row of the input that counts, first channel. */
static void dw_pass(const hone_conv *p, const dw_shape *s, dw_group g, const dn_elem *x,
                    int64_t first, const dn_elem **table, const dn_elem *zero) {
    const int64_t step = dw_step(p, s), n = dn_ceil(p->ow - first, step);
    g.y += first * g.ldy;
    g.residual = g.residual ? g.residual + first * g.ldr : NULL;
    g.ldy *= step;
    g.ldr *= step;
    g.pixel_step *= step;
    for (int64_t i = 0; i < n; i += g.px) {
        g.px = dw_next(n - i);
        int64_t ox = first + i * step, ix = ox * p->sw - p->pl,
                most = g.px > DW_PX_FEW ? DW_PX : DW_PX_FEW;
        bool is_inside =
            s->kernel->kw && ix >= 0 && ix + ((most - 1) * p->sw + p->kw - 1) * step < p->iw;
        g.x = is_inside ? x + ix * p->ldx : x;
        g.table = NULL;
        if (!is_inside) {
            dw_point(p, s, x, g.rows, ox, zero, table);
            g.table = table;
        }
        s->kernel->run(&g);
        g.y += g.px * g.ldy;
        g.residual = g.residual ? g.residual + g.px * g.ldr : NULL;
    }
}

static void dw_line(const hone_conv *p, const dw_shape *s, const dw_group *g, const dn_elem *x,
                    const dn_elem **table, const dn_elem *zero) {
    for (int64_t first = 0; first < dn_min(dw_step(p, s), p->ow); ++first)
        dw_pass(p, s, *g, x, first, table, zero);
}

/* Channels of a pass over the rows, a multiple of `unit`: what a window spans stays in L1 for the
 * next output row. */
static int64_t dw_taken(const hone_conv *p, int64_t unit) {
    enum { L1_PART = 20 << 10 };
    int64_t fit = L1_PART / ((int64_t)sizeof(dn_elem) * p->kh * p->iw) / unit * unit;
    return fit < 2 * unit ? 2 * unit : fit;
}

static void dw_run(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch) {
    const dw_shape s = dw_shape_of(p);
    const int64_t in = task / s.bands / s.parts, cols = dn_round(p->oc, VW);
    const dn_range band = dn_part(p->oh, task / s.parts % s.bands, s.bands);
    const dn_range vectors = dn_part(cols / VW, task % s.parts, s.parts);
    const int64_t end = dn_min(p->oc, vectors.to * VW), taken = dw_taken(p, 2 * VW);
    dn_elem *zero = (dn_elem *)((char *)scratch + dw_table_bytes(p));
    memset(zero, 0, (size_t)p->ic * sizeof *zero);
    dn_tile t = {0};
    dn_tile_act(&t, p);
    dw_group g = {.row_step = p->dh * p->iw * p->ldx,
                  .pixel_step = p->ldx,
                  .columns = s.columns,
                  .kw = p->kw,
                  .w_step = p->kh * p->kw * VW,
                  .ldy = p->ldy,
                  .ldr = p->ldr,
                  .lo = t.lo,
                  .hi = t.hi};
    for (int64_t c = vectors.from * VW; c < end; c += taken) {
        g.channels = dn_min(taken, end - c);
        g.bias = args->packed + c;
        for (int64_t oy = band.from; oy < band.to; ++oy) {
            int64_t iy = oy * p->sh - p->pt, pixel = (in * p->oh + oy) * p->ow, from, to;
            dw_taps(iy, p->ih, p->kh, p->dh, &from, &to);
            const dn_elem *x = (const dn_elem *)args->x +
                               (in * p->ih + (to > from ? iy + from * p->dh : 0)) * p->iw * p->ldx;
            g.rows = to - from;
            g.weights = args->packed + cols + c * p->kh * p->kw + from * p->kw * VW;
            g.y = (dn_elem *)args->y + pixel * p->ldy + c;
            g.residual =
                p->has_residual ? (const dn_elem *)args->residual + pixel * p->ldr + c : NULL;
            dw_line(p, &s, &g, x + c, scratch, zero);
            if (t.act)
                t.act(t.a1, t.b1, g.y, p->ldy, p->ow, g.channels);
        }
    }
}

const hone_conv_kernel DN_NAME(dw) = {
    .name = DN_TEXT("dw"),
    .isa = DN_ISA,
    .storages = DN_STORAGES,
    .is_exact = true,
    .supports = dw_supports,
    .packed_bytes = dw_packed_bytes,
    .pack = dw_pack,
    .scratch_bytes = dw_scratch_bytes,
    .n_tasks = dw_n_tasks,
    .run = dw_run,
};
