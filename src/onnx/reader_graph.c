/* GraphProto -> hone_graph: names, scopes and captures. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/reader_impl.h"

enum { NODE = 1, NAME = 2, INITIALIZER = 5, INPUT = 11, OUTPUT = 12, VALUE_INFO = 13, SPARSE = 15 };

/* Part of a name that fits an error message. */
static int shown(hone_string s) {
    return s.len < 120 ? (int)s.len : 120;
}

static onnx_binding *bind(onnx_reader *r, onnx_scope *s, hone_string name, hone_value *value,
                          bool defined) {
    onnx_binding *b = HONE_NEW(&r->scratch, onnx_binding);
    if (!b || !hone_names_put(&s->names, name, b))
        return NULL;
    *b = (onnx_binding){.value = value, .defined = defined};
    return b;
}

/* hone_graph_fresh makes names "<base>#<n>": keep its counter beyond those of the file. */
static void skip_fresh(hone_graph *g, hone_string name) {
    size_t at = name.len;
    while (at > 0 && name.data[at - 1] >= '0' && name.data[at - 1] <= '9')
        --at;
    if (at == 0 || at == name.len || name.data[at - 1] != '#' || name.len - at > 8)
        return;
    int n = 0;
    for (; at < name.len; ++at)
        n = n * 10 + (name.data[at] - '0');
    if (g->fresh <= n)
        g->fresh = n + 1;
}

static hone_value *new_value(onnx_reader *r, onnx_scope *s, hone_string name) {
    const char *text = hone_arena_strdup(&r->scratch, name.data, name.len);
    if (!text)
        return NULL;
    if (s->is_function)
        return hone_graph_fresh(s->g, text);
    skip_fresh(s->g, name);
    return hone_graph_value(s->g, text);
}

hone_status onnx_declare(onnx_reader *r, hone_pb *at, onnx_scope *s, hone_string name,
                         hone_value *value) {
    if (memchr(name.data, '\0', name.len))
        return hone_pb_fail(at, HONE_E_FORMAT, "a value name contains a NUL character");
    onnx_binding *b = hone_names_get(&s->names, name);
    if (b && b->defined)
        return hone_pb_fail(at, HONE_E_FORMAT, "value '%.*s' is defined more than once",
                            shown(name), name.data);
    if (b && !b->value)
        return hone_pb_fail(at, HONE_E_FORMAT, "value '%.*s' is an argument and an output",
                            shown(name), name.data);
    if (b) { /* a function's output, bound by the caller */
        b->defined = true;
        return HONE_OK;
    }
    if (!value)
        value = new_value(r, s, name);
    if (!value || !bind(r, s, name, value, true))
        return onnx_no_memory(at);
    return HONE_OK;
}

/* A value of the enclosing graph becomes visible in this one. */
static onnx_binding *capture(onnx_reader *r, onnx_scope *s, hone_string name,
                             const onnx_binding *outer) {
    if (!outer->value)
        return bind(r, s, name, NULL, true);
    hone_value *v = new_value(r, s, name);
    if (!v)
        return NULL;
    v->outer = outer->value;
    v->type = outer->value->type;
    return bind(r, s, name, v, true);
}

static onnx_binding *lookup(onnx_reader *r, onnx_scope *s, hone_string name) {
    /* The scope that has the name, then captures on the way back in. Depth is limited. */
    onnx_scope *path[MAX_NESTING + 2];
    int n = 0;
    onnx_binding *b = NULL;
    for (; s && n < MAX_NESTING + 2; s = s->parent) {
        b = hone_names_get(&s->names, name);
        if (b)
            break;
        path[n++] = s;
    }
    while (b && n > 0)
        b = capture(r, path[--n], name, b);
    return b;
}

hone_status onnx_resolve(onnx_reader *r, hone_pb *at, onnx_scope *s, hone_string name,
                         onnx_binding **out) {
    *out = lookup(r, s, name);
    if (!*out)
        return hone_pb_fail(at, HONE_E_FORMAT, "value '%.*s' is not defined anywhere", shown(name),
                            name.data);
    return HONE_OK;
}

hone_status onnx_declare_outputs(onnx_reader *r, hone_pb node, onnx_scope *s) {
    hone_pb_field f;
    while (hone_pb_next(&node, &f)) {
        if (f.number != 2)
            continue;
        hone_string name = hone_pb_string(&node, &f);
        if (name.len)
            HONE_TRY(onnx_declare(r, &node, s, name, NULL));
    }
    return node.status;
}

static hone_status read_input(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s) {
    hone_string name;
    hone_type type;
    HONE_TRY(onnx_read_value_info(r, s->g, hone_pb_sub(m, f), &name, &type));
    if (name.len == 0)
        return hone_pb_fail(m, HONE_E_FORMAT, "a graph input has no name");
    HONE_TRY(onnx_declare(r, m, s, name, NULL));
    onnx_binding *b = hone_names_get(&s->names, name);
    b->value->type = type;
    b->input = true;
    hone_graph *g = s->g;
    if (!HONE_PUSH(g->arena, g->inputs, g->n_inputs, g->cap_inputs, b->value))
        return onnx_no_memory(m);
    return HONE_OK;
}

