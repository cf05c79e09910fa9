#include "quant/insert_qdq.h"

#include <math.h>
#include <string.h>

#include "ir/eval.h"
#include "ir/infer.h"
#include "ir/weights.h"
#include "passes/match.h"
#include "quant/plan.h"

/* What int32 biases may be: a half of the type's range is left to the sum of products. */
#define LARGEST_BIAS 0x1p+30

typedef struct emitter {
    hone_graph *g;
    const hone_qplan *plan;
    hone_node **nodes; /* the new list */
    int n_nodes, cap_nodes;
    hone_value **read; /* by id: what operators on integers read in its place; NULL: not made yet */
    const hone_node *at; /* the node of the model */
    bool no_memory;
} emitter;

/* ---- parts ------------------------------------------------------------------------------------
 */

static hone_node *add_node(emitter *e, const char *op, hone_value *const *in, int n_in,
                           hone_value *out) {
    bool has_all = out != NULL;
    for (int i = 0; i < n_in; ++i)
        has_all &= in[i] != NULL;
    hone_node *n =
        has_all ? hone_node_create(e->g, hone_op_find("", op), out->name, in, n_in, &out, 1) : NULL;
    if (n)
        n->origin = e->at->origin;
    if (!n || !HONE_PUSH(e->g->arena, e->nodes, e->n_nodes, e->cap_nodes, n)) {
        e->no_memory = true;
        return NULL;
    }
    return n;
}

static hone_tensor *tensor(emitter *e, hone_dtype d, int rank, const int64_t *dims) {
    hone_tensor *t = HONE_NEW(e->g->arena, hone_tensor);
    void *data = hone_graph_data(e->g, hone_dtype_bytes(d, hone_dims_count(dims, 0, rank)) + 1);
    if (!t || !data) {
        e->no_memory = true;
        return NULL;
    }
    *t = hone_tensor_view(d, rank, dims, data);
    return t;
}

static hone_value *constant(emitter *e, const char *base, const hone_tensor *t) {
    hone_value *v = t ? hone_graph_constant(e->g, base, t) : NULL;
    e->no_memory |= !v;
    return v;
}

static hone_value *fresh(emitter *e, const hone_value *like, const char *what) {
    const char *base = hone_arena_printf(e->g->arena, "%s_%s", like->name, what);
    hone_value *v = base ? hone_graph_fresh(e->g, base) : NULL;
    e->no_memory |= !v;
    return v;
}

/* "<like>_quantized": other formats keep such a name, and comparisons go by names. */
static hone_value *quantized(emitter *e, const hone_value *like) {
    char *name = hone_arena_printf(e->g->arena, "%s_quantized", like->name);
    for (int i = 0; name && i < e->g->n_values; ++i) {
        if (strcmp(e->g->values[i]->name, name) == 0)
            return fresh(e, like, "quantized");
    }
    hone_value *v = name ? hone_graph_value(e->g, name) : NULL;
    e->no_memory |= !v;
    return v;
}

static hone_value *scale_of(emitter *e, float scale) {
    hone_value *v = hone_graph_const_f32(e->g, "scale", scale);
    e->no_memory |= !v;
    return v;
}

static hone_value *zero_of(emitter *e, int zero) {
    hone_tensor *t = tensor(e, HONE_DTYPE_I8, 0, NULL);
    if (t)
        *(int8_t *)t->data = (int8_t)zero;
    return constant(e, "zero", t);
}

/* `to` is `from`, through integers; one of them is v, the model's value. */
static void pair(emitter *e, const hone_value *v, hone_value *from, hone_value *to) {
    const hone_qvalue *q = hone_qplan_of(e->plan, v);
    hone_value *stored = quantized(e, v);
    hone_value *scale = scale_of(e, q->scale), *zero = zero_of(e, q->zero);
    if (e->no_memory || !to)
        return;
    add_node(e, "QuantizeLinear", (hone_value *[]){from, scale, zero}, 3, stored);
    add_node(e, "DequantizeLinear", (hone_value *[]){stored, scale, zero}, 3, to);
}

static int8_t rounded(double v, int zero, int low) {
    double r = nearbyint(v) + zero;
    return (int8_t)(r < low ? low : r > 127 ? 127 : r);
}

