/* Names in an ONNX file that the reader refuses: it stops at the first one, this lists them all.
 *
 * Field numbers are those of onnx.proto: ModelProto, GraphProto, NodeProto, AttributeProto. */
#include <string.h>

#include "engine/check.h"
#include "onnx/names.h"
#include "onnx/wire.h"

enum { MAX_DEPTH = 32 };

enum {
    MODEL_GRAPH = 7,
    GRAPH_NODE = 1,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    GRAPH_SPARSE = 15,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP = 4,
    NODE_ATTRIBUTE = 5,
    ATTRIBUTE_GRAPH = 6,
    ATTRIBUTE_GRAPHS = 11,
    TENSOR_NAME = 8,
    SPARSE_VALUES = 1,
    VALUE_INFO_NAME = 1,
};

#define CURE_UNDEFINED "correct the name in the node, or put back the node or weight that gives it"
#define CURE_TWICE     "give one of the two another name"

typedef struct scope {
    const struct scope *parent;
    hone_names names;
    hone_findings *f;
    int depth;
} scope;

static bool is_defined(const scope *s, hone_string name) {
    for (; s; s = s->parent) {
        if (hone_names_get(&s->names, name))
            return true;
    }
    return false;
}

/* The bytes of the last field `number` of a message; empty when there is none. */
static hone_string field_text(hone_pb m, uint32_t number) {
    hone_string found = {"", 0};
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number == number && f.wire == HONE_PB_BYTES)
            found = (hone_string){(const char *)f.bytes, f.n_bytes};
    }
    return found;
}

static const char *copy_text(hone_findings *f, hone_string s) {
    const char *text = hone_arena_strdup(&f->arena, s.data, s.len < 200 ? s.len : 200);
    return text ? text : "";
}

static void report(scope *s, const hone_pb *node, hone_string name, bool is_twice) {
    const char *value = copy_text(s->f, name);
    const char *label = node ? copy_text(s->f, field_text(*node, NODE_NAME)) : "";
    const char *op = node ? copy_text(s->f, field_text(*node, NODE_OP)) : "";
    if (is_twice)
        hone_findings_add(s->f, HONE_ERROR, "defined-twice", label, op, CURE_TWICE,
                          "value '%s' is defined more than once", value);
    else
        hone_findings_add(s->f, HONE_ERROR, "undefined-value", label, op, CURE_UNDEFINED,
                          "value '%s' is not defined anywhere", value);
}

static void define(scope *s, const hone_pb *node, hone_string name) {
    static char mark;
    if (name.len == 0)
        return;
    if (hone_names_get(&s->names, name))
        report(s, node, name, true);
    else if (!hone_names_put(&s->names, name, &mark))
        return; /* out of memory: the reader's own finding stands */
}

static void define_all(scope *s, hone_pb graph) {
    hone_pb_field f;
    while (hone_pb_next(&graph, &f)) {
        hone_pb sub = hone_pb_sub(&graph, &f);
        if (f.number == GRAPH_INPUT) {
            define(s, NULL, field_text(sub, VALUE_INFO_NAME));
        } else if (f.number == GRAPH_NODE) {
            hone_pb node = sub;
            hone_pb_field part;
            while (hone_pb_next(&node, &part)) {
                if (part.number == NODE_OUTPUT)
                    define(s, &sub, hone_pb_string(&node, &part));
            }
        }
    }
}

/* After all others: an initializer may be an input's default. */
static void define_initializers(scope *s, hone_pb graph) {
    static char mark;
    hone_pb_field f;
    while (hone_pb_next(&graph, &f)) {
        hone_pb sub = hone_pb_sub(&graph, &f);
        hone_string name = {"", 0};
        if (f.number == GRAPH_INITIALIZER)
            name = field_text(sub, TENSOR_NAME);
        else if (f.number == GRAPH_SPARSE) {
            hone_string values = field_text(sub, SPARSE_VALUES);
            hone_pb inner = sub;
            inner.at = (const uint8_t *)values.data;
            inner.end = inner.at + values.len;
            name = values.len ? field_text(inner, TENSOR_NAME) : name;
        }
        if (name.len && !hone_names_put(&s->names, name, &mark))
            return;
    }
}

static void check_graph(const scope *parent, hone_findings *f, hone_pb graph, int depth);

static void check_attribute(const scope *s, hone_pb attribute) {
    hone_pb_field f;
    while (hone_pb_next(&attribute, &f)) {
        if (f.number == ATTRIBUTE_GRAPH || f.number == ATTRIBUTE_GRAPHS)
            check_graph(s, s->f, hone_pb_sub(&attribute, &f), s->depth + 1);
    }
}

static void check_node(scope *s, hone_pb node) {
    hone_pb walk = node;
    hone_pb_field f;
    while (hone_pb_next(&walk, &f)) {
        if (f.number == NODE_INPUT) {
            hone_string name = hone_pb_string(&walk, &f);
            if (name.len && !is_defined(s, name))
                report(s, &node, name, false);
        } else if (f.number == NODE_ATTRIBUTE) {
            check_attribute(s, hone_pb_sub(&walk, &f));
        }
    }
}

static void check_graph(const scope *parent, hone_findings *f, hone_pb graph, int depth) {
    scope s = {.parent = parent, .names = {.arena = &f->arena}, .f = f, .depth = depth};
    hone_pb_field field;
    if (depth > MAX_DEPTH)
        return;
    define_all(&s, graph);
    define_initializers(&s, graph);
    while (hone_pb_next(&graph, &field)) {
        if (field.number == GRAPH_NODE)
            check_node(&s, hone_pb_sub(&graph, &field));
        if (field.number == GRAPH_OUTPUT) {
            hone_string name = field_text(hone_pb_sub(&graph, &field), VALUE_INFO_NAME);
            if (name.len && !is_defined(&s, name))
                report(&s, NULL, name, false);
        }
    }
}

void hone_check_names(const uint8_t *bytes, size_t n, hone_findings *f) {
    hone_error ignored;
    hone_pb model;
    hone_pb_field field;
    hone_pb_init(&model, bytes, n, &ignored);
    while (hone_pb_next(&model, &field)) {
        if (field.number == MODEL_GRAPH)
            check_graph(NULL, f, hone_pb_sub(&model, &field), 0);
    }
}
