/* MatMul, Gemm, MatMulInteger, QLinearMatMul. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ops/broadcast.h"

/* ---- shapes -----------------------------------------------------------------------------------
 */

/* numpy's matmul: vectors are promoted to matrices, leading dims broadcast. */
static hone_status matmul_dims(hone_infer_ctx *c, const hone_type *a, const hone_type *b, int *rank,
                               int64_t *dims) {
    *rank = -1;
    if (a->rank < 0 || b->rank < 0)
        return HONE_OK;
    if (a->rank == 0 || b->rank == 0)
        return hone_infer_fail(c, HONE_E_SHAPE, "a scalar cannot be multiplied as a matrix");
    int64_t k;
    HONE_TRY(
        hone_infer_same_dim(c, a->dims[a->rank - 1], b->dims[b->rank > 1 ? b->rank - 2 : 0], &k));
    int batch_a = a->rank > 2 ? a->rank - 2 : 0, batch_b = b->rank > 2 ? b->rank - 2 : 0;
    HONE_TRY(hone_broadcast_dims(c, batch_a, a->dims, batch_b, b->dims, rank, dims));
    if (a->rank > 1)
        dims[(*rank)++] = a->dims[a->rank - 2];
    if (b->rank > 1)
        dims[(*rank)++] = b->dims[b->rank - 1];
    return HONE_OK;
}

static hone_status infer_product(hone_infer_ctx *c, int a, int b, hone_dtype d) {
    int64_t dims[HONE_MAX_RANK + 2];
    int rank;
    if (!hone_infer_has(c, a) || !hone_infer_has(c, b)) {
        hone_infer_set(c, 0, d, -1, NULL);
        return HONE_OK;
    }
    HONE_TRY(matmul_dims(c, &c->in[a], &c->in[b], &rank, dims));
    if (rank > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %d is beyond the limit", rank);
    hone_infer_set(c, 0, d, rank, dims);
    return HONE_OK;
}

hone_status hone_infer_matmul(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0) && hone_infer_has(c, 1) && c->in[0].dtype != c->in[1].dtype)
        return hone_infer_fail(c, HONE_E_TYPE, "the operands are %s and %s",
                               hone_dtype_name(c->in[0].dtype), hone_dtype_name(c->in[1].dtype));
    return infer_product(c, 0, 1, hone_infer_has(c, 0) ? c->in[0].dtype : HONE_DTYPE_NONE);
}

hone_status hone_infer_matmul_integer(hone_infer_ctx *c) {
    return infer_product(c, 0, 1, HONE_DTYPE_I32);
}

hone_status hone_infer_qlinear_matmul(hone_infer_ctx *c) {
    return infer_product(c, 0, 3, hone_infer_has(c, 7) ? c->in[7].dtype : HONE_DTYPE_NONE);
}

/* ---- products ---------------------------------------------------------------------------------
 */

/* One matrix product: rows of A times B, of strides in elements. */
typedef struct product {
    int64_t m, n, k;
    int64_t a_row, a_col, b_row, b_col;
} product;

/* Which matrices are multiplied for batch index i. */
typedef struct batch_walk {
    hone_broadcast walk;
    int64_t n_batches;
    product p;
} batch_walk;

static hone_tensor batch_view(const hone_tensor *t) {
    hone_tensor v = *t;
    v.rank = t->rank > 2 ? t->rank - 2 : 0;
    return v;
}

static void plan_batches(const hone_tensor *a, const hone_tensor *b, batch_walk *w) {
    hone_tensor va = batch_view(a), vb = batch_view(b), out = {.kind = HONE_KIND_TENSOR};
    out.rank = va.rank > vb.rank ? va.rank : vb.rank;
    for (int i = 0; i < out.rank; ++i) {
        int ia = i - (out.rank - va.rank), ib = i - (out.rank - vb.rank);
        int64_t da = ia < 0 ? 1 : va.dims[ia], db = ib < 0 ? 1 : vb.dims[ib];
        out.dims[i] = da == 1 ? db : da;
    }
    const hone_tensor *in[2] = {&va, &vb};
    hone_broadcast_init(&w->walk, &out, in, 2);
    w->n_batches = w->walk.n_outer * w->walk.n_inner;
    w->p.m = a->rank > 1 ? a->dims[a->rank - 2] : 1;
    w->p.k = a->dims[a->rank - 1];
    w->p.n = b->rank > 1 ? b->dims[b->rank - 1] : 1;
    w->p.a_row = w->p.k;
    w->p.a_col = 1;
    w->p.b_row = w->p.n;
    w->p.b_col = 1;
}

