/* The conversion: hone_tflite_convert at the end has the flow. */
#include "tflite/convert.h"

#include <string.h>

#include "passes/pass.h"
#include "tflite/legal_ops.h"
#include "tflite/qoperator.h"
#include "tflite/quant.h"
#include "tflite/signed.h"
#include "tflite/versions.h"

/* All but the recognition of attention, which has no equivalent as one operator. */
static const char PASSES[] =
    "fold_constants,fold_if,remove_noop,merge_common,fuse_norm,fuse_gelu,fuse_silu,fold_batchnorm,"
    "fold_pad,fuse_gemm,cancel_transposes,remove_dead";

tfl_legal_fn tfl_legal_find(const hone_node *n) {
    static const struct {
        const char *name;
        tfl_legal_fn fn;
    } table[] = {
#define LEGAL(name, fn) {#name, tfl_legal_##fn},
#include "tflite/legal.def"
#undef LEGAL
    };
    for (size_t i = 0; n->domain[0] == '\0' && i < sizeof table / sizeof table[0]; ++i) {
        if (strcmp(table[i].name, n->op_name) == 0)
            return table[i].fn;
    }
    return NULL;
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

/* False: refused. Values must be tensors of a type and a rank that the file can hold. */
static bool check_value(tfl_legal *l, const hone_node *n, const hone_value *v) {
    char text[200];
    const hone_type *t = &v->type;
    if (t->kind == HONE_KIND_TENSOR && t->rank >= 0 && t->rank <= TFL_MAX_RANK &&
        tfl_type_of(t->dtype) >= 0)
        return true;
    bool is_typed = t->kind == HONE_KIND_TENSOR && t->dtype && tfl_type_of(t->dtype) < 0;
    tfl_refuse(l, n, is_typed ? "unsupported-type" : "unknown-shape",
               is_typed ? "insert a Cast to float or an integer type in the model"
                        : "fix the dims of the inputs with --shape",
               "%s is %s", v->name, hone_type_describe(l->graph, t, text, sizeof text));
    return false;
}

static bool check_node(tfl_legal *l, const hone_node *n) {
    for (int i = 0; i < n->n_in + n->n_out; ++i) {
        const hone_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        bool is_dequantised_here = v && v->constant && strcmp(n->op_name, "DequantizeLinear") == 0;
        if (v && !is_dequantised_here && !check_value(l, n, v))
            return false;
    }
    return true;
}

static void convert_node(tfl_legal *l, const hone_node *n) {
    tfl_legal_fn fn = tfl_legal_find(n);
    if (!check_node(l, n) || !tfl_quant_enter(l, n))
        return;
    if (fn)
        fn(l, n);
    else
        tfl_refuse(l, n, "no-equivalent", "replace the operator in the model",
                   "TensorFlow Lite has no equivalent, or hone does not know how to write it");
    tfl_quant_leave(l);
}

/* ---- inputs and outputs -----------------------------------------------------------------------
 */

static void io_order(const tfl_legal *l, const hone_tflite_options *o, const hone_value *v,
                     int *perm) {
    (void)l;
    if (o->has_channels_last_io && v->type.rank == 4)
        tfl_channels_last(4, perm);
    else
        tfl_identity(v->type.rank, perm);
}

static const hone_node whole_model = {.name = "", .op_name = "", .domain = ""};

static void add_inputs(tfl_legal *l, const hone_tflite_options *o) {
    const hone_graph *g = l->graph;
    tfl_model *m = &l->model;
    m->inputs = tfl_alloc(l, (size_t)g->n_inputs, sizeof *m->inputs);
    m->input_names = tfl_alloc(l, (size_t)g->n_inputs, sizeof *m->input_names);
    for (int i = 0; m->inputs && m->input_names && i < g->n_inputs; ++i) {
        const hone_value *v = g->inputs[i];
        int perm[TFL_MAX_RANK];
        m->inputs[i] = -1;
        m->input_names[i] = v->name;
        if (!check_value(l, &whole_model, v))
            continue;
        io_order(l, o, v, perm);
        m->inputs[i] = tfl_give(l, v, perm);
    }
    m->n_inputs = g->n_inputs;
}

static bool is_listed(const int *list, int n, int x) {
    for (int i = 0; i < n; ++i) {
        if (list[i] == x)
            return true;
    }
    return false;
}

/* An output is a tensor of its own: no input, no constant, none that is an output already. */
static int output_of(tfl_legal *l, const hone_tflite_options *o, const hone_value *v, int n_done) {
    int perm[TFL_MAX_RANK];
    io_order(l, o, v, perm);
    int t = tfl_take(l, v, perm);
    const tfl_model *m = &l->model;
    if (t < 0)
        return t;
    if (m->tensors[t].producer < 0 || is_listed(m->outputs, n_done, t))
        t = tfl_reshape(l, t, m->tensors[t].rank, m->tensors[t].dims);
    if (t >= 0)
        l->model.tensors[t].name = v->name;
    return t;
}

static void add_outputs(tfl_legal *l, const hone_tflite_options *o) {
    const hone_graph *g = l->graph;
    tfl_model *m = &l->model;
    m->outputs = tfl_alloc(l, (size_t)g->n_outputs, sizeof *m->outputs);
    m->output_names = tfl_alloc(l, (size_t)g->n_outputs, sizeof *m->output_names);
    for (int i = 0; m->outputs && m->output_names && i < g->n_outputs; ++i) {
        const hone_value *v = g->outputs[i];
        m->output_names[i] = v->name;
        if (v->constant && hone_tensor_count(v->constant) == 0)
            tfl_refuse(l, &whole_model, "empty-tensor", "remove the output from the model",
                       "%s is always empty", v->name);
        m->outputs[i] = check_value(l, &whole_model, v) ? output_of(l, o, v, i) : -1;
    }
    m->n_outputs = g->n_outputs;
}

/* ---- what nobody reads ------------------------------------------------------------------------
 */

/* Drop operators whose results are not used, from the last one on, then tensors. */
static void drop_unused(tfl_legal *l) {
    tfl_model *m = &l->model;
    int *used = tfl_alloc(l, (size_t)m->n_tensors, sizeof *used);
    bool *kept = tfl_alloc(l, (size_t)m->n_operators, sizeof *kept);
    if (!used || !kept)
        return;
    for (int i = 0; i < m->n_inputs; ++i)
        used[m->inputs[i]] = 1;
    for (int i = 0; i < m->n_outputs; ++i)
        used[m->outputs[i]] = 1;
    for (int i = m->n_operators - 1; i >= 0; --i) {
        const tfl_operator *op = &m->operators[i];
        for (int k = 0; k < op->n_out; ++k)
            kept[i] |= used[op->out[k]] != 0;
        for (int k = 0; kept[i] && k < op->n_in + op->n_out; ++k) {
            int t = k < op->n_in ? op->in[k] : op->out[k - op->n_in];
            if (t >= 0)
                used[t] = 1;
        }
    }
    int n_tensors = 0, n_operators = 0;
    for (int i = 0; i < m->n_tensors; ++i) {
        if (used[i]) {
            m->tensors[n_tensors] = m->tensors[i];
            used[i] = ++n_tensors; /* the new index, counted from 1 */
        }
    }
    for (int i = 0; i < m->n_operators; ++i) {
        if (kept[i])
            m->operators[n_operators++] = m->operators[i];
    }
    m->n_tensors = n_tensors;
    m->n_operators = n_operators;
    for (int i = 0; i < n_operators; ++i) {
        tfl_operator *op = &m->operators[i];
        int *lists = tfl_alloc(l, (size_t)(op->n_in + op->n_out), sizeof *lists);
        for (int k = 0; lists && k < op->n_in + op->n_out; ++k) {
            int t = k < op->n_in ? op->in[k] : op->out[k - op->n_in];
            lists[k] = t < 0 ? -1 : used[t] - 1;
        }
        op->in = lists;
        op->out = lists ? lists + op->n_in : NULL;
    }
    for (int i = 0; i < m->n_inputs; ++i)
        m->inputs[i] = used[m->inputs[i]] - 1;
    for (int i = 0; i < m->n_outputs; ++i)
        m->outputs[i] = used[m->outputs[i]] - 1;
}

static hone_status convert(tfl_legal *l, const hone_tflite_options *o, hone_error *err) {
    size_t n_values = (size_t)l->graph->n_values + 1;
    l->forms = tfl_alloc(l, n_values, sizeof *l->forms);
    l->stored = tfl_alloc(l, n_values, sizeof *l->stored);
    l->reader = tfl_alloc(l, n_values, sizeof *l->reader);
    if (!l->is_out_of_memory)
        tfl_quant_find(l);
    if (!l->is_out_of_memory)
        add_inputs(l, o);
    for (int i = 0; i < l->graph->n_nodes && !l->is_out_of_memory; ++i)
        convert_node(l, l->graph->nodes[i]);
    if (!l->is_out_of_memory)
        add_outputs(l, o);
    if (l->findings->n_errors)
        return hone_fail(err, HONE_E_UNSUPPORTED,
                         "the model cannot be converted; obstacles, which the list names: %d",
                         l->findings->n_errors);
    if (!l->is_out_of_memory)
        drop_unused(l);
    if (l->is_out_of_memory)
        return hone_fail(err, HONE_E_NOMEM, "no memory to convert the model");
    for (int i = 0; i < l->model.n_operators; ++i)
        l->model.operators[i].version = tfl_operator_version(&l->model, &l->model.operators[i]);
    return HONE_OK;
}

hone_status hone_tflite_convert(hone_graph *g, const hone_tflite_options *options,
                                hone_findings *findings, hone_tflite_put put, void *arg,
                                hone_error *err) {
    hone_arena arena;
    HONE_TRY(hone_tflite_expand_qoperators(g, err));
    HONE_TRY(hone_tflite_make_signed(g, err));
    HONE_TRY(hone_passes_run(g, &(hone_pass_options){.only = PASSES, .stop_at = -1}, err));
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    hone_arena_init(&arena, 0);
    tfl_legal l = {.model = {.arena = &arena, .name = g->name && g->name[0] ? g->name : "main"},
                   .graph = g,
                   .is_fp16 = options->is_fp16,
                   .findings = findings};
    hone_status status = convert(&l, options, err);
    if (status == HONE_OK)
        status = tfl_model_write(&l.model, put, arg, err);
    hone_arena_deinit(&arena);
    return status;
}
