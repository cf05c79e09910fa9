/* Element-wise programs: see kernels/eltwise.h. */
#include <math.h>
#include <string.h>

#include "kernels/eltwise.h"

/* An operand of a tile: step 1 walks an array, step 0 rereads VW copies of one number. */
typedef struct ew_arg {
    const float *p;
    int64_t step;
} ew_arg;

typedef void ew_fn(float *d, const ew_arg *s, int64_t n, float a, float b);

static inline vf ew_true(vm m) {
    return vf_sel(m, vf_set1(1.0f), vf_set1(0.0f));
}
static inline vf ew_vmax(vf x, vf y) {
    return vf_sel(vf_nan(x), x, vf_max(x, y));
}
static inline vf ew_vmin(vf x, vf y) {
    return vf_sel(vf_nan(x), x, vf_min(x, y));
}
static inline vf ew_unit(vf x) { /* clip to [0, 1], NaN stays */
    return vf_min(vf_set1(1.0f), vf_max(vf_set1(0.0f), x));
}
static inline vf ew_is(vf x) {
    return vf_sel(vf_eq(x, vf_set1(0.0f)), vf_set1(0.0f), vf_set1(1.0f));
}
static inline vf ew_vmish(vf x) {
    vf w = vf_exp(vf_min(vf_set1(20.0f), x)), two = vf_set1(2.0f);
    vf t = vf_mul(w, vf_add(w, two));
    return vf_sel(vf_lt(vf_set1(20.0f), x), x, vf_mul(x, vf_div(t, vf_add(t, two))));
}
static inline vf ew_vsoftplus(vf x) {
    vf t = vf_exp(vf_neg(vf_abs(x)));
    return vf_add(vf_max(vf_set1(0.0f), x), vf_log(vf_add(vf_set1(1.0f), t)));
}
static inline vf ew_vsign(vf x) {
    vf zero = vf_set1(0.0f), s = vf_copysign(vf_set1(1.0f), x);
    return vf_sel(vf_nan(x), x, vf_sel(vf_eq(x, zero), zero, s));
}
static inline vf ew_lanes(vf x, vf y, float (*f)(float, float)) {
    float u[VW], v[VW];
    vf_store(u, x);
    vf_store(v, y);
    for (int i = 0; i < VW; ++i)
        u[i] = f(u[i], v[i]);
    return vf_load(u);
}
static float ew_pow1(float x, float y) {
    return y == 2.0f ? x * x : powf(x, y);
}
static float ew_sin1(float x, float y) {
    (void)y;
    return sinf(x);
}
static float ew_cos1(float x, float y) {
    (void)y;
    return cosf(x);
}

/* The operands are copied to locals, since a vector store may alias anything. */
#define EW_AT(k)   vf_load(p##k + i * step##k)
#define EW_AT_N(k) vf_load_n(p##k + i * step##k, n - i)
#define EW_OP(name, y_at, z_at, y_at_n, z_at_n, expression)                                        \
    static void ew_##name(float *d, const ew_arg *s, int64_t n, float a, float b) {                \
        const vf A = vf_set1(a), B = vf_set1(b), zero = vf_set1(0.0f), one = vf_set1(1.0f);        \
        const float *p0 = s[0].p, *p1 = s[1].p, *p2 = s[2].p;                                      \
        const int64_t step0 = s[0].step, step1 = s[1].step, step2 = s[2].step;                     \
        int64_t i = 0;                                                                             \
        (void)A, (void)B, (void)zero, (void)one, (void)p1, (void)p2, (void)step1, (void)step2;     \
        for (; i + VW <= n; i += VW) {                                                             \
            vf x = EW_AT(0), y = y_at, z = z_at;                                                   \
            (void)y, (void)z;                                                                      \
            vf_store(d + i, expression);                                                           \
        }                                                                                          \
        if (i < n) {                                                                               \
            vf x = EW_AT_N(0), y = y_at_n, z = z_at_n;                                             \
            (void)y, (void)z;                                                                      \
            vf_store_n(d + i, expression, n - i);                                                  \
        }                                                                                          \
    }
