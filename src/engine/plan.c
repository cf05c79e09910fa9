#include "engine/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/memplan.h"
#include "ir/eval.h"

/* What is small enough to be computed while planning: shape arithmetic, masks, index tables. */
enum { FOLD_LIMIT_BYTES = 1 << 20 };

typedef struct planner {
    hone_plan *plan;
    const hone_graph *graph;
    const hone_plan_options *options;
    const hone_tensor **value; /* by value id: contents known now, or NULL */
    int *last_use;             /* by value id: last step, n_steps for graph outputs */
    hone_arena temp;           /* reset after each node */
    hone_arena work;           /* lives as long as the planner */
    hone_error *err;
} planner;

static hone_status no_memory(planner *p) {
    return hone_fail(p->err, HONE_E_NOMEM, "no memory for the plan");
}

static int find_captures(const hone_graph *g, int *ids) {
    int n = 0;
    for (int i = 0; i < g->n_values; ++i) {
        if (g->values[i]->outer && !g->values[i]->constant) {
            if (ids)
                ids[n] = i;
            ++n;
        }
    }
    return n;
}

static hone_status set_inputs(planner *p, const hone_type *inputs) {
    const hone_graph *g = p->graph;
    hone_plan *plan = p->plan;
    plan->n_captures = find_captures(g, NULL);
    int *captures = HONE_NEW_ARRAY(&plan->arena, int, plan->n_captures);
    if (!captures)
        return no_memory(p);
    find_captures(g, captures);
    plan->captures = captures;
    for (int i = 0; i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        plan->types[i].rank = -1;
        if (v->constant) {
            p->value[i] = v->constant;
            plan->types[i] = hone_type_of(v->constant);
        }
    }
    for (int i = 0; i < g->n_inputs; ++i)
        plan->types[g->inputs[i]->id] = inputs[i];
    for (int i = 0; i < plan->n_captures; ++i)
        plan->types[captures[i]] = inputs[g->n_inputs + i];
    return HONE_OK;
}

/* Pointers into the plan's tables in the order of a node's inputs and outputs. */
typedef struct node_view {
    hone_type *in, *out;
    const hone_tensor **value;
} node_view;

static bool view_node(planner *p, const hone_node *n, node_view *v) {
    v->in = HONE_NEW_ARRAY(&p->temp, hone_type, n->n_in);
    v->out = HONE_NEW_ARRAY(&p->temp, hone_type, n->n_out);
    v->value = HONE_NEW_ARRAY(&p->temp, const hone_tensor *, n->n_in);
    if (!v->in || !v->out || !v->value)
        return false;
    for (int i = 0; i < n->n_in; ++i) {
        v->in[i].rank = -1;
        if (n->in[i]) {
            v->in[i] = p->plan->types[n->in[i]->id];
            v->value[i] = p->value[n->in[i]->id];
        }
    }
    for (int i = 0; i < n->n_out; ++i)
        v->out[i] = (hone_type){.kind = HONE_KIND_NONE, .rank = -1};
    return true;
}

static bool all_known(const hone_node *n, const node_view *v) {
    for (int i = 0; i < n->n_in; ++i) {
        if (n->in[i] && !v->value[i])
            return false;
    }
    return true;
}

static bool all_static(const hone_node *n, const node_view *v) {
    for (int i = 0; i < n->n_in; ++i) {
        if (n->in[i] && !hone_type_is_static(&v->in[i]))
            return false;
    }
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && !hone_type_is_static(&v->out[i]))
            return false;
    }
    return true;
}

/* Strings need counted storage for their bytes, so they are never placed in the arena. */
static bool makes_strings(const hone_node *n, const node_view *v) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && v->out[i].dtype == HONE_DTYPE_STRING)
            return true;
    }
    return false;
}

static size_t output_bytes(const node_view *v, const hone_node *n) {
    size_t total = 0;
    for (int i = 0; i < n->n_out; ++i) {
        int64_t count = 1;
        for (int k = 0; k < v->out[i].rank; ++k) {
            if (__builtin_mul_overflow(count, v->out[i].dims[k], &count))
                return SIZE_MAX;
        }
        total += hone_dtype_bytes(v->out[i].dtype, count);
    }
    return total;
}

