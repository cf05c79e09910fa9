/* The kernels between which a node had the choice, for --explain and --assert-dispatch. */
#ifndef HONE_BACKEND_CPU_CHOICES_H
#define HONE_BACKEND_CPU_CHOICES_H

#include "backend/cpu/timing.h"
#include "ir/op.h"

typedef struct hone_choice {
    const hone_conv_kernel *kernel;
    const char *refusal;      /* why it may not run the node; NULL: it may */
    double min_ms, median_ms; /* 0: not timed */
    bool is_chosen;           /* the node's weights are packed for it */
} hone_choice;

typedef struct hone_choices {
    hone_conv p; /* the problem */
    hone_choice list[HONE_TIMING_MAX];
    int n;      /* 0: a node without packed weights, which has no choice */
    int chosen; /* index into the list; -1: none of this build */
} hone_choices;

/** The kernels of this build for a node with input and output of static type. */
void hone_cpu_choices(const hone_node *n, const hone_type *x, const hone_type *y, bool is_exact,
                      hone_choices *out);
/** Time those that may run. False: not enough memory. */
bool hone_cpu_time_choices(hone_choices *c, hone_pool *pool, const hone_timing_budget *budget);
/** Index of the fastest that was timed, by the least time; -1: none was. */
int hone_cpu_fastest_choice(const hone_choices *c);

#endif