/* A constant operand on one scale. */
static hone_value *stored_constant(emitter *e, const hone_qvalue *q, const hone_value *v) {
    const hone_tensor *from = v->constant;
    hone_tensor *t = tensor(e, HONE_DTYPE_I8, from->rank, from->dims);
    for (int64_t i = 0; t && i < hone_tensor_count(from); ++i)
        ((int8_t *)t->data)[i] =
            rounded((double)((const float *)from->data)[i] / (double)q->scale, q->zero, -128);
    hone_value *out = fresh(e, v, "dequantized");
    add_node(e, "DequantizeLinear",
             (hone_value *[]){constant(e, "stored", t), scale_of(e, q->scale), zero_of(e, q->zero)},
             3, out);
    return out;
}

/* ---- layers -----------------------------------------------------------------------------------
 */

typedef struct layer {
    const hone_tensor *w, *b; /* b NULL: none */
    int axis;
    int64_t n; /* outputs */
    float x_scale;
    hone_tensor *scales; /* of the weights, by output */
} layer;

/* The output that element i of the weights belongs to. */
static int64_t output_of(const layer *y, int64_t i) {
    return i / hone_dims_count(y->w->dims, y->axis + 1, y->w->rank) % y->n;
}

/* The largest weight of an output has 127 steps, unless its bias would not fit then. */
static void choose_scales(const layer *y) {
    float *scale = y->scales->data;
    const float *w = y->w->data, *b = y->b ? y->b->data : NULL;
    for (int64_t i = 0; i < hone_tensor_count(y->w); ++i) {
        int64_t k = output_of(y, i);
        scale[k] = fmaxf(scale[k], fabsf(w[i]) / 127);
    }
    for (int64_t k = 0; k < y->n; ++k) {
        double least = b ? fabs((double)b[k]) / ((double)y->x_scale * LARGEST_BIAS) : 0;
        scale[k] = fmaxf(scale[k], (float)least);
        if (!(scale[k] > HONE_QUANT_LEAST_SCALE)) /* nothing but zeros */
            scale[k] = 1;
    }
}

static hone_value *dequantized(emitter *e, const hone_tensor *stored, const hone_tensor *scales,
                               int axis) {
    hone_value *from = constant(e, "stored", stored), *scale = constant(e, "scales", scales);
    hone_value *out = from ? fresh(e, from, "dequantized") : NULL;
    hone_node *n = add_node(e, "DequantizeLinear", (hone_value *[]){from, scale}, 2, out);
    if (n && !hone_attr_set_int(e->g, n, "axis", axis))
        e->no_memory = true;
    return out;
}

static hone_value *weights(emitter *e, const layer *y) {
    hone_tensor *t = tensor(e, HONE_DTYPE_I8, y->w->rank, y->w->dims);
    const float *scale = y->scales->data, *w = y->w->data;
    for (int64_t i = 0; t && i < hone_tensor_count(y->w); ++i)
        ((int8_t *)t->data)[i] = rounded((double)w[i] / (double)scale[output_of(y, i)], 0, -127);
    return dequantized(e, t, y->scales, y->axis);
}

static hone_value *bias(emitter *e, const layer *y) {
    hone_tensor *t = tensor(e, HONE_DTYPE_I32, y->b->rank, y->b->dims);
    hone_tensor *products = tensor(e, HONE_DTYPE_F32, 1, &y->n);
    for (int64_t i = 0; t && products && i < y->n; ++i) {
        float scale = y->x_scale * ((const float *)y->scales->data)[i];
        ((float *)products->data)[i] = scale;
        ((int32_t *)t->data)[i] =
            (int32_t)nearbyint((double)((const float *)y->b->data)[i] / (double)scale);
    }
    return dequantized(e, t, products, y->b->rank - 1);
}

