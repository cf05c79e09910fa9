/* Element-wise operators as steps of the chain kernel (kernels/eltwise.h). */
#ifndef HONE_BACKEND_CPU_ELTWISE_STEPS_H
#define HONE_BACKEND_CPU_ELTWISE_STEPS_H

#include "ir/op.h"
#include "kernels/eltwise.h"

/** The step that computes the node of ai.onnx from its first hone_ew_arity(op) inputs; sources are
 * not set. `value`: contents of its inputs where known. False: there is none, `*reason` says why.
 */
bool hone_eltwise_step(const hone_node *n, const hone_tensor *const *value, hone_ew_step *step,
                       const char **reason);

/* A hone.Eltwise node keeps its program in attributes: `ops`, the steps' names separated by spaces;
 * `sources`, three values a step; `constants`, two numbers a step. The last step makes the result.
 */

/** Write the program's steps into the node. False when out of memory. */
bool hone_eltwise_write(hone_graph *g, hone_node *n, const hone_ew_program *p);
/** Read n_steps and the steps; false when the attributes are damaged. */
bool hone_eltwise_read(const hone_node *n, hone_ew_program *p);

#endif
