/* Reductions. Any set of axes is brought to one shape, [outer, n, inner] with the middle one
 * reduced; sums run in double, or in 64-bit integers that wrap. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/strided.h"

typedef enum reduce_kind {
    REDUCE_SUM,
    REDUCE_MEAN,
    REDUCE_L1,
    REDUCE_L2,
    REDUCE_LOG_SUM,
    REDUCE_LOG_SUM_EXP,
    REDUCE_SUM_SQUARE,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_PROD,
} reduce_kind;

static const char *const reduce_names[] = {
    [REDUCE_SUM] = "ReduceSum",
    [REDUCE_MEAN] = "ReduceMean",
    [REDUCE_L1] = "ReduceL1",
    [REDUCE_L2] = "ReduceL2",
    [REDUCE_LOG_SUM] = "ReduceLogSum",
    [REDUCE_LOG_SUM_EXP] = "ReduceLogSumExp",
    [REDUCE_SUM_SQUARE] = "ReduceSumSquare",
    [REDUCE_MAX] = "ReduceMax",
    [REDUCE_MIN] = "ReduceMin",
    [REDUCE_PROD] = "ReduceProd",
};

static reduce_kind kind_of(const hone_node *n) {
    int i = 0;
    while (strcmp(reduce_names[i], n->op->name) != 0)
        ++i;
    return (reduce_kind)i;
}

/* ---- axes -------------------------------------------------------------------------------------
 */

/* The reduced axes as a bit set; false: an axis is out of range. */
static bool reduced_axes(const hone_node *n, const hone_tensor *axes, int rank, uint32_t *set) {
    int64_t count = axes ? hone_tensor_count(axes) : 0;
    *set = 0;
    if (count == 0) {
        if (!hone_attr_int(n, "noop_with_empty_axes", 0))
            *set = (1u << rank) - 1;
        return true;
    }
    for (int64_t i = 0; i < count; ++i) {
        int64_t axis = hone_load_i64(axes->dtype, axes->data, i);
        axis = axis < 0 ? axis + rank : axis;
        if (axis < 0 || axis >= rank)
            return false;
        *set |= 1u << axis;
    }
    return true;
}

hone_status hone_infer_reduce(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    const hone_tensor *axes = hone_infer_value(c, 1);
    bool keep = hone_attr_int(c->node, "keepdims", 1) != 0;
    bool is_open = c->n_in > 1 && c->node->in[1] && !axes;
    int64_t dims[HONE_MAX_RANK];
    int rank = 0;
    uint32_t set;
    hone_infer_set(c, 0, in->dtype, -1, NULL);
    if (in->rank < 0 || (is_open && !keep))
        return HONE_OK;
    if (is_open)
        set = (1u << in->rank) - 1;
    else if (!reduced_axes(c->node, axes, in->rank, &set))
        return hone_infer_fail(c, HONE_E_SHAPE, "an axis is outside rank %d", in->rank);
    for (int i = 0; i < in->rank; ++i) {
        if (!(set >> i & 1))
            dims[rank++] = in->dims[i];
        else if (keep)
            dims[rank++] = is_open ? HONE_DIM_UNKNOWN : 1;
    }
    hone_infer_set(c, 0, in->dtype, rank, dims);
    return HONE_OK;
}

/* ---- the loops --------------------------------------------------------------------------------
 */

typedef struct reduce_job {
    reduce_kind kind;
    const hone_tensor *in; /* its data laid out as [outer, n, inner] */
    const void *data;
    hone_tensor *out;
    int64_t outer, n, inner;
} reduce_job;

static double start_value(reduce_kind k) {
    return k == REDUCE_PROD ? 1 : k == REDUCE_MAX ? -INFINITY : k == REDUCE_MIN ? INFINITY : 0;
}

