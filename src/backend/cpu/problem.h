/* hone.Conv and hone.Gemm nodes as problems of the convolution kernels. */
#ifndef HONE_BACKEND_CPU_PROBLEM_H
#define HONE_BACKEND_CPU_PROBLEM_H

#include <string.h>

#include "ir/op.h"
#include "kernels/conv.h"

/* Inputs of hone.Conv and hone.Gemm. MORE: the last channels of hone.Conv's input, when they are not
 * in x; attribute more_channels has their number. */
enum {
    HONE_IN_X = 0,
    HONE_IN_WEIGHT = 1,
    HONE_IN_BIAS = 2,
    HONE_IN_RESIDUAL = 3,
    HONE_IN_MORE = 4
};

static inline bool hone_is_lowered(const hone_node *n, const char *op) {
    return n && strcmp(n->domain, "hone") == 0 && strcmp(n->op_name, op) == 0;
}
/** The problem for an input and output of static type; HONE_E_UNSUPPORTED when a size is 0. `ic`
 * comes from x, so the node may be packed already. */
HONE_NODISCARD hone_status hone_problem(const hone_node *n, const hone_type *x, const hone_type *y,
                                        hone_conv *p, hone_error *err);
/** As hone_problem for types with open dims, for which likely sizes are taken: good enough to
 * choose and pack for. */
HONE_NODISCARD hone_status hone_nominal_problem(const hone_node *n, const hone_type *x,
                                                hone_conv *p, hone_error *err);
/** A node that a dense kernel computes, with packed weights. */
static inline bool hone_is_dense(const hone_node *n) {
    return hone_is_lowered(n, "Conv") || hone_is_lowered(n, "Gemm") ||
           hone_is_lowered(n, "ConvTranspose");
}
/** The nominal problem that a dense kernel gets: a transposed convolution is a product to it. */
HONE_NODISCARD hone_status hone_dense_problem(const hone_node *n, hone_conv *p, hone_error *err);
/** The kernel called `name`, NULL when this build lacks it or the CPU cannot run it. */
const hone_conv_kernel *hone_conv_kernel_find(const char *name);

#endif
