/* Canonical graph -> lowered graph for CPUs: layouts, fusion into epilogues, packed weights, and an
 * optimised kernel for every node that has one. */
#ifndef HONE_BACKEND_CPU_LOWER_H
#define HONE_BACKEND_CPU_LOWER_H

#include "ir/op.h"

HONE_NODISCARD hone_status hone_cpu_lower(hone_graph *g, bool is_exact, hone_error *err);

#endif
