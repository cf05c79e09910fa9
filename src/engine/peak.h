/* The machine's measured peaks, which the profiler and comparisons relate times to. */
#ifndef HONE_ENGINE_PEAK_H
#define HONE_ENGINE_PEAK_H

#include "base/pool.h"
#include "kernels/vec.h"

/** FP32 operations per second (a multiply-add is two) with the instruction set in use, on all the
 * pool's threads at once; takes some 0.1 s. */
double hone_peak_flops(hone_pool *pool);
/** The same with a loop of the caller's. */
double hone_peak_ops(hone_pool *pool, hone_peak_fn *fn);
/** Loops of dot products of BF16 pairs, and of quadruples of 8-bit integers; NULL: the instruction
 * set in use has none. */
hone_peak_fn *hone_peak_bf16(void);
hone_peak_fn *hone_peak_int8(void);
/** Bytes read per second by all the pool's threads at once, each from memory of its own that no
 * cache holds; 0 when there is no memory for that. */
double hone_peak_read(hone_pool *pool);

#endif
