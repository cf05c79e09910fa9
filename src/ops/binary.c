/* Element-wise operators of two (or any number of) broadcast operands. One loop a type and
 * operator; half types are computed in float, a chunk at a time. */
#include <math.h>
#include <string.h>

#include "ops/broadcast.h"

/* a and b advance by sa and sb, each 0 or 1. */
typedef void (*binary_loop)(const void *a, int64_t sa, const void *b, int64_t sb, void *out,
                            int64_t n);

#define LOOP(name, suffix, T, R, expr)                                                             \
    static void name##_##suffix(const void *pa, int64_t sa, const void *pb, int64_t sb, void *po,  \
                                int64_t n) {                                                       \
        const T *a = pa, *b = pb;                                                                  \
        R *out = po;                                                                               \
        if (sa == 1 && sb == 1) {                                                                  \
            for (int64_t i = 0; i < n; ++i) {                                                      \
                T x = a[i], y = b[i];                                                              \
                out[i] = (R)(expr);                                                                \
            }                                                                                      \
        } else {                                                                                   \
            for (int64_t i = 0; i < n; ++i) {                                                      \
                T x = a[i * sa], y = b[i * sb];                                                    \
                out[i] = (R)(expr);                                                                \
            }                                                                                      \
        }                                                                                          \
    }
#define FLOAT_LOOPS(name, expr)                                                                    \
    LOOP(name, f32, float, float, expr) LOOP(name, f64, double, double, expr)
/* Integers are computed as unsigned of at least 32 bits, so that they wrap. */
#define SINT_LOOPS(name, expr)                                                                     \
    LOOP(name, i8, int8_t, int8_t, expr)                                                           \
    LOOP(name, i16, int16_t, int16_t, expr)                                                        \
    LOOP(name, i32, int32_t, int32_t, expr)                                                        \
    LOOP(name, i64, int64_t, int64_t, expr)
#define UINT_LOOPS(name, expr)                                                                     \
    LOOP(name, u8, uint8_t, uint8_t, expr)                                                         \
    LOOP(name, u16, uint16_t, uint16_t, expr)                                                      \
    LOOP(name, u32, uint32_t, uint32_t, expr)                                                      \
    LOOP(name, u64, uint64_t, uint64_t, expr)
#define INT_LOOPS(name, expr) SINT_LOOPS(name, expr) UINT_LOOPS(name, expr)
#define COMPARE_LOOPS(name, expr)                                                                  \
    LOOP(name, f32, float, uint8_t, expr)                                                          \
    LOOP(name, f64, double, uint8_t, expr)                                                         \
    LOOP(name, i8, int8_t, uint8_t, expr)                                                          \
    LOOP(name, i16, int16_t, uint8_t, expr)                                                        \
    LOOP(name, i32, int32_t, uint8_t, expr)                                                        \
    LOOP(name, i64, int64_t, uint8_t, expr)                                                        \
    LOOP(name, u8, uint8_t, uint8_t, expr)                                                         \
    LOOP(name, u16, uint16_t, uint8_t, expr)                                                       \
    LOOP(name, u32, uint32_t, uint8_t, expr)                                                       \
    LOOP(name, u64, uint64_t, uint8_t, expr)

