/* Element-wise operators of one operand (and Clip, Gelu, Dropout, Identity). A row of a table has
 * the loop for each type; 16-bit floats are computed in float, a chunk at a time. */
#include <math.h>
#include <string.h>

#include "ir/op.h"

/* Attributes of the operator: what a and b mean is the row's business. */
typedef struct unary_args {
    float a, b;
} unary_args;

typedef void (*unary_loop)(const void *in, void *out, int64_t n, const unary_args *p);

#define LOOP(name, suffix, T, R, expr)                                                             \
    static void name##_##suffix(const void *in, void *out, int64_t n, const unary_args *p) {       \
        const T *src = in;                                                                         \
        R *dst = out;                                                                              \
        T a = (T)p->a, b = (T)p->b;                                                                \
        (void)a, (void)b;                                                                          \
        for (int64_t i = 0; i < n; ++i) {                                                          \
            T x = src[i];                                                                          \
            dst[i] = (R)(expr);                                                                    \
        }                                                                                          \
    }
/* e32 and e64 differ in the functions of the C library that they call. */
#define FLOATS(name, e32, e64)                                                                     \
    LOOP(name, f32, float, float, e32) LOOP(name, f64, double, double, e64)
#define MATH(name, fn) FLOATS(name, fn##f(x), fn(x))
#define SINTS(name, expr)                                                                          \
    LOOP(name, i8, int8_t, int8_t, expr)                                                           \
    LOOP(name, i16, int16_t, int16_t, expr)                                                        \
    LOOP(name, i32, int32_t, int32_t, expr)                                                        \
    LOOP(name, i64, int64_t, int64_t, expr)
#define UINTS(name, expr)                                                                          \
    LOOP(name, u8, uint8_t, uint8_t, expr)                                                         \
    LOOP(name, u16, uint16_t, uint16_t, expr)                                                      \
    LOOP(name, u32, uint32_t, uint32_t, expr)                                                      \
    LOOP(name, u64, uint64_t, uint64_t, expr)

