/* Which values of a lowered graph are stored as BF16.
 *
 * Products (convolutions, matrix products, attention) write BF16, and what follows them goes on in
 * it as long as its kernels take it; kernels compute in FP32 inside. FP32 stay: inputs, outputs and
 * what subgraphs capture; what no product comes after, such as the decoding of boxes, scores and
 * class probabilities, whose rounding would show in the results and which costs little; everything
 * of another type; operators without BF16 kernels; and products that tuning measured to be faster
 * so. Casts are made at the edges, one for a value. */
#include <string.h>

#include "backend/cpu/eltwise_steps.h"
#include "backend/cpu/fuse.h"
#include "backend/cpu/problem.h"

/* How a node takes BF16. */
typedef enum role {
    KEEPS,   /* not at all */
    PRODUCT, /* reads BF16, and writes what it is told to */
    CHAIN,   /* element-wise: any mixture */
    FOLLOWS, /* its outputs have the type of its data inputs */
} role;

static const struct {
    const char *domain, *op;
    role role;
    int n_data; /* FOLLOWS: inputs with data; -1: all */
} roles[] = {
    {"hone", "Conv", PRODUCT, 1},
    {"hone", "Gemm", PRODUCT, 1},
    {"hone", "ConvTranspose", PRODUCT, 1},
    {"hone", "Eltwise", CHAIN, -1},
    {"hone", "Attention", FOLLOWS, 3},
    {"hone", "Pool", FOLLOWS, 1},
    {"", "Attention", FOLLOWS, 3},
    {"", "Concat", FOLLOWS, -1},
    {"", "DepthToSpace", FOLLOWS, 1},
    {"", "Flatten", FOLLOWS, 1},
    {"", "GlobalAveragePool", FOLLOWS, 1},
    {"", "Identity", FOLLOWS, 1},
    {"", "LayerNormalization", FOLLOWS, 1},
    {"", "RMSNormalization", FOLLOWS, 1},
    {"", "ReduceMax", FOLLOWS, 1},
    {"", "ReduceMean", FOLLOWS, 1},
    {"", "ReduceMin", FOLLOWS, 1},
    {"", "ReduceSum", FOLLOWS, 1},
    {"", "Reshape", FOLLOWS, 1},
    {"", "Slice", FOLLOWS, 1},
    {"", "SpaceToDepth", FOLLOWS, 1},
    {"", "Split", FOLLOWS, 1},
    {"", "Squeeze", FOLLOWS, 1},
    {"", "Transpose", FOLLOWS, 1},
    {"", "Unsqueeze", FOLLOWS, 1},
};

typedef struct storer {
    hone_graph *g;
    const hone_lower_options *options;
    hone_tuner *tuner;
    hone_error *err;
    int n_ids;
    bool *is_pinned;   /* by value id: must be FP32 */
    bool *is_wanted;   /* by value id: a node that a product comes after would take it as BF16 */
    bool *leads;       /* by value id: a product comes after it */
    bool *is_added;    /* by value id: it is a residual, or an operand of a chain */
    bool *is_native;   /* by value id: it was BF16 before, which its readers expect */
    hone_value **cast; /* by value id: the value in the other type */
    hone_node **nodes; /* the new list */
    int n_nodes, cap_nodes;
} storer;

static hone_status no_memory(const storer *s) {
    return hone_fail(s->err, HONE_E_NOMEM, "no memory to choose types");
}

static bool is_type(const hone_value *v, hone_dtype d) {
    return v && v->type.kind == HONE_KIND_TENSOR && v->type.dtype == d;
}

/* A node of ai.onnx that is one step of the chain kernel. */
static bool is_step(const hone_node *n, hone_ew_step *step) {
    const hone_tensor *value[3] = {NULL, NULL, NULL};
    const char *reason;
    if (n->domain[0] || !(n->op->flags & HONE_OP_ELEMENTWISE) || n->n_out != 1 || n->n_in < 1 ||
        n->n_in > 3 || !is_type(n->out[0], HONE_DTYPE_F32) || n->out[0]->type.rank < 0 ||
        n->out[0]->type.rank > HONE_EW_MAX_RANK)
        return false;
    for (int i = 0; i < n->n_in; ++i)
        value[i] = n->in[i] ? n->in[i]->constant : NULL;
    if (!hone_eltwise_step(n, value, step, &reason))
        return false;
    for (int i = 0; i < hone_ew_arity(step->op); ++i) {
        if (!is_type(n->in[i], HONE_DTYPE_F32) && !is_type(n->in[i], HONE_DTYPE_BF16) &&
            !is_type(n->in[i], HONE_DTYPE_BOOL))
            return false;
    }
    return true;
}

