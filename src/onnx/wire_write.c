/* Protobuf wire format: writing. Small fields are collected in one buffer, large ones kept as
 * views; the lengths of sub-messages are computed when all is known, so they are minimal. */
#include <stdlib.h>
#include <string.h>

#include "onnx/wire.h"

typedef enum { PIECE_BYTES, PIECE_VIEW, PIECE_BEGIN, PIECE_END } piece_kind;

struct hone_pb_piece {
    piece_kind kind;
    const void *view; /* VIEW */
    size_t size;      /* BYTES, VIEW: length; BEGIN: of the message, once computed */
};

void hone_pbw_init(hone_pbw *w) {
    memset(w, 0, sizeof *w);
}

void hone_pbw_deinit(hone_pbw *w) {
    free(w->bytes);
    free(w->pieces);
    memset(w, 0, sizeof *w);
}

static bool reserve(void **ptr, size_t *cap, size_t n, size_t more, size_t size) {
    size_t need, bytes;
    if (!hone_add_size(n, more, &need))
        return false;
    if (need <= *cap)
        return true;
    size_t larger = *cap ? *cap * 2 : 64;
    if (larger < need)
        larger = need;
    void *grown = hone_mul_size(larger, size, &bytes) ? realloc(*ptr, bytes) : NULL;
    if (!grown)
        return false;
    *ptr = grown;
    *cap = larger;
    return true;
}

static void add_piece(hone_pbw *w, piece_kind kind, const void *view, size_t size) {
    void *pieces = w->pieces;
    if (w->failed || !reserve(&pieces, &w->cap_pieces, w->n_pieces, 1, sizeof *w->pieces)) {
        w->failed = true;
        return;
    }
    w->pieces = pieces;
    w->pieces[w->n_pieces++] = (hone_pb_piece){kind, view, size};
}

static void put(hone_pbw *w, const void *bytes, size_t n) {
    void *buffer = w->bytes;
    if (w->failed || !reserve(&buffer, &w->cap_bytes, w->n_bytes, n, 1)) {
        w->failed = true;
        return;
    }
    w->bytes = buffer;
    if (n)
        memcpy(w->bytes + w->n_bytes, bytes, n);
    w->n_bytes += n;
    if (w->n_pieces && w->pieces[w->n_pieces - 1].kind == PIECE_BYTES)
        w->pieces[w->n_pieces - 1].size += n;
    else
        add_piece(w, PIECE_BYTES, NULL, n);
}

static size_t encode_varint(uint64_t v, uint8_t out[10]) {
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

static void put_varint(hone_pbw *w, uint64_t v) {
    uint8_t b[10];
    put(w, b, encode_varint(v, b));
}

static void put_key(hone_pbw *w, uint32_t field, hone_pb_wire wire) {
    put_varint(w, (uint64_t)field << 3 | (uint64_t)wire);
}

void hone_pbw_int(hone_pbw *w, uint32_t field, int64_t v) {
    put_key(w, field, HONE_PB_VARINT);
    put_varint(w, (uint64_t)v);
}

static void put_float(hone_pbw *w, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint8_t b[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                    (uint8_t)(bits >> 24)};
    put(w, b, 4);
}

void hone_pbw_float(hone_pbw *w, uint32_t field, float v) {
    put_key(w, field, HONE_PB_FIXED32);
    put_float(w, v);
}

void hone_pbw_bytes(hone_pbw *w, uint32_t field, const void *bytes, size_t n) {
    put_key(w, field, HONE_PB_BYTES);
    put_varint(w, n);
    put(w, bytes, n);
}

void hone_pbw_text(hone_pbw *w, uint32_t field, const char *s) {
    hone_pbw_bytes(w, field, s, strlen(s));
}

void hone_pbw_view(hone_pbw *w, uint32_t field, const void *bytes, size_t n) {
    put_key(w, field, HONE_PB_BYTES);
    put_varint(w, n);
    add_piece(w, PIECE_VIEW, bytes, n);
}

void hone_pbw_ints(hone_pbw *w, uint32_t field, const int64_t *v, size_t n) {
    size_t bytes = 0;
    uint8_t b[10];
    for (size_t i = 0; i < n; ++i)
        bytes += encode_varint((uint64_t)v[i], b);
    put_key(w, field, HONE_PB_BYTES);
    put_varint(w, bytes);
    for (size_t i = 0; i < n; ++i)
        put_varint(w, (uint64_t)v[i]);
}

void hone_pbw_floats(hone_pbw *w, uint32_t field, const float *v, size_t n) {
    put_key(w, field, HONE_PB_BYTES);
    put_varint(w, n * 4);
    for (size_t i = 0; i < n; ++i)
        put_float(w, v[i]);
}

void hone_pbw_begin(hone_pbw *w, uint32_t field) {
    put_key(w, field, HONE_PB_BYTES);
    add_piece(w, PIECE_BEGIN, NULL, 0);
    w->depth++;
}

void hone_pbw_end(hone_pbw *w) {
    add_piece(w, PIECE_END, NULL, 0);
    w->depth--;
}

size_t hone_pbw_size(hone_pbw *w) {
    size_t *inside = w->failed ? NULL : calloc(w->n_pieces + 1, sizeof *inside);
    if (!inside) {
        w->failed = true;
        return 0;
    }
    /* Backwards: an END opens a sum, its BEGIN closes it. */
    size_t level = 0;
    for (size_t i = w->n_pieces; i-- > 0;) {
        hone_pb_piece *p = &w->pieces[i];
        uint8_t b[10];
        if (p->kind == PIECE_END) {
            inside[++level] = 0;
        } else if (p->kind == PIECE_BEGIN) {
            p->size = inside[level--];
            inside[level] += p->size + encode_varint(p->size, b);
        } else {
            inside[level] += p->size;
        }
    }
    size_t total = inside[0];
    free(inside);
    return total;
}

hone_status hone_pbw_emit(hone_pbw *w, hone_pb_sink sink, void *arg, hone_error *err) {
    hone_pbw_size(w);
    if (w->failed)
        return hone_fail(err, HONE_E_NOMEM, "out of memory while writing a protobuf message");
    const uint8_t *at = w->bytes;
    for (size_t i = 0; i < w->n_pieces; ++i) {
        const hone_pb_piece *p = &w->pieces[i];
        uint8_t b[10];
        if (p->kind == PIECE_BYTES) {
            HONE_TRY(sink(arg, at, p->size));
            at += p->size;
        } else if (p->kind == PIECE_VIEW) {
            HONE_TRY(sink(arg, p->view, p->size));
        } else if (p->kind == PIECE_BEGIN) {
            HONE_TRY(sink(arg, b, encode_varint(p->size, b)));
        }
    }
    return HONE_OK;
}
