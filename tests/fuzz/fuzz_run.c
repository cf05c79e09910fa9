/* Any bytes as an ONNX model that is built and run: each step must fail or succeed, nothing else.
 * The last byte says at which level, and what the inputs hold. Memory and work are bounded, so that
 * what takes long or much is a finding. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "ops/cost.h"

enum { MAX_RAM_BYTES = 4 << 20, MAX_STEPS = 2000, MAX_MACS = 20000000, MAX_INPUTS = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Are the types' products few enough to run? */
static bool is_cheap(const hone_graph *g) {
    int64_t total = 0;
    for (int i = 0; i < g->n_nodes; ++i) {
        int64_t macs = hone_node_macs(g->nodes[i], NULL);
        total += macs > 0 ? macs : 0;
        if (macs > MAX_MACS || total > MAX_MACS)
            return false;
    }
    return true;
}

static void fill(hone_tensor *t, int mode) {
    static const char *const words[] = {"", "a", "b c", "12", "\xc3\xbc"};
    uint32_t state = 12345;
    int64_t n = hone_tensor_count(t);
    for (int64_t i = 0; i < n; ++i) {
        state = state * 1664525u + 1013904223u;
        int v = mode ? (int)(state >> 16) % 7 - 2 : 0;
        if (t->dtype == HONE_DTYPE_STRING) {
            const char *word = words[(state >> 16) % 5];
            hone_error err;
            if (hone_string_set(t, i, word, strlen(word), &err) != HONE_OK)
                return;
        } else if (t->dtype == HONE_DTYPE_BOOL) {
            ((uint8_t *)t->data)[i] = v & 1;
        } else if (hone_dtype_in(t->dtype, HONE_T_INT)) {
            hone_store_i64(t->dtype, t->data, i, v);
        } else if (!hone_dtype_in(t->dtype, HONE_T_COMPLEX)) {
            hone_store_f64(t->dtype, t->data, i, mode == 2 ? v * 1e30 : v * 0.5);
        }
    }
}

/* A value of the type, with open dims set to a small number. */
static bool make_value(const hone_type *type, int mode, int dim, hone_alloc *a, hone_tensor *t) {
    hone_error err;
    *t = (hone_tensor){.kind = type->kind, .dtype = type->dtype};
    if (type->kind == HONE_KIND_SEQUENCE && type->elem) {
        hone_tensor item;
        t->rank = 1;
        t->dims[0] = 2;
        if (hone_tensor_alloc(a, t, &err) != HONE_OK)
            return false;
        for (int i = 0; i < 2 && type->elem->kind == HONE_KIND_TENSOR; ++i) {
            if (!make_value(type->elem, mode, dim, a, &item))
                return false;
            hone_status status = hone_seq_set(a, t, i, &item, &err);
            hone_tensor_release(&item);
            if (status != HONE_OK)
                return false;
        }
        return type->elem->kind == HONE_KIND_TENSOR;
    }
    if (type->kind != HONE_KIND_TENSOR || !type->dtype)
        return false;
    t->rank = type->rank < 0 ? 1 : type->rank;
    for (int i = 0; i < t->rank; ++i)
        t->dims[i] = type->rank < 0 || type->dims[i] < 0 ? dim : type->dims[i];
    if (hone_tensor_alloc(a, t, &err) != HONE_OK)
        return false;
    if (hone_tensor_bytes(t))
        memset(t->data, 0, hone_tensor_bytes(t));
    fill(t, mode);
    return true;
}

static void run(hone_engine *e, int control) {
    const hone_graph *g = e->graph;
    hone_error err;
    hone_session *s;
    int64_t steps = MAX_STEPS;
    hone_tensor in[MAX_INPUTS] = {{.kind = HONE_KIND_NONE}};
    if (g->n_inputs > MAX_INPUTS || hone_session_create(e, 1, &s, &err) != HONE_OK)
        return;
    hone_session_set_budget(s, &steps);
    hone_alloc *a = hone_alloc_create(MAX_RAM_BYTES);
    for (int i = 0; a && i < g->n_inputs; ++i) {
        bool set = !g->inputs[i]->initial &&
                   make_value(&g->inputs[i]->type, (control >> 4) % 3, control >> 6, a, &in[i]);
        if (set && hone_session_set_input(s, i, &in[i], &err) != HONE_OK)
            break;
    }
    if (hone_session_run(s, &err) == HONE_OK)
        steps += hone_session_run(s, &err) == HONE_OK; /* on the first one's plan */
    hone_session_destroy(s);
    for (int i = 0; i < g->n_inputs; ++i)
        hone_tensor_release(&in[i]);
    hone_alloc_destroy(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    void *bytes;
    if (size < 2 || posix_memalign(&bytes, 64, size - 1) != 0)
        return 0;
    memcpy(bytes, data, size - 1); /* files are mapped: aligned to pages */
    int control = data[size - 1];
    hone_model *model;
    hone_engine *e;
    hone_error err;
    hone_build_options o;
    hone_build_options_init(&o);
    o.optimize = control % 3;
    o.keeps_defaults = (control & 8) != 0;
    o.max_ram_bytes = MAX_RAM_BYTES;
    o.n_threads = 1;
    if (hone_model_parse(bytes, size - 1, NULL, &model, &err) == HONE_OK) {
        if (is_cheap(model->graph) && hone_engine_build(model, &o, &e, &err) == HONE_OK) {
            run(e, control);
            hone_engine_destroy(e);
        }
        hone_model_destroy(model);
    }
    free(bytes);
    return 0;
}
