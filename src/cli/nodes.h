/* The nodes that a run reaches, with what it shows of them: for --explain and --assert-dispatch. */
#ifndef HONE_CLI_NODES_H
#define HONE_CLI_NODES_H

#include "cli/subject.h"

typedef struct cli_node {
    const hone_node *node;
    const hone_impl *impl; /* NULL: the reference kernel */
    const char *refusal;   /* why the optimised kernel does not run; NULL: it does, or none is */
    bool is_planned;       /* its shapes are known before the run */
    hone_type x, y;        /* first input and output of the last time; kind NONE: omitted */
    int64_t ns;            /* of the fastest run, all calls of it */
    int64_t macs, bytes;   /* of one run */
    int64_t run_ns;        /* of the present run */
} cli_node;

typedef struct cli_nodes {
    cli_node *list; /* by node address */
    int n, cap;
    int64_t inner_ns[64]; /* of finished nodes one level down */
    int64_t n_runs;
    bool has_failed;
} cli_nodes;

/** Run the session, whose inputs are set, for about `seconds`. */
HONE_NODISCARD hone_status cli_nodes_record(cli_subject *s, double seconds, cli_nodes *out,
                                            hone_error *err);
/** The engine's weights do not fit into the caches: each run reads them from memory. */
bool cli_is_cold(const cli_subject *s);
void cli_nodes_free(cli_nodes *nodes);
/** NULL: no run reached it. */
const cli_node *cli_nodes_find(const cli_nodes *nodes, const hone_node *node);

#endif