static inline double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}
static inline float sigmoidf(float x) {
    return x >= 0 ? 1 / (1 + expf(-x)) : expf(x) / (1 + expf(x));
}
static inline double softplus(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
static inline float softplusf(float x) {
    return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
}
static inline float hard_sigmoidf(float x, float a, float b) {
    float y = a * x + b;
    return y < 0 ? 0 : y > 1 ? 1 : y;
}
static inline double hard_sigmoid(double x, double a, double b) {
    double y = a * x + b;
    return y < 0 ? 0 : y > 1 ? 1 : y;
}
#define SQRT1_2   0.70710678118654752440
#define SQRT_2_PI 0.79788456080286535588 /* sqrt(2/pi) */
static inline double gelu(double x) {
    return 0.5 * x * (1 + erf(x * SQRT1_2));
}
static inline float geluf(float x) {
    return 0.5f * x * (1 + erff(x * (float)SQRT1_2));
}
static inline double gelu_tanh(double x) {
    return 0.5 * x * (1 + tanh(SQRT_2_PI * (x + 0.044715 * x * x * x)));
}
static inline float gelu_tanhf(float x) {
    return 0.5f * x * (1 + tanhf((float)SQRT_2_PI * (x + 0.044715f * x * x * x)));
}

MATH(acos, acos)
MATH(acosh, acosh)
MATH(asin, asin)
MATH(asinh, asinh)
MATH(atan, atan)
MATH(atanh, atanh)
MATH(ceil, ceil)
MATH(cos, cos)
MATH(cosh, cosh)
MATH(erf, erf)
MATH(exp, exp)
MATH(floor, floor)
MATH(log, log)
MATH(round, nearbyint)
MATH(sin, sin)
MATH(sinh, sinh)
MATH(sqrt, sqrt)
MATH(tan, tan)
MATH(tanh, tanh)
MATH(sigmoid, sigmoid)
MATH(softplus, softplus)
MATH(gelu, gelu)
MATH(gelu_tanh, gelu_tanh)
FLOATS(abs, fabsf(x), fabs(x))
SINTS(abs, x < 0 ? 0 - (uint64_t)x : (uint64_t)x)
UINTS(abs, x)
FLOATS(neg, -x, -x)
SINTS(neg, 0 - (uint64_t)x)
FLOATS(sign, x > 0 ? 1 : x < 0 ? -1 : x, x > 0 ? 1 : x < 0 ? -1 : x)
SINTS(sign, (x > 0) - (x < 0))
UINTS(sign, x > 0)
FLOATS(relu, x < 0 ? 0 : x, x < 0 ? 0 : x)
SINTS(relu, x < 0 ? 0 : x)
FLOATS(reciprocal, 1 / x, 1 / x)
FLOATS(celu, x > 0 ? x : a * expm1f(x / a), x > 0 ? x : a * expm1(x / a))
FLOATS(elu, x > 0 ? x : a * expm1f(x), x > 0 ? x : a * expm1(x))
FLOATS(selu, b *(x > 0 ? x : a * expm1f(x)), b *(x > 0 ? x : a * expm1(x)))
FLOATS(leaky, x < 0 ? a * x : x, x < 0 ? a * x : x)
FLOATS(thresholded, x > a ? x : 0, x > a ? x : 0)
FLOATS(shrink, x<-b ? x + a : x> b ? x - a : 0, x<-b ? x + a : x> b ? x - a : 0)
SINTS(shrink, (double)x<-(double)p->b ? (double)x + (double)p->a : (double)x>(double) p->b
                  ? (double)x - (double)p->a
                  : 0)
UINTS(shrink, (double)x<-(double)p->b ? (double)x + (double)p->a : (double)x>(double) p->b
                  ? (double)x - (double)p->a
                  : 0)
FLOATS(hard_sigmoid, hard_sigmoidf(x, a, b), hard_sigmoid(x, a, b))
FLOATS(hard_swish, x *hard_sigmoidf(x, 1.0f / 6, 0.5f), x *hard_sigmoid(x, 1.0 / 6, 0.5))
FLOATS(mish, x *tanhf(softplusf(x)), x *tanh(softplus(x)))
FLOATS(softsign, x / (1 + fabsf(x)), x / (1 + fabs(x)))
FLOATS(swish, x *sigmoidf(a *x), x *sigmoid(a *x))
LOOP(is_nan, f32, float, uint8_t, x != x)
LOOP(is_nan, f64, double, uint8_t, x != x)
LOOP(is_inf, f32, float, uint8_t, isinf(x) && (x < 0 ? a != 0 : b != 0))
LOOP(is_inf, f64, double, uint8_t, isinf(x) && (x < 0 ? a != 0 : b != 0))
LOOP(not, u8, uint8_t, uint8_t, x == 0)
SINTS(bit_not, ~x)
UINTS(bit_not, ~x)

#define FLOAT_ROW(f) [HONE_DTYPE_F32] = f##_f32, [HONE_DTYPE_F64] = f##_f64
#define SINT_ROW(f)                                                                                \
    [HONE_DTYPE_I8] = f##_i8, [HONE_DTYPE_I16] = f##_i16, [HONE_DTYPE_I32] = f##_i32,              \
    [HONE_DTYPE_I64] = f##_i64
#define UINT_ROW(f)                                                                                \
    [HONE_DTYPE_U8] = f##_u8, [HONE_DTYPE_U16] = f##_u16, [HONE_DTYPE_U32] = f##_u32,              \
    [HONE_DTYPE_U64] = f##_u64

typedef struct unary_op {
    const char *name;
    const char *attr_a; /* float attributes and their defaults; integers for IsInf */
    float a;
    const char *attr_b;
    float b;
    bool is_bool;
    unary_loop loop[HONE_DTYPE_COUNT];
} unary_op;

static const unary_op unary_ops[] = {
    {.name = "Abs", .loop = {FLOAT_ROW(abs), SINT_ROW(abs), UINT_ROW(abs)}},
    {.name = "Acos", .loop = {FLOAT_ROW(acos)}},
    {.name = "Acosh", .loop = {FLOAT_ROW(acosh)}},
    {.name = "Asin", .loop = {FLOAT_ROW(asin)}},
    {.name = "Asinh", .loop = {FLOAT_ROW(asinh)}},
    {.name = "Atan", .loop = {FLOAT_ROW(atan)}},
    {.name = "Atanh", .loop = {FLOAT_ROW(atanh)}},
    {.name = "BitwiseNot", .loop = {SINT_ROW(bit_not), UINT_ROW(bit_not)}},
    {.name = "Ceil", .loop = {FLOAT_ROW(ceil)}},
    {.name = "Celu", "alpha", 1, .loop = {FLOAT_ROW(celu)}},
    {.name = "Cos", .loop = {FLOAT_ROW(cos)}},
    {.name = "Cosh", .loop = {FLOAT_ROW(cosh)}},
    {.name = "Elu", "alpha", 1, .loop = {FLOAT_ROW(elu)}},
    {.name = "Erf", .loop = {FLOAT_ROW(erf)}},
    {.name = "Exp", .loop = {FLOAT_ROW(exp)}},
    {.name = "Floor", .loop = {FLOAT_ROW(floor)}},
    {.name = "HardSigmoid", "alpha", 0.2f, "beta", 0.5f, .loop = {FLOAT_ROW(hard_sigmoid)}},
    {.name = "HardSwish", .loop = {FLOAT_ROW(hard_swish)}},
    {.name = "IsInf", "detect_negative", 1, "detect_positive", 1, true, {FLOAT_ROW(is_inf)}},
    {.name = "IsNaN", .is_bool = true, .loop = {FLOAT_ROW(is_nan)}},
    {.name = "LeakyRelu", "alpha", 0.01f, .loop = {FLOAT_ROW(leaky)}},
    {.name = "Log", .loop = {FLOAT_ROW(log)}},
    {.name = "Mish", .loop = {FLOAT_ROW(mish)}},
    {.name = "Neg", .loop = {FLOAT_ROW(neg), SINT_ROW(neg)}},
    {.name = "Not", .is_bool = true, .loop = {[HONE_DTYPE_BOOL] = not_u8}},
    {.name = "Reciprocal", .loop = {FLOAT_ROW(reciprocal)}},
    {.name = "Relu", .loop = {FLOAT_ROW(relu), SINT_ROW(relu)}},
    {.name = "Round", .loop = {FLOAT_ROW(round)}},
    {.name = "Selu",
     "alpha",
     1.67326319217681884765625f,
     "gamma",
     1.05070102214813232421875f,
     .loop = {FLOAT_ROW(selu)}},
    {.name = "Shrink",
     "bias",
     0,
     "lambd",
     0.5f,
     .loop = {FLOAT_ROW(shrink), SINT_ROW(shrink), UINT_ROW(shrink)}},
    {.name = "Sigmoid", .loop = {FLOAT_ROW(sigmoid)}},
    {.name = "Sign", .loop = {FLOAT_ROW(sign), SINT_ROW(sign), UINT_ROW(sign)}},
    {.name = "Sin", .loop = {FLOAT_ROW(sin)}},
    {.name = "Sinh", .loop = {FLOAT_ROW(sinh)}},
    {.name = "Softplus", .loop = {FLOAT_ROW(softplus)}},
    {.name = "Softsign", .loop = {FLOAT_ROW(softsign)}},
    {.name = "Sqrt", .loop = {FLOAT_ROW(sqrt)}},
    {.name = "Swish", "alpha", 1, .loop = {FLOAT_ROW(swish)}},
    {.name = "Tan", .loop = {FLOAT_ROW(tan)}},
    {.name = "Tanh", .loop = {FLOAT_ROW(tanh)}},
    {.name = "ThresholdedRelu", "alpha", 1, .loop = {FLOAT_ROW(thresholded)}},
};
static const unary_op gelu_ops[2] = {
    {.name = "Gelu", .loop = {FLOAT_ROW(gelu)}},
    {.name = "Gelu", .loop = {FLOAT_ROW(gelu_tanh)}},
};

static const unary_op *find_op(const hone_node *n) {
    if (strcmp(n->op->name, "Gelu") == 0)
        return &gelu_ops[strcmp(hone_attr_string(n, "approximate", "none"), "tanh") == 0];
    for (size_t i = 0; i < sizeof unary_ops / sizeof unary_ops[0]; ++i) {
        if (strcmp(n->op->name, unary_ops[i].name) == 0)
            return &unary_ops[i];
    }
    return NULL;
}

static float attribute(const hone_node *n, const char *name, float missing) {
    const hone_attr *a = name ? hone_attr_find(n, name) : NULL;
    if (a && a->kind == HONE_ATTR_INT)
        return (float)a->i;
    return a && a->kind == HONE_ATTR_FLOAT ? a->f : missing;
}

/* ---- running ----------------------------------------------------------------------------------
 */

typedef struct unary_job {
    const unary_op *op;
    unary_args args;
    const hone_tensor *in;
    hone_tensor *out;
    int64_t n;
} unary_job;

enum { GRAIN = 1 << 14, CHUNK = 512 };

/* Types narrower than float (16-bit and 8-bit floats) go through it. */
static void narrow_range(const unary_job *j, int64_t begin, int64_t end) {
    float x[CHUNK], y[CHUNK];
    hone_dtype d = j->in->dtype;
    for (int64_t i = begin; i < end; i += CHUNK) {
        int64_t m = end - i < CHUNK ? end - i : CHUNK;
        for (int64_t k = 0; k < m; ++k)
            x[k] = (float)hone_load_f64(d, j->in->data, i + k);
        if (j->op->is_bool) {
            j->op->loop[HONE_DTYPE_F32](x, (uint8_t *)j->out->data + i, m, &j->args);
            continue;
        }
        j->op->loop[HONE_DTYPE_F32](x, y, m, &j->args);
        for (int64_t k = 0; k < m; ++k)
            hone_store_f64(d, j->out->data, i + k, (double)y[k]);
    }
}

static bool is_narrow(hone_dtype d) {
    return hone_dtype_is_float(d) && d != HONE_DTYPE_F32 && d != HONE_DTYPE_F64;
}

static void unary_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const unary_job *j = arg;
    int64_t begin = task * GRAIN, end = begin + GRAIN < j->n ? begin + GRAIN : j->n;
    if (is_narrow(j->in->dtype)) {
        narrow_range(j, begin, end);
        return;
    }
    int64_t in_size = hone_dtype_bits(j->in->dtype) / 8,
            out_size = hone_dtype_bits(j->out->dtype) / 8;
    j->op->loop[j->in->dtype]((const char *)j->in->data + begin * in_size,
                              (char *)j->out->data + begin * out_size, end - begin, &j->args);
}

