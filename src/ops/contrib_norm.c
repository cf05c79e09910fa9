/* com.microsoft normalisations with a residual or an embedding in front (public operator
 * documentation, ContribOperators.md): f32 arithmetic, rounded once. */
#include <inttypes.h>
#include <math.h>

#include "ops/dense.h"

typedef struct norm {
    int64_t size;
    const float *gamma, *beta; /* beta may be NULL */
    float epsilon;
    bool rms; /* no mean is taken off */
} norm;

/* y = normalised x of one row; y may be x. */
static void norm_row(const norm *p, const float *x, float *y, float *mean_out, float *inv_out) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; !p->rms && i < p->size; ++i)
        sum += (double)x[i];
    double mean = sum / (double)p->size;
    if (p->rms)
        mean = 0;
    for (int64_t i = 0; i < p->size; ++i)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    float inv = (float)(1 / sqrt(squares / (double)p->size + (double)p->epsilon));
    float m = (float)mean;
    for (int64_t i = 0; i < p->size; ++i)
        y[i] = (x[i] - m) * inv * p->gamma[i] + (p->beta ? p->beta[i] : 0);
    if (mean_out)
        *mean_out = m;
    if (inv_out)
        *inv_out = inv;
}

/* Inputs `first` to `last` are vectors of x's last dim. */
static hone_status check_vectors(hone_infer_ctx *c, int64_t size, int first, int last) {
    int64_t d;
    for (int i = first; i <= last; ++i) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            continue;
        if (c->in[i].rank != 1)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank 1, not %d", i,
                                   c->in[i].rank);
        HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[0], size, &d));
    }
    return HONE_OK;
}

/* ---- Skip(Simplified)LayerNormalization ----------------------------------------------------- */

hone_status hone_infer_ms_skip_norm(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    const hone_type *x = &c->in[0];
    int64_t dims[HONE_MAX_RANK];
    hone_infer_same(c, 0, 0);
    hone_infer_same(c, 3, 0);
    if (!hone_infer_has(c, 0) || x->rank < 0) {
        hone_infer_set(c, 1, HONE_DTYPE_F32, -1, NULL);
        hone_infer_set(c, 2, HONE_DTYPE_F32, -1, NULL);
        return HONE_OK;
    }
    if (x->rank < 2)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input must have rank 2 or more");
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    HONE_TRY(check_vectors(c, dims[x->rank - 1], 2, 4));
    if (hone_infer_has(c, 1) && c->in[1].rank >= 0) {
        int rank;
        int64_t all[HONE_MAX_RANK];
        HONE_TRY(hone_broadcast_dims(c, x->rank, dims, c->in[1].rank, c->in[1].dims, &rank, all));
        int64_t d;
        for (int i = 0; i < rank; ++i) {
            if (rank != x->rank)
                return hone_infer_fail(c, HONE_E_SHAPE, "skip has a higher rank than the input");
            HONE_TRY(hone_infer_same_dim(c, all[i], dims[i], &d));
        }
    }
    dims[x->rank - 1] = 1;
    hone_infer_set(c, 1, HONE_DTYPE_F32, x->rank, dims);
    hone_infer_set(c, 2, HONE_DTYPE_F32, x->rank, dims);
    return HONE_OK;
}

/* Row of `skip` (whose dims broadcast to x's) that belongs to row `row` of x. */
static int64_t skip_row(const hone_tensor *x, const hone_tensor *skip, int64_t row) {
    int64_t at = 0, stride = 1;
    for (int i = x->rank - 2; i >= 0; --i) {
        int k = i - (x->rank - skip->rank);
        int64_t index = row % x->dims[i];
        row /= x->dims[i];
        if (k < 0)
            break;
        at += skip->dims[k] == 1 ? 0 : index * stride;
        stride *= skip->dims[k];
    }
    return at;
}

