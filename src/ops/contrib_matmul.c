/* com.microsoft matrix products: FusedMatMul, FusedGemm, MatMulNBits, DynamicQuantizeMatMul,
 * MatMulIntegerToFloat (public operator documentation, ContribOperators.md). */
#include <inttypes.h>
#include <math.h>

#include "ops/dense.h"

/* C[m, n] (+)= A[m, k] * B[k, n], rows of B ldb apart, a task a block of rows. */
typedef struct product {
    const float *a, *b, *bias; /* bias: n elements or NULL */
    float *y;
    int64_t m, k, n;
    float alpha;
} product;

static void product_row(void *arg, int64_t i, int worker) {
    const product *p = arg;
    (void)worker;
    float *y = p->y + i * p->n;
    for (int64_t j = 0; j < p->n; ++j)
        y[j] = 0;
    hone_vecmat_f32(p->n, p->k, p->a + i * p->k, p->b, p->n, y);
    for (int64_t j = 0; j < p->n; ++j)
        y[j] = p->alpha * y[j] + (p->bias ? p->bias[j] : 0);
}

static void run_product(hone_op_ctx *c, product *p) {
    hone_op_parallel(c, p->m, product_row, p);
}

/* ---- FusedMatMul ---------------------------------------------------------------------------- */

/* dims with the last two swapped (trans) and, before that, the batch axis 0 moved next to last
 * (trans_batch): the canonical [batch..., rows, columns] order; at[i] is the source axis. */
static bool operand_axes(int rank, bool trans, bool trans_batch, int at[HONE_MAX_RANK]) {
    for (int i = 0; i < rank; ++i)
        at[i] = i;
    if (trans_batch) {
        if (rank < 3)
            return false;
        for (int i = 0; i < rank - 2; ++i)
            at[i] = i + 1;
        at[rank - 2] = 0;
    }
    if (trans && rank >= 2) {
        int t = at[rank - 1];
        at[rank - 1] = at[rank - 2];
        at[rank - 2] = t;
    }
    return true;
}

static const char *const trans_name[2][2] = {{"transA", "transBatchA"}, {"transB", "transBatchB"}};

static hone_status operand_dims(hone_infer_ctx *c, int i, int at[HONE_MAX_RANK],
                                int64_t dims[HONE_MAX_RANK]) {
    int rank = c->in[i].rank;
    if (!operand_axes(rank, hone_attr_int(c->node, trans_name[i][0], 0) != 0,
                      hone_attr_int(c->node, trans_name[i][1], 0) != 0, at))
        return hone_infer_fail(c, HONE_E_SHAPE, "a batch transpose needs rank 3 or more");
    for (int k = 0; k < rank; ++k)
        dims[k] = c->in[i].dims[at[k]];
    return HONE_OK;
}

hone_status hone_infer_ms_fused_matmul(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x3));
    hone_dtype d = c->in[0].dtype;
    int ra = c->in[0].rank, rb = c->in[1].rank, rank, at[HONE_MAX_RANK];
    int64_t a[HONE_MAX_RANK], b[HONE_MAX_RANK], y[HONE_MAX_RANK], k;
    hone_infer_set(c, 0, d, -1, NULL);
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1) || ra < 0 || rb < 0)
        return HONE_OK;
    if (ra < 1 || rb < 1)
        return hone_infer_fail(c, HONE_E_SHAPE, "scalars cannot be multiplied as matrices");
    HONE_TRY(operand_dims(c, 0, at, a));
    HONE_TRY(operand_dims(c, 1, at, b));
    HONE_TRY(hone_infer_same_dim(c, a[ra - 1], b[rb >= 2 ? rb - 2 : 0], &k));
    HONE_TRY(hone_broadcast_dims(c, ra > 2 ? ra - 2 : 0, a, rb > 2 ? rb - 2 : 0, b, &rank, y));
    if (ra >= 2)
        y[rank++] = a[ra - 2];
    if (rb >= 2)
        y[rank++] = b[rb - 1];
    hone_infer_set(c, 0, d, rank, y);
    return HONE_OK;
}