hone_status hone_ref_unary(hone_op_ctx *c) {
    unary_job j = {.op = find_op(c->node), .in = hone_in(c, 0), .out = hone_out(c, 0)};
    hone_dtype d = j.in->dtype;
    if (!j.op || !j.op->loop[is_narrow(d) ? HONE_DTYPE_F32 : d])
        return hone_op_bad_type(c, d);
    j.args.a = attribute(c->node, j.op->attr_a, j.op->a);
    j.args.b = attribute(c->node, j.op->attr_b, j.op->b);
    j.n = hone_tensor_count(j.in);
    hone_op_parallel(c, (j.n + GRAIN - 1) / GRAIN, unary_task, &j);
    return HONE_OK;
}

hone_status hone_infer_unary(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0))
        hone_infer_same(c, 0, 0);
    return HONE_OK;
}

hone_status hone_infer_unary_bool(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0))
        hone_infer_same(c, 0, 0);
    else
        c->out[0] = hone_type_tensor(HONE_DTYPE_BOOL, -1, NULL);
    c->out[0].dtype = HONE_DTYPE_BOOL;
    return HONE_OK;
}

/* ---- Clip -------------------------------------------------------------------------------------
 */

#define CLIP_CASE(D, T)                                                                            \
    case HONE_DTYPE_##D: {                                                                         \
        const T *src = in->data;                                                                   \
        T *dst = out->data;                                                                        \
        T low = lo ? *(const T *)lo->data : 0, high = hi ? *(const T *)hi->data : 0;               \
        for (int64_t i = 0; i < n; ++i) {                                                          \
            T x = src[i];                                                                          \
            if (lo && x < low)                                                                     \
                x = low;                                                                           \
            if (hi && x > high)                                                                    \
                x = high;                                                                          \
            dst[i] = x;                                                                            \
        }                                                                                          \
        return HONE_OK;                                                                            \
    }

