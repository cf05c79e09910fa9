/* The graph: nodes in topological order, values as edges, attributes, subgraphs.
 *
 * Everything is owned by the graph's arena (subgraphs share the root's). Pointers stay valid until
 * the graph is destroyed; passes drop nodes and values from the lists, never free them. */
#ifndef HONE_IR_GRAPH_H
#define HONE_IR_GRAPH_H

#include "base/arena.h"
#include "ir/tensor.h"

typedef struct hone_graph hone_graph;
typedef struct hone_node hone_node;
typedef struct hone_value hone_value;
typedef struct hone_op_def hone_op_def;

/* A dim is a size >= 0, HONE_DIM_UNKNOWN, or a symbol (HONE_DIM_SYMBOL(id)). Two dims with the same
 * symbol are equal at run time. */
#define HONE_DIM_UNKNOWN    ((int64_t)-1)
#define HONE_DIM_SYMBOL(id) ((int64_t)(-2 - (int64_t)(id)))
static inline bool hone_dim_is_symbol(int64_t d) {
    return d <= -2;
}
static inline int hone_dim_symbol(int64_t d) {
    return (int)(-2 - d);
}

/** What is known of a value before it runs. */
typedef struct hone_type {
    hone_kind kind;   /* NONE: nothing known (or, for an input, omitted) */
    bool optional;    /* may be empty at run time */
    hone_dtype dtype; /* tensors; NONE when unknown */
    int rank;         /* tensors; -1 when unknown */
    int64_t dims[HONE_MAX_RANK];
    const struct hone_type *elem; /* sequences: the element's type, may be NULL */
    /* Contents of small integer tensors of rank 0 or 1 as dims (symbols allowed), so that shape
     * arithmetic can be followed; NULL when unknown. */
    const int64_t *contents;
    int n_contents;
} hone_type;

typedef struct hone_symtab {
    const char **name;
    int n, cap;
} hone_symtab;

/** An edge. */
struct hone_value {
    const char *name; /* unique in its graph, never NULL */
    hone_type type;
    const hone_tensor *constant; /* contents when known before the run, else NULL */
    const hone_tensor *initial;  /* graph inputs: the default when the caller sets none */
    int next; /* inputs of the root: n > 0: state, whose value for the next run is output n - 1 */
    const hone_value *outer;     /* in a subgraph: the captured value of the enclosing graph */
    hone_node *producer;         /* NULL for inputs and constants; kept by hone_graph_index */
    int n_uses;                  /* node inputs + graph outputs; kept by hone_graph_index */
    int id;                      /* dense index over the graph's values; kept by hone_graph_index */
};

typedef enum hone_attr_kind {
    HONE_ATTR_FLOAT = 1, /* numbers of ONNX AttributeProto.AttributeType */
    HONE_ATTR_INT = 2,
    HONE_ATTR_STRING = 3,
    HONE_ATTR_TENSOR = 4,
    HONE_ATTR_GRAPH = 5,
    HONE_ATTR_FLOATS = 6,
    HONE_ATTR_INTS = 7,
    HONE_ATTR_STRINGS = 8,
    HONE_ATTR_TENSORS = 9,
    HONE_ATTR_GRAPHS = 10,
    HONE_ATTR_TYPE = 13,
} hone_attr_kind;

typedef struct hone_attr {
    const char *name;
    hone_attr_kind kind;
    int n; /* elements of the plural kinds, 1 otherwise */
    union {
        float f;
        int64_t i;
        hone_string s;
        const hone_tensor *t;
        hone_graph *g;
        const hone_type *type;
        const float *floats;
        const int64_t *ints;
        const hone_string *strings;
        const hone_tensor *const *tensors;
        hone_graph *const *graphs;
    };
} hone_attr;

struct hone_node {
    const char *name;      /* may be "" */
    const hone_op_def *op; /* never NULL in a checked graph */
    const char *op_name;   /* as in the file, also for unsupported operators */
    const char *domain;    /* "" for ai.onnx */
    int n_in, n_out;
    hone_value **in;  /* NULL: omitted */
    hone_value **out; /* NULL: omitted */
    int n_attrs;
    hone_attr *attrs;
    const struct hone_impl *impl; /* optimised kernel chosen by the backend, NULL: reference */
    const char *origin; /* names of the model's nodes that this one stands for, comma-separated */
    int opset; /* version of its domain that it is written in; 0 once in canonical form */
};

typedef struct hone_weights hone_weights;
/** For hone_graph_create(). NULL when out of memory; goes with the arena. */
hone_weights *hone_weights_create(hone_arena *arena);

struct hone_graph {
    const char *name;
    hone_arena *arena;
    hone_graph *parent; /* NULL for the root */
    hone_symtab *symbols;
    hone_weights *weights; /* memory of large constants: ir/weights.h */
    hone_node **nodes; /* topological order */
    int n_nodes, cap_nodes;
    hone_value **values; /* all, dense ids after hone_graph_index */
    int n_values, cap_values;
    hone_value **inputs;
    int n_inputs, cap_inputs;
    hone_value **outputs;
    int n_outputs, cap_outputs;
    int fresh; /* next number of hone_graph_fresh */
    int opset; /* oldest version of ai.onnx that has all forms in use; nodes are canonical */
};

