#include "tflite/flat_read.h"

#include <string.h>

static uint32_t load_u32(const tfr_flat *f, size_t at) {
    const uint8_t *p = f->data + at;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static unsigned load_u16(const tfr_flat *f, size_t at) {
    return (unsigned)f->data[at] | (unsigned)f->data[at + 1] << 8;
}

static uint64_t load_u64(const tfr_flat *f, size_t at) {
    return load_u32(f, at) | (uint64_t)load_u32(f, at + 4) << 32;
}

static float as_float(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static bool fits(const tfr_flat *f, size_t at, size_t n) {
    return at <= f->n && n <= f->n - at;
}

hone_status tfr_flat_fail(tfr_flat *f, size_t at, const char *what) {
    if (f->status == HONE_OK)
        f->status = hone_fail_at(f->err, (int64_t)at, HONE_E_FORMAT,
                                 "not a TensorFlow Lite model, or a damaged one: %s", what);
    return f->status;
}

static tfr_table table_at(tfr_flat *f, size_t at) {
    tfr_table none = {0, 0, 0, 0}, t = {.at = at};
    if (!fits(f, at, 4)) {
        tfr_flat_fail(f, at, "a table lies outside the file");
        return none;
    }
    int64_t vtable = (int64_t)at - (int32_t)load_u32(f, at);
    if (vtable < 0 || !fits(f, (size_t)vtable, 4)) {
        tfr_flat_fail(f, at, "a table's list of fields lies outside the file");
        return none;
    }
    t.vtable = (size_t)vtable;
    size_t n = load_u16(f, t.vtable);
    t.n_bytes = load_u16(f, t.vtable + 2);
    if (n < 4 || !fits(f, t.vtable, n) || t.n_bytes < 4 || !fits(f, at, t.n_bytes)) {
        tfr_flat_fail(f, at, "a table does not fit into the file");
        return none;
    }
    t.n_fields = (int)((n - 4) / 2);
    return t;
}

/* Where the field lies, 0 when it is absent. */
static size_t field(tfr_flat *f, tfr_table t, int id, size_t size) {
    if (f->status != HONE_OK || t.at == 0 || id >= t.n_fields)
        return 0;
    size_t at = load_u16(f, t.vtable + 4 + 2 * (size_t)id);
    if (at == 0)
        return 0;
    if (at < 4 || at + size > t.n_bytes) {
        tfr_flat_fail(f, t.at, "a field lies outside its table");
        return 0;
    }
    return t.at + at;
}

/* Where an offset leads to; `at` has four bytes. 0 on failure. */
static size_t follow(tfr_flat *f, size_t at) {
    size_t to = at + load_u32(f, at);
    if (to == at || !fits(f, to, 4)) {
        tfr_flat_fail(f, at, "an offset leads out of the file");
        return 0;
    }
    return to;
}

tfr_table tfr_root(tfr_flat *f) {
    if (!fits(f, 0, 8)) {
        tfr_flat_fail(f, 0, "the file ends too early");
        return (tfr_table){0, 0, 0, 0};
    }
    size_t to = follow(f, 0);
    return to ? table_at(f, to) : (tfr_table){0, 0, 0, 0};
}

int64_t tfr_i8(tfr_flat *f, tfr_table t, int id, int64_t missing) {
    size_t at = field(f, t, id, 1);
    return at ? (int8_t)f->data[at] : missing;
}

int64_t tfr_u8(tfr_flat *f, tfr_table t, int id, int64_t missing) {
    size_t at = field(f, t, id, 1);
    return at ? f->data[at] : missing;
}

int64_t tfr_i32(tfr_flat *f, tfr_table t, int id, int64_t missing) {
    size_t at = field(f, t, id, 4);
    return at ? (int32_t)load_u32(f, at) : missing;
}

int64_t tfr_u32(tfr_flat *f, tfr_table t, int id, int64_t missing) {
    size_t at = field(f, t, id, 4);
    return at ? load_u32(f, at) : missing;
}

uint64_t tfr_u64(tfr_flat *f, tfr_table t, int id, uint64_t missing) {
    size_t at = field(f, t, id, 8);
    return at ? load_u64(f, at) : missing;
}

float tfr_f32(tfr_flat *f, tfr_table t, int id, float missing) {
    size_t at = field(f, t, id, 4);
    return at ? as_float(load_u32(f, at)) : missing;
}

tfr_table tfr_sub(tfr_flat *f, tfr_table t, int id) {
    size_t at = field(f, t, id, 4);
    size_t to = at ? follow(f, at) : 0;
    return to ? table_at(f, to) : (tfr_table){0, 0, 0, 0};
}

tfr_vector tfr_list(tfr_flat *f, tfr_table t, int id, size_t size) {
    size_t at = field(f, t, id, 4);
    size_t to = at ? follow(f, at) : 0;
    if (!to)
        return (tfr_vector){0, 0, false};
    size_t n = load_u32(f, to);
    if (n > (f->n - to - 4) / size) {
        tfr_flat_fail(f, to, "a list is longer than the file");
        return (tfr_vector){0, 0, false};
    }
    return (tfr_vector){to + 4, n, true};
}

hone_string tfr_text(tfr_flat *f, tfr_table t, int id) {
    tfr_vector v = tfr_list(f, t, id, 1);
    return v.n ? (hone_string){(const char *)f->data + v.at, v.n} : (hone_string){"", 0};
}

tfr_table tfr_at(tfr_flat *f, tfr_vector v, size_t i) {
    if (f->status != HONE_OK || i >= v.n)
        return (tfr_table){0, 0, 0, 0};
    size_t to = follow(f, v.at + 4 * i);
    return to ? table_at(f, to) : (tfr_table){0, 0, 0, 0};
}

int32_t tfr_at_i32(const tfr_flat *f, tfr_vector v, size_t i) {
    return (int32_t)load_u32(f, v.at + 4 * i);
}

int64_t tfr_at_i64(const tfr_flat *f, tfr_vector v, size_t i) {
    return (int64_t)load_u64(f, v.at + 8 * i);
}

float tfr_at_f32(const tfr_flat *f, tfr_vector v, size_t i) {
    return as_float(load_u32(f, v.at + 4 * i));
}
