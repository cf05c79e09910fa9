/* Attention (ONNX operator specification, Attention-25). */
#include <inttypes.h>
#include <math.h>

#include "ops/attend.h"

typedef struct shape {
    int64_t batch, heads, seq, size;
} shape;

/* [batch, heads, seq, size] of a rank-4 type, or of a rank-3 type [batch, seq, heads * size]. */
static hone_status split_type(hone_infer_ctx *c, int i, int64_t heads, shape *s) {
    const hone_type *t = &c->in[i];
    *s = (shape){HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN};
    if (!hone_infer_has(c, i) || t->rank < 0)
        return HONE_OK;
    if (t->rank == 4) {
        *s = (shape){t->dims[0], t->dims[1], t->dims[2], t->dims[3]};
        return HONE_OK;
    }
    if (t->rank != 3)
        return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank 3 or 4, not %d", i,
                               t->rank);
    if (heads <= 0)
        return hone_infer_fail(c, HONE_E_FORMAT,
                               "rank-3 inputs need the attributes q_num_heads and kv_num_heads");
    *s = (shape){t->dims[0], heads, t->dims[1], HONE_DIM_UNKNOWN};
    if (t->dims[2] >= 0 && t->dims[2] % heads != 0)
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "input %d has size %" PRId64 ", not a multiple of %" PRId64 " heads",
                               i, t->dims[2], heads);
    if (t->dims[2] >= 0)
        s->size = t->dims[2] / heads;
    return HONE_OK;
}

/* Past state [batch, heads, past, size] at input i, against the new part. */
static hone_status infer_past(hone_infer_ctx *c, int i, const shape *s, int64_t *n_past) {
    *n_past = 0;
    if (i >= c->n_in || !c->node->in[i])
        return HONE_OK;
    *n_past = HONE_DIM_UNKNOWN;
    if (!hone_infer_has(c, i) || c->in[i].rank < 0)
        return HONE_OK;
    if (c->in[i].rank != 4)
        return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank 4", i);
    int64_t d;
    HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[0], s->batch, &d));
    HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[1], s->heads, &d));
    HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[3], s->size, &d));
    *n_past = c->in[i].dims[2];
    return HONE_OK;
}

static int64_t add_dims(int64_t a, int64_t b) {
    return a == 0 ? b : b == 0 ? a : a < 0 || b < 0 ? HONE_DIM_UNKNOWN : a + b;
}

static hone_status check_shapes(hone_infer_ctx *c, shape *q, shape *k, shape *v) {
    HONE_TRY(split_type(c, 0, hone_attr_int(c->node, "q_num_heads", 0), q));
    HONE_TRY(split_type(c, 1, hone_attr_int(c->node, "kv_num_heads", 0), k));
    HONE_TRY(split_type(c, 2, hone_attr_int(c->node, "kv_num_heads", 0), v));
    HONE_TRY(hone_infer_same_dim(c, q->batch, k->batch, &k->batch));
    HONE_TRY(hone_infer_same_dim(c, k->batch, v->batch, &q->batch));
    k->batch = v->batch = q->batch;
    HONE_TRY(hone_infer_same_dim(c, k->heads, v->heads, &k->heads));
    v->heads = k->heads;
    HONE_TRY(hone_infer_same_dim(c, k->seq, v->seq, &k->seq));
    v->seq = k->seq;
    HONE_TRY(hone_infer_same_dim(c, q->size, k->size, &q->size));
    k->size = q->size;
    if (q->heads >= 0 && k->heads >= 0 &&
        (k->heads == 0 ? q->heads != 0 : q->heads % k->heads != 0))
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "%" PRId64 " query heads are not a multiple of %" PRId64
                               " key and value heads",
                               q->heads, k->heads);
    return HONE_OK;
}

