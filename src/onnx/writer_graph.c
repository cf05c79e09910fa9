/* Graphs, nodes and attributes. Field numbers are those of onnx.proto. */
#include <stdio.h>
#include <string.h>

#include "onnx/tensor_pb.h"
#include "onnx/writer_impl.h"

static hone_status write_attr(onnx_writer *w, const hone_graph *g, const hone_attr *a);

static hone_status write_value_info(onnx_writer *w, const hone_graph *g, uint32_t field,
                                    const char *name, const hone_type *type) {
    hone_pbw_begin(&w->w, field);
    hone_pbw_text(&w->w, 1, name);
    HONE_TRY(onnx_write_type(w, g, 2, type));
    hone_pbw_end(&w->w);
    return HONE_OK;
}

static void write_tensor(onnx_writer *w, uint32_t field, const hone_tensor *t) {
    hone_pbw_begin(&w->w, field);
    hone_tensor_to_pb(&w->w, t, "");
    hone_pbw_end(&w->w);
}

static hone_status write_subgraph(onnx_writer *w, uint32_t field, const hone_graph *sub) {
    hone_pbw_begin(&w->w, field);
    HONE_TRY(onnx_name_values(w, sub));
    HONE_TRY(onnx_write_graph(w, sub));
    hone_pbw_end(&w->w);
    return HONE_OK;
}

static hone_status write_attr_value(onnx_writer *w, const hone_graph *g, const hone_attr *a) {
    hone_pbw *p = &w->w;
    switch (a->kind) {
    case HONE_ATTR_FLOAT:
        hone_pbw_float(p, 2, a->f);
        break;
    case HONE_ATTR_INT:
        hone_pbw_int(p, 3, a->i);
        break;
    case HONE_ATTR_STRING:
        hone_pbw_bytes(p, 4, a->s.data, a->s.len);
        break;
    case HONE_ATTR_TENSOR:
        write_tensor(w, 5, a->t);
        break;
    case HONE_ATTR_GRAPH:
        return write_subgraph(w, 6, a->g);
    case HONE_ATTR_FLOATS:
        for (int i = 0; i < a->n; ++i) /* not packed: the schema says so */
            hone_pbw_float(p, 7, a->floats[i]);
        break;
    case HONE_ATTR_INTS:
        for (int i = 0; i < a->n; ++i)
            hone_pbw_int(p, 8, a->ints[i]);
        break;
    case HONE_ATTR_STRINGS:
        for (int i = 0; i < a->n; ++i)
            hone_pbw_bytes(p, 9, a->strings[i].data, a->strings[i].len);
        break;
    case HONE_ATTR_TENSORS:
        for (int i = 0; i < a->n; ++i)
            write_tensor(w, 10, a->tensors[i]);
        break;
    case HONE_ATTR_GRAPHS:
        for (int i = 0; i < a->n; ++i)
            HONE_TRY(write_subgraph(w, 11, a->graphs[i]));
        break;
    case HONE_ATTR_TYPE:
        return onnx_write_type(w, g, 14, a->type);
    }
    return HONE_OK;
}

static hone_status write_attr(onnx_writer *w, const hone_graph *g, const hone_attr *a) {
    hone_pbw_begin(&w->w, 5);
    hone_pbw_text(&w->w, 1, a->name);
    hone_pbw_int(&w->w, 20, (int64_t)a->kind);
    HONE_TRY(write_attr_value(w, g, a));
    hone_pbw_end(&w->w);
    return HONE_OK;
}

static void write_plain_node(onnx_writer *w, const char *op, const char *in0, const char *in1,
                             const char *out, int64_t axis) {
    hone_pbw *p = &w->w;
    hone_pbw_begin(p, 1);
    hone_pbw_text(p, 1, in0);
    if (in1)
        hone_pbw_text(p, 1, in1);
    hone_pbw_text(p, 2, out);
    hone_pbw_text(p, 4, op);
    if (axis != INT64_MIN) {
        hone_pbw_begin(p, 5);
        hone_pbw_text(p, 1, "axis");
        hone_pbw_int(p, 3, axis);
        hone_pbw_int(p, 20, HONE_ATTR_INT);
        hone_pbw_end(p);
    }
    hone_pbw_end(p);
}

