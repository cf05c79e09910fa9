/* A checked reader of FlatBuffers: every offset, table, vector and string is found to lie inside the
 * bytes before it is followed. The first failure is remembered; later reads give defaults.
 * Source of the layout: the FlatBuffers internals documentation (flatbuffers.dev, "Internals"). */
#ifndef HONE_TFLITE_FLAT_READ_H
#define HONE_TFLITE_FLAT_READ_H

#include "base/status.h"

typedef struct tfr_flat {
    const uint8_t *data;
    size_t n;
    hone_status status;
    hone_error *err;
} tfr_flat;

/* at 0: absent; every field then has its default. */
typedef struct tfr_table {
    size_t at, vtable;
    int n_fields;
    size_t n_bytes;
} tfr_table;

/* Elements at data + at; n 0 when absent. */
typedef struct tfr_vector {
    size_t at, n;
    bool is_present;
} tfr_vector;

tfr_table tfr_root(tfr_flat *f);
hone_status tfr_flat_fail(tfr_flat *f, size_t at, const char *what);

/* Scalars of a table by field id. */
int64_t tfr_i8(tfr_flat *f, tfr_table t, int id, int64_t missing);
int64_t tfr_u8(tfr_flat *f, tfr_table t, int id, int64_t missing);
int64_t tfr_i32(tfr_flat *f, tfr_table t, int id, int64_t missing);
int64_t tfr_u32(tfr_flat *f, tfr_table t, int id, int64_t missing);
uint64_t tfr_u64(tfr_flat *f, tfr_table t, int id, uint64_t missing);
float tfr_f32(tfr_flat *f, tfr_table t, int id, float missing);
/** A table that a field refers to. */
tfr_table tfr_sub(tfr_flat *f, tfr_table t, int id);
/** A vector of elements of `size` bytes (tables and strings: 4). */
tfr_vector tfr_list(tfr_flat *f, tfr_table t, int id, size_t size);
/** Text of a field; length 0 when absent. */
hone_string tfr_text(tfr_flat *f, tfr_table t, int id);
/** Element i of a vector of tables. */
tfr_table tfr_at(tfr_flat *f, tfr_vector v, size_t i);
/* Elements of vectors of scalars. */
int32_t tfr_at_i32(const tfr_flat *f, tfr_vector v, size_t i);
int64_t tfr_at_i64(const tfr_flat *f, tfr_vector v, size_t i);
float tfr_at_f32(const tfr_flat *f, tfr_vector v, size_t i);

#endif