/* C's result for a negative divisor and for division by zero, without its undefined cases. */
static inline int64_t div_s(int64_t x, int64_t y) {
    if (y == 0)
        return 0;
    return y == -1 ? (int64_t)(0 - (uint64_t)x) : x / y;
}
static inline uint64_t div_u(uint64_t x, uint64_t y) {
    return y == 0 ? 0 : x / y;
}
/* fmod=0: the sign of the divisor, as Python's %; fmod=1: of the dividend, as C's. */
static inline int64_t mod_s(int64_t x, int64_t y) {
    if (y == 0 || y == -1)
        return 0;
    int64_t r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
static inline int64_t fmod_s(int64_t x, int64_t y) {
    return y == 0 || y == -1 ? 0 : x % y;
}
static inline uint64_t mod_u(uint64_t x, uint64_t y) {
    return y == 0 ? 0 : x % y;
}
static inline double mod_d(double x, double y) {
    double r = fmod(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
/* Shifts by the width or more (or, as unsigned numbers, negative ones) shift everything out; a
 * right shift of a negative number fills with its sign. */
static inline uint64_t shift_left(uint64_t x, uint64_t y, unsigned width) {
    return y >= width ? 0 : x << y;
}
static inline uint64_t shift_right(uint64_t x, uint64_t y, unsigned width) {
    return y >= width ? 0 : x >> y;
}
static inline int64_t shift_right_signed(int64_t x, int64_t y, int width) {
    return x >> (y < 0 || y >= width ? 63 : y);
}
static int64_t pow_s(int64_t x, int64_t y) {
    if (y < 0)
        return x == 1 ? 1 : x == -1 ? (y % 2 ? -1 : 1) : 0;
    uint64_t result = 1, base = (uint64_t)x;
    for (; y; y >>= 1, base *= base) {
        if (y & 1)
            result *= base;
    }
    return (int64_t)result;
}

FLOAT_LOOPS(add, x + y)
INT_LOOPS(add, (uint64_t)x + (uint64_t)y)
FLOAT_LOOPS(sub, x - y)
INT_LOOPS(sub, (uint64_t)x - (uint64_t)y)
FLOAT_LOOPS(mul, x *y)
INT_LOOPS(mul, (uint64_t)x *(uint64_t)y)
FLOAT_LOOPS(div, x / y)
SINT_LOOPS(div, div_s(x, y))
UINT_LOOPS(div, div_u(x, y))
FLOAT_LOOPS(mod, mod_d((double)x, (double)y))
SINT_LOOPS(mod, mod_s(x, y))
UINT_LOOPS(mod, mod_u(x, y))
FLOAT_LOOPS(fmod, fmod((double)x, (double)y))
SINT_LOOPS(fmod, fmod_s(x, y))
LOOP(pow, f32, float, float, y == 2.0f ? x * x : powf(x, y))
LOOP(pow, f64, double, double, pow(x, y))
INT_LOOPS(pow, pow_s((int64_t)x, (int64_t)y))
/* A NaN on either side is the result, as numpy's maximum and minimum have it. */
FLOAT_LOOPS(max, x != x ? x : x < y || y != y ? y : x)
INT_LOOPS(max, x < y ? y : x)
FLOAT_LOOPS(min, x != x ? x : y < x || y != y ? y : x)
INT_LOOPS(min, y < x ? y : x)
FLOAT_LOOPS(prelu, x < 0 ? x * y : x)
SINT_LOOPS(prelu, x < 0 ? (uint64_t)x * (uint64_t)y : (uint64_t)x)
UINT_LOOPS(prelu, ((void)y, x))
COMPARE_LOOPS(equal, x == y)
COMPARE_LOOPS(less, x < y)
COMPARE_LOOPS(less_or_equal, x <= y)
COMPARE_LOOPS(greater, x > y)
COMPARE_LOOPS(greater_or_equal, x >= y)
INT_LOOPS(bit_and, x &y)
INT_LOOPS(bit_or, x | y)
INT_LOOPS(bit_xor, x ^ y)
UINT_LOOPS(left, shift_left(x, y, 8 * sizeof x))
SINT_LOOPS(left, shift_left((uint64_t)x, (uint64_t)y, 8 * sizeof x))
UINT_LOOPS(right, shift_right(x, y, 8 * sizeof x))
SINT_LOOPS(right, shift_right_signed(x, y, 8 * (int)sizeof x))
LOOP(and, u8, uint8_t, uint8_t, (x != 0) & (y != 0))
LOOP(or, u8, uint8_t, uint8_t, (x != 0) | (y != 0))
LOOP(xor, u8, uint8_t, uint8_t, (x != 0) ^ (y != 0))
LOOP(equal, bool, uint8_t, uint8_t, (x != 0) == (y != 0))

static void equal_str(const void *pa, int64_t sa, const void *pb, int64_t sb, void *po, int64_t n) {
    const hone_string *a = pa, *b = pb;
    for (int64_t i = 0; i < n; ++i)
        ((uint8_t *)po)[i] = hone_string_equal(a[i * sa], b[i * sb]);
}

#define FLOAT_ROW(f) [HONE_DTYPE_F32] = f##_f32, [HONE_DTYPE_F64] = f##_f64
#define SINT_ROW(f)                                                                                \
    [HONE_DTYPE_I8] = f##_i8, [HONE_DTYPE_I16] = f##_i16, [HONE_DTYPE_I32] = f##_i32,              \
    [HONE_DTYPE_I64] = f##_i64
#define UINT_ROW(f)                                                                                \
    [HONE_DTYPE_U8] = f##_u8, [HONE_DTYPE_U16] = f##_u16, [HONE_DTYPE_U32] = f##_u32,              \
    [HONE_DTYPE_U64] = f##_u64
#define ALL_ROW(f) FLOAT_ROW(f), SINT_ROW(f), UINT_ROW(f)

typedef struct binary_op {
    const char *name;
    bool is_bool; /* the result is */
    binary_loop loop[HONE_DTYPE_COUNT];
} binary_op;

static const binary_op binary_ops[] = {
    {"Add", false, {ALL_ROW(add)}},
    {"Sub", false, {ALL_ROW(sub)}},
    {"Mul", false, {ALL_ROW(mul)}},
    {"Div", false, {ALL_ROW(div)}},
    {"Pow", false, {ALL_ROW(pow)}},
    {"Max", false, {ALL_ROW(max)}},
    {"Min", false, {ALL_ROW(min)}},
    {"Sum", false, {ALL_ROW(add)}},
    {"Mean", false, {ALL_ROW(add)}},
    {"PRelu", false, {ALL_ROW(prelu)}},
    {"Equal",
     true,
     {ALL_ROW(equal), [HONE_DTYPE_BOOL] = equal_bool, [HONE_DTYPE_STRING] = equal_str}},
    {"Less", true, {ALL_ROW(less)}},
    {"LessOrEqual", true, {ALL_ROW(less_or_equal)}},
    {"Greater", true, {ALL_ROW(greater)}},
    {"GreaterOrEqual", true, {ALL_ROW(greater_or_equal)}},
    {"And", true, {[HONE_DTYPE_BOOL] = and_u8}},
    {"Or", true, {[HONE_DTYPE_BOOL] = or_u8}},
    {"Xor", true, {[HONE_DTYPE_BOOL] = xor_u8}},
    {"BitwiseAnd", false, {SINT_ROW(bit_and), UINT_ROW(bit_and)}},
    {"BitwiseOr", false, {SINT_ROW(bit_or), UINT_ROW(bit_or)}},
    {"BitwiseXor", false, {SINT_ROW(bit_xor), UINT_ROW(bit_xor)}},
};
static const binary_op mod_ops[2] = {
    {"Mod", false, {ALL_ROW(mod)}},
    {"Mod", false, {FLOAT_ROW(fmod), SINT_ROW(fmod), UINT_ROW(mod)}},
};
static const binary_op shift_ops[2] = {
    {"BitShift", false, {UINT_ROW(left), SINT_ROW(left)}},
    {"BitShift", false, {UINT_ROW(right), SINT_ROW(right)}},
};

static const binary_op *find_op(const hone_node *n) {
    if (strcmp(n->op->name, "Mod") == 0)
        return &mod_ops[hone_attr_int(n, "fmod", 0) != 0];
    if (strcmp(n->op->name, "BitShift") == 0)
        return &shift_ops[strcmp(hone_attr_string(n, "direction", "LEFT"), "RIGHT") == 0];
    for (size_t i = 0; i < sizeof binary_ops / sizeof binary_ops[0]; ++i) {
        if (strcmp(n->op->name, binary_ops[i].name) == 0)
            return &binary_ops[i];
    }
    return NULL;
}

/* ---- running ----------------------------------------------------------------------------------
 */

enum { CHUNK = 512 };

static void widen(hone_dtype d, const uint16_t *src, int64_t step, float *dst, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
        dst[i] =
            d == HONE_DTYPE_F16 ? hone_f16_to_f32(src[i * step]) : hone_bf16_to_f32(src[i * step]);
}

/* Any 16-bit float loop through the float one. */
static void half_loop(const binary_op *op, hone_dtype d, const uint16_t *a, int64_t sa,
                      const uint16_t *b, int64_t sb, void *out, int64_t n) {
    float x[CHUNK], y[CHUNK], z[CHUNK];
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        widen(d, a + i * sa, sa, x, m);
        widen(d, b + i * sb, sb, y, m);
        if (op->is_bool) {
            op->loop[HONE_DTYPE_F32](x, 1, y, 1, (uint8_t *)out + i, m);
            continue;
        }
        op->loop[HONE_DTYPE_F32](x, 1, y, 1, z, m);
        uint16_t *o = (uint16_t *)out + i;
        for (int64_t k = 0; k < m; ++k)
            o[k] = d == HONE_DTYPE_F16 ? hone_f16_from_f32(z[k]) : hone_bf16_from_f32(z[k]);
    }
}

static bool is_half(hone_dtype d) {
    return d == HONE_DTYPE_F16 || d == HONE_DTYPE_BF16;
}

typedef struct binary_job {
    const binary_op *op;
    const hone_tensor *a, *b;
    hone_tensor *out;
    hone_broadcast walk;
    int64_t n_chunks, chunk; /* of the outer loop, or of the inner one when there is no outer */
} binary_job;

static const char *at(const void *data, hone_dtype d, int64_t i) {
    return (const char *)data + i * (hone_dtype_bits(d) / 8);
}

static void run_loop(const binary_job *j, int64_t oa, int64_t ob, int64_t oo, int64_t n) {
    hone_dtype d = j->a->dtype;
    const void *a = at(j->a->data, d, oa), *b = at(j->b->data, d, ob);
    void *out = (char *)j->out->data + oo * (hone_dtype_bits(j->out->dtype) / 8);
    int64_t sa = hone_broadcast_step(&j->walk, 0), sb = hone_broadcast_step(&j->walk, 1);
    if (is_half(d))
        half_loop(j->op, d, a, sa, b, sb, out, n);
    else
        j->op->loop[d](a, sa, b, sb, out, n);
}

static void binary_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const binary_job *j = arg;
    const hone_broadcast *w = &j->walk;
    int64_t begin = task * j->chunk, end = begin + j->chunk;
    if (w->n_outer == 1) {
        if (end > w->n_inner)
            end = w->n_inner;
        run_loop(j, begin * hone_broadcast_step(w, 0), begin * hone_broadcast_step(w, 1), begin,
                 end - begin);
        return;
    }
    if (end > w->n_outer)
        end = w->n_outer;
    for (int64_t i = begin; i < end; ++i) {
        int64_t offset[2];
        hone_broadcast_at(w, i, 2, offset);
        run_loop(j, offset[0], offset[1], i * w->n_inner, w->n_inner);
    }
}

static hone_status run_pair(hone_op_ctx *c, const binary_op *op, const hone_tensor *a,
                            const hone_tensor *b, hone_tensor *out) {
    hone_dtype d = a->dtype;
    if (!op || !op->loop[is_half(d) ? HONE_DTYPE_F32 : d])
        return hone_op_bad_type(c, d);
    if (hone_tensor_count(out) == 0)
        return HONE_OK;
    const hone_tensor *in[2] = {a, b};
    binary_job j = {.op = op, .a = a, .b = b, .out = out};
    hone_broadcast_init(&j.walk, out, in, 2);
    enum { GRAIN = 1 << 15 }; /* elements a task */
    int64_t units = j.walk.n_outer == 1 ? j.walk.n_inner : j.walk.n_outer;
    int64_t unit = j.walk.n_outer == 1 ? 1 : j.walk.n_inner;
    j.chunk = unit >= GRAIN ? 1 : GRAIN / unit;
    hone_op_parallel(c, (units + j.chunk - 1) / j.chunk, binary_task, &j);
    return HONE_OK;
}

/* An operand of another type, as Pow's exponent may be, brought to the type of the first. */
static hone_status convert(hone_op_ctx *c, const hone_tensor *t, hone_dtype d, hone_tensor *out) {
    int64_t n = hone_tensor_count(t);
    void *data = hone_op_scratch(c, hone_dtype_bytes(d, n) + 1);
    if (!data)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < n; ++i)
        hone_store_f64(d, data, i, hone_load_f64(t->dtype, t->data, i));
    *out = hone_tensor_view(d, t->rank, t->dims, data);
    return HONE_OK;
}