/* Constant weights and the bias, the layer's own or one that an Add behind it adds. */
static void store_weights(emitter *e, hone_node *n, float x_scale) {
    hone_node *add = NULL;
    bool has_bias = n->n_in > 2 && n->in[2];
    layer y = {.w = n->in[1]->constant, .axis = hone_quant_output_axis(n), .x_scale = x_scale};
    y.n = y.w->dims[y.axis];
    y.b = has_bias ? n->in[2]->constant : hone_qplan_added_bias(e->plan, n->out[0], &add);
    y.scales = tensor(e, HONE_DTYPE_F32, 1, &y.n);
    if (!y.scales)
        return;
    choose_scales(&y);
    n->in[1] = weights(e, &y);
    hone_value *b = y.b ? bias(e, &y) : NULL;
    if (b && has_bias)
        n->in[2] = b;
    else if (b)
        add->in[add->in[0] == n->out[0]] = b;
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

/* What an operator on integers reads in the place of a value that floats make. */
static hone_value *read_of(emitter *e, hone_value *v) {
    const hone_qvalue *q = hone_qplan_of(e->plan, v);
    if (!q || q->is_made)
        return v;
    if (!e->read[v->id] && v->constant) {
        e->read[v->id] = stored_constant(e, q, v);
    } else if (!e->read[v->id]) {
        e->read[v->id] = fresh(e, v, "dequantized");
        pair(e, v, v, e->read[v->id]);
    }
    return e->read[v->id];
}

static bool reads_inner(const emitter *e, const hone_node *n, int n_data) {
    for (int i = 0; i < n_data; ++i) {
        const hone_qvalue *q = hone_qplan_of(e->plan, n->in[i]);
        if (q && q->is_inner)
            return true;
    }
    return false;
}

static void emit_operands(emitter *e, hone_node *n) {
    hone_quant_form form = hone_quant_form_of(n);
    if (reads_inner(e, n, form.n_data))
        return;
    if (form.kind == HONE_QUANT_LAYER && n->in[1]->constant)
        store_weights(e, n, hone_qplan_of(e->plan, n->in[0])->scale);
    else if (form.kind == HONE_QUANT_LAYER)
        n->in[1] = read_of(e, n->in[1]);
    for (int i = 0; i < form.n_data; ++i)
        n->in[i] = read_of(e, n->in[i]);
}

static void emit_results(emitter *e, hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        hone_value *v = n->out[i];
        const hone_qvalue *q = v ? hone_qplan_of(e->plan, v) : NULL;
        if (!q || !q->is_stored)
            continue;
        n->out[i] = fresh(e, v, "unrounded");
        if (n->out[i])
            pair(e, v, n->out[i], v);
    }
}

static void emit_node(emitter *e, hone_node *n, bool is_integer) {
    e->at = n;
    if (is_integer)
        emit_operands(e, n);
    e->no_memory |= !HONE_PUSH(e->g->arena, e->nodes, e->n_nodes, e->cap_nodes, n);
    if (is_integer)
        emit_results(e, n);
}

/* ---- what stays on floats ---------------------------------------------------------------------
 */

static bool makes_floats(const hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && n->out[i]->type.dtype == HONE_DTYPE_F32)
            return true;
    }
    return false;
}

/* Of the nodes from `from` on: those of the operator that compute on floats. */
static int count_alike(const hone_qplan *p, int from, const hone_node *like) {
    int n = 0;
    for (int i = from; i < p->graph->n_nodes; ++i) {
        const hone_node *node = p->graph->nodes[i];
        n += !p->is_integer[i] && makes_floats(node) && strcmp(node->op_name, like->op_name) == 0;
    }
    return n;
}

static bool note_floats(const hone_qplan *p, hone_findings *findings, hone_quant_count *count) {
    static const char *const cure = "none needed; the operator, or its attributes, have no integer "
                                    "form, or its numbers no fitting range";
    *count = (hone_quant_count){0};
    for (int i = 0; i < p->graph->n_nodes; ++i) {
        const hone_node *n = p->graph->nodes[i];
        count->n_integer += p->is_integer[i];
        if (p->is_integer[i] || !makes_floats(n))
            continue;
        ++count->n_float;
        int n_alike = count_alike(p, i, n);
        if (n_alike == count_alike(p, 0, n) && /* the first of its kind */
            !hone_findings_add(findings, HONE_NOTE, "on-floats", hone_node_label(n), n->op_name,
                               cure, "%d %s of this kind compute%s on floats", n_alike,
                               n_alike == 1 ? "node" : "nodes", n_alike == 1 ? "s" : ""))
            return false;
    }
    return true;
}

/* ---- the graph --------------------------------------------------------------------------------
 */

static hone_status finish(hone_graph *g, hone_error *err) {
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    return hone_graph_infer(g, err);
}

static bool emit(hone_graph *g, const hone_qplan *plan) {
    emitter e = {.g = g, .plan = plan};
    e.read = HONE_NEW_ARRAY(plan->arena, hone_value *, plan->n_values + 1);
    e.no_memory = !e.read;
    for (int i = 0; i < g->n_nodes && !e.no_memory; ++i)
        emit_node(&e, g->nodes[i], plan->is_integer[i]);
    g->nodes = e.nodes;
    g->n_nodes = e.n_nodes;
    g->cap_nodes = e.cap_nodes;
    return !e.no_memory;
}

