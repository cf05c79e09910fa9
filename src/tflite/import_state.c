/* Variables: what a run of a streaming model leaves for the next run. A variable becomes an input
 * of the root graph that is state (hone_value.next), with its first value as default, and an output
 * with its last value; in between, reading gives the current value and assigning replaces it.
 * Branches and loop bodies take variables in and give them back like other values. */
#include <string.h>

#include "tflite/import_impl.h"

/* ---- which there are --------------------------------------------------------------------------
 */

static int shown_length(hone_string s) {
    return s.len < 200 ? (int)s.len : 200;
}

static const char *resource_name(tfr_import *im, const tfr_op *op) {
    enum { CONTAINER, NAME };
    tfr_flat flat = im->file->flat;
    hone_string a = tfr_text(&flat, op->options, CONTAINER), b = tfr_text(&flat, op->options, NAME);
    if (flat.status != HONE_OK)
        im->status = flat.status;
    const char *name = hone_arena_printf(im->g->arena, "%.*s%s%.*s", shown_length(a), a.data,
                                         a.len ? "/" : "", shown_length(b), b.data);
    if (!name)
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
    return name;
}

static int find_resource(const tfr_import *im, const char *name) {
    for (int i = 0; name && i < im->shared->n_vars; ++i) {
        const char *known = im->shared->vars[i].name;
        if (known && strcmp(known, name) == 0)
            return i;
    }
    return -1;
}

static int find_tensor(const tfr_import *im, const tfr_graph *g, int tensor) {
    return g->tensors[tensor].is_variable ? im->shared->var_of[g - im->file->graphs][tensor] - 1
                                          : -1;
}

static void add_variable(tfr_import *im, tfr_var v, int *cap) {
    tfr_shared *s = im->shared;
    if (!HONE_PUSH(im->g->arena, s->vars, s->n_vars, *cap, v))
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
}

/* The first operator of g that reads or assigns the handle shows what it holds. */
static int shown_by(const tfr_graph *g, int handle) {
    for (int i = 0; i < g->n_ops; ++i) {
        const tfr_op *op = &g->ops[i];
        if (op->n_in > 0 && op->in[0] == handle && op->code == TFL_READ_VARIABLE && op->n_out > 0)
            return op->out[0];
        if (op->n_in > 1 && op->in[0] == handle && op->code == TFL_ASSIGN_VARIABLE)
            return op->in[1];
    }
    return -1;
}

static void find_in_op(tfr_import *im, int graph, const tfr_op *op, int *cap) {
    const tfr_graph *g = &im->file->graphs[graph];
    int *var_of = im->shared->var_of[graph];
    im->op = op;
    for (int k = 0; k < op->n_in; ++k) {
        int t = op->in[k];
        if (t < 0 || !g->tensors[t].is_variable || var_of[t])
            continue;
        add_variable(im, (tfr_var){.graph = graph, .tensor = t}, cap);
        var_of[t] = im->shared->n_vars;
    }
    if (op->code != TFL_VAR_HANDLE || op->n_out < 1 || op->out[0] < 0 || im->status != HONE_OK)
        return;
    const char *name = resource_name(im, op);
    int i = find_resource(im, name), shown = shown_by(g, op->out[0]);
    if (i < 0 && name) {
        add_variable(im, (tfr_var){.name = name, .graph = graph, .tensor = shown}, cap);
        i = im->shared->n_vars - 1;
    } else if (i >= 0 && im->shared->vars[i].tensor < 0) {
        im->shared->vars[i].graph = graph;
        im->shared->vars[i].tensor = shown;
    }
    var_of[op->out[0]] = i + 1;
}

void tfr_find_variables(tfr_import *im) {
    int cap = 0, n = im->file->n_graphs;
    im->shared->var_of = HONE_NEW_ARRAY(im->g->arena, int *, n + 1);
    for (int g = 0; im->shared->var_of && g < n; ++g) {
        const tfr_graph *graph = &im->file->graphs[g];
        im->shared->var_of[g] = HONE_NEW_ARRAY(im->g->arena, int, graph->n_tensors + 1);
        if (!im->shared->var_of[g])
            tfr_fail(im, HONE_E_NOMEM, "out of memory");
        for (int i = 0; i < graph->n_ops && im->status == HONE_OK; ++i)
            find_in_op(im, g, &graph->ops[i], &cap);
    }
    im->op = &tfr_no_op;
    if (!im->shared->var_of)
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
}

