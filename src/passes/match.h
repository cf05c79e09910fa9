/* Small queries that patterns are written with. Pure functions on an indexed graph. */
#ifndef HONE_PASSES_MATCH_H
#define HONE_PASSES_MATCH_H

#include <string.h>

#include "ir/op.h"

/** The node is ai.onnx's `op`. */
static inline bool hone_is(const hone_node *n, const char *op) {
    return n && n->domain[0] == '\0' && strcmp(n->op_name, op) == 0;
}
/** The producer of v if it is `op`, else NULL. */
static inline hone_node *hone_made_by(const hone_value *v, const char *op) {
    return v && v->producer && hone_is(v->producer, op) ? v->producer : NULL;
}
/** The value feeds one node input only and is no graph output. */
static inline bool hone_used_once(const hone_value *v) {
    return v->n_uses == 1;
}
/** A constant with one element, of a float type, read as double. */
bool hone_const_scalar(const hone_value *v, double *out);
/** As above and close to x (relative 1e-4, as exporters write constants in various precisions). */
bool hone_const_is(const hone_value *v, double x);
/** For a commutative binary node: which input (0 or 1) is `v`; -1 neither. */
int hone_input_of(const hone_node *n, const hone_value *v);
/** The other input of a binary node when one of them is a scalar constant near x; NULL if not. */
hone_value *hone_other_if_const(const hone_node *n, double x);
/** The only user of v, when v is used once by a node of the graph; NULL if not. */
hone_node *hone_only_user(const hone_graph *g, const hone_value *v);
/** Position of the node in the list, -1 when absent. */
int hone_position(const hone_graph *g, const hone_node *n);
/** Replace `last` (which makes one used output) by a new node with op `name` reading `in`, in the
 * same place, keeping the output value; origin lists what it stands for. NULL when out of memory.
 */
hone_node *hone_replace_node(hone_graph *g, hone_node *last, const char *domain, const char *name,
                             hone_value *const *in, int n_in);
/** Both tensors' dims are known to be equal, symbols included. */
bool hone_same_shape(const hone_type *a, const hone_type *b);
/** Both dims are known and equal. */
static inline bool hone_same_dim(int64_t a, int64_t b) {
    return a == b && a != HONE_DIM_UNKNOWN;
}
/** Both are tensors of one known element type. */
static inline bool hone_same_dtype(const hone_type *a, const hone_type *b) {
    return a->kind == HONE_KIND_TENSOR && b->kind == HONE_KIND_TENSOR && a->dtype == b->dtype &&
           a->dtype != HONE_DTYPE_NONE;
}
/** perm of a Transpose; false when its rank is not known. */
bool hone_transpose_perm(const hone_node *n, int64_t perm[HONE_MAX_RANK], int *rank);

/** A product taken apart: Mul, and Div and Neg by way of the constant. */
enum { HONE_MAX_FACTORS = 8 };
typedef struct hone_product {
    double constant;
    int n;
    hone_value *factor[HONE_MAX_FACTORS];
} hone_product;
/** Take v apart. `base` (may be NULL) is never taken apart, and Pow(base, n) counts as n factors;
 * without a base only values used once are. False when it has too many factors. */
bool hone_product_of(hone_value *v, const hone_value *base, hone_product *p);

/** Many values at once become others: alias[id] is what the value has become, NULL: itself. */
hone_value *hone_alias_of(hone_value *const *alias, hone_value *v);
/** Node inputs and captures follow; graph outputs stay. */
void hone_alias_apply(hone_graph *g, hone_value *const *alias);

/** Constant ints of v (rank <= 1): count or -1. */
int hone_const_ints(const hone_value *v, int64_t *out, int max);

#endif
