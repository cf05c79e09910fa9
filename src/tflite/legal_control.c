/* If and Loop as IF and WHILE, which call subgraphs of the file. A subgraph sees its inputs and
 * nothing else: what the model's graph captures from outside becomes an input, in the order of dims
 * that it has outside. */
#include <string.h>

#include "tflite/convert_graph.h"
#include "tflite/legal_ops.h"
#include "tflite/subgraph.h"

/* A value of the enclosing graph that subgraphs read. */
typedef struct capture {
    const hone_value *outer;
    int perm[TFL_MAX_RANK];
    int tensor;
} capture;

typedef struct captures {
    capture *item;
    int n, cap;
} captures;

/* ---- captures ---------------------------------------------------------------------------------
 */

static void add_capture(tfl_legal *l, captures *c, const hone_value *outer) {
    capture own = {.outer = outer};
    for (int i = 0; i < c->n; ++i) {
        if (c->item[i].outer == outer)
            return;
    }
    tfl_order(l, outer, own.perm);
    own.tensor = tfl_take(l, outer, own.perm);
    if (!HONE_PUSH(l->model.arena, c->item, c->n, c->cap, own))
        l->is_out_of_memory = true;
}

/* Constants need not be handed in. False: one cannot be. */
static bool add_captures(tfl_legal *l, const hone_node *n, captures *c, const hone_graph *g) {
    for (int i = 0; i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        if (!v->outer || v->constant)
            continue;
        if (!tfl_check_value(l, n, v->outer))
            return false;
        add_capture(l, c, v->outer);
    }
    return true;
}

static void give_capture(tfl_legal *inner, const tfl_model *outside, const capture *c, int i) {
    int tensor = tfl_same_as(inner, outside, c->tensor);
    inner->model.inputs[i] = tensor;
    for (int k = 0; k < inner->graph->n_values; ++k) {
        const hone_value *v = inner->graph->values[k];
        if (v->outer == c->outer && !v->constant)
            tfl_alias(inner, v, tensor, c->perm);
    }
}

/* Inputs from `first` on cannot be left out. */
static bool has_values(tfl_legal *l, const hone_node *n, int first) {
    for (int i = first; i < n->n_in; ++i) {
        if (n->in[i])
            continue;
        tfl_refuse(l, n, "unsupported-form", "give the input a value", "input %d is left out", i);
        return false;
    }
    return true;
}

/* ---- If ---------------------------------------------------------------------------------------
 */

static int branch(tfl_legal *l, const hone_node *n, const char *name, const captures *c) {
    tfl_legal inner;
    hone_graph *g = hone_attr_graph(n, name);
    if (!tfl_subgraph_enter(l, &inner, g, name, c->n, g->n_outputs))
        return -1;
    for (int i = 0; i < c->n; ++i)
        give_capture(&inner, &l->model, &c->item[i], i);
    tfl_graph_nodes(&inner);
    for (int i = 0; i < g->n_outputs && !inner.is_out_of_memory; ++i)
        inner.model.outputs[i] = tfl_check_value(&inner, n, g->outputs[i])
                                     ? tfl_graph_output(&inner, g->outputs[i], NULL, i)
                                     : -1;
    return tfl_subgraph_leave(l, &inner);
}

void tfl_legal_if(tfl_legal *l, const hone_node *n) {
    captures c = {.n = 0};
    const hone_graph *yes = hone_attr_graph(n, "then_branch");
    if (!has_values(l, n, 0) || !add_captures(l, n, &c, yes) ||
        !add_captures(l, n, &c, hone_attr_graph(n, "else_branch")))
        return;
    int graphs[2] = {branch(l, n, "then_branch", &c), branch(l, n, "else_branch", &c)};
    int *in = tfl_alloc(l, (size_t)c.n + 1, sizeof *in);
    int *out = tfl_alloc(l, (size_t)n->n_out + 1, sizeof *out);
    if (!in || !out)
        return;
    in[0] = tfl_take(l, n->in[0], NULL);
    for (int i = 0; i < c.n; ++i)
        in[i + 1] = c.item[i].tensor;
    for (int i = 0; i < n->n_out; ++i)
        out[i] = n->out[i]       ? tfl_give(l, n->out[i], NULL)
                 : graphs[0] < 0 ? -1
                                 : tfl_same_as(l, tfl_model_subgraph(l->file, graphs[0]),
                                               tfl_model_subgraph(l->file, graphs[0])->outputs[i]);
    tfl_call(l, TFL_IF, in, c.n + 1, out, n->n_out, graphs);
}

