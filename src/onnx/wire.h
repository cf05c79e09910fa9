/* Protobuf wire format: a checked reader over bytes in memory and a writer that keeps large
 * payloads as views.
 *
 * Facts from the "Encoding" page of the Protocol Buffers documentation. Groups (wire types 3 and 4)
 * are refused: ONNX has none. */
#ifndef HONE_ONNX_WIRE_H
#define HONE_ONNX_WIRE_H

#include "base/status.h"

/* Reader. Failures stick: after the first one hone_pb_next returns false, `status` tells why and
 * `err` is filled. A value read from a field of the wrong wire type is 0 or empty. */
typedef struct hone_pb {
    const uint8_t *at, *end;
    const uint8_t *base; /* start of the file, for offsets in messages */
    int depth;
    hone_status status;
    hone_error *err;
} hone_pb;

typedef enum hone_pb_wire {
    HONE_PB_VARINT = 0,
    HONE_PB_FIXED64 = 1,
    HONE_PB_BYTES = 2,
    HONE_PB_FIXED32 = 5
} hone_pb_wire;

typedef struct hone_pb_field {
    uint32_t number;
    hone_pb_wire wire;
    uint64_t value;       /* VARINT, FIXED32, FIXED64 */
    const uint8_t *bytes; /* BYTES */
    size_t n_bytes;
} hone_pb_field;

void hone_pb_init(hone_pb *m, const void *bytes, size_t n, hone_error *err);
/** The next field; false at the end of the message or after a failure. */
bool hone_pb_next(hone_pb *m, hone_pb_field *f);
/** Offset of the reader in the file. */
int64_t hone_pb_offset(const hone_pb *m);

int64_t hone_pb_int(hone_pb *m, const hone_pb_field *f);
/** An int32 or enum field; fails when it does not fit. */
int hone_pb_int32(hone_pb *m, const hone_pb_field *f);
float hone_pb_float(hone_pb *m, const hone_pb_field *f);
hone_string hone_pb_string(hone_pb *m, const hone_pb_field *f);
/** A reader of the sub-message, to be joined with hone_pb_join when done. */
hone_pb hone_pb_sub(hone_pb *m, const hone_pb_field *f);
/** Take over a sub-reader's failure. */
void hone_pb_join(hone_pb *m, const hone_pb *sub);
/** Fail here. Returns `code`. */
hone_status hone_pb_fail(hone_pb *m, hone_status code, const char *format, ...) HONE_PRINTF(3, 4);
/** Remember the status of something read from this message. */
void hone_pb_note(hone_pb *m, hone_status status);

/* Repeated numbers, packed or not: an occurrence of the field gives zero or more elements. */
/** How many elements the field holds; -1 (and failure) when malformed. */
int64_t hone_pb_count(hone_pb *m, const hone_pb_field *f, hone_pb_wire element);
/** Decode them into out, which has room for hone_pb_count elements. Elements are raw: the two's
 * complement of integers, the bits of floats. */
void hone_pb_u64s(hone_pb *m, const hone_pb_field *f, hone_pb_wire element, uint64_t *out);

/* Writer. */
typedef struct hone_pb_piece hone_pb_piece;
typedef struct hone_pbw {
    uint8_t *bytes;
    size_t n_bytes, cap_bytes;
    hone_pb_piece *pieces;
    size_t n_pieces, cap_pieces;
    int depth;
    bool failed; /* out of memory; stays set */
} hone_pbw;

/** Writes n bytes somewhere; anything but HONE_OK stops the writing. */
typedef hone_status (*hone_pb_sink)(void *arg, const void *bytes, size_t n);

void hone_pbw_init(hone_pbw *w);
void hone_pbw_deinit(hone_pbw *w);
void hone_pbw_int(hone_pbw *w, uint32_t field, int64_t v);
void hone_pbw_float(hone_pbw *w, uint32_t field, float v);
void hone_pbw_bytes(hone_pbw *w, uint32_t field, const void *bytes, size_t n);
void hone_pbw_text(hone_pbw *w, uint32_t field, const char *s);
/** As hone_pbw_bytes without a copy: the bytes must stay until the writing is done. */
void hone_pbw_view(hone_pbw *w, uint32_t field, const void *bytes, size_t n);
void hone_pbw_ints(hone_pbw *w, uint32_t field, const int64_t *v, size_t n); /* packed */
void hone_pbw_floats(hone_pbw *w, uint32_t field, const float *v, size_t n); /* packed */
/** A sub-message: what is written up to the matching end. */
void hone_pbw_begin(hone_pbw *w, uint32_t field);
void hone_pbw_end(hone_pbw *w);
/** Bytes of the finished message; 0 when it is empty or writing failed. */
size_t hone_pbw_size(hone_pbw *w);
/** Hand the message to the sink in order. */
HONE_NODISCARD hone_status hone_pbw_emit(hone_pbw *w, hone_pb_sink sink, void *arg,
                                         hone_error *err);

#endif
