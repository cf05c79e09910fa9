/* Comparing the values that two engines compute from the same inputs. */
#ifndef HONE_CLI_COMPARE_H
#define HONE_CLI_COMPARE_H

#include "cli/subject.h"

typedef struct cli_difference {
    bool is_alike; /* within tolerance everywhere */
    double max_abs, max_rel, mean_abs;
    int64_t n, n_beyond;
    int64_t worst; /* index of max_abs */
    char why[160]; /* when types or shapes differ, else "" */
} cli_difference;

/** |a - b| <= rtol * |a| + atol * max(1, largest |a|): an error counts against the scale of the
 * tensor, since cancellation leaves small elements with the rounding errors of large ones. NaN
 * equals NaN. Sequences and maps are compared element by element. */
void cli_compare(const hone_tensor *a, const hone_tensor *b, double rtol, double atol,
                 cli_difference *out);

typedef struct cli_compared {
    const char *name;
    const hone_tensor *kept; /* A's value until it is compared */
    char type[120];          /* "float32[1,2]" */
    bool is_output, is_compared;
    cli_difference diff;
} cli_compared;

typedef struct cli_comparison {
    hone_arena arena;
    cli_compared *rows; /* in the order in which A computes them, outputs last */
    int n, cap;
    int n_compared, n_beyond, n_outputs_beyond;
    const cli_compared *first; /* beyond tolerance, NULL: none */
} cli_comparison;

/** Run A with its inputs and B with the inputs of the same names, comparing what both compute
 * under the same name. */
HONE_NODISCARD hone_status cli_compare_runs(cli_subject *a, cli_subject *b, double rtol,
                                            double atol, cli_comparison *out, hone_error *err);
void cli_comparison_free(cli_comparison *c);
/** "max abs 1.2e-3, max rel 4e-2, mean abs 1e-5, 3 of 100 elements beyond" */
void cli_describe_difference(const cli_difference *d, char *buf, size_t size);

#endif
