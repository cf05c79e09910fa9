/* Tensors collected over the iterations of Loop and Scan, to be joined at the end: the number of
 * iterations need not be known beforehand, and nothing is allocated in proportion to a trip count
 * that is not reached. */
#ifndef HONE_OPS_STEPS_H
#define HONE_OPS_STEPS_H

#include "ir/op.h"

typedef struct hone_steps {
    hone_tensor *item; /* handles, in scratch memory of the operator */
    int64_t n, cap;
} hone_steps;

/** Takes the handle over, also when it fails. Items must agree in type and dims. */
HONE_NODISCARD hone_status hone_steps_push(hone_op_ctx *c, hone_steps *s, hone_tensor *item);
void hone_steps_release(hone_steps *s);
/** Output o = the items stacked along a new axis, last first when `reverse`. With no items, `empty`
 * (the body's output, may have unknown dims) gives the type and the axis has size 0. */
HONE_NODISCARD hone_status hone_steps_stack(hone_op_ctx *c, int o, const hone_steps *s,
                                            int64_t axis, bool reverse, const hone_type *empty);
/** Type of such an output; n is the number of iterations or HONE_DIM_UNKNOWN. */
void hone_steps_infer(hone_infer_ctx *c, int o, const hone_type *item, int64_t axis, int64_t n);

#endif