static bool is_attention(const hone_node *n) {
    return hone_is_lowered(n, "Attention") ||
           (n->domain[0] == '\0' && strcmp(n->op_name, "Attention") == 0);
}

/* A product that no kernel takes on BF16, or that was measured to be faster on FP32. */
static bool is_product_refused(const storer *s, const hone_node *n) {
    const hone_conv_kernel *kernel;
    hone_conv p;
    if (hone_dense_problem(n, &p, NULL) != HONE_OK)
        return true;
    p.x_storage = p.is_planar ? HONE_ELEM_F32 : HONE_ELEM_BF16;
    p.y_storage = hone_is_lowered(n, "ConvTranspose") ? HONE_ELEM_F32 : HONE_ELEM_BF16;
    return hone_conv_candidates(&p, s->options->isa, s->options->is_exact, &kernel, 1) < 1 ||
           hone_tune_prefers_f32(s->tuner, &p);
}

/* No kernel would run the node on BF16, or a slow one only, or the result would suffer. */
static bool is_refused(const storer *s, const hone_node *n) {
    if (hone_is_dense(n))
        return is_product_refused(s, n);
    for (int i = 1; i < n->n_out; ++i) {
        if (n->out[i] && (strcmp(n->op_name, "Split") != 0 || s->is_pinned[n->out[i]->id]))
            return true;
    }
    if (is_attention(n))
        return n->n_in > 4;
    /* Where sums are normalised (BERT), what is added to the next sum is the normalised value: the
     * rounding of each layer would stay in all that follow. */
    return strstr(n->op_name, "Normalization") && s->is_added[n->out[0]->id];
}

static role role_of(const storer *s, const hone_node *n, int *n_data) {
    hone_ew_step step;
    *n_data = 0;
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; ++i) {
        if (strcmp(roles[i].domain, n->domain) == 0 && strcmp(roles[i].op, n->op_name) == 0) {
            *n_data = roles[i].n_data < 0 ? n->n_in : roles[i].n_data;
            return is_refused(s, n) ? KEEPS : roles[i].role;
        }
    }
    if (!is_step(n, &step))
        return KEEPS;
    *n_data = hone_ew_arity(step.op);
    return CHAIN;
}

static bool has_graph(const hone_node *n) {
    for (int k = 0; k < n->n_attrs; ++k) {
        if (n->attrs[k].kind == HONE_ATTR_GRAPH || n->attrs[k].kind == HONE_ATTR_GRAPHS)
            return true;
    }
    return false;
}

static bool is_product(const hone_node *n, role r) {
    return r == PRODUCT || is_attention(n) || hone_is_lowered(n, "Recurrent") ||
           (n->domain[0] == '\0' && strcmp(n->op_name, "MatMul") == 0) || has_graph(n);
}

static void pin_captures(storer *s, const hone_graph *sub) {
    for (int i = 0; i < sub->n_values; ++i) {
        const hone_value *v = sub->values[i]->outer;
        if (v && v->id >= 0 && v->id < s->n_ids && s->g->values[v->id] == v)
            s->is_pinned[v->id] = true;
    }
    for (int i = 0; i < sub->n_nodes; ++i) {
        for (int k = 0; k < sub->nodes[i]->n_attrs; ++k) {
            if (sub->nodes[i]->attrs[k].kind == HONE_ATTR_GRAPH)
                pin_captures(s, sub->nodes[i]->attrs[k].g);
        }
    }
}

/* Backwards: which values lead to products, and which of them somebody would take as BF16. */
static void look_back(storer *s) {
    const hone_graph *g = s->g;
    for (int i = 0; i < g->n_inputs; ++i)
        s->is_pinned[g->inputs[i]->id] = true;
    for (int i = 0; i < g->n_outputs; ++i)
        s->is_pinned[g->outputs[i]->id] = true;
    for (int i = g->n_nodes - 1; i >= 0; --i) {
        const hone_node *n = g->nodes[i];
        int n_data;
        role r = role_of(s, n, &n_data);
        bool leads = is_product(n, r);
        for (int k = 0; k < n->n_in; ++k) {
            if (n->in[k] && (r == CHAIN || (r == PRODUCT && k == HONE_IN_RESIDUAL)))
                s->is_added[n->in[k]->id] = true;
        }
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                pin_captures(s, n->attrs[k].g);
        }
        for (int o = 0; o < n->n_out && !leads; ++o)
            leads = n->out[o] && s->leads[n->out[o]->id];
        for (int k = 0; k < n->n_in && leads; ++k) {
            if (!n->in[k])
                continue;
            s->leads[n->in[k]->id] = true;
            if (r != KEEPS && (k < n_data || (r == PRODUCT && k == HONE_IN_RESIDUAL)))
                s->is_wanted[n->in[k]->id] = true;
        }
    }
}

