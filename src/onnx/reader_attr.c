/* AttributeProto -> hone_attr. */
#include <stdlib.h>
#include <string.h>

#include "onnx/reader_impl.h"

enum { KIND_SPARSE_TENSOR = 11, KIND_SPARSE_TENSORS = 12, KIND_TYPES = 14 };

/* What the fields hold, before the kind is settled. */
typedef struct attr_parts {
    hone_string name, reference;
    int kind;           /* as declared, 0 when not */
    int found;          /* by the fields present */
    bool conflict;      /* fields of two kinds */
    hone_pb_field last; /* of a singular kind */
    int64_t n;          /* elements of a plural kind */
} attr_parts;

static int kind_of_field(uint32_t field) {
    switch (field) {
    case 2: /* f, i, s, t, g */
    case 3:
    case 4:
    case 5:
    case 6:
        return (int)field - 1;
    case 7: /* floats, ints, strings, tensors, graphs */
    case 8:
    case 9:
    case 10:
    case 11:
        return (int)field - 1;
    case 14:
        return HONE_ATTR_TYPE;
    case 15:
        return KIND_TYPES;
    case 22:
        return KIND_SPARSE_TENSOR;
    case 23:
        return KIND_SPARSE_TENSORS;
    default:
        return 0;
    }
}

static void note_value(hone_pb *m, const hone_pb_field *f, int kind, attr_parts *p) {
    p->conflict = p->conflict || (p->found && p->found != kind);
    p->found = kind;
    p->last = *f;
    int64_t n = 1;
    if (kind == HONE_ATTR_FLOATS)
        n = hone_pb_count(m, f, HONE_PB_FIXED32);
    else if (kind == HONE_ATTR_INTS)
        n = hone_pb_count(m, f, HONE_PB_VARINT);
    if (n > 0)
        p->n += n;
}

static hone_status read_parts(hone_pb *m, attr_parts *p) {
    hone_pb_field f;
    while (hone_pb_next(m, &f)) {
        int kind = kind_of_field(f.number);
        if (kind)
            note_value(m, &f, kind, p);
        else if (f.number == 1)
            p->name = hone_pb_string(m, &f);
        else if (f.number == 20)
            p->kind = hone_pb_int32(m, &f);
        else if (f.number == 21)
            p->reference = hone_pb_string(m, &f);
    }
    return m->status;
}

static hone_status no_memory_or(hone_pb *m, const void *p) {
    return p ? HONE_OK : onnx_no_memory(m);
}

static hone_status copy_string(onnx_reader *r, hone_pb *m, const hone_pb_field *f,
                               hone_string *out) {
    hone_string s = hone_pb_string(m, f);
    *out = (hone_string){hone_arena_strdup(r->arena, s.data, s.len), s.len};
    return no_memory_or(m, out->data);
}

static hone_status read_subgraph(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s,
                                 hone_graph **out) {
    *out = hone_graph_sub(s->g);
    HONE_TRY(no_memory_or(m, *out));
    return onnx_read_graph(r, s, s->frame, hone_pb_sub(m, f), *out);
}

static hone_status read_one_tensor(onnx_reader *r, hone_pb *m, const hone_pb_field *f,
                                   const hone_tensor **out) {
    hone_tensor *t = HONE_NEW(r->arena, hone_tensor);
    HONE_TRY(no_memory_or(m, t));
    *out = t;
    return kind_of_field(f->number) == KIND_SPARSE_TENSOR
               ? hone_onnx_sparse_tensor(&r->source, hone_pb_sub(m, f), t, NULL)
               : hone_onnx_tensor(&r->source, hone_pb_sub(m, f), t, NULL);
}

static hone_status read_singular(onnx_reader *r, hone_pb *m, const hone_pb_field *f, onnx_scope *s,
                                 hone_attr *a) {
    hone_type *type;
    switch (a->kind) {
    case HONE_ATTR_FLOAT:
        a->f = hone_pb_float(m, f);
        return m->status;
    case HONE_ATTR_INT:
        a->i = hone_pb_int(m, f);
        return m->status;
    case HONE_ATTR_STRING:
        return copy_string(r, m, f, &a->s);
    case HONE_ATTR_TENSOR:
        return read_one_tensor(r, m, f, &a->t);
    case HONE_ATTR_GRAPH:
        return read_subgraph(r, m, f, s, &a->g);
    default:
        type = HONE_NEW(r->arena, hone_type);
        HONE_TRY(no_memory_or(m, type));
        a->type = type;
        return onnx_read_type(r, s->g, hone_pb_sub(m, f), type);
    }
}

static void read_numbers(hone_pb *m, const hone_pb_field *f, hone_attr_kind kind, void *out) {
    hone_pb_wire wire = kind == HONE_ATTR_INTS ? HONE_PB_VARINT : HONE_PB_FIXED32;
    if (kind == HONE_ATTR_INTS) {
        hone_pb_u64s(m, f, wire, out);
    } else if (f->wire == HONE_PB_FIXED32) {
        float v = hone_pb_float(m, f);
        memcpy(out, &v, sizeof v);
    } else if (f->n_bytes) {
        memcpy(out, f->bytes, f->n_bytes); /* packed little-endian floats */
    }
}

