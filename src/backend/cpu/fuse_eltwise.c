/* Chains of element-wise nodes become one hone.Eltwise node, which touches memory once. Every step
 * is the one that the node by itself would run, so that results are the same bits.
 *
 * A group grows from its last node towards its inputs: a producer joins when it is element-wise,
 * has the result's shape, and nobody outside the group reads it. */
#include <string.h>

#include "backend/cpu/eltwise_steps.h"
#include "backend/cpu/fuse.h"

typedef struct fuser {
    hone_graph *g;
    int *position;  /* by value id: of the node that makes it, -1: none */
    bool *is_taken; /* by position: in a group already */
    hone_error *err;
} fuser;

typedef struct group {
    int members[HONE_EW_MAX_STEPS]; /* positions, ascending */
    int n;
    hone_value *in[HONE_EW_MAX_IN];
    int n_in;
} group;

static bool is_number(const hone_value *v) {
    return v && v->type.kind == HONE_KIND_TENSOR && v->type.rank >= 0 &&
           v->type.rank <= HONE_EW_MAX_RANK &&
           (v->type.dtype == HONE_DTYPE_F32 || v->type.dtype == HONE_DTYPE_BOOL);
}

/* The node as a step; its operands are float32 or boolean, its result too. */
static bool as_step(const hone_node *n, hone_ew_step *step) {
    const hone_tensor *value[3] = {NULL, NULL, NULL};
    const char *reason;
    if (n->domain[0] != '\0' || !(n->op->flags & HONE_OP_ELEMENTWISE) || n->n_out != 1 ||
        n->n_in < 1 || n->n_in > 3 || !is_number(n->out[0]))
        return false;
    for (int i = 0; i < n->n_in; ++i)
        value[i] = n->in[i] ? n->in[i]->constant : NULL;
    if (!hone_eltwise_step(n, value, step, &reason))
        return false;
    for (int i = 0; i < hone_ew_arity(step->op); ++i) {
        if (!is_number(n->in[i]))
            return false;
    }
    return true;
}

static bool same_dims(const hone_type *a, const hone_type *b) {
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; ++i) {
        if (a->dims[i] != b->dims[i] || a->dims[i] == HONE_DIM_UNKNOWN)
            return false;
    }
    return true;
}

static bool is_member(const group *s, int position) {
    for (int i = 0; i < s->n; ++i) {
        if (s->members[i] == position)
            return true;
    }
    return false;
}

static int uses_within(const fuser *f, const group *s, const hone_value *v) {
    int n = 0;
    for (int i = 0; i < s->n; ++i) {
        const hone_node *m = f->g->nodes[s->members[i]];
        for (int k = 0; k < m->n_in; ++k)
            n += m->in[k] == v;
    }
    return n;
}

/* Operands from outside; false when there are too many. */
static bool find_inputs(const fuser *f, group *s) {
    s->n_in = 0;
    for (int i = 0; i < s->n; ++i) {
        const hone_node *m = f->g->nodes[s->members[i]];
        hone_ew_step step;
        as_step(m, &step);
        for (int k = 0; k < hone_ew_arity(step.op); ++k) {
            int at = f->position[m->in[k]->id], known = 0;
            if (at >= 0 && is_member(s, at))
                continue;
            while (known < s->n_in && s->in[known] != m->in[k])
                ++known;
            if (known < s->n_in)
                continue;
            if (s->n_in == HONE_EW_MAX_IN)
                return false;
            s->in[s->n_in++] = m->in[k];
        }
    }
    return true;
}

static void insert(group *s, int position) {
    int at = s->n++;
    for (; at > 0 && s->members[at - 1] > position; --at)
        s->members[at] = s->members[at - 1];
    s->members[at] = position;
}