/* Compute the node now; its outputs become constants of the plan. False: leave it to the run. */
static bool fold(planner *p, const hone_node *n, const node_view *v) {
    if (n->op->flags & (HONE_OP_RANDOM | HONE_OP_CONTROL | HONE_OP_DYNAMIC) || !all_known(n, v) ||
        !all_static(n, v) || output_bytes(v, n) > FOLD_LIMIT_BYTES)
        return false;
    hone_tensor *out = HONE_NEW_ARRAY(&p->temp, hone_tensor, n->n_out);
    if (!out || hone_eval_node(n, v->value, out, NULL, NULL) != HONE_OK)
        return false; /* an error in it is reported by the run, and only if it is reached */
    bool ok = true;
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i]) {
            hone_tensor *keep = HONE_NEW(&p->plan->arena, hone_tensor);
            size_t bytes = hone_tensor_bytes(&out[i]);
            char *data = hone_arena_alloc(&p->plan->arena, bytes + 64);
            ok = ok && keep && data && out[i].dtype != HONE_DTYPE_STRING;
            if (ok) {
                data += (64 - (uintptr_t)data % 64) % 64;
                memcpy(data, out[i].data, bytes);
                *keep = hone_tensor_view(out[i].dtype, out[i].rank, out[i].dims, data);
                p->value[n->out[i]->id] = keep;
                p->plan->types[n->out[i]->id] = hone_type_of(keep);
            }
        }
        hone_tensor_release(&out[i]);
    }
    return ok;
}

/* Integers that inference knows though the inputs' contents are not known: Shape of a value whose
 * type is, and what follows from it. */
static bool fold_contents(planner *p, const hone_node *n, const node_view *v) {
    const hone_type *t = &v->out[0];
    if (n->n_out != 1 || !n->out[0] || !t->contents || !hone_type_is_static(t) || t->rank > 1 ||
        (t->dtype != HONE_DTYPE_I64 && t->dtype != HONE_DTYPE_I32) ||
        hone_dims_count(t->dims, 0, t->rank) != t->n_contents)
        return false;
    for (int i = 0; i < t->n_contents; ++i) {
        if (t->contents[i] < 0)
            return false; /* a number that cannot be told from an open dim */
    }
    hone_tensor *keep = HONE_NEW(&p->plan->arena, hone_tensor);
    void *data = HONE_NEW_ARRAY(&p->plan->arena, int64_t, t->n_contents);
    if (!keep || !data)
        return false;
    for (int i = 0; i < t->n_contents; ++i)
        hone_store_i64(t->dtype, data, i, t->contents[i]);
    *keep = hone_tensor_view(t->dtype, t->rank, t->dims, data);
    p->value[n->out[0]->id] = keep;
    p->plan->types[n->out[0]->id] = hone_type_of(keep);
    return true;
}

static hone_status prepare(planner *p, hone_step *step, const node_view *v) {
    const hone_node *n = step->node;
    if (!n->impl || p->options->reference)
        return HONE_OK;
    hone_error err = {.offset = -1};
    hone_prepare_ctx c = {
        .node = n,
        .n_in = n->n_in,
        .n_out = n->n_out,
        .in = v->in,
        .out = v->out,
        .value = v->value,
        .arena = &p->plan->arena,
        .n_threads = p->options->n_threads,
        .err = &err,
    };
    hone_status status = n->impl->prepare ? n->impl->prepare(&c, &step->state) : HONE_OK;
    if (status == HONE_E_UNSUPPORTED) {
        step->refusal = hone_arena_strdup(&p->plan->arena, err.message, strlen(err.message));
        return HONE_OK;
    }
    if (status == HONE_OK) {
        step->impl = n->impl;
        if (c.scratch_bytes > p->plan->scratch_bytes)
            p->plan->scratch_bytes = c.scratch_bytes;
    } else if (p->err) {
        *p->err = err;
    }
    return status;
}

static hone_status plan_node(planner *p, const hone_node *n) {
    node_view v;
    hone_arena_reset(&p->temp);
    if (!view_node(p, n, &v))
        return no_memory(p);
    hone_infer_ctx c = {
        .node = n,
        .n_in = n->n_in,
        .n_out = n->n_out,
        .in = v.in,
        .value = v.value,
        .out = v.out,
        .arena = &p->plan->arena,
        .err = p->err,
    };
    hone_status status = hone_op_infer(&c);
    if (status != HONE_OK)
        return hone_fail_node(p->err, status, n->name, n->op_name);
    if (fold_contents(p, n, &v) || fold(p, n, &v))
        return HONE_OK;
    hone_step *step = &p->plan->steps[p->plan->n_steps++];
    step->node = n;
    step->is_planned = !(n->op->flags & (HONE_OP_DYNAMIC | HONE_OP_CONTROL)) && all_static(n, &v) &&
                       !makes_strings(n, &v);
    for (int i = 0; i < n->n_out; ++i) {
        if (!n->out[i])
            continue;
        hone_type *t = &p->plan->types[n->out[i]->id];
        *t = v.out[i];
        /* A type that only the run knows for sure: keep it from being planned downstream. */
        if (!step->is_planned && (!hone_type_is_static(t) || t->dtype == HONE_DTYPE_STRING))
            *t = (hone_type){.kind = HONE_KIND_NONE, .rank = -1};
    }
    return step->is_planned ? prepare(p, step, &v) : HONE_OK;
}

