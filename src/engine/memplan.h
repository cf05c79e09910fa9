/* Placement of buffers with known lifetimes in one arena.
 *
 * Greedy: in a given order, each buffer at the lowest offset where it meets no buffer that lives at
 * the same time (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
 * arXiv 2001.03288). Several orders are tried and the smallest arena is kept. An engine carries the
 * placement for its shapes, so that a session that plans the same buffers need not search. */
#ifndef HONE_ENGINE_MEMPLAN_H
#define HONE_ENGINE_MEMPLAN_H

#include "base/arena.h"

typedef struct hone_mem_block {
    size_t bytes;
    int first, last; /* steps, both inclusive */
    size_t offset;   /* result; a multiple of 64 */
} hone_mem_block;

/** A placement: blocks in the order in which the planner lists them. Borrowed memory. */
typedef struct hone_mem_layout {
    const hone_mem_block *blocks;
    int n;
    size_t total_bytes;
} hone_mem_layout;

/** Fills the offsets and returns the arena's size through *total. Scratch memory comes from
 * `scratch` and may be reset afterwards. */
HONE_NODISCARD hone_status hone_memplan(hone_mem_block *blocks, int n, hone_arena *scratch,
                                        size_t *total);
/** Takes the offsets from `layout` if it places just these sizes and lifetimes, apart from each
 * other; else false, and the blocks are as they were. */
bool hone_memplan_reuse(const hone_mem_layout *layout, hone_mem_block *blocks, int n,
                        size_t *total);
/** Every block lies inside the arena and is aligned; what a layout from a file must hold to be
 * safe.
 */
bool hone_mem_layout_is_safe(const hone_mem_layout *layout);

#endif