/* Softmax and its like as they were up to opset 12: on a matrix, and back to the shape. */
static hone_status write_flattened(onnx_writer *w, const hone_node *n) {
    const char *shape = onnx_fresh_name(w, "shape"), *flat = onnx_fresh_name(w, "flat");
    const char *rows = onnx_fresh_name(w, "rows");
    if (!shape || !flat || !rows)
        return hone_fail(w->err, HONE_E_NOMEM, "out of memory while writing");
    const char *in = onnx_name_of(w, n->in[0]), *out = onnx_name_of(w, n->out[0]);
    write_plain_node(w, "Shape", in, NULL, shape, INT64_MIN);
    write_plain_node(w, "Flatten", in, NULL, flat, hone_attr_int(n, "axis", 1));
    write_plain_node(w, n->op_name, flat, NULL, rows, -1);
    write_plain_node(w, "Reshape", rows, shape, out, INT64_MIN);
    return HONE_OK;
}

static int trimmed(hone_value *const *list, int n) {
    while (n > 0 && !list[n - 1])
        --n;
    return n;
}

/* Node names may be missing, but ONNX Runtime wants no two equal. */
static hone_status write_node_name(onnx_writer *w, const hone_node *n) {
    const char *name = n->name;
    while (name[0] && hone_names_get(&w->nodes, hone_text(name))) {
        name = hone_arena_printf(&w->arena, "%.200s_%d", n->name, w->fresh++);
        if (!name)
            break;
    }
    if (!name || (name[0] && !hone_names_put(&w->nodes, hone_text(name), w)))
        return hone_fail(w->err, HONE_E_NOMEM, "out of memory while writing");
    if (name[0])
        hone_pbw_text(&w->w, 3, name);
    return HONE_OK;
}

static hone_status write_node(onnx_writer *w, const hone_graph *g, const hone_node *n) {
    if (strcmp(n->domain, "hone") == 0 || hone_attr_int(n, "hone_scan8", 0)) {
        hone_fail(w->err, HONE_E_UNSUPPORTED, "%s has no ONNX form", n->op_name);
        return hone_fail_node(w->err, HONE_E_UNSUPPORTED, n->name, n->op_name);
    }
    if (hone_attr_int(n, "hone_flatten", 0) && n->n_in == 1 && n->n_out == 1)
        return write_flattened(w, n);
    hone_pbw *p = &w->w;
    hone_pbw_begin(p, 1);
    for (int i = 0, count = trimmed(n->in, n->n_in); i < count; ++i)
        hone_pbw_text(p, 1, n->in[i] ? onnx_name_of(w, n->in[i]) : "");
    for (int i = 0, count = trimmed(n->out, n->n_out); i < count; ++i)
        hone_pbw_text(p, 2, n->out[i] ? onnx_name_of(w, n->out[i]) : "");
    HONE_TRY(write_node_name(w, n));
    hone_pbw_text(p, 4, n->op_name);
    for (int i = 0; i < n->n_attrs; ++i) {
        if (strncmp(n->attrs[i].name, "hone_", 5) != 0)
            HONE_TRY(write_attr(w, g, &n->attrs[i]));
    }
    if (n->domain[0])
        hone_pbw_text(p, 7, n->domain);
    hone_pbw_end(p);
    return HONE_OK;
}

/* An output must be a value of this graph, once. */
static bool needs_copy(const hone_graph *g, int i) {
    const hone_value *v = g->outputs[i];
    if (v->outer)
        return true;
    for (int k = 0; k < i; ++k) {
        if (g->outputs[k] == v)
            return true;
    }
    return false;
}

static hone_status write_outputs(onnx_writer *w, const hone_graph *g) {
    for (int i = 0; i < g->n_outputs; ++i) {
        const hone_value *v = g->outputs[i];
        const char *name = onnx_name_of(w, v);
        if (needs_copy(g, i)) {
            const char *copy = onnx_fresh_name(w, v->name);
            if (!copy)
                return hone_fail(w->err, HONE_E_NOMEM, "out of memory while writing");
            write_plain_node(w, "Identity", name, NULL, copy, INT64_MIN);
            name = copy;
        }
        HONE_TRY(write_value_info(w, g, 12, name, &v->type));
    }
    return HONE_OK;
}

hone_status onnx_write_graph(onnx_writer *w, const hone_graph *g) {
    for (int i = 0; i < g->n_nodes; ++i)
        HONE_TRY(write_node(w, g, g->nodes[i]));
    hone_pbw_text(&w->w, 2, g->name && g->name[0] ? g->name : "graph");
    for (int i = 0; i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        const hone_tensor *t = v->initial ? v->initial : v->constant;
        if (t && !v->outer && t->kind == HONE_KIND_TENSOR)
            HONE_TRY(onnx_write_initializer(w, t, onnx_name_of(w, v)));
    }
    for (int i = 0; i < g->n_inputs; ++i)
        HONE_TRY(write_value_info(w, g, 11, onnx_name_of(w, g->inputs[i]), &g->inputs[i]->type));
    return write_outputs(w, g);
}
