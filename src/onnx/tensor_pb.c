/* Single values in protobuf files: reading and writing. Field numbers are those of onnx.proto and
 * onnx-data.proto. */
#include "onnx/tensor_pb.h"

#include <string.h>

#include "onnx/names.h"
#include "onnx/tensor_read.h"

/* SequenceProto and MapProto may nest. */
enum { MAX_VALUE_DEPTH = 16 };
/* SequenceProto.DataType and OptionalProto.DataType. */
enum { ELEM_TENSOR = 1, ELEM_SEQUENCE = 3, ELEM_MAP = 4, ELEM_OPTIONAL = 5 };

typedef struct pb_reader {
    hone_alloc *alloc;
    hone_onnx_source source;
    hone_error *err;
    int depth;
} pb_reader;

static hone_status read_sequence(pb_reader *r, hone_pb m, hone_tensor *out);

/* `read` is a view or lives in the reader's arena: keep a copy of its own. */
static hone_status own(pb_reader *r, hone_pb m, hone_tensor *out) {
    hone_tensor read;
    HONE_TRY(hone_onnx_tensor(&r->source, m, &read, NULL));
    return hone_tensor_copy(r->alloc, out, &read, r->err);
}

static hone_status new_container(pb_reader *r, hone_kind kind, int64_t n, hone_tensor *out) {
    *out = (hone_tensor){.kind = kind, .rank = 1, .dims = {n}};
    return hone_tensor_alloc(r->alloc, out, r->err);
}

static int64_t map_size(hone_pb m, bool *strings) {
    int64_t n = 0;
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number == 3) {
            int64_t more = hone_pb_count(&m, &f, HONE_PB_VARINT);
            n += more > 0 ? more : 0;
        } else if (f.number == 4) {
            *strings = true;
            ++n;
        }
    }
    return m.status == HONE_OK ? n : -1;
}

static hone_status read_keys(pb_reader *r, hone_pb m, hone_tensor *keys) {
    bool strings = keys->dtype == HONE_DTYPE_STRING;
    int64_t at = 0;
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if (f.number == 3 && strings)
            return hone_pb_fail(&m, HONE_E_FORMAT, "a map has keys of two types");
        if (f.number == 3) {
            hone_pb_u64s(&m, &f, HONE_PB_VARINT, (uint64_t *)keys->data + at);
            at += hone_pb_count(&m, &f, HONE_PB_VARINT);
        } else if (f.number == 4) {
            hone_string s = hone_pb_string(&m, &f);
            HONE_TRY(hone_string_set(keys, at++, s.data, s.len, r->err));
        }
    }
    return m.status;
}

/* The values of a map: n scalars in a SequenceProto become one tensor. */
static hone_status join_scalars(pb_reader *r, hone_pb *m, const hone_tensor *seq, int64_t n,
                                hone_tensor *out) {
    if (seq->kind != HONE_KIND_SEQUENCE || seq->dims[0] != n)
        return hone_pb_fail(m, HONE_E_FORMAT, "a map's keys and values differ in number");
    hone_dtype d = n ? hone_seq_at(seq, 0)->dtype : HONE_DTYPE_F32;
    *out = hone_tensor_view(d, 1, &n, NULL);
    HONE_TRY(hone_tensor_alloc(r->alloc, out, r->err));
    for (int64_t i = 0; i < n; ++i) {
        const hone_tensor *t = hone_seq_at(seq, i);
        if (t->kind != HONE_KIND_TENSOR || t->dtype != d || hone_tensor_count(t) != 1)
            return hone_pb_fail(m, HONE_E_UNSUPPORTED, "a map's values are not scalars of a type");
        const hone_string *s = t->data;
        if (d == HONE_DTYPE_STRING)
            HONE_TRY(hone_string_set(out, i, s->data, s->len, r->err));
        else
            hone_copy_elems(d, out->data, i, t->data, 0, 1);
    }
    return HONE_OK;
}

