/* Offline placement of buffers with known lifetimes in one arena.
 * Greedy by size: the largest buffer first, each at the lowest offset where it meets no buffer that
 * lives at the same time (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
 * Inference", arXiv 2001.03288). */
#ifndef HONE_ENGINE_MEMPLAN_H
#define HONE_ENGINE_MEMPLAN_H

#include "base/arena.h"

typedef struct hone_mem_block {
    size_t bytes;
    int first, last; /* steps, both inclusive */
    size_t offset;   /* result; a multiple of 64 */
} hone_mem_block;

/** Fills the offsets and returns the arena's size through *total. Scratch memory comes from
 * `scratch` and may be reset afterwards. */
HONE_NODISCARD hone_status hone_memplan(hone_mem_block *blocks, int n, hone_arena *scratch,
                                        size_t *total);

#endif