/* ---- storage ----------------------------------------------------------------------------------
 */

static int new_storage(planner *p, hone_storage_kind kind, int slot) {
    hone_storage *s = &p->plan->storages[p->plan->n_storages];
    *s = (hone_storage){.kind = kind, .slot = slot, .first = 0, .last = p->plan->n_steps};
    p->plan->storage_of[slot] = p->plan->n_storages;
    return p->plan->n_storages++;
}

static void find_last_uses(planner *p) {
    hone_plan *plan = p->plan;
    for (int i = 0; i < p->graph->n_values; ++i)
        p->last_use[i] = -1;
    for (int s = 0; s < plan->n_steps; ++s) {
        const hone_node *n = plan->steps[s].node;
        for (int i = 0; i < n->n_in; ++i) {
            if (n->in[i])
                p->last_use[n->in[i]->id] = s;
        }
    }
    for (int i = 0; i < p->graph->n_outputs; ++i)
        p->last_use[p->graph->outputs[i]->id] = plan->n_steps;
}

static void mark_captured(planner *p, const hone_graph *sub, int step) {
    for (int i = 0; i < sub->n_values; ++i) {
        const hone_value *outer = sub->values[i]->outer;
        if (outer && outer->id >= 0 && outer->id < p->graph->n_values &&
            p->graph->values[outer->id] == outer && p->last_use[outer->id] < step)
            p->last_use[outer->id] = step;
    }
}

static void mark_subgraph_uses(planner *p) {
    for (int s = 0; s < p->plan->n_steps; ++s) {
        const hone_node *n = p->plan->steps[s].node;
        for (int i = 0; i < n->n_attrs; ++i) {
            const hone_attr *a = &n->attrs[i];
            if (a->kind == HONE_ATTR_GRAPH)
                mark_captured(p, a->g, s);
            for (int k = 0; a->kind == HONE_ATTR_GRAPHS && k < a->n; ++k)
                mark_captured(p, a->graphs[k], s);
        }
    }
}

/* An earlier value whose memory this output may take: a view's input, or an input of equal type
 * that dies here. */
static int reusable_storage(planner *p, const hone_step *step, int s) {
    const hone_node *n = step->node;
    const hone_plan *plan = p->plan;
    const hone_type *out = &plan->types[n->out[0]->id];
    if (n->op->flags & HONE_OP_VIEW)
        return n->in[0] ? plan->storage_of[n->in[0]->id] : -1;
    if (!(n->op->flags & HONE_OP_INPLACE))
        return -1;
    for (int i = 0; i < n->n_in; ++i) {
        if (!n->in[i])
            continue;
        int st = plan->storage_of[n->in[i]->id];
        const hone_type *in = &plan->types[n->in[i]->id];
        bool same = in->dtype == out->dtype && in->rank == out->rank &&
                    memcmp(in->dims, out->dims, (size_t)in->rank * sizeof in->dims[0]) == 0;
        if (!same || st < 0 || plan->storages[st].kind != HONE_STORAGE_ARENA ||
            plan->storages[st].last != s || p->last_use[n->in[i]->id] != s)
            continue;
        /* The same storage as another input of this node must not be overwritten. */
        bool is_shared = false;
        for (int k = 0; k < n->n_in; ++k)
            is_shared |= k != i && n->in[k] && plan->storage_of[n->in[k]->id] == st;
        if (!is_shared)
            return st;
    }
    return -1;
}

/* Lifetimes of views must be known before in-place decisions: a storage lives as long as the last
 * of its slots. */
