/* Operators that call subgraphs. A call is replaced by the subgraph's operators; IF becomes If,
 * whose branches capture the arguments, WHILE becomes Loop, whose body ends with the condition of
 * the next turn. */
#include <stdio.h>

#include "ir/eval.h"
#include "tflite/import_impl.h"

/* A subgraph's way into another graph. */
typedef struct call {
    int graph;
    hone_value *
        *in; /* values of the subgraph's inputs, of the graph that it goes into; NULL: a handle */
    int *handle; /* by input: 1 + the variable; 0: none */
    int n;
} call;

/* Arguments from input `first` of the operator on. */
static bool read_arguments(tfr_import *im, int graph, int first, call *c) {
    hone_arena *a = im->g->arena;
    *c = (call){.graph = graph, .n = im->op->n_in - first};
    if (graph < 0 || graph >= im->file->n_graphs || c->n < 0 ||
        im->file->graphs[graph].n_inputs != c->n) {
        tfr_fail(im, HONE_E_FORMAT, "subgraph %d does not fit %d arguments", graph, c->n);
        return false;
    }
    c->in = HONE_NEW_ARRAY(a, hone_value *, c->n + 1);
    c->handle = HONE_NEW_ARRAY(a, int, c->n + 1);
    if (!c->in || !c->handle) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return false;
    }
    for (int i = 0; i < c->n; ++i) {
        int t = im->op->in[first + i];
        c->handle[i] = t >= 0 ? im->resource[t] : 0;
        c->in[i] = c->handle[i] ? NULL : tfr_in_raw(im, first + i);
    }
    return im->status == HONE_OK;
}

/* The subgraph's operators go into scope->g; its outputs' values to `out` (its handles: NULL). */
static void inline_call(tfr_import *im, tfr_scope *scope, const call *c, hone_value **out,
                        int n_out) {
    char suffix[32];
    const tfr_graph *sub = &im->file->graphs[c->graph];
    tfr_import at = *im;
    if (im->status != HONE_OK)
        return;
    if (im->depth >= TFR_MAX_DEPTH || sub->n_outputs != n_out) {
        tfr_fail(im, HONE_E_FORMAT, "subgraph %d calls too deep, or has %d outputs, not %d",
                 c->graph, sub->n_outputs, n_out);
        return;
    }
    at.depth++;
    at.g = scope->g;
    at.scope = scope;
    at.sub = sub;
    snprintf(suffix, sizeof suffix, ";g%d", ++im->shared->n_inlined);
    if (tfr_import_begin(&at, suffix)) {
        for (int i = 0; i < c->n; ++i) {
            at.value[sub->inputs[i]] = c->in[i];
            at.resource[sub->inputs[i]] = c->handle[i];
        }
        tfr_import_ops(&at);
    }
    for (int i = 0; i < n_out && at.status == HONE_OK; ++i) {
        tfr_op op = {.in = &sub->outputs[i], .n_in = 1};
        at.op = &op;
        out[i] = at.resource[sub->outputs[i]] ? NULL : tfr_in_raw(&at, 0);
    }
    if (im->status == HONE_OK)
        im->status = at.status;
}

/* A value that the operators of g made, whatever v is. */
static hone_value *made_in(tfr_import *im, hone_graph *g, hone_value *v) {
    tfr_import at = *im;
    at.g = g;
    hone_value *own = tfr_unary(&at, "Identity", v);
    im->status = at.status;
    return own;
}

static void push_output(tfr_import *im, hone_graph *g, hone_value *v) {
    v = made_in(im, g, v);
    if (v && !HONE_PUSH(g->arena, g->outputs, g->n_outputs, g->cap_outputs, v))
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
}

static void set_graph(tfr_import *im, hone_value *v, const char *name, hone_graph *g) {
    hone_attr a = {.name = name, .kind = HONE_ATTR_GRAPH, .n = 1, .g = g};
    if (im->status == HONE_OK && v && !hone_attr_set(im->g, v->producer, &a))
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
}

static bool *touched_by(tfr_import *im, const call *a, const call *b) {
    bool *touched = HONE_NEW_ARRAY(im->g->arena, bool, im->shared->n_vars + 1);
    if (!touched) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return NULL;
    }
    tfr_touched(im, a->graph, a->handle, a->n, touched);
    tfr_touched(im, b->graph, b->handle, b->n, touched);
    return touched;
}

/* Outputs of the operator, handles passed on, then the variables. */
static void take_results(tfr_import *im, hone_value **out, const int *handle, const bool *touched) {
    int n = 0;
    for (int i = 0; i < im->op->n_out; ++i) {
        if (handle && handle[i] && im->op->out[i] >= 0)
            im->resource[im->op->out[i]] = handle[i];
        else
            tfr_out_raw(im, i, out[n++]);
    }
    for (int v = 0; v < im->shared->n_vars; ++v) {
        if (touched[v])
            tfr_var_set(im, v, out[n++]);
    }
}

/* ---- IF ---------------------------------------------------------------------------------------
 */

