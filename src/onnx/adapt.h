/* Older forms of operators -> the newest one.
 *
 * An adapter edits the node in place; it may emit nodes that come before it. Nodes are inferred as
 * they are emitted, so adapters can look at the types of inputs. */
#ifndef HONE_ONNX_ADAPT_H
#define HONE_ONNX_ADAPT_H

#include "ir/infer.h"

/** Told of a node that could not be adapted or typed; the walk goes on. */
typedef void (*hone_adapt_report)(void *arg, const hone_graph *g, const hone_node *node,
                                  const hone_error *err);

typedef struct hone_adapt {
    hone_graph *g;
    hone_node *n;      /* the node at hand */
    int version;       /* of its operator set */
    hone_node **nodes; /* emitted so far */
    int n_nodes, cap_nodes;
    hone_adapt_report report; /* NULL: the first failure ends the walk */
    void *report_arg;
    hone_error *err;
} hone_adapt;

typedef hone_status (*hone_adapter)(hone_adapt *a);

/** Bring the graph and its subgraphs into canonical form and infer its types. */
HONE_NODISCARD hone_status hone_onnx_adapt(hone_graph *g, hone_error *err);
/** As hone_onnx_adapt, but nodes that fail are reported and left as they are, their outputs as
 * declared. Only a lack of memory fails. */
HONE_NODISCARD hone_status hone_onnx_adapt_all(hone_graph *g, hone_adapt_report report, void *arg,
                                               hone_error *err);

/* For adapters (adapt_util.c). */
/** Infer and append to the list. */
hone_status adapt_emit(hone_adapt *a, hone_node *n);
hone_status adapt_fail(hone_adapt *a, hone_status code, const char *format, ...) HONE_PRINTF(3, 4);
hone_status adapt_no_memory(hone_adapt *a);
/** Emit op(in...) with one new output; NULL (error set) on failure. */
hone_value *adapt_op(hone_adapt *a, const char *op, hone_value *const *in, int n_in);
/** Put v at input i, growing the list with omitted inputs. */
hone_status adapt_set_input(hone_adapt *a, int i, hone_value *v);
/** Move an ints (or int) attribute to the int64 input i; nothing when absent. */
hone_status adapt_ints_to_input(hone_adapt *a, const char *attr, int i);
/** A scalar constant of the element type of `like` (float32 when unknown) at input i. */
hone_status adapt_scalar_input(hone_adapt *a, int i, double v, const hone_value *like);
hone_status adapt_int_input(hone_adapt *a, int i, int64_t v);
/** Rename the operator. */
hone_status adapt_rename(hone_adapt *a, const char *op);
/** Is output i there and used? */
bool adapt_output_used(const hone_adapt *a, int i);
/** Rank of input i, -1 when unknown. */
int adapt_rank(const hone_adapt *a, int i);

/* Table rows of the families. */
typedef struct hone_adapt_row {
    const char *op;
    int up_to; /* the last version in the old form */
    hone_adapter fn;
} hone_adapt_row;

/* An operator of domain com.microsoft that becomes others (adapt_contrib.c). */
typedef struct hone_contrib_row {
    const char *op;
    hone_adapter fn;
    const char *becomes; /* for the documentation */
    int opset;           /* of ai.onnx that has these */
} hone_contrib_row;

const hone_contrib_row *hone_contrib_rows(int *n);

hone_status adapt_broadcast(hone_adapt *a);
hone_status adapt_prelu(hone_adapt *a);
hone_status adapt_batch_norm(hone_adapt *a);
hone_status adapt_group_norm(hone_adapt *a);
hone_status adapt_dropout(hone_adapt *a);
hone_status adapt_softmax(hone_adapt *a);
hone_status adapt_cast(hone_adapt *a);
hone_status adapt_clip(hone_adapt *a);
hone_status adapt_selu(hone_adapt *a);
hone_status adapt_p_to_int(hone_adapt *a);
hone_status adapt_pad_names(hone_adapt *a);
hone_status adapt_pad(hone_adapt *a);
hone_status adapt_slice(hone_adapt *a);
hone_status adapt_split_input(hone_adapt *a);
hone_status adapt_split_attr(hone_adapt *a);
hone_status adapt_split_count(hone_adapt *a);
hone_status adapt_tile(hone_adapt *a);
hone_status adapt_upsample(hone_adapt *a);
hone_status adapt_resize10(hone_adapt *a);
hone_status adapt_resize12(hone_adapt *a);
hone_status adapt_label_encoder(hone_adapt *a);
hone_status adapt_grid_sample(hone_adapt *a);
/** Gradient becomes the nodes that compute it (gradient.c). */
hone_status adapt_gradient(hone_adapt *a);

#endif
