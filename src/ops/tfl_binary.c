/* Addition, subtraction, multiplication and division on integers, with broadcasting. */
#include "ops/tfl_quant.h"

typedef struct binary_job {
    tfl_param a, b, y;
    tfl_factor scale_a, scale_b, scale_y;
    int shift; /* left shift of sums */
    int32_t sign, low, high;
} binary_job;

/* Both inputs are brought to half of the range of the larger scale, 20 (or 15) bits up. */
static int32_t add_one(const binary_job *j, int32_t a, int32_t b) {
    int32_t x =
        tfl_scale(tfl_wrap((int64_t)(a - j->a.zero) * ((int64_t)1 << j->shift)), j->scale_a);
    int32_t y =
        tfl_scale(tfl_wrap((int64_t)(b - j->b.zero) * ((int64_t)1 << j->shift)), j->scale_b);
    int64_t v =
        (int64_t)tfl_scale(tfl_wrap((int64_t)x + (int64_t)j->sign * y), j->scale_y) + j->y.zero;
    return (int32_t)tfl_clamp(v, j->low, j->high);
}

static int32_t mul_one(const binary_job *j, int32_t a, int32_t b) {
    int64_t product = (int64_t)(a - j->a.zero) * (b - j->b.zero);
    int64_t v = (int64_t)tfl_scale(tfl_wrap(product), j->scale_y) + j->y.zero;
    return (int32_t)tfl_clamp(v, j->low, j->high);
}

/* The quotient by the divisor's reciprocal, both with as many bits as 32 hold. Quotients that are
 * shifted out altogether are 0; LiteRT shifts by more than 31 bits then, which is undefined. */
static int32_t div_one(const binary_job *j, int32_t a, int32_t b) {
    int32_t x = a - j->a.zero, d = b - j->b.zero;
    if (d < 0) {
        x = -x;
        d = -d;
    }
    int headroom = x ? __builtin_clrsb(x) : 31, above = d ? __builtin_clz((uint32_t)d) : 31;
    int32_t fraction = tfl_wrap(((int64_t)(uint32_t)d << above) - ((int64_t)1 << 31));
    int32_t inverse = tfl_reciprocal(fraction);
    int32_t q = tfl_high_mul(tfl_wrap((int64_t)x * ((int64_t)1 << headroom)), inverse);
    int right = 31 - above + headroom - j->scale_y.shift;
    q = tfl_high_mul(q, j->scale_y.multiplier);
    q = right > 31 ? 0 : right < 0 ? tfl_shift_left(q, -right) : tfl_divide_pot(q, right);
    return (int32_t)tfl_clamp((int64_t)q + j->y.zero, j->low, j->high);
}

/* scale_a is of inputs from 0 on, scale_y of their product with the slope. */
static int32_t prelu_one(const binary_job *j, int32_t a, int32_t b) {
    int32_t x = a - j->a.zero;
    int64_t v = x >= 0 ? tfl_scale(x, j->scale_a)
                       : tfl_scale(tfl_wrap((int64_t)x * (b - j->b.zero)), j->scale_y);
    return (int32_t)tfl_clamp(v + j->y.zero, j->low, j->high);
}

/* Steps of an input along each of the output's dims, 0 where it is repeated. */
static void steps_of(const hone_tensor *x, const hone_tensor *y, int64_t *step) {
    int64_t size = 1;
    for (int d = y->rank - 1; d >= 0; --d) {
        int own = d - (y->rank - x->rank);
        int64_t dim = own >= 0 ? x->dims[own] : 1;
        step[d] = dim == 1 ? 0 : size;
        size *= dim;
    }
}

typedef int32_t (*one_fn)(const binary_job *, int32_t, int32_t);

