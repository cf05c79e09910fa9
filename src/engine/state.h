/* State that a session carries from run to run: inputs of the graph whose next value is an output
 * (hone_value.next). Each has two buffers in turn, since an output may be a view of the input that
 * it follows. */
#ifndef HONE_ENGINE_STATE_H
#define HONE_ENGINE_STATE_H

#include "engine/exec.h"

typedef struct hone_state hone_state;

/** NULL without memory. Free with hone_state_destroy, before the allocator. */
hone_state *hone_state_create(const hone_graph *g, hone_alloc *alloc);
void hone_state_destroy(hone_state *s);
/** After a run of the root frame: in[i] of every state input is set to what its output holds. The
 * allocator keeps the blocks, so that a steady state needs no malloc. */
HONE_NODISCARD hone_status hone_state_take(hone_state *s, const hone_frame *frame,
                                           const hone_tensor **in, hone_error *err);

#endif
