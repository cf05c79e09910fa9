/* Type inference over graphs and their subgraphs. */
#include "ir/infer.h"

#include <string.h>

static const hone_type nothing = {.kind = HONE_KIND_NONE, .rank = -1};

static void merge_dims(hone_type *t, const hone_type *found) {
    if (found->rank < 0)
        return;
    for (int i = 0; i < found->rank; ++i) {
        /* A number beats a symbol beats nothing; between equals the new one stands. */
        bool keep =
            t->rank == found->rank && ((found->dims[i] == HONE_DIM_UNKNOWN) ||
                                       (hone_dim_is_symbol(found->dims[i]) && t->dims[i] >= 0));
        if (!keep)
            t->dims[i] = found->dims[i];
    }
    t->rank = found->rank;
}

static hone_status merge(hone_type *t, const hone_type *found, const hone_value *v,
                         hone_error *err) {
    if (found->kind == HONE_KIND_NONE)
        return HONE_OK;
    if (t->kind == HONE_KIND_NONE) {
        *t = *found;
        return HONE_OK;
    }
    bool dtypes = t->dtype && found->dtype && t->dtype != found->dtype;
    if (t->kind != found->kind || (t->kind == HONE_KIND_TENSOR && dtypes))
        return hone_fail(
            err, HONE_E_TYPE, "'%s' is declared as %s, but the operator gives %s", v->name,
            t->kind == HONE_KIND_TENSOR ? hone_dtype_name(t->dtype) : "no tensor",
            found->kind == HONE_KIND_TENSOR ? hone_dtype_name(found->dtype) : "no tensor");
    t->optional = found->optional;
    if (found->elem && (found->elem->kind != HONE_KIND_NONE || !t->elem))
        t->elem = found->elem;
    if (t->kind != HONE_KIND_TENSOR)
        return HONE_OK;
    if (found->dtype)
        t->dtype = found->dtype;
    merge_dims(t, found);
    t->contents = found->contents;
    t->n_contents = found->n_contents;
    return HONE_OK;
}

/* Only optional inputs and outputs may be left out; none of ONNX's operators of any number of
 * inputs. */
static hone_status check_present(const hone_node *n, hone_error *err) {
    const char *what = NULL;
    int at = 0;
    bool needs_all = n->op->max_in < 0 && n->domain[0] == '\0' && !(n->op->flags & HONE_OP_CONTROL);
    int n_needed = needs_all ? n->n_in : n->op->min_in;
    for (int i = 0; i < n_needed && !(n->op->flags & HONE_OP_ANYKIND); ++i) {
        if (!n->in[i]) {
            what = "input";
            at = i;
        }
    }
    for (int i = 0; i < n->op->min_out && !(n->op->flags & HONE_OP_CONTROL); ++i) {
        if (!n->out[i]) {
            what = "output";
            at = i;
        }
    }
    if (!what)
        return HONE_OK;
    hone_fail(err, HONE_E_FORMAT, "%s %d is required", what, at);
    return hone_fail_node(err, HONE_E_FORMAT, n->name, n->op_name);
}

static hone_status check_arity(const hone_node *n, hone_error *err) {
    const hone_op_def *op = n->op;
    bool in = n->n_in >= op->min_in && (op->max_in < 0 || n->n_in <= op->max_in);
    bool out = n->n_out >= op->min_out && (op->max_out < 0 || n->n_out <= op->max_out);
    if (in && out)
        return check_present(n, err);
    hone_fail(err, HONE_E_FORMAT, "%s has the wrong number of %s: %d", n->op_name,
              in ? "outputs" : "inputs", in ? n->n_out : n->n_in);
    return hone_fail_node(err, HONE_E_FORMAT, n->name, n->op_name);
}

