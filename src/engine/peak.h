/* The machine's measured peak, which the profiler relates nodes to. */
#ifndef HONE_ENGINE_PEAK_H
#define HONE_ENGINE_PEAK_H

#include "base/pool.h"

/** FP32 operations per second (a multiply-add is two) with the instruction set in use, on all the
 * pool's threads at once; takes some 0.1 s. */
double hone_peak_flops(hone_pool *pool);

#endif