hone_status hone_quant_insert(hone_graph *g, hone_ranges *ranges, hone_findings *findings,
                              hone_quant_count *count, hone_error *err) {
    hone_arena arena;
    hone_arena_init(&arena, 0);
    hone_qplan plan = {.graph = g, .arena = &arena};
    bool is_done =
        hone_qplan_make(&plan, ranges) && note_floats(&plan, findings, count) && emit(g, &plan);
    hone_arena_deinit(&arena);
    return is_done ? finish(g, err)
                   : hone_fail(err, HONE_E_NOMEM, "no memory to quantise the graph");
}

/* ---- inputs and outputs -----------------------------------------------------------------------
 */

static hone_node *quantizer_of(const hone_graph *g, const hone_value *v) {
    for (int i = 0; i < g->n_nodes; ++i) {
        if (hone_is(g->nodes[i], "QuantizeLinear") && g->nodes[i]->in[0] == v)
            return g->nodes[i];
    }
    return NULL;
}

/* v becomes what its QuantizeLinear gave; who read the floats reads them dequantised. */
static void make_input_integer(hone_graph *g, hone_value *v) {
    hone_node *q = quantizer_of(g, v), *dq = NULL;
    for (int i = 0; q && i < g->n_nodes; ++i) {
        if (hone_is(g->nodes[i], "DequantizeLinear") && g->nodes[i]->in[0] == q->out[0])
            dq = g->nodes[i];
    }
    if (!dq || hone_graph_is_output(g, v))
        return;
    hone_graph_replace_uses(g, v, dq->out[0]);
    dq->in[0] = v;
    v->type.dtype = HONE_DTYPE_I8;
    for (int i = 0; i < g->n_nodes; ++i) {
        if (g->nodes[i] == q)
            g->nodes[i] = NULL;
    }
    hone_graph_compact(g);
}

/* Output i becomes the integers that it is made of, under its name. */
static void make_output_integer(hone_graph *g, int i) {
    hone_value *v = g->outputs[i];
    const hone_node *dq = hone_made_by(v, "DequantizeLinear");
    hone_value *stored = dq ? dq->in[0] : NULL;
    if (!stored || !hone_made_by(stored, "QuantizeLinear") || hone_graph_is_output(g, stored))
        return;
    const char *name = v->name;
    v->name = stored->name;
    stored->name = name;
    g->outputs[i] = stored;
}

hone_status hone_quant_integer_io(hone_graph *g, hone_error *err) {
    for (int i = 0; i < g->n_outputs; ++i)
        make_output_integer(g, i);
    for (int i = 0; i < g->n_inputs; ++i) {
        if (g->inputs[i]->type.dtype == HONE_DTYPE_F32 && !g->inputs[i]->next)
            make_input_integer(g, g->inputs[i]);
    }
    HONE_TRY(hone_graph_sort(g, err));
    return finish(g, err);
}

/* ---- constants as floats ----------------------------------------------------------------------
 */

static hone_status unpack(hone_graph *g, const hone_node *n, hone_error *err) {
    hone_tensor made = {0};
    const hone_tensor *in[3] = {NULL};
    for (int i = 0; i < n->n_in; ++i)
        in[i] = n->in[i] ? n->in[i]->constant : NULL;
    HONE_TRY(hone_eval_node(n, in, &made, NULL, err));
    hone_tensor *t = HONE_NEW(g->arena, hone_tensor);
    void *data = hone_graph_data(g, hone_tensor_bytes(&made) + 1);
    if (t && data) {
        memcpy(data, made.data, hone_tensor_bytes(&made));
        *t = hone_tensor_view(made.dtype, made.rank, made.dims, data);
        n->out[0]->constant = t;
    }
    hone_tensor_release(&made);
    return t && data ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory for weights");
}

hone_status hone_quant_unpack(hone_graph *g, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        bool is_constant = hone_is(n, "DequantizeLinear");
        for (int k = 0; k < n->n_in; ++k)
            is_constant &= !n->in[k] || n->in[k]->constant;
        if (!is_constant)
            continue;
        HONE_TRY(unpack(g, n, err));
        g->nodes[i] = NULL;
    }
    hone_graph_compact(g);
    return finish(g, err);
}
