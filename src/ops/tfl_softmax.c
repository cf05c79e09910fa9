/* Softmax of rows of 8-bit numbers in fixed point: exp by a product of powers, as
 * gemmlowp's fixed-point numbers do it (gemmlowp/fixedpoint/fixedpoint.h). */
#include "ops/tfl_softmax.h"

#include "ops/tfl_quant.h"

enum { INPUT_BITS = 5, SUM_BITS = 12 }; /* integer bits: exp takes Q5.26, its sum is Q12.19 */

/* exp of a number of (-1/4, 0] in Q0.31: a Taylor polynomial around -1/8. */
static int32_t exp_quarter(int32_t a) {
    const int32_t exp_eighth = 1895147668, third = 715827883; /* exp(-1/8), 1/3 */
    int32_t x = tfl_add(a, 1 << 28);
    int32_t x2 = tfl_high_mul(x, x), x3 = tfl_high_mul(x2, x), x4 = tfl_high_mul(x2, x2);
    int32_t x4_4 = tfl_divide_pot(x4, 2);
    int32_t tail = tfl_divide_pot(tfl_add(tfl_high_mul(tfl_add(x4_4, x3), third), x2), 1);
    return tfl_add(exp_eighth, tfl_high_mul(exp_eighth, tfl_add(x, tail)));
}

/* exp of a number <= 0 in Q5.26, in Q0.31: by quarters and powers of two. */
static int32_t exp_negative(int32_t a) {
    enum { FRACTION = 31 - INPUT_BITS };
    static const int32_t powers[] = {1672461947, 1302514674, 790015084, 290630308,
                                     39332535,   720401,     242}; /* exp(-1/4), -1/2, ... -16 */
    const int32_t quarter = 1 << (FRACTION - 2);
    if (a == 0)
        return INT32_MAX;
    int32_t rest = (a & (quarter - 1)) - quarter;
    int32_t left = rest - a;
    int32_t v = exp_quarter(tfl_shift_left(rest, INPUT_BITS));
    for (int i = 0; i < 7; ++i) {
        if (left & (1 << (FRACTION - 2 + i)))
            v = tfl_high_mul(v, powers[i]);
    }
    return v;
}

typedef struct softmax_job {
    int32_t exp[256]; /* of differences to the maximum, in Q0.31 */
    int64_t n;
    int32_t low, high;
    int diff_min;
} softmax_job;

static void fill_exp(softmax_job *j, double input_scale) {
    double real = input_scale * (double)(1 << (31 - INPUT_BITS));
    tfl_factor f = tfl_factor_of(real > 999999999.0 ? 999999999.0 : real);
    double radius = ldexp(31.0 * (double)((int64_t)1 << 26), -f.shift);
    j->diff_min = -(int)(radius > 256 ? 256 : floor(radius));
    for (int d = 0; d < 256; ++d)
        j->exp[d] = -d >= j->diff_min ? exp_negative(tfl_scale(-d, f)) : -1;
}

static void softmax_row(const softmax_job *j, const hone_tensor *x, hone_tensor *y, int64_t at) {
    int32_t most = INT32_MIN;
    for (int64_t i = 0; i < j->n; ++i) {
        int32_t v = tfl_load(x->dtype, x->data, at + i);
        most = v > most ? v : most;
    }
    int32_t sum = 0;
    for (int64_t i = 0; i < j->n; ++i) {
        int32_t e = j->exp[most - tfl_load(x->dtype, x->data, at + i)];
        sum = e < 0 ? sum : tfl_add(sum, tfl_divide_pot(e, SUM_BITS));
    }
    int headroom = sum > 0 ? __builtin_clz((uint32_t)sum) : 31;
    int over = SUM_BITS - headroom; /* bits of the sum above 1 */
    int32_t fraction = tfl_wrap(((int64_t)(uint32_t)sum << headroom) - ((int64_t)1 << 31));
    int32_t scale = tfl_reciprocal(fraction);
    int exponent = (int)tfl_clamp(over + 31 - 8, 0, 31);
    for (int64_t i = 0; i < j->n; ++i) {
        int32_t e = j->exp[most - tfl_load(x->dtype, x->data, at + i)];
        int64_t v =
            e < 0 ? j->low : (int64_t)tfl_divide_pot(tfl_high_mul(scale, e), exponent) + j->low;
        tfl_store(y->dtype, y->data, at + i, (int32_t)tfl_clamp(v, j->low, j->high));
    }
}

hone_status hone_ref_tfl_softmax(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    softmax_job j;
    j.n = x->rank ? x->dims[x->rank - 1] : 1;
    if (hone_tensor_count(x) == 0)
        return HONE_OK;
    if (x->dtype == HONE_DTYPE_I16) {
        tfl_softmax16(x, y, tfl_param_of(c->node, "x").scale, j.n);
        return HONE_OK;
    }
    j.low = x->dtype == HONE_DTYPE_U8 ? 0 : -128;
    j.high = j.low + 255;
    fill_exp(&j, tfl_param_of(c->node, "x").scale);
    for (int64_t at = 0; at < hone_tensor_count(x); at += j.n)
        softmax_row(&j, x, y, at);
    return HONE_OK;
}

hone_status hone_infer_tfl_same(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    hone_infer_same(c, 0, 0);
    return HONE_OK;
}
