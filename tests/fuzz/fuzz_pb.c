/* Any bytes as a value file; the first byte says which kind is expected. What reads must also write
 * and read again. */
#include <stdlib.h>
#include <string.h>

#include "onnx/tensor_pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct sink {
    uint8_t *bytes;
    size_t n;
} sink;

static hone_status collect(void *arg, const void *bytes, size_t n) {
    sink *s = arg;
    if (n)
        memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
    return HONE_OK;
}

static void round_trip(const hone_tensor *t, hone_kind kind, bool optional) {
    hone_pbw w;
    hone_pbw_init(&w);
    hone_error err;
    if (hone_value_to_pb(&w, t, optional, "x", &err) == HONE_OK) {
        sink s = {malloc(hone_pbw_size(&w) + 1), 0};
        hone_tensor again = {0};
        if (!s.bytes || hone_pbw_emit(&w, collect, &s, &err) != HONE_OK ||
            hone_value_from_pb(NULL, s.bytes, s.n, kind, optional, &again, &err) != HONE_OK)
            abort();
        hone_tensor_release(&again);
        free(s.bytes);
    }
    hone_pbw_deinit(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const hone_kind kinds[] = {HONE_KIND_TENSOR, HONE_KIND_SEQUENCE, HONE_KIND_MAP};
    if (size < 1)
        return 0;
    hone_kind kind = kinds[data[0] % 3];
    bool optional = (data[0] & 0x40) != 0;
    hone_tensor t;
    hone_error err;
    if (hone_value_from_pb(NULL, data + 1, size - 1, kind, optional, &t, &err) == HONE_OK) {
        round_trip(&t, kind, optional);
        hone_tensor_release(&t);
    }
    return 0;
}