hone_status hone_ref_binary(hone_op_ctx *c) {
    const hone_tensor *a = hone_in(c, 0), *b = hone_in(c, 1);
    hone_tensor converted;
    if (a->dtype != b->dtype) {
        HONE_TRY(convert(c, b, a->dtype, &converted));
        b = &converted;
    }
    return run_pair(c, find_op(c->node), a, b, hone_out(c, 0));
}

/* Pow of an integer base and a fractional exponent is computed in floating point. */
hone_status hone_ref_pow(hone_op_ctx *c) {
    const hone_tensor *a = hone_in(c, 0), *b = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    if (hone_dtype_is_float(a->dtype) || !hone_dtype_is_float(b->dtype))
        return hone_ref_binary(c);
    const hone_tensor *in[2] = {a, b};
    hone_broadcast w;
    hone_broadcast_init(&w, out, in, 2);
    for (int64_t i = 0; i < w.n_outer && hone_tensor_count(out); ++i) {
        int64_t o[2];
        hone_broadcast_at(&w, i, 2, o);
        for (int64_t k = 0; k < w.n_inner; ++k) {
            double x = hone_load_f64(a->dtype, a->data, o[0] + k * hone_broadcast_step(&w, 0));
            double y = hone_load_f64(b->dtype, b->data, o[1] + k * hone_broadcast_step(&w, 1));
            hone_store_f64(out->dtype, out->data, i * w.n_inner + k, pow(x, y));
        }
    }
    return HONE_OK;
}

