/* The optimised kernels that may stand in for a node's reference kernel, by name. */
#ifndef HONE_BACKEND_CPU_IMPLS_H
#define HONE_BACKEND_CPU_IMPLS_H

#include "ir/op.h"

/** NULL when there is no kernel of that name. */
const hone_impl *hone_impl_find(const char *name);
/** The kernel for an operator of ai.onnx (or hone) that its prepare() may still refuse; NULL when
 * the operator has none. */
const hone_impl *hone_impl_for(const hone_node *n);

#endif
