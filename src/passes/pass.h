/* Passes rewrite the canonical graph without changing what it computes. pipeline.c is THE list. */
#ifndef HONE_PASSES_PASS_H
#define HONE_PASSES_PASS_H

#include "ir/op.h"

/** A pass finds the graph indexed (hone_graph_index) with types inferred, and leaves it valid; the
 * pipeline indexes and infers again after each pass that changed something. Subgraphs are visited
 * by the pipeline. Adds the number of changes to *n_changes. */
typedef hone_status (*hone_pass_fn)(hone_graph *g, int *n_changes, hone_error *err);

typedef struct hone_pass {
    const char *name; /* also the file's name and what --passes takes */
    const char *what; /* one line for people */
    hone_pass_fn run;
} hone_pass;

const hone_pass *hone_pass_list(int *n);

typedef struct hone_pass_record {
    const char *name;
    int n_changes;
    int n_nodes_before, n_nodes_after;
    double ms;
} hone_pass_record;

typedef struct hone_pass_options {
    const char *only; /* comma-separated names, NULL: all */
    int stop_at;      /* run the first N pass applications only; < 0: all */
    /** Called after every application that changed something; may be NULL. */
    void (*report)(void *arg, const hone_pass_record *record);
    void *report_arg;
} hone_pass_options;

/** Run the list over and over until nothing changes (bounded). */
HONE_NODISCARD hone_status hone_passes_run(hone_graph *g, const hone_pass_options *options,
                                           hone_error *err);

#endif