static hone_status fill_map(pb_reader *r, hone_pb m, int64_t n, hone_tensor *keys, hone_tensor *seq,
                            hone_tensor *values) {
    HONE_TRY(hone_tensor_alloc(r->alloc, keys, r->err));
    HONE_TRY(read_keys(r, m, keys));
    hone_pb walk = m;
    hone_pb_field f;
    while (hone_pb_next(&walk, &f)) {
        if (f.number != 5)
            continue;
        hone_tensor_release(seq);
        HONE_TRY(read_sequence(r, hone_pb_sub(&walk, &f), seq));
    }
    HONE_TRY(walk.status);
    return join_scalars(r, &m, seq, n, values);
}

static hone_status read_map(pb_reader *r, hone_pb m, hone_tensor *out) {
    bool strings = false;
    int64_t n = map_size(m, &strings);
    if (n < 0)
        return hone_pb_fail(&m, HONE_E_FORMAT, "malformed map");
    hone_tensor keys = hone_tensor_view(strings ? HONE_DTYPE_STRING : HONE_DTYPE_I64, 1, &n, NULL);
    hone_tensor seq = {0}, values = {0};
    hone_status status = fill_map(r, m, n, &keys, &seq, &values);
    if (status == HONE_OK)
        status = new_container(r, HONE_KIND_MAP, 2, out);
    if (status == HONE_OK)
        status = hone_seq_set(r->alloc, out, 0, &keys, r->err);
    if (status == HONE_OK)
        status = hone_seq_set(r->alloc, out, 1, &values, r->err);
    if (status != HONE_OK)
        hone_tensor_release(out);
    hone_tensor_release(&keys);
    hone_tensor_release(&seq);
    hone_tensor_release(&values);
    return status;
}

static hone_status read_item(pb_reader *r, hone_pb m, uint32_t field, hone_tensor *out) {
    if (field == 3)
        return own(r, m, out);
    if (field == 5)
        return read_sequence(r, m, out);
    if (field == 6)
        return read_map(r, m, out);
    return hone_pb_fail(&m, HONE_E_UNSUPPORTED, "a sequence of sparse or optional values");
}

static hone_status fill_sequence(pb_reader *r, hone_pb m, hone_tensor *out) {
    int64_t n = 0, at = 0;
    hone_pb walk = m;
    hone_pb_field f;
    while (hone_pb_next(&walk, &f))
        n += f.number >= 3 && f.number <= 7;
    HONE_TRY(walk.status);
    HONE_TRY(new_container(r, HONE_KIND_SEQUENCE, n, out));
    while (hone_pb_next(&m, &f)) {
        if (f.number < 3 || f.number > 7)
            continue;
        hone_tensor item = {0};
        HONE_TRY(read_item(r, hone_pb_sub(&m, &f), f.number, &item));
        hone_status status = hone_seq_set(r->alloc, out, at++, &item, r->err);
        hone_tensor_release(&item);
        HONE_TRY(status);
    }
    return m.status;
}

static hone_status read_sequence(pb_reader *r, hone_pb m, hone_tensor *out) {
    if (r->depth >= MAX_VALUE_DEPTH)
        return hone_pb_fail(&m, HONE_E_UNSUPPORTED, "values nested deeper than %d",
                            MAX_VALUE_DEPTH);
    r->depth++;
    *out = (hone_tensor){0};
    hone_status status = fill_sequence(r, m, out);
    r->depth--;
    if (status != HONE_OK)
        hone_tensor_release(out);
    return status;
}

static hone_status read_optional(pb_reader *r, hone_pb m, hone_tensor *out) {
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        /* value fields: tensor 3, sparse 4, sequence 5, map 6, optional 7 */
        if (f.number >= 3 && f.number <= 7)
            return read_item(r, hone_pb_sub(&m, &f), f.number, out);
    }
    return m.status;
}

hone_status hone_value_from_pb(hone_alloc *a, const uint8_t *bytes, size_t n, hone_kind kind,
                               bool optional, hone_tensor *out, hone_error *err) {
    *out = (hone_tensor){0};
    hone_arena arena;
    hone_arena_init(&arena, 0);
    pb_reader r = {.alloc = a, .source = {&arena, NULL, NULL}, .err = err};
    hone_pb m;
    hone_pb_init(&m, bytes, n, err);
    hone_status status;
    if (optional)
        status = read_optional(&r, m, out);
    else if (kind == HONE_KIND_SEQUENCE)
        status = read_sequence(&r, m, out);
    else if (kind == HONE_KIND_MAP)
        status = read_map(&r, m, out);
    else
        status = own(&r, m, out);
    hone_arena_deinit(&arena);
    return status;
}

