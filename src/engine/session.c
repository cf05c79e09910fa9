/* Sessions: inputs and outputs by index, profiling, watching. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/internal.h"
#include "engine/state.h"
#include "kernels/vec.h"
#include "ops/cost.h"

struct hone_session {
    const hone_engine *engine;
    hone_exec_env env;
    hone_frame *frame;
    hone_tensor *input;     /* copies of the caller's structs; kind NONE: not set */
    const hone_tensor **in; /* pointers into `input` or `state`, NULL: not set */
    hone_state *state;
    void **out_data;
    size_t *out_bytes;
    bool has_run;
    hone_profile_fn profile;
    void *profile_arg;
    hone_watch_fn watch;
    void *watch_arg;
};

hone_status hone_session_create(const hone_engine *engine, int n_threads, hone_session **out,
                                hone_error *err) {
    *out = NULL;
    const hone_graph *g = engine->graph;
    if (engine->isa > hone_cpu_isa())
        return hone_fail(
            err, HONE_E_VERSION,
            "the engine's weights are packed for %s, this CPU has %s: build the engine "
            "here, or elsewhere with 'hone build --isa %s'",
            hone_isa_name(engine->isa), hone_isa_name(hone_cpu_isa()),
            hone_isa_name(hone_cpu_isa()));
    hone_session *s = calloc(1, sizeof *s);
    if (!s)
        return hone_fail(err, HONE_E_NOMEM, "no memory for a session");
    s->engine = engine;
    s->env.alloc = hone_alloc_create(engine->max_ram_bytes);
    s->input = calloc((size_t)g->n_inputs + 1, sizeof *s->input);
    s->in = calloc((size_t)g->n_inputs + 1, sizeof *s->in);
    s->out_data = calloc((size_t)g->n_outputs + 1, sizeof *s->out_data);
    s->out_bytes = calloc((size_t)g->n_outputs + 1, sizeof *s->out_bytes);
    s->state = hone_state_create(g, s->env.alloc);
    hone_status status = HONE_OK;
    if (!s->env.alloc || !s->state || !s->input || !s->in || !s->out_data || !s->out_bytes)
        status = hone_fail(err, HONE_E_NOMEM, "no memory for a session");
    if (status == HONE_OK)
        status = hone_pool_create(n_threads, &s->env.pool, err);
    s->env.options.n_threads = hone_pool_threads(s->env.pool);
    s->env.options.reference = engine->is_reference;
    s->env.options.max_arena_bytes = engine->max_ram_bytes;
    s->env.options.layout = &engine->layout;
    if (status == HONE_OK)
        status = hone_frame_create(g, &s->env, &s->frame, err);
    if (status != HONE_OK) {
        hone_session_destroy(s);
        return status;
    }
    for (int i = 0; i < g->n_inputs; ++i) {
        if (g->inputs[i]->initial)
            s->in[i] = g->inputs[i]->initial;
    }
    *out = s;
    return HONE_OK;
}

void hone_session_destroy(hone_session *s) {
    if (!s)
        return;
    hone_frame_destroy(s->frame);
    hone_pool_destroy(s->env.pool);
    hone_state_destroy(s->state);
    hone_alloc_destroy(s->env.alloc);
    free(s->input);
    free(s->in);
    free(s->out_data);
    free(s->out_bytes);
    free(s);
}

hone_status hone_session_set_input(hone_session *s, int i, const hone_tensor *tensor,
                                   hone_error *err) {
    const hone_graph *g = s->engine->graph;
    if (i < 0 || i >= g->n_inputs)
        return hone_fail(err, HONE_E_ARGUMENT, "input %d: the model has %d inputs", i, g->n_inputs);
    if (!tensor) {
        s->in[i] = g->inputs[i]->initial;
        return HONE_OK;
    }
    if (tensor->kind == HONE_KIND_TENSOR && (tensor->rank < 0 || tensor->rank > HONE_MAX_RANK))
        return hone_fail(err, HONE_E_ARGUMENT, "input %d (%s): rank %d is not possible", i,
                         g->inputs[i]->name, tensor->rank);
    if (tensor->kind == HONE_KIND_TENSOR && !hone_dims_fit(tensor->rank, tensor->dims))
        return hone_fail(err, HONE_E_SHAPE, "input %d (%s): dims below 0 or too large", i,
                         g->inputs[i]->name);
    s->input[i] = *tensor;
    s->in[i] = &s->input[i];
    return HONE_OK;
}

