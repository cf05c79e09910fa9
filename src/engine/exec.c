#include "engine/exec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pages.h"
#include "engine/slices.h"
#include "ir/eval.h"

/* After so many plans were thrown away, a subgraph whose shapes keep changing (a loop that grows a
 * tensor) runs on one plan without input types. */
enum { GIVE_UP_AFTER = 16 };

/* A plan with the memory to run it. */
typedef struct instance {
    hone_plan *plan;
    hone_type *key; /* graph inputs, then captures */
    hone_tensor *slots;
    unsigned char *memory;    /* the arena, 64-byte aligned */
    const hone_tensor **args; /* inputs of all steps, one after another */
    hone_tensor **results;
    hone_type *types; /* room for one step's types */
    uint64_t used_at;
    int64_t n_slices;           /* runs of the plan that make a batch: 1, or by slices.h */
    hone_tensor *slice;         /* inputs of one of them; NULL: there is one */
    const hone_tensor **inputs; /* pointers to these */
    unsigned char *gathered;    /* outputs of the batch that the caller has no memory for */
    size_t gathered_bytes;
} instance;

typedef struct scratch_block {
    struct scratch_block *next;
    size_t bytes, used;
    _Alignas(64) unsigned char data[];
} scratch_block;

struct hone_frame {
    const hone_graph *graph;
    const hone_exec_env *env;
    hone_frame *parent; /* whose slots the captures refer to */
    hone_frame *children, *next;
    int depth;
    instance cache[HONE_PLAN_CACHE];
    instance *now;
    uint64_t clock;
    int n_evicted;
    int n_inputs; /* graph inputs + captures */
    hone_type *key;
    hone_arena temp;
    hone_arena memory;
    scratch_block *scratch;
    hone_tensor *outputs; /* handles or views of the last run's outputs */
};

static hone_status no_memory(hone_error *err) {
    return hone_fail(err, HONE_E_NOMEM, "no memory to run the model");
}

/* ---- frames -----------------------------------------------------------------------------------
 */

hone_status hone_frame_create(const hone_graph *g, const hone_exec_env *env, hone_frame **out,
                              hone_error *err) {
    *out = NULL;
    hone_frame *f = calloc(1, sizeof *f);
    if (!f)
        return no_memory(err);
    f->graph = g;
    f->env = env;
    hone_arena_init(&f->temp, 0);
    hone_arena_init(&f->memory, 0);
    f->n_inputs = g->n_inputs;
    for (int i = 0; i < g->n_values; ++i)
        f->n_inputs += g->values[i]->outer && !g->values[i]->constant;
    f->key = HONE_NEW_ARRAY(&f->memory, hone_type, f->n_inputs);
    f->outputs = HONE_NEW_ARRAY(&f->memory, hone_tensor, g->n_outputs);
    if (!f->key || !f->outputs) {
        hone_frame_destroy(f);
        return no_memory(err);
    }
    *out = f;
    return HONE_OK;
}

static void drop_values(instance *x) {
    const hone_graph *g = x->plan->graph;
    for (int i = 0; i < g->n_values; ++i) {
        if (x->plan->storage_of[i] < 0)
            hone_tensor_release(&x->slots[i]);
    }
}

static void instance_deinit(instance *x) {
    if (!x->plan)
        return;
    if (x->slots)
        drop_values(x);
    free(x->slots);
    free(x->memory);
    free(x->args);
    free(x->results);
    free(x->types);
    free(x->key);
    free(x->slice);
    free(x->inputs);
    free(x->gathered);
    hone_plan_destroy(x->plan);
    *x = (instance){0};
}

static void drop_outputs(hone_frame *f) {
    for (int i = 0; i < f->graph->n_outputs; ++i)
        f->outputs[i] = (hone_tensor){.kind = HONE_KIND_NONE};
}

void hone_frame_destroy(hone_frame *f) {
    if (!f)
        return;
    for (hone_frame *c = f->children; c;) {
        hone_frame *next = c->next;
        hone_frame_destroy(c);
        c = next;
    }
    for (int i = 0; i < HONE_PLAN_CACHE; ++i)
        instance_deinit(&f->cache[i]);
    for (scratch_block *b = f->scratch; b;) {
        scratch_block *next = b->next;
        free(b);
        b = next;
    }
    hone_arena_deinit(&f->temp);
    hone_arena_deinit(&f->memory);
    free(f);
}