static hone_status read_plural(onnx_reader *r, hone_pb m, onnx_scope *s, hone_attr *a) {
    size_t n = (size_t)a->n;
    bool ints = a->kind == HONE_ATTR_INTS, floats = a->kind == HONE_ATTR_FLOATS;
    size_t width = floats                         ? sizeof(float)
                   : ints                         ? sizeof(int64_t)
                   : a->kind == HONE_ATTR_STRINGS ? sizeof(hone_string)
                                                  : sizeof(void *);
    char *list = hone_arena_array(r->arena, n, width);
    HONE_TRY(no_memory_or(&m, list));
    a->ints = (const int64_t *)(const void *)list;
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (kind_of_field(f.number) != (int)a->kind)
            continue;
        int64_t step = 1;
        if (ints || floats) {
            step = hone_pb_count(&m, &f, ints ? HONE_PB_VARINT : HONE_PB_FIXED32);
            read_numbers(&m, &f, a->kind, list);
        } else if (a->kind == HONE_ATTR_STRINGS) {
            HONE_TRY(copy_string(r, &m, &f, (hone_string *)(void *)list));
        } else if (a->kind == HONE_ATTR_TENSORS) {
            HONE_TRY(read_one_tensor(r, &m, &f, (const hone_tensor **)(void *)list));
        } else {
            HONE_TRY(read_subgraph(r, &m, &f, s, (hone_graph **)(void *)list));
        }
        list += (size_t)step * width;
    }
    return m.status;
}

/* The value that a function's caller gave, or the function's default; absent when neither. */
static void resolve_reference(const onnx_scope *s, const attr_parts *p, hone_attr *out,
                              bool *present) {
    const onnx_frame *frame = s->frame;
    for (int i = 0; i < frame->call->n_attrs + frame->n_missing; ++i) {
        const hone_attr *a = i < frame->call->n_attrs ? &frame->call->attrs[i]
                                                      : &frame->missing[i - frame->call->n_attrs];
        if (strlen(a->name) != p->reference.len ||
            memcmp(a->name, p->reference.data, p->reference.len) != 0)
            continue;
        const char *name = out->name;
        *out = *a;
        out->name = name;
        *present = true;
        return;
    }
    *present = false;
}

static hone_status settle_kind(hone_pb *m, attr_parts *p) {
    int shown = p->name.len < 100 ? (int)p->name.len : 100;
    if (p->conflict || (p->kind && p->found && p->kind != p->found))
        return hone_pb_fail(m, HONE_E_FORMAT, "attribute '%.*s' has values of conflicting types",
                            shown, p->name.data);
    if (!p->kind)
        p->kind = p->found;
    bool known =
        (p->kind >= HONE_ATTR_FLOAT && p->kind <= KIND_SPARSE_TENSOR) || p->kind == HONE_ATTR_TYPE;
    if (!known)
        return hone_pb_fail(m, HONE_E_UNSUPPORTED, "attribute '%.*s' has the type number %d", shown,
                            p->name.data, p->kind);
    if (p->n > INT32_MAX)
        return hone_pb_fail(m, HONE_E_UNSUPPORTED, "attribute '%.*s' is too long", shown,
                            p->name.data);
    return HONE_OK;
}

/* Protobuf leaves out fields that have their default value. */
static hone_status read_absent(onnx_reader *r, hone_pb *m, hone_attr *a) {
    if (a->kind == HONE_ATTR_STRING) {
        a->s = (hone_string){hone_arena_strdup(r->arena, "", 0), 0};
        return no_memory_or(m, a->s.data);
    }
    if (a->kind == HONE_ATTR_FLOAT || a->kind == HONE_ATTR_INT)
        return HONE_OK;
    return hone_pb_fail(m, HONE_E_FORMAT, "attribute '%s' has no value", a->name);
}

hone_status onnx_read_attr(onnx_reader *r, hone_pb m, onnx_scope *s, hone_attr *out,
                           bool *present) {
    attr_parts p = {.name = {"", 0}};
    hone_pb walk = m;
    HONE_TRY(read_parts(&walk, &p));
    memset(out, 0, sizeof *out);
    out->name = onnx_text(r, p.name);
    HONE_TRY(no_memory_or(&m, out->name));
    *present = true;
    if (p.reference.len) {
        if (!s->frame)
            return hone_pb_fail(&m, HONE_E_FORMAT,
                                "attribute '%s' refers to a function's attribute, outside of one",
                                out->name);
        resolve_reference(s, &p, out, present);
        return HONE_OK;
    }
    HONE_TRY(settle_kind(&m, &p));
    bool plural = p.kind >= HONE_ATTR_FLOATS && p.kind <= HONE_ATTR_GRAPHS;
    out->kind = p.kind == KIND_SPARSE_TENSOR ? HONE_ATTR_TENSOR : (hone_attr_kind)p.kind;
    out->n = plural ? (int)p.n : 1;
    if (plural)
        return read_plural(r, m, s, out);
    if (!p.found)
        return read_absent(r, &m, out);
    return read_singular(r, &m, &p.last, s, out);
}
