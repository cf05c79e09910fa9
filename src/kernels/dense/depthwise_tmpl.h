/* Depthwise convolution: vectors of channels, DW_PX output pixels of a row at a time.
 *
 * Packed: bias [channels padded to VW], then weights [vector][tap][VW]. One task is a band of
 * output rows. */

enum { DW_PX = 4, DW_BAND = 4 };

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

static size_t dw_scratch_bytes(const hone_conv *p) {
    (void)p;
    return 0;
}

static int64_t dw_n_tasks(const hone_conv *p) {
    return p->n * dn_ceil(p->oh, DW_BAND);
}

DN_INLINE vf dw_load(const float *p, int64_t n) {
    return n >= VW ? vf_load(p) : vf_load_n(p, n);
}

/* px pixels from output column ox on, whose taps lie inside the row. xr: row ky = 0 of the window;
 * taps in rows [ky0, ky1) count. Sums go to y without the epilogue. */
DN_INLINE void dw_pixels(const hone_conv *p, int px, const float *x, int64_t iy0, int64_t ix0,
                         int64_t ky0, int64_t ky1, int64_t kx0, int64_t kx1, const float *w,
                         vf bias, int64_t n, vf *acc) {
    int64_t step = p->sw * p->ldx;
#pragma GCC unroll 4
    for (int i = 0; i < px; ++i)
        acc[i] = bias;
    for (int64_t ky = ky0; ky < ky1; ++ky) {
        const int64_t row = ((iy0 + ky * p->dh) * p->iw + ix0) * p->ldx;
        for (int64_t kx = kx0; kx < kx1; ++kx) {
            const int64_t at = row + kx * p->dw * p->ldx;
            vf k = vf_load(w + (ky * p->kw + kx) * VW);
#pragma GCC unroll 4
            for (int i = 0; i < px; ++i)
                acc[i] = vf_fma(dw_load(x + at + i * step, n), k, acc[i]);
        }
    }
}

DN_INLINE void dw_store(const hone_conv *p, const dn_tile *t, int px, float *y, const float *r,
                        int64_t n, const vf *acc) {
    const vf lo = vf_set1(t->lo), hi = vf_set1(t->hi);
#pragma GCC unroll 4
    for (int i = 0; i < px; ++i) {
        vf v = r ? vf_add(acc[i], dw_load(r + i * p->ldr, n)) : acc[i];
        v = vf_min(hi, vf_max(lo, v));
        if (n >= VW)
            vf_store(y + i * p->ldy, v);
        else
            vf_store_n(y + i * p->ldy, v, n);
    }
}

/* The taps [*from, *to) of k that fall into [0, in), the first at position at. */
static void dw_range(int64_t at, int64_t in, int64_t k, int64_t dilation, int64_t *from,
                     int64_t *to) {
    *from = at < 0 ? dn_min(k, dn_ceil(-at, dilation)) : 0;
    *to = at >= in ? 0 : dn_min(k, dn_ceil(in - at, dilation));
    if (*to < *from)
        *to = *from;
}

/* One output row of one vector of channels. */
DN_INLINE void dw_line(const hone_conv *p, const dn_tile *t, const float *x, int64_t oy,
                       const float *w, vf bias, int64_t n, float *y, const float *r) {
    int64_t iy0 = oy * p->sh - p->pt, ky0, ky1;
    dw_range(iy0, p->ih, p->kh, p->dh, &ky0, &ky1);
    int64_t reach = (p->kw - 1) * p->dw;
    for (int64_t ox = 0; ox < p->ow;) {
        vf acc[DW_PX];
        int64_t ix0 = ox * p->sw - p->pl, px = DW_PX;
        if (ix0 >= 0 && ox + DW_PX <= p->ow && ix0 + (DW_PX - 1) * p->sw + reach < p->iw) {
            dw_pixels(p, DW_PX, x, iy0, ix0, ky0, ky1, 0, p->kw, w, bias, n, acc);
            dw_store(p, t, DW_PX, y, r, n, acc);
        } else {
            int64_t kx0, kx1;
            px = 1;
            dw_range(ix0, p->iw, p->kw, p->dw, &kx0, &kx1);
            dw_pixels(p, 1, x, iy0, ix0, ky0, ky1, kx0, kx1, w, bias, n, acc);
            dw_store(p, t, 1, y, r, n, acc);
        }
        ox += px;
        y += px * p->ldy;
        r = r ? r + px * p->ldr : NULL;
    }
}

static void dw_run(const hone_conv *p, const hone_conv_args *args, int64_t task, void *scratch) {
    (void)scratch;
    const int64_t bands = dn_ceil(p->oh, DW_BAND), in = task / bands, cols = dn_round(p->oc, VW);
    const int64_t first = task % bands * DW_BAND, last = dn_min(first + DW_BAND, p->oh);
    const float *x = args->x + in * p->ih * p->iw * p->ldx;
    dn_tile t = {0};
    dn_tile_act(&t, p);
    for (int64_t oy = first; oy < last; ++oy) {
        int64_t at = (in * p->oh + oy) * p->ow;
        float *y = args->y + at * p->ldy;
        const float *r = p->has_residual ? args->residual + at * p->ldr : NULL;
        for (int64_t c = 0; c < p->oc; c += VW) {
            const float *w = args->packed + cols + c * p->kh * p->kw;
            vf bias = vf_load(args->packed + c);
            if (c + VW <= p->oc)
                dw_line(p, &t, x + c, oy, w, bias, VW, y + c, r ? r + c : NULL);
            else
                dw_line(p, &t, x + c, oy, w, bias, p->oc - c, y + c, r ? r + c : NULL);
        }
        if (t.act != HONE_ACT_NONE)
            dn_act(t.act, t.a1, t.b1, y, p->ldy, p->ow, p->oc);
    }
}

const hone_conv_kernel DN_NAME(dw) = {
    .name = DN_TEXT("dw"),
    .isa = DN_ISA,
    .is_exact = true,
    .supports = dw_supports,
    .packed_bytes = dw_packed_bytes,
    .pack = dw_pack,
    .scratch_bytes = dw_scratch_bytes,
    .n_tasks = dw_n_tasks,
    .run = dw_run,
};
