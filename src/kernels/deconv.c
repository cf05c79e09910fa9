#include "kernels/deconv.h"

#include <string.h>

hone_conv hone_deconv_gemm(const hone_conv *p) {
    hone_conv g = hone_conv_gemm(0, 0, p->ic);
    int64_t n_rows, n_columns;
    /* On overflow the sizes stay 0, which hone_conv_check() refuses. */
    if (__builtin_mul_overflow(p->n, p->ih, &n_rows) ||
        __builtin_mul_overflow(n_rows, p->iw, &n_rows) ||
        __builtin_mul_overflow(p->kh, p->kw, &n_columns) ||
        __builtin_mul_overflow(n_columns, p->oc, &n_columns))
        return g;
    g = hone_conv_gemm(n_rows, n_columns, p->ic);
    g.ldx = p->ldx;
    g.x_storage = p->x_storage;
    return g;
}

static void add_pixel(float *restrict y, const float *restrict z, int64_t n) {
    for (int64_t c = 0; c < n; ++c)
        y[c] += z[c];
}

/* Add what tap row ky of an input row gives to an output row. */
static void add_row(const hone_conv *p, const float *z, int64_t ky, float *y) {
    const int64_t columns = p->kh * p->kw * p->oc;
    for (int64_t ix = 0; ix < p->iw; ++ix) {
        for (int64_t kx = 0; kx < p->kw; ++kx) {
            int64_t ox = ix * p->sw - p->pl + kx * p->dw;
            if (ox >= 0 && ox < p->ow)
                add_pixel(y + ox * p->ldy, z + ix * columns + (ky * p->kw + kx) * p->oc, p->oc);
        }
    }
}

bool hone_deconv_is_tiling(const hone_conv *p) {
    return p->kh == p->sh && p->kw == p->sw && p->dh == 1 && p->dw == 1 && p->pt == 0 &&
           p->pl == 0 && p->oh == p->ih * p->sh && p->ow == p->iw * p->sw;
}

static void copy_row(const hone_conv *p, const float *z, const float *bias, float *y) {
    const int64_t columns = p->kh * p->kw * p->oc, oc = p->oc;
    for (int64_t ix = 0; ix < p->iw; ++ix, z += columns) {
        for (int64_t kx = 0; kx < p->kw; ++kx, y += p->ldy) {
            const float *restrict from = z + kx * oc;
            float *restrict to = y;
            for (int64_t c = 0; bias && c < oc; ++c)
                to[c] = from[c] + bias[c];
            if (!bias)
                memcpy(to, from, (size_t)oc * sizeof *to);
        }
    }
}

void hone_deconv_scatter(const hone_conv *p, const float *z, const float *bias, float *y,
                         int64_t first, int64_t last) {
    const int64_t columns = p->kh * p->kw * p->oc;
    for (int64_t row = first; row < last; ++row) {
        int64_t in = row / p->oh, oy = row % p->oh;
        float *to = y + (row - first) * p->ow * p->ldy;
        if (hone_deconv_is_tiling(p)) {
            const float *from = z + (in * p->ih + oy / p->sh) * p->iw * columns;
            copy_row(p, from + oy % p->sh * p->kw * p->oc, bias, to);
            continue;
        }
        for (int64_t ox = 0; ox < p->ow; ++ox) {
            for (int64_t c = 0; c < p->oc; ++c)
                to[ox * p->ldy + c] = bias ? bias[c] : 0.0f;
        }
        for (int64_t ky = 0; ky < p->kh; ++ky) {
            int64_t at = oy + p->pt - ky * p->dh;
            if (at >= 0 && at % p->sh == 0 && at / p->sh < p->ih)
                add_row(p, z + (in * p->ih + at / p->sh) * p->iw * columns, ky, to);
        }
    }
}
