/* Rewriting by rules: what the passes that replace a group of nodes by one or a few are made of.
 *
 * A rule looks at one node, the last of its pattern, and matches backwards along producers. It
 * never changes the nodes it matched: it puts new ones in the place of the last, which write the
 * same output value; the others go when nothing uses them any more. So an inner value that is a
 * graph output, or that another node or a subgraph reads, stays as it was. */
#ifndef HONE_PASSES_REWRITE_H
#define HONE_PASSES_REWRITE_H

#include "passes/match.h"
#include "passes/pass.h"

typedef struct hone_rewriter {
    hone_graph *g;
    hone_node *node; /* the one looked at */
    int at;          /* its position */
    bool no_memory;  /* a builder below failed */
} hone_rewriter;

/** True when the rule replaced r->node. */
typedef bool (*hone_rule)(hone_rewriter *r);

/** Apply the rules to every node, last to first, dropping nodes without a use on the way. */
HONE_NODISCARD hone_status hone_rewrite(hone_graph *g, const hone_rule *rules, int n_rules,
                                        int *n_changes, hone_error *err);

/* Builders for rules; NULL (and no_memory set) when out of memory. */
/** A node before r->node with a fresh output named after r->node's. */
hone_node *hone_rewrite_insert(hone_rewriter *r, const char *name, hone_value *const *in, int n_in);
/** A node in the place of r->node with its first output; the origins of the nodes that this leaves
 * unused are joined. Attributes are the caller's to set. */
hone_node *hone_rewrite_replace(hone_rewriter *r, const char *name, hone_value *const *in,
                                int n_in);
/** Copy the attributes of another node. */
bool hone_rewrite_attrs(hone_rewriter *r, hone_node *to, const hone_node *from);
/** A new constant of the given type with room for its elements: fill t->data. */
hone_tensor *hone_rewrite_tensor(hone_rewriter *r, hone_dtype d, int rank, const int64_t *dims);
/** A value for a constant tensor. */
hone_value *hone_rewrite_constant(hone_rewriter *r, const char *base, const hone_tensor *t);

#endif
