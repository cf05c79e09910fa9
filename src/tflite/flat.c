#include "tflite/flat.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 32 };

static bool grow(tfl_flat *f, size_t n) {
    if (f->is_out_of_memory)
        return false;
    if (n <= f->cap - f->n)
        return true;
    size_t cap = 2 * f->cap > f->n + n ? 2 * f->cap : f->n + n + 4096;
    uint8_t *data = realloc(f->data, cap);
    if (!data) {
        f->is_out_of_memory = true;
        return false;
    }
    f->data = data;
    f->cap = cap;
    return true;
}

void tfl_flat_put(tfl_flat *f, const void *bytes, size_t n) {
    if (n == 0 || !grow(f, n))
        return;
    memcpy(f->data + f->n, bytes, n);
    f->n += n;
}

void tfl_flat_put_u32(tfl_flat *f, uint32_t v) {
    uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    tfl_flat_put(f, b, sizeof b);
}

static void put_number(tfl_flat *f, int64_t v, int bytes) {
    uint8_t b[8];
    for (int i = 0; i < bytes; ++i)
        b[i] = (uint8_t)((uint64_t)v >> (8 * i));
    tfl_flat_put(f, b, (size_t)bytes);
}

static void align_to(tfl_flat *f, size_t align, size_t skew) {
    static const uint8_t zeros[64];
    tfl_flat_put(f, zeros, (align - (f->n + skew) % align) % align);
}

void tfl_flat_point(tfl_flat *f, size_t at, size_t to) {
    if (f->is_out_of_memory)
        return;
    uint32_t v = (uint32_t)(to - at);
    uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    memcpy(f->data + at, b, sizeof b);
}

void tfl_flat_link(tfl_flat *f, size_t at, size_t align, size_t skew) {
    align_to(f, align, skew);
    tfl_flat_point(f, at, f->n);
}

/* Field sizes in the order in which they are laid out: large ones first, so that none needs
 * padding of its own. */
static const int sizes[] = {8, 4, 2, 1};

static int width(const tfl_flat_field *field) {
    return field->bytes ? field->bytes : 4;
}

size_t tfl_flat_table(tfl_flat *f, tfl_flat_field *fields, int n) {
    uint16_t where[MAX_FIELDS] = {0};
    int n_slots = 0;
    size_t body = 4; /* the offset to the vtable comes first */
    bool has_wide = false;
    for (int i = 0; i < n; ++i) {
        n_slots = fields[i].id >= n_slots ? fields[i].id + 1 : n_slots;
        has_wide |= fields[i].bytes == 8;
    }
    if (has_wide)
        body = 8;
    for (int s = 0; s < 4; ++s) {
        for (int i = 0; i < n; ++i) {
            if (width(&fields[i]) != sizes[s])
                continue;
            where[fields[i].id] = (uint16_t)body;
            body += (size_t)sizes[s];
        }
    }
    size_t vtable_bytes = 4 + 2 * (size_t)n_slots;
    align_to(f, 8, vtable_bytes);
    put_number(f, (int64_t)vtable_bytes, 2);
    put_number(f, (int64_t)body, 2);
    for (int i = 0; i < n_slots; ++i)
        put_number(f, where[i], 2);
    size_t table = f->n;
    put_number(f, (int64_t)vtable_bytes, 4);
    if (has_wide)
        put_number(f, 0, 4);
    for (int s = 0; s < 4; ++s) {
        for (int i = 0; i < n; ++i) {
            if (width(&fields[i]) != sizes[s])
                continue;
            fields[i].at = f->n;
            put_number(f, fields[i].bytes ? fields[i].value : 0, sizes[s]);
        }
    }
    return table;
}

void tfl_flat_i32s(tfl_flat *f, size_t at, const int32_t *v, int n) {
    tfl_flat_link(f, at, 4, 0);
    tfl_flat_put_u32(f, (uint32_t)n);
    for (int i = 0; i < n; ++i)
        put_number(f, v[i], 4);
}

void tfl_flat_f32s(tfl_flat *f, size_t at, const float *v, int n) {
    tfl_flat_link(f, at, 4, 0);
    tfl_flat_put_u32(f, (uint32_t)n);
    for (int i = 0; i < n; ++i) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        put_number(f, bits, 4);
    }
}

void tfl_flat_i64s(tfl_flat *f, size_t at, const int64_t *v, int n) {
    tfl_flat_link(f, at, 8, 4);
    tfl_flat_put_u32(f, (uint32_t)n);
    for (int i = 0; i < n; ++i)
        put_number(f, v[i], 8);
}

void tfl_flat_string(tfl_flat *f, size_t at, const char *s) {
    size_t n = strlen(s);
    tfl_flat_link(f, at, 4, 0);
    tfl_flat_put_u32(f, (uint32_t)n);
    tfl_flat_put(f, s, n + 1);
}

size_t tfl_flat_offsets(tfl_flat *f, size_t at, int n) {
    tfl_flat_link(f, at, 4, 0);
    tfl_flat_put_u32(f, (uint32_t)n);
    size_t first = f->n;
    for (int i = 0; i < n; ++i)
        tfl_flat_put_u32(f, 0);
    return first;
}