/* ---- any number of operands -------------------------------------------------------------------
 */

static void spread(const hone_tensor *in, hone_tensor *out) {
    hone_broadcast w;
    hone_broadcast_init(&w, out, &in, 1);
    int64_t step = hone_broadcast_step(&w, 0);
    for (int64_t i = 0; i < w.n_outer && hone_tensor_count(out); ++i) {
        int64_t o;
        hone_broadcast_at(&w, i, 1, &o);
        for (int64_t k = 0; step == 0 && k < w.n_inner; ++k)
            hone_copy_elems(out->dtype, out->data, i * w.n_inner + k, in->data, o, 1);
        if (step)
            hone_copy_elems(out->dtype, out->data, i * w.n_inner, in->data, o, w.n_inner);
    }
}

static void divide_by(hone_tensor *t, int n) {
    for (int64_t i = 0, count = hone_tensor_count(t); i < count; ++i)
        hone_store_f64(t->dtype, t->data, i, hone_load_f64(t->dtype, t->data, i) / n);
}

hone_status hone_ref_variadic(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    const binary_op *op = find_op(c->node);
    if (c->n_in >= 2) {
        const hone_tensor *in[2] = {c->in[0], c->in[1]};
        HONE_TRY(run_pair(c, op, in[0], in[1], out));
    } else if (out->data != c->in[0]->data) {
        spread(c->in[0], out);
    }
    for (int i = 2; i < c->n_in; ++i)
        HONE_TRY(run_pair(c, op, out, c->in[i], out));
    if (strcmp(c->node->op->name, "Mean") == 0 && c->n_in > 1)
        divide_by(out, c->n_in);
    return HONE_OK;
}