hone_status hone_infer_attention(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    shape q, k, v;
    HONE_TRY(check_shapes(c, &q, &k, &v));
    for (int i = 1; i < 3; ++i)
        if (hone_infer_has(c, i) && c->in[0].rank >= 0 && c->in[i].rank >= 0 &&
            c->in[i].rank != c->in[0].rank)
            return hone_infer_fail(c, HONE_E_SHAPE, "Q, K and V must have the same rank");
    int64_t k_past, v_past;
    HONE_TRY(infer_past(c, 4, &k, &k_past));
    HONE_TRY(infer_past(c, 5, &v, &v_past));
    HONE_TRY(hone_infer_same_dim(c, k_past, v_past, &k_past));
    int64_t total = add_dims(k_past, k.seq);
    int64_t y4[4] = {q.batch, q.heads, q.seq, v.size}, y3[3] = {q.batch, q.seq, HONE_DIM_UNKNOWN};
    if (q.heads >= 0 && v.size >= 0)
        y3[2] = q.heads * v.size;
    int rank = c->in[0].kind == HONE_KIND_NONE ? -1 : c->in[0].rank;
    hone_dtype d = c->in[0].dtype, dv = c->in[2].kind == HONE_KIND_NONE ? d : c->in[2].dtype;
    hone_infer_set(c, 0, d, rank, rank == 3 ? y3 : y4);
    hone_infer_set(c, 1, d, 4, (int64_t[]){k.batch, k.heads, total, k.size});
    hone_infer_set(c, 2, dv, 4, (int64_t[]){v.batch, v.heads, total, v.size});
    hone_infer_set(c, 3, d, 4, (int64_t[]){q.batch, q.heads, q.seq, total});
    return HONE_OK;
}

static shape split_tensor(const hone_tensor *t, int64_t heads, hone_bhs *at) {
    if (t->rank == 4) {
        *at = hone_bhs_bnsh(t->dims[1], t->dims[2], t->dims[3]);
        return (shape){t->dims[0], t->dims[1], t->dims[2], t->dims[3]};
    }
    *at = hone_bhs_bsnh(heads, t->dims[1], t->dims[2] / heads);
    return (shape){t->dims[0], heads, t->dims[1], t->dims[2] / heads};
}

/* Keys (input 1, past 4, present 1) or values (2, 5, 2): joined with their past, if any. */
static hone_status join(hone_op_ctx *c, int in, hone_dtype real, const void **data, hone_bhs *at,
                        shape *s) {
    bool ok = true;
    *s = split_tensor(c->in[in], hone_attr_int(c->node, "kv_num_heads", 0), at);
    *data = hone_op_widen(c, c->in[in], real, &ok);
    const hone_tensor *past = hone_in(c, in + 3);
    hone_tensor *present = hone_out(c, in);
    int64_t n_past = past ? past->dims[2] : 0;
    if (ok && (past || present)) {
        const void *old = hone_op_widen(c, past, real, &ok);
        int64_t total = s->seq + n_past;
        void *to = present ? hone_op_wide_out(c, present, real, &ok)
                           : hone_op_array(c, s->batch * s->heads * total * s->size,
                                           real == HONE_DTYPE_F64 ? 8 : 4);
        if (!ok || !to)
            return HONE_E_NOMEM;
        hone_attend_concat(real, s->batch, s->heads, s->size, old, n_past, *data, *at, s->seq, to);
        hone_op_narrow(present, real, to);
        *data = to;
        s->seq = total;
        *at = hone_bhs_bnsh(s->heads, total, s->size);
    }
    return ok ? HONE_OK : HONE_E_NOMEM;
}

static hone_status set_mask(hone_op_ctx *c, hone_attend *a, hone_dtype real) {
    const hone_tensor *mask = hone_in(c, 3);
    if (!mask)
        return HONE_OK;
    bool ok = true;
    int64_t full[4] = {a->n_batch, a->n_heads, a->n_q, a->n_kv};
    HONE_TRY(hone_attend_mask_dims(c, mask, full, true, a->mask_at));
    a->mask = hone_attend_mask(c, mask, real, &ok);
    a->mask_keys = mask->rank ? mask->dims[mask->rank - 1] : a->n_kv;
    return ok ? HONE_OK : HONE_E_NOMEM;
}