static void clip_narrow(const hone_tensor *in, const hone_tensor *lo, const hone_tensor *hi,
                        hone_tensor *out, int64_t n) {
    double low = lo ? hone_load_f64(in->dtype, lo->data, 0) : -INFINITY;
    double high = hi ? hone_load_f64(in->dtype, hi->data, 0) : INFINITY;
    for (int64_t i = 0; i < n; ++i) {
        double x = hone_load_f64(in->dtype, in->data, i);
        if (x < low)
            x = low;
        if (x > high)
            x = high;
        hone_store_f64(in->dtype, out->data, i, x);
    }
}

hone_status hone_ref_clip(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *lo = hone_in(c, 1), *hi = hone_in(c, 2);
    hone_tensor *out = hone_out(c, 0);
    int64_t n = hone_tensor_count(in);
    if ((lo && (lo->dtype != in->dtype || hone_tensor_count(lo) != 1)) ||
        (hi && (hi->dtype != in->dtype || hone_tensor_count(hi) != 1)))
        return hone_op_fail(c, HONE_E_TYPE, "min and max must be scalars of the input's type");
    switch (in->dtype) {
        CLIP_CASE(F32, float)
        CLIP_CASE(F64, double)
        CLIP_CASE(I8, int8_t)
        CLIP_CASE(I16, int16_t)
        CLIP_CASE(I32, int32_t)
        CLIP_CASE(I64, int64_t)
        CLIP_CASE(U8, uint8_t)
        CLIP_CASE(U16, uint16_t)
        CLIP_CASE(U32, uint32_t)
        CLIP_CASE(U64, uint64_t)
    case HONE_DTYPE_F16:
    case HONE_DTYPE_BF16:
        clip_narrow(in, lo, hi, out, n);
        return HONE_OK;
    default:
        return hone_op_bad_type(c, in->dtype);
    }
}