static void batch_offsets(const batch_walk *w, int64_t i, int64_t *a, int64_t *b) {
    int64_t at[2], inner = i % w->walk.n_inner;
    hone_broadcast_at(&w->walk, i / w->walk.n_inner, 2, at);
    *a = (at[0] + inner * hone_broadcast_step(&w->walk, 0)) * w->p.m * w->p.k;
    *b = (at[1] + inner * hone_broadcast_step(&w->walk, 1)) * w->p.k * w->p.n;
}

/* Row r of C, f32: B's rows are added up, scaled, so that the loop over columns vectorises. */
static void row_f32(const product *p, const float *a, const float *b, float *c) {
    memset(c, 0, (size_t)p->n * sizeof *c);
    if (p->b_col == 1) {
        for (int64_t k = 0; k < p->k; ++k) {
            float x = a[k * p->a_col];
            const float *row = b + k * p->b_row;
            for (int64_t j = 0; j < p->n; ++j)
                c[j] += x * row[j];
        }
        return;
    }
    for (int64_t j = 0; j < p->n; ++j) {
        float sum = 0;
        for (int64_t k = 0; k < p->k; ++k)
            sum += a[k * p->a_col] * b[k * p->b_row + j * p->b_col];
        c[j] = sum;
    }
}

static void row_any(const product *p, hone_dtype d, const void *a, int64_t ao, const void *b,
                    int64_t bo, void *c, int64_t co) {
    bool is_int = !hone_dtype_is_float(d);
    for (int64_t j = 0; j < p->n; ++j) {
        double sum = 0;
        uint64_t whole = 0;
        for (int64_t k = 0; k < p->k; ++k) {
            int64_t ia = ao + k * p->a_col, ib = bo + k * p->b_row + j * p->b_col;
            if (is_int)
                whole += (uint64_t)hone_load_i64(d, a, ia) * (uint64_t)hone_load_i64(d, b, ib);
            else
                sum += hone_load_f64(d, a, ia) * hone_load_f64(d, b, ib);
        }
        if (is_int)
            hone_store_i64(d, c, co + j, (int64_t)whole);
        else
            hone_store_f64(d, c, co + j, sum);
    }
}

typedef struct matmul_job {
    batch_walk w;
    const hone_tensor *a, *b;
    hone_tensor *out;
} matmul_job;

static void matmul_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const matmul_job *j = arg;
    const product *p = &j->w.p;
    int64_t batch = task / p->m, row = task % p->m, a, b;
    batch_offsets(&j->w, batch, &a, &b);
    a += row * p->a_row;
    int64_t c = task * p->n;
    if (j->out->dtype == HONE_DTYPE_F32)
        row_f32(p, (const float *)j->a->data + a, (const float *)j->b->data + b,
                (float *)j->out->data + c);
    else
        row_any(p, j->out->dtype, j->a->data, a, j->b->data, b, j->out->data, c);
}

hone_status hone_ref_matmul(hone_op_ctx *c) {
    matmul_job j = {.a = hone_in(c, 0), .b = hone_in(c, 1), .out = hone_out(c, 0)};
    if (hone_dtype_in(j.a->dtype, HONE_T(STRING) | HONE_T_COMPLEX))
        return hone_op_bad_type(c, j.a->dtype);
    plan_batches(j.a, j.b, &j.w);
    if (hone_tensor_count(j.out))
        hone_op_parallel(c, j.w.n_batches * j.w.p.m, matmul_task, &j);
    return HONE_OK;
}

/* ---- Gemm -------------------------------------------------------------------------------------
 */

hone_status hone_infer_gemm(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1))
        return HONE_OK;
    HONE_TRY(hone_infer_alike(c, 0, 1));
    HONE_TRY(hone_infer_alike(c, 0, 2));
    const hone_type *a = &c->in[0], *b = &c->in[1];
    bool ta = hone_attr_int(c->node, "transA", 0) != 0,
         tb = hone_attr_int(c->node, "transB", 0) != 0;
    int64_t dims[2] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN}, k;
    if ((a->rank >= 0 && a->rank != 2) || (b->rank >= 0 && b->rank != 2))
        return hone_infer_fail(c, HONE_E_SHAPE, "A and B must be matrices");
    if (a->rank == 2)
        dims[0] = a->dims[ta];
    if (b->rank == 2)
        dims[1] = b->dims[!tb];
    if (a->rank == 2 && b->rank == 2)
        HONE_TRY(hone_infer_same_dim(c, a->dims[!ta], b->dims[tb], &k));
    hone_infer_set(c, 0, a->dtype, 2, dims);
    return HONE_OK;
}