static hone_status place_outputs(planner *p, int s) {
    hone_plan *plan = p->plan;
    const hone_step *step = &plan->steps[s];
    const hone_node *n = step->node;
    if (!step->is_planned)
        return HONE_OK;
    for (int i = 0; i < n->n_out; ++i) {
        if (!n->out[i])
            continue;
        int id = n->out[i]->id;
        size_t bytes;
        hone_status status = hone_tensor_storage(&plan->slots[id], &bytes, p->err);
        if (status != HONE_OK)
            return hone_fail_node(p->err, status, n->name, n->op_name);
        int st = i == 0 ? reusable_storage(p, step, s) : -1;
        if (st >= 0) {
            plan->storage_of[id] = st;
        } else {
            st = new_storage(p, HONE_STORAGE_ARENA, id);
            plan->storages[st].first = s;
            plan->storages[st].last = s;
            plan->storages[st].bytes = bytes;
        }
        if (p->last_use[id] > plan->storages[st].last)
            plan->storages[st].last = p->last_use[id];
    }
    return HONE_OK;
}

/* Let views prolong their source's life before anything is placed: walk backwards. */
static void extend_through_views(planner *p) {
    for (int s = p->plan->n_steps - 1; s >= 0; --s) {
        const hone_step *step = &p->plan->steps[s];
        const hone_node *n = step->node;
        if (!step->is_planned || !(n->op->flags & HONE_OP_VIEW) || !n->in[0] || !n->out[0])
            continue;
        int *source = &p->last_use[n->in[0]->id], view = p->last_use[n->out[0]->id];
        if (view > *source)
            *source = view;
    }
}

static void place_fixed(planner *p) {
    hone_plan *plan = p->plan;
    const hone_graph *g = p->graph;
    for (int i = 0; i < g->n_values; ++i) {
        plan->storage_of[i] = -1;
        if (p->value[i]) {
            plan->slots[i] = *p->value[i];
            new_storage(p, HONE_STORAGE_CONST, i);
        } else if (hone_type_is_static(&plan->types[i])) {
            plan->slots[i] = hone_tensor_view(plan->types[i].dtype, plan->types[i].rank,
                                              plan->types[i].dims, NULL);
        }
    }
    for (int i = 0; i < g->n_inputs; ++i) {
        if (plan->storage_of[g->inputs[i]->id] < 0)
            new_storage(p, HONE_STORAGE_INPUT, g->inputs[i]->id);
    }
    for (int i = 0; i < plan->n_captures; ++i) {
        if (plan->storage_of[plan->captures[i]] < 0)
            new_storage(p, HONE_STORAGE_INPUT, plan->captures[i]);
    }
}

static hone_status place_arena(planner *p) {
    hone_plan *plan = p->plan;
    hone_mem_block *blocks = HONE_NEW_ARRAY(&p->work, hone_mem_block, plan->n_storages);
    int *storage = HONE_NEW_ARRAY(&p->work, int, plan->n_storages);
    if (!blocks || !storage)
        return no_memory(p);
    int n = 0;
    for (int i = 0; i < plan->n_storages; ++i) {
        const hone_storage *s = &plan->storages[i];
        if (s->kind != HONE_STORAGE_ARENA)
            continue;
        storage[n] = i;
        blocks[n++] = (hone_mem_block){.bytes = s->bytes, .first = s->first, .last = s->last};
    }
    const hone_mem_layout *given = p->options->layout;
    if (!(given && hone_memplan_reuse(given, blocks, n, &plan->arena_bytes)) &&
        hone_memplan(blocks, n, &p->work, &plan->arena_bytes) != HONE_OK)
        return no_memory(p);
    for (int i = 0; i < n; ++i)
        plan->storages[storage[i]].offset = blocks[i].offset;
    if (p->options->max_arena_bytes && plan->arena_bytes > p->options->max_arena_bytes)
        return hone_plan_too_large(plan, p->options->max_arena_bytes, p->err);
    return HONE_OK;
}

hone_status hone_plan_layout(const hone_plan *plan, hone_arena *arena, hone_mem_layout *out) {
    hone_mem_block *blocks = HONE_NEW_ARRAY(arena, hone_mem_block, plan->n_storages);
    if (!blocks)
        return HONE_E_NOMEM;
    int n = 0;
    for (int i = 0; i < plan->n_storages; ++i) {
        const hone_storage *s = &plan->storages[i];
        if (s->kind == HONE_STORAGE_ARENA)
            blocks[n++] = (hone_mem_block){s->bytes, s->first, s->last, s->offset};
    }
    *out = (hone_mem_layout){.blocks = blocks, .n = n, .total_bytes = plan->arena_bytes};
    return HONE_OK;
}