/* ---- Identity and Dropout ---------------------------------------------------------------------
 */

static hone_status copy_through(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    if (in->kind != HONE_KIND_TENSOR || in->dtype == HONE_DTYPE_STRING) {
        hone_tensor_release(out);
        return hone_tensor_keep(c->alloc, out, in, c->err);
    }
    if (out->data != in->data && hone_tensor_bytes(in))
        memcpy(out->data, in->data, hone_tensor_bytes(in));
    return HONE_OK;
}

hone_status hone_infer_identity(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    c->out[0] = c->in[0];
    return HONE_OK;
}

hone_status hone_ref_identity(hone_op_ctx *c) {
    if (!hone_in(c, 0)) { /* an empty optional */
        hone_tensor_release(hone_out(c, 0));
        return HONE_OK;
    }
    return copy_through(c);
}

hone_status hone_infer_dropout(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    hone_infer_same(c, 1, 0);
    if (c->n_out > 1)
        c->out[1].dtype = HONE_DTYPE_BOOL;
    return HONE_OK;
}

/* MT19937 (Matsumoto and Nishimura 1998): the generator behind the masks in ONNX's test data,
 * seeded and turned into doubles of 53 bits as its authors do. */
enum { MT_WORDS = 624, MT_SHIFT = 397 };

