/* Model -> engine: the whole flow on one screen, hone_engine_build at the end. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/lower.h"
#include "base/threads.h"
#include "engine/internal.h"
#include "engine/profile.h"
#include "ir/infer.h"
#include "onnx/reader.h"
#include "passes/pass.h"

void hone_build_options_init(hone_build_options *o) {
    *o = (hone_build_options){.optimize = 2, .stop_at = -1};
}

/* ---- is everything there? ---------------------------------------------------------------------
 */

static hone_status check_operators(const hone_graph *g, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        if (!n->op) {
            hone_fail(err, HONE_E_UNSUPPORTED,
                      "operator %s%s%s is not supported; 'hone check' lists every such node",
                      n->domain, n->domain[0] ? "." : "", n->op_name);
            return hone_fail_node(err, HONE_E_UNSUPPORTED, n->name, n->op_name);
        }
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                HONE_TRY(check_operators(n->attrs[k].g, err));
        }
    }
    return HONE_OK;
}

/* ---- the memory plan --------------------------------------------------------------------------
 */

static const hone_shape_range *range_of(const hone_engine *e, const char *input) {
    for (int i = 0; i < e->n_shapes; ++i) {
        if (strcmp(e->shapes[i].input, input) == 0)
            return &e->shapes[i];
    }
    return NULL;
}

/* The inputs' types at the profile's optimum. False: a dim stays open. */
static bool optimal_types(const hone_engine *e, hone_type *types) {
    const hone_graph *g = e->graph;
    for (int i = 0; i < g->n_inputs; ++i) {
        const hone_shape_range *r = range_of(e, g->inputs[i]->name);
        types[i] = g->inputs[i]->type;
        if (types[i].kind != HONE_KIND_TENSOR)
            return false;
        for (int d = 0; r && d < r->rank; ++d)
            types[i].dims[d] = r->opt[d];
        if (!hone_type_is_static(&types[i]))
            return false;
    }
    return true;
}

/* Place the activations for the shapes that the engine is built for, so that a session need not.
 * What cannot be planned before data is there is left to the run, which reports what is wrong. */
static hone_status plan_memory(hone_engine *e, hone_error *err) {
    hone_plan_options options = {
        .n_threads = 1, .reference = e->is_reference, .max_arena_bytes = e->max_ram_bytes};
    hone_type *types = HONE_NEW_ARRAY(e->graph->arena, hone_type, e->graph->n_inputs);
    hone_plan *plan;
    if (!types)
        return hone_fail(err, HONE_E_NOMEM, "no memory for the plan");
    if (!optimal_types(e, types))
        return HONE_OK;
    hone_status status = hone_plan_create(e->graph, types, &options, &plan, err);
    if (status != HONE_OK)
        return status == HONE_E_NOMEM ? status : HONE_OK;
    status = hone_plan_layout(plan, e->graph->arena, &e->layout);
    hone_plan_destroy(plan);
    return status == HONE_OK ? status : hone_fail(err, status, "no memory for the plan");
}

/* ---- the flow ---------------------------------------------------------------------------------
 */

static void progress(const hone_build_options *o, double fraction, const char *what) {
    if (o->progress)
        o->progress(o->progress_arg, fraction, what);
}

/* Where in [0, 1] lowering, which tunes, begins. */
#define LOWERING_AT 0.4

static void lowering_progress(void *arg, double fraction, const char *what) {
    progress(arg, LOWERING_AT + (1 - LOWERING_AT) * fraction, what);
}

static hone_status lower(hone_engine *e, const hone_build_options *o, hone_error *err) {
    hone_build_options copy = *o;
    int isa = o->isa ? hone_isa_parse(o->isa) : (int)hone_cpu_isa();
    if (isa < 0)
        return hone_fail(err, HONE_E_ARGUMENT,
                         "there is no instruction set '%s': it is ref, avx2, "
                         "avx512, avx512_vnni or avx512_bf16",
                         o->isa);
    if (isa > (int)hone_cpu_isa())
        return hone_fail(err, HONE_E_ARGUMENT,
                         "this CPU has %s and cannot build for %s; build there",
                         hone_isa_name(hone_cpu_isa()), o->isa);
    if (o->precision == HONE_PRECISION_BF16 && isa < (int)HONE_ISA_AVX512_BF16 && o->remark)
        o->remark(o->remark_arg, "BF16 needs AVX512-BF16: the engine computes in float32");
    hone_lower_options options = {
        .isa = (hone_isa)isa,
        .is_exact = o->is_exact,
        .precision = o->precision,
        .tune = o->tune,
        .n_threads = e->n_threads,
        .tune_cache = o->tune_cache,
        .progress = lowering_progress,
        .progress_arg = &copy,
        .remark = o->remark,
        .remark_arg = o->remark_arg,
    };
    HONE_TRY(hone_cpu_lower(e->graph, &options, err));
    e->isa = hone_cpu_needed_isa(e->graph);
    return HONE_OK;
}

