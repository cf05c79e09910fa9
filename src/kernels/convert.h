/* Conversions between FP32 and FP16, BF16 and 8-bit quantised data. */
#ifndef HONE_KERNELS_CONVERT_H
#define HONE_KERNELS_CONVERT_H

#include <stdint.h>

/* x and y do not overlap; any alignment of the element type. Rounding is half to even; NaN stays
 * NaN (quieted), FP16 overflow gives infinity, denormals are kept; AVX512-BF16 makes them zeros on
 * the way to BF16. */
typedef void hone_f16_to_f32_fn(const uint16_t *x, float *y, int64_t n);
typedef void hone_f32_to_f16_fn(const float *x, uint16_t *y, int64_t n);

/* y = (x - zero) * scale. The same bits on every ISA. */
typedef void hone_dequantize_u8_fn(const uint8_t *x, float *y, int64_t n, float scale, int zero);
typedef void hone_dequantize_i8_fn(const int8_t *x, float *y, int64_t n, float scale, int zero);
/* y = saturate(round(x / scale) + zero), round half to even; NaN gives the lowest value. The same
 * bits on every ISA. */
typedef void hone_quantize_u8_fn(const float *x, uint8_t *y, int64_t n, float scale, int zero);
typedef void hone_quantize_i8_fn(const float *x, int8_t *y, int64_t n, float scale, int zero);

#endif