typedef struct twister {
    uint32_t word[MT_WORDS];
    int at;
} twister;

static void twister_seed(twister *t, uint32_t seed) {
    t->word[0] = seed;
    for (uint32_t i = 1; i < MT_WORDS; ++i)
        t->word[i] = 1812433253u * (t->word[i - 1] ^ (t->word[i - 1] >> 30)) + i;
    t->at = MT_WORDS;
}

static void twister_refill(twister *t) {
    for (int i = 0; i < MT_WORDS; ++i) {
        uint32_t y = (t->word[i] & 0x80000000u) | (t->word[(i + 1) % MT_WORDS] & 0x7fffffffu);
        t->word[i] = t->word[(i + MT_SHIFT) % MT_WORDS] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    t->at = 0;
}

static uint32_t twister_next(twister *t) {
    if (t->at == MT_WORDS)
        twister_refill(t);
    uint32_t y = t->word[t->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static double twister_uniform(twister *t) {
    uint32_t a = twister_next(t) >> 5, b = twister_next(t) >> 6;
    return ((double)a * 67108864.0 + (double)b) / 9007199254740992.0;
}

hone_status hone_ref_dropout(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *ratio_in = hone_in(c, 1), *training = hone_in(c, 2);
    hone_tensor *out = hone_out(c, 0), *mask = hone_out(c, 1);
    int64_t n = hone_tensor_count(in);
    double ratio = ratio_in && hone_tensor_count(ratio_in)
                       ? hone_load_f64(ratio_in->dtype, ratio_in->data, 0)
                       : 0.5;
    if (!(ratio >= 0 && ratio <= 1))
        return hone_op_fail(c, HONE_E_RUNTIME, "ratio %g is outside [0, 1]", ratio);
    bool is_training = training && hone_load_i64(training->dtype, training->data, 0) && ratio > 0;
    if (!is_training) {
        if (mask)
            memset(mask->data, 1, (size_t)n);
        return copy_through(c);
    }
    twister random;
    twister_seed(&random, (uint32_t)hone_attr_int(c->node, "seed", 0));
    double scale = ratio < 1 ? 1 / (1 - ratio) : 0;
    for (int64_t i = 0; i < n; ++i) {
        bool keep = twister_uniform(&random) >= ratio;
        double x = hone_load_f64(in->dtype, in->data, i);
        hone_store_f64(out->dtype, out->data, i, keep ? x * scale : 0);
        if (mask)
            ((uint8_t *)mask->data)[i] = keep;
    }
    return HONE_OK;
}

hone_status hone_infer_swiglu(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    for (int i = 0; hone_infer_has(c, 1) && i < c->in[0].rank && c->in[1].rank == c->in[0].rank;
         ++i)
        HONE_TRY(hone_infer_same_dim(c, c->in[0].dims[i], c->in[1].dims[i], &c->out[0].dims[i]));
    return HONE_OK;
}

hone_status hone_ref_swiglu(hone_op_ctx *c) {
    const hone_tensor *gate = hone_in(c, 0), *value = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    double alpha = (double)hone_attr_float(c->node, "alpha", 1);
    if (!hone_same_dims(gate, value) || gate->dtype != value->dtype)
        return hone_op_fail(c, HONE_E_SHAPE, "gate and value must have the same type and shape");
    for (int64_t i = 0, n = hone_tensor_count(out); i < n; ++i) {
        double x = hone_load_f64(gate->dtype, gate->data, i);
        double y = hone_load_f64(value->dtype, value->data, i);
        hone_store_f64(out->dtype, out->data, i, x * sigmoid(alpha * x) * y);
    }
    return HONE_OK;
}
