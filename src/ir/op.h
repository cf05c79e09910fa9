/* Operators: what an operator is (hone_op_def), how its output types are inferred and how its
 * reference kernel runs.
 *
 * Nodes reach these functions in canonical form: the newest ONNX form of the operator, opset
 * differences having been taken out by the importer (src/onnx/adapt.c).
 *
 * infer() is the only place with shape logic. It runs at import on what is known then, at planning
 * with concrete input shapes, and, for values whose shape depends on data, at run time with all
 * inputs' contents known: then it must give the full output type, unless the operator is flagged
 * HONE_OP_DYNAMIC (NonZero, Unique, ...), whose run() allocates its outputs itself.
 * run() finds its outputs allocated. */
#ifndef HONE_IR_OP_H
#define HONE_IR_OP_H

#include "base/pool.h"
#include "ir/graph.h"

enum {
    HONE_OP_VIEW = 1,      /* output 0 has exactly the bytes of input 0 (Reshape, ...) */
    HONE_OP_INPLACE = 2,   /* output 0 may overwrite an input of equal type and dims */
    HONE_OP_RANDOM = 4,    /* must not be folded or merged */
    HONE_OP_DYNAMIC = 8,   /* output shapes depend on contents of non-shape data: run() allocates */
    HONE_OP_CONTROL = 16,  /* has subgraphs */
    HONE_OP_COMMUTES = 32, /* binary, inputs may be swapped */
    HONE_OP_ELEMENTWISE = 64, /* out[i] depends on in[i] (after broadcasting) only */
    HONE_OP_ANYKIND = 128, /* inputs may be sequences, maps or empty: run() checks them */
};

typedef struct hone_infer_ctx {
    const hone_node *node;
    hone_graph *graph; /* for symbols and arena; may be NULL at run time */
    int n_in, n_out;
    const hone_type *in;             /* kind NONE: omitted, or nothing known yet */
    const hone_tensor *const *value; /* value[i]: contents of input i when known, else NULL */
    hone_type *out;                  /* preset to kind NONE = unknown */
    hone_arena *arena;               /* for `contents` and `elem` of the results */
    hone_error *err;
} hone_infer_ctx;

/* Services of the executor for a running operator. */
typedef struct hone_op_ctx hone_op_ctx;
typedef struct hone_op_host {
    /** Run a subgraph of the node: inputs in the order of its inputs; outputs become handles that
     * the caller releases. */
    hone_status (*run_graph)(hone_op_ctx *c, const hone_graph *g, const hone_tensor *const *in,
                             int n_in, hone_tensor *out, int n_out);
    /** Memory until the end of this run() call, 64-byte aligned; NULL when out of memory. */
    void *(*scratch)(hone_op_ctx *c, size_t bytes);
} hone_op_host;

struct hone_op_ctx {
    const hone_node *node;
    int n_in, n_out;
    const hone_tensor *const *in; /* NULL: omitted or an empty optional */
    hone_tensor *const *out;      /* NULL: omitted; allocated unless HONE_OP_DYNAMIC */
    void *state;                  /* of the kernel's prepare(), NULL for reference kernels */
    hone_pool *pool;              /* may be NULL */
    hone_alloc *alloc;            /* for outputs of dynamic operators */
    const hone_op_host *host;
    void *frame; /* the host's */
    hone_error *err;
};

typedef hone_status (*hone_infer_fn)(hone_infer_ctx *c);
typedef hone_status (*hone_run_fn)(hone_op_ctx *c);

/* An optimised kernel that may stand in for a node's reference kernel: same node, same values. */
typedef struct hone_prepare_ctx {
    const hone_node *node;
    int n_in, n_out;
    const hone_type *in, *out;       /* static types; kind NONE: omitted */
    const hone_tensor *const *value; /* contents of inputs where known */
    hone_arena *arena;               /* for the state; lives as long as the plan */
    int n_threads;
    size_t scratch_bytes; /* result: what run() will ask of hone_op_scratch in all */
    hone_error *err;
} hone_prepare_ctx;

typedef struct hone_impl {
    const char *name; /* "softmax_f32", as --explain and the profiler print it */
    /** Work out parameters once per plan into *state. HONE_E_UNSUPPORTED: use the reference. */
    hone_status (*prepare)(hone_prepare_ctx *c, void **state);
    hone_run_fn run;
} hone_impl;