size_t hone_frame_bytes(const hone_frame *f) {
    size_t total = 0;
    for (int i = 0; i < HONE_PLAN_CACHE; ++i)
        total += f->cache[i].plan ? f->cache[i].plan->arena_bytes + f->cache[i].gathered_bytes : 0;
    for (const scratch_block *b = f->scratch; b; b = b->next)
        total += b->bytes;
    for (const hone_frame *c = f->children; c; c = c->next)
        total += hone_frame_bytes(c);
    return total;
}

/* ---- scratch ----------------------------------------------------------------------------------
 */

static scratch_block *scratch_add(hone_frame *f, size_t bytes) {
    size_t limit = f->env->options.max_arena_bytes, held = 0;
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + 63) / 64 * 64;
    for (const scratch_block *o = f->scratch; limit && o; o = o->next)
        held += o->bytes;
    if (limit && (held > limit || bytes > limit - held))
        return NULL;
    scratch_block *b = hone_pages_alloc(sizeof *b + bytes);
    if (!b)
        return NULL;
    b->bytes = bytes;
    b->used = 0;
    b->next = f->scratch;
    f->scratch = b;
    return b;
}

static void *scratch_get(hone_op_ctx *c, size_t bytes) {
    hone_frame *f = c->frame;
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + 63) / 64 * 64;
    for (scratch_block *b = f->scratch; b; b = b->next) {
        if (b->bytes - b->used >= bytes) {
            void *p = b->data + b->used;
            b->used += bytes;
            return p;
        }
    }
    scratch_block *b = scratch_add(f, bytes);
    if (!b)
        return NULL;
    b->used = bytes;
    return b->data;
}

/* After a step: when it needed several blocks, make one that holds all for the next time. */
static void scratch_reset(hone_frame *f) {
    if (!f->scratch)
        return;
    if (!f->scratch->next) {
        f->scratch->used = 0;
        return;
    }
    size_t total = 0;
    for (scratch_block *b = f->scratch; b;) {
        scratch_block *next = b->next;
        total += b->bytes;
        free(b);
        b = next;
    }
    f->scratch = NULL;
    scratch_add(f, total);
}

/* ---- choosing a plan --------------------------------------------------------------------------
 */

