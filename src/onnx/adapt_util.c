/* What adapters are made of. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "onnx/adapt.h"

hone_status adapt_fail(hone_adapt *a, hone_status code, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return hone_fail(a->err, code, "%s-%d: %s", a->n->op_name, a->version, text);
}

hone_status adapt_no_memory(hone_adapt *a) {
    return hone_fail(a->err, HONE_E_NOMEM, "out of memory while importing");
}

hone_status adapt_emit(hone_adapt *a, hone_node *n) {
    HONE_TRY(hone_infer_node(a->g, n, a->err));
    return HONE_PUSH(a->g->arena, a->nodes, a->n_nodes, a->cap_nodes, n) ? HONE_OK
                                                                         : adapt_no_memory(a);
}

hone_value *adapt_op(hone_adapt *a, const char *op, hone_value *const *in, int n_in) {
    hone_value *out = hone_graph_fresh(a->g, a->n->name[0] ? a->n->name : op);
    const hone_op_def *def = hone_op_find("", op);
    hone_node *n = out ? hone_node_create(a->g, def, a->n->name, in, n_in, &out, 1) : NULL;
    if (!n) {
        adapt_no_memory(a);
        return NULL;
    }
    n->op_name = op;
    n->origin = a->n->origin;
    return adapt_emit(a, n) == HONE_OK ? out : NULL;
}

hone_status adapt_set_input(hone_adapt *a, int i, hone_value *v) {
    hone_node *n = a->n;
    if (i >= n->n_in) {
        hone_value **in = HONE_NEW_ARRAY(a->g->arena, hone_value *, i + 1);
        if (!in)
            return adapt_no_memory(a);
        for (int k = 0; k < n->n_in; ++k)
            in[k] = n->in[k];
        n->in = in;
        n->n_in = i + 1;
    }
    n->in[i] = v;
    return HONE_OK;
}

hone_status adapt_ints_to_input(hone_adapt *a, const char *attr, int i) {
    const hone_attr *found = hone_attr_find(a->n, attr);
    if (!found || (i < a->n->n_in && a->n->in[i]))
        return HONE_OK;
    hone_value *v;
    if (found->kind == HONE_ATTR_INTS)
        v = hone_graph_const_i64(a->g, attr, found->ints, found->n);
    else if (found->kind == HONE_ATTR_INT)
        v = hone_graph_const_i64(a->g, attr, &found->i, 1);
    else
        return adapt_fail(a, HONE_E_FORMAT, "attribute '%s' must hold integers", attr);
    if (!v)
        return adapt_no_memory(a);
    hone_attr_remove(a->n, attr);
    return adapt_set_input(a, i, v);
}

hone_status adapt_int_input(hone_adapt *a, int i, int64_t v) {
    hone_value *c = hone_graph_const_i64(a->g, "value", &v, -1);
    return c ? adapt_set_input(a, i, c) : adapt_no_memory(a);
}

hone_status adapt_scalar_input(hone_adapt *a, int i, double v, const hone_value *like) {
    hone_dtype d = like && like->type.dtype && like->type.dtype != HONE_DTYPE_STRING
                       ? like->type.dtype
                       : HONE_DTYPE_F32;
    hone_tensor *t = HONE_NEW(a->g->arena, hone_tensor);
    void *data = hone_arena_alloc(a->g->arena, 16);
    if (!t || !data)
        return adapt_no_memory(a);
    hone_store_f64(d, data, 0, v);
    *t = hone_tensor_view(d, 0, NULL, data);
    hone_value *c = hone_graph_constant(a->g, "value", t);
    return c ? adapt_set_input(a, i, c) : adapt_no_memory(a);
}

hone_status adapt_rename(hone_adapt *a, const char *op) {
    a->n->op_name = op;
    a->n->op = hone_op_find("", op);
    return HONE_OK;
}

bool adapt_output_used(const hone_adapt *a, int i) {
    return i < a->n->n_out && a->n->out[i] && a->n->out[i]->n_uses > 0;
}

int adapt_rank(const hone_adapt *a, int i) {
    if (i >= a->n->n_in || !a->n->in[i] || a->n->in[i]->type.kind != HONE_KIND_TENSOR)
        return -1;
    return a->n->in[i]->type.rank;
}
