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

typedef struct cli_rules {
    double rtol, atol;
    /* > 0: tensors of 8-bit and 16-bit integers are quantised ones, for which this counts instead:
     * no element may differ by more steps, and the mean not by more than mean_steps; uint8 and
     * int8 are as many steps from their lowest numbers */
    double steps, mean_steps;
    bool has_any_scale; /* the tensor's largest |a| counts also where it is below 1 */
    /* Where B's tensors may lie otherwise than A's: dim 1 of A is B's last one */
    bool has_moved_io;     /* inputs and outputs of rank 4 do */
    bool has_moved_inside; /* others of rank 3 and more may; those of another shape do not count */
} cli_rules;

/** |a - b| <= rtol * |a| + atol * max(1, largest |a|), without the 1 if has_any_scale: an error
 * counts against the scale of the tensor, since cancellation leaves small elements with the
 * rounding errors of large ones. NaN equals NaN. Sequences and maps are compared element by
 * element. */
void cli_compare(const hone_tensor *a, const hone_tensor *b, const cli_rules *rules,
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
    bool has_steps;            /* outputs of a quantised model, compared as integers */
    double steps;              /* the largest difference of those */
    const cli_compared *first; /* beyond tolerance, NULL: none */
} cli_comparison;

/** Run A with its inputs and B with the inputs of the same names, comparing what both compute
 * under the same name. */
HONE_NODISCARD hone_status cli_compare_runs(cli_subject *a, cli_subject *b, const cli_rules *rules,
                                            cli_comparison *out, hone_error *err);
/** The greatest max_abs of the outputs. */
double cli_worst_output(const cli_comparison *c);
void cli_comparison_free(cli_comparison *c);
/** "max abs 1.2e-3, max rel 4e-2, mean abs 1e-5, 3 of 100 elements beyond" */
void cli_describe_difference(const cli_difference *d, char *buf, size_t size);

#endif