/* ---- inference --------------------------------------------------------------------------------
 */

static hone_status infer_pair(hone_infer_ctx *c, hone_dtype d) {
    int64_t dims[HONE_MAX_RANK];
    int rank;
    HONE_TRY(hone_broadcast_dims(c, c->in[0].rank, c->in[0].dims, c->in[1].rank, c->in[1].dims,
                                 &rank, dims));
    hone_infer_set(c, 0, d, rank, dims);
    return HONE_OK;
}

/* Follows shape arithmetic: contents of Add, Sub, Mul, Div, Min, Max of short integer vectors. */
static int64_t fold_dim(const char *op, int64_t a, int64_t b) {
    int64_t r;
    if (strcmp(op, "Mul") == 0 && (a == 1 || b == 1))
        return a == 1 ? b : a;
    if ((strcmp(op, "Add") == 0 || strcmp(op, "Sub") == 0) && b == 0)
        return a;
    if (strcmp(op, "Div") == 0 && b == 1)
        return a;
    if (a < 0 || b < 0)
        return HONE_DIM_UNKNOWN;
    if (strcmp(op, "Add") == 0)
        return __builtin_add_overflow(a, b, &r) ? HONE_DIM_UNKNOWN : r;
    if (strcmp(op, "Sub") == 0)
        return a >= b ? a - b : HONE_DIM_UNKNOWN;
    if (strcmp(op, "Mul") == 0)
        return __builtin_mul_overflow(a, b, &r) ? HONE_DIM_UNKNOWN : r;
    if (strcmp(op, "Div") == 0)
        return b ? a / b : HONE_DIM_UNKNOWN;
    if (strcmp(op, "Max") == 0)
        return a > b ? a : b;
    if (strcmp(op, "Min") == 0)
        return a < b ? a : b;
    return HONE_DIM_UNKNOWN;
}