static hone_status apply_profile(hone_engine *e, const hone_build_options *o, hone_error *err) {
    hone_graph *g = e->graph;
    e->shapes = HONE_NEW_ARRAY(g->arena, hone_shape_range, o->n_shapes);
    if (!e->shapes)
        return hone_fail(err, HONE_E_NOMEM, "no memory for the profile");
    for (; e->n_shapes < o->n_shapes; ++e->n_shapes) {
        hone_shape_range *r = &e->shapes[e->n_shapes];
        *r = o->shapes[e->n_shapes];
        r->input = hone_arena_strdup(g->arena, r->input, strlen(r->input));
        if (!r->input)
            return hone_fail(err, HONE_E_NOMEM, "no memory for the profile");
    }
    return hone_apply_shapes(g, e->shapes, e->n_shapes, err);
}

static hone_status build(hone_engine *e, const hone_model *model, const hone_build_options *o,
                         hone_error *err) {
    e->is_reference = o->optimize == 0;
    e->max_ram_bytes = o->max_ram_bytes;
    if (o->tune != HONE_TUNE_OFF)
        e->n_threads = o->n_threads ? o->n_threads : hone_default_threads();
    progress(o, 0.0, "reading");
    e->graph = hone_graph_clone(model->graph);
    if (!e->graph)
        return hone_fail(err, HONE_E_NOMEM, "no memory to copy the graph");
    HONE_TRY(check_operators(e->graph, err));
    if (!o->keeps_defaults)
        hone_fix_defaults(e->graph);
    HONE_TRY(apply_profile(e, o, err));
    /* Passes read constants through pointers. */
    HONE_TRY(hone_onnx_align(e->graph, SIZE_MAX, &model->map, err));
    progress(o, 0.1, "optimising");
    if (o->optimize >= 1)
        HONE_TRY(hone_passes_run(
            e->graph, &(hone_pass_options){.only = o->passes, .stop_at = o->stop_at}, err));
    progress(o, LOWERING_AT, "lowering");
    if (o->optimize >= 2)
        HONE_TRY(lower(e, o, err));
    if (hone_graph_index(e->graph) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    HONE_TRY(hone_graph_verify(e->graph, err));
    HONE_TRY(plan_memory(e, err));
    /* Most weights have been packed; what is still used where it lies is read again. */
    hone_file_map_forget(&model->map, model->map.data, model->map.n_bytes);
    progress(o, 1.0, "done");
    return HONE_OK;
}

hone_status hone_engine_build(const hone_model *model, const hone_build_options *options,
                              hone_engine **out, hone_error *err) {
    hone_build_options defaults;
    *out = NULL;
    if (!options) {
        hone_build_options_init(&defaults);
        options = &defaults;
    }
    hone_engine *e = calloc(1, sizeof *e);
    if (!e)
        return hone_fail(err, HONE_E_NOMEM, "no memory for an engine");
    hone_status status = build(e, model, options, err);
    if (status != HONE_OK) {
        hone_engine_destroy(e);
        return status;
    }
    *out = e;
    return HONE_OK;
}

void hone_engine_destroy(hone_engine *e) {
    if (!e)
        return;
    hone_graph_destroy(e->graph);
    hone_file_map_close(&e->map);
    hone_model_destroy(e->model);
    free(e);
}

int hone_engine_input_count(const hone_engine *e) {
    return e->graph->n_inputs;
}

int hone_engine_output_count(const hone_engine *e) {
    return e->graph->n_outputs;
}

bool hone_engine_input(const hone_engine *e, int i, hone_io_info *info) {
    return hone_graph_io(e->graph, e->graph->inputs, e->graph->n_inputs, i, info);
}

bool hone_engine_output(const hone_engine *e, int i, hone_io_info *info) {
    return hone_graph_io(e->graph, e->graph->outputs, e->graph->n_outputs, i, info);
}

static int find_name(hone_value *const *list, int n, const char *name) {
    for (int i = 0; i < n; ++i) {
        if (strcmp(list[i]->name, name) == 0)
            return i;
    }
    return -1;
}

int hone_engine_input_index(const hone_engine *e, const char *name) {
    return find_name(e->graph->inputs, e->graph->n_inputs, name);
}

int hone_engine_output_index(const hone_engine *e, const char *name) {
    return find_name(e->graph->outputs, e->graph->n_outputs, name);
}
