/* One graph: its nodes one after the other, its outputs, and what is left out of it. */
#include "tflite/convert_graph.h"

#include <string.h>

#include "tflite/legal_ops.h"
#include "tflite/quant.h"
#include "tflite/versions.h"

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

bool tfl_check_value(tfl_legal *l, const hone_node *n, const hone_value *v) {
    char text[200];
    const hone_type *t = &v->type;
    if (t->kind == HONE_KIND_TENSOR && t->rank >= 0 && t->rank <= TFL_MAX_RANK &&
        tfl_type_of(t->dtype) >= 0)
        return true;
    const char *described = hone_type_describe(l->graph, t, text, sizeof text);
    if (t->kind == HONE_KIND_SEQUENCE || t->kind == HONE_KIND_MAP)
        tfl_refuse(l, n, "no-tensor", "hand tensors on, one for each element", "%s is %s", v->name,
                   described);
    else if (t->dtype && tfl_type_of(t->dtype) < 0)
        tfl_refuse(l, n, "unsupported-type",
                   "insert a Cast to float or an integer type in the model", "%s is %s", v->name,
                   described);
    else
        tfl_refuse(l, n, "unknown-shape", "fix the dims of the inputs with --shape", "%s is %s",
                   v->name, described);
    return false;
}

static bool check_node(tfl_legal *l, const hone_node *n) {
    for (int i = 0; i < n->n_in + n->n_out; ++i) {
        const hone_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        bool is_dequantised_here = v && v->constant && strcmp(n->op_name, "DequantizeLinear") == 0;
        if (v && !is_dequantised_here && !tfl_check_value(l, n, v))
            return false;
    }
    return true;
}

/* The functions make the first outputs; few have forms of the others. */
static void check_outputs(tfl_legal *l, const hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        const hone_value *v = n->out[i];
        bool is_made =
            !v || v->n_uses == 0 || v->constant || l->forms[v->id] || l->stored[v->id].in;
        if (!is_made)
            tfl_refuse(l, n, "unsupported-form", "do not use this output",
                       "output %s has no equivalent", v->name);
    }
}

/* True: refused. */
static bool refuse_open(tfl_legal *l, const hone_node *n) {
    if (l->is_too_open && !l->is_refused)
        tfl_refuse(l, n, "dynamic-size", "fix the dims of the inputs with --shape",
                   "several dims of a shape are not known");
    return l->is_too_open;
}

static void convert_node(tfl_legal *l, const hone_node *n) {
    tfl_legal_fn fn = tfl_legal_find(n);
    l->is_refused = l->is_too_open = false;
    if (!check_node(l, n) || !tfl_quant_enter(l, n))
        return;
    if (fn)
        fn(l, n);
    else
        tfl_refuse(l, n, "no-equivalent", "replace the operator in the model",
                   "TensorFlow Lite has no equivalent, or hone does not know how to write it");
    if (!refuse_open(l, n) && !l->is_refused && !l->is_out_of_memory)
        check_outputs(l, n);
    tfl_quant_leave(l);
}

void tfl_graph_begin(tfl_legal *l) {
    size_t n_values = (size_t)l->graph->n_values + 1;
    l->forms = tfl_alloc(l, n_values, sizeof *l->forms);
    l->stored = tfl_alloc(l, n_values, sizeof *l->stored);
    l->reader = tfl_alloc(l, n_values, sizeof *l->reader);
    if (!l->is_out_of_memory)
        tfl_quant_find(l);
}

void tfl_graph_nodes(tfl_legal *l) {
    for (int i = 0; i < l->graph->n_nodes && !l->is_out_of_memory; ++i)
        convert_node(l, l->graph->nodes[i]);
}

/* ---- outputs ----------------------------------------------------------------------------------
 */

static bool is_listed(const int *list, int n, int x) {
    for (int i = 0; i < n; ++i) {
        if (list[i] == x)
            return true;
    }
    return false;
}

/* The same numbers in a tensor of its own. RESHAPE takes one open dim. */
static int copied(tfl_legal *l, int tensor) {
    const tfl_tensor t = l->model.tensors[tensor];
    int32_t begin[TFL_MAX_RANK] = {0}, size[TFL_MAX_RANK];
    int n_open = 0;
    for (int i = 0; i < t.rank; ++i) {
        size[i] = -1;
        n_open += t.dims[i] < 0;
    }
    if (n_open < 2)
        return tfl_reshape(l, tensor, t.rank, t.dims);
    int out = tfl_like(l, tensor);
    int in[3] = {tensor, tfl_const_i32s(l, begin, t.rank), tfl_const_i32s(l, size, t.rank)};
    tfl_op(l, TFL_SLICE, in, 3, out);
    return out;
}

int tfl_graph_output(tfl_legal *l, const hone_value *v, const int *perm, int n_done) {
    static const hone_node none = {.name = "", .op_name = "", .domain = ""};
    l->is_too_open = false;
    int t = tfl_take(l, v, perm);
    const tfl_model *m = &l->model;
    if (t < 0 || refuse_open(l, &none))
        return t;
    if (m->tensors[t].producer < 0 || is_listed(m->outputs, n_done, t))
        t = copied(l, t);
    if (t >= 0)
        l->model.tensors[t].name = v->name;
    return t;
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

void tfl_graph_finish(tfl_legal *l) {
    drop_unused(l);
    for (int i = 0; i < l->model.n_operators && !l->is_out_of_memory; ++i)
        l->model.operators[i].version = tfl_operator_version(&l->model, &l->model.operators[i]);
}