#define EW1(name, expression) EW_OP(name, zero, zero, zero, zero, expression)
#define EW2(name, expression) EW_OP(name, EW_AT(1), zero, EW_AT_N(1), zero, expression)
#define EW3(name, expression) EW_OP(name, EW_AT(1), EW_AT(2), EW_AT_N(1), EW_AT_N(2), expression)

EW1(copy, x)
EW1(relu, vf_max(zero, x))
EW1(leaky, vf_sel(vf_lt(x, zero), vf_mul(x, A), x))
EW1(elu, vf_sel(vf_lt(x, zero), vf_mul(A, vf_sub(vf_exp(x), one)), x))
EW1(sigmoid, vf_sigmoid(x))
EW1(tanh, vf_tanh(x))
EW1(erf, vf_erf(x))
EW1(gelu, vf_gelu(x))
EW1(gelu_tanh, vf_gelu_tanh(x))
EW1(silu, vf_mul(x, vf_sigmoid(vf_mul(A, x))))
EW1(hard_swish, vf_mul(x, ew_unit(vf_fma(A, x, B))))
EW1(hard_sigmoid, ew_unit(vf_fma(A, x, B)))
EW1(softplus, ew_vsoftplus(x))
EW1(mish, ew_vmish(x))
EW1(exp, vf_exp(x))
EW1(log, vf_log(x))
EW1(sqrt, vf_sqrt(x))
EW1(rsqrt, vf_div(one, vf_sqrt(x)))
EW1(recip, vf_div(one, x))
EW1(abs, vf_abs(x))
EW1(neg, vf_neg(x))
EW1(floor, vf_floor(x))
EW1(ceil, vf_ceil(x))
EW1(round, vf_rint(x))
EW1(sin, ew_lanes(x, zero, ew_sin1))
EW1(cos, ew_lanes(x, zero, ew_cos1))
EW1(sign, ew_vsign(x))
EW1(not, ew_true(vf_eq(x, zero)))
EW1(is_nan, ew_true(vf_nan(x)))
EW1(clip, vf_min(B, vf_max(A, x)))
EW1(affine, vf_fma(A, x, B))
EW2(add, vf_add(x, y))
EW2(sub, vf_sub(x, y))
EW2(mul, vf_mul(x, y))
EW2(div, vf_div(x, y))
EW2(max, ew_vmax(x, y))
EW2(min, ew_vmin(x, y))
EW2(pow, ew_lanes(x, y, ew_pow1))
EW2(prelu, vf_sel(vf_lt(x, zero), vf_mul(x, y), x))
EW2(eq, ew_true(vf_eq(x, y)))
EW2(ne, vf_sel(vf_eq(x, y), zero, one))
EW2(lt, ew_true(vf_lt(x, y)))
EW2(le, ew_true(vf_le(x, y)))
EW2(gt, ew_true(vf_lt(y, x)))
EW2(ge, ew_true(vf_le(y, x)))
EW2(and, vf_mul(ew_is(x), ew_is(y)))
EW2(or, vf_max(ew_is(x), ew_is(y)))
EW2(xor, vf_abs(vf_sub(ew_is(x), ew_is(y))))
EW3(where, vf_sel(vf_eq(x, zero), z, y))
EW3(fma, vf_fma(x, y, z))
#undef EW1
#undef EW2
#undef EW3
#undef EW_OP
#undef EW_AT
#undef EW_AT_N

static ew_fn *const ew_ops[HONE_EW_OP_COUNT] = {
#define X(name, function, arity) ew_##function,
    HONE_EW_OPS(X)
#undef X
};

/* Coordinates of element e, and its offset in input k. */
static int64_t ew_offset(const hone_ew_program *p, int k, int64_t e, int64_t *at) {
    int64_t offset = 0;
    for (int d = p->rank - 1; d >= 0; --d) {
        at[d] = e % p->dims[d];
        e /= p->dims[d];
        offset += at[d] * p->strides[k][d];
    }
    return offset;
}

