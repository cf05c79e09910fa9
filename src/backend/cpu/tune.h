/* Choosing between kernels by timing them on this machine, at build. */
#ifndef HONE_BACKEND_CPU_TUNE_H
#define HONE_BACKEND_CPU_TUNE_H

#include "backend/cpu/lower.h"
#include "backend/cpu/timing.h"

typedef struct hone_tuner hone_tuner;

/** NULL when out of memory. `options` must outlive the tuner. */
hone_tuner *hone_tuner_create(const hone_lower_options *options);
/** Keeps what was measured in the options' cache file. */
void hone_tuner_destroy(hone_tuner *t);

/** Say that a node with this problem comes, on data of either type: what the whole costs, and how far
 * tuning is, follows from it. Comes before all else. */
void hone_tuner_expect(hone_tuner *t, const hone_conv *p);
/** The kernel for the problem: the fastest candidate on the options' number of threads; equal
 * problems are timed once. The first candidate, which is the default, where tuning is off, the node
 * too cheap for quick tuning, or time or memory are out; and where no other is clearly faster. NULL
 * when there is none. */
const hone_conv_kernel *hone_tune_conv(hone_tuner *t, const hone_conv *p);
/** Whether the problem, which has BF16 data, takes clearly less time on FP32 data, conversions
 * before and after it included. False where tuning does not measure it. */
bool hone_tune_prefers_f32(hone_tuner *t, const hone_conv *p);

#endif
