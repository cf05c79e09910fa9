/* TypeProto and ValueInfoProto -> hone_type. */
#include <string.h>

#include "onnx/reader_impl.h"

/* Symbols are looked up in a map of the reader: the graph's table is a list. */
static int64_t symbol_dim(onnx_reader *r, hone_graph *g, hone_pb *m, hone_string name) {
    if (name.len == 0)
        return HONE_DIM_UNKNOWN;
    int64_t *known = hone_names_get(&r->symbols, name);
    if (known)
        return *known;
    if (g->symbols->n >= MAX_SYMBOLS) {
        hone_pb_fail(m, HONE_E_UNSUPPORTED, "more than %d symbolic dims", MAX_SYMBOLS);
        return HONE_DIM_UNKNOWN;
    }
    const char *text = onnx_text(r, name);
    int id = text ? hone_symbol(g, text) : -1;
    known = HONE_NEW(&r->scratch, int64_t);
    if (id < 0 || !known || !hone_names_put(&r->symbols, name, known)) {
        onnx_no_memory(m);
        return HONE_DIM_UNKNOWN;
    }
    *known = HONE_DIM_SYMBOL(id);
    return *known;
}

static int64_t read_dim(onnx_reader *r, hone_graph *g, hone_pb *parent, const hone_pb_field *at) {
    hone_pb m = hone_pb_sub(parent, at);
    int64_t dim = HONE_DIM_UNKNOWN;
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number == 1) {
            dim = hone_pb_int(&m, &f);
            if (dim < 0) /* some exporters write -1 for "unknown" */
                dim = HONE_DIM_UNKNOWN;
        } else if (f.number == 2) {
            dim = symbol_dim(r, g, &m, hone_pb_string(&m, &f));
        }
    }
    hone_pb_join(parent, &m);
    return dim;
}

static hone_status read_shape(onnx_reader *r, hone_graph *g, hone_pb m, hone_type *t) {
    hone_pb_field f;
    t->rank = 0;
    while (hone_pb_next(&m, &f)) {
        if (f.number != 1)
            continue;
        if (t->rank == HONE_MAX_RANK)
            return hone_pb_fail(&m, HONE_E_UNSUPPORTED, "a type has more than %d dims",
                                HONE_MAX_RANK);
        t->dims[t->rank++] = read_dim(r, g, &m, &f);
    }
    return m.status;
}

static hone_status read_tensor_type(onnx_reader *r, hone_graph *g, hone_pb m, hone_type *t) {
    hone_pb_field f;
    t->kind = HONE_KIND_TENSOR;
    while (hone_pb_next(&m, &f)) {
        if (f.number == 1) {
            int d = hone_pb_int32(&m, &f);
            if (d < 0 || d >= HONE_DTYPE_COUNT)
                hone_pb_fail(&m, HONE_E_UNSUPPORTED, "element type %d", d);
            else
                t->dtype = (hone_dtype)d;
        } else if (f.number == 2) {
            hone_pb_note(&m, read_shape(r, g, hone_pb_sub(&m, &f), t));
        }
    }
    return m.status;
}

static hone_status read_container(onnx_reader *r, hone_graph *g, hone_pb m, hone_type *elem) {
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number == 1)
            hone_pb_note(&m, onnx_read_type(r, g, hone_pb_sub(&m, &f), elem));
    }
    return m.status;
}

hone_status onnx_read_type(onnx_reader *r, hone_graph *g, hone_pb m, hone_type *out) {
    *out = (hone_type){.rank = -1};
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        hone_type *elem;
        switch (f.number) {
        case 1:
            hone_pb_note(&m, read_tensor_type(r, g, hone_pb_sub(&m, &f), out));
            break;
        case 4:
            elem = HONE_NEW(r->arena, hone_type);
            if (!elem)
                return onnx_no_memory(&m);
            elem->rank = -1;
            hone_pb_note(&m, read_container(r, g, hone_pb_sub(&m, &f), elem));
            *out = (hone_type){.kind = HONE_KIND_SEQUENCE, .rank = -1, .elem = elem};
            break;
        case 5:
            *out = (hone_type){.kind = HONE_KIND_MAP, .rank = -1};
            break;
        case 9:
            hone_pb_note(&m, read_container(r, g, hone_pb_sub(&m, &f), out));
            out->optional = true;
            break;
        case 7:
            return hone_pb_fail(&m, HONE_E_UNSUPPORTED, "opaque types");
        case 8:
            return hone_pb_fail(&m, HONE_E_UNSUPPORTED, "sparse tensors as values");
        default:
            break;
        }
    }
    return m.status;
}

hone_status onnx_read_value_info(onnx_reader *r, hone_graph *g, hone_pb m, hone_string *name,
                                 hone_type *type) {
    *name = (hone_string){"", 0};
    *type = (hone_type){.rank = -1};
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number == 1)
            *name = hone_pb_string(&m, &f);
        else if (f.number == 2)
            hone_pb_note(&m, onnx_read_type(r, g, hone_pb_sub(&m, &f), type));
    }
    return m.status;
}