/** Name and domain of an operator, for code below ir/op.h. */
const char *hone_op_name(const hone_op_def *op);
const char *hone_op_domain(const hone_op_def *op);
/** The arena's graph owns its values and may change what a capture refers to. */
hone_value *hone_value_mutable(const hone_value *v);

/** A root graph that owns its arena; NULL when out of memory. */
hone_graph *hone_graph_create(void);
void hone_graph_destroy(hone_graph *root);
/** An empty subgraph in parent's arena. */
hone_graph *hone_graph_sub(hone_graph *parent);

/* Builders: return NULL when out of memory. */
/** A new value at the end of the list; the name is copied. */
hone_value *hone_graph_value(hone_graph *g, const char *name);
/** A new value with a fresh name "<base>_<n>". */
hone_value *hone_graph_fresh(hone_graph *g, const char *base);
/** A constant value; `t` must live in the arena or outlive the graph. Sets the type. */
hone_value *hone_graph_constant(hone_graph *g, const char *base, const hone_tensor *t);
/** A constant tensor of n int64 in the arena, rank 1 (rank 0 when n < 0: one element). */
hone_value *hone_graph_const_i64(hone_graph *g, const char *base, const int64_t *v, int n);
/** A scalar float constant. */
hone_value *hone_graph_const_f32(hone_graph *g, const char *base, float v);
/** A node that is not in the list yet; in/out arrays are copied. */
hone_node *hone_node_create(hone_graph *g, const hone_op_def *op, const char *name,
                            hone_value *const *in, int n_in, hone_value *const *out, int n_out);
/** Insert at position (n_nodes: append). False when out of memory. */
bool hone_graph_insert(hone_graph *g, int position, hone_node *node);
bool hone_graph_append(hone_graph *g, hone_node *node);
/** Every use of `from` (node inputs, graph outputs, captures in subgraphs) becomes `to`. */
void hone_graph_replace_uses(hone_graph *g, const hone_value *from, hone_value *to);
/** Drop nodes whose pointers were set to NULL in the list. */
void hone_graph_compact(hone_graph *g);
/** Recompute producer, n_uses and ids, values that nothing refers to being dropped from the list. A
 * capture in a subgraph counts as a use of the outer value. */
HONE_NODISCARD hone_status hone_graph_index(hone_graph *g);
/** Put the outer values that the node's subgraphs capture into g's list of values. */
bool hone_graph_keep_captures(hone_graph *g, const hone_node *node);
bool hone_graph_is_output(const hone_graph *g, const hone_value *v);
/** Sort nodes topologically; HONE_E_FORMAT with the nodes of a cycle named. */
HONE_NODISCARD hone_status hone_graph_sort(hone_graph *g, hone_error *err);
/** Deep copy (constants' bytes shared, not copied: `g` must outlive it). */
hone_graph *hone_graph_clone(const hone_graph *g);
/** Every invariant of this header; the first one broken is reported. */
HONE_NODISCARD hone_status hone_graph_verify(const hone_graph *g, hone_error *err);

/** Id of the symbol `name` (made when new); -1 when out of memory. */
int hone_symbol(hone_graph *g, const char *name);
/** Text of a dim: "224", "batch", "?"; valid as long as the graph and buf. */
const char *hone_dim_text(const hone_graph *g, int64_t dim, char buf[24]);
/** "float32[batch,3,224,224]" */
char *hone_type_describe(const hone_graph *g, const hone_type *t, char *buf, size_t size);
hone_type hone_type_of(const hone_tensor *t);
/** A tensor type; dims may be NULL when rank <= 0. */
hone_type hone_type_tensor(hone_dtype d, int rank, const int64_t *dims);
/** All of kind, dtype, rank and dims are known numbers. */
bool hone_type_is_static(const hone_type *t);

/* Attributes. Getters return the default when absent or of another kind. */
const hone_attr *hone_attr_find(const hone_node *n, const char *name);
int64_t hone_attr_int(const hone_node *n, const char *name, int64_t missing);
float hone_attr_float(const hone_node *n, const char *name, float missing);
/** NUL-terminated, "missing" when absent. */
const char *hone_attr_string(const hone_node *n, const char *name, const char *missing);
/** Returns the count and sets *v; 0 and NULL when absent. */
int hone_attr_ints(const hone_node *n, const char *name, const int64_t **v);
int hone_attr_floats(const hone_node *n, const char *name, const float **v);
int hone_attr_strings(const hone_node *n, const char *name, const hone_string **v);
const hone_tensor *hone_attr_tensor(const hone_node *n, const char *name);
hone_graph *hone_attr_graph(const hone_node *n, const char *name);
/* Setters replace. False when out of memory. hone_attr_set keeps what the attribute points to; the
 * others copy the value into the arena. */
bool hone_attr_set(hone_graph *g, hone_node *n, const hone_attr *a);
bool hone_attr_set_int(hone_graph *g, hone_node *n, const char *name, int64_t v);
bool hone_attr_set_float(hone_graph *g, hone_node *n, const char *name, float v);
bool hone_attr_set_string(hone_graph *g, hone_node *n, const char *name, const char *v);
bool hone_attr_set_ints(hone_graph *g, hone_node *n, const char *name, const int64_t *v, int n_v);
bool hone_attr_set_floats(hone_graph *g, hone_node *n, const char *name, const float *v, int n_v);
void hone_attr_remove(hone_node *n, const char *name);

#endif