hone_status hone_session_set_output(hone_session *s, int i, void *data, size_t bytes,
                                    hone_error *err) {
    if (i < 0 || i >= s->engine->graph->n_outputs)
        return hone_fail(err, HONE_E_ARGUMENT, "output %d: the model has %d outputs", i,
                         s->engine->graph->n_outputs);
    s->out_data[i] = data;
    s->out_bytes[i] = bytes;
    return HONE_OK;
}

static hone_status check_range(const hone_session *s, int i, hone_error *err) {
    const hone_value *v = s->engine->graph->inputs[i];
    for (int r = 0; r < s->engine->n_shapes; ++r) {
        const hone_shape_range *range = &s->engine->shapes[r];
        if (strcmp(range->input, v->name) != 0)
            continue;
        for (int d = 0; d < range->rank && d < s->in[i]->rank; ++d) {
            int64_t dim = s->in[i]->dims[d];
            if (dim < range->min[d] || dim > range->max[d])
                return hone_fail(err, HONE_E_SHAPE,
                                 "input %s: dim %d is %" PRId64 ", outside the engine's profile "
                                 "%" PRId64 "..%" PRId64 "; build it with a wider --shape",
                                 v->name, d, dim, range->min[d], range->max[d]);
        }
    }
    return HONE_OK;
}

static hone_status check_input(const hone_session *s, int i, int64_t *symbols, hone_error *err) {
    const hone_graph *g = s->engine->graph;
    const hone_value *v = g->inputs[i];
    const hone_type *want = &v->type;
    const hone_tensor *t = s->in[i];
    if (!t || t->kind == HONE_KIND_NONE) {
        if (want->optional)
            return HONE_OK;
        return hone_fail(err, HONE_E_ARGUMENT, "input %d (%s) is not set", i, v->name);
    }
    if (want->kind == HONE_KIND_NONE)
        return HONE_OK;
    char expected[200], got[200];
    if (t->kind != want->kind ||
        (want->kind == HONE_KIND_TENSOR && want->dtype && t->dtype != want->dtype))
        return hone_fail(err, HONE_E_TYPE, "input %s is %s, the model wants %s", v->name,
                         hone_tensor_describe(t, got, sizeof got),
                         hone_type_describe(g, want, expected, sizeof expected));
    if (want->kind != HONE_KIND_TENSOR || want->rank < 0)
        return HONE_OK;
    bool same = t->rank == want->rank;
    for (int d = 0; same && d < want->rank; ++d) {
        if (t->dims[d] < 0)
            return hone_fail(err, HONE_E_SHAPE, "input %s: dim %d is negative", v->name, d);
        if (want->dims[d] >= 0)
            same = t->dims[d] == want->dims[d];
        else if (hone_dim_is_symbol(want->dims[d])) {
            int64_t *known = &symbols[hone_dim_symbol(want->dims[d])];
            if (*known >= 0 && *known != t->dims[d])
                return hone_fail(err, HONE_E_SHAPE,
                                 "input %s: dim %d is %" PRId64 ", but '%s' is %" PRId64
                                 " in another input",
                                 v->name, d, t->dims[d],
                                 g->symbols->name[hone_dim_symbol(want->dims[d])], *known);
            *known = t->dims[d];
        }
    }
    if (!same)
        return hone_fail(err, HONE_E_SHAPE, "input %s is %s, the model wants %s", v->name,
                         hone_tensor_describe(t, got, sizeof got),
                         hone_type_describe(g, want, expected, sizeof expected));
    return check_range(s, i, err);
}

enum { MAX_SYMBOLS = 256 };

static hone_status check_inputs(const hone_session *s, hone_error *err) {
    int64_t symbols[MAX_SYMBOLS];
    const hone_graph *g = s->engine->graph;
    for (int i = 0; i < MAX_SYMBOLS; ++i)
        symbols[i] = -1;
    for (int i = 0; i < g->n_inputs; ++i) {
        const hone_type *t = &g->inputs[i]->type;
        for (int d = 0; d < t->rank; ++d) {
            if (hone_dim_is_symbol(t->dims[d]) && hone_dim_symbol(t->dims[d]) >= MAX_SYMBOLS)
                return hone_fail(err, HONE_E_UNSUPPORTED, "more than %d symbolic dims",
                                 MAX_SYMBOLS);
        }
        HONE_TRY(check_input(s, i, symbols, err));
    }
    return HONE_OK;
}