static hone_status append(storer *s, hone_node *n) {
    if (!n || !hone_arena_grow(s->g->arena, (void **)&s->nodes, &s->cap_nodes, s->n_nodes,
                               sizeof *s->nodes))
        return no_memory(s);
    s->nodes[s->n_nodes++] = n;
    return HONE_OK;
}

static hone_status make_cast(storer *s, hone_value *from, hone_value *to, hone_dtype d) {
    hone_node *n = hone_node_create(s->g, hone_op_find("", "Cast"), "", &from, 1, &to, 1);
    if (!n || !hone_attr_set_int(s->g, n, "to", (int64_t)d))
        return no_memory(s);
    return append(s, n);
}

/* The input in type d: itself, or a cast in front of the node that is about to be appended. */
static hone_status want_input(storer *s, hone_node *n, int k, hone_dtype d) {
    hone_value *v = n->in[k];
    bool is_other = d == HONE_DTYPE_BF16 ? is_type(v, HONE_DTYPE_F32) : is_type(v, HONE_DTYPE_BF16);
    if (!is_other)
        return HONE_OK;
    bool is_known = v->id >= 0 && v->id < s->n_ids && s->g->values[v->id] == v;
    if (is_known && s->is_native[v->id])
        return HONE_OK;
    if (is_known && s->cast[v->id]) {
        n->in[k] = s->cast[v->id];
        return HONE_OK;
    }
    hone_value *made = hone_graph_fresh(s->g, v->name);
    if (!made)
        return no_memory(s);
    made->type = v->type;
    made->type.dtype = d;
    HONE_TRY(make_cast(s, v, made, d));
    if (is_known)
        s->cast[v->id] = made;
    n->in[k] = made;
    return HONE_OK;
}

/* Output o gets type d; what must be FP32 is cast back behind the node, which this appends. */
static hone_status append_as(storer *s, hone_node *n, hone_dtype d) {
    hone_value *pinned[2] = {NULL, NULL};
    for (int o = 0; o < n->n_out; ++o) {
        hone_value *y = n->out[o];
        if (!is_type(y, HONE_DTYPE_F32) || d != HONE_DTYPE_BF16)
            continue;
        if (s->is_pinned[y->id]) {
            n->out[o] = hone_graph_fresh(s->g, y->name);
            if (!n->out[o])
                return no_memory(s);
            n->out[o]->type = y->type;
            pinned[0] = n->out[o];
            pinned[1] = y;
        }
        n->out[o]->type.dtype = d;
    }
    HONE_TRY(append(s, n));
    return pinned[0] ? make_cast(s, pinned[0], pinned[1], HONE_DTYPE_F32) : HONE_OK;
}

/* Convolutions of few channels gather their rows anyway, and round then. */
static bool gathers(const hone_node *n) {
    const hone_value *w = n->in[HONE_IN_WEIGHT];
    return hone_is_lowered(n, "Conv") && hone_attr_int(n, "group", 1) == 1 && w->constant &&
           w->constant->rank >= 2 && w->constant->dims[1] <= 8;
}

static hone_status store_product(storer *s, hone_node *n) {
    hone_value *y = n->out[0];
    bool is_grouped = hone_attr_int(n, "group", 1) > 1; /* those kernels have one type throughout */
    bool is_wide = !is_grouped && (s->is_pinned[y->id] || !s->is_wanted[y->id]);
    hone_dtype d = is_wide ? HONE_DTYPE_F32 : HONE_DTYPE_BF16;
    if (!gathers(n))
        HONE_TRY(want_input(s, n, HONE_IN_X, HONE_DTYPE_BF16));
    if (n->n_in > HONE_IN_RESIDUAL && n->in[HONE_IN_RESIDUAL])
        HONE_TRY(want_input(s, n, HONE_IN_RESIDUAL, d));
    if (!hone_attr_set_int(s->g, n, "to", (int64_t)d))
        return no_memory(s);
    return append_as(s, n, d);
}