struct hone_op_def {
    const char *domain; /* "", "ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training", "hone" */
    const char *name;
    int since; /* oldest opset of the domain in which the canonical form is valid ONNX */
    int min_in, max_in, min_out, max_out; /* max -1: any number */
    uint32_t types; /* HONE_T_* set that input 0 may have (outputs' type when there is no input) */
    uint32_t flags;
    hone_infer_fn infer;
    hone_run_fn run; /* the reference kernel */
};

/** NULL when hone has no such operator. domain "ai.onnx" is the same as "". */
const hone_op_def *hone_op_find(const char *domain, const char *name);
/** All operators in the order of ops.def; *n gets their number. */
const hone_op_def *hone_op_table(int *n);

/** The operator's infer(), and before it the check that input 0 has a type that run() takes: for
 * everything that goes on to run the node. */
HONE_NODISCARD hone_status hone_op_infer(hone_infer_ctx *c);

/* Helpers for infer(). */
/** Fails with `code`, naming the node and operator. */
hone_status hone_infer_fail(hone_infer_ctx *c, hone_status code, const char *format, ...)
    HONE_PRINTF(3, 4);
static inline bool hone_infer_has(const hone_infer_ctx *c, int i) {
    return i < c->n_in && c->in[i].kind != HONE_KIND_NONE;
}
static inline const hone_tensor *hone_infer_value(const hone_infer_ctx *c, int i) {
    return i < c->n_in ? c->value[i] : NULL;
}
/** Contents of the integer input i as dims, symbols allowed: count, or -1 when unknown. At most
 * `max` are written; a longer list fails as unknown. */
int hone_infer_dims(const hone_infer_ctx *c, int i, int64_t *dims, int max);
/** Set output o: tensor of dtype d. rank -1: unknown. No-op when the output is omitted. */
void hone_infer_set(hone_infer_ctx *c, int o, hone_dtype d, int rank, const int64_t *dims);
/** Set output o to the type of input i (contents not carried over). */
void hone_infer_same(hone_infer_ctx *c, int o, int i);
/** Attach known contents (rank 0 or 1 integer output). */
void hone_infer_set_contents(hone_infer_ctx *c, int o, const int64_t *dims, int n);
/** Multidirectional broadcast of two shapes into `out` (rank returned; -1 unknown). Unknown or
 * symbolic dims are resolved as far as possible. Fails on conflict. */
hone_status hone_broadcast_dims(hone_infer_ctx *c, int ra, const int64_t *a, int rb,
                                const int64_t *b, int *r_out, int64_t *out);
/** Normalise an axis in [-rank, rank) (or [-rank, rank] when `inclusive`); fails with the node
 * named. */
hone_status hone_infer_axis(hone_infer_ctx *c, int64_t axis, int rank, bool inclusive, int *out);
/** Inputs a and b must have one dtype; holds while either is unknown or omitted. */
hone_status hone_infer_alike(hone_infer_ctx *c, int a, int b);
/** Two dims that must be equal: the more specific one; fails when they are different numbers. */
hone_status hone_infer_same_dim(hone_infer_ctx *c, int64_t a, int64_t b, int64_t *out);

/* Helpers for run(). */
hone_status hone_op_fail(hone_op_ctx *c, hone_status code, const char *format, ...)
    HONE_PRINTF(3, 4);
/** HONE_E_UNSUPPORTED: "type ... is not supported by ...". */
hone_status hone_op_bad_type(hone_op_ctx *c, hone_dtype d);
static inline const hone_tensor *hone_in(const hone_op_ctx *c, int i) {
    return i < c->n_in ? c->in[i] : NULL;
}
static inline hone_tensor *hone_out(const hone_op_ctx *c, int i) {
    return i < c->n_out ? c->out[i] : NULL;
}
/** For HONE_OP_DYNAMIC: give output o storage. */
HONE_NODISCARD hone_status hone_op_alloc(hone_op_ctx *c, int o, hone_dtype d, int rank,
                                         const int64_t *dims);
/** Scratch memory; NULL when out of memory (the error is set). */
void *hone_op_scratch(hone_op_ctx *c, size_t bytes);
/** Parallel loop on the session's threads. */
static inline void hone_op_parallel(hone_op_ctx *c, int64_t n, hone_task_fn fn, void *arg) {
    hone_pool_run(c->pool, n, fn, arg);
}

#endif
