/* Any bytes as an ONNX model: reading, adapting and inferring must fail or succeed, nothing else.
 */
#include "ir/op.h"
#include "onnx/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hone_graph *g = NULL;
    hone_error err;
    if (hone_onnx_import(data, size, NULL, &g, NULL, &err) == HONE_OK)
        hone_graph_destroy(g);
    return 0;
}