/* Marks the variables of a subgraph and of those that it calls, each once. */
static void touch(const tfr_import *im, int graph, bool *touched, bool *seen, int depth) {
    if (graph < 0 || graph >= im->file->n_graphs || depth > TFR_MAX_DEPTH || seen[graph])
        return;
    const tfr_graph *g = &im->file->graphs[graph];
    seen[graph] = true;
    for (int t = 0; t < g->n_tensors; ++t) {
        int var = im->shared->var_of[graph][t];
        if (var)
            touched[var - 1] = true;
    }
    for (int i = 0; i < g->n_ops; ++i) {
        int called[2];
        tfr_flat flat = im->file->flat;
        int n = tfr_called(&flat, &g->ops[i], called);
        for (int k = 0; k < n; ++k)
            touch(im, called[k], touched, seen, depth + 1);
    }
}

void tfr_touched(tfr_import *im, int graph, const int *handles, int n, bool *touched) {
    bool *seen = HONE_NEW_ARRAY(im->g->arena, bool, im->file->n_graphs + 1);
    for (int i = 0; i < n; ++i) {
        if (handles[i])
            touched[handles[i] - 1] = true;
    }
    if (seen)
        touch(im, graph, touched, seen, 0);
    else
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
}

/* ---- values -----------------------------------------------------------------------------------
 */

bool tfr_scope_begin(tfr_import *im, tfr_scope *scope, tfr_scope *outer, hone_graph *g) {
    *scope = (tfr_scope){.outer = outer, .g = g};
    scope->var = HONE_NEW_ARRAY(g->arena, hone_value *, im->shared->n_vars + 1);
    if (!scope->var)
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
    return scope->var != NULL;
}

hone_value *tfr_capture(tfr_import *im, hone_graph *g, hone_value *v) {
    if (im->status != HONE_OK || !v)
        return NULL;
    hone_value *inner = hone_graph_fresh(g, v->name);
    if (!inner) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return NULL;
    }
    inner->outer = v;
    inner->type = v->type;
    return inner;
}

bool tfr_var_type(tfr_import *im, int var, hone_type *type) {
    const tfr_var *v = &im->shared->vars[var];
    if (v->initial) {
        *type = hone_type_of(v->initial);
        return true;
    }
    const tfr_tensor *t = v->tensor >= 0 ? &im->file->graphs[v->graph].tensors[v->tensor] : NULL;
    if (!t || t->dtype == HONE_DTYPE_NONE || t->dtype == HONE_DTYPE_STRING)
        return false;
    *type = hone_type_tensor(t->dtype, t->rank, t->dims);
    return hone_type_is_static(type);
}

/* Zeros, as LiteRT sets them: the zero point where 8 bits are quantised. */
static const hone_tensor *zeros(tfr_import *im, int var, const hone_type *type) {
    const tfr_var *v = &im->shared->vars[var];
    const tfr_tensor *like = &im->file->graphs[v->graph].tensors[v->tensor];
    int64_t count = 1;
    for (int i = 0; i < type->rank; ++i) {
        if (__builtin_mul_overflow(count, type->dims[i], &count))
            count = -1;
    }
    size_t bytes = hone_dtype_bytes(type->dtype, count);
    hone_tensor *t = HONE_NEW(im->g->arena, hone_tensor);
    void *data = count >= 0 ? hone_arena_alloc(im->g->arena, bytes + 1) : NULL;
    if (!t || !data) {
        tfr_fail(im, HONE_E_NOMEM, "state of more memory than the file's size allows");
        return NULL;
    }
    bool is_byte = !v->name && type->dtype == HONE_DTYPE_I8 && like->quant.n_scales == 1;
    memset(data, is_byte ? (int)like->quant.zero_point[0] : 0, bytes);
    *t = hone_tensor_view(type->dtype, type->rank, type->dims, data);
    return t;
}

const hone_tensor *tfr_adopt(tfr_import *im, const hone_tensor *t) {
    hone_tensor *copy = HONE_NEW(im->g->arena, hone_tensor);
    size_t bytes = t->kind == HONE_KIND_TENSOR ? hone_tensor_bytes(t) : 0;
    void *data = hone_arena_alloc(im->g->arena, bytes + 1);
    if (!copy || !data || t->kind != HONE_KIND_TENSOR || t->dtype == HONE_DTYPE_STRING) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "a first value that is text, or too large");
        return NULL;
    }
    if (bytes)
        memcpy(data, t->data, bytes);
    *copy = hone_tensor_view(t->dtype, t->rank, t->dims, data);
    return copy;
}

static hone_graph *root_of(hone_graph *g) {
    while (g->parent)
        g = g->parent;
    return g;
}

static const char *var_name(const tfr_import *im, const tfr_var *v) {
    return v->name ? v->name : im->file->graphs[v->graph].tensors[v->tensor].name;
}

/* A name that no tensor of the root graph and no other state has. */
static const char *fresh_name(tfr_import *im, const char *name, bool is_own) {
    const hone_graph *g = root_of(im->g);
    for (int n = 1; name && n < 1000; ++n) {
        bool is_taken = name[0] == '\0' || strchr(name, '#') ||
                        (!is_own && tfr_is_named(im->shared->root, name));
        for (int i = 0; i < g->n_inputs; ++i)
            is_taken = is_taken || strcmp(g->inputs[i]->name, name) == 0;
        if (!is_taken)
            return name;
        name = hone_arena_printf(im->g->arena, "state_%d", n);
        is_own = false;
    }
    return NULL;
}

