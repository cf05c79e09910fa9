/* Which numbers pass through a float network: the least and the greatest of every value, over runs
 * on sample inputs. Not thread-safe. */
#ifndef HONE_QUANT_OBSERVE_H
#define HONE_QUANT_OBSERVE_H

#include "ir/graph.h"

typedef struct hone_range {
    const char *name; /* of the value */
    float low, high;
    bool is_finite; /* neither NaN nor infinity was among them */
} hone_range;

/** All zero but for the arena, which the caller makes and frees, before the first use. */
typedef struct hone_ranges {
    hone_arena arena;
    hone_range *item;
    int n, cap;
    int next; /* where the next look-up begins: runs see the values in one order */
} hone_ranges;

/** Make every float value that a node of the root graph computes an output, behind those that it
 * has, so that an engine of any kind gives them all. The graph is to be indexed anew. False when
 * out of memory. */
bool hone_observe_outputs(hone_graph *g);
/** Widen the value's range by the tensor's elements; tensors of other types and empty ones say
 * nothing. False when out of memory. */
bool hone_observe(hone_ranges *r, const char *name, const hone_tensor *t);
/** NULL: never seen. */
const hone_range *hone_range_of(hone_ranges *r, const char *name);

#endif