static double fold(reduce_kind k, double acc, double x) {
    switch (k) {
    case REDUCE_L1:
        return acc + fabs(x);
    case REDUCE_L2:
    case REDUCE_SUM_SQUARE:
        return acc + x * x;
    case REDUCE_MAX:
        return isnan(acc) ? acc : x > acc || isnan(x) ? x : acc;
    case REDUCE_MIN:
        return isnan(acc) ? acc : x < acc || isnan(x) ? x : acc;
    case REDUCE_PROD:
        return acc * x;
    default:
        return acc + x;
    }
}

static double finish(reduce_kind k, double acc, int64_t n) {
    switch (k) {
    case REDUCE_MEAN:
        return acc / (double)n;
    case REDUCE_L2:
        return sqrt(acc);
    case REDUCE_LOG_SUM:
        return log(acc);
    default:
        return acc;
    }
}

/* log(sum(exp(x))), with the largest x taken out so that nothing overflows. */
static double log_sum_exp(const reduce_job *j, int64_t base) {
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < j->n; ++i)
        top = fold(REDUCE_MAX, top, hone_load_f64(j->in->dtype, j->data, base + i * j->inner));
    if (isinf(top) || isnan(top))
        return top;
    for (int64_t i = 0; i < j->n; ++i)
        sum += exp(hone_load_f64(j->in->dtype, j->data, base + i * j->inner) - top);
    return top + log(sum);
}

static void reduce_general(const reduce_job *j, int64_t o) {
    for (int64_t k = 0; k < j->inner; ++k) {
        int64_t base = o * j->n * j->inner + k;
        double acc = start_value(j->kind);
        if (j->kind == REDUCE_LOG_SUM_EXP) {
            acc = log_sum_exp(j, base);
        } else {
            for (int64_t i = 0; i < j->n; ++i)
                acc = fold(j->kind, acc, hone_load_f64(j->in->dtype, j->data, base + i * j->inner));
        }
        hone_store_f64(j->out->dtype, j->out->data, o * j->inner + k, finish(j->kind, acc, j->n));
    }
}

/* Integers of 64 bits do not fit a double. */
static void reduce_integer(const reduce_job *j, int64_t o) {
    bool is_unsigned = j->in->dtype == HONE_DTYPE_U64;
    for (int64_t k = 0; k < j->inner; ++k) {
        uint64_t acc = j->kind == REDUCE_PROD;
        for (int64_t i = 0; i < j->n; ++i) {
            int64_t x = hone_load_i64(j->in->dtype, j->data, (o * j->n + i) * j->inner + k);
            uint64_t u = (uint64_t)x;
            bool is_less = is_unsigned ? u < acc : x < (int64_t)acc;
            bool is_more = is_unsigned ? u > acc : x > (int64_t)acc;
            if (j->kind == REDUCE_MAX)
                acc = i == 0 || is_more ? u : acc;
            else if (j->kind == REDUCE_MIN)
                acc = i == 0 || is_less ? u : acc;
            else if (j->kind == REDUCE_PROD)
                acc *= u;
            else if (j->kind == REDUCE_SUM_SQUARE)
                acc += u * u;
            else
                acc += j->kind == REDUCE_L1 && x < 0 && !is_unsigned ? 0 - u : u;
        }
        if (j->kind == REDUCE_MEAN && j->n)
            acc = is_unsigned ? acc / (uint64_t)j->n : (uint64_t)((int64_t)acc / j->n);
        hone_store_i64(j->out->dtype, j->out->data, o * j->inner + k, (int64_t)acc);
    }
}

