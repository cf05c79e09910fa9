/* FunctionProto: model-local functions, inlined where they are called. */
#include <stdlib.h>
#include <string.h>

#include "onnx/reader_impl.h"

enum { FIELD_INPUT = 4, FIELD_OUTPUT = 5, FIELD_NODE = 7, FIELD_DEFAULT = 11 };

hone_status onnx_read_function(onnx_reader *r, hone_pb m) {
    onnx_function *fn = HONE_NEW(&r->scratch, onnx_function);
    if (!fn)
        return onnx_no_memory(&m);
    fn->body = m;
    hone_string name = {"", 0}, domain = {"", 0}, overload = {"", 0};
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number == 1)
            name = hone_pb_string(&m, &f);
        else if (f.number == 9)
            HONE_TRY(onnx_read_imports(r, &m, &f, &fn->imports));
        else if (f.number == 10)
            domain = hone_pb_string(&m, &f);
        else if (f.number == 13)
            overload = hone_pb_string(&m, &f);
    }
    HONE_TRY(m.status);
    hone_string key = onnx_function_key(r, domain, name, overload);
    if (!key.data)
        return onnx_no_memory(&m);
    if (hone_names_get(&r->functions, key))
        return hone_pb_fail(&m, HONE_E_FORMAT, "function '%.*s' is defined twice",
                            name.len < 100 ? (int)name.len : 100, name.data);
    if (!hone_names_put(&r->functions, key, fn))
        return onnx_no_memory(&m);
    r->facts.n_functions++;
    return HONE_OK;
}

static hone_status bind_argument(onnx_reader *r, hone_pb *m, onnx_scope *s, hone_string name,
                                 hone_value *value, bool defined) {
    onnx_binding *b = HONE_NEW(&r->scratch, onnx_binding);
    if (!b || !hone_names_put(&s->names, name, b))
        return onnx_no_memory(m);
    *b = (onnx_binding){.value = value, .defined = defined};
    return HONE_OK;
}

/* An output that is an argument passed through becomes an Identity. */
static hone_status pass_through(onnx_reader *r, hone_pb *m, onnx_scope *s, hone_value *from,
                                hone_value *to) {
    if (!from)
        return hone_pb_fail(m, HONE_E_UNSUPPORTED, "a function passes an omitted argument through");
    hone_node *n =
        hone_node_create(s->g, hone_op_find("", "Identity"), s->frame->prefix, &from, 1, &to, 1);
    if (!n)
        return onnx_no_memory(m);
    n->op_name = "Identity";
    n->opset = onnx_opset_of(r, s, "");
    n->origin = s->frame->origin;
    return hone_graph_append(s->g, n) ? HONE_OK : onnx_no_memory(m);
}

static hone_status bind_outputs(onnx_reader *r, hone_pb m, onnx_scope *s, const hone_node *call) {
    hone_pb_field f;
    int i = 0;
    while (hone_pb_next(&m, &f)) {
        if (f.number != FIELD_OUTPUT)
            continue;
        hone_string name = hone_pb_string(&m, &f);
        hone_value *value = i < call->n_out ? call->out[i] : NULL;
        ++i;
        const onnx_binding *b = hone_names_get(&s->names, name);
        if (!value)
            continue; /* unused outside: an inner value like any other */
        HONE_TRY(b ? pass_through(r, &m, s, b->value, value)
                   : bind_argument(r, &m, s, name, value, false));
    }
    if (m.status == HONE_OK && call->n_out > i)
        return hone_pb_fail(&m, HONE_E_FORMAT, "a call takes %d outputs of a function that has %d",
                            call->n_out, i);
    return m.status;
}

static hone_status bind_inputs(onnx_reader *r, hone_pb m, onnx_scope *s, const hone_node *call) {
    hone_pb_field f;
    int i = 0;
    while (hone_pb_next(&m, &f)) {
        if (f.number != FIELD_INPUT)
            continue;
        hone_value *value = i < call->n_in ? call->in[i] : NULL;
        ++i;
        hone_string name = hone_pb_string(&m, &f);
        if (hone_names_get(&s->names, name))
            return hone_pb_fail(&m, HONE_E_FORMAT, "a function names an argument twice");
        HONE_TRY(bind_argument(r, &m, s, name, value, true));
    }
    if (m.status == HONE_OK && call->n_in > i)
        return hone_pb_fail(&m, HONE_E_FORMAT, "a call gives %d inputs to a function that has %d",
                            call->n_in, i);
    return m.status;
}

static hone_status read_defaults(onnx_reader *r, hone_pb m, onnx_scope *s, onnx_frame *frame) {
    onnx_scope plain = *s; /* defaults see no frame */
    plain.frame = NULL;
    hone_attr *list = NULL;
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number != FIELD_DEFAULT)
            continue;
        hone_attr a;
        bool present;
        HONE_TRY(onnx_read_attr(r, hone_pb_sub(&m, &f), &plain, &a, &present));
        if (!HONE_PUSH(&r->scratch, list, frame->n_missing, frame->cap_missing, a))
            return onnx_no_memory(&m);
    }
    frame->missing = list;
    return m.status;
}

/* Every output that the caller takes must have been produced. */
static hone_status check_outputs(hone_pb m, const onnx_scope *s) {
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number != FIELD_OUTPUT)
            continue;
        hone_string name = hone_pb_string(&m, &f);
        const onnx_binding *b = hone_names_get(&s->names, name);
        if (!b || !b->defined)
            return hone_pb_fail(&m, HONE_E_FORMAT, "a function does not produce its output '%.*s'",
                                name.len < 100 ? (int)name.len : 100, name.data);
    }
    return m.status;
}

static hone_status read_body(onnx_reader *r, hone_pb body, onnx_scope *s) {
    hone_pb m = body;
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number == FIELD_NODE)
            HONE_TRY(onnx_declare_outputs(r, hone_pb_sub(&m, &f), s));
    }
    HONE_TRY(m.status);
    HONE_TRY(check_outputs(body, s));
    m = body;
    while (hone_pb_next(&m, &f)) {
        if (f.number == FIELD_NODE)
            HONE_TRY(onnx_read_node(r, hone_pb_sub(&m, &f), s));
    }
    return m.status;
}

hone_status onnx_inline(onnx_reader *r, hone_pb *at, onnx_scope *s, onnx_function *fn,
                        hone_node *call) {
    if (fn->active)
        return hone_pb_fail(at, HONE_E_FORMAT, "function '%s' calls itself", call->op_name);
    if (r->nesting >= MAX_NESTING)
        return hone_pb_fail(at, HONE_E_UNSUPPORTED, "functions nested deeper than %d", MAX_NESTING);
    onnx_frame frame = {.function = fn,
                        .call = call,
                        .prefix = call->name[0] ? call->name : call->op_name,
                        .origin = call->origin};
    onnx_scope inner = {
        .g = s->g, .frame = &frame, .names = {.arena = &r->scratch}, .is_function = true};
    fn->active = true;
    r->nesting++;
    HONE_TRY(read_defaults(r, fn->body, &inner, &frame));
    HONE_TRY(bind_inputs(r, fn->body, &inner, call));
    HONE_TRY(bind_outputs(r, fn->body, &inner, call));
    HONE_TRY(read_body(r, fn->body, &inner));
    r->nesting--;
    fn->active = false;
    return HONE_OK;
}