static hone_value *state_input(tfr_import *im, int var) {
    tfr_var *v = &im->shared->vars[var];
    hone_graph *g = root_of(im->g);
    hone_type type;
    if (!tfr_var_type(im, var, &type)) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "variable %s: its type or shape is not known",
                 var_name(im, v));
        return NULL;
    }
    const hone_tensor *initial = v->initial ? v->initial : zeros(im, var, &type);
    bool is_own = !v->name && &im->file->graphs[v->graph] == im->shared->root->sub;
    const char *name = is_own ? im->shared->root->names[v->tensor] : var_name(im, v);
    name = initial ? fresh_name(im, name, is_own) : NULL;
    hone_value *in = name ? hone_graph_value(g, name) : NULL;
    if (!in || !HONE_PUSH(g->arena, g->inputs, g->n_inputs, g->cap_inputs, in)) {
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
        return NULL;
    }
    in->initial = initial;
    in->type = type;
    v->input = in;
    return in;
}

hone_value *tfr_var_get(tfr_import *im, tfr_scope *scope, int var) {
    if (im->status != HONE_OK)
        return NULL;
    if (scope->var[var])
        return scope->var[var];
    if (scope->is_apart)
        tfr_fail(im, HONE_E_UNSUPPORTED, "variable %s is read before it has a value",
                 var_name(im, &im->shared->vars[var]));
    else if (scope->outer)
        scope->var[var] = tfr_capture(im, scope->g, tfr_var_get(im, scope->outer, var));
    else
        scope->var[var] = state_input(im, var);
    return scope->var[var];
}

void tfr_var_set(tfr_import *im, int var, hone_value *v) {
    if (im->status == HONE_OK)
        im->scope->var[var] = v;
}

static int state_var(tfr_import *im, int k) {
    int t = k < im->op->n_in ? im->op->in[k] : -1;
    int var = t < 0 ? -1 : find_tensor(im, im->sub, t);
    if (var < 0)
        tfr_fail(im, HONE_E_FORMAT, "input %d is not a variable tensor", k);
    return var;
}

hone_value *tfr_state_in(tfr_import *im, int k) {
    int var = state_var(im, k);
    return var < 0 ? NULL : tfr_var_get(im, im->scope, var);
}

void tfr_state_out(tfr_import *im, int k, hone_value *v) {
    int var = state_var(im, k);
    if (var >= 0)
        tfr_var_set(im, var, v);
}

void tfr_finish_variables(tfr_import *im) {
    hone_graph *g = im->g;
    for (int i = 0; i < im->shared->n_vars && im->status == HONE_OK; ++i) {
        tfr_var *v = &im->shared->vars[i];
        hone_value *last = im->scope->var[i];
        if (v->input && last != v->input) {
            hone_value *next = tfr_unary(im, "Identity", last);
            const char *name = hone_arena_printf(g->arena, "%s_next", v->input->name);
            if (!next || !name)
                return;
            next->name = name;
            tfr_add_output(im, next);
            v->input->next = g->n_outputs;
        } else if (v->input) {
            v->input->constant = v->input->initial;
            v->input->initial = NULL;
        }
    }
    int n = 0;
    for (int i = 0; i < g->n_inputs; ++i) {
        if (!g->inputs[i]->constant)
            g->inputs[n++] = g->inputs[i];
    }
    g->n_inputs = n;
}

/* ---- rules ------------------------------------------------------------------------------------
 */

void tfr_build_var_handle(tfr_import *im) {
    int t = im->op->n_out > 0 ? im->op->out[0] : -1;
    if (t < 0)
        tfr_fail(im, HONE_E_FORMAT, "a handle of nothing");
    else
        im->resource[t] = im->shared->var_of[im->sub - im->file->graphs][t];
}

/* The variable that input 0 is a handle of. */
static int handle(tfr_import *im) {
    int t = im->op->n_in > 0 ? im->op->in[0] : -1;
    if (t >= 0 && im->resource[t])
        return im->resource[t] - 1;
    tfr_fail(im, HONE_E_FORMAT, "input 0 is not a handle of a variable");
    return -1;
}

void tfr_build_read_variable(tfr_import *im) {
    int var = handle(im);
    if (var >= 0)
        tfr_out_raw(im, 0, tfr_var_get(im, im->scope, var));
}

void tfr_build_assign_variable(tfr_import *im) {
    int var = handle(im);
    if (var >= 0)
        tfr_var_set(im, var, tfr_in_raw(im, 1));
}