static hone_graph *branch(tfr_import *im, const call *c, const bool *touched) {
    hone_graph *g = hone_graph_sub(im->g);
    hone_value **out = HONE_NEW_ARRAY(im->g->arena, hone_value *, im->op->n_out + 1);
    call inner = *c;
    tfr_scope scope;
    inner.in = HONE_NEW_ARRAY(im->g->arena, hone_value *, c->n + 1);
    if (!g || !out || !inner.in) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return NULL;
    }
    if (!tfr_scope_begin(im, &scope, im->scope, g))
        return NULL;
    for (int i = 0; i < c->n; ++i)
        inner.in[i] = tfr_capture(im, g, c->in[i]);
    inline_call(im, &scope, &inner, out, im->op->n_out);
    for (int i = 0; i < im->op->n_out && im->status == HONE_OK; ++i) {
        if (!out[i])
            tfr_fail(im, HONE_E_UNSUPPORTED, "a branch that gives a handle");
        else
            push_output(im, g, out[i]);
    }
    for (int v = 0; v < im->shared->n_vars && im->status == HONE_OK; ++v) {
        if (touched[v])
            push_output(im, g, tfr_var_get(im, &scope, v));
    }
    return g;
}

void tfr_build_if(tfr_import *im) {
    call a, b;
    if (!read_arguments(im, (int)tfr_option_i32(im, 0, 0), 1, &a) ||
        !read_arguments(im, (int)tfr_option_i32(im, 1, 0), 1, &b))
        return;
    bool *touched = touched_by(im, &a, &b);
    if (!touched)
        return;
    hone_graph *yes = branch(im, &a, touched), *no = branch(im, &b, touched);
    if (im->status != HONE_OK || yes->n_outputs == 0)
        return;
    hone_value **out = HONE_NEW_ARRAY(im->g->arena, hone_value *, yes->n_outputs),
               *cond = tfr_in_raw(im, 0);
    if (!out) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return;
    }
    tfr_make_many(im, "If", &cond, 1, out, yes->n_outputs);
    set_graph(im, out[0], "then_branch", yes);
    set_graph(im, out[0], "else_branch", no);
    take_results(im, out, NULL, touched);
}

/* ---- WHILE ------------------------------------------------------------------------------------
 */

static hone_value *body_input(tfr_import *im, hone_graph *g, const char *name, hone_type type) {
    hone_value *v = hone_graph_fresh(g, name);
    if (!v || !HONE_PUSH(g->arena, g->inputs, g->n_inputs, g->cap_inputs, v)) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return NULL;
    }
    v->type = type;
    return v;
}

static hone_type declared(const tfr_tensor *t) {
    bool is_open = t->rank == 0 && !t->has_rank;
    hone_type type = hone_type_tensor(t->dtype, is_open ? -1 : t->rank, t->dims);
    for (int i = 0; i < t->rank; ++i)
        type.dims[i] = t->dims[i] < 0 ? HONE_DIM_UNKNOWN : t->dims[i];
    return type;
}

/* Inputs of the body: number of the turn, condition, states, variables. */
static void make_body_inputs(tfr_import *im, tfr_scope *scope, call *c, const bool *touched) {
    const tfr_graph *sub = &im->file->graphs[c->graph];
    hone_graph *g = scope->g;
    body_input(im, g, "turn", hone_type_tensor(HONE_DTYPE_I64, 0, NULL));
    body_input(im, g, "condition", hone_type_tensor(HONE_DTYPE_BOOL, 0, NULL));
    for (int i = 0; i < c->n; ++i)
        c->in[i] = c->handle[i]
                       ? NULL
                       : body_input(im, g, "state", declared(&sub->tensors[sub->inputs[i]]));
    for (int v = 0; v < im->shared->n_vars && im->status == HONE_OK; ++v) {
        hone_type type = {.kind = HONE_KIND_NONE, .rank = -1};
        if (!touched[v])
            continue;
        tfr_var_type(im, v, &type);
        scope->var[v] = body_input(im, g, "variable", type);
    }
}

static hone_graph *loop_body(tfr_import *im, const call *cond, const call *body,
                             const bool *touched) {
    hone_graph *g = hone_graph_sub(im->g);
    hone_value **out = HONE_NEW_ARRAY(im->g->arena, hone_value *, body->n + 1), *again = NULL;
    call inner = *body, last = *cond;
    tfr_scope scope;
    inner.in = HONE_NEW_ARRAY(im->g->arena, hone_value *, body->n + 1);
    if (!g || !out || !inner.in) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return NULL;
    }
    if (!tfr_scope_begin(im, &scope, im->scope, g))
        return NULL;
    make_body_inputs(im, &scope, &inner, touched);
    inline_call(im, &scope, &inner, out, body->n);
    last.in = out;
    inline_call(im, &scope, &last, &again, 1);
    if (im->status == HONE_OK)
        push_output(im, g, again);
    for (int i = 0; i < body->n && im->status == HONE_OK; ++i) {
        if (!body->handle[i])
            push_output(im, g, out[i]);
    }
    for (int v = 0; v < im->shared->n_vars && im->status == HONE_OK; ++v) {
        if (touched[v])
            push_output(im, g, tfr_var_get(im, &scope, v));
    }
    return g;
}

