/* Element types: facts, conversions, generic access. */
#include "ir/dtype.h"

#include <math.h>
#include <string.h>

#include "hone/hone.h"

static const struct {
    const char *name;
    int bits;
} dtypes[HONE_DTYPE_COUNT] = {
    [HONE_DTYPE_NONE] = {"?", 0},
    [HONE_DTYPE_F32] = {"float32", 32},
    [HONE_DTYPE_U8] = {"uint8", 8},
    [HONE_DTYPE_I8] = {"int8", 8},
    [HONE_DTYPE_U16] = {"uint16", 16},
    [HONE_DTYPE_I16] = {"int16", 16},
    [HONE_DTYPE_I32] = {"int32", 32},
    [HONE_DTYPE_I64] = {"int64", 64},
    [HONE_DTYPE_STRING] = {"string", (int)sizeof(hone_string) * 8},
    [HONE_DTYPE_BOOL] = {"bool", 8},
    [HONE_DTYPE_F16] = {"float16", 16},
    [HONE_DTYPE_F64] = {"float64", 64},
    [HONE_DTYPE_U32] = {"uint32", 32},
    [HONE_DTYPE_U64] = {"uint64", 64},
    [HONE_DTYPE_C64] = {"complex64", 64},
    [HONE_DTYPE_C128] = {"complex128", 128},
    [HONE_DTYPE_BF16] = {"bfloat16", 16},
    [HONE_DTYPE_F8E4M3FN] = {"float8_e4m3fn", 8},
    [HONE_DTYPE_F8E4M3FNUZ] = {"float8_e4m3fnuz", 8},
    [HONE_DTYPE_F8E5M2] = {"float8_e5m2", 8},
    [HONE_DTYPE_F8E5M2FNUZ] = {"float8_e5m2fnuz", 8},
    [HONE_DTYPE_U4] = {"uint4", 4},
    [HONE_DTYPE_I4] = {"int4", 4},
    [HONE_DTYPE_F4E2M1] = {"float4_e2m1fn", 4},
    [HONE_DTYPE_F8E8M0] = {"float8_e8m0fnu", 8},
    [HONE_DTYPE_U2] = {"uint2", 2},
    [HONE_DTYPE_I2] = {"int2", 2},
};

const char *hone_dtype_name(hone_dtype d) {
    return (int)d > 0 && d < HONE_DTYPE_COUNT ? dtypes[d].name : "?";
}

int hone_dtype_bits(hone_dtype d) {
    return (int)d > 0 && d < HONE_DTYPE_COUNT ? dtypes[d].bits : 0;
}

size_t hone_dtype_bytes(hone_dtype d, int64_t n) {
    uint64_t bits;
    if (n <= 0 || __builtin_mul_overflow((uint64_t)n, (uint64_t)hone_dtype_bits(d), &bits))
        return 0;
    return (size_t)(bits / 8 + (bits % 8 != 0));
}

/* ---- half precision (IEEE 754 binary16) -------------------------------------------------------
 */

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float hone_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    if (exponent == 31)
        return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Round a magnitude to a format with `fraction_bits` and exponents from `min_exponent` (of the
 * smallest normal) up, to nearest even; exact in double. */
static double round_to(double magnitude, int fraction_bits, int min_exponent) {
    int exponent;
    frexp(magnitude, &exponent); /* magnitude = m * 2^exponent, m in [0.5, 1) */
    int e = exponent - 1 < min_exponent ? min_exponent : exponent - 1;
    return ldexp(nearbyint(ldexp(magnitude, fraction_bits - e)), e - fraction_bits);
}

uint16_t hone_f16_from_f64(double d) {
    uint16_t sign = signbit(d) ? 0x8000 : 0;
    if (isnan(d))
        return sign | 0x7e00;
    double m = round_to(fabs(d), 10, -14);
    if (m >= 65536.0)
        return sign | 0x7c00;
    if (m < 0x1p-14)
        return (uint16_t)(sign | (uint16_t)(m * 0x1p24));
    int exponent;
    double fraction = frexp(m, &exponent);
    return (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) |
                      (uint16_t)((fraction * 2 - 1) * 1024));
}

