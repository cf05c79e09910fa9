/* Transposed convolution against a naive scatter in double. */
#include "kernels/deconv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static float *array(int64_t n, int64_t step) {
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 127) / 64 * 64);
    if (!x)
        exit(2);
    for (int64_t i = 0; i < n; ++i)
        x[i] = (float)(i * step % 31 - 15) / 16.0f;
    return x;
}

/* W in the order [ic][kh][kw][oc]. */
static double *expected(const hone_conv *p, const float *x, const float *w, const float *bias) {
    double *y = malloc((size_t)(p->n * p->oh * p->ow * p->oc) * sizeof *y);
    if (!y)
        exit(2);
    for (int64_t i = 0; i < p->n * p->oh * p->ow * p->oc; ++i)
        y[i] = (double)bias[i % p->oc];
    for (int64_t m = 0; m < p->n * p->ih * p->iw; ++m) {
        int64_t ix = m % p->iw, iy = m / p->iw % p->ih, in = m / p->iw / p->ih;
        for (int64_t tap = 0; tap < p->kh * p->kw; ++tap) {
            int64_t oy = iy * p->sh - p->pt + tap / p->kw * p->dh;
            int64_t ox = ix * p->sw - p->pl + tap % p->kw * p->dw;
            if (oy < 0 || oy >= p->oh || ox < 0 || ox >= p->ow)
                continue;
            for (int64_t i = 0; i < p->ic * p->oc; ++i) {
                int64_t c = i / p->oc, o = i % p->oc;
                y[((in * p->oh + oy) * p->ow + ox) * p->oc + o] +=
                    (double)x[m * p->ldx + c] * (double)w[(c * p->kh * p->kw + tap) * p->oc + o];
            }
        }
    }
    return y;
}

static void check(int64_t k, int64_t stride, int64_t dilation, int64_t pad, int64_t ldx,
                  int64_t extra) {
    hone_conv p = {.n = 2,
                   .ih = 4,
                   .iw = 5,
                   .ic = 7,
                   .oc = 18,
                   .groups = 1,
                   .kh = k,
                   .kw = k,
                   .sh = stride,
                   .sw = stride,
                   .dh = dilation,
                   .dw = dilation,
                   .pt = pad,
                   .pl = pad,
                   .ldx = ldx,
                   .ldy = 20,
                   .ldr = 18};
    p.oh = (p.ih - 1) * stride + (k - 1) * dilation + 1 - 2 * pad;
    p.ow = (p.iw - 1) * stride + (k - 1) * dilation + 1 - 2 * pad + extra; /* output padding */
    hone_conv g = hone_deconv_gemm(&p);
    CHECK(hone_conv_check(&p, NULL) == HONE_OK && hone_conv_check(&g, NULL) == HONE_OK);
    const hone_conv_kernel *kernel;
    CHECK(hone_conv_candidates(&g, hone_cpu_isa(), true, &kernel, 1) == 1);
    float *x = array(p.n * p.ih * p.iw * ldx, 7), *w = array(p.ic * g.oc, 5), *bias = array(18, 3);
    float *z = array(g.ow * g.oc, 1), *y = array(p.n * p.oh * p.ow * p.ldy, 1);
    float *packed = array((int64_t)(kernel->packed_bytes(&g) / sizeof(float)), 1);
    float *scratch = array((int64_t)(kernel->scratch_bytes(&g) / sizeof(float)) + 1, 1);
    hone_conv_weights weights = {.data = w, .so = 1, .si = g.oc};
    kernel->pack(&g, &weights, packed);
    hone_conv_args args = {.x = x, .packed = packed, .y = z};
    for (int64_t t = 0; t < kernel->n_tasks(&g); ++t)
        kernel->run(&g, &args, t, scratch);
    hone_deconv_scatter(&p, z, bias, y, 0, 3);
    hone_deconv_scatter(&p, z, bias, y + 3 * p.ow * p.ldy, 3, p.n * p.oh);
    double *want = expected(&p, x, w, bias), worst = 0;
    for (int64_t i = 0; i < p.n * p.oh * p.ow * p.oc; ++i) {
        double e = fabs((double)y[i / p.oc * p.ldy + i % p.oc] - want[i]);
        worst = e <= worst ? worst : e;
    }
    CHECK(worst < 1e-5);
    float *all[] = {x, w, bias, z, y, packed, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i)
        free(all[i]);
    free(want);
}

int main(void) {
    check(2, 2, 1, 0, 7, 0);
    check(3, 3, 1, 0, 8, 0);
    check(2, 2, 1, 0, 7, 1);
    check(3, 2, 1, 1, 9, 1);
    check(3, 1, 2, 1, 7, 1);
    check(4, 3, 1, 0, 7, 1);
    check(1, 2, 1, 0, 7, 1);
    return CHECK_RESULT();
}