/* ---- Loop -------------------------------------------------------------------------------------
 * What a turn hands to the next one: the turn's number, the condition, the number of turns, the
 * states, what scan outputs have collected so far, and what is captured, which never changes. */

enum { TURN, CONDITION, LIMIT, FIRST_STATE };

typedef struct loop {
    const hone_node *node;
    hone_graph *body;
    captures captures;
    int n_states, n_scans, n; /* n: of all that is handed on */
    int first_scan, first_capture;
    int64_t n_turns; /* when all are known to be made, else -1 */
    int *first;      /* tensors of the first turn */
} loop;

static bool is_one(const hone_value *v) {
    return v && v->constant && hone_tensor_count(v->constant) == 1;
}

static bool is_true(const hone_value *v) {
    return is_one(v) && hone_load_i64(v->constant->dtype, v->constant->data, 0) != 0;
}

/* The condition never ends the loop. */
static bool never_breaks(const loop *p) {
    const hone_value *first = p->node->in[1], *next = p->body->outputs[0];
    while (next->producer && strcmp(next->producer->op_name, "Identity") == 0)
        next = next->producer->in[0];
    return (!first || is_true(first)) && (next == p->body->inputs[1] || is_true(next));
}

/* The shape of what is collected must be known. */
static bool check_scans(tfl_legal *l, const loop *p) {
    for (int i = 0; i < p->n_scans; ++i) {
        const hone_type *t = &p->body->outputs[1 + p->n_states + i]->type;
        if (hone_type_is_static(t) && t->rank < TFL_MAX_RANK)
            continue;
        tfl_refuse(l, p->node, "unknown-shape", "fix the dims of the inputs with --shape",
                   "the shape of what the loop collects is not known");
        return false;
    }
    return true;
}

static bool read_loop(tfl_legal *l, const hone_node *n, loop *p) {
    *p = (loop){.node = n, .body = hone_attr_graph(n, "body"), .n_turns = -1};
    const hone_value *limit = n->in[0];
    p->n_states = n->n_in - 2;
    p->n_scans = p->body->n_outputs - 1 - p->n_states;
    if (is_one(limit) && never_breaks(p))
        p->n_turns = hone_load_i64(limit->constant->dtype, limit->constant->data, 0);
    if (p->n_turns < 1 || p->n_turns > INT32_MAX)
        p->n_turns = -1;
    bool ok = has_values(l, n, 2) && add_captures(l, n, &p->captures, p->body);
    for (int i = 0; i < p->body->n_inputs; ++i)
        ok = tfl_check_value(l, n, p->body->inputs[i]) && ok;
    for (int i = 0; i < p->body->n_outputs; ++i)
        ok = tfl_check_value(l, n, p->body->outputs[i]) && ok;
    p->first_scan = FIRST_STATE + p->n_states;
    p->first_capture = p->first_scan + p->n_scans;
    p->n = p->first_capture + p->captures.n;
    p->first = tfl_alloc(l, (size_t)p->n, sizeof *p->first);
    return ok && check_scans(l, p) && p->first;
}

static const int32_t one_dim[1] = {1};

static int const_i64(tfl_legal *l, int rank, int64_t v) {
    int64_t *copy = tfl_alloc(l, 1, sizeof *copy);
    if (copy)
        *copy = v;
    return tfl_const(l, TFL_I64, rank, one_dim, copy);
}

/* A single value with the rank that the body declares. */
static int of_rank(tfl_legal *l, int tensor, int rank) {
    if (tensor < 0 || l->model.tensors[tensor].rank == rank)
        return tensor;
    return tfl_reshape(l, tensor, rank, one_dim);
}

static int first_condition(tfl_legal *l, const hone_value *v, int rank) {
    uint8_t *yes = tfl_alloc(l, 1, sizeof *yes);
    if (v)
        return of_rank(l, tfl_take(l, v, NULL), rank);
    if (yes)
        *yes = 1;
    return tfl_const(l, TFL_BOOL, rank, one_dim, yes);
}

/* Room for all that a scan output collects, zeroed. Where the number of turns is not known, one
 * row, behind which it grows: LiteRT's WHILE cannot begin with an empty tensor. */