static bool reads_bf16(const hone_node *n, int n_data) {
    for (int k = 0; k < n_data && k < n->n_in; ++k) {
        if (is_type(n->in[k], HONE_DTYPE_BF16))
            return true;
    }
    return false;
}

/* A single step becomes a program, whose operands may differ in type. */
static hone_status store_chain(storer *s, hone_node *n) {
    hone_value *y = n->out[0];
    hone_ew_program p = {.n_steps = 1};
    if (!reads_bf16(n, n->n_in))
        return append(s, n);
    if (!hone_is_lowered(n, "Eltwise") && is_step(n, &p.steps[0])) {
        int arity = hone_ew_arity(p.steps[0].op);
        hone_node *made = hone_node_create(s->g, hone_op_find("hone", "Eltwise"), n->name, n->in,
                                           arity, n->out, 1);
        for (int i = 0; i < arity; ++i)
            p.steps[0].src[i] = (uint8_t)i;
        if (!made || !hone_eltwise_write(s->g, made, &p))
            return no_memory(s);
        made->origin = n->origin;
        n = made;
    }
    bool is_number = is_type(y, HONE_DTYPE_F32);
    bool is_wide = s->is_pinned[y->id] || !s->is_wanted[y->id];
    hone_dtype d = is_number && !is_wide ? HONE_DTYPE_BF16 : y->type.dtype;
    if (!hone_attr_set_int(s->g, n, "to", (int64_t)d))
        return no_memory(s);
    y->type.dtype = d;
    return append(s, n);
}

static hone_status store_follower(storer *s, hone_node *n, int n_data) {
    if (!reads_bf16(n, n_data))
        return append(s, n);
    for (int k = 0; k < n_data && k < n->n_in; ++k)
        HONE_TRY(want_input(s, n, k, HONE_DTYPE_BF16));
    return append_as(s, n, HONE_DTYPE_BF16);
}

static hone_status store_node(storer *s, hone_node *n) {
    int n_data;
    role r = role_of(s, n, &n_data);
    bool leads = is_product(n, r);
    for (int o = 0; o < n->n_out && !leads; ++o)
        leads = n->out[o] && s->leads[n->out[o]->id];
    if (!leads)
        r = r == CHAIN ? CHAIN : KEEPS;
    switch (r) {
    case PRODUCT:
        return store_product(s, n);
    case CHAIN:
        return store_chain(s, n);
    case FOLLOWS:
        return store_follower(s, n, n_data);
    default:
        for (int k = 0; k < n->n_in; ++k)
            HONE_TRY(want_input(s, n, k, HONE_DTYPE_F32));
        return append(s, n);
    }
}

bool hone_cpu_wants_bf16(const hone_lower_options *o) {
    return o->precision == HONE_PRECISION_BF16 && o->isa >= HONE_ISA_AVX512_BF16;
}

hone_status hone_cpu_store_bf16(hone_graph *g, const hone_lower_options *o, hone_tuner *tuner,
                                hone_error *err) {
    if (!hone_cpu_wants_bf16(o))
        return HONE_OK;
    storer s = {.g = g,
                .options = o,
                .tuner = tuner,
                .err = err,
                .n_ids = g->n_values,
                .is_pinned = HONE_NEW_ARRAY(g->arena, bool, g->n_values),
                .is_wanted = HONE_NEW_ARRAY(g->arena, bool, g->n_values),
                .leads = HONE_NEW_ARRAY(g->arena, bool, g->n_values),
                .is_added = HONE_NEW_ARRAY(g->arena, bool, g->n_values),
                .is_native = HONE_NEW_ARRAY(g->arena, bool, g->n_values),
                .cast = HONE_NEW_ARRAY(g->arena, hone_value *, g->n_values)};
    if (!s.is_pinned || !s.is_wanted || !s.leads || !s.is_added || !s.is_native || !s.cast)
        return no_memory(&s);
    for (int i = 0; i < g->n_values; ++i)
        s.is_native[i] = is_type(g->values[i], HONE_DTYPE_BF16);
    look_back(&s);
    int n = g->n_nodes;
    for (int i = 0; i < n; ++i)
        HONE_TRY(store_node(&s, g->nodes[i]));
    g->nodes = s.nodes;
    g->n_nodes = s.n_nodes;
    g->cap_nodes = s.cap_nodes;
    return hone_graph_index(g) == HONE_OK ? HONE_OK : no_memory(&s);
}
