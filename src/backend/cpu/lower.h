/* Canonical graph -> lowered graph for CPUs: layouts, fusion into epilogues, packed weights, and an
 * optimised kernel for every node that has one. */
#ifndef HONE_BACKEND_CPU_LOWER_H
#define HONE_BACKEND_CPU_LOWER_H

#include "base/cpu.h"
#include "ir/op.h"

typedef struct hone_lower_options {
    bool is_exact;          /* no kernels that reorder arithmetic, such as Winograd's */
    hone_tune tune;         /* off: the default kernels; else the candidates are timed */
    hone_precision precision;
    hone_isa isa;           /* kernels of this level and below */
    int n_threads;          /* to tune for */
    const char *tune_cache; /* NULL: nothing is kept */
    void (*progress)(void *arg, double fraction, const char *what); /* NULL: none */
    void *progress_arg;
    void (*remark)(void *arg, const char *text); /* NULL: none */
    void *remark_arg;
} hone_lower_options;

HONE_NODISCARD hone_status hone_cpu_lower(hone_graph *g, const hone_lower_options *options,
                                          hone_error *err);
/** The level that the kernels which the weights of the graph are packed for need. */
hone_isa hone_cpu_needed_isa(const hone_graph *g);

#endif