static inline float ew_widen1(uint16_t h) {
    uint32_t w = (uint32_t)h << 16;
    float x;
    memcpy(&x, &w, sizeof x);
    return x;
}

static void ew_widen(const uint16_t *from, int64_t n, float *to) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        vf_store(to + i, vf_load_bf16(from + i));
    if (i < n)
        vf_store_n(to + i, vf_load_bf16_n(from + i, n - i), n - i);
}

static void ew_narrow(const float *from, int64_t n, uint16_t *to) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        vf_store_bf16(to + i, vf_load(from + i));
    if (i < n)
        vf_store_bf16_n(to + i, vf_load_n(from + i, n - i), n - i);
}

static const int64_t ew_sizes[] = {[HONE_EW_F32] = 4, [HONE_EW_U8] = 1, [HONE_EW_BF16] = 2};

static void ew_gather_row(const void *in, uint8_t type, int64_t stride, int64_t n, float *to) {
    if (type == HONE_EW_U8) {
        const uint8_t *u = in;
        for (int64_t i = 0; i < n; ++i)
            to[i] = u[i * stride];
        return;
    }
    const float *f = in;
    const uint16_t *h = in;
    if (type == HONE_EW_BF16 && stride == 1) {
        ew_widen(h, n, to);
    } else if (type == HONE_EW_BF16) {
        for (int64_t i = 0; i < n; ++i)
            to[i] = ew_widen1(h[i * stride]);
    } else if (stride == 1) {
        for (int64_t i = 0; i < n; ++i)
            to[i] = f[i];
    } else {
        for (int64_t i = 0; i < n; ++i)
            to[i] = f[i * stride];
    }
}

/* Elements [e, e + n) of input k as floats. */
static void ew_gather(const hone_ew_program *p, const void *in, int k, int64_t e, int64_t n,
                      float *to) {
    int64_t at[HONE_EW_MAX_RANK], last = p->rank - 1, size = ew_sizes[p->in_type[k]];
    int64_t offset = ew_offset(p, k, e, at);
    while (n > 0) {
        int64_t run = p->dims[last] - at[last];
        run = run < n ? run : n;
        const char *from = (const char *)in + offset * size;
        ew_gather_row(from, p->in_type[k], p->strides[k][last], run, to);
        to += run;
        n -= run;
        offset += run * p->strides[k][last];
        at[last] += run;
        for (int64_t d = last; d > 0 && at[d] == p->dims[d]; --d) {
            at[d] = 0;
            ++at[d - 1];
            offset += p->strides[k][d - 1] - p->dims[d] * p->strides[k][d];
        }
    }
}

static void ew_splat(float *to, const void *in, uint8_t type, int64_t offset) {
    float x;
    ew_gather_row((const char *)in + offset * ew_sizes[type], type, 1, 1, &x);
    for (int i = 0; i < VW; ++i)
        to[i] = x;
}

static ew_arg ew_input(const hone_ew_program *p, const void *in, int k, int64_t e, int64_t n,
                       float *buffer) {
    bool is_f32 = p->in_type[k] == HONE_EW_F32;
    if (p->in_kind[k] == HONE_EW_SCALAR)
        return (ew_arg){buffer, 0}; /* filled once, before the first tile */
    if (p->in_kind[k] == HONE_EW_ROW)
        return (ew_arg){buffer + e % p->dims[p->rank - 1], 1}; /* so is this */
    if (p->in_kind[k] == HONE_EW_DENSE && is_f32)
        return (ew_arg){(const float *)in + e, 1};
    if (p->by_rows && p->in_kind[k] == HONE_EW_STRIDED) {
        int64_t at[HONE_EW_MAX_RANK], offset = ew_offset(p, k, e, at);
        int64_t stride = p->strides[k][p->rank - 1];
        if (stride == 1 && is_f32)
            return (ew_arg){(const float *)in + offset, 1};
        if (stride == 0) {
            ew_splat(buffer, in, p->in_type[k], offset);
            return (ew_arg){buffer, 0};
        }
    }
    ew_gather(p, in, k, e, n, buffer);
    return (ew_arg){buffer, 1};
}

