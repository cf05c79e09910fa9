/* Names, types and constants. ONNX wants names unique over a graph and the graphs around it; here
 * they are unique over the whole model. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "onnx/tensor_pb.h"
#include "onnx/writer_impl.h"

/* Constants below this stay in the model file. */
enum { EXTERNAL_MIN_BYTES = 1024, EXTERNAL_ALIGN = 4096 };

static hone_string key_of(onnx_writer *w, const hone_value *v) {
    uintptr_t *key = HONE_NEW(&w->arena, uintptr_t);
    if (key)
        *key = (uintptr_t)v;
    return (hone_string){(const char *)key, sizeof *key};
}

const char *onnx_fresh_name(onnx_writer *w, const char *base) {
    for (;;) {
        char *name = hone_arena_printf(&w->arena, "%.200s_%d", base, w->fresh++);
        if (!name)
            return NULL;
        if (hone_names_get(&w->used, hone_text(name)))
            continue;
        return hone_names_put(&w->used, hone_text(name), name) ? name : NULL;
    }
}

static hone_status give_name(onnx_writer *w, const hone_value *v) {
    union {
        const char *c;
        void *m;
    } name = {v->name};
    hone_string key = key_of(w, v);
    if (!key.data)
        return hone_fail(w->err, HONE_E_NOMEM, "out of memory while writing");
    if (hone_names_get(&w->of_value, key))
        return HONE_OK;
    bool taken = v->name[0] == '\0' || hone_names_get(&w->used, hone_text(v->name));
    if (taken)
        name.c = onnx_fresh_name(w, v->name[0] ? v->name : "value");
    if (!name.c || (!taken && !hone_names_put(&w->used, hone_text(v->name), name.m)) ||
        !hone_names_put(&w->of_value, key, name.m))
        return hone_fail(w->err, HONE_E_NOMEM, "out of memory while writing");
    return HONE_OK;
}

/* Inputs and outputs of the model come first: their names must stay. */
hone_status onnx_name_values(onnx_writer *w, const hone_graph *g) {
    for (int i = 0; i < g->n_inputs; ++i)
        HONE_TRY(give_name(w, g->inputs[i]));
    for (int i = 0; i < g->n_outputs; ++i) {
        if (!g->outputs[i]->outer)
            HONE_TRY(give_name(w, g->outputs[i]));
    }
    for (int i = 0; i < g->n_values; ++i) {
        if (!g->values[i]->outer)
            HONE_TRY(give_name(w, g->values[i]));
    }
    return HONE_OK;
}

const char *onnx_name_of(onnx_writer *w, const hone_value *v) {
    while (v->outer)
        v = v->outer;
    uintptr_t key = (uintptr_t)v;
    const char *name = hone_names_get(&w->of_value, (hone_string){(const char *)&key, sizeof key});
    return name ? name : v->name;
}

static void write_shape(onnx_writer *w, const hone_graph *g, const hone_type *t) {
    hone_pbw_begin(&w->w, 2);
    for (int i = 0; i < t->rank; ++i) {
        char text[24];
        hone_pbw_begin(&w->w, 1);
        if (t->dims[i] >= 0)
            hone_pbw_int(&w->w, 1, t->dims[i]);
        else if (hone_dim_is_symbol(t->dims[i]))
            hone_pbw_text(&w->w, 2, hone_dim_text(g, t->dims[i], text));
        hone_pbw_end(&w->w);
    }
    hone_pbw_end(&w->w);
}

static void write_type_value(onnx_writer *w, const hone_graph *g, const hone_type *t) {
    hone_pbw *p = &w->w;
    if (t->kind == HONE_KIND_SEQUENCE) {
        hone_pbw_begin(p, 4);
        hone_pbw_begin(p, 1);
        if (t->elem)
            write_type_value(w, g, t->elem);
        hone_pbw_end(p);
        hone_pbw_end(p);
    } else if (t->kind == HONE_KIND_TENSOR) {
        hone_pbw_begin(p, 1);
        hone_pbw_int(p, 1, (int64_t)t->dtype);
        if (t->rank >= 0)
            write_shape(w, g, t);
        hone_pbw_end(p);
    }
}

hone_status onnx_write_type(onnx_writer *w, const hone_graph *g, uint32_t field,
                            const hone_type *t) {
    if (t->kind == HONE_KIND_NONE || (t->kind == HONE_KIND_TENSOR && !t->dtype))
        return HONE_OK; /* unknown */
    hone_pbw *p = &w->w;
    hone_pbw_begin(p, field);
    if (t->optional) {
        hone_pbw_begin(p, 9);
        hone_pbw_begin(p, 1);
    }
    write_type_value(w, g, t);
    if (t->optional) {
        hone_pbw_end(p);
        hone_pbw_end(p);
    }
    hone_pbw_end(p);
    return HONE_OK;
}

static void write_entry(hone_pbw *p, const char *key, const char *value) {
    hone_pbw_begin(p, 13);
    hone_pbw_text(p, 1, key);
    hone_pbw_text(p, 2, value);
    hone_pbw_end(p);
}

static hone_status write_external(onnx_writer *w, const hone_tensor *t, const char *name) {
    onnx_extern e = {t, (w->n_external + EXTERNAL_ALIGN - 1) / EXTERNAL_ALIGN * EXTERNAL_ALIGN};
    w->n_external = e.offset + hone_tensor_bytes(t);
    if (!HONE_PUSH(&w->arena, w->external, w->n_externals, w->cap_externals, e))
        return hone_fail(w->err, HONE_E_NOMEM, "out of memory while writing");
    char offset[24], length[24];
    snprintf(offset, sizeof offset, "%" PRIu64, e.offset);
    snprintf(length, sizeof length, "%zu", hone_tensor_bytes(t));
    hone_pbw_ints(&w->w, 1, t->dims, (size_t)t->rank);
    hone_pbw_int(&w->w, 2, (int64_t)t->dtype);
    hone_pbw_text(&w->w, 8, name);
    write_entry(&w->w, "location", w->location);
    write_entry(&w->w, "offset", offset);
    write_entry(&w->w, "length", length);
    hone_pbw_int(&w->w, 14, 1);
    return HONE_OK;
}

hone_status onnx_write_initializer(onnx_writer *w, const hone_tensor *t, const char *name) {
    hone_status status = HONE_OK;
    hone_pbw_begin(&w->w, 5);
    if (w->location && t->dtype != HONE_DTYPE_STRING && hone_tensor_bytes(t) >= EXTERNAL_MIN_BYTES)
        status = write_external(w, t, name);
    else
        hone_tensor_to_pb(&w->w, t, name);
    hone_pbw_end(&w->w);
    return status;
}