static hone_status infer_into(hone_graph *g, hone_node *n, hone_arena *temp, hone_error *err) {
    hone_type *in = HONE_NEW_ARRAY(temp, hone_type, n->n_in);
    hone_type *out = HONE_NEW_ARRAY(temp, hone_type, n->n_out);
    const hone_tensor **value = HONE_NEW_ARRAY(temp, const hone_tensor *, n->n_in);
    if (!in || !out || !value)
        return hone_fail(err, HONE_E_NOMEM, "out of memory during type inference");
    for (int i = 0; i < n->n_in; ++i) {
        in[i] = n->in[i] ? n->in[i]->type : nothing;
        value[i] = n->in[i] ? n->in[i]->constant : NULL;
    }
    for (int i = 0; i < n->n_out; ++i)
        out[i] = nothing;
    hone_infer_ctx c = {.node = n,
                        .graph = g,
                        .n_in = n->n_in,
                        .n_out = n->n_out,
                        .in = in,
                        .value = value,
                        .out = out,
                        .arena = g->arena,
                        .err = err};
    HONE_TRY(n->op->infer(&c));
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && !n->out[i]->constant)
            HONE_TRY(merge(&n->out[i]->type, &out[i], n->out[i], err));
    }
    return HONE_OK;
}

hone_status hone_infer_node(hone_graph *g, hone_node *node, hone_error *err) {
    if (!node->op)
        return HONE_OK;
    HONE_TRY(check_arity(node, err));
    hone_arena temp;
    hone_arena_init(&temp, 0);
    hone_status status = infer_into(g, node, &temp, err);
    hone_arena_deinit(&temp);
    return status == HONE_OK ? HONE_OK : hone_fail_node(err, status, node->name, node->op_name);
}

/* ---- subgraphs --------------------------------------------------------------------------------
 */

/* What is known beforehand of a subgraph's input; a declaration is more specific. */
static void seed(hone_graph *sub, int i, const hone_type *known) {
    if (i >= sub->n_inputs || known->kind == HONE_KIND_NONE)
        return;
    hone_type *t = &sub->inputs[i]->type;
    if (t->kind == HONE_KIND_NONE) {
        *t = *known;
        t->contents = NULL;
        t->n_contents = 0;
    } else if (t->kind == HONE_KIND_TENSOR && known->kind == HONE_KIND_TENSOR) {
        if (!t->dtype)
            t->dtype = known->dtype;
        if (t->rank < 0 && known->rank >= 0)
            merge_dims(t, known);
    }
}

static const hone_type *input_type(const hone_node *n, int i) {
    return i < n->n_in && n->in[i] ? &n->in[i]->type : &nothing;
}

/* A carried value may change its shape from one iteration to the next. */
static hone_type shapeless(const hone_type *t) {
    hone_type loose = *t;
    if (t->kind == HONE_KIND_TENSOR)
        loose.rank = -1;
    return loose;
}

static void enter_loop(const hone_node *n, hone_graph *body) {
    hone_type count = hone_type_tensor(HONE_DTYPE_I64, 0, NULL);
    hone_type cond = hone_type_tensor(HONE_DTYPE_BOOL, 0, NULL);
    seed(body, 0, &count);
    seed(body, 1, &cond);
    for (int i = 2; i < n->n_in; ++i) {
        hone_type t = shapeless(input_type(n, i));
        seed(body, i, &t);
    }
}

static hone_type without_axis(const hone_type *t, int64_t axis) {
    hone_type slice = *t;
    if (t->kind != HONE_KIND_TENSOR || t->rank < 0)
        return slice;
    axis = axis < 0 ? axis + t->rank : axis;
    if (axis < 0 || axis >= t->rank) /* the operator's infer complains */
        return slice;
    slice.rank--;
    for (int i = (int)axis; i < slice.rank; ++i)
        slice.dims[i] = t->dims[i + 1];
    return slice;
}

static void enter_scan(const hone_node *n, hone_graph *body) {
    bool batched = hone_attr_int(n, "hone_scan8", 0) != 0; /* lengths first, then a batch axis */
    int first = batched ? 1 : 0;
    const int64_t *axes;
    int n_axes = hone_attr_ints(n, "scan_input_axes", &axes);
    int64_t n_scan = hone_attr_int(n, "num_scan_inputs", 0);
    if (n_scan < 0 || n_scan > n->n_in)
        return; /* Scan's own inference reports it */
    for (int i = first; i < n->n_in; ++i) {
        hone_type t = *input_type(n, i);
        int64_t scan = (int64_t)i - (n->n_in - n_scan);
        if (batched)
            t = without_axis(&t, 0);
        if (scan >= 0)
            t = without_axis(&t, !batched && scan < n_axes ? axes[scan] : 0);
        seed(body, i - first, &t);
    }
}