void tfr_build_while(tfr_import *im) {
    call cond, body;
    if (!read_arguments(im, (int)tfr_option_i32(im, 0, 0), 0, &cond) ||
        !read_arguments(im, (int)tfr_option_i32(im, 1, 0), 0, &body))
        return;
    bool *touched = touched_by(im, &cond, &body);
    int n = 2, most = body.n + im->shared->n_vars + 2;
    hone_value **in = HONE_NEW_ARRAY(im->g->arena, hone_value *, most);
    hone_value **out = HONE_NEW_ARRAY(im->g->arena, hone_value *, most);
    if (!touched || !in || !out || im->op->n_out != body.n) {
        tfr_fail(im, HONE_E_FORMAT, "%d outputs for %d values", im->op->n_out, body.n);
        return;
    }
    inline_call(im, im->scope, &cond, &in[1], 1);
    hone_graph *g = loop_body(im, &cond, &body, touched);
    for (int i = 0; i < body.n; ++i) {
        if (!body.handle[i])
            in[n++] = body.in[i];
    }
    for (int v = 0; v < im->shared->n_vars && im->status == HONE_OK; ++v) {
        if (touched[v])
            in[n++] = tfr_var_get(im, im->scope, v);
    }
    if (im->status != HONE_OK || n == 2)
        return;
    tfr_make_many(im, "Loop", in, n, out, n - 2);
    set_graph(im, out[0], "body", g);
    take_results(im, out, body.handle, touched);
}

/* ---- CALL_ONCE and calls ----------------------------------------------------------------------
 */

/* All nodes of g, whose inputs must be constants. */
static void evaluate(tfr_import *im, hone_graph *g) {
    for (int i = 0; i < g->n_nodes && im->status == HONE_OK; ++i) {
        hone_node *n = g->nodes[i];
        const hone_tensor **in = HONE_NEW_ARRAY(g->arena, const hone_tensor *, n->n_in + 1);
        hone_tensor *out = HONE_NEW_ARRAY(g->arena, hone_tensor, n->n_out + 1);
        if (!in || !out) {
            tfr_fail(im, HONE_E_NOMEM, "out of memory");
            return;
        }
        for (int k = 0; k < n->n_in; ++k) {
            in[k] = n->in[k] ? n->in[k]->constant : NULL;
            if (n->in[k] && !in[k])
                tfr_fail(im, HONE_E_UNSUPPORTED, "first values of variables that are not constant");
        }
        if (im->status != HONE_OK)
            return;
        im->status = hone_eval_node(n, in, out, NULL, im->err);
        for (int k = 0; k < n->n_out && im->status == HONE_OK; ++k) {
            if (n->out[k])
                n->out[k]->constant = tfr_adopt(im, &out[k]);
            hone_tensor_release(&out[k]);
        }
    }
}

/* The subgraph gives variables their first values; what it computes is known now. */
void tfr_build_call_once(tfr_import *im) {
    call c = {.graph = (int)tfr_option_i32(im, 0, 0)};
    hone_graph *g = hone_graph_sub(im->g);
    tfr_scope scope;
    if (!g || c.graph < 0 || c.graph >= im->file->n_graphs || im->file->graphs[c.graph].n_inputs) {
        tfr_fail(im, HONE_E_FORMAT, "subgraph %d cannot be called without arguments", c.graph);
        return;
    }
    int n_out = im->file->graphs[c.graph].n_outputs;
    hone_value **out = HONE_NEW_ARRAY(im->g->arena, hone_value *, n_out + 1);
    if (!out || !tfr_scope_begin(im, &scope, NULL, g)) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return;
    }
    scope.is_apart = true;
    inline_call(im, &scope, &c, out, n_out);
    if (im->status == HONE_OK)
        evaluate(im, g);
    for (int v = 0; v < im->shared->n_vars && im->status == HONE_OK; ++v) {
        tfr_var *var = &im->shared->vars[v];
        if (!scope.var[v])
            continue;
        if (var->input)
            tfr_fail(im, HONE_E_UNSUPPORTED, "variable %s is read before it has a value",
                     var->input->name);
        else
            var->initial = scope.var[v]->constant;
    }
}

/* A call with a name and a definition: the definition. */
void tfr_build_composite(tfr_import *im) {
    call c;
    tfr_flat flat = im->file->flat;
    int graph = 0;
    tfr_called(&flat, im->op, &graph);
    hone_value **out = HONE_NEW_ARRAY(im->g->arena, hone_value *, im->op->n_out + 1);
    if (!out || !read_arguments(im, graph, 0, &c))
        return;
    inline_call(im, im->scope, &c, out, im->op->n_out);
    for (int i = 0; i < im->op->n_out; ++i)
        tfr_out_raw(im, i, out[i]);
}
