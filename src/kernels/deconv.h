/* FP32 transposed convolution on channels-last data, as a matrix product and a scatter:
 *
 *   z[n * ih * iw][kh * kw * oc] = x[n * ih * iw][ic] W[ic][kh][kw][oc]   by a kernel of conv.h,
 * for hone_deconv_gemm(p) y[n][oh][ow][oc] = bias + every z at the pixel that its tap reaches   by
 * hone_deconv_scatter()
 *
 * In hone_conv, ih and iw belong to x, oh and ow to y; output row iy * sh - pt + ky * dh gets tap
 * ky of input row iy. groups must be 1; act and residual are not applied. */
#ifndef HONE_KERNELS_DECONV_H
#define HONE_KERNELS_DECONV_H

#include "kernels/conv.h"

hone_conv hone_deconv_gemm(const hone_conv *p);
/** Windows that neither overlap nor leave gaps: every output has one tap, and the input rows of an
 * image, or of several, may be taken in bands. */
bool hone_deconv_is_tiling(const hone_conv *p);
/** Output rows [first, last) of the n * oh to y, where row `first` is; any split gives the same
 * bits. bias may be NULL. p and hone_deconv_gemm(p) have passed hone_conv_check(). */
void hone_deconv_scatter(const hone_conv *p, const float *z, const float *bias, float *y,
                         int64_t first, int64_t last);

#endif