static void infer_contents(hone_infer_ctx *c) {
    enum { MAX = 64 };
    int64_t a[MAX], b[MAX], out[MAX];
    if (c->out[0].rank > 1 || c->n_in != 2 || !hone_dtype_in(c->out[0].dtype, HONE_T_INT))
        return;
    int na = hone_infer_dims(c, 0, a, MAX), nb = hone_infer_dims(c, 1, b, MAX);
    if (na < 0 || nb < 0 || (na != nb && na != 1 && nb != 1))
        return;
    int n = na > nb ? na : nb;
    if (na == 0 || nb == 0)
        n = 0;
    for (int i = 0; i < n; ++i)
        out[i] = fold_dim(c->node->op->name, a[na == 1 ? 0 : i], b[nb == 1 ? 0 : i]);
    hone_infer_set_contents(c, 0, out, n);
}

hone_status hone_infer_binary(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    hone_dtype a = c->in[0].dtype, b = c->in[1].dtype;
    if (a && b && a != b && strcmp(c->node->op->name, "Pow") != 0)
        return hone_infer_fail(c, HONE_E_TYPE, "the operands are %s and %s", hone_dtype_name(a),
                               hone_dtype_name(b));
    HONE_TRY(infer_pair(c, a));
    infer_contents(c);
    return HONE_OK;
}

hone_status hone_infer_compare(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1)) {
        hone_infer_set(c, 0, HONE_DTYPE_BOOL, -1, NULL);
        return HONE_OK;
    }
    if (c->in[0].dtype && c->in[1].dtype && c->in[0].dtype != c->in[1].dtype)
        return hone_infer_fail(c, HONE_E_TYPE, "the operands are %s and %s",
                               hone_dtype_name(c->in[0].dtype), hone_dtype_name(c->in[1].dtype));
    return infer_pair(c, HONE_DTYPE_BOOL);
}

hone_status hone_infer_prelu(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_alike(c, 0, 1));
    hone_infer_same(c, 0, 0);
    return HONE_OK;
}

hone_status hone_infer_variadic(hone_infer_ctx *c) {
    int64_t dims[HONE_MAX_RANK] = {0};
    int rank = 0;
    for (int i = 0; i < c->n_in; ++i) {
        if (!hone_infer_has(c, i))
            return HONE_OK;
        if (c->in[i].dtype && c->in[0].dtype && c->in[i].dtype != c->in[0].dtype)
            return hone_infer_fail(c, HONE_E_TYPE, "the operands are %s and %s",
                                   hone_dtype_name(c->in[0].dtype),
                                   hone_dtype_name(c->in[i].dtype));
        HONE_TRY(hone_broadcast_dims(c, rank, dims, c->in[i].rank, c->in[i].dims, &rank, dims));
        if (rank < 0)
            break;
    }
    hone_infer_set(c, 0, c->in[0].dtype, rank, dims);
    infer_contents(c);
    return HONE_OK;
}