static bool same_type(const hone_type *a, const hone_type *b) {
    if (a->kind != b->kind || a->dtype != b->dtype || a->rank != b->rank)
        return false;
    return a->rank <= 0 || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

static hone_type key_of(const hone_tensor *t) {
    if (t && t->kind == HONE_KIND_TENSOR)
        return hone_type_of(t);
    return (hone_type){.kind = HONE_KIND_NONE, .rank = -1};
}

static void fill_key(hone_frame *f, const hone_tensor *const *in) {
    const hone_graph *g = f->graph;
    for (int i = 0; i < g->n_inputs; ++i)
        f->key[i] = key_of(in[i]);
    int n = g->n_inputs;
    for (int i = 0; i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        if (v->outer && !v->constant)
            f->key[n++] = key_of(hone_frame_value(f->parent, v->outer->id));
    }
    if (f->n_evicted > GIVE_UP_AFTER) {
        for (int i = 0; i < f->n_inputs; ++i)
            f->key[i] = key_of(NULL);
    }
}

static instance *find_instance(hone_frame *f) {
    for (int i = 0; i < HONE_PLAN_CACHE; ++i) {
        instance *x = &f->cache[i];
        bool same = x->plan != NULL && !(f->env->is_watched && x->n_slices > 1);
        for (int k = 0; same && k < f->n_inputs; ++k)
            same = same_type(&x->key[k], &f->key[k]);
        if (same)
            return x;
    }
    return NULL;
}

static instance *free_instance(hone_frame *f) {
    instance *oldest = &f->cache[0];
    for (int i = 0; i < HONE_PLAN_CACHE; ++i) {
        if (!f->cache[i].plan)
            return &f->cache[i];
        if (f->cache[i].used_at < oldest->used_at)
            oldest = &f->cache[i];
    }
    f->n_evicted++;
    instance_deinit(oldest);
    return oldest;
}

static unsigned char *storage_base(const instance *x, int id) {
    const hone_storage *s = &x->plan->storages[x->plan->storage_of[id]];
    if (s->kind == HONE_STORAGE_ARENA)
        return x->memory + s->offset;
    return x->slots[s->slot].data;
}

static hone_status instantiate(hone_frame *f, instance *x, hone_error *err) {
    hone_plan *plan = x->plan;
    const hone_graph *g = f->graph;
    size_t n_args = 1, n_results = 1, widest = 1;
    for (int s = 0; s < plan->n_steps; ++s) {
        const hone_node *n = plan->steps[s].node;
        n_args += (size_t)n->n_in;
        n_results += (size_t)n->n_out;
        size_t width = (size_t)n->n_in + (size_t)n->n_out;
        widest = width > widest ? width : widest;
    }
    x->slots = malloc(sizeof *x->slots * (size_t)(g->n_values + 1));
    x->memory = hone_pages_alloc(plan->arena_bytes);
    x->args = malloc(sizeof *x->args * n_args);
    x->results = malloc(sizeof *x->results * n_results);
    x->types = malloc(sizeof *x->types * widest);
    x->key = malloc(sizeof *x->key * (size_t)(f->n_inputs + 1));
    if (!x->slots || !x->memory || !x->args || !x->results || !x->types || !x->key)
        return no_memory(err);
    memcpy(x->slots, plan->slots, sizeof *x->slots * (size_t)g->n_values);
    memcpy(x->key, f->key, sizeof *x->key * (size_t)f->n_inputs);
    for (int i = 0; i < g->n_values; ++i) {
        if (plan->storage_of[i] < 0)
            x->slots[i] = (hone_tensor){.kind = HONE_KIND_NONE};
        else if (plan->storages[plan->storage_of[i]].kind != HONE_STORAGE_INPUT)
            x->slots[i].data = storage_base(x, i);
    }
    size_t a = 0, r = 0;
    for (int s = 0; s < plan->n_steps; ++s) {
        const hone_node *n = plan->steps[s].node;
        for (int i = 0; i < n->n_in; ++i)
            x->args[a++] = n->in[i] ? &x->slots[n->in[i]->id] : NULL;
        for (int i = 0; i < n->n_out; ++i)
            x->results[r++] = n->out[i] ? &x->slots[n->out[i]->id] : NULL;
    }
    if (plan->scratch_bytes && (!f->scratch || f->scratch->bytes < plan->scratch_bytes))
        return scratch_add(f, plan->scratch_bytes) ? HONE_OK : no_memory(err);
    return HONE_OK;
}

/* ---- slices -----------------------------------------------------------------------------------
 */

/* The type of one slice. */
static hone_type slice_type(const hone_type *t, int64_t size) {
    hone_type slice = *t;
    slice.dims[0] = size;
    return slice;
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static size_t slice_bytes(const instance *x, int id) {
    return hone_tensor_bytes(&x->plan->slots[id]);
}

/* The plan of a slice takes the place of the batch's. */
static hone_status take_slices(hone_frame *f, instance *x, hone_plan *part, int64_t n) {
    const hone_graph *g = f->graph;
    x->gathered_bytes = 0;
    for (int i = 0; i < g->n_outputs; ++i)
        x->gathered_bytes +=
            aligned((size_t)n * hone_tensor_bytes(&part->slots[g->outputs[i]->id]));
    x->slice = calloc((size_t)g->n_inputs, sizeof *x->slice);
    x->inputs = calloc((size_t)g->n_inputs, sizeof *x->inputs);
    x->gathered = hone_pages_alloc(x->gathered_bytes + 1);
    if (!x->slice || !x->inputs || !x->gathered) {
        hone_plan_destroy(part);
        return HONE_E_NOMEM;
    }
    for (int i = 0; i < g->n_inputs; ++i)
        x->inputs[i] = &x->slice[i];
    hone_plan_destroy(x->plan);
    x->plan = part;
    x->n_slices = n;
    return HONE_OK;
}

/* Run the batch in slices where that pays and means the same. */
static hone_status consider_slices(hone_frame *f, instance *x, hone_error *err) {
    hone_plan *part;
    int64_t batch = f->parent || f->env->options.reference || f->env->is_watched
                        ? 1
                        : hone_slices_batch(f->graph, f->key);
    int64_t size = batch > 1 ? hone_slices_size(x->plan, batch) : batch;
    if (size == batch)
        return HONE_OK;
    hone_type *types = HONE_NEW_ARRAY(&f->temp, hone_type, f->n_inputs);
    if (!types)
        return no_memory(err);
    for (int i = 0; i < f->n_inputs; ++i)
        types[i] = slice_type(&f->key[i], size);
    /* A model that is written for one size of batch has no plan for another. */
    if (hone_plan_create(f->graph, types, &f->env->options, &part, NULL) != HONE_OK)
        return HONE_OK;
    if (!hone_slices_agree(x->plan, part, batch, size)) {
        hone_plan_destroy(part);
        return HONE_OK;
    }
    return take_slices(f, x, part, batch / size) == HONE_OK ? HONE_OK : no_memory(err);
}

hone_status hone_frame_plan(hone_frame *f, const hone_tensor *const *in, hone_error *err) {
    drop_outputs(f);
    fill_key(f, in);
    instance *x = find_instance(f);
    if (!x) {
        f->now = NULL;
        x = free_instance(f);
        HONE_TRY(hone_plan_create(f->graph, f->key, &f->env->options, &x->plan, err));
        x->n_slices = 1;
        hone_arena_reset(&f->temp);
        hone_status status = consider_slices(f, x, err);
        if (status == HONE_OK)
            status = instantiate(f, x, err);
        if (status != HONE_OK) {
            instance_deinit(x);
            return status;
        }
        scratch_reset(f);
    }
    x->used_at = ++f->clock;
    f->now = x;
    return HONE_OK;
}

/* ---- running ----------------------------------------------------------------------------------
 */

static hone_status run_graph(hone_op_ctx *c, const hone_graph *g, const hone_tensor *const *in,
                             int n_in, hone_tensor *out, int n_out);
static const hone_op_host frame_host = {.run_graph = run_graph, .scratch = scratch_get};

/* Views of inputs and captures follow the memory they view. */
static void bind_inputs(hone_frame *f, instance *x, const hone_tensor *const *in) {
    const hone_graph *g = f->graph;
    const hone_plan *plan = x->plan;
    for (int i = 0; i < g->n_inputs; ++i) {
        int id = g->inputs[i]->id;
        if (plan->storages[plan->storage_of[id]].kind != HONE_STORAGE_INPUT)
            continue;
        x->slots[id] = in[i] ? *in[i] : (hone_tensor){.kind = HONE_KIND_NONE};
    }
    for (int i = 0; i < plan->n_captures; ++i) {
        int id = plan->captures[i];
        x->slots[id] = *hone_frame_value(f->parent, g->values[id]->outer->id);
    }
    for (int i = 0; i < g->n_values; ++i) {
        int st = plan->storage_of[i];
        if (st >= 0 && plan->storages[st].kind == HONE_STORAGE_INPUT &&
            plan->storages[st].slot != i)
            x->slots[i].data = x->slots[plan->storages[st].slot].data;
    }
}

/* Let output i, and all that shares its storage, live in the caller's memory; false when it cannot
 * and must be copied at the end. */
static bool bind_output(hone_frame *f, instance *x, int i, void *data, size_t bytes) {
    const hone_plan *plan = x->plan;
    int st = plan->storage_of[f->graph->outputs[i]->id];
    if (st < 0 || plan->storages[st].kind != HONE_STORAGE_ARENA ||
        plan->storages[st].bytes != bytes)
        return false;
    for (int k = 0; k < f->graph->n_values; ++k) {
        if (plan->storage_of[k] == st)
            x->slots[k].data = data ? data : x->memory + plan->storages[st].offset;
    }
    return true;
}

static hone_status check_types(instance *x, const hone_step *step, hone_op_ctx *c) {
    for (int i = 0; i < c->n_out; ++i) {
        const hone_value *v = step->node->out[i];
        if (!v)
            continue;
        const hone_type *expected = &x->plan->types[v->id];
        const hone_tensor *t = c->out[i];
        if (expected->kind == HONE_KIND_NONE || !hone_type_is_static(expected))
            continue;
        hone_type actual = hone_type_of(t);
        if (t->kind != HONE_KIND_TENSOR || !same_type(&actual, expected)) {
            char want[160], got[160];
            return hone_op_fail(c, HONE_E_SHAPE, "output %d is %s where %s was inferred", i,
                                hone_tensor_describe(t, got, sizeof got),
                                hone_type_describe(NULL, expected, want, sizeof want));
        }
    }
    return HONE_OK;
}

/* Most operators take tensors only; what is no tensor, or empty, is known only now. */
static hone_status check_inputs(hone_op_ctx *c) {
    const hone_op_def *op = c->node->op;
    for (int i = 0; i < c->n_in && !(op->flags & HONE_OP_ANYKIND); ++i) {
        if (!c->in[i] && i < op->min_in)
            return hone_op_fail(c, HONE_E_RUNTIME, "input %d is empty", i);
        if (c->in[i] && c->in[i]->kind != HONE_KIND_TENSOR)
            return hone_op_fail(c, HONE_E_TYPE, "input %d is no tensor", i);
    }
    return HONE_OK;
}

/* A step whose output types only the run knows. */
static hone_status run_dynamic(hone_frame *f, instance *x, const hone_step *step, hone_op_ctx *c) {
    const hone_node *n = step->node;
    const hone_tensor *few[16];
    const hone_tensor **in = few;
    hone_arena_reset(&f->temp);
    if (n->n_in > 16 && !(in = HONE_NEW_ARRAY(&f->temp, const hone_tensor *, n->n_in)))
        return no_memory(c->err);
    for (int i = 0; i < n->n_in; ++i)
        in[i] = c->in[i] && c->in[i]->kind != HONE_KIND_NONE ? c->in[i] : NULL;
    c->in = in;
    for (int i = 0; i < n->n_out; ++i) {
        if (c->out[i])
            hone_tensor_release(c->out[i]);
    }
    /* A view of a sequence, or of an empty optional, is another handle of it. */
    if ((n->op->flags & HONE_OP_VIEW) && n->n_in == 1 && c->out[0] &&
        (!in[0] || in[0]->kind != HONE_KIND_TENSOR))
        return in[0] ? hone_tensor_keep(c->alloc, c->out[0], in[0], c->err) : HONE_OK;
    HONE_TRY(check_inputs(c));
    if (n->op->flags & HONE_OP_CONTROL) {
        for (int i = 0; i < n->n_out; ++i) {
            if (c->out[i])
                *c->out[i] = (hone_tensor){.kind = HONE_KIND_NONE};
        }
    } else {
        HONE_TRY(hone_eval_alloc(c, x->types, &f->temp));
    }
    hone_run_fn run = n->op->run;
    if (n->impl && !f->env->options.reference && !(n->op->flags & HONE_OP_DYNAMIC)) {
        hone_prepare_ctx pc = {.node = n,
                               .n_in = n->n_in,
                               .n_out = n->n_out,
                               .in = x->types,
                               .out = x->types + n->n_in,
                               .value = in,
                               .arena = &f->temp,
                               .n_threads = f->env->options.n_threads,
                               .err = c->err};
        hone_status status = n->impl->prepare ? n->impl->prepare(&pc, &c->state) : HONE_OK;
        if (status == HONE_OK)
            run = n->impl->run;
        else if (status != HONE_E_UNSUPPORTED)
            return status;
    }
    HONE_TRY(run(c));
    return check_types(x, step, c);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static hone_status run_step(hone_frame *f, instance *x, const hone_step *step,
                            const hone_tensor **args, hone_tensor **results, hone_error *err) {
    const hone_node *n = step->node;
    hone_op_ctx c = {
        .node = n,
        .n_in = n->n_in,
        .n_out = n->n_out,
        .in = args,
        .out = results,
        .state = step->state,
        .pool = f->env->pool,
        .alloc = f->env->alloc,
        .host = &frame_host,
        .frame = f,
        .err = err,
    };
    int64_t start = f->env->hook ? now_ns() : 0;
    hone_status status;
    if (!step->is_planned)
        status = run_dynamic(f, x, step, &c);
    else
        status = step->impl ? step->impl->run(&c) : n->op->run(&c);
    scratch_reset(f);
    if (status != HONE_OK)
        return hone_fail_node(err, status, n->name, n->op_name);
    if (f->env->hook)
        f->env->hook(f->env->hook_arg, x->plan, step, f->depth, start, now_ns(), f);
    if (f->env->budget && --*f->env->budget < 0)
        return hone_fail(err, HONE_E_RUNTIME, "the run takes more steps than it may");
    for (int i = 0; i < step->n_drop; ++i)
        hone_tensor_release(&x->slots[step->drop[i]]);
    return HONE_OK;
}

static hone_status copy_output(const hone_tensor *t, int i, const char *name, void *data,
                               size_t bytes, hone_tensor *out, hone_error *err) {
    if (t->kind != HONE_KIND_TENSOR || t->dtype == HONE_DTYPE_STRING)
        return hone_fail(err, HONE_E_ARGUMENT,
                         "output %d (%s) is no numeric tensor: it cannot be bound to a buffer", i,
                         name);
    if (hone_tensor_bytes(t) != bytes) {
        char text[160];
        return hone_fail(err, HONE_E_SHAPE,
                         "output %d (%s) is %s, %zu bytes, but the bound buffer has %zu", i, name,
                         hone_tensor_describe(t, text, sizeof text), hone_tensor_bytes(t), bytes);
    }
    if (data != t->data && bytes)
        memcpy(data, t->data, bytes);
    *out = hone_tensor_view(t->dtype, t->rank, t->dims, data);
    return HONE_OK;
}

static hone_status collect_outputs(hone_frame *f, instance *x, void *const *out_data,
                                   const size_t *out_bytes, hone_error *err) {
    const hone_graph *g = f->graph;
    for (int i = 0; i < g->n_outputs; ++i) {
        const hone_tensor *t = &x->slots[g->outputs[i]->id];
        if (out_data && out_data[i])
            HONE_TRY(copy_output(t, i, g->outputs[i]->name, out_data[i], out_bytes[i],
                                 &f->outputs[i], err));
        else
            f->outputs[i] = *t;
    }
    return HONE_OK;
}

static hone_status run_steps(hone_frame *f, instance *x, hone_error *err) {
    const hone_tensor **args = x->args;
    hone_tensor **results = x->results;
    hone_status status = HONE_OK;
    for (int s = 0; s < x->plan->n_steps && status == HONE_OK; ++s) {
        const hone_step *step = &x->plan->steps[s];
        status = run_step(f, x, step, args, results, err);
        args += step->node->n_in;
        results += step->node->n_out;
    }
    return status;
}

/* Output i of the batch: a tensor in the caller's memory, or in ours at `*at`, which moves on. */
static hone_tensor whole_output(const hone_frame *f, const instance *x, int i, void *data,
                                unsigned char **at) {
    const hone_tensor *t = &x->plan->slots[f->graph->outputs[i]->id];
    hone_tensor whole = hone_tensor_view(t->dtype, t->rank, t->dims, data ? data : *at);
    whole.dims[0] *= x->n_slices;
    *at += data ? 0 : aligned(hone_tensor_bytes(&whole));
    return whole;
}

static hone_status run_slice(hone_frame *f, instance *x, const hone_tensor *const *in, int64_t k,
                             hone_error *err) {
    const hone_graph *g = f->graph;
    for (int i = 0; i < g->n_inputs; ++i) {
        hone_tensor *t = &x->slice[i];
        *t = *in[i];
        t->dims[0] /= x->n_slices;
        t->data = (unsigned char *)t->data + (size_t)k * hone_tensor_bytes(t);
    }
    bind_inputs(f, x, x->inputs);
    for (int i = 0; i < g->n_outputs; ++i) {
        size_t bytes = slice_bytes(x, g->outputs[i]->id);
        bind_output(f, x, i, (unsigned char *)f->outputs[i].data + (size_t)k * bytes, bytes);
    }
    HONE_TRY(run_steps(f, x, err));
    for (int i = 0; i < g->n_outputs; ++i) {
        size_t bytes = slice_bytes(x, g->outputs[i]->id);
        unsigned char *to = (unsigned char *)f->outputs[i].data + (size_t)k * bytes;
        const void *from = x->slots[g->outputs[i]->id].data;
        if (from != to && bytes)
            memcpy(to, from, bytes);
    }
    return HONE_OK;
}

static hone_status run_slices(hone_frame *f, instance *x, const hone_tensor *const *in,
                              void *const *out_data, const size_t *out_bytes, hone_error *err) {
    const hone_graph *g = f->graph;
    unsigned char *at = x->gathered;
    hone_status status = HONE_OK;
    for (int i = 0; i < g->n_outputs && status == HONE_OK; ++i) {
        void *data = out_data ? out_data[i] : NULL;
        f->outputs[i] = whole_output(f, x, i, data, &at);
        if (data) /* checks the size */
            status = copy_output(&f->outputs[i], i, g->outputs[i]->name, data, out_bytes[i],
                                 &f->outputs[i], err);
    }
    for (int64_t k = 0; k < x->n_slices && status == HONE_OK; ++k)
        status = run_slice(f, x, in, k, err);
    for (int i = 0; i < g->n_outputs; ++i)
        bind_output(f, x, i, NULL, slice_bytes(x, g->outputs[i]->id));
    if (status != HONE_OK)
        drop_outputs(f);
    return status;
}

hone_status hone_frame_run(hone_frame *f, const hone_tensor *const *in, void *const *out_data,
                           const size_t *out_bytes, hone_error *err) {
    HONE_TRY(hone_frame_plan(f, in, err));
    instance *x = f->now;
    if (x->n_slices > 1)
        return run_slices(f, x, in, out_data, out_bytes, err);
    bind_inputs(f, x, in);
    for (int i = 0; i < f->graph->n_outputs; ++i) {
        if (out_data && out_data[i])
            bind_output(f, x, i, out_data[i], out_bytes[i]);
    }
    hone_status status = run_steps(f, x, err);
    if (status == HONE_OK)
        status = collect_outputs(f, x, out_data, out_bytes, err);
    /* The caller's buffers are the caller's again. */
    for (int i = 0; i < f->graph->n_outputs; ++i) {
        if (out_data && out_data[i])
            bind_output(f, x, i, NULL, out_bytes[i]);
    }
    return status;
}

const hone_tensor *hone_frame_output(const hone_frame *f, int i) {
    return &f->outputs[i];
}

const hone_tensor *hone_frame_value(const hone_frame *f, int id) {
    return &f->now->slots[id];
}

const hone_plan *hone_frame_current(const hone_frame *f) {
    return f->now ? f->now->plan : NULL;
}

/* ---- subgraphs --------------------------------------------------------------------------------
 */

static hone_status child_frame(hone_frame *f, const hone_graph *g, hone_frame **out,
                               hone_error *err) {
    for (hone_frame *c = f->children; c; c = c->next) {
        if (c->graph == g) {
            *out = c;
            return HONE_OK;
        }
    }
    HONE_TRY(hone_frame_create(g, f->env, out, err));
    (*out)->parent = f;
    (*out)->depth = f->depth + 1;
    (*out)->next = f->children;
    f->children = *out;
    return HONE_OK;
}

static hone_status run_graph(hone_op_ctx *c, const hone_graph *g, const hone_tensor *const *in,
                             int n_in, hone_tensor *out, int n_out) {
    hone_frame *child;
    if (n_in != g->n_inputs || n_out != g->n_outputs)
        return hone_op_fail(c, HONE_E_FORMAT,
                            "the subgraph takes %d inputs and gives %d outputs, not %d and %d",
                            g->n_inputs, g->n_outputs, n_in, n_out);
    HONE_TRY(child_frame(c->frame, g, &child, c->err));
    HONE_TRY(hone_frame_run(child, in, NULL, NULL, c->err));
    for (int i = 0; i < n_out; ++i) {
        hone_status status =
            hone_tensor_keep(c->alloc, &out[i], hone_frame_output(child, i), c->err);
        if (status != HONE_OK) {
            for (int k = 0; k < i; ++k)
                hone_tensor_release(&out[k]);
            return status;
        }
    }
    return HONE_OK;
}