void hone_tensor_to_pb(hone_pbw *w, const hone_tensor *t, const char *name) {
    hone_pbw_ints(w, 1, t->dims, (size_t)t->rank);
    hone_pbw_int(w, 2, (int64_t)t->dtype);
    if (name[0])
        hone_pbw_text(w, 8, name);
    if (t->dtype != HONE_DTYPE_STRING) {
        hone_pbw_view(w, 9, t->data, hone_tensor_bytes(t));
        return;
    }
    const hone_string *s = t->data;
    for (int64_t i = 0, n = hone_tensor_count(t); i < n; ++i)
        hone_pbw_bytes(w, 6, s[i].data, s[i].len);
}

static void write_map(hone_pbw *w, const hone_tensor *t) {
    const hone_tensor *keys = hone_seq_at(t, 0), *values = hone_seq_at(t, 1);
    const hone_string *texts = keys->data;
    hone_pbw_int(w, 2, (int64_t)keys->dtype);
    int64_t n = hone_tensor_count(keys);
    for (int64_t i = 0; i < n; ++i) {
        if (keys->dtype == HONE_DTYPE_STRING)
            hone_pbw_bytes(w, 4, texts[i].data, texts[i].len);
        else
            hone_pbw_int(w, 3, hone_load_i64(keys->dtype, keys->data, i));
    }
    size_t size = (size_t)hone_dtype_bits(values->dtype) / 8;
    hone_pbw_begin(w, 5);
    hone_pbw_int(w, 2, ELEM_TENSOR);
    for (int64_t i = 0; i < n; ++i) {
        hone_tensor one =
            hone_tensor_view(values->dtype, 0, NULL, (const char *)values->data + (size_t)i * size);
        hone_pbw_begin(w, 3);
        hone_tensor_to_pb(w, &one, "");
        hone_pbw_end(w);
    }
    hone_pbw_end(w);
}

/* Field number and element type that a value has inside a sequence or optional. */
static uint32_t field_of(const hone_tensor *t, int *type) {
    if (t->kind == HONE_KIND_SEQUENCE) {
        *type = ELEM_SEQUENCE;
        return 5;
    }
    if (t->kind == HONE_KIND_MAP) {
        *type = ELEM_MAP;
        return 6;
    }
    *type = ELEM_TENSOR;
    return 3;
}

static void write_sequence(hone_pbw *w, const hone_tensor *t);

static void write_item(hone_pbw *w, const hone_tensor *t, const char *name) {
    if (t->kind == HONE_KIND_TENSOR)
        hone_tensor_to_pb(w, t, name);
    else if (t->kind == HONE_KIND_SEQUENCE)
        write_sequence(w, t);
    else if (t->kind == HONE_KIND_MAP)
        write_map(w, t);
}

static void write_sequence(hone_pbw *w, const hone_tensor *t) {
    int type = ELEM_TENSOR;
    if (t->dims[0])
        field_of(hone_seq_at(t, 0), &type);
    hone_pbw_int(w, 2, type);
    for (int64_t i = 0; i < t->dims[0]; ++i) {
        const hone_tensor *item = hone_seq_at(t, i);
        hone_pbw_begin(w, field_of(item, &type));
        write_item(w, item, "");
        hone_pbw_end(w);
    }
}

hone_status hone_value_to_pb(hone_pbw *w, const hone_tensor *t, bool optional, const char *name,
                             hone_error *err) {
    bool empty = t->kind == HONE_KIND_NONE;
    if (empty && !optional)
        return hone_fail(err, HONE_E_ARGUMENT, "nothing to write: the value is empty");
    if (optional) {
        int type = ELEM_TENSOR;
        uint32_t field = field_of(t, &type);
        hone_pbw_int(w, 2, type);
        if (!empty) {
            hone_pbw_begin(w, field);
            write_item(w, t, "");
            hone_pbw_end(w);
        }
    } else {
        write_item(w, t, name);
    }
    return w->failed ? hone_fail(err, HONE_E_NOMEM, "out of memory while writing a value")
                     : HONE_OK;
}
