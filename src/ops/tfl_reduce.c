/* Mean, sum and product along axes, on integers. Attributes: axes (below 0: from the end),
 * keepdims. Source: tflite/kernels/internal/reference/reduce.h (LiteRT). */
#include <string.h>

#include "ops/tfl_quant.h"

/* Bit d is set: axis d is reduced. false: an axis that the rank does not have. */
static bool read_axes(const hone_node *n, int rank, uint32_t *reduced) {
    const int64_t *axes;
    int n_axes = hone_attr_ints(n, "axes", &axes);
    *reduced = 0;
    for (int i = 0; i < n_axes; ++i) {
        if (axes[i] < -rank || axes[i] >= rank)
            return false;
        *reduced |= 1u << (axes[i] < 0 ? axes[i] + rank : axes[i]);
    }
    return true;
}

typedef struct reduce_job {
    tfl_param x, y;
    tfl_factor factor;
    int32_t low, high;
    int64_t n; /* elements that go into each result */
} reduce_job;

static void step_sum(const reduce_job *j, int32_t *total, int32_t v, bool is_first) {
    (void)j;
    *total = tfl_add(is_first ? 0 : *total, v);
}

/* Rescaled after each factor, so that 32 bits hold it. */
static void step_prod(const reduce_job *j, int32_t *total, int32_t v, bool is_first) {
    v -= j->x.zero;
    *total = is_first ? v : tfl_scale_wide((int64_t)*total * v, j->factor);
}

typedef void (*step_fn)(const reduce_job *, int32_t *, int32_t, bool);

/* Every element, in order, into its place of `total`. */
static void accumulate(const reduce_job *j, const hone_tensor *x, uint32_t reduced, step_fn step,
                       int32_t *total) {
    int64_t at[HONE_MAX_RANK] = {0}, size[HONE_MAX_RANK] = {0}, all = 1, n = hone_tensor_count(x);
    for (int d = x->rank - 1; d >= 0; --d) {
        size[d] = reduced >> d & 1 ? 0 : all;
        all *= size[d] ? x->dims[d] : 1;
    }
    int64_t to = 0;
    for (int64_t i = 0; i < n; ++i) {
        bool is_first = true;
        for (int d = 0; d < x->rank; ++d)
            is_first = is_first && (size[d] || at[d] == 0);
        step(j, &total[to], tfl_load(x->dtype, x->data, i), is_first);
        for (int d = x->rank - 1; d >= 0; --d) {
            to += size[d];
            if (++at[d] < x->dims[d])
                break;
            to -= size[d] * x->dims[d];
            at[d] = 0;
        }
    }
}

/* The division by n goes into the factor, as far as its bits allow. */
static void divide_factor(tfl_factor *f, int64_t n) {
    int shift = 63 - __builtin_clzll((uint64_t)n);
    shift = shift > 32 ? 32 : shift;
    shift = shift > 31 + f->shift ? 31 + f->shift : shift;
    f->multiplier = (int32_t)(((int64_t)f->multiplier << shift) / n);
    f->shift -= shift;
}

static hone_status run_reduce(hone_op_ctx *c, step_fn step, bool is_mean) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    uint32_t reduced;
    reduce_job j = {.x = tfl_param_of(c->node, "x"), .y = tfl_param_of(c->node, "y")};
    if (!read_axes(c->node, x->rank, &reduced))
        return hone_op_fail(c, HONE_E_SHAPE, "the input has no such axis");
    int64_t count = hone_tensor_count(y), all = hone_tensor_count(x);
    if (count == 0)
        return HONE_OK;
    if (all == 0) {
        memset(y->data, 0, hone_tensor_bytes(y));
        return HONE_OK;
    }
    int32_t *total = hone_op_scratch(c, (size_t)count * sizeof *total);
    if (!total)
        return HONE_E_NOMEM;
    j.n = all / count;
    double real = j.x.scale / j.y.scale;
    if (step == step_prod)
        real = j.x.scale / pow(j.y.scale, 1.0 / (double)j.n);
    j.factor = tfl_factor_of(real);
    tfl_range(c->node, y->dtype, &j.low, &j.high);
    accumulate(&j, x, reduced, step, total);
    if (is_mean)
        divide_factor(&j.factor, j.n);
    for (int64_t i = 0; i < count; ++i) {
        int64_t v = step == step_prod
                        ? tfl_scale_wide(total[i], j.factor)
                        : tfl_scale(tfl_wrap(total[i] - (int64_t)j.x.zero * j.n), j.factor);
        tfl_store(y->dtype, y->data, i, (int32_t)tfl_clamp(v + j.y.zero, j.low, j.high));
    }
    return HONE_OK;
}

hone_status hone_ref_tfl_mean(hone_op_ctx *c) {
    return run_reduce(c, step_sum, true);
}

hone_status hone_ref_tfl_sum(hone_op_ctx *c) {
    return run_reduce(c, step_sum, false);
}

hone_status hone_ref_tfl_prod(hone_op_ctx *c) {
    return run_reduce(c, step_prod, false);
}

hone_status hone_infer_tfl_reduce(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || c->in[0].rank < 0)
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    const hone_type *x = &c->in[0];
    uint32_t reduced;
    if (!read_axes(c->node, x->rank, &reduced))
        return hone_infer_fail(c, HONE_E_SHAPE, "the input has no such axis");
    int64_t dims[HONE_MAX_RANK];
    int rank = 0;
    bool keeps = hone_attr_int(c->node, "keepdims", 0) != 0;
    for (int d = 0; d < x->rank; ++d) {
        if (!(reduced >> d & 1))
            dims[rank++] = x->dims[d];
        else if (keeps)
            dims[rank++] = 1;
    }
    hone_infer_set(c, 0, x->dtype, rank, dims);
    return HONE_OK;
}
