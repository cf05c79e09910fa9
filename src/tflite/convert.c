/* The conversion: hone_tflite_convert at the end has the flow. */
#include "tflite/convert.h"

#include "passes/pass.h"
#include "tflite/convert_graph.h"
#include "tflite/expand_attention.h"
#include "tflite/qoperator.h"
#include "tflite/signed.h"

/* All but the recognition of attention, which has no equivalent as one operator. */
static const char PASSES[] =
    "fold_constants,fold_if,remove_noop,merge_common,fuse_norm,fuse_gelu,fuse_silu,fold_batchnorm,"
    "fold_pad,fuse_gemm,cancel_transposes,remove_dead";

/* ---- inputs and outputs -----------------------------------------------------------------------
 */

static void io_order(const hone_tflite_options *o, const hone_value *v, int *perm) {
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
        if (!tfl_check_value(l, &whole_model, v))
            continue;
        io_order(o, v, perm);
        m->inputs[i] = tfl_give(l, v, perm);
    }
    m->n_inputs = g->n_inputs;
}

static void add_outputs(tfl_legal *l, const hone_tflite_options *o) {
    const hone_graph *g = l->graph;
    tfl_model *m = &l->model;
    m->outputs = tfl_alloc(l, (size_t)g->n_outputs, sizeof *m->outputs);
    m->output_names = tfl_alloc(l, (size_t)g->n_outputs, sizeof *m->output_names);
    for (int i = 0; m->outputs && m->output_names && i < g->n_outputs; ++i) {
        const hone_value *v = g->outputs[i];
        int perm[TFL_MAX_RANK];
        m->output_names[i] = v->name;
        if (v->constant && hone_tensor_count(v->constant) == 0)
            tfl_refuse(l, &whole_model, "empty-tensor", "remove the output from the model",
                       "%s is always empty", v->name);
        m->outputs[i] = -1;
        if (!tfl_check_value(l, &whole_model, v))
            continue;
        io_order(o, v, perm);
        m->outputs[i] = tfl_graph_output(l, v, perm, i);
    }
    m->n_outputs = g->n_outputs;
}

static hone_status convert(tfl_legal *l, const hone_tflite_options *o, hone_error *err) {
    tfl_graph_begin(l);
    if (!l->is_out_of_memory)
        add_inputs(l, o);
    tfl_graph_nodes(l);
    if (!l->is_out_of_memory)
        add_outputs(l, o);
    if (l->findings->n_errors)
        return hone_fail(err, HONE_E_UNSUPPORTED,
                         "the model cannot be converted; obstacles, which the list names: %d",
                         l->findings->n_errors);
    if (!l->is_out_of_memory)
        tfl_graph_finish(l);
    return l->is_out_of_memory ? hone_fail(err, HONE_E_NOMEM, "no memory to convert the model")
                               : HONE_OK;
}

hone_status hone_tflite_prepare(hone_graph *g, hone_error *err) {
    HONE_TRY(hone_tflite_expand_qoperators(g, err));
    HONE_TRY(hone_tflite_expand_attention(g, err));
    HONE_TRY(hone_tflite_make_signed(g, err));
    HONE_TRY(hone_passes_run(g, &(hone_pass_options){.only = PASSES, .stop_at = -1}, err));
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    return HONE_OK;
}

hone_status hone_tflite_convert(hone_graph *g, const hone_tflite_options *options,
                                hone_findings *findings, hone_tflite_put put, void *arg,
                                hone_error *err) {
    hone_arena arena;
    HONE_TRY(hone_tflite_prepare(g, err));
    hone_arena_init(&arena, 0);
    tfl_legal l = {.model = {.arena = &arena, .name = g->name && g->name[0] ? g->name : "main"},
                   .file = &l.model,
                   .graph = g,
                   .is_fp16 = options->is_fp16,
                   .findings = findings};
    hone_status status = convert(&l, options, err);
    if (status == HONE_OK)
        status = tfl_model_write(&l.model, put, arg, err);
    hone_arena_deinit(&arena);
    return status;
}
