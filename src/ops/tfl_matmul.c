/* QBatchMatMul: a [..., m, k] times b [..., k, n] on integers, leading dims broadcast. 8-bit sums
 * are rescaled from 32 bits, 16-bit ones from 64. Source:
 * tflite/kernels/internal/reference/batch_matmul.h (LiteRT). */
#include "ops/tfl_quant.h"

typedef struct matmul_job {
    const hone_tensor *a, *b;
    hone_tensor *y;
    int64_t m, k, n;
    tfl_param pa, pb, py;
    tfl_factor factor;
    int32_t low, high;
    int16_t *row, *columns; /* scratch: k numbers; b turned, n * k */
} matmul_job;

/* Offset in matrices of batch i of the output, in t. */
static int64_t batch_of(const hone_tensor *t, const hone_tensor *y, int64_t i) {
    int64_t at = 0, size = 1;
    for (int d = y->rank - 3; d >= 0; --d) {
        int own = d - (y->rank - t->rank);
        int64_t index = i % y->dims[d];
        i /= y->dims[d];
        if (own < 0)
            continue;
        at += t->dims[own] == 1 ? 0 : index * size;
        size *= t->dims[own];
    }
    return at;
}

static void run_batch(const matmul_job *j, int64_t batch) {
    int64_t from_a = batch_of(j->a, j->y, batch) * j->m * j->k, to = batch * j->m * j->n;
    int64_t from_b = batch_of(j->b, j->y, batch) * j->k * j->n;
    for (int64_t k = 0; k < j->k; ++k) {
        for (int64_t n = 0; n < j->n; ++n)
            j->columns[n * j->k + k] =
                (int16_t)(tfl_load(j->b->dtype, j->b->data, from_b + k * j->n + n) - j->pb.zero);
    }
    for (int64_t m = 0; m < j->m; ++m) {
        tfl_widen(j->a, from_a + m * j->k, j->k, j->pa.zero, j->row);
        for (int64_t n = 0; n < j->n; ++n) {
            int64_t sum = 0;
            for (int64_t k = 0; k < j->k; ++k)
                sum += (int32_t)j->row[k] * j->columns[n * j->k + k];
            int64_t v = j->a->dtype == HONE_DTYPE_I16 ? tfl_scale_wide(sum, j->factor)
                                                      : tfl_scale(tfl_wrap(sum), j->factor);
            tfl_store(j->y->dtype, j->y->data, to + m * j->n + n,
                      (int32_t)tfl_clamp(v + j->py.zero, j->low, j->high));
        }
    }
}

hone_status hone_ref_tfl_matmul(hone_op_ctx *c) {
    const hone_tensor *a = hone_in(c, 0), *b = hone_in(c, 1);
    hone_tensor *y = hone_out(c, 0);
    matmul_job j = {.a = a,
                    .b = b,
                    .y = y,
                    .m = a->dims[a->rank - 2],
                    .k = a->dims[a->rank - 1],
                    .n = b->dims[b->rank - 1],
                    .pa = tfl_param_of(c->node, "a"),
                    .pb = tfl_param_of(c->node, "b"),
                    .py = tfl_param_of(c->node, "y")};
    if (hone_tensor_count(y) == 0)
        return HONE_OK;
    j.factor = tfl_factor_of(j.pa.scale * j.pb.scale / j.py.scale);
    tfl_range(c->node, y->dtype, &j.low, &j.high);
    j.row = hone_op_scratch(c, ((size_t)j.k + 1) * sizeof *j.row);
    j.columns = hone_op_scratch(c, ((size_t)(j.k * j.n) + 1) * sizeof *j.columns);
    if (!j.row || !j.columns)
        return HONE_E_NOMEM;
    int64_t batches = hone_tensor_count(y) / (j.m * j.n);
    for (int64_t i = 0; i < batches; ++i)
        run_batch(&j, i);
    return HONE_OK;
}

hone_status hone_infer_tfl_matmul(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1) || c->in[0].rank < 0 || c->in[1].rank < 0)
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    HONE_TRY(hone_infer_alike(c, 0, 1));
    const hone_type *a = &c->in[0], *b = &c->in[1];
    int64_t k, dims[HONE_MAX_RANK];
    int rank;
    if (a->rank < 2 || b->rank < 2)
        return hone_infer_fail(c, HONE_E_SHAPE, "matrices are needed");
    HONE_TRY(hone_infer_same_dim(c, a->dims[a->rank - 1], b->dims[b->rank - 2], &k));
    HONE_TRY(hone_broadcast_dims(c, a->rank - 2, a->dims, b->rank - 2, b->dims, &rank, dims));
    if (rank < 0) {
        hone_infer_set(c, 0, a->dtype, -1, NULL);
        return HONE_OK;
    }
    dims[rank] = a->dims[a->rank - 2];
    dims[rank + 1] = b->dims[b->rank - 1];
    hone_infer_set(c, 0, a->dtype, rank + 2, dims);
    return HONE_OK;
}
