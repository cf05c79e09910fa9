/* Any bytes as an npy file and as an npz archive. What reads must also write and read again. */
#include <stdlib.h>
#include <string.h>

#include "ir/npz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct sink {
    uint8_t *bytes;
    size_t n;
} sink;

static hone_status collect(void *arg, const void *bytes, size_t n) {
    sink *s = arg;
    s->bytes = realloc(s->bytes, s->n + n + 1);
    if (n)
        memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
    return HONE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hone_tensor t, again;
    hone_error err;
    if (hone_npy_parse(NULL, data, size, HONE_DTYPE_I4, &t, &err) == HONE_OK) {
        sink s = {NULL, 0};
        if (hone_npy_emit(&t, collect, &s, &err) != HONE_OK ||
            hone_npy_parse(NULL, s.bytes, s.n, t.dtype, &again, &err) != HONE_OK ||
            !hone_same_dims(&t, &again) || t.dtype != again.dtype)
            abort();
        hone_tensor_release(&again);
        hone_tensor_release(&t);
        free(s.bytes);
    }
    hone_npz_item *items;
    int n;
    if (hone_npz_parse(NULL, data, size, &items, &n, &err) == HONE_OK)
        hone_npz_free(items, n);
    return 0;
}