uint16_t hone_f16_from_f32(float f) {
    uint32_t u = bits_of(f), sign = (u >> 16) & 0x8000, m = u & 0x7fffffff;
    if (m > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | ((m >> 13) & 0x3ff));
    if (m >= 0x477ff000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (m < 0x38800000) { /* subnormal: adding 0.5 leaves the rounded fraction in the low bits */
        uint32_t r = bits_of(float_of(m) + 0.5f) - 0x3f000000;
        return (uint16_t)(sign | r);
    }
    uint32_t rounded = m + 0xfff + ((m >> 13) & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}

uint16_t hone_bf16_from_f32(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

/* ---- 8-bit and 4-bit floats ------------------------------------------------------------------
 * "FP8 Formats for Deep Learning" (arXiv 2209.05433), the FNUZ variants (arXiv 2206.02915), the
 * OCP microscaling formats for E2M1 and E8M0. */
typedef struct small_format {
    int exponent_bits, fraction_bits, bias;
    bool has_inf; /* E5M2: exponent 31 as in IEEE */
    bool is_fnuz; /* no -0: 0x80 is the only NaN */
    bool has_nan; /* all ones is NaN (E4M3FN) */
    float max;
} small_format;

static const small_format e4m3fn = {4, 3, 7, false, false, true, 448.0f};
static const small_format e4m3fnuz = {4, 3, 8, false, true, true, 240.0f};
static const small_format e5m2 = {5, 2, 15, true, false, true, 57344.0f};
static const small_format e5m2fnuz = {5, 2, 16, false, true, true, 57344.0f};
static const small_format e2m1 = {2, 1, 1, false, false, false, 6.0f};

static const small_format *format_of(hone_dtype d) {
    switch (d) {
    case HONE_DTYPE_F8E4M3FN:
        return &e4m3fn;
    case HONE_DTYPE_F8E4M3FNUZ:
        return &e4m3fnuz;
    case HONE_DTYPE_F8E5M2:
        return &e5m2;
    case HONE_DTYPE_F8E5M2FNUZ:
        return &e5m2fnuz;
    default:
        return &e2m1;
    }
}

float hone_f8_to_f32(hone_dtype d, uint8_t v) {
    if (d == HONE_DTYPE_F8E8M0)
        return v == 255 ? NAN : ldexpf(1.0f, v - 127);
    const small_format *f = format_of(d);
    int sign_bit = f->exponent_bits + f->fraction_bits;
    int sign = (v >> sign_bit) & 1,
        exponent = (v >> f->fraction_bits) & ((1 << f->exponent_bits) - 1);
    int fraction = v & ((1 << f->fraction_bits) - 1);
    int top = (1 << f->exponent_bits) - 1;
    if (f->is_fnuz && v == 0x80)
        return NAN;
    if (f->has_inf && exponent == top)
        return fraction ? NAN : sign ? -INFINITY : INFINITY;
    if (f->has_nan && !f->is_fnuz && !f->has_inf && exponent == top &&
        fraction == (1 << f->fraction_bits) - 1)
        return NAN;
    float m = exponent == 0 ? ldexpf((float)fraction, 1 - f->bias - f->fraction_bits)
                            : ldexpf((float)(fraction + (1 << f->fraction_bits)),
                                     exponent - f->bias - f->fraction_bits);
    return sign ? -m : m;
}

/* E8M0 holds powers of two only; ONNX Cast rounds to nearest by default (half up). */
static uint8_t e8m0_from_f32(float f, bool saturate) {
    if (isnan(f))
        return 255;
    float m = fabsf(f);
    if (isinf(m))
        return saturate ? 254 : 255;
    if (m == 0)
        return 0;
    int exponent;
    float fraction = frexpf(m, &exponent); /* in [0.5, 1) */
    int e = exponent - 1 + 127 + (fraction >= 0.75f);
    if (e < 0)
        return 0;
    if (e > 254)
        return saturate ? 254 : 255;
    return (uint8_t)e;
}

static uint8_t nan_of(const small_format *f, uint8_t sign) {
    if (f->is_fnuz)
        return 0x80;
    if (f->has_nan)
        return sign | 0x7f;
    return 0x8; /* E2M1 has no NaN: -0, as ONNX's test data and ml_dtypes have it */
}

uint8_t hone_f8_from_f32(hone_dtype d, float v, bool saturate) {
    if (d == HONE_DTYPE_F8E8M0)
        return e8m0_from_f32(v, saturate);
    const small_format *f = format_of(d);
    int sign_bit = f->exponent_bits + f->fraction_bits;
    uint8_t sign = (uint8_t)((signbit(v) ? 1 : 0) << sign_bit);
    if (isnan(v))
        return nan_of(f, f->has_nan ? sign : 0);
    double m = isinf(v) ? INFINITY : round_to(fabs((double)v), f->fraction_bits, 1 - f->bias);
    if (m > (double)f->max) {
        if (saturate || !f->has_nan)
            m = (double)f->max;
        else if (f->has_inf)
            return sign | 0x7c;
        else
            return nan_of(f, sign);
    }
    if (m == 0)
        return f->is_fnuz ? 0 : sign;
    int exponent;
    frexp(m, &exponent);
    int e = exponent - 1 + f->bias;
    if (e < 1)
        return (uint8_t)(sign | (uint8_t)ldexp(m, f->bias - 1 + f->fraction_bits));
    int fraction = (int)ldexp(m, f->fraction_bits - (exponent - 1)) - (1 << f->fraction_bits);
    return (uint8_t)(sign | (uint8_t)(e << f->fraction_bits) | (uint8_t)fraction);
}

/* ---- generic access ---------------------------------------------------------------------------
 */

static unsigned get_packed(const void *data, int64_t i, int bits) {
    unsigned byte = ((const uint8_t *)data)[i * bits / 8];
    return (byte >> (i * bits % 8)) & ((1u << bits) - 1u);
}

static void set_packed(void *data, int64_t i, int bits, unsigned v) {
    uint8_t *byte = &((uint8_t *)data)[i * bits / 8];
    int shift = (int)(i * bits % 8);
    unsigned mask = ((1u << bits) - 1u) << shift;
    *byte = (uint8_t)((*byte & ~mask) | ((v << shift) & mask));
}

static int64_t sign_extend(unsigned v, int bits) {
    return (int64_t)(v ^ (1u << (bits - 1))) - (int64_t)(1u << (bits - 1));
}

double hone_load_f64(hone_dtype d, const void *data, int64_t i) {
    switch (d) {
    case HONE_DTYPE_F32:
        return (double)((const float *)data)[i];
    case HONE_DTYPE_F64:
        return ((const double *)data)[i];
    case HONE_DTYPE_F16:
        return (double)hone_f16_to_f32(((const uint16_t *)data)[i]);
    case HONE_DTYPE_BF16:
        return (double)hone_bf16_to_f32(((const uint16_t *)data)[i]);
    case HONE_DTYPE_C64:
        return (double)((const float *)data)[2 * i];
    case HONE_DTYPE_C128:
        return ((const double *)data)[2 * i];
    case HONE_DTYPE_U64:
        return (double)((const uint64_t *)data)[i];
    case HONE_DTYPE_F8E4M3FN:
    case HONE_DTYPE_F8E4M3FNUZ:
    case HONE_DTYPE_F8E5M2:
    case HONE_DTYPE_F8E5M2FNUZ:
    case HONE_DTYPE_F8E8M0:
        return (double)hone_f8_to_f32(d, ((const uint8_t *)data)[i]);
    case HONE_DTYPE_F4E2M1:
        return (double)hone_f8_to_f32(d, (uint8_t)get_packed(data, i, 4));
    default:
        return (double)hone_load_i64(d, data, i);
    }
}

static int64_t truncate_f64(double v) {
    if (isnan(v))
        return 0;
    if (v >= 0x1p63)
        return INT64_MAX;
    if (v < -0x1p63)
        return INT64_MIN;
    return (int64_t)v;
}

int64_t hone_load_i64(hone_dtype d, const void *data, int64_t i) {
    switch (d) {
    case HONE_DTYPE_U8:
        return ((const uint8_t *)data)[i];
    case HONE_DTYPE_I8:
        return ((const int8_t *)data)[i];
    case HONE_DTYPE_U16:
        return ((const uint16_t *)data)[i];
    case HONE_DTYPE_I16:
        return ((const int16_t *)data)[i];
    case HONE_DTYPE_I32:
        return ((const int32_t *)data)[i];
    case HONE_DTYPE_U32:
        return ((const uint32_t *)data)[i];
    case HONE_DTYPE_I64:
        return ((const int64_t *)data)[i];
    case HONE_DTYPE_U64:
        return (int64_t)((const uint64_t *)data)[i];
    case HONE_DTYPE_BOOL:
        return ((const uint8_t *)data)[i] != 0;
    case HONE_DTYPE_U4:
        return get_packed(data, i, 4);
    case HONE_DTYPE_I4:
        return sign_extend(get_packed(data, i, 4), 4);
    case HONE_DTYPE_U2:
        return get_packed(data, i, 2);
    case HONE_DTYPE_I2:
        return sign_extend(get_packed(data, i, 2), 2);
    case HONE_DTYPE_NONE:
    case HONE_DTYPE_STRING:
    case HONE_DTYPE_COUNT:
        return 0;
    default:
        return truncate_f64(hone_load_f64(d, data, i));
    }
}

void hone_store_f64(hone_dtype d, void *data, int64_t i, double v) {
    switch (d) {
    case HONE_DTYPE_F32:
        ((float *)data)[i] = (float)v;
        break;
    case HONE_DTYPE_F64:
        ((double *)data)[i] = v;
        break;
    case HONE_DTYPE_F16:
        ((uint16_t *)data)[i] = hone_f16_from_f64(v);
        break;
    case HONE_DTYPE_BF16:
        ((uint16_t *)data)[i] = hone_bf16_from_f32((float)v);
        break;
    case HONE_DTYPE_C64:
        ((float *)data)[2 * i] = (float)v;
        ((float *)data)[2 * i + 1] = 0;
        break;
    case HONE_DTYPE_C128:
        ((double *)data)[2 * i] = v;
        ((double *)data)[2 * i + 1] = 0;
        break;
    case HONE_DTYPE_BOOL:
        ((uint8_t *)data)[i] = v != 0;
        break;
    case HONE_DTYPE_U64:
        ((uint64_t *)data)[i] = v >= 0x1p64   ? UINT64_MAX
                                : v >= 0x1p63 ? (uint64_t)v
                                              : (uint64_t)truncate_f64(v);
        break;
    case HONE_DTYPE_F8E4M3FN:
    case HONE_DTYPE_F8E4M3FNUZ:
    case HONE_DTYPE_F8E5M2:
    case HONE_DTYPE_F8E5M2FNUZ:
    case HONE_DTYPE_F8E8M0:
        ((uint8_t *)data)[i] = hone_f8_from_f32(d, (float)v, true);
        break;
    case HONE_DTYPE_F4E2M1:
        set_packed(data, i, 4, hone_f8_from_f32(d, (float)v, true));
        break;
    default:
        hone_store_i64(d, data, i, truncate_f64(v));
        break;
    }
}

void hone_store_i64(hone_dtype d, void *data, int64_t i, int64_t v) {
    switch (d) {
    case HONE_DTYPE_U8:
    case HONE_DTYPE_I8:
        ((uint8_t *)data)[i] = (uint8_t)v;
        break;
    case HONE_DTYPE_U16:
    case HONE_DTYPE_I16:
        ((uint16_t *)data)[i] = (uint16_t)v;
        break;
    case HONE_DTYPE_U32:
    case HONE_DTYPE_I32:
        ((uint32_t *)data)[i] = (uint32_t)v;
        break;
    case HONE_DTYPE_U64:
    case HONE_DTYPE_I64:
        ((uint64_t *)data)[i] = (uint64_t)v;
        break;
    case HONE_DTYPE_BOOL:
        ((uint8_t *)data)[i] = v != 0;
        break;
    case HONE_DTYPE_U4:
    case HONE_DTYPE_I4:
        set_packed(data, i, 4, (unsigned)v & 15u);
        break;
    case HONE_DTYPE_U2:
    case HONE_DTYPE_I2:
        set_packed(data, i, 2, (unsigned)v & 3u);
        break;
    case HONE_DTYPE_NONE:
    case HONE_DTYPE_STRING:
    case HONE_DTYPE_COUNT:
        break;
    default:
        hone_store_f64(d, data, i, (double)v);
        break;
    }
}

void hone_copy_elems(hone_dtype d, void *dst, int64_t di, const void *src, int64_t si, int64_t n) {
    int bits = hone_dtype_bits(d);
    if (n <= 0)
        return;
    if (bits >= 8) {
        size_t size = (size_t)bits / 8;
        memmove((char *)dst + (size_t)di * size, (const char *)src + (size_t)si * size,
                (size_t)n * size);
        return;
    }
    for (int64_t i = 0; i < n; ++i)
        set_packed(dst, di + i, bits, get_packed(src, si + i, bits));
}
