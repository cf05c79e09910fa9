/* Any bytes as an ONNX model that is written as TensorFlow Lite, quantised before with made-up
 * ranges or as it is. What is written must be read again. The last byte has the options. Seeds are
 * those of fuzz_run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/profile.h"
#include "quant/decompose.h"
#include "quant/insert_qdq.h"
#include "tflite/convert.h"

enum { MAX_FILE_BYTES = 8 << 20, MAX_NODES = 400 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct sink {
    size_t n;
    _Alignas(64) uint8_t bytes[MAX_FILE_BYTES];
} sink;

static hone_status put(void *arg, const void *bytes, size_t n) {
    sink *s = arg;
    if (n > MAX_FILE_BYTES - s->n)
        return HONE_E_NOMEM;
    memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
    return HONE_OK;
}

/* Our own reader refuses nothing that we write, but shapes and types in conflict that are in the
 * original, too: some are found when a node runs only. */
static void read_back(const sink *s) {
    hone_model *model;
    hone_error err;
    hone_status status = hone_model_parse(s->bytes, s->n, NULL, &model, &err);
    bool is_conflict = status == HONE_E_SHAPE || status == HONE_E_TYPE;
    if (status != HONE_OK && status != HONE_E_NOMEM && !is_conflict) {
        fprintf(stderr, "%s (%s): %s\n", err.node, err.op, err.message);
        abort();
    }
    hone_model_destroy(status == HONE_OK ? model : NULL);
}

/* Every value is seen in a range that its name decides. */
static bool observe_all(const hone_graph *g, hone_ranges *ranges) {
    for (int i = 0; i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        float width = (float)(1 + strlen(v->name) % 7), both[2] = {-width, width / 3};
        hone_tensor t = hone_tensor_view(HONE_DTYPE_F32, 1, (const int64_t[]){2}, both);
        if (!v->constant && !hone_observe(ranges, v->name, &t))
            return false;
    }
    return true;
}

/* What is quantised is a graph as before. */
static hone_status quantise(hone_graph *g, bool has_integer_io, hone_findings *findings,
                            hone_error *err) {
    hone_ranges ranges = {.n = 0};
    hone_quant_count count;
    HONE_TRY(hone_tflite_prepare(g, err));
    HONE_TRY(hone_quant_decompose(g, err));
    hone_arena_init(&ranges.arena, 0);
    hone_status status = observe_all(g, &ranges)
                             ? hone_quant_insert(g, &ranges, findings, &count, err)
                             : HONE_E_NOMEM;
    hone_arena_deinit(&ranges.arena);
    if (status == HONE_OK && has_integer_io)
        status = hone_quant_integer_io(g, err);
    if (status == HONE_OK && hone_graph_verify(g, err) != HONE_OK) {
        fprintf(stderr, "%s (%s): %s\n", err->node, err->op, err->message);
        abort();
    }
    return status;
}

static void convert(const hone_model *model, int control, sink *s) {
    hone_error err;
    hone_findings findings = {.n = 0};
    hone_tflite_options options = {.is_fp16 = (control & 1) != 0,
                                   .has_channels_last_io = (control & 2) != 0};
    hone_graph *g = hone_graph_clone(model->graph);
    hone_arena_init(&findings.arena, 0);
    if (g)
        hone_fix_defaults(g);
    if (g && hone_apply_shapes(g, NULL, 0, &err) == HONE_OK &&
        hone_onnx_align(g, SIZE_MAX, NULL, &err) == HONE_OK &&
        (!(control & 4) || quantise(g, (control & 8) != 0, &findings, &err) == HONE_OK) &&
        hone_tflite_convert(g, &options, &findings, put, s, &err) == HONE_OK)
        read_back(s);
    hone_findings_free(&findings);
    hone_graph_destroy(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static sink s; /* too large for the stack, and slow to map for each run */
    uint8_t *bytes = size < 2 ? NULL : aligned_alloc(64, (size + 63) / 64 * 64);
    hone_model *model;
    hone_error err;
    s.n = 0;
    if (bytes) {
        memcpy(bytes, data, size - 1);
        if (hone_model_parse(bytes, size - 1, NULL, &model, &err) == HONE_OK) {
            if (model->graph->n_nodes <= MAX_NODES)
                convert(model, data[size - 1], &s);
            hone_model_destroy(model);
        }
    }
    free(bytes);
    return 0;
}