/* Where each batch element's queries stand among the keys, and how many keys are valid. */
static hone_status set_lengths(hone_op_ctx *c, hone_attend *a, int64_t n_past) {
    const hone_tensor *lens = hone_in(c, 6);
    if (lens && (lens->rank != 1 || lens->dims[0] != a->n_batch))
        return hone_op_fail(c, HONE_E_SHAPE, "nonpad_kv_seqlen must have the shape [batch]");
    if (lens && hone_in(c, 4))
        return hone_op_fail(c, HONE_E_ARGUMENT, "nonpad_kv_seqlen excludes past_key");
    int64_t *offset = hone_op_array(c, a->n_batch, sizeof *offset);
    int64_t *n_keys = hone_op_array(c, a->n_batch, sizeof *n_keys);
    if (!offset || !n_keys)
        return HONE_E_NOMEM;
    for (int64_t b = 0; b < a->n_batch; ++b) {
        int64_t n = lens ? hone_load_i64(lens->dtype, lens->data, b) : a->n_kv;
        if (n < 0 || n > a->n_kv)
            return hone_op_fail(c, HONE_E_RUNTIME,
                                "nonpad_kv_seqlen[%" PRId64 "] is %" PRId64
                                ", outside 0 to %" PRId64,
                                b, n, a->n_kv);
        n_keys[b] = n;
        offset[b] = lens ? n - a->n_q : n_past;
    }
    a->offset = offset;
    a->n_keys = n_keys;
    return HONE_OK;
}

hone_status hone_ref_attention(hone_op_ctx *c) {
    if (!hone_dtype_in(c->in[0]->dtype, HONE_T_FLOAT))
        return hone_op_bad_type(c, c->in[0]->dtype);
    bool ok = true;
    const hone_node *n = c->node;
    hone_dtype real = c->in[0]->dtype == HONE_DTYPE_F64 ||
                              hone_attr_int(n, "softmax_precision", 0) == HONE_DTYPE_F64
                          ? HONE_DTYPE_F64
                          : HONE_DTYPE_F32;
    hone_attend a = {0};
    shape q, k, v;
    q = split_tensor(c->in[0], hone_attr_int(n, "q_num_heads", 0), &a.q_at);
    a.q = hone_op_widen(c, c->in[0], real, &ok);
    HONE_TRY(join(c, 1, real, &a.k, &a.k_at, &k));
    HONE_TRY(join(c, 2, real, &a.v, &a.v_at, &v));
    a.n_batch = q.batch;
    a.n_heads = q.heads;
    a.n_kv_heads = k.heads;
    a.n_q = q.seq;
    a.n_kv = k.seq;
    a.size = q.size;
    a.v_size = v.size;
    a.y = hone_op_wide_out(c, hone_out(c, 0), real, &ok);
    a.y_at = c->in[0]->rank == 4 ? hone_bhs_bnsh(q.heads, q.seq, v.size)
                                 : hone_bhs_bsnh(q.heads, q.seq, v.size);
    a.qk = hone_op_wide_out(c, hone_out(c, 3), real, &ok);
    a.qk_mode = (int)hone_attr_int(n, "qk_matmul_output_mode", 0);
    if (!ok)
        return HONE_E_NOMEM;
    a.scale = hone_attr_find(n, "scale") ? (double)hone_attr_float(n, "scale", 1)
                                         : 1 / sqrt((double)q.size);
    a.softcap = (double)hone_attr_float(n, "softcap", 0);
    a.causal = hone_attr_int(n, "is_causal", 0) != 0;
    a.left = hone_attr_int(n, "left_window_size", -1);
    a.right = hone_attr_int(n, "right_window_size", -1);
    if (a.left < -1 || a.right < -1 || a.left > INT64_MAX / 4 || a.right > INT64_MAX / 4)
        return hone_op_fail(c, HONE_E_FORMAT, "window sizes must be -1 or more");
    HONE_TRY(set_mask(c, &a, real));
    HONE_TRY(set_lengths(c, &a, hone_in(c, 4) ? hone_in(c, 4)->dims[2] : 0));
    HONE_TRY(hone_attend_run(c, &a, real));
    hone_op_narrow(hone_out(c, 0), real, a.y);
    hone_op_narrow(hone_out(c, 3), real, a.qk);
    return HONE_OK;
}
