/* The kernels that are not matrix products or convolutions, one table an instruction set. */
#ifndef HONE_KERNELS_VEC_H
#define HONE_KERNELS_VEC_H

#include "base/cpu.h"
#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/eltwise.h"
#include "kernels/norm.h"
#include "kernels/pool.h"
#include "kernels/reduce.h"
#include "kernels/resize.h"
#include "kernels/rnn.h"
#include "kernels/softmax.h"
#include "kernels/transpose.h"

/** n rounds of multiply-adds on registers, for measuring the machine; returns how many there were.
 * The result goes to *sink. */
typedef int64_t hone_peak_fn(int64_t n, float *sink);

/* No slot is NULL. Functions allocate nothing, keep no state, and take a range of their documented
 * unit; any split of the range over threads gives the same bits. Pointers need the alignment of
 * their elements only. */
typedef struct hone_vec_kernels {
    hone_isa isa;
    hone_ew_fn *eltwise;
    hone_reduce_fn *reduce;
    hone_reduce_bf16_fn *reduce_bf16;
    hone_softmax_fn *softmax;
    hone_layer_norm_fn *layer_norm;
    hone_layer_norm_bf16_fn *layer_norm_bf16;
    hone_group_norm_fn *group_norm;
    hone_pool2d_fn *pool2d, *pool2d_bf16;
    hone_attention_fn *attention;
    hone_lstm_step_fn *lstm_step;
    hone_gru_step_fn *gru_step;
    hone_gru_plain_fn *gru_reset, *gru_finish;
    hone_transpose_fn *transpose;
    hone_resize_fn *resize;
    hone_f16_to_f32_fn *f16_to_f32, *bf16_to_f32;
    hone_f32_to_f16_fn *f32_to_f16, *f32_to_bf16;
    hone_dequantize_u8_fn *dequantize_u8;
    hone_dequantize_i8_fn *dequantize_i8;
    hone_quantize_u8_fn *quantize_u8;
    hone_quantize_i8_fn *quantize_i8;
    hone_peak_fn *peak;
} hone_vec_kernels;

/** The best table for a level; never NULL. The CPU must support the level. */
const hone_vec_kernels *hone_vec_kernels_for(hone_isa isa);

extern const hone_vec_kernels hone_vec_ref;
#if defined(__x86_64__)
extern const hone_vec_kernels hone_vec_avx2, hone_vec_avx512, hone_vec_avx512_bf16;
#endif

#endif
