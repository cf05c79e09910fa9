/* Every template, in order of use, and the table. The includer defines VEC_TABLE and VEC_ISA and
 * has included its simd.h. */
#include <stdbool.h>
#include <stddef.h>

#include "kernels/vec.h"

#define VEC_INLINE static inline __attribute__((always_inline))

#include "math_tmpl.h"

#include "eltwise_tmpl.h"

#include "reduce_tmpl.h"

#include "reduce_bf16_tmpl.h"

#include "softmax_tmpl.h"

#include "norm_tmpl.h"

#include "pool_tmpl.h"

#include "mm_tmpl.h"

#include "attention_tmpl.h"

#include "rnn_tmpl.h"

#include "transpose_tmpl.h"

#include "resize_tmpl.h"

#include "convert_tmpl.h"

#include "peak_tmpl.h"

const hone_vec_kernels VEC_TABLE = {
    .isa = VEC_ISA,
    .eltwise = ew_run,
    .reduce = red_run,
    .reduce_bf16 = reduce_bf16_run,
    .softmax = softmax_run,
    .layer_norm = layer_norm_run,
    .layer_norm_bf16 = layer_norm_bf16_run,
    .group_norm = group_norm_run,
    .pool2d = pool_run,
    .pool2d_bf16 = pool_bf16_run,
    .attention = attention_run,
    .lstm_step = lstm_run,
    .gru_step = gru_run,
    .gru_reset = gru_reset_run,
    .gru_finish = gru_finish_run,
    .transpose = transpose_run,
    .resize = resize_run,
    .f16_to_f32 = f16_to_f32,
    .bf16_to_f32 = bf16_to_f32,
    .f32_to_f16 = f32_to_f16,
    .f32_to_bf16 = f32_to_bf16,
    .dequantize_u8 = dequantize_u8,
    .dequantize_i8 = dequantize_i8,
    .quantize_u8 = quantize_u8,
    .quantize_i8 = quantize_i8,
    .peak = peak_run,
};