/* A row again and again, so that a tile can start at any of its elements. */
static void ew_repeat(const void *row, uint8_t type, int64_t width, int64_t n, float *to) {
    ew_gather_row(row, type, 1, width, to);
    for (int64_t done = width, more; done < n; done += more) {
        more = n - done < done ? n - done : done;
        memcpy(to + done, to, (size_t)more * sizeof *to);
    }
}

static void ew_store_u8(uint8_t *to, const float *from, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
        to[i] = from[i] != 0.0f;
}

static void ew_tile(const hone_ew_program *p, void *const *out, ew_arg *values, int64_t e,
                    int64_t n, float *regs) {
    for (int i = 0; i < p->n_steps; ++i) {
        const hone_ew_step *step = &p->steps[i];
        ew_arg s[3] = {values[step->src[0]], values[0], values[0]};
        for (int k = 1; k < hone_ew_arity(step->op); ++k)
            s[k] = values[step->src[k]];
        int o = p->direct[i];
        float *d = o >= 0 ? (float *)out[o] + e : regs + (int64_t)p->reg[i] * HONE_EW_STRIDE;
        ew_ops[step->op](d, s, n, step->a, step->b);
        values[p->n_in + i] = (ew_arg){d, 1};
    }
    for (int o = 0; o < p->n_out; ++o) {
        if (p->out_type[o] == HONE_EW_U8)
            ew_store_u8((uint8_t *)out[o] + e, values[p->out_value[o]].p, n);
        else if (p->out_type[o] == HONE_EW_BF16)
            ew_narrow(values[p->out_value[o]].p, n, (uint16_t *)out[o] + e);
    }
}

/* ---- x * factor + addend, and RELU -------------------------------------------------------------
 * Batch normalisations that no convolution took, gates of channels, sums: one loop instead of one
 * for each step, with the roundings of each. */

/* Inputs of such a program; factor or addend may be left out: -1. */
typedef struct ew_scaling {
    int x, factor, addend;
    bool has_relu;
} ew_scaling;

static bool ew_is_scaling(const hone_ew_program *p, ew_scaling *a) {
    const hone_ew_step *s = p->steps, *last = s + p->n_steps - 1;
    const int product = p->n_in, result = p->n_in + p->n_steps - 1;
    a->has_relu = p->n_steps > 1 && last->op == HONE_EW_RELU && last->src[0] == result - 1;
    const int n = p->n_steps - a->has_relu;
    if (n > 2 || p->n_out != 1 || p->out_value[0] != result || p->out_type[0] == HONE_EW_U8 ||
        (s[0].op != HONE_EW_MUL && (s[0].op != HONE_EW_ADD || n == 2)))
        return false;
    int is_second = p->in_kind[s[0].src[0]] != HONE_EW_DENSE, other = s[0].src[!is_second];
    a->x = s[0].src[is_second];
    a->factor = s[0].op == HONE_EW_MUL ? other : -1;
    a->addend = s[0].op == HONE_EW_ADD ? other : -1;
    if (n == 2) {
        int follows = s[1].src[0] == product;
        a->addend = s[1].src[follows];
        if (s[1].op != HONE_EW_ADD || s[1].src[!follows] != product || a->addend >= p->n_in)
            return false;
    }
    /* A single step on floats is one loop as it is. */
    bool gains =
        p->n_steps > 1 || p->in_type[a->x] == HONE_EW_BF16 || p->out_type[0] == HONE_EW_BF16;
    return gains && p->in_kind[a->x] == HONE_EW_DENSE && p->in_type[a->x] != HONE_EW_U8 &&
           a->factor != a->x && a->addend != a->x;
}