/* C broadcasts to the result: element (i, j) of it. */
static double bias_at(const hone_tensor *t, int64_t i, int64_t j) {
    int64_t cols = t->rank ? t->dims[t->rank - 1] : 1,
            rows = t->rank > 1 ? t->dims[t->rank - 2] : 1;
    return hone_load_f64(t->dtype, t->data, (rows == 1 ? 0 : i) * cols + (cols == 1 ? 0 : j));
}

/* v as int64, the nearest where it is outside; NaN gives 0. */
static int64_t whole_number(double v) {
    return isnan(v) ? 0 : v >= 0x1p63 ? INT64_MAX : v < -0x1p63 ? INT64_MIN : (int64_t)v;
}

hone_status hone_ref_gemm(hone_op_ctx *c) {
    const hone_tensor *a = hone_in(c, 0), *b = hone_in(c, 1), *bias = hone_in(c, 2);
    hone_tensor *out = hone_out(c, 0);
    bool ta = hone_attr_int(c->node, "transA", 0) != 0,
         tb = hone_attr_int(c->node, "transB", 0) != 0;
    double alpha = (double)hone_attr_float(c->node, "alpha", 1);
    double beta = (double)hone_attr_float(c->node, "beta", 1);
    product p = {.m = out->dims[0], .n = out->dims[1], .k = a->dims[!ta]};
    p.a_row = ta ? 1 : p.k;
    p.a_col = ta ? p.m : 1;
    p.b_row = tb ? 1 : p.n;
    p.b_col = tb ? p.k : 1;
    if (bias && bias->rank > 2)
        return hone_op_fail(c, HONE_E_SHAPE, "C has rank %d, more than 2", bias->rank);
    for (int d = 0; bias && d < bias->rank; ++d) {
        if (bias->dims[d] != 1 && bias->dims[d] != out->dims[2 - bias->rank + d])
            return hone_op_fail(c, HONE_E_SHAPE, "C does not broadcast to the result");
    }
    bool is_int = !hone_dtype_is_float(out->dtype);
    for (int64_t i = 0; i < p.m && p.n; ++i) {
        int64_t ao = i * p.a_row, co = i * p.n;
        if (out->dtype == HONE_DTYPE_F32)
            row_f32(&p, (const float *)a->data + ao, b->data, (float *)out->data + co);
        else
            row_any(&p, out->dtype, a->data, ao, b->data, 0, out->data, co);
        if (alpha == 1 && !bias)
            continue;
        for (int64_t k = 0; k < p.n; ++k) {
            double v = alpha * hone_load_f64(out->dtype, out->data, co + k);
            v += bias ? beta * bias_at(bias, i, k) : 0;
            if (is_int)
                hone_store_i64(out->dtype, out->data, co + k, whole_number(v));
            else
                hone_store_f64(out->dtype, out->data, co + k, v);
        }
    }
    return HONE_OK;
}

/* ---- integers ---------------------------------------------------------------------------------
 */

/* A scale or zero point: one for the whole operand, one for each row of A or column of B, or also
 * for each matrix: then it has the operand's rank and broadcasts along the batch. */
typedef struct quant_param {
    const hone_tensor *t; /* NULL: absent */
    int64_t step;         /* between rows of A, columns of B */
    int n;                /* dims of the batch */
    const int64_t *dims;
    int64_t stride[HONE_MAX_RANK];
} quant_param;

/* The matrix dims of such a parameter are [rows, 1] for A and [1, columns] for B. */
static hone_status read_param(hone_op_ctx *c, int i, bool of_a, const matmul_job *j,
                              quant_param *p) {
    const hone_tensor *t = hone_in(c, i), *operand = of_a ? j->a : j->b;
    int64_t size = of_a ? j->w.p.m : j->w.p.n;
    *p = (quant_param){.t = t, .dims = j->out->dims};
    if (!t || hone_tensor_count(t) == 1)
        return HONE_OK;
    p->n = j->out->rank - (j->a->rank > 1) - (j->b->rank > 1);
    int batch = t->rank > 2 ? t->rank - 2 : 0;
    int64_t own = t->rank ? t->dims[t->rank - 1] : 1, step;
    if (t->rank >= 2) {
        bool fits = t->rank <= operand->rank && (of_a ? own : t->dims[t->rank - 2]) == 1;
        own = of_a ? t->dims[t->rank - 2] : own;
        step = own;
        for (int k = batch - 1, d = p->n - 1; fits && k >= 0; --k, --d) {
            fits = t->dims[k] == 1 || t->dims[k] == p->dims[d];
            p->stride[d] = t->dims[k] == 1 ? 0 : step;
            step *= t->dims[k];
        }
        own = fits ? own : -1;
    }
    p->step = own == 1 ? 0 : 1;
    if (own == 1 || own == size)
        return HONE_OK;
    char text[160];
    return hone_op_fail(
        c, HONE_E_SHAPE, "input %d, %s, is no scale or zero point for %" PRId64 " %s", i,
        hone_tensor_describe(t, text, sizeof text), size, of_a ? "rows" : "columns");
}

