/* Fast Fourier transforms of any length in double precision: radix 2, and Bluestein's chirp
 * transform (1970) for lengths that are no power of two. */
#ifndef HONE_OPS_FFT_H
#define HONE_OPS_FFT_H

#include "ops/dense.h"

typedef struct hone_cpx {
    double re, im;
} hone_cpx;

typedef struct hone_fft {
    int64_t n, m;      /* length; power of two that the work is done in */
    hone_cpx *twiddle; /* m / 2 */
    hone_cpx *chirp;   /* n, NULL when n == m */
    hone_cpx *filter;  /* m: transform of the conjugate chirp, scaled by 1 / m */
} hone_fft;

/** Prepares tables in the scratch memory of this run; n >= 1. */
hone_status hone_fft_init(hone_op_ctx *c, hone_fft *f, int64_t n);
/** In place: x[k] = sum over i of x[i] exp(-2 pi j i k / n), or + for inverse (no scaling).
 * `work` holds m elements. */
void hone_fft_run(const hone_fft *f, hone_cpx *x, bool inverse, hone_cpx *work);

#endif
