/* A plan: one graph made concrete for given input types. Every value has its type where it can be
 * known before the run, every planned value its place in one arena, every node its kernel state.
 *
 * Values whose shape depends on data stay dynamic: the executor infers and allocates them as it
 * goes. A plan is immutable once built; its steps are run by src/engine/exec.c. */
#ifndef HONE_ENGINE_PLAN_H
#define HONE_ENGINE_PLAN_H

#include "ir/op.h"

typedef enum hone_storage_kind {
    HONE_STORAGE_CONST = 1, /* contents fixed with the graph or the plan */
    HONE_STORAGE_INPUT,     /* the caller's, or captured from the enclosing frame */
    HONE_STORAGE_ARENA,     /* at `offset` of the arena, or in a caller's output buffer */
} hone_storage_kind;

typedef struct hone_storage {
    hone_storage_kind kind;
    int slot;      /* the first slot that uses it; INPUT, CONST: the one that has the data */
    size_t offset; /* ARENA */
    size_t bytes;
    int first, last; /* steps in which it is alive */
} hone_storage;

typedef struct hone_step {
    const hone_node *node;
    const hone_impl *impl; /* NULL: node->op->run */
    void *state;
    const char *refusal; /* why node->impl does not run; NULL when it does, or there is none */
    bool is_planned; /* outputs are placed and typed: nothing to infer */
    int n_drop;      /* dynamic values last used here */
    const int *drop;
} hone_step;

typedef struct hone_plan {
    const hone_graph *graph;
    hone_arena arena;   /* owns everything below */
    hone_type *types;   /* by value id; kind NONE: unknown before the run */
    hone_tensor *slots; /* by value id: type filled in when known; data for constants */
    int *storage_of;    /* by value id; -1: dynamic, allocated while running */
    hone_storage *storages;
    int n_storages;
    hone_step *steps;
    int n_steps;
    const int *captures; /* value ids of captured outer values */
    int n_captures;
    size_t arena_bytes;
    size_t scratch_bytes; /* largest of the planned steps */
} hone_plan;

typedef struct hone_plan_options {
    int n_threads;
    bool reference;                       /* use the reference kernels only */
    size_t max_arena_bytes;               /* 0: no limit */
    const struct hone_mem_layout *layout; /* a placement to use if it fits; NULL: none */
} hone_plan_options;

/** Plan `g` (indexed): `inputs` has a type for each graph input in order, then one for each
 * captured value in the order of g->values. A type of kind NONE makes what depends on it dynamic.
 */
HONE_NODISCARD hone_status hone_plan_create(const hone_graph *g, const hone_type *inputs,
                                            const hone_plan_options *options, hone_plan **out,
                                            hone_error *err);
void hone_plan_destroy(hone_plan *plan);
/** The plan's placement, in memory of `arena`. */
HONE_NODISCARD hone_status hone_plan_layout(const hone_plan *plan, hone_arena *arena,
                                            struct hone_mem_layout *out);
/** The error for a plan over the memory limit, naming the node where most is alive. */
hone_status hone_plan_too_large(const hone_plan *plan, size_t limit, hone_error *err);

#endif
