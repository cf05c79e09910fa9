/* What the parts of the layout walk share: see layout.c. */
#ifndef HONE_BACKEND_CPU_LAYOUT_WALK_H
#define HONE_BACKEND_CPU_LAYOUT_WALK_H

#include "ir/op.h"

typedef struct hone_layout {
    hone_graph *g;
    hone_value **twin; /* by value id of the graph as it was: the channels-last form, or NULL */
    bool *is_made;     /* by value id: the canonical value exists */
    int *user;         /* by value id: position of the one node that reads it, or -1 */
    bool *is_done;     /* by position: another node's lowering covered it */
    int n_ids;
    hone_node **nodes; /* the new list */
    int n_nodes, cap_nodes;
    bool is_out_of_memory;
} hone_layout;

/* Each takes a node of a kind whose inputs and first output are there. False: it stays as it is. */
bool hone_layout_window(hone_layout *l, hone_node *n); /* convolutions and pooling */
bool hone_layout_follow(hone_layout *l, hone_node *n); /* whatever computes in any layout */
bool hone_layout_move(hone_layout *l, hone_node *n);   /* whatever moves elements around */

/** Append to the new list; NULL counts as out of memory. */
void hone_layout_emit(hone_layout *l, hone_node *n);
bool hone_layout_has_twin(const hone_layout *l, const hone_value *v);
/** The channels-last form of v, made if need be. */
hone_value *hone_layout_last(hone_layout *l, hone_value *v);
/** Make sure that the canonical form of v exists. */
void hone_layout_need(hone_layout *l, hone_value *v);
/** Output `o` of n will live as the returned twin; its canonical form only if somebody asks. */
hone_value *hone_layout_output(hone_layout *l, const hone_node *n, int o);
/** The canonical value `v` is from now on a view of the channels-last `twin`. */
void hone_layout_set_twin(hone_layout *l, const hone_value *v, hone_value *twin);
/** Where a canonical axis lies in the twin. */
int hone_layout_axis(int axis, int rank);
/** A new node of the same attributes on other inputs and outputs; NULL when out of memory. */
hone_node *hone_layout_again(hone_layout *l, const hone_node *n, hone_value *const *in,
                             hone_value *const *out);
/** Emit a node of ai.onnx between given values; NULL when out of memory. `out` NULL: a new value,
 * whose type is inferred. */
hone_node *hone_layout_add(hone_layout *l, const hone_node *origin, const char *op,
                           hone_value *const *in, int n_in, hone_value *out);
/** Transpose and Reshape by hone_layout_add. A dim of 0 is copied from the input. */
hone_value *hone_layout_transpose(hone_layout *l, const hone_node *origin, hone_value *x,
                                  const int64_t *perm, int rank, hone_value *out);
hone_value *hone_layout_reshape(hone_layout *l, const hone_node *origin, hone_value *x,
                                const int64_t *dims, int rank, hone_value *out);
/** Contents of the constant integer input i: count, 0 when omitted, -1 when it is no constant or
 * longer than HONE_MAX_RANK * 2. */
int hone_layout_ints(const hone_node *n, int i, int64_t out[2 * HONE_MAX_RANK]);

#endif
