/* TensorProto and SparseTensorProto -> hone_tensor. Field numbers are those of onnx.proto. */
#include "onnx/tensor_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A dense form of a sparse tensor larger than this is refused. */
#define MAX_DENSE_BYTES ((size_t)1 << 28)

enum {
    FIELD_FLOAT_DATA = 4,
    FIELD_INT32_DATA = 5,
    FIELD_STRING_DATA = 6,
    FIELD_INT64_DATA = 7,
    FIELD_DOUBLE_DATA = 10,
    FIELD_UINT64_DATA = 11,
};

/* What a first walk over the message finds. */
typedef struct tensor_parts {
    int dtype;
    int rank;
    int64_t dims[HONE_MAX_RANK];
    hone_string name;
    bool has_raw;
    hone_string raw;
    bool external;
    hone_string location;
    int64_t offset, length; /* of external data; length -1: up to the end of the file */
    int data_field;         /* the typed field in use, 0: none */
    int64_t n_data;
} tensor_parts;

static hone_pb_wire data_wire(int field) {
    if (field == FIELD_FLOAT_DATA)
        return HONE_PB_FIXED32;
    return field == FIELD_DOUBLE_DATA ? HONE_PB_FIXED64 : HONE_PB_VARINT;
}

static void read_dims(hone_pb *m, const hone_pb_field *f, int *rank, int64_t *dims) {
    int64_t n = hone_pb_count(m, f, HONE_PB_VARINT);
    if (n < 0)
        return;
    if (n > HONE_MAX_RANK - *rank) {
        hone_pb_fail(m, HONE_E_UNSUPPORTED, "a tensor has more than %d dims", HONE_MAX_RANK);
        return;
    }
    uint64_t values[HONE_MAX_RANK] = {0};
    hone_pb_u64s(m, f, HONE_PB_VARINT, values);
    for (int64_t i = 0; i < n; ++i)
        dims[(*rank)++] = (int64_t)values[i];
}

static void count_data(hone_pb *m, const hone_pb_field *f, tensor_parts *p) {
    int field = (int)f->number;
    if (p->data_field && p->data_field != field) {
        hone_pb_fail(m, HONE_E_FORMAT, "a tensor has data in two typed fields");
        return;
    }
    p->data_field = field;
    int64_t n = field == FIELD_STRING_DATA ? 1 : hone_pb_count(m, f, data_wire(field));
    if (n > 0)
        p->n_data += n;
}

static int64_t parse_number(hone_pb *m, hone_string s) {
    int64_t v = 0;
    bool ok = s.len > 0;
    for (size_t i = 0; ok && i < s.len; ++i) {
        ok = s.data[i] >= '0' && s.data[i] <= '9' && !__builtin_mul_overflow(v, 10, &v) &&
             !__builtin_add_overflow(v, s.data[i] - '0', &v);
    }
    if (!ok)
        hone_pb_fail(m, HONE_E_FORMAT, "external data: the offset or length is not a number");
    return ok ? v : 0;
}