static int64_t param_offset(const quant_param *p, int64_t batch, int64_t i) {
    int64_t at = i * p->step;
    for (int d = p->n - 1; d >= 0; batch /= p->dims[d], --d)
        at += batch % p->dims[d] * p->stride[d];
    return at;
}

static int64_t zero_at(const quant_param *p, int64_t batch, int64_t i) {
    return p->t ? hone_load_i64(p->t->dtype, p->t->data, param_offset(p, batch, i)) : 0;
}

static double scale_at(const quant_param *p, int64_t batch, int64_t i) {
    return hone_load_f64(p->t->dtype, p->t->data, param_offset(p, batch, i));
}

/* Row r of A times B in batch b, zero points taken off: wraps as the operators' int32 does. */
static void integer_row(const matmul_job *j, const quant_param *az, const quant_param *bz,
                        int64_t batch, int64_t r, int32_t *out) {
    const product *p = &j->w.p;
    int64_t a, b;
    uint32_t za = (uint32_t)zero_at(az, batch, r);
    batch_offsets(&j->w, batch, &a, &b);
    for (int64_t col = 0; col < p->n; ++col) {
        uint32_t zb = (uint32_t)zero_at(bz, batch, col), sum = 0;
        for (int64_t k = 0; k < p->k; ++k) {
            int64_t x = hone_load_i64(j->a->dtype, j->a->data, a + r * p->a_row + k);
            int64_t y = hone_load_i64(j->b->dtype, j->b->data, b + k * p->b_row + col);
            sum += ((uint32_t)x - za) * ((uint32_t)y - zb);
        }
        out[col] = (int32_t)sum;
    }
}

hone_status hone_ref_matmul_integer(hone_op_ctx *c) {
    matmul_job j = {.a = hone_in(c, 0), .b = hone_in(c, 1), .out = hone_out(c, 0)};
    quant_param az, bz;
    plan_batches(j.a, j.b, &j.w);
    HONE_TRY(read_param(c, 2, true, &j, &az));
    HONE_TRY(read_param(c, 3, false, &j, &bz));
    int32_t *out = j.out->data;
    for (int64_t b = 0; b < j.w.n_batches; ++b)
        for (int64_t r = 0; r < j.w.p.m; ++r, out += j.w.p.n)
            integer_row(&j, &az, &bz, b, r, out);
    return HONE_OK;
}

hone_status hone_ref_qlinear_matmul(hone_op_ctx *c) {
    matmul_job j = {.a = hone_in(c, 0), .b = hone_in(c, 3), .out = hone_out(c, 0)};
    const hone_tensor *y_scale = hone_in(c, 6), *y_zero = hone_in(c, 7);
    quant_param a_scale, az, b_scale, bz;
    plan_batches(j.a, j.b, &j.w);
    HONE_TRY(read_param(c, 1, true, &j, &a_scale));
    HONE_TRY(read_param(c, 2, true, &j, &az));
    HONE_TRY(read_param(c, 4, false, &j, &b_scale));
    HONE_TRY(read_param(c, 5, false, &j, &bz));
    if (hone_tensor_count(y_scale) != 1 || hone_tensor_count(y_zero) != 1)
        return hone_op_fail(c, HONE_E_SHAPE, "y_scale and y_zero_point must hold one element");
    double to = hone_load_f64(y_scale->dtype, y_scale->data, 0);
    double zero = (double)hone_load_i64(y_zero->dtype, y_zero->data, 0);
    bool is_signed = j.out->dtype == HONE_DTYPE_I8;
    double low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
    int32_t *row = hone_op_scratch(c, (size_t)j.w.p.n * sizeof *row + 1);
    if (!row)
        return HONE_E_NOMEM;
    int64_t at = 0;
    for (int64_t t = 0; t < j.w.n_batches * j.w.p.m; ++t) {
        int64_t b = t / j.w.p.m, r = t % j.w.p.m;
        integer_row(&j, &az, &bz, b, r, row);
        for (int64_t col = 0; col < j.w.p.n; ++col) {
            double scale = scale_at(&a_scale, b, r) * scale_at(&b_scale, b, col) / to;
            double v = nearbyint(row[col] * scale) + zero;
            hone_store_f64(j.out->dtype, j.out->data, at++, v < low ? low : v > high ? high : v);
        }
    }
    return HONE_OK;
}
