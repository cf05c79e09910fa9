/* A writer of FlatBuffers: tables, vectors and strings appended to one buffer from front to back.
 *
 * In this format a table comes before what it refers to, since offsets point forward only: a table
 * is written with empty offsets, and each is linked to what is appended later.
 * Source: the FlatBuffers internals documentation (flatbuffers.dev, "Internals").
 * Running out of memory is remembered; the functions go on doing nothing. Not thread-safe. */
#ifndef HONE_TFLITE_FLAT_H
#define HONE_TFLITE_FLAT_H

#include "base/status.h"

typedef struct tfl_flat {
    uint8_t *data;
    size_t n, cap;
    bool is_out_of_memory;
} tfl_flat;

/* A field that is present in a table. */
typedef struct tfl_flat_field {
    int id;
    int bytes; /* 1, 2, 4 or 8; 0: an offset, to be linked */
    int64_t value;
    size_t at; /* result: where it lies */
} tfl_flat_field;

/** Fields in any order, ids unique. Returns the table's position. */
size_t tfl_flat_table(tfl_flat *f, tfl_flat_field *fields, int n);
/** The offset at `at` refers to what is appended next, which is aligned to `align` first (and, when
 * `skew` is not 0, so that position + skew is aligned). */
void tfl_flat_link(tfl_flat *f, size_t at, size_t align, size_t skew);
/** The offset at `at` refers to position `to`, which is behind it. */
void tfl_flat_point(tfl_flat *f, size_t at, size_t to);
/** Append; the element count of a vector is a u32 in front of its elements. */
void tfl_flat_put(tfl_flat *f, const void *bytes, size_t n);
void tfl_flat_put_u32(tfl_flat *f, uint32_t v);
/** Link a vector of i32, of f32 or of i64, or a string, to the offset at `at`. */
void tfl_flat_i32s(tfl_flat *f, size_t at, const int32_t *v, int n);
void tfl_flat_f32s(tfl_flat *f, size_t at, const float *v, int n);
void tfl_flat_i64s(tfl_flat *f, size_t at, const int64_t *v, int n);
void tfl_flat_string(tfl_flat *f, size_t at, const char *s);
/** Link a vector of n empty offsets; returns the position of the first, 4 bytes each. */
size_t tfl_flat_offsets(tfl_flat *f, size_t at, int n);

#endif