static void enter_sequence_map(const hone_node *n, hone_graph *body) {
    for (int i = 0; i < n->n_in; ++i) {
        const hone_type *t = input_type(n, i);
        seed(body, i, t->kind != HONE_KIND_SEQUENCE ? t : t->elem ? t->elem : &nothing);
    }
}

static void enter_graph(const hone_node *n, hone_graph *sub) {
    static const struct {
        const char *op;
        void (*fn)(const hone_node *n, hone_graph *body);
    } table[] = {{"Loop", enter_loop}, {"Scan", enter_scan}, {"SequenceMap", enter_sequence_map}};
    for (int i = 0; i < sub->n_values; ++i) {
        hone_value *v = sub->values[i];
        if (v->outer) {
            v->type = v->outer->type;
            v->constant = v->outer->constant;
        }
    }
    for (size_t i = 0; i < sizeof table / sizeof table[0]; ++i) {
        if (strcmp(n->op_name, table[i].op) == 0 && n->domain[0] == '\0')
            table[i].fn(n, sub);
    }
}

void hone_infer_enter(hone_node *node) {
    for (int i = 0; i < node->n_attrs; ++i) {
        const hone_attr *a = &node->attrs[i];
        if (a->kind == HONE_ATTR_GRAPH)
            enter_graph(node, a->g);
        for (int k = 0; a->kind == HONE_ATTR_GRAPHS && k < a->n; ++k)
            enter_graph(node, a->graphs[k]);
    }
}

static hone_status infer_subgraphs(hone_node *node, hone_error *err);

static void forget_shapes(hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i])
            n->out[i]->type = shapeless(&n->out[i]->type);
    }
}

/* A branch for other shapes than these is wrong only if it is taken: from the first conflict on,
 * what it cannot compute gets no shape, and the operator complains in the run. The conflict is in
 * err. */
static hone_status infer_branch(hone_graph *branch, bool *has_conflict, hone_error *err) {
    *has_conflict = false;
    for (int i = 0; i < branch->n_nodes; ++i) {
        hone_node *n = branch->nodes[i];
        hone_error own = {0};
        hone_status status = infer_subgraphs(n, &own);
        if (status == HONE_OK)
            status = hone_infer_node(branch, n, &own);
        if (status == HONE_OK)
            continue;
        if (!*has_conflict)
            *err = own;
        if (status != HONE_E_SHAPE && status != HONE_E_TYPE)
            return status;
        *has_conflict = true;
        forget_shapes(n);
    }
    return HONE_OK;
}

/* One branch at least must be possible. */
static hone_status infer_if(hone_node *node, hone_error *err) {
    int n_branches = 0, n_conflicts = 0;
    hone_error first = {0};
    hone_status status = HONE_OK;
    for (int i = 0; i < node->n_attrs; ++i) {
        const hone_attr *a = &node->attrs[i];
        bool has_conflict;
        if (a->kind != HONE_ATTR_GRAPH)
            continue;
        hone_error own = {0};
        status = infer_branch(a->g, &has_conflict, &own);
        if (status != HONE_OK || (has_conflict && n_conflicts++ == 0))
            first = own;
        ++n_branches;
        if (status != HONE_OK)
            break;
    }
    if (status == HONE_OK && n_branches > 0 && n_conflicts == n_branches)
        status = first.code;
    if (status != HONE_OK && err)
        *err = first;
    return status;
}

static hone_status infer_subgraphs(hone_node *node, hone_error *err) {
    hone_infer_enter(node);
    if (node->domain[0] == '\0' && strcmp(node->op_name, "If") == 0)
        return infer_if(node, err);
    for (int i = 0; i < node->n_attrs; ++i) {
        const hone_attr *a = &node->attrs[i];
        if (a->kind == HONE_ATTR_GRAPH)
            HONE_TRY(hone_graph_infer(a->g, err));
        for (int k = 0; a->kind == HONE_ATTR_GRAPHS && k < a->n; ++k)
            HONE_TRY(hone_graph_infer(a->graphs[k], err));
    }
    return HONE_OK;
}

hone_status hone_graph_infer(hone_graph *g, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        HONE_TRY(infer_subgraphs(g->nodes[i], err));
        HONE_TRY(hone_infer_node(g, g->nodes[i], err));
    }
    return HONE_OK;
}
