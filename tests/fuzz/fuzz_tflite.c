/* Any bytes as a TensorFlow Lite model: importing and inferring must fail or succeed, and what was
 * imported must run by reference, or fail; in bounded memory. */
#include <stdlib.h>

#include "engine/internal.h"
#include "hone/hone.h"
#include "tflite/import.h"

enum { MAX_STEPS = 2000 }; /* of a run: loops may have no end */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Runs with zeros for inputs, twice where there is state; models of much work are only built. */
static void run(const hone_engine *engine) {
    hone_session *session = NULL;
    if (hone_session_create(engine, 1, &session, NULL) != HONE_OK)
        return;
    hone_status status = HONE_OK;
    int64_t steps = MAX_STEPS;
    bool has_state = false;
    hone_session_set_budget(session, &steps);
    void *buffers[4] = {NULL};
    for (int i = 0; i < hone_engine_input_count(engine) && i < 4 && status == HONE_OK; ++i) {
        hone_io_info io;
        hone_tensor t = {.kind = HONE_KIND_TENSOR};
        if (!hone_engine_input(engine, i, &io) || io.rank < 0)
            break;
        has_state |= io.is_state;
        if (io.is_optional)
            continue;
        t.dtype = io.dtype;
        t.rank = io.rank;
        int64_t n = 1;
        for (int d = 0; d < io.rank; ++d) {
            t.dims[d] = io.dims[d] < 0 ? 1 : io.dims[d];
            n = t.dims[d] > 4096 || n > 4096 ? 1 << 20 : n * t.dims[d];
        }
        size_t bytes = n > 1 << 16 ? 0 : hone_dtype_bytes(t.dtype, n);
        t.data = buffers[i] = bytes ? calloc(1, bytes) : NULL;
        status = t.data ? hone_session_set_input(session, i, &t, NULL) : HONE_E_ARGUMENT;
    }
    if (status == HONE_OK)
        status = hone_session_run(session, NULL);
    if (status == HONE_OK && has_state)
        status = hone_session_run(session, NULL);
    hone_session_destroy(session);
    for (int i = 0; i < 4; ++i)
        free(buffers[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hone_model *model = NULL;
    hone_engine *engine = NULL;
    hone_error err;
    hone_build_options options;
    if (!hone_tflite_is_model(data, size) ||
        hone_model_parse(data, size, NULL, &model, &err) != HONE_OK)
        return 0;
    hone_build_options_init(&options);
    options.optimize = 0;
    options.max_ram_bytes = 16 << 20;
    if (hone_engine_build(model, &options, &engine, &err) == HONE_OK)
        run(engine);
    hone_engine_destroy(engine);
    hone_model_destroy(model);
    return 0;
}