static bool is_text(hone_string s, const char *text) {
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static void read_external_entry(hone_pb *m, const hone_pb_field *f, tensor_parts *p) {
    hone_pb entry = hone_pb_sub(m, f);
    hone_string key = {"", 0}, value = {"", 0};
    hone_pb_field e;
    while (hone_pb_next(&entry, &e)) {
        if (e.number == 1)
            key = hone_pb_string(&entry, &e);
        else if (e.number == 2)
            value = hone_pb_string(&entry, &e);
    }
    hone_pb_join(m, &entry);
    if (is_text(key, "location"))
        p->location = value;
    else if (is_text(key, "offset"))
        p->offset = parse_number(m, value);
    else if (is_text(key, "length"))
        p->length = parse_number(m, value);
}

static hone_status read_parts(hone_pb *m, tensor_parts *p) {
    hone_pb_field f;
    while (hone_pb_next(m, &f)) {
        switch (f.number) {
        case 1:
            read_dims(m, &f, &p->rank, p->dims);
            break;
        case 2:
            p->dtype = hone_pb_int32(m, &f);
            break;
        case 3:
            return hone_pb_fail(m, HONE_E_UNSUPPORTED, "tensors stored in segments");
        case FIELD_FLOAT_DATA:
        case FIELD_INT32_DATA:
        case FIELD_STRING_DATA:
        case FIELD_INT64_DATA:
        case FIELD_DOUBLE_DATA:
        case FIELD_UINT64_DATA:
            count_data(m, &f, p);
            break;
        case 8:
            p->name = hone_pb_string(m, &f);
            break;
        case 9:
            p->raw = hone_pb_string(m, &f);
            p->has_raw = true;
            break;
        case 13:
            read_external_entry(m, &f, p);
            break;
        case 14:
            p->external = hone_pb_int32(m, &f) == 1;
            break;
        default:
            break;
        }
    }
    return m->status;
}

/* Element count and bytes, with every overflow refused. */
static hone_status measure(hone_pb *m, const tensor_parts *p, int64_t *count, size_t *bytes) {
    if (p->dtype == 27 || p->dtype == 28)
        return hone_pb_fail(m, HONE_E_UNSUPPORTED, "6-bit floats");
    if (p->dtype <= HONE_DTYPE_NONE || p->dtype >= HONE_DTYPE_COUNT)
        return hone_pb_fail(m, HONE_E_FORMAT, "unknown tensor data type %d", p->dtype);
    for (int i = 0; i < p->rank; ++i) {
        if (p->dims[i] < 0)
            return hone_pb_fail(m, HONE_E_FORMAT, "negative tensor dim %" PRId64, p->dims[i]);
    }
    if (!hone_dims_fit(p->rank, p->dims))
        return hone_pb_fail(m, HONE_E_FORMAT, "tensor dims overflow");
    *count = hone_dims_count(p->dims, 0, p->rank);
    *bytes = hone_dtype_bytes((hone_dtype)p->dtype, *count);
    return HONE_OK;
}

/* The typed field of an element type, and how many entries `count` elements take. */
static int field_of(hone_dtype d, int64_t count, int64_t *entries) {
    *entries = count;
    switch (d) {
    case HONE_DTYPE_F32:
        return FIELD_FLOAT_DATA;
    case HONE_DTYPE_C64:
        *entries = 2 * count;
        return FIELD_FLOAT_DATA;
    case HONE_DTYPE_F64:
        return FIELD_DOUBLE_DATA;
    case HONE_DTYPE_C128:
        *entries = 2 * count;
        return FIELD_DOUBLE_DATA;
    case HONE_DTYPE_I64:
        return FIELD_INT64_DATA;
    case HONE_DTYPE_U32:
    case HONE_DTYPE_U64:
        return FIELD_UINT64_DATA;
    case HONE_DTYPE_STRING:
        return FIELD_STRING_DATA;
    default:
        if (hone_dtype_in(d, HONE_T_SUB)) /* an entry holds a byte of packed elements */
            *entries = (int64_t)hone_dtype_bytes(d, count);
        return FIELD_INT32_DATA;
    }
}

/* Low `width` bytes of each entry, the machine being little-endian. */
static void narrow(const uint64_t *from, int64_t n, size_t width, uint8_t *to) {
    for (int64_t i = 0; i < n; ++i)
        memcpy(to + (size_t)i * width, &from[i], width);
}

static void decode_field(hone_pb *m, const hone_pb_field *f, size_t width, uint8_t *to) {
    uint64_t chunk[64];
    if (f->wire != HONE_PB_BYTES) {
        narrow(&f->value, 1, width, to);
        return;
    }
    hone_pb_wire wire = data_wire((int)f->number);
    if (wire != HONE_PB_VARINT) { /* packed little-endian: as stored */
        if (f->n_bytes)
            memcpy(to, f->bytes, f->n_bytes);
        return;
    }
    /* Varints in pieces that end where a number ends. */
    hone_pb_field part = *f;
    const uint8_t *at = f->bytes, *end = at + f->n_bytes;
    while (at < end) {
        const uint8_t *stop = at;
        int n = 0;
        while (stop < end && n < 64)
            n += !(*stop++ & 0x80);
        part.bytes = at;
        part.n_bytes = (size_t)(stop - at);
        hone_pb_u64s(m, &part, wire, chunk);
        if (m->status != HONE_OK)
            return;
        narrow(chunk, n, width, to);
        to += (size_t)n * width;
        at = stop;
    }
}

static hone_status decode_typed(hone_onnx_source *s, hone_pb m, const tensor_parts *p,
                                int64_t count, size_t bytes, void **out) {
    hone_dtype d = (hone_dtype)p->dtype;
    int64_t entries;
    int field = field_of(d, count, &entries);
    if ((p->data_field && p->data_field != field) || p->n_data != entries)
        return hone_pb_fail(&m, HONE_E_FORMAT,
                            "tensor '%.*s': %" PRId64 " data entries where %s needs %" PRId64
                            " in field %d",
                            (int)(p->name.len < 100 ? p->name.len : 100), p->name.data, p->n_data,
                            hone_dtype_name(d), entries, field);
    uint8_t *data = hone_arena_alloc(s->arena, bytes);
    if (!data)
        return hone_pb_fail(&m, HONE_E_NOMEM, "no memory for a tensor of %zu bytes", bytes);
    *out = data;
    size_t width = entries ? bytes / (size_t)entries : 0;
    hone_pb_field f;
    while (hone_pb_next(&m, &f)) {
        if ((int)f.number != field)
            continue;
        if (field == FIELD_STRING_DATA) {
            hone_string text = hone_pb_string(&m, &f);
            memcpy(data, &text, sizeof text);
            data += sizeof text;
            continue;
        }
        int64_t n = hone_pb_count(&m, &f, data_wire(field));
        decode_field(&m, &f, width, data);
        data += (size_t)n * width;
    }
    return m.status;
}

static hone_status raw_view(hone_onnx_source *s, hone_pb *m, tensor_parts *p, size_t bytes,
                            void **out) {
    const uint8_t *data = (const uint8_t *)p->raw.data;
    size_t n = p->raw.len;
    if (p->dtype == HONE_DTYPE_STRING)
        return hone_pb_fail(m, HONE_E_FORMAT, "string tensors cannot have raw data");
    if (p->external) {
        HONE_TRY(hone_onnx_external(s, m, p->location, &data, &n));
        if ((uint64_t)p->offset > n)
            return hone_pb_fail(m, HONE_E_FORMAT, "external data begin after the end of '%.*s'",
                                (int)p->location.len, p->location.data);
        data += p->offset;
        n -= (size_t)p->offset;
        if (p->length >= 0 && (uint64_t)p->length > n)
            return hone_pb_fail(m, HONE_E_FORMAT, "external data end after the end of '%.*s'",
                                (int)p->location.len, p->location.data);
        n = p->length >= 0 ? (size_t)p->length : bytes < n ? bytes : n;
    }
    if (n != bytes)
        return hone_pb_fail(m, HONE_E_FORMAT,
                            "tensor '%.*s' has %zu bytes of data, its type and dims need %zu",
                            (int)(p->name.len < 100 ? p->name.len : 100), p->name.data, n, bytes);
    union {
        const uint8_t *c;
        void *m;
    } view = {data};
    *out = view.m;
    return HONE_OK;
}

/* Bools other than 0 and 1 become 1: kernels rely on it. */
static hone_status normalise_bool(hone_onnx_source *s, hone_pb *m, hone_tensor *t, size_t n) {
    const uint8_t *from = t->data;
    size_t i = 0;
    while (i < n && from[i] <= 1)
        ++i;
    if (i == n)
        return HONE_OK;
    uint8_t *copy = hone_arena_alloc(s->arena, n);
    if (!copy)
        return hone_pb_fail(m, HONE_E_NOMEM, "no memory for a tensor of %zu bytes", n);
    for (i = 0; i < n; ++i)
        copy[i] = from[i] != 0;
    t->data = copy;
    return HONE_OK;
}

hone_status hone_onnx_tensor(hone_onnx_source *s, hone_pb m, hone_tensor *out, hone_string *name) {
    tensor_parts p = {.length = -1, .name = {"", 0}};
    hone_pb walk = m;
    HONE_TRY(read_parts(&walk, &p));
    if (name)
        *name = p.name;
    int64_t count;
    size_t bytes;
    HONE_TRY(measure(&m, &p, &count, &bytes));
    void *data = NULL;
    if (p.external || p.has_raw)
        HONE_TRY(raw_view(s, &m, &p, bytes, &data));
    else
        HONE_TRY(decode_typed(s, m, &p, count, bytes, &data));
    *out = hone_tensor_view((hone_dtype)p.dtype, p.rank, p.dims, data);
    return p.dtype == HONE_DTYPE_BOOL ? normalise_bool(s, &m, out, bytes) : HONE_OK;
}

/* The element that row i of the indices addresses; -1 when out of range. */
static int64_t dense_index(const hone_tensor *indices, int64_t i, const hone_tensor *dense) {
    int64_t total = hone_tensor_count(dense);
    if (indices->rank == 1) {
        int64_t at;
        memcpy(&at, (const uint8_t *)indices->data + (size_t)i * 8, 8);
        return at >= 0 && at < total ? at : -1;
    }
    int64_t flat = 0;
    for (int k = 0; k < dense->rank; ++k) {
        int64_t at;
        memcpy(&at, (const uint8_t *)indices->data + (size_t)(i * dense->rank + k) * 8, 8);
        if (at < 0 || at >= dense->dims[k])
            return -1;
        flat = flat * dense->dims[k] + at;
    }
    return flat;
}

static hone_status densify(hone_onnx_source *s, hone_pb *m, const hone_tensor *values,
                           const hone_tensor *indices, tensor_parts *p, hone_tensor *out) {
    int64_t count;
    size_t bytes;
    p->dtype = (int)values->dtype;
    HONE_TRY(measure(m, p, &count, &bytes));
    if (bytes > MAX_DENSE_BYTES)
        return hone_pb_fail(m, HONE_E_UNSUPPORTED, "a sparse tensor of %zu dense bytes", bytes);
    int64_t n = values->dims[0];
    bool linear = indices->rank == 1 && indices->dims[0] == n;
    bool rows = indices->rank == 2 && indices->dims[0] == n && indices->dims[1] == p->rank;
    if (values->rank != 1 || indices->dtype != HONE_DTYPE_I64 || (!linear && !rows))
        return hone_pb_fail(m, HONE_E_FORMAT, "a sparse tensor's indices do not fit its values");
    void *data = hone_arena_alloc(s->arena, bytes);
    if (!data)
        return hone_pb_fail(m, HONE_E_NOMEM, "no memory for a tensor of %zu bytes", bytes);
    *out = hone_tensor_view(values->dtype, p->rank, p->dims, data);
    for (int64_t i = 0; i < n; ++i) {
        int64_t at = dense_index(indices, i, out);
        if (at < 0)
            return hone_pb_fail(m, HONE_E_FORMAT, "a sparse tensor's index is out of range");
        hone_copy_elems(values->dtype, data, at, values->data, i, 1);
    }
    return HONE_OK;
}

hone_status hone_onnx_sparse_tensor(hone_onnx_source *s, hone_pb m, hone_tensor *out,
                                    hone_string *name) {
    hone_tensor values = {0}, indices = {0};
    tensor_parts p = {.length = -1};
    hone_pb_field f;
    hone_string unused;
    while (hone_pb_next(&m, &f)) {
        if (f.number == 1)
            hone_pb_note(&m, hone_onnx_tensor(s, hone_pb_sub(&m, &f), &values, name));
        else if (f.number == 2)
            hone_pb_note(&m, hone_onnx_tensor(s, hone_pb_sub(&m, &f), &indices, &unused));
        else if (f.number == 3)
            read_dims(&m, &f, &p.rank, p.dims);
    }
    if (m.status != HONE_OK)
        return m.status;
    if (values.kind != HONE_KIND_TENSOR || indices.kind != HONE_KIND_TENSOR)
        return hone_pb_fail(&m, HONE_E_FORMAT, "a sparse tensor without values or indices");
    return densify(s, &m, &values, &indices, &p, out);
}