/* The operand as contiguous matrices in canonical order. */
static const float *canonical(hone_op_ctx *c, int i, int *rank, int64_t dims[HONE_MAX_RANK]) {
    const hone_tensor *t = c->in[i];
    bool ok = true;
    int at[HONE_MAX_RANK];
    int64_t stride[HONE_MAX_RANK], step = 1, index[HONE_MAX_RANK] = {0};
    const float *data = hone_op_widen(c, t, HONE_DTYPE_F32, &ok);
    operand_axes(t->rank, hone_attr_int(c->node, trans_name[i][0], 0) != 0,
                 hone_attr_int(c->node, trans_name[i][1], 0) != 0, at);
    bool moved = false;
    *rank = t->rank;
    for (int k = t->rank - 1; k >= 0; --k) {
        stride[k] = step;
        step *= t->dims[k];
    }
    for (int k = 0; k < t->rank; ++k) {
        dims[k] = t->dims[at[k]];
        moved |= at[k] != k;
    }
    if (!ok || !moved)
        return ok ? data : NULL;
    int64_t n = hone_tensor_count(t), from = 0;
    float *to = hone_op_array(c, n, sizeof *to);
    for (int64_t e = 0; to && e < n; ++e) {
        to[e] = data[from];
        for (int k = t->rank - 1; k >= 0; --k) {
            from += stride[at[k]];
            if (++index[k] < dims[k])
                break;
            from -= stride[at[k]] * dims[k];
            index[k] = 0;
        }
    }
    return to;
}

/* Batch index of an operand for batch `batch` of the result. */
static int64_t operand_batch(int rank, const int64_t *dims, const int64_t *y, int n_y,
                             int64_t batch) {
    int n = rank > 2 ? rank - 2 : 0;
    int64_t at = 0, stride = 1;
    for (int i = n - 1; i >= 0; --i) {
        int64_t size = y[n_y - n + i], index = batch % size;
        batch /= size;
        at += dims[i] == 1 ? 0 : index * stride;
        stride *= dims[i];
    }
    return at;
}

hone_status hone_ref_ms_fused_matmul(hone_op_ctx *c) {
    int ra, rb;
    int64_t a[HONE_MAX_RANK], b[HONE_MAX_RANK];
    bool ok = true;
    hone_tensor *y = c->out[0];
    const float *pa = canonical(c, 0, &ra, a), *pb = canonical(c, 1, &rb, b);
    float *py = hone_op_wide_out(c, y, HONE_DTYPE_F32, &ok);
    if (!pa || !pb || !ok)
        return HONE_E_NOMEM;
    product p = {.m = ra >= 2 ? a[ra - 2] : 1,
                 .k = a[ra - 1],
                 .n = rb >= 2 ? b[rb - 1] : 1,
                 .alpha = hone_attr_float(c->node, "alpha", 1)};
    int n_y = y->rank - (ra >= 2) - (rb >= 2);
    int64_t n_batch = hone_dims_count(y->dims, 0, n_y);
    for (int64_t i = 0; i < n_batch; ++i) {
        p.a = pa + operand_batch(ra, a, y->dims, n_y, i) * p.m * p.k;
        p.b = pb + operand_batch(rb, b, y->dims, n_y, i) * p.k * p.n;
        p.y = py + i * p.m * p.n;
        run_product(c, &p);
    }
    hone_op_narrow(y, HONE_DTYPE_F32, py);
    return HONE_OK;
}

/* ---- MatMulNBits ---------------------------------------------------------------------------- */

/* Output: A's dims with the last one replaced by n. */
static hone_status infer_rows(hone_infer_ctx *c, hone_dtype d, int64_t k, int64_t n) {
    const hone_type *a = &c->in[0];
    int64_t dims[HONE_MAX_RANK];
    hone_infer_set(c, 0, d, -1, NULL);
    if (!hone_infer_has(c, 0) || a->rank < 0)
        return HONE_OK;
    if (a->rank < 1)
        return hone_infer_fail(c, HONE_E_SHAPE, "A must have rank 1 or more");
    memcpy(dims, a->dims, (size_t)a->rank * sizeof *dims);
    HONE_TRY(hone_infer_same_dim(c, dims[a->rank - 1], k, &k));
    dims[a->rank - 1] = n;
    hone_infer_set(c, 0, d, a->rank, dims);
    return HONE_OK;
}