hone_status hone_ref_ms_skip_norm(hone_op_ctx *c) {
    const hone_tensor *x = c->in[0], *skip = c->in[1];
    bool rms = c->node->op->name[4] == 'S', ok = true; /* SkipSimplified... */
    norm p = {.size = x->dims[x->rank - 1], .rms = rms};
    const float *in = hone_op_widen(c, x, HONE_DTYPE_F32, &ok);
    const float *add = hone_op_widen(c, skip, HONE_DTYPE_F32, &ok);
    const float *bias = hone_op_widen(c, hone_in(c, rms ? 3 : 4), HONE_DTYPE_F32, &ok);
    p.gamma = hone_op_widen(c, hone_in(c, 2), HONE_DTYPE_F32, &ok);
    p.beta = rms ? NULL : hone_op_widen(c, hone_in(c, 3), HONE_DTYPE_F32, &ok);
    p.epsilon = hone_attr_float(c->node, "epsilon", 1e-12f);
    float *y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    float *sum = hone_op_wide_out(c, hone_out(c, 3), HONE_DTYPE_F32, &ok);
    float *mean = hone_out(c, 1) ? hone_out(c, 1)->data : NULL;
    float *inv = hone_out(c, 2) ? hone_out(c, 2)->data : NULL;
    if (!ok)
        return HONE_E_NOMEM;
    int64_t rows = hone_dims_count(x->dims, 0, x->rank - 1);
    if (skip->dims[skip->rank - 1] != p.size)
        return hone_op_fail(c, HONE_E_SHAPE, "the last dims of input and skip differ");
    for (int64_t r = 0; r < rows; ++r) {
        const float *a = in + r * p.size, *b = add + skip_row(x, skip, r) * p.size;
        float *to = y + r * p.size;
        for (int64_t i = 0; i < p.size; ++i)
            to[i] = a[i] + b[i] + (bias ? bias[i] : 0);
        if (sum && p.size > 0)
            memcpy(sum + r * p.size, to, (size_t)p.size * sizeof *to);
        norm_row(&p, to, to, mean ? mean + r : NULL, inv ? inv + r : NULL);
    }
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, y);
    hone_op_narrow(hone_out(c, 3), HONE_DTYPE_F32, sum);
    return HONE_OK;
}

/* ---- SimplifiedLayerNormalization ----------------------------------------------------------- */

hone_status hone_infer_ms_rms_norm(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x3));
    const hone_type *x = &c->in[0];
    int64_t dims[HONE_MAX_RANK];
    int axis;
    hone_infer_same(c, 0, 0);
    if (hone_infer_has(c, 1) && hone_infer_has(c, 0))
        c->out[0].dtype = c->in[1].dtype;
    hone_infer_set(c, 1, HONE_DTYPE_F32, -1, NULL);
    if (!hone_infer_has(c, 0) || x->rank < 0)
        return HONE_OK;
    HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", -1), x->rank, false, &axis));
    for (int i = 0; i < x->rank; ++i)
        dims[i] = i < axis ? x->dims[i] : 1;
    hone_infer_set(c, 1, HONE_DTYPE_F32, x->rank, dims);
    return HONE_OK;
}

hone_status hone_ref_ms_rms_norm(hone_op_ctx *c) {
    const hone_tensor *x = c->in[0];
    bool ok = true;
    int64_t axis = hone_attr_int(c->node, "axis", -1);
    axis += axis < 0 ? x->rank : 0;
    int64_t rows = hone_dims_count(x->dims, 0, (int)axis);
    norm p = {.size = hone_dims_count(x->dims, (int)axis, x->rank), .rms = true};
    if (hone_tensor_count(c->in[1]) != p.size)
        return hone_op_fail(c, HONE_E_SHAPE, "scale must have %" PRId64 " elements", p.size);
    const float *in = hone_op_widen(c, x, HONE_DTYPE_F32, &ok);
    p.gamma = hone_op_widen(c, c->in[1], HONE_DTYPE_F32, &ok);
    p.epsilon = hone_attr_float(c->node, "epsilon", 1e-5f);
    float *y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    float *inv = hone_out(c, 1) ? hone_out(c, 1)->data : NULL;
    if (!ok)
        return HONE_E_NOMEM;
    for (int64_t r = 0; r < rows; ++r)
        norm_row(&p, in + r * p.size, y + r * p.size, NULL, inv ? inv + r : NULL);
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, y);
    return HONE_OK;
}

/* ---- EmbedLayerNormalization ---------------------------------------------------------------- */

hone_status hone_infer_ms_embed_norm(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x6d));
    int64_t dims[3] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN};
    static const int tables[] = {2, 3, 4};
    if (hone_infer_has(c, 0) && c->in[0].rank >= 0) {
        if (c->in[0].rank != 2)
            return hone_infer_fail(c, HONE_E_SHAPE, "input_ids must be [batch, sequence]");
        memcpy(dims, c->in[0].dims, 2 * sizeof *dims);
    }
    for (int k = 0; k < 3; ++k) {
        int i = tables[k];
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            continue;
        if (c->in[i].rank != 2)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank 2", i);
        HONE_TRY(hone_infer_same_dim(c, dims[2], c->in[i].dims[1], &dims[2]));
    }
    HONE_TRY(check_vectors(c, dims[2], 5, 6));
    hone_dtype d = hone_infer_has(c, 2) ? c->in[2].dtype : HONE_DTYPE_NONE;
    hone_infer_set(c, 0, d, 3, dims);
    hone_infer_set(c, 1, HONE_DTYPE_I32, 1, dims);
    hone_infer_set(c, 2, d, 3, dims);
    return HONE_OK;
}

