/* Fast Fourier transforms of any length. */
#include "ops/fft.h"

#include <math.h>

#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

static hone_cpx cpx_mul(hone_cpx a, hone_cpx b) {
    return (hone_cpx){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

/* In place, length m (a power of two): bit reversal, then stages of butterflies. */
static void radix2(const hone_fft *f, hone_cpx *x) {
    int64_t m = f->m;
    for (int64_t i = 1, j = 0; i < m; ++i) {
        int64_t bit = m >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            hone_cpx t = x[i];
            x[i] = x[j];
            x[j] = t;
        }
    }
    for (int64_t half = 1, step = m / 2; half < m; half *= 2, step /= 2) {
        for (int64_t base = 0; base < m; base += 2 * half) {
            hone_cpx *lo = x + base, *hi = lo + half;
            for (int64_t k = 0; k < half; ++k) {
                hone_cpx t = cpx_mul(hi[k], f->twiddle[k * step]);
                hi[k] = (hone_cpx){lo[k].re - t.re, lo[k].im - t.im};
                lo[k] = (hone_cpx){lo[k].re + t.re, lo[k].im + t.im};
            }
        }
    }
}

static void init_chirp(hone_fft *f) {
    int64_t n = f->n, m = f->m, square = 0; /* i * i mod 2n, so that the angle stays exact */
    for (int64_t i = 0; i < n; ++i) {
        double angle = M_PI * (double)square / (double)n;
        f->chirp[i] = (hone_cpx){cos(angle), -sin(angle)};
        square = (square + 2 * i + 1) % (2 * n);
    }
    memset(f->filter, 0, (size_t)m * sizeof *f->filter);
    for (int64_t i = 0; i < n; ++i) {
        hone_cpx v = {f->chirp[i].re / (double)m, -f->chirp[i].im / (double)m};
        f->filter[i] = v;
        if (i > 0)
            f->filter[m - i] = v;
    }
    radix2(f, f->filter);
}

hone_status hone_fft_init(hone_op_ctx *c, hone_fft *f, int64_t n) {
    *f = (hone_fft){.n = n, .m = 1};
    if (n < 1 || n > INT64_MAX / 256)
        return hone_op_fail(c, HONE_E_SHAPE, "a transform needs a length of 1 or more");
    bool power = (n & (n - 1)) == 0;
    while (f->m < (power ? n : 2 * n - 1))
        f->m *= 2;
    f->twiddle = hone_op_array(c, f->m / 2 + 1, sizeof(hone_cpx));
    if (!f->twiddle)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < f->m / 2; ++i) {
        double angle = 2 * M_PI * (double)i / (double)f->m;
        f->twiddle[i] = (hone_cpx){cos(angle), -sin(angle)};
    }
    if (power)
        return HONE_OK;
    f->chirp = hone_op_array(c, n, sizeof(hone_cpx));
    f->filter = hone_op_array(c, f->m, sizeof(hone_cpx));
    if (!f->chirp || !f->filter)
        return HONE_E_NOMEM;
    init_chirp(f);
    return HONE_OK;
}

/* Convolution with the chirp: x[k] = chirp[k] * sum (x[i] chirp[i]) conj(chirp[k - i]). */
static void bluestein(const hone_fft *f, hone_cpx *x, hone_cpx *work) {
    for (int64_t i = 0; i < f->m; ++i)
        work[i] = i < f->n ? cpx_mul(x[i], f->chirp[i]) : (hone_cpx){0, 0};
    radix2(f, work);
    for (int64_t i = 0; i < f->m; ++i) { /* conjugated: the inverse by a forward transform */
        hone_cpx v = cpx_mul(work[i], f->filter[i]);
        work[i] = (hone_cpx){v.re, -v.im};
    }
    radix2(f, work);
    for (int64_t i = 0; i < f->n; ++i)
        x[i] = cpx_mul((hone_cpx){work[i].re, -work[i].im}, f->chirp[i]);
}

void hone_fft_run(const hone_fft *f, hone_cpx *x, bool inverse, hone_cpx *work) {
    for (int64_t i = 0; inverse && i < f->n; ++i)
        x[i].im = -x[i].im;
    if (f->chirp)
        bluestein(f, x, work);
    else
        radix2(f, x);
    for (int64_t i = 0; inverse && i < f->n; ++i)
        x[i].im = -x[i].im;
}