static int empty_scan(tfl_legal *l, const loop *p, int i) {
    const hone_type *t = &p->body->outputs[1 + p->n_states + i]->type;
    int32_t dims[TFL_MAX_RANK] = {(int32_t)p->n_turns};
    for (int d = 0; d < t->rank; ++d)
        dims[1 + d] = (int32_t)t->dims[d];
    tfl_type type = (tfl_type)tfl_type_of(t->dtype);
    int out = tfl_temp(l, type, t->rank + 1, dims);
    int zero = tfl_const(l, type, 0, NULL, tfl_alloc(l, 1, sizeof(int64_t)));
    dims[0] = p->n_turns < 0 ? 1 : dims[0];
    tfl_op2(l, TFL_FILL, tfl_const_i32s(l, dims, t->rank + 1), zero, out);
    return out;
}

static void list_first(tfl_legal *l, loop *p) {
    const hone_node *n = p->node;
    p->first[TURN] = const_i64(l, p->body->inputs[0]->type.rank, 0);
    p->first[CONDITION] = first_condition(l, n->in[1], p->body->inputs[1]->type.rank);
    p->first[LIMIT] = n->in[0] ? tfl_take(l, n->in[0], NULL) : const_i64(l, 0, INT64_MAX);
    for (int i = 0; i < p->n_states; ++i)
        p->first[FIRST_STATE + i] = tfl_take(l, n->in[2 + i], NULL);
    for (int i = 0; i < p->n_scans; ++i)
        p->first[p->first_scan + i] = empty_scan(l, p, i);
    for (int i = 0; i < p->captures.n; ++i)
        p->first[p->first_capture + i] = p->captures.item[i].tensor;
}

/* ---- the body of a Loop ---- */

static void give_inputs(tfl_legal *l, tfl_legal *inner, const loop *p) {
    int *in = inner->model.inputs;
    in[TURN] = tfl_give(inner, p->body->inputs[0], NULL);
    in[CONDITION] = tfl_give(inner, p->body->inputs[1], NULL);
    in[LIMIT] = tfl_same_as(inner, &l->model, p->first[LIMIT]);
    for (int i = 0; i < p->n_states; ++i)
        in[FIRST_STATE + i] = tfl_give(inner, p->body->inputs[2 + i], NULL);
    for (int i = 0; i < p->n_scans; ++i)
        in[p->first_scan + i] = tfl_same_as(inner, &l->model, p->first[p->first_scan + i]);
    for (int i = 0; i < p->captures.n; ++i)
        give_capture(inner, &l->model, &p->captures.item[i], p->first_capture + i);
}

static int joined(tfl_legal *l, const int *parts, int n, int out) {
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, parts, n, out);
    tfl_option_i32(op, 0, 0);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    return out;
}

/* The index [turn, 0, ...]. */
static int place_of_turn(tfl_legal *inner, int rank) {
    int32_t zeros[TFL_MAX_RANK] = {0};
    int number = tfl_temp(inner, TFL_I32, 1, one_dim);
    tfl_operator *op =
        tfl_op1(inner, TFL_CAST, of_rank(inner, inner->model.inputs[TURN], 1), number);
    tfl_option_byte(op, 0, TFL_I64);
    tfl_option_byte(op, 1, TFL_I32);
    if (rank == 1)
        return number;
    int parts[2] = {number, tfl_const_i32s(inner, zeros, rank - 1)};
    return joined(inner, parts, 2, tfl_temp(inner, TFL_I32, 1, (int32_t[]){rank}));
}

/* What this turn adds to a scan output. */
static int collect(tfl_legal *inner, const loop *p, int i) {
    const hone_value *v = p->body->outputs[1 + p->n_states + i];
    int rank = v->type.rank + 1, all = inner->model.inputs[p->first_scan + i];
    int32_t dims[TFL_MAX_RANK] = {1};
    for (int d = 1; d < rank; ++d)
        dims[d] = (int32_t)v->type.dims[d - 1];
    int parts[2] = {all, tfl_reshape(inner, tfl_take(inner, v, NULL), rank, dims)};
    int out = tfl_like(inner, all);
    if (p->n_turns < 0)
        return joined(inner, parts, 2, out);
    int in[3] = {parts[0], parts[1], place_of_turn(inner, rank)};
    tfl_op(inner, TFL_DYNAMIC_UPDATE_SLICE, in, 3, out);
    return out;
}