hone_status hone_session_prepare(hone_session *s, hone_error *err) {
    HONE_TRY(check_inputs(s, err));
    s->has_run = false;
    return hone_frame_plan(s->frame, s->in, err);
}

hone_status hone_session_run(hone_session *s, hone_error *err) {
    HONE_TRY(check_inputs(s, err));
    s->has_run = false;
    HONE_TRY(hone_frame_run(s->frame, s->in, s->out_data, s->out_bytes, err));
    HONE_TRY(hone_state_take(s->state, s->frame, s->in, err));
    s->has_run = true;
    return HONE_OK;
}

const hone_tensor *hone_session_output(const hone_session *s, int i) {
    if (!s->has_run || i < 0 || i >= s->engine->graph->n_outputs)
        return NULL;
    return hone_frame_output(s->frame, i);
}

size_t hone_session_arena_bytes(const hone_session *s) {
    return hone_frame_bytes(s->frame);
}

int hone_session_threads(const hone_session *s) {
    return hone_pool_threads(s->env.pool);
}

/* ---- profiling and watching --------------------------------------------------------------------
 */

static void describe_shapes(const hone_node *n, const hone_frame *frame, char *buf, size_t size) {
    size_t at = 0;
    for (int i = 0; i < n->n_in + n->n_out && at < size; ++i) {
        const hone_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        const hone_tensor *t = v ? hone_frame_value(frame, v->id) : NULL;
        const char *gap = i == n->n_in ? " -> " : i ? ", " : "";
        bool is_tensor = t && t->kind == HONE_KIND_TENSOR;
        const char *other = !v || !t ? "-" : !is_tensor ? "?" : t->rank == 0 ? "[]" : "";
        at += (size_t)snprintf(buf + at, size - at, "%s%s", gap, other);
        for (int d = 0; is_tensor && d < t->rank && at < size; ++d)
            at += (size_t)snprintf(buf + at, size - at, "%s%" PRId64, d ? "x" : "", t->dims[d]);
    }
}

static int64_t touched_bytes(const hone_node *n, const hone_frame *frame) {
    int64_t total = 0;
    for (int i = 0; i < n->n_in + n->n_out; ++i) {
        const hone_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        const hone_tensor *t = v ? hone_frame_value(frame, v->id) : NULL;
        if (t && t->kind == HONE_KIND_TENSOR)
            total += (int64_t)hone_tensor_bytes(t);
    }
    return total;
}

/* A packed node names the kernel that it was packed for. */
static const char *kernel_of(const hone_step *step) {
    if (!step->impl)
        return "reference";
    return hone_attr_string(step->node, "kernel_name", step->impl->name);
}

static void on_step(void *arg, const hone_plan *plan, const hone_step *step, int depth,
                    int64_t start_ns, int64_t end_ns, const hone_frame *frame) {
    hone_session *s = arg;
    const hone_node *n = step->node;
    if (s->profile) {
        hone_profile_entry e = {
            .node = n->name,
            .op = n->op_name,
            .kernel = kernel_of(step),
            .isa = step->impl ? hone_isa_name(hone_vec_kernels_for(hone_cpu_isa())->isa) : "c",
            .origin = n->origin,
            .depth = depth,
            .start_ns = start_ns,
            .end_ns = end_ns,
            .macs = hone_node_macs(n, plan->types),
            .bytes = touched_bytes(n, frame),
        };
        describe_shapes(n, frame, e.shapes, sizeof e.shapes);
        s->profile(s->profile_arg, &e);
    }
    for (int i = 0; s->watch && i < n->n_out; ++i) {
        if (n->out[i])
            s->watch(s->watch_arg, n->out[i]->name, hone_frame_value(frame, n->out[i]->id));
    }
}

static void update_hook(hone_session *s) {
    s->env.hook = s->profile || s->watch ? on_step : NULL;
    s->env.hook_arg = s;
    s->env.is_watched = s->watch != NULL;
}

void hone_session_set_profiler(hone_session *s, hone_profile_fn fn, void *arg) {
    s->profile = fn;
    s->profile_arg = arg;
    update_hook(s);
}

void hone_session_set_watch(hone_session *s, hone_watch_fn fn, void *arg) {
    s->watch = fn;
    s->watch_arg = arg;
    update_hook(s);
}

void hone_session_set_budget(hone_session *s, int64_t *steps) {
    s->env.budget = steps;
}

void hone_session_set_hook(hone_session *s, hone_step_hook fn, void *arg) {
    s->env.hook = fn;
    s->env.hook_arg = arg;
}
