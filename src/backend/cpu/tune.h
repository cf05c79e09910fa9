/* Choosing between kernels by timing them on this machine, at build. */
#ifndef HONE_BACKEND_CPU_TUNE_H
#define HONE_BACKEND_CPU_TUNE_H

#include "base/arena.h"
#include "kernels/conv.h"

/* Problems that were timed, so that equal layers are timed once and get the same kernel. */
typedef struct hone_tuner {
    hone_arena *arena;
    struct hone_tuned *list;
} hone_tuner;

/** The fastest of the candidates for the problem, on one thread with made-up data; the first one
 * when there is no memory to find out. */
const hone_conv_kernel *hone_tune_conv(hone_tuner *t, const hone_conv *p,
                                       const hone_conv_kernel *const *candidates, int n);

#endif