hone_status hone_infer_ms_matmul_nbits(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    int64_t k = hone_attr_int(c->node, "K", -1), n = hone_attr_int(c->node, "N", -1);
    int64_t bits = hone_attr_int(c->node, "bits", 4),
            block = hone_attr_int(c->node, "block_size", 0);
    if (k < 1 || n < 1 || k > INT32_MAX || n > INT32_MAX)
        return hone_infer_fail(c, HONE_E_FORMAT, "K and N must be positive");
    if (bits != 2 && bits != 4 && bits != 8)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "%" PRId64 " bits are not 2, 4 or 8", bits);
    if (block < 16 || block > INT32_MAX || (block & (block - 1)) != 0)
        return hone_infer_fail(c, HONE_E_FORMAT, "block_size must be a power of two from 16 on");
    return infer_rows(c, c->in[0].dtype, k, n);
}

typedef struct nbits {
    int64_t k, n, bits, block, n_blocks, block_bytes;
    const uint8_t *b, *packed_zero; /* packed_zero: NULL when absent or unpacked */
    const float *scales, *zero, *bias;
    const int32_t *order; /* g_idx: block of each row of B, or NULL */
    const float *a;
    float *y;
    int64_t m;
    float *row; /* k a thread */
} nbits;

static float zero_point(const nbits *p, int64_t col, int64_t block) {
    if (p->zero)
        return p->zero[col * p->n_blocks + block];
    if (!p->packed_zero)
        return (float)(1 << (p->bits - 1));
    int64_t per_byte = 8 / p->bits, bytes = (p->n_blocks + per_byte - 1) / per_byte;
    uint8_t v = p->packed_zero[col * bytes + block / per_byte];
    return (float)((v >> (block % per_byte * p->bits)) & ((1 << p->bits) - 1));
}

/* One output column: dequantise B's row of that column, then a dot with every row of A. */
static void nbits_column(void *arg, int64_t col, int worker) {
    const nbits *p = arg;
    float *w = p->row + worker * p->k;
    int64_t per_byte = 8 / p->bits;
    const uint8_t *b = p->b + col * p->n_blocks * p->block_bytes;
    int mask = (1 << p->bits) - 1;
    for (int64_t g = 0; g < p->n_blocks; ++g) {
        float zero = zero_point(p, col, g), scale = p->scales[col * p->n_blocks + g];
        for (int64_t i = g * p->block; i < p->k && i < (g + 1) * p->block; ++i) {
            int64_t in = i - g * p->block;
            int v = (b[g * p->block_bytes + in / per_byte] >> (in % per_byte * p->bits)) & mask;
            if (p->order) {
                scale = p->scales[col * p->n_blocks + p->order[i]];
                zero = zero_point(p, col, p->order[i]);
            }
            w[i] = ((float)v - zero) * scale;
        }
    }
    for (int64_t r = 0; r < p->m; ++r)
        p->y[r * p->n + col] =
            hone_dot_f32(p->a + r * p->k, w, p->k) + (p->bias ? p->bias[col] : 0);
}

static hone_status nbits_check(hone_op_ctx *c, const nbits *p) {
    const hone_tensor *zero = hone_in(c, 3), *bias = hone_in(c, 5), *order = hone_in(c, 4);
    int64_t n_scales = p->n * p->n_blocks, per_byte = 8 / p->bits;
    int64_t n_zero = zero && zero->dtype == HONE_DTYPE_U8
                         ? p->n * ((p->n_blocks + per_byte - 1) / per_byte)
                         : n_scales;
    if (c->in[1]->dtype != HONE_DTYPE_U8 ||
        hone_tensor_count(c->in[1]) != n_scales * p->block_bytes)
        return hone_op_fail(c, HONE_E_SHAPE, "B must be uint8 [N, blocks, block bytes]");
    if (hone_tensor_count(c->in[2]) != n_scales)
        return hone_op_fail(c, HONE_E_SHAPE, "scales must have %" PRId64 " elements", n_scales);
    if (zero && hone_tensor_count(zero) != n_zero)
        return hone_op_fail(c, HONE_E_SHAPE, "zero_points must have %" PRId64 " elements", n_zero);
    if (bias && hone_tensor_count(bias) != p->n)
        return hone_op_fail(c, HONE_E_SHAPE, "bias must have N elements");
    if (order && (order->dtype != HONE_DTYPE_I32 || hone_tensor_count(order) < p->k))
        return hone_op_fail(c, HONE_E_SHAPE, "g_idx must be int32 with K elements");
    for (int64_t i = 0; order && i < p->k; ++i) {
        int32_t g = ((const int32_t *)order->data)[i];
        if (g < 0 || g >= p->n_blocks)
            return hone_op_fail(c, HONE_E_RUNTIME, "g_idx refers to block %d", (int)g);
    }
    return HONE_OK;
}

