/* NodeProto -> hone_node, a constant, or the body of a function. */
#include <stdlib.h>
#include <string.h>

#include "onnx/reader_impl.h"

typedef struct node_parts {
    hone_string name, op, domain, overload;
    int n_in, n_out, n_attrs;
} node_parts;

static hone_status read_parts(hone_pb m, node_parts *p) {
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        switch (f.number) {
        case 1:
            p->n_in++;
            break;
        case 2:
            p->n_out++;
            break;
        case 3:
            p->name = hone_pb_string(&m, &f);
            break;
        case 4:
            p->op = hone_pb_string(&m, &f);
            break;
        case 5:
            p->n_attrs++;
            break;
        case 7:
            p->domain = hone_pb_string(&m, &f);
            break;
        case 8:
            p->overload = hone_pb_string(&m, &f);
            break;
        default:
            break;
        }
    }
    if (m.status == HONE_OK && p->n_attrs > MAX_ATTRIBUTES)
        return hone_pb_fail(&m, HONE_E_UNSUPPORTED, "a node has more than %d attributes",
                            MAX_ATTRIBUTES);
    return m.status;
}

static const char *node_name(onnx_reader *r, const onnx_scope *s, hone_string name) {
    if (!s->frame)
        return onnx_text(r, name);
    return hone_arena_printf(r->arena, "%.200s/%.*s", s->frame->prefix,
                             name.len < 200 ? (int)name.len : 200, name.data);
}

static hone_status make_node(onnx_reader *r, hone_pb *m, onnx_scope *s, const node_parts *p,
                             hone_node **out) {
    hone_node *n = HONE_NEW(r->arena, hone_node);
    *out = n;
    if (!n)
        return onnx_no_memory(m);
    n->name = node_name(r, s, p->name);
    n->origin = s->frame ? s->frame->origin : n->name;
    n->op_name = onnx_text(r, p->op);
    n->domain = onnx_text(r, p->domain);
    n->in = HONE_NEW_ARRAY(r->arena, hone_value *, p->n_in);
    n->out = HONE_NEW_ARRAY(r->arena, hone_value *, p->n_out);
    n->attrs = HONE_NEW_ARRAY(r->arena, hone_attr, p->n_attrs);
    if (!n->name || !n->op_name || !n->domain || !n->in || !n->out || !n->attrs)
        return onnx_no_memory(m);
    if (strcmp(n->domain, "ai.onnx") == 0)
        n->domain = "";
    n->opset = onnx_opset_of(r, s, n->domain);
    return HONE_OK;
}

static hone_status add_attr(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s,
                            hone_node *n) {
    hone_attr a;
    bool present;
    HONE_TRY(onnx_read_attr(r, hone_pb_sub(m, f), s, &a, &present));
    if (!present)
        return HONE_OK;
    if (hone_attr_find(n, a.name))
        return hone_pb_fail(m, HONE_E_FORMAT, "attribute '%s' is given twice", a.name);
    n->attrs[n->n_attrs++] = a;
    return HONE_OK;
}

static hone_status fill_node(onnx_reader *r, hone_pb *m, onnx_scope *s, hone_node *n) {
    hone_pb_field f;
    while (hone_pb_next(m, &f)) {
        if (f.number == 1 || f.number == 2) {
            hone_string name = hone_pb_string(m, &f);
            onnx_binding *b = NULL;
            if (name.len)
                HONE_TRY(onnx_resolve(r, m, s, name, &b));
            if (f.number == 1)
                n->in[n->n_in++] = b ? b->value : NULL;
            else
                n->out[n->n_out++] = b ? b->value : NULL;
        } else if (f.number == 5) {
            HONE_TRY(add_attr(r, m, &f, s, n));
        }
    }
    return m->status;
}

/* A tensor of n elements over memory that the attribute owns. */
static hone_tensor *attr_tensor(onnx_reader *r, hone_dtype d, int rank, int n, const void *data) {
    hone_tensor *t = HONE_NEW(r->arena, hone_tensor);
    int64_t dims[1] = {n};
    if (t)
        *t = hone_tensor_view(d, rank, dims, data);
    return t;
}

static hone_status read_constant(onnx_reader *r, hone_pb *m, hone_node *n) {
    static const char *const names[] = {"value",        "sparse_value", "value_float",
                                        "value_floats", "value_int",    "value_ints",
                                        "value_string", "value_strings"};
    const hone_attr *a = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !a; ++i)
        a = hone_attr_find(n, names[i]);
    if (!a || n->n_out != 1 || !n->out[0])
        return hone_pb_fail(m, HONE_E_FORMAT, "a Constant without a value or an output");
    const hone_tensor *t = NULL;
    switch (a->kind) {
    case HONE_ATTR_TENSOR:
        t = a->t;
        break;
    case HONE_ATTR_FLOAT:
        t = attr_tensor(r, HONE_DTYPE_F32, 0, 1, &a->f);
        break;
    case HONE_ATTR_INT:
        t = attr_tensor(r, HONE_DTYPE_I64, 0, 1, &a->i);
        break;
    case HONE_ATTR_STRING:
        t = attr_tensor(r, HONE_DTYPE_STRING, 0, 1, &a->s);
        break;
    case HONE_ATTR_FLOATS:
        t = attr_tensor(r, HONE_DTYPE_F32, 1, a->n, a->floats);
        break;
    case HONE_ATTR_INTS:
        t = attr_tensor(r, HONE_DTYPE_I64, 1, a->n, a->ints);
        break;
    case HONE_ATTR_STRINGS:
        t = attr_tensor(r, HONE_DTYPE_STRING, 1, a->n, a->strings);
        break;
    default:
        return hone_pb_fail(m, HONE_E_FORMAT, "a Constant's value is of no fitting type");
    }
    if (!t)
        return onnx_no_memory(m);
    n->out[0]->constant = t;
    n->out[0]->type = hone_type_of(t);
    return HONE_OK;
}

static hone_status place_node(onnx_reader *r, hone_pb *m, onnx_scope *s, hone_node *n,
                              onnx_function *fn) {
    if (fn)
        return onnx_inline(r, m, s, fn, n);
    if (n->domain[0] == '\0' && strcmp(n->op_name, "Constant") == 0)
        return read_constant(r, m, n);
    n->op = hone_op_find(n->domain, n->op_name);
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i])
            n->out[i]->producer = n;
    }
    return hone_graph_append(s->g, n) ? HONE_OK : onnx_no_memory(m);
}

hone_status onnx_read_node(onnx_reader *r, hone_pb m, onnx_scope *s) {
    node_parts p = {.name = {"", 0}, .op = {"", 0}, .domain = {"", 0}, .overload = {"", 0}};
    HONE_TRY(read_parts(m, &p));
    if (p.op.len == 0)
        return hone_pb_fail(&m, HONE_E_FORMAT, "a node without an operator");
    hone_node *n;
    HONE_TRY(make_node(r, &m, s, &p, &n));
    hone_status status = fill_node(r, &m, s, n);
    onnx_function *fn = NULL;
    if (status == HONE_OK && r->functions.n) {
        hone_string key = onnx_function_key(r, hone_text(n->domain), p.op, p.overload);
        if (!key.data)
            return onnx_no_memory(&m);
        fn = hone_names_get(&r->functions, key);
    }
    if (status == HONE_OK)
        status = place_node(r, &m, s, n, fn);
    return status == HONE_OK ? HONE_OK : hone_fail_node(r->err, status, n->name, n->op_name);
}
