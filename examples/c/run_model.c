/* Run a model, or an engine file, on inputs of ones, and print its outputs.
 *
 * usage: run_model MODEL.onnx|FILE.hone
 *
 * A complete program against include/hone/hone.h. Dims that the model leaves open become 1. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "hone/hone.h"

/* A tensor of zero bytes, or of ones where it is float32; NULL data when out of memory. */
static hone_tensor make_input(const hone_io_info *info) {
    hone_tensor t = {.kind = HONE_KIND_TENSOR, .dtype = info->dtype, .rank = info->rank};
    for (int d = 0; d < info->rank; ++d)
        t.dims[d] = info->dims[d] < 0 ? 1 : info->dims[d];
    int64_t count = hone_tensor_count(&t);
    t.data = calloc(hone_dtype_bytes(t.dtype, count) + 1, 1);
    for (int64_t i = 0; t.data && t.dtype == HONE_DTYPE_F32 && i < count; ++i)
        ((float *)t.data)[i] = 1.0f;
    return t;
}

static hone_status set_inputs(const hone_engine *engine, hone_session *session, hone_tensor *inputs,
                              hone_error *err) {
    hone_io_info info;
    for (int i = 0; hone_engine_input(engine, i, &info); ++i) {
        if (info.is_optional)
            continue;
        inputs[i] = make_input(&info);
        hone_status status = hone_session_set_input(session, i, &inputs[i], err);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

static void print_output(const char *name, const hone_tensor *t) {
    printf("%s: %s[", name, hone_dtype_name(t->dtype));
    for (int d = 0; d < t->rank; ++d)
        printf("%s%" PRId64, d ? "," : "", t->dims[d]);
    printf("]");
    int64_t count = hone_tensor_count(t);
    for (int64_t i = 0; t->dtype == HONE_DTYPE_F32 && i < count && i < 4; ++i)
        printf(" %g", (double)((const float *)t->data)[i]);
    printf(count > 4 ? " ...\n" : "\n");
}

static int run(const hone_engine *engine, hone_error *err) {
    hone_session *session = NULL;
    hone_io_info info;
    int n_inputs = hone_engine_input_count(engine);
    hone_tensor *inputs = calloc((size_t)n_inputs + 1, sizeof *inputs);
    int failed = !inputs || hone_session_create(engine, 0, &session, err) != HONE_OK ||
                 set_inputs(engine, session, inputs, err) != HONE_OK ||
                 hone_session_run(session, err) != HONE_OK;
    for (int i = 0; !failed && hone_engine_output(engine, i, &info); ++i)
        print_output(info.name, hone_session_output(session, i));
    hone_session_destroy(session);
    for (int i = 0; inputs && i < n_inputs; ++i)
        free(inputs[i].data);
    free(inputs);
    return failed;
}

int main(int argc, char **argv) {
    hone_error err = {0};
    hone_engine *engine;
    if (argc != 2) {
        fprintf(stderr, "usage: run_model MODEL.onnx|FILE.hone\n");
        return 2;
    }
    if (hone_engine_open(argv[1], NULL, &engine, &err) != HONE_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], err.message);
        return 1;
    }
    int failed = run(engine, &err);
    if (failed)
        fprintf(stderr, "%s: %s %s\n", argv[1], err.node, err.message);
    hone_engine_destroy(engine);
    return failed;
}