hone_status hone_ref_ms_matmul_nbits(hone_op_ctx *c) {
    const hone_tensor *zero = hone_in(c, 3), *order = hone_in(c, 4);
    bool ok = true;
    nbits p = {.k = hone_attr_int(c->node, "K", 0),
               .n = hone_attr_int(c->node, "N", 0),
               .bits = hone_attr_int(c->node, "bits", 4),
               .block = hone_attr_int(c->node, "block_size", 0)};
    p.n_blocks = (p.k + p.block - 1) / p.block;
    p.block_bytes = p.block * p.bits / 8;
    HONE_TRY(nbits_check(c, &p));
    p.m = hone_dims_count(c->in[0]->dims, 0, c->in[0]->rank - 1);
    p.a = hone_op_widen(c, c->in[0], HONE_DTYPE_F32, &ok);
    p.b = c->in[1]->data;
    p.scales = hone_op_widen(c, c->in[2], HONE_DTYPE_F32, &ok);
    if (zero && zero->dtype == HONE_DTYPE_U8)
        p.packed_zero = zero->data;
    else
        p.zero = hone_op_widen(c, zero, HONE_DTYPE_F32, &ok);
    p.order = order ? order->data : NULL;
    p.bias = hone_op_widen(c, hone_in(c, 5), HONE_DTYPE_F32, &ok);
    p.y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    p.row = hone_op_array(c, p.k, sizeof(float) * (size_t)hone_pool_threads(c->pool));
    if (!ok || !p.row)
        return HONE_E_NOMEM;
    hone_op_parallel(c, p.n, nbits_column, &p);
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, p.y);
    return HONE_OK;
}

/* ---- MatMulIntegerToFloat, DynamicQuantizeMatMul -------------------------------------------- */

hone_status hone_infer_ms_qmatmul(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    const hone_type *b = &c->in[1];
    int64_t k = HONE_DIM_UNKNOWN, n = HONE_DIM_UNKNOWN;
    if (hone_infer_has(c, 1) && b->rank >= 0) {
        if (b->rank != 2)
            return hone_infer_fail(c, HONE_E_UNSUPPORTED, "B must have rank 2, not %d", b->rank);
        k = b->dims[0];
        n = b->dims[1];
    }
    return infer_rows(c, HONE_DTYPE_F32, k, n);
}

/* Integer product of the zero-point-corrected operands, exact in int64, scaled to float. */
typedef struct qmatmul {
    const int32_t *a; /* [m, k], the zero point taken off */
    const int32_t *b; /* [k, n] */
    float a_scale;
    const float *b_scale, *bias;
    int64_t m, k, n, n_b_scale;
    float *y;
    int32_t *sum; /* n a thread */
} qmatmul;

static void qmatmul_row(void *arg, int64_t i, int worker) {
    const qmatmul *p = arg;
    uint32_t *sum = (uint32_t *)p->sum + worker * p->n;
    memset(sum, 0, (size_t)p->n * sizeof *sum);
    for (int64_t k = 0; k < p->k; ++k) {
        uint32_t x = (uint32_t)p->a[i * p->k + k];
        const int32_t *b = p->b + k * p->n;
        for (int64_t j = 0; j < p->n; ++j)
            sum[j] += x * (uint32_t)b[j];
    }
    for (int64_t j = 0; j < p->n; ++j) {
        float scale = p->a_scale * p->b_scale[p->n_b_scale == 1 ? 0 : j];
        p->y[i * p->n + j] = (float)(int32_t)sum[j] * scale + (p->bias ? p->bias[j] : 0);
    }
}