/* ---- Where ------------------------------------------------------------------------------------
 */

hone_status hone_infer_where(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1) || !hone_infer_has(c, 2))
        return HONE_OK;
    if (c->in[1].dtype && c->in[2].dtype && c->in[1].dtype != c->in[2].dtype)
        return hone_infer_fail(c, HONE_E_TYPE, "the branches are %s and %s",
                               hone_dtype_name(c->in[1].dtype), hone_dtype_name(c->in[2].dtype));
    int64_t dims[HONE_MAX_RANK];
    int rank;
    HONE_TRY(hone_broadcast_dims(c, c->in[0].rank, c->in[0].dims, c->in[1].rank, c->in[1].dims,
                                 &rank, dims));
    if (rank >= 0)
        HONE_TRY(hone_broadcast_dims(c, rank, dims, c->in[2].rank, c->in[2].dims, &rank, dims));
    hone_infer_set(c, 0, c->in[1].dtype, rank, dims);
    int64_t cond[64], x[64], y[64];
    int nc = hone_infer_dims(c, 0, cond, 64), nx = hone_infer_dims(c, 1, x, 64);
    int ny = hone_infer_dims(c, 2, y, 64);
    const hone_tensor *v = hone_infer_value(c, 0);
    if (v && nc < 0 && v->dtype == HONE_DTYPE_BOOL && hone_tensor_count(v) <= 64) {
        nc = (int)hone_tensor_count(v);
        for (int i = 0; i < nc; ++i)
            cond[i] = ((const uint8_t *)v->data)[i];
    }
    if (rank >= 0 && rank <= 1 && nc > 0 && nx == nc && ny == nc) {
        for (int i = 0; i < nc; ++i)
            x[i] = cond[i] ? x[i] : y[i];
        hone_infer_set_contents(c, 0, x, nc);
    }
    return HONE_OK;
}

#define WHERE_LOOP(T)                                                                              \
    for (int64_t k = 0; k < n; ++k)                                                                \
    ((T *)out)[k] = cond[k * sc] ? ((const T *)x)[k * sx] : ((const T *)y)[k * sy]

static void where_loop(size_t size, const uint8_t *cond, int64_t sc, const void *x, int64_t sx,
                       const void *y, int64_t sy, void *out, int64_t n) {
    if (size == 1)
        WHERE_LOOP(uint8_t);
    else if (size == 2)
        WHERE_LOOP(uint16_t);
    else if (size == 4)
        WHERE_LOOP(uint32_t);
    else if (size == 8)
        WHERE_LOOP(uint64_t);
    else
        WHERE_LOOP(hone_string); /* 16 bytes: complex128 and strings */
}

_Static_assert(sizeof(hone_string) == 16 || sizeof(void *) != 8, "where_loop copies 16 bytes");

hone_status hone_ref_where(hone_op_ctx *c) {
    hone_tensor *out = hone_out(c, 0);
    const hone_tensor *x = hone_in(c, 1), *y = hone_in(c, 2);
    size_t size = (size_t)hone_dtype_bits(out->dtype) / 8;
    if (size == 0)
        return hone_op_bad_type(c, out->dtype);
    if (hone_tensor_count(out) == 0)
        return HONE_OK;
    hone_broadcast w;
    hone_broadcast_init(&w, out, c->in, 3);
    for (int64_t i = 0; i < w.n_outer; ++i) {
        int64_t o[3];
        hone_broadcast_at(&w, i, 3, o);
        where_loop(size, (const uint8_t *)c->in[0]->data + o[0], hone_broadcast_step(&w, 0),
                   at(x->data, x->dtype, o[1]), hone_broadcast_step(&w, 1),
                   at(y->data, y->dtype, o[2]), hone_broadcast_step(&w, 2),
                   (char *)out->data + (size_t)(i * w.n_inner) * size, w.n_inner);
    }
    if (out->dtype == HONE_DTYPE_STRING) {
        hone_string *s = out->data;
        for (int64_t i = 0, n = hone_tensor_count(out); i < n; ++i)
            HONE_TRY(hone_string_set(out, i, s[i].data, s[i].len, c->err));
    }
    return HONE_OK;
}
