/* Protobuf wire format: reading. */
#include "onnx/wire.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Protobuf's own parsers stop at a nesting of 100. */
enum { MAX_DEPTH = 100 };

void hone_pb_init(hone_pb *m, const void *bytes, size_t n, hone_error *err) {
    static const uint8_t none[1];
    const uint8_t *start = n ? bytes : none;
    *m = (hone_pb){start, start + n, start, 0, HONE_OK, err};
}

int64_t hone_pb_offset(const hone_pb *m) {
    return (int64_t)(m->at - m->base);
}

hone_status hone_pb_fail(hone_pb *m, hone_status code, const char *format, ...) {
    if (m->status != HONE_OK)
        return m->status;
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    m->status = code;
    return hone_fail_at(m->err, hone_pb_offset(m), code, "%s (at byte %" PRId64 ")", text,
                        hone_pb_offset(m));
}

void hone_pb_note(hone_pb *m, hone_status status) {
    if (m->status == HONE_OK)
        m->status = status;
}

void hone_pb_join(hone_pb *m, const hone_pb *sub) {
    hone_pb_note(m, sub->status);
}

/* A varint of at most ten bytes; bits beyond 64 are dropped, as every parser does. */
static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *out) {
    uint64_t v = 0;
    const uint8_t *p = *at;
    for (int shift = 0; shift < 70; shift += 7) {
        if (p == end)
            return false;
        uint8_t b = *p++;
        if (shift < 64)
            v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *at = p;
            *out = v;
            return true;
        }
    }
    return false;
}

static uint64_t load_le(const uint8_t *p, int n) {
    uint64_t v = 0;
    for (int i = 0; i < n; ++i)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static bool read_payload(hone_pb *m, hone_pb_field *f) {
    size_t left = (size_t)(m->end - m->at);
    size_t fixed = f->wire == HONE_PB_FIXED64 ? 8 : 4;
    switch (f->wire) {
    case HONE_PB_VARINT:
        if (!read_varint(&m->at, m->end, &f->value))
            return hone_pb_fail(m, HONE_E_FORMAT, "truncated or overlong number"), false;
        return true;
    case HONE_PB_FIXED64:
    case HONE_PB_FIXED32:
        if (left < fixed)
            return hone_pb_fail(m, HONE_E_FORMAT, "truncated number"), false;
        f->value = load_le(m->at, (int)fixed);
        m->at += fixed;
        return true;
    case HONE_PB_BYTES: {
        uint64_t n;
        if (!read_varint(&m->at, m->end, &n) || n > (uint64_t)(m->end - m->at))
            return hone_pb_fail(m, HONE_E_FORMAT, "truncated field %" PRIu32, f->number), false;
        f->bytes = m->at;
        f->n_bytes = (size_t)n;
        m->at += n;
        return true;
    }
    default:
        hone_pb_fail(m, HONE_E_FORMAT, "field %" PRIu32 " has the unknown wire type %d", f->number,
                     (int)f->wire);
        return false;
    }
}

bool hone_pb_next(hone_pb *m, hone_pb_field *f) {
    if (m->status != HONE_OK || m->at == m->end)
        return false;
    uint64_t key;
    if (!read_varint(&m->at, m->end, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff) {
        hone_pb_fail(m, HONE_E_FORMAT, "bad field key: not a protobuf message");
        return false;
    }
    *f = (hone_pb_field){.number = (uint32_t)(key >> 3), .wire = (hone_pb_wire)(key & 7)};
    return read_payload(m, f);
}

static bool expect(hone_pb *m, const hone_pb_field *f, hone_pb_wire wire) {
    if (f->wire == wire)
        return true;
    hone_pb_fail(m, HONE_E_FORMAT, "field %" PRIu32 " has wire type %d, %d was expected", f->number,
                 (int)f->wire, (int)wire);
    return false;
}

int64_t hone_pb_int(hone_pb *m, const hone_pb_field *f) {
    return expect(m, f, HONE_PB_VARINT) ? (int64_t)f->value : 0;
}

int hone_pb_int32(hone_pb *m, const hone_pb_field *f) {
    int64_t v = hone_pb_int(m, f);
    if (v < INT32_MIN || v > INT32_MAX) {
        hone_pb_fail(m, HONE_E_FORMAT, "field %" PRIu32 ": %" PRId64 " does not fit 32 bits",
                     f->number, v);
        return 0;
    }
    return (int)v;
}

float hone_pb_float(hone_pb *m, const hone_pb_field *f) {
    if (!expect(m, f, HONE_PB_FIXED32))
        return 0;
    uint32_t bits = (uint32_t)f->value;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

hone_string hone_pb_string(hone_pb *m, const hone_pb_field *f) {
    if (!expect(m, f, HONE_PB_BYTES))
        return (hone_string){"", 0};
    return (hone_string){(const char *)f->bytes, f->n_bytes};
}

hone_pb hone_pb_sub(hone_pb *m, const hone_pb_field *f) {
    hone_pb sub = *m;
    if (!expect(m, f, HONE_PB_BYTES)) {
        sub.status = m->status;
        return sub;
    }
    sub.at = f->bytes;
    sub.end = f->bytes + f->n_bytes;
    sub.depth = m->depth + 1;
    if (sub.depth > MAX_DEPTH)
        hone_pb_fail(&sub, HONE_E_FORMAT, "messages nested deeper than %d", MAX_DEPTH);
    return sub;
}

static size_t element_bytes(hone_pb_wire element) {
    return element == HONE_PB_FIXED64 ? 8 : 4;
}

int64_t hone_pb_count(hone_pb *m, const hone_pb_field *f, hone_pb_wire element) {
    if (f->wire == element)
        return 1;
    if (!expect(m, f, HONE_PB_BYTES))
        return -1;
    if (element != HONE_PB_VARINT) {
        if (f->n_bytes % element_bytes(element)) {
            hone_pb_fail(m, HONE_E_FORMAT, "packed field %" PRIu32 " ends inside an element",
                         f->number);
            return -1;
        }
        return (int64_t)(f->n_bytes / element_bytes(element));
    }
    int64_t n = 0;
    for (size_t i = 0; i < f->n_bytes; ++i)
        n += !(f->bytes[i] & 0x80);
    if (f->n_bytes && (f->bytes[f->n_bytes - 1] & 0x80)) {
        hone_pb_fail(m, HONE_E_FORMAT, "packed field %" PRIu32 " ends inside a number", f->number);
        return -1;
    }
    return n;
}

void hone_pb_u64s(hone_pb *m, const hone_pb_field *f, hone_pb_wire element, uint64_t *out) {
    if (f->wire == element) {
        *out = f->value;
        return;
    }
    const uint8_t *at = f->bytes, *end = f->bytes + f->n_bytes;
    while (at < end) {
        if (element != HONE_PB_VARINT) {
            *out++ = load_le(at, (int)element_bytes(element));
            at += element_bytes(element);
        } else if (!read_varint(&at, end, out++)) {
            hone_pb_fail(m, HONE_E_FORMAT, "packed field %" PRIu32 ": overlong number", f->number);
            return;
        }
    }
}