/* Adds row `index` of a table to y. */
static hone_status add_row(hone_op_ctx *c, const hone_tensor *table, const float *rows,
                           int64_t index, float *y) {
    if (index < 0 || index >= table->dims[0])
        return hone_op_fail(c, HONE_E_RUNTIME,
                            "index %" PRId64 " is outside an embedding of %" PRId64 " rows", index,
                            table->dims[0]);
    for (int64_t i = 0; i < table->dims[1]; ++i)
        y[i] += rows[index * table->dims[1] + i];
    return HONE_OK;
}

static int64_t id_at(const hone_tensor *ids, int64_t i) {
    return hone_load_i64(ids->dtype, ids->data, i);
}

/* Optional inputs with one element a token must have the shape of input_ids. */
static hone_status check_ids(hone_op_ctx *c, int64_t batch, int64_t seq) {
    static const int same[] = {1, 7};
    for (int k = 0; k < 2; ++k)
        if (hone_in(c, same[k]) && !hone_same_dims(hone_in(c, same[k]), c->in[0]))
            return hone_op_fail(c, HONE_E_SHAPE, "input %d must be [batch, sequence]", same[k]);
    const hone_tensor *p = hone_in(c, 8);
    if (p && (p->rank != 2 || (p->dims[0] != batch && p->dims[0] != 1) || p->dims[1] != seq))
        return hone_op_fail(c, HONE_E_SHAPE, "position_ids must be [batch or 1, sequence]");
    if ((hone_in(c, 1) != NULL) != (hone_in(c, 4) != NULL))
        return hone_op_fail(c, HONE_E_ARGUMENT, "segment_ids and segment_embedding go together");
    return HONE_OK;
}

static void count_mask(const hone_tensor *mask, int64_t batch, int64_t seq, int32_t *count) {
    for (int64_t b = 0; b < batch; ++b) {
        count[b] = 0;
        for (int64_t s = 0; mask && s < seq; ++s)
            count[b] += id_at(mask, b * seq + s) == 1;
    }
}

hone_status hone_ref_ms_embed_norm(hone_op_ctx *c) {
    const hone_tensor *ids = c->in[0], *segments = hone_in(c, 1), *positions = hone_in(c, 8);
    bool ok = true;
    int64_t batch = ids->dims[0], seq = ids->dims[1];
    HONE_TRY(check_ids(c, batch, seq));
    const float *table[3];
    for (int k = 0; k < 3; ++k)
        table[k] = hone_op_widen(c, hone_in(c, 2 + k), HONE_DTYPE_F32, &ok);
    norm p = {.size = c->in[2]->dims[1]};
    p.gamma = hone_op_widen(c, hone_in(c, 5), HONE_DTYPE_F32, &ok);
    p.beta = hone_op_widen(c, hone_in(c, 6), HONE_DTYPE_F32, &ok);
    p.epsilon = hone_attr_float(c->node, "epsilon", 1e-12f);
    float *y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    float *sum = hone_op_wide_out(c, hone_out(c, 2), HONE_DTYPE_F32, &ok);
    if (!ok)
        return HONE_E_NOMEM;
    for (int64_t t = 0; t < batch * seq; ++t) {
        float *row = y + t * p.size;
        int64_t position = t % seq;
        if (positions)
            position = id_at(positions, positions->dims[0] == 1 ? t % seq : t);
        memset(row, 0, (size_t)p.size * sizeof *row);
        HONE_TRY(add_row(c, c->in[2], table[0], id_at(ids, t), row));
        HONE_TRY(add_row(c, c->in[3], table[1], position, row));
        if (segments)
            HONE_TRY(add_row(c, c->in[4], table[2], id_at(segments, t), row));
        if (sum)
            memcpy(sum + t * p.size, row, (size_t)p.size * sizeof *row);
        norm_row(&p, row, row, NULL, NULL);
    }
    if (hone_out(c, 1))
        count_mask(hone_in(c, 7), batch, seq, hone_out(c, 1)->data);
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, y);
    hone_op_narrow(hone_out(c, 2), HONE_DTYPE_F32, sum);
    return HONE_OK;
}