/* An operand [rows, columns] with its zero point, one or one a column, taken off. */
static hone_status take_zero(hone_op_ctx *c, const hone_tensor *t, const hone_tensor *zero,
                             const int32_t **out) {
    int64_t n = hone_tensor_count(t), cols = t->dims[t->rank - 1];
    int64_t n_zero = zero ? hone_tensor_count(zero) : 0;
    int32_t *p = hone_op_array(c, n, sizeof *p);
    if (!p)
        return HONE_E_NOMEM;
    if (!hone_dtype_in(t->dtype, HONE_T(U8) | HONE_T(I8)))
        return hone_op_bad_type(c, t->dtype);
    if (n_zero > 1 && n_zero != cols)
        return hone_op_fail(c, HONE_E_SHAPE, "a zero point must be a scalar or one a column");
    for (int64_t i = 0; i < n; ++i) {
        int v = t->dtype == HONE_DTYPE_U8 ? ((const uint8_t *)t->data)[i]
                                          : ((const int8_t *)t->data)[i];
        p[i] = v -
               (n_zero ? (int32_t)hone_load_i64(zero->dtype, zero->data, n_zero == 1 ? 0 : i % cols)
                       : 0);
    }
    *out = p;
    return HONE_OK;
}

/* Inputs b_scale, b_zero_point and bias at the given positions; a, a_scale are set. */
static hone_status finish_qmatmul(hone_op_ctx *c, qmatmul *p, int scale, int zero, int bias) {
    bool ok = true;
    p->m = hone_dims_count(c->in[0]->dims, 0, c->in[0]->rank - 1);
    p->k = c->in[1]->dims[0];
    p->n = c->in[1]->dims[1];
    HONE_TRY(take_zero(c, c->in[1], hone_in(c, zero), &p->b));
    p->n_b_scale = hone_tensor_count(c->in[scale]);
    p->b_scale = hone_op_widen(c, c->in[scale], HONE_DTYPE_F32, &ok);
    p->bias = hone_op_widen(c, hone_in(c, bias), HONE_DTYPE_F32, &ok);
    p->y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    p->sum = hone_op_array(c, p->n, sizeof(int32_t) * (size_t)hone_pool_threads(c->pool));
    if ((p->n_b_scale != 1 && p->n_b_scale != p->n) ||
        (p->bias && hone_tensor_count(hone_in(c, bias)) != p->n))
        return hone_op_fail(c, HONE_E_SHAPE, "b_scale and bias must have one element a column");
    if (!ok || !p->sum)
        return HONE_E_NOMEM;
    hone_op_parallel(c, p->m, qmatmul_row, p);
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, p->y);
    return HONE_OK;
}

hone_status hone_ref_ms_matmul_to_float(hone_op_ctx *c) {
    qmatmul p = {0};
    if (!c->in[3])
        return hone_op_fail(c, HONE_E_FORMAT, "b_scale is needed");
    if (hone_tensor_count(c->in[2]) != 1)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "a_scale must be a scalar");
    p.a_scale = (float)hone_load_f64(c->in[2]->dtype, c->in[2]->data, 0);
    HONE_TRY(take_zero(c, c->in[0], hone_in(c, 4), &p.a));
    return finish_qmatmul(c, &p, 3, 5, 6);
}

/* As DynamicQuantizeLinear: uint8 over the range that includes zero. */
hone_status hone_ref_ms_dynamic_qmatmul(hone_op_ctx *c) {
    bool ok = true;
    qmatmul p = {0};
    int64_t n = hone_tensor_count(c->in[0]);
    const float *x = hone_op_widen(c, c->in[0], HONE_DTYPE_F32, &ok);
    int32_t *a = hone_op_array(c, n, sizeof *a);
    if (!ok || !a)
        return HONE_E_NOMEM;
    float lo = 0, hi = 0;
    for (int64_t i = 0; i < n; ++i) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    p.a_scale = hi == lo ? 1 : (hi - lo) / 255;
    float zero = rintf(fminf(fmaxf(-lo / p.a_scale, 0), 255));
    for (int64_t i = 0; i < n; ++i) {
        float q = fminf(fmaxf(rintf(x[i] / p.a_scale) + zero, 0), 255);
        a[i] = (int32_t)q - (int32_t)zero;
    }
    p.a = a;
    return finish_qmatmul(c, &p, 2, 3, 4);
}
