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

/** Say that a node with this problem comes: what the whole costs, and how far tuning is, follows
 * from it. */
void hone_tuner_expect(hone_tuner *t, const hone_conv *p);
/** The fastest of the candidates for the problem, on the options' number of threads; equal problems
 * are timed once. The first candidate, which is the default, where tuning is off, the node too
 * cheap for quick tuning, or time or memory are out; and where no other is clearly faster. */
const hone_conv_kernel *hone_tune_conv(hone_tuner *t, const hone_conv *p,
                                       const hone_conv_kernel *const *candidates, int n);

#endif
