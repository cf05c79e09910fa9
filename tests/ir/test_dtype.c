/* Every code of the narrow types survives a round trip, and rounding, saturation and packing are as
 * the formats define them. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "ir/dtype.h"

static void test_halves(void) {
    for (uint32_t code = 0; code < 65536; ++code) {
        float f = hone_f16_to_f32((uint16_t)code), b = hone_bf16_to_f32((uint16_t)code);
        CHECK(isnan(f) ? isnan(hone_f16_to_f32(hone_f16_from_f32(f)))
                       : hone_f16_from_f32(f) == code);
        CHECK(isnan(f) || hone_f16_from_f64((double)f) == code);
        CHECK(isnan(b) ? isnan(hone_bf16_to_f32(hone_bf16_from_f32(b)))
                       : hone_bf16_from_f32(b) == code);
    }
    CHECK(hone_f16_from_f32(65519.0f) == 0x7bff); /* the largest that does not become infinity */
    CHECK(hone_f16_from_f32(65520.0f) == 0x7c00);
    CHECK(hone_f16_from_f32(1.0f + 0x1p-11f) == 0x3c00); /* ties go to even */
    CHECK(hone_f16_from_f32(1.0f + 3 * 0x1p-11f) == 0x3c02);
    CHECK(hone_f16_from_f32(0x1p-25f) == 0 && hone_f16_from_f32(0x1.8p-25f) == 1);
    /* One rounding: in float this would first become a tie and then round down. */
    CHECK(hone_f16_from_f64(1.0 + 0x1p-11 + 0x1p-40) == 0x3c01);
}

static void test_small_floats(void) {
    static const struct {
        hone_dtype d;
        int n_codes;
        float max;
    } formats[] = {
        {HONE_DTYPE_F8E4M3FN, 256, 448}, {HONE_DTYPE_F8E4M3FNUZ, 256, 240},
        {HONE_DTYPE_F8E5M2, 256, 57344}, {HONE_DTYPE_F8E5M2FNUZ, 256, 57344},
        {HONE_DTYPE_F4E2M1, 16, 6},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; ++i) {
        hone_dtype d = formats[i].d;
        for (int code = 0; code < formats[i].n_codes; ++code) {
            float f = hone_f8_to_f32(d, (uint8_t)code);
            if (isnan(f))
                CHECK(isnan(hone_f8_to_f32(d, hone_f8_from_f32(d, f, true))));
            else if (!isinf(f))
                CHECK(hone_f8_from_f32(d, f, true) == code &&
                      hone_f8_from_f32(d, f, false) == code);
        }
        CHECK(hone_f8_to_f32(d, hone_f8_from_f32(d, 1e9f, true)) == formats[i].max);
        CHECK(hone_f8_to_f32(d, hone_f8_from_f32(d, -INFINITY, true)) == -formats[i].max);
    }
    CHECK(isnan(
        hone_f8_to_f32(HONE_DTYPE_F8E4M3FN, hone_f8_from_f32(HONE_DTYPE_F8E4M3FN, 1e9f, false))));
    CHECK(
        isinf(hone_f8_to_f32(HONE_DTYPE_F8E5M2, hone_f8_from_f32(HONE_DTYPE_F8E5M2, 1e9f, false))));
    for (int code = 0; code < 255; ++code)
        CHECK(hone_f8_from_f32(HONE_DTYPE_F8E8M0, hone_f8_to_f32(HONE_DTYPE_F8E8M0, (uint8_t)code),
                               true) == code);
}

/* Stores of neighbours do not disturb each other. */
static void test_packed(void) {
    static const struct {
        hone_dtype d;
        int64_t low, high;
    } types[] = {{HONE_DTYPE_U4, 0, 15},
                 {HONE_DTYPE_I4, -8, 7},
                 {HONE_DTYPE_U2, 0, 3},
                 {HONE_DTYPE_I2, -2, 1}};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; ++t) {
        uint8_t data[16] = {0}, copy[16] = {0};
        int64_t span = types[t].high - types[t].low + 1;
        for (int64_t i = 0; i < 17; ++i)
            hone_store_i64(types[t].d, data, 16 - i, types[t].low + (16 - i) * 3 % span);
        for (int64_t i = 0; i < 17; ++i)
            CHECK(hone_load_i64(types[t].d, data, i) == types[t].low + i * 3 % span);
        hone_copy_elems(types[t].d, copy, 1, data, 4, 9);
        for (int64_t i = 0; i < 9; ++i)
            CHECK(hone_load_i64(types[t].d, copy, i + 1) == hone_load_i64(types[t].d, data, i + 4));
    }
    CHECK(hone_dtype_bytes(HONE_DTYPE_I4, 3) == 2 && hone_dtype_bytes(HONE_DTYPE_U2, 5) == 2);
    CHECK(hone_dtype_bytes(HONE_DTYPE_F64, INT64_MAX) == 0 &&
          hone_dtype_bytes(HONE_DTYPE_F32, -1) == 0);
}

static void test_integers(void) {
    int64_t x[1];
    uint64_t u[1];
    hone_store_f64(HONE_DTYPE_I64, x, 0, 1e30);
    CHECK(x[0] == INT64_MAX);
    hone_store_f64(HONE_DTYPE_I64, x, 0, (double)NAN);
    CHECK(x[0] == 0);
    hone_store_f64(HONE_DTYPE_U64, u, 0, 0x1p63);
    CHECK(u[0] == (uint64_t)1 << 63);
    CHECK(hone_load_f64(HONE_DTYPE_U64, u, 0) == 0x1p63);
}

int main(void) {
    test_halves();
    test_small_floats();
    test_packed();
    test_integers();
    return CHECK_RESULT();
}
