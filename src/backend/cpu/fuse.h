/* Lowering of matrix products, epilogues and weight packing. Each works on an indexed graph. */
#ifndef HONE_BACKEND_CPU_FUSE_H
#define HONE_BACKEND_CPU_FUSE_H

#include "backend/cpu/lower.h"
#include "backend/cpu/tune.h"

/** Attention of static shape becomes hone.Attention, which reads and writes through strides. Comes
 * first: works on the canonical graph. */
HONE_NODISCARD hone_status hone_cpu_lower_attention(hone_graph *g, hone_error *err);
/** Transposes with reshapes between them become one. Comes after layouts have been chosen. */
HONE_NODISCARD hone_status hone_cpu_lower_moves(hone_graph *g, hone_error *err);
/** Nodes whose results nobody reads go, and places in the list that hold none; the graph is indexed
 * anew. */
HONE_NODISCARD hone_status hone_cpu_drop_unread(hone_graph *g, hone_error *err);
/** MatMul and Gemm with constant weights become hone.Gemm. */
HONE_NODISCARD hone_status hone_cpu_lower_gemm(hone_graph *g, hone_error *err);
/** LSTM and GRU with constant weights become hone.Gemm and hone.Recurrent. */
HONE_NODISCARD hone_status hone_cpu_lower_rnn(hone_graph *g, const hone_lower_options *o,
                                              hone_error *err);
/** Whether the options and the CPU let values inside be BF16. */
bool hone_cpu_wants_bf16(const hone_lower_options *o);
/** Bias, residual addition and activation behind hone.Conv and hone.Gemm move into them. */
HONE_NODISCARD hone_status hone_cpu_fuse_epilogues(hone_graph *g, hone_error *err);
/** Chains of element-wise nodes become hone.Eltwise. */
HONE_NODISCARD hone_status hone_cpu_fuse_eltwise(hone_graph *g, hone_error *err);
/** Store activations as BF16 where the options say so and it pays; see precision.c. */
HONE_NODISCARD hone_status hone_cpu_store_bf16(hone_graph *g, const hone_lower_options *o,
                                               hone_tuner *tuner, hone_error *err);
/** Choose a kernel for every hone.Conv and hone.Gemm and pack its weights for it. */
HONE_NODISCARD hone_status hone_cpu_pack(hone_graph *g, hone_tuner *tuner, hone_error *err);
/** Let a hone.Conv, of problem p, read what a Concat joins where its kernel can; the Concat is left
 * unread. */
HONE_NODISCARD hone_status hone_cpu_fuse_concat(hone_graph *g, hone_node *n, const hone_conv *p,
                                                const hone_conv_kernel *kernel, hone_error *err);

#endif