hone_status hone_plan_too_large(const hone_plan *plan, size_t limit, hone_error *err) {
    /* Name the node at whose step most is alive. */
    size_t peak = 0;
    int at = 0;
    for (int s = 0; s < plan->n_steps; ++s) {
        size_t alive = 0;
        for (int i = 0; i < plan->n_storages; ++i) {
            const hone_storage *st = &plan->storages[i];
            if (st->kind == HONE_STORAGE_ARENA && st->first <= s && st->last >= s)
                alive += st->bytes;
        }
        if (alive > peak) {
            peak = alive;
            at = s;
        }
    }
    const hone_node *n = plan->steps[at].node;
    hone_fail(err, HONE_E_NOMEM,
              "activations need %zu bytes, over the limit of %zu; most are alive at this node; "
              "use a smaller input shape or a larger --max-ram",
              plan->arena_bytes, limit);
    return hone_fail_node(err, HONE_E_NOMEM, n->name, n->op_name);
}

/* Dynamic values are dropped after the step that uses them last. */
static hone_status list_drops(planner *p) {
    hone_plan *plan = p->plan;
    for (int s = 0; s < plan->n_steps; ++s) {
        const hone_node *n = plan->steps[s].node;
        int *drop = HONE_NEW_ARRAY(&plan->arena, int, n->n_in + n->n_out);
        if (!drop)
            return no_memory(p);
        int count = 0;
        for (int i = 0; i < n->n_in + n->n_out; ++i) {
            const hone_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
            if (!v || plan->storage_of[v->id] >= 0)
                continue;
            int last = p->last_use[v->id];
            bool is_dead_output = i >= n->n_in && last < s;
            bool is_last = last == s && (i >= n->n_in || v->outer == NULL);
            bool is_listed = false;
            for (int k = 0; k < count; ++k)
                is_listed |= drop[k] == v->id;
            if ((is_dead_output || is_last) && !is_listed)
                drop[count++] = v->id;
        }
        plan->steps[s].drop = drop;
        plan->steps[s].n_drop = count;
    }
    return HONE_OK;
}

static hone_status build(planner *p, const hone_type *inputs) {
    const hone_graph *g = p->graph;
    hone_plan *plan = p->plan;
    hone_arena *a = &plan->arena;
    plan->types = HONE_NEW_ARRAY(a, hone_type, g->n_values);
    plan->slots = HONE_NEW_ARRAY(a, hone_tensor, g->n_values);
    plan->storage_of = HONE_NEW_ARRAY(a, int, g->n_values);
    plan->storages = HONE_NEW_ARRAY(a, hone_storage, g->n_values);
    plan->steps = HONE_NEW_ARRAY(a, hone_step, g->n_nodes);
    p->value = HONE_NEW_ARRAY(&p->work, const hone_tensor *, g->n_values);
    p->last_use = HONE_NEW_ARRAY(&p->work, int, g->n_values);
    if (!plan->types || !plan->slots || !plan->storage_of || !plan->storages || !plan->steps ||
        !p->value || !p->last_use)
        return no_memory(p);
    HONE_TRY(set_inputs(p, inputs));
    for (int i = 0; i < g->n_nodes; ++i)
        HONE_TRY(plan_node(p, g->nodes[i]));
    find_last_uses(p);
    mark_subgraph_uses(p);
    extend_through_views(p);
    place_fixed(p);
    for (int s = 0; s < plan->n_steps; ++s)
        HONE_TRY(place_outputs(p, s));
    HONE_TRY(list_drops(p));
    return place_arena(p);
}

hone_status hone_plan_create(const hone_graph *g, const hone_type *inputs,
                             const hone_plan_options *options, hone_plan **out, hone_error *err) {
    *out = NULL;
    hone_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return hone_fail(err, HONE_E_NOMEM, "no memory for the plan");
    plan->graph = g;
    hone_arena_init(&plan->arena, 0);
    planner p = {.plan = plan, .graph = g, .options = options, .err = err};
    hone_arena_init(&p.temp, 0);
    hone_arena_init(&p.work, 0);
    hone_status status = build(&p, inputs);
    hone_arena_deinit(&p.temp);
    hone_arena_deinit(&p.work);
    if (status != HONE_OK) {
        hone_plan_destroy(plan);
        return status;
    }
    *out = plan;
    return HONE_OK;
}

void hone_plan_destroy(hone_plan *plan) {
    if (!plan)
        return;
    hone_arena_deinit(&plan->arena);
    free(plan);
}