/* A producer that may join, or -1. */
static int next_member(const fuser *f, const group *s, const hone_type *result) {
    for (int i = s->n - 1; i >= 0; --i) {
        const hone_node *m = f->g->nodes[s->members[i]];
        for (int k = 0; k < m->n_in; ++k) {
            int at = m->in[k] ? f->position[m->in[k]->id] : -1;
            hone_ew_step step;
            if (at < 0 || f->is_taken[at] || is_member(s, at) || !as_step(f->g->nodes[at], &step) ||
                !same_dims(&m->in[k]->type, result) || hone_graph_is_output(f->g, m->in[k]) ||
                uses_within(f, s, m->in[k]) != m->in[k]->n_uses)
                continue;
            group wider = *s;
            insert(&wider, at);
            if (find_inputs(f, &wider))
                return at;
        }
    }
    return -1;
}

/* The number of a value in the program. */
static uint8_t number_of(const fuser *f, const group *s, const hone_value *v) {
    for (int i = 0; i < s->n_in; ++i) {
        if (s->in[i] == v)
            return (uint8_t)i;
    }
    int i = 0;
    while (i < s->n && s->members[i] != f->position[v->id])
        ++i;
    return (uint8_t)(s->n_in + i);
}

static hone_status emit(fuser *f, const group *s) {
    hone_graph *g = f->g;
    hone_node *root = g->nodes[s->members[s->n - 1]];
    hone_ew_program p = {.n_steps = s->n};
    const char *origin = "";
    for (int i = 0; i < s->n; ++i) {
        const hone_node *m = g->nodes[s->members[i]];
        as_step(m, &p.steps[i]);
        for (int k = 0; k < hone_ew_arity(p.steps[i].op); ++k)
            p.steps[i].src[k] = number_of(f, s, m->in[k]);
        if (m->origin && m->origin[0])
            origin =
                origin[0] ? hone_arena_printf(g->arena, "%s,%s", origin, m->origin) : m->origin;
    }
    hone_node *made = hone_node_create(g, hone_op_find("hone", "Eltwise"), root->name, s->in,
                                       s->n_in, root->out, 1);
    if (!made || !origin || !hone_eltwise_write(g, made, &p) ||
        !hone_attr_set_int(g, made, "to", (int64_t)root->out[0]->type.dtype))
        return hone_fail(f->err, HONE_E_NOMEM, "no memory to fuse nodes");
    made->origin = origin;
    for (int i = 0; i < s->n; ++i) {
        f->is_taken[s->members[i]] = true;
        if (i < s->n - 1)
            f->position[g->nodes[s->members[i]]->out[0]->id] = -1;
    }
    for (int i = 0; i < s->n - 1; ++i)
        g->nodes[s->members[i]] = NULL;
    g->nodes[s->members[s->n - 1]] = made;
    return HONE_OK;
}

hone_status hone_cpu_fuse_eltwise(hone_graph *g, hone_error *err) {
    fuser f = {.g = g,
               .err = err,
               .position = HONE_NEW_ARRAY(g->arena, int, g->n_values),
               .is_taken = HONE_NEW_ARRAY(g->arena, bool, g->n_nodes)};
    if (!f.position || !f.is_taken)
        return hone_fail(err, HONE_E_NOMEM, "no memory to fuse nodes");
    for (int i = 0; i < g->n_values; ++i)
        f.position[i] = -1;
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int o = 0; o < g->nodes[i]->n_out; ++o) {
            if (g->nodes[i]->out[o])
                f.position[g->nodes[i]->out[o]->id] = i;
        }
    }
    for (int i = g->n_nodes - 1; i >= 0; --i) {
        hone_ew_step step;
        if (!g->nodes[i] || f.is_taken[i] || !as_step(g->nodes[i], &step))
            continue;
        group s = {.members = {i}, .n = 1};
        const hone_type *result = &g->nodes[i]->out[0]->type;
        if (!find_inputs(&f, &s))
            continue;
        for (int at; s.n < HONE_EW_MAX_STEPS && (at = next_member(&f, &s, result)) >= 0;)
            insert(&s, at);
        if (s.n > 1 && find_inputs(&f, &s))
            HONE_TRY(emit(&f, &s));
    }
    hone_graph_compact(g);
    return hone_graph_index(g) == HONE_OK ? HONE_OK
                                          : hone_fail(err, HONE_E_NOMEM, "no memory to index");
}