static void list_outputs(tfl_legal *inner, const loop *p) {
    const int *in = inner->model.inputs;
    int *out = inner->model.outputs;
    out[TURN] = tfl_apply2(inner, TFL_ADD, in[TURN], const_i64(inner, 0, 1));
    out[CONDITION] = of_rank(inner, tfl_graph_output(inner, p->body->outputs[0], NULL, 1),
                             p->body->inputs[1]->type.rank);
    out[LIMIT] = in[LIMIT];
    for (int i = 0; i < p->n_states && !inner->is_out_of_memory; ++i)
        out[FIRST_STATE + i] =
            tfl_graph_output(inner, p->body->outputs[1 + i], NULL, FIRST_STATE + i);
    for (int i = 0; i < p->n_scans; ++i)
        out[p->first_scan + i] = collect(inner, p, i);
    for (int i = 0; i < p->captures.n; ++i)
        out[p->first_capture + i] = in[p->first_capture + i];
}

static int loop_body(tfl_legal *l, const loop *p) {
    tfl_legal inner;
    if (!tfl_subgraph_enter(l, &inner, p->body, "body", p->n, p->n))
        return -1;
    give_inputs(l, &inner, p);
    tfl_graph_nodes(&inner);
    if (!inner.is_out_of_memory)
        list_outputs(&inner, p);
    return tfl_subgraph_leave(l, &inner);
}

/* Another turn: the condition holds, and there are turns left. */
static int loop_condition(tfl_legal *l, const loop *p, const tfl_model *body) {
    tfl_legal inner;
    if (!tfl_subgraph_enter(l, &inner, NULL, "condition", p->n, 1))
        return -1;
    int *in = inner.model.inputs;
    for (int i = 0; i < p->n; ++i)
        in[i] = tfl_same_as(&inner, body, body->inputs[i]);
    int left = tfl_temp(&inner, TFL_BOOL, 0, NULL), both = tfl_temp(&inner, TFL_BOOL, 0, NULL);
    tfl_op2(&inner, TFL_LESS, of_rank(&inner, in[TURN], 0), of_rank(&inner, in[LIMIT], 0), left);
    tfl_op2(&inner, TFL_LOGICAL_AND, of_rank(&inner, in[CONDITION], 0), left, both);
    inner.model.outputs[0] = both;
    return tfl_subgraph_leave(l, &inner);
}

static bool grows(const loop *p, int i) {
    return p->n_turns < 0 && i >= p->first_scan && i < p->first_capture;
}

/* All but the first row. */
static void give_grown(tfl_legal *l, const hone_value *v, int all) {
    int32_t begin[TFL_MAX_RANK] = {1}, size[TFL_MAX_RANK];
    if (!v)
        return;
    for (int d = 0; d < v->type.rank; ++d)
        size[d] = -1;
    int in[3] = {all, tfl_const_i32s(l, begin, v->type.rank),
                 tfl_const_i32s(l, size, v->type.rank)};
    tfl_op(l, TFL_SLICE, in, 3, tfl_give(l, v, NULL));
}

void tfl_legal_loop(tfl_legal *l, const hone_node *n) {
    loop p;
    int graphs[2];
    if (!read_loop(l, n, &p))
        return;
    list_first(l, &p);
    graphs[1] = l->is_out_of_memory ? -1 : loop_body(l, &p);
    if (graphs[1] < 0)
        return;
    graphs[0] = loop_condition(l, &p, tfl_model_subgraph(l->file, graphs[1]));
    int *out = tfl_alloc(l, (size_t)p.n, sizeof *out);
    for (int i = 0; out && i < p.n; ++i) {
        int k = i - FIRST_STATE;
        bool is_seen = k >= 0 && k < n->n_out && n->out[k] && !grows(&p, i);
        out[i] = is_seen ? tfl_give(l, n->out[k], NULL) : tfl_like(l, p.first[i]);
    }
    tfl_call(l, TFL_WHILE, p.first, p.n, out, p.n, graphs);
    for (int k = p.n_states; out && k < n->n_out && grows(&p, FIRST_STATE + k); ++k)
        give_grown(l, n->out[k], out[FIRST_STATE + k]);
}
