/* What quantising a float graph decides before it changes anything: which nodes compute on
 * integers, which values are stored as integers, and how. */
#ifndef HONE_QUANT_PLAN_H
#define HONE_QUANT_PLAN_H

#include "quant/form.h"
#include "quant/observe.h"

/* Smaller scales are those of zeros. The product of two is a float still. */
#define HONE_QUANT_LEAST_SCALE 0x1p-60F

typedef struct hone_qvalue {
    bool is_usable;  /* a float value of known, modest range */
    bool is_made;    /* by a node that computes on integers */
    bool is_inner;   /* read once, by a limit or bias that the node which makes it takes over */
    bool is_stored;  /* as integers: scale and zero */
    bool is_rounded; /* it has a range of its own: no values moved or joined */
    float low, high;
    float scale;
    int zero;
    int group;                /* values stored the same way have the same last one */
    const float *fixed_scale; /* of a value whose operator fixes it */
    int64_t fixed_zero;
} hone_qvalue;

typedef struct hone_qplan {
    const hone_graph *graph;
    hone_arena *arena;
    bool *is_integer;   /* by the node's position: it computes on integers */
    hone_qvalue *value; /* by id */
    int n_values;
} hone_qplan;

/** `p` has graph (indexed, types inferred) and arena set. False when out of memory. */
bool hone_qplan_make(hone_qplan *p, hone_ranges *ranges);
/** NULL: v came after the plan. */
const hone_qvalue *hone_qplan_of(const hone_qplan *p, const hone_value *v);
/** The constant that the Add behind a product of more dims adds as its bias; NULL: none does.
 * `*add` is the Add. */
const hone_tensor *hone_qplan_added_bias(const hone_qplan *p, const hone_value *product,
                                         hone_node **add);

#endif