static void walk(const binary_job *j, const hone_tensor *a, const hone_tensor *b, hone_tensor *y,
                 one_fn one) {
    int64_t step_a[HONE_MAX_RANK] = {0}, step_b[HONE_MAX_RANK] = {0}, at[HONE_MAX_RANK] = {0};
    steps_of(a, y, step_a);
    steps_of(b, y, step_b);
    int64_t n = hone_tensor_count(y), ia = 0, ib = 0;
    for (int64_t i = 0; i < n; ++i) {
        int32_t v = one(j, tfl_load(a->dtype, a->data, ia), tfl_load(b->dtype, b->data, ib));
        tfl_store(y->dtype, y->data, i, v);
        for (int d = y->rank - 1; d >= 0; --d) {
            ia += step_a[d];
            ib += step_b[d];
            if (++at[d] < y->dims[d])
                break;
            ia -= step_a[d] * y->dims[d];
            ib -= step_b[d] * y->dims[d];
            at[d] = 0;
        }
    }
}

static binary_job job_of(hone_op_ctx *c) {
    binary_job j = {.a = tfl_param_of(c->node, "a"),
                    .b = tfl_param_of(c->node, "b"),
                    .y = tfl_param_of(c->node, "y"),
                    .sign = 1};
    tfl_range(c->node, hone_out(c, 0)->dtype, &j.low, &j.high);
    return j;
}

static hone_status run_add(hone_op_ctx *c, int32_t sign) {
    binary_job j = job_of(c);
    j.sign = sign;
    j.shift = hone_in(c, 0)->dtype == HONE_DTYPE_I16 ? 15 : 20;
    double twice = 2 * (j.a.scale > j.b.scale ? j.a.scale : j.b.scale);
    j.scale_a = tfl_factor_of(j.a.scale / twice);
    j.scale_b = tfl_factor_of(j.b.scale / twice);
    /* LiteRT multiplies this denominator in float; a power of two rounds nothing. */
    j.scale_y = tfl_factor_of(twice / ((double)((int64_t)1 << j.shift) * j.y.scale));
    walk(&j, hone_in(c, 0), hone_in(c, 1), hone_out(c, 0), add_one);
    return HONE_OK;
}

hone_status hone_ref_tfl_add(hone_op_ctx *c) {
    return run_add(c, 1);
}

hone_status hone_ref_tfl_sub(hone_op_ctx *c) {
    return run_add(c, -1);
}

hone_status hone_ref_tfl_mul(hone_op_ctx *c) {
    binary_job j = job_of(c);
    /* The product of the scales is a float in LiteRT. */
    j.scale_y = tfl_factor_of((double)((float)j.a.scale * (float)j.b.scale / (float)j.y.scale));
    walk(&j, hone_in(c, 0), hone_in(c, 1), hone_out(c, 0), mul_one);
    return HONE_OK;
}

hone_status hone_ref_tfl_prelu(hone_op_ctx *c) {
    binary_job j = job_of(c);
    j.scale_a = tfl_factor_of((double)((float)j.a.scale / (float)j.y.scale));
    j.scale_y = tfl_factor_of((double)((float)j.a.scale * (float)j.b.scale / (float)j.y.scale));
    walk(&j, hone_in(c, 0), hone_in(c, 1), hone_out(c, 0), prelu_one);
    return HONE_OK;
}

hone_status hone_ref_tfl_div(hone_op_ctx *c) {
    binary_job j = job_of(c);
    const hone_tensor *b = hone_in(c, 1);
    for (int64_t i = 0, n = hone_tensor_count(b); i < n; ++i) {
        if (tfl_load(b->dtype, b->data, i) == j.b.zero)
            return hone_op_fail(c, HONE_E_RUNTIME, "division by zero");
    }
    j.scale_y = tfl_factor_of((double)((float)j.a.scale / ((float)j.b.scale * (float)j.y.scale)));
    walk(&j, hone_in(c, 0), b, hone_out(c, 0), div_one);
    return HONE_OK;
}

hone_status hone_infer_tfl_binary(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_alike(c, 0, 1));
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    hone_infer_set(c, 0, c->in[0].dtype, -1, NULL);
    if (c->in[0].rank < 0 || c->in[1].rank < 0)
        return HONE_OK;
    int rank;
    int64_t dims[HONE_MAX_RANK];
    HONE_TRY(hone_broadcast_dims(c, c->in[0].rank, c->in[0].dims, c->in[1].rank, c->in[1].dims,
                                 &rank, dims));
    hone_infer_set(c, 0, c->in[0].dtype, rank, dims);
    return HONE_OK;
}
