/* What the control-flow operators share. */
#ifndef HONE_OPS_CONTROL_H
#define HONE_OPS_CONTROL_H

#include "ir/op.h"

/** What two types of one value have in common: dims that differ become unknown. */
hone_type hone_common_type(const hone_type *a, const hone_type *b);
/** Room for the outputs of a subgraph, all of kind NONE. */
HONE_NODISCARD hone_status hone_control_outputs(hone_op_ctx *c, const hone_graph *g,
                                                hone_tensor **out);
HONE_NODISCARD hone_status hone_read_bool(hone_op_ctx *c, const hone_tensor *t, const char *what,
                                          bool *out);
void hone_release_all(hone_tensor *t, int n);

#endif
