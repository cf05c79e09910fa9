#include "onnx/import.h"

#include "onnx/adapt.h"

static hone_status canonicalise(hone_graph *g, hone_error *err) {
    HONE_TRY(hone_onnx_align(g, err));
    HONE_TRY(hone_onnx_adapt(g, err));
    hone_status status = hone_graph_index(g);
    return status == HONE_OK ? status : hone_fail(err, status, "out of memory while importing");
}

hone_status hone_onnx_import(const uint8_t *bytes, size_t n, const char *dir, hone_graph **out,
                             hone_onnx_facts *facts, hone_error *err) {
    HONE_TRY(hone_onnx_read_model(bytes, n, dir, out, facts, err));
    hone_status status = canonicalise(*out, err);
    if (status != HONE_OK) {
        hone_graph_destroy(*out);
        *out = NULL;
    }
    return status;
}
