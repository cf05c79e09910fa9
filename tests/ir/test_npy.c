/* Round trips of npy and npz files, and inflate on known streams. */
#include <stdlib.h>
#include <string.h>

#include "base/inflate.h"
#include "check.h"
#include "ir/npz.h"

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

/* All bit patterns survive, for every type (bools being 0 or 1). */
static void test_types(void) {
    uint8_t data[64];
    for (int i = 0; i < 64; ++i)
        data[i] = (uint8_t)(i * 37);
    const int64_t dims[2] = {1, 3};
    for (int d = 1; d < HONE_DTYPE_COUNT; ++d) {
        if (d == HONE_DTYPE_STRING || d == HONE_DTYPE_BOOL)
            continue;
        hone_tensor t = hone_tensor_view((hone_dtype)d, 2, dims, data), again;
        hone_error err = {0};
        sink s = {NULL, 0};
        CHECK(hone_npy_emit(&t, collect, &s, &err) == HONE_OK);
        CHECK(hone_npy_parse(NULL, s.bytes, s.n, (hone_dtype)d, &again, &err) == HONE_OK);
        CHECK(again.dtype == t.dtype && hone_same_dims(&t, &again));
        uint8_t a[64] = {0}, b[64] = {0};
        hone_copy_elems(t.dtype, a, 0, t.data, 0, 3);
        hone_copy_elems(t.dtype, b, 0, again.data, 0, 3);
        CHECK(memcmp(a, b, sizeof a) == 0);
        hone_tensor_release(&again);
        free(s.bytes);
    }
}

/* Big-endian, in Fortran order. */
static void test_order(void) {
    uint8_t file[128 + 12] = "\x93NUMPY\x01\0\x76\0"
                             "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }";
    for (size_t i = 68; i < 128; ++i)
        file[i] = ' ';
    for (int i = 0; i < 6; ++i)
        file[128 + 2 * i + 1] = (uint8_t)i;
    hone_tensor t;
    hone_error err = {0};
    CHECK(hone_npy_parse(NULL, file, sizeof file, HONE_DTYPE_NONE, &t, &err) == HONE_OK);
    static const int16_t want[6] = {0, 2, 4, 1, 3, 5};
    CHECK(t.data && memcmp(t.data, want, sizeof want) == 0);
    hone_tensor_release(&t);
    for (size_t n = 0; n < sizeof file; ++n)
        CHECK(hone_npy_parse(NULL, file, n, HONE_DTYPE_NONE, &t, &err) != HONE_OK);
}

static void test_archive(void) {
    float numbers[4] = {1, 2, 3, 4};
    hone_string texts[2] = {{"caf\xc3\xa9", 5}, {"", 0}};
    int64_t four = 4, two = 2;
    char first[] = "x", second[] = "names";
    hone_npz_item items[2] = {{first, hone_tensor_view(HONE_DTYPE_F32, 1, &four, numbers)},
                              {second, hone_tensor_view(HONE_DTYPE_STRING, 1, &two, texts)}};
    hone_npz_item *again;
    int n;
    hone_error err = {0};
    sink s = {NULL, 0};
    CHECK(hone_npz_emit(items, 2, collect, &s, &err) == HONE_OK);
    CHECK(hone_npz_parse(NULL, s.bytes, s.n, &again, &n, &err) == HONE_OK && n == 2);
    if (n == 2) {
        CHECK(strcmp(again[1].name, "names") == 0);
        CHECK(((const float *)again[0].value.data)[3] == 4.0f);
        CHECK(hone_string_equal(((const hone_string *)again[1].value.data)[0], texts[0]));
    }
    hone_npz_free(again, n);
    for (size_t i = 0; i < s.n; ++i) { /* damage is found or harmless */
        s.bytes[i] ^= 0x55;
        if (hone_npz_parse(NULL, s.bytes, s.n, &again, &n, &err) == HONE_OK)
            hone_npz_free(again, n);
        s.bytes[i] ^= 0x55;
    }
    free(s.bytes);
}

static void test_inflate(void) {
    /* "hello hello hello hello": fixed codes with a match. */
    static const uint8_t fixed[] = {0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x27, 0x01};
    static const uint8_t stored[] = {1, 3, 0, 0xfc, 0xff, 'a', 'b', 'c'};
    uint8_t out[32];
    hone_error err = {0};
    CHECK(hone_inflate(fixed, sizeof fixed, out, 23, &err) == HONE_OK);
    CHECK(memcmp(out, "hello hello hello hello", 23) == 0);
    CHECK(hone_inflate(fixed, sizeof fixed, out, 22, &err) == HONE_E_FORMAT);
    CHECK(hone_inflate(fixed, sizeof fixed, out, 24, &err) == HONE_E_FORMAT);
    for (size_t n = 0; n < sizeof fixed; ++n)
        CHECK(hone_inflate(fixed, n, out, 23, &err) == HONE_E_FORMAT || n + 1 >= sizeof fixed);
    CHECK(hone_inflate(stored, sizeof stored, out, 3, &err) == HONE_OK);
    CHECK(memcmp(out, "abc", 3) == 0);
    CHECK(hone_crc32(0, "123456789", 9) == 0xcbf43926u);
}

int main(void) {
    test_types();
    test_order();
    test_archive();
    test_inflate();
    return CHECK_RESULT();
}
