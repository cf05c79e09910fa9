/* What a check or a conversion has to say about a model: a list of findings, each with the node, a
 * reason code and what to do. Strings live in the list's arena. Not thread-safe. */
#ifndef HONE_IR_FINDINGS_H
#define HONE_IR_FINDINGS_H

#include "ir/graph.h"

typedef enum hone_severity {
    HONE_NOTE,    /* worth knowing */
    HONE_WARNING, /* odd, but the model runs */
    HONE_ERROR,   /* it cannot be done */
} hone_severity;

typedef struct hone_finding {
    hone_severity severity;
    const char *reason; /* a code: "unsupported-operator", ... */
    const char *node;   /* name of a node, "" for the model */
    const char *op;     /* "" for the model */
    const char *message;
    const char *cure; /* what to do */
} hone_finding;

typedef struct hone_findings {
    hone_arena arena;
    hone_finding *item;
    int n, cap;
    int n_errors, n_warnings;
} hone_findings;

void hone_findings_free(hone_findings *findings);
/** False when out of memory. Strings are copied, but for `reason` and `cure`. */
bool hone_findings_add(hone_findings *f, hone_severity severity, const char *reason,
                       const char *node, const char *op, const char *cure, const char *format, ...)
    HONE_PRINTF(7, 8);
/** A node's name; a node without one is known by what it computes. */
const char *hone_node_label(const hone_node *n);

#endif