/* float along the last axis: four running sums, so that the additions overlap. */
static double sum_f32(reduce_kind kind, const float *x, int64_t n) {
    double acc[4] = {0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (int k = 0; k < 4; ++k) {
            double v = (double)x[i + k];
            acc[k] += kind == REDUCE_SUM_SQUARE || kind == REDUCE_L2 ? v * v : v;
        }
    }
    for (; i < n; ++i)
        acc[0] = fold(kind, acc[0], (double)x[i]);
    return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

static void reduce_task(void *arg, int64_t o, int worker) {
    (void)worker;
    const reduce_job *j = arg;
    bool is_sum = j->kind == REDUCE_SUM || j->kind == REDUCE_MEAN || j->kind == REDUCE_L2 ||
                  j->kind == REDUCE_SUM_SQUARE;
    bool is_integer = hone_dtype_in(j->in->dtype, HONE_T_INT) && j->kind != REDUCE_L2 &&
                      j->kind != REDUCE_LOG_SUM && j->kind != REDUCE_LOG_SUM_EXP;
    if (j->in->dtype == HONE_DTYPE_F32 && is_sum && j->inner == 1)
        ((float *)j->out->data)[o] =
            (float)finish(j->kind, sum_f32(j->kind, (const float *)j->data + o * j->n, j->n), j->n);
    else if (is_integer)
        reduce_integer(j, o);
    else
        reduce_general(j, o);
}

/* ---- running ----------------------------------------------------------------------------------
 */

/* Reduced axes that do not lie together are first moved behind the kept ones. */
static hone_status gather_axes(hone_op_ctx *c, uint32_t set, reduce_job *j) {
    const hone_tensor *in = j->in;
    void *data = hone_op_scratch(c, hone_tensor_bytes(in) + 1);
    if (!data)
        return HONE_E_NOMEM;
    hone_strided w = {.rank = in->rank};
    int64_t stride[HONE_MAX_RANK];
    int at = 0;
    hone_row_major(in->rank, in->dims, stride);
    j->outer = j->n = j->inner = 1;
    for (int pass = 0; pass < 2; ++pass) {
        for (int i = 0; i < in->rank; ++i) {
            if ((int)(set >> i & 1) != pass)
                continue;
            w.dims[at] = in->dims[i];
            w.src_stride[at++] = stride[i];
            *(pass ? &j->n : &j->outer) *= in->dims[i];
        }
    }
    hone_row_major(in->rank, w.dims, w.dst_stride);
    hone_tensor moved = hone_tensor_view(in->dtype, in->rank, w.dims, data);
    j->data = data;
    return hone_strided_copy(c, &moved, in, &w);
}

hone_status hone_ref_reduce(hone_op_ctx *c) {
    reduce_job j = {.kind = kind_of(c->node), .in = hone_in(c, 0), .out = hone_out(c, 0)};
    const hone_tensor *in = j.in;
    uint32_t set;
    if (!reduced_axes(c->node, hone_in(c, 1), in->rank, &set))
        return hone_op_fail(c, HONE_E_SHAPE, "an axis is outside rank %d", in->rank);
    if (hone_dtype_in(in->dtype, HONE_T(STRING) | HONE_T_COMPLEX))
        return hone_op_bad_type(c, in->dtype);
    j.data = in->data;
    int first = 0, last = in->rank;
    while (first < in->rank && !(set >> first & 1))
        ++first;
    while (last > first && !(set >> (last - 1) & 1))
        --last;
    uint32_t run = ((1u << last) - 1) & ~((1u << first) - 1);
    if (set == run) {
        j.outer = hone_dims_count(in->dims, 0, first);
        j.n = hone_dims_count(in->dims, first, last);
        j.inner = hone_dims_count(in->dims, last, in->rank);
    } else {
        HONE_TRY(gather_axes(c, set, &j));
    }
    if (hone_tensor_count(j.out) == 0)
        return HONE_OK;
    if (j.n == 0 && hone_dtype_in(in->dtype, HONE_T_INT | HONE_T(BOOL)) &&
        (j.kind == REDUCE_MAX || j.kind == REDUCE_MIN)) {
        /* The neutral element of an integer type is its least or greatest value. */
        for (int64_t i = 0, n = hone_tensor_count(j.out); i < n; ++i)
            hone_store_f64(in->dtype, j.out->data, i,
                           in->dtype == HONE_DTYPE_BOOL ? j.kind == REDUCE_MIN
                                                        : start_value(j.kind));
        return HONE_OK;
    }
    hone_op_parallel(c, j.outer, reduce_task, &j);
    return HONE_OK;
}