static hone_status read_initializer(onnx_reader *r, hone_pb *m, const hone_pb_field *f,
                                    onnx_scope *s) {
    hone_tensor *t = HONE_NEW(r->arena, hone_tensor);
    if (!t)
        return onnx_no_memory(m);
    hone_string name = {"", 0};
    hone_pb sub = hone_pb_sub(m, f);
    HONE_TRY(f->number == SPARSE ? hone_onnx_sparse_tensor(&r->source, sub, t, &name)
                                 : hone_onnx_tensor(&r->source, sub, t, &name));
    if (name.len == 0)
        return hone_pb_fail(m, HONE_E_FORMAT, "an initializer has no name");
    onnx_binding *b = hone_names_get(&s->names, name);
    bool input = b && b->input;
    if (input && (b->value->initial || b->value->constant))
        return hone_pb_fail(m, HONE_E_FORMAT, "two initializers are named '%.*s'", shown(name),
                            name.data);
    if (!input) {
        HONE_TRY(onnx_declare(r, m, s, name, NULL));
        b = hone_names_get(&s->names, name);
    }
    if (input && r->facts.ir_version >= 4) {
        b->value->initial = t;
        return HONE_OK;
    }
    b->value->constant = t; /* IR < 4: every initializer is an input, and constant */
    b->value->type = hone_type_of(t);
    return HONE_OK;
}

/* Inputs that turned out to be constants leave the list. */
static void drop_constant_inputs(hone_graph *g) {
    int n = 0;
    for (int i = 0; i < g->n_inputs; ++i) {
        if (!g->inputs[i]->constant)
            g->inputs[n++] = g->inputs[i];
    }
    g->n_inputs = n;
}

static hone_status read_annotation(onnx_reader *r, hone_pb *m, const hone_pb_field *f,
                                   onnx_scope *s) {
    hone_string name;
    hone_type type;
    HONE_TRY(onnx_read_value_info(r, s->g, hone_pb_sub(m, f), &name, &type));
    onnx_binding *b = hone_names_get(&s->names, name);
    if (b && b->value && !b->value->constant && b->value->type.kind == HONE_KIND_NONE)
        b->value->type = type;
    return HONE_OK;
}

static hone_status read_output(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s) {
    hone_string name;
    hone_type type;
    HONE_TRY(onnx_read_value_info(r, s->g, hone_pb_sub(m, f), &name, &type));
    onnx_binding *b;
    hone_graph *g = s->g;
    HONE_TRY(onnx_resolve(r, m, s, name, &b));
    if (!b->value)
        return hone_pb_fail(m, HONE_E_UNSUPPORTED, "an omitted argument as a graph output");
    if (b->value->type.kind == HONE_KIND_NONE)
        b->value->type = type;
    if (!HONE_PUSH(g->arena, g->outputs, g->n_outputs, g->cap_outputs, b->value))
        return onnx_no_memory(m);
    return HONE_OK;
}

typedef hone_status (*field_fn)(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s);

static hone_status declare_node(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s) {
    return onnx_declare_outputs(r, hone_pb_sub(m, f), s);
}

static hone_status read_node(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s) {
    return onnx_read_node(r, hone_pb_sub(m, f), s);
}

static hone_status read_name(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s) {
    s->g->name = onnx_text(r, hone_pb_string(m, f));
    return s->g->name ? m->status : onnx_no_memory(m);
}

hone_status onnx_read_graph(onnx_reader *r, onnx_scope *parent, const onnx_frame *frame, hone_pb m,
                            hone_graph *g) {
    /* Fields come in any order in the file, but mean something in this one only. */
    static const struct {
        uint32_t field;
        field_fn fn;
    } walks[] = {
        {NAME, read_name},
        {INPUT, read_input},
        {INITIALIZER, read_initializer},
        {SPARSE, read_initializer},
        {NODE, declare_node},
        {OUTPUT, read_output},
        {VALUE_INFO, read_annotation},
        {NODE, read_node},
    };
    if (r->nesting >= MAX_NESTING)
        return hone_pb_fail(&m, HONE_E_UNSUPPORTED, "graphs nested deeper than %d", MAX_NESTING);
    r->nesting++;
    onnx_scope s = {.parent = parent, .g = g, .frame = frame, .names = {.arena = &r->scratch}};
    for (size_t i = 0; i < sizeof walks / sizeof walks[0]; ++i) {
        hone_pb walk = m;
        hone_pb_field f;
        while (hone_pb_next(&walk, &f)) {
            if (f.number == walks[i].field)
                HONE_TRY(walks[i].fn(r, &walk, &f, &s));
        }
        HONE_TRY(walk.status);
        if (walks[i].field == SPARSE)
            drop_constant_inputs(g);
    }
    r->nesting--;
    return hone_graph_sort(g, r->err);
}