/* An argument without memory is left out. */
VEC_INLINE void ew_scale_tile(bool from_bf16, bool to_bf16, bool has_relu, const void *x,
                              ew_arg factor, ew_arg addend, void *y, int64_t n) {
    const float *xf = x;
    const uint16_t *xh = x;
    for (int64_t i = 0; i < n; i += VW) {
        const int64_t left = n - i;
        vf v = left < VW ? (from_bf16 ? vf_load_bf16_n(xh + i, left) : vf_load_n(xf + i, left))
                         : (from_bf16 ? vf_load_bf16(xh + i) : vf_load(xf + i));
        if (factor.p) {
            const float *f = factor.p + i * factor.step;
            v = vf_mul(v, left < VW ? vf_load_n(f, left) : vf_load(f));
        }
        if (addend.p) {
            const float *a = addend.p + i * addend.step;
            v = vf_add(v, left < VW ? vf_load_n(a, left) : vf_load(a));
        }
        if (has_relu)
            v = vf_max(vf_set1(0.0f), v);
        if (left < VW && to_bf16)
            vf_store_bf16_n((uint16_t *)y + i, v, left);
        else if (left < VW)
            vf_store_n((float *)y + i, v, left);
        else if (to_bf16)
            vf_store_bf16((uint16_t *)y + i, v);
        else
            vf_store((float *)y + i, v);
    }
}

static void ew_scale(const ew_scaling *a, bool from_bf16, bool to_bf16, const void *x,
                     ew_arg factor, ew_arg addend, void *y, int64_t n) {
#define EW_CASE(from, to, relu)                                                                    \
    if (from_bf16 == from && to_bf16 == to && a->has_relu == relu)                                 \
    ew_scale_tile(from, to, relu, x, factor, addend, y, n)
    EW_CASE(false, false, false);
    EW_CASE(false, false, true);
    EW_CASE(false, true, false);
    EW_CASE(false, true, true);
    EW_CASE(true, false, false);
    EW_CASE(true, false, true);
    EW_CASE(true, true, false);
    EW_CASE(true, true, true);
#undef EW_CASE
}

/* ---- running ----------------------------------------------------------------------------------
 */

static void ew_run(const hone_ew_program *p, const void *const *in, void *const *out, int64_t begin,
                   int64_t end, void *scratch) {
    float *regs = scratch, *buffers = regs + (int64_t)p->n_regs * HONE_EW_STRIDE;
    ew_arg values[HONE_EW_MAX_IN + HONE_EW_MAX_STEPS];
    if (begin >= end)
        return;
    int64_t row = p->dims[p->rank - 1];
    ew_scaling scaling = {0};
    const bool is_scaling = ew_is_scaling(p, &scaling);
    for (int k = 0; k < p->n_in; ++k) {
        float *buffer = buffers + (int64_t)k * HONE_EW_ROOM * HONE_EW_STRIDE;
        if (p->in_kind[k] == HONE_EW_SCALAR)
            ew_splat(buffer, in[k], p->in_type[k], 0);
        else if (p->in_kind[k] == HONE_EW_ROW)
            ew_repeat(in[k], p->in_type[k], row,
                      row + (end - begin < HONE_EW_TILE ? end - begin : HONE_EW_TILE), buffer);
    }
    for (int64_t e = begin, n; e < end; e += n) {
        n = end - e < HONE_EW_TILE ? end - e : HONE_EW_TILE;
        if (p->by_rows && n > row - e % row)
            n = row - e % row;
        for (int k = 0; k < p->n_in; ++k) {
            if (is_scaling && k == scaling.x)
                continue;
            values[k] =
                ew_input(p, in[k], k, e, n, buffers + (int64_t)k * HONE_EW_ROOM * HONE_EW_STRIDE);
        }
        if (!is_scaling) {
            ew_tile(p, out, values, e, n, regs);
            continue;
        }
        const ew_arg none = {NULL, 0};
        const int64_t from_size = ew_sizes[p->in_type[scaling.x]],
                      to_size = ew_sizes[p->out_type[0]];
        ew_scale(
            &scaling, from_size == 2, to_size == 2, (const char *)in[scaling.x] + e * from_size,
            scaling.factor < 0 ? none : values[scaling.factor],
            scaling.addend < 0 ? none : values[scaling.addend], (char *)out[0] + e * to_size, n);
    }
}
