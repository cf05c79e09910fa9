/* Small ONNX models made in memory for the tests. */
#ifndef HONE_TESTS_ONNX_BUILD_H
#define HONE_TESTS_ONNX_BUILD_H

#include <stdlib.h>
#include <string.h>

#include "onnx/wire.h"

typedef struct bytes {
    uint8_t *at;
    size_t n;
} bytes;

static inline hone_status bytes_sink(void *arg, const void *p, size_t n) {
    bytes *b = arg;
    if (n) {
        b->at = realloc(b->at, b->n + n);
        memcpy(b->at + b->n, p, n);
    }
    b->n += n;
    return HONE_OK;
}

/* The writer's message as one block, to be freed. */
static inline bytes take(hone_pbw *w) {
    bytes b = {NULL, 0};
    hone_error err;
    if (hone_pbw_emit(w, bytes_sink, &b, &err) != HONE_OK)
        abort();
    hone_pbw_deinit(w);
    return b;
}

/* The fields before the graph. */
static inline void begin_model(hone_pbw *w, int64_t opset) {
    hone_pbw_init(w);
    hone_pbw_int(w, 1, 8);
    hone_pbw_begin(w, 8);
    hone_pbw_int(w, 2, opset);
    hone_pbw_end(w);
}

/* Names separated by spaces; "-" is an omitted one. */
static inline void add_names(hone_pbw *w, uint32_t field, const char *names) {
    while (*names) {
        size_t n = strcspn(names, " ");
        bool omitted = n == 1 && names[0] == '-';
        hone_pbw_bytes(w, field, names, omitted ? 0 : n);
        names += n + (names[n] == ' ');
    }
}

static inline void begin_node(hone_pbw *w, uint32_t field, const char *domain, const char *op,
                              const char *in, const char *out) {
    hone_pbw_begin(w, field);
    add_names(w, 1, in);
    add_names(w, 2, out);
    hone_pbw_text(w, 4, op);
    if (domain[0])
        hone_pbw_text(w, 7, domain);
}

static inline void add_node(hone_pbw *w, uint32_t field, const char *domain, const char *op,
                            const char *in, const char *out) {
    begin_node(w, field, domain, op, in, out);
    hone_pbw_end(w);
}

/* A float tensor; field 11 is an input, 12 an output. */
static inline void add_value(hone_pbw *w, uint32_t field, const char *name, int rank,
                             const int64_t *dims) {
    hone_pbw_begin(w, field);
    hone_pbw_text(w, 1, name);
    hone_pbw_begin(w, 2);
    hone_pbw_begin(w, 1);
    hone_pbw_int(w, 1, 1);
    hone_pbw_begin(w, 2);
    for (int i = 0; i < rank; ++i) {
        hone_pbw_begin(w, 1);
        hone_pbw_int(w, 1, dims[i]);
        hone_pbw_end(w);
    }
    for (int i = 0; i < 4; ++i)
        hone_pbw_end(w);
}

static inline void add_floats(hone_pbw *w, const char *name, const float *v, int64_t n) {
    hone_pbw_begin(w, 5);
    hone_pbw_ints(w, 1, &n, 1);
    hone_pbw_int(w, 2, 1);
    hone_pbw_floats(w, 4, v, (size_t)n);
    hone_pbw_text(w, 8, name);
    hone_pbw_end(w);
}

#endif
