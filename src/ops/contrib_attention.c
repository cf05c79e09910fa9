/* com.microsoft attention operators (public operator documentation, ContribOperators.md):
 * MultiHeadAttention, Attention, GroupQueryAttention, RotaryEmbedding; f32 arithmetic. */
#include <inttypes.h>
#include <math.h>

#include "ops/attend.h"

static bool given(const hone_infer_ctx *c, int i) {
    return i < c->n_in && c->node->in[i];
}

static bool ranked(const hone_infer_ctx *c, int i) {
    return hone_infer_has(c, i) && c->in[i].rank >= 0;
}

static hone_status want_rank(hone_infer_ctx *c, int i, int lo, int hi) {
    if (ranked(c, i) && (c->in[i].rank < lo || c->in[i].rank > hi))
        return hone_infer_fail(c, HONE_E_SHAPE, "input %d has the unexpected rank %d", i,
                               c->in[i].rank);
    return HONE_OK;
}

static hone_status want_heads(hone_infer_ctx *c, const char *name, int64_t *heads) {
    *heads = hone_attr_int(c->node, name, 0);
    if (*heads < 1 || *heads > INT32_MAX)
        return hone_infer_fail(c, HONE_E_FORMAT, "the attribute %s must be positive", name);
    return HONE_OK;
}

static int64_t plus(int64_t a, int64_t b) {
    return a < 0 || b < 0 ? HONE_DIM_UNKNOWN : a + b;
}

static int64_t times(int64_t a, int64_t b) {
    return a < 0 || b < 0 ? HONE_DIM_UNKNOWN : a * b;
}

static hone_status divide(hone_infer_ctx *c, int64_t width, int64_t by, int64_t *out) {
    *out = HONE_DIM_UNKNOWN;
    if (width >= 0 && width % by != 0)
        return hone_infer_fail(c, HONE_E_SHAPE, "%" PRId64 " is not a multiple of %" PRId64, width,
                               by);
    if (width >= 0)
        *out = width / by;
    return HONE_OK;
}

/* f32 [b, n, s, size] storage for joined keys or values: the present output, or scratch. */
static float *joined(hone_op_ctx *c, const hone_tensor *present, int64_t n, bool *ok) {
    float *p =
        present ? hone_op_wide_out(c, present, HONE_DTYPE_F32, ok) : hone_op_array(c, n, sizeof *p);
    *ok = *ok && p;
    return p;
}

static double scale_of(const hone_node *n, int64_t size) {
    float scale = hone_attr_float(n, "scale", 0);
    return scale == 0 ? 1 / sqrt((double)size) : (double)scale;
}

/* A copy of x [rows, n] with a vector added; x itself when bias is NULL. */
static const float *add_bias(hone_op_ctx *c, const float *x, int64_t rows, int64_t n,
                             const float *bias, bool *ok) {
    if (!bias || !x)
        return x;
    float *y = hone_op_array(c, rows, sizeof *y * (size_t)n);
    *ok = *ok && y;
    for (int64_t r = 0; y && r < rows; ++r)
        for (int64_t i = 0; i < n; ++i)
            y[r * n + i] = x[r * n + i] + bias[i];
    return y;
}

/* Key padding masks of MultiHeadAttention and Attention: [batch] or [2 * batch] right and left
 * ends of the valid keys, [batch, keys], [batch, queries, keys] or [batch, 1, max, max], nonzero
 * where a key counts. The result is additive, with `filter` for masked keys. */
static hone_status key_mask(hone_op_ctx *c, const hone_tensor *t, hone_attend *a, float filter) {
    int64_t n = hone_tensor_count(t), keys = a->n_kv;
    int64_t full[4] = {a->n_batch, 1, a->n_q, keys};
    float *m = hone_op_array(c, a->n_batch * a->n_q, sizeof *m * (size_t)keys);
    if (!m)
        return HONE_E_NOMEM;
    bool ends = t->rank == 1;
    int64_t rows = t->rank == 4 ? t->dims[2] : t->rank == 3 ? a->n_q : 1, width = keys;
    if (t->rank == 4)
        width = t->dims[3];
    bool fits = ends ? n == a->n_batch || n == 2 * a->n_batch
                     : t->rank > 1 && t->dims[0] == a->n_batch && n == a->n_batch * rows * width;
    if (t->rank == 4)
        fits = fits && rows >= keys && width >= keys && keys >= a->n_q;
    if (!fits)
        return hone_op_fail(c, HONE_E_UNSUPPORTED,
                            "the key mask of rank %d does not fit %" PRId64 " sequences of %" PRId64
                            " keys",
                            t->rank, a->n_batch, keys);
    for (int64_t i = 0; i < a->n_batch * a->n_q * keys; ++i) {
        int64_t b = i / keys / a->n_q, q = i / keys % a->n_q, k = i % keys;
        int64_t row = t->rank == 4 ? keys - a->n_q + q : t->rank == 3 ? q : 0;
        bool valid;
        if (ends)
            valid = k < hone_load_i64(t->dtype, t->data, b) &&
                    (n == a->n_batch || k >= hone_load_i64(t->dtype, t->data, a->n_batch + b));
        else
            valid = hone_load_i64(t->dtype, t->data, (b * rows + row) * width + k) != 0;
        m[i] = valid ? 0 : filter;
    }
    a->mask = m;
    a->mask_keys = keys;
    int64_t stride = 1;
    for (int i = 3; i >= 0; --i) {
        a->mask_at[i] = i == 1 ? 0 : stride;
        stride *= i == 1 ? 1 : full[i];
    }
    return HONE_OK;
}

static hone_status set_bias(hone_op_ctx *c, const hone_tensor *t, hone_attend *a) {
    bool ok = true;
    int64_t full[4] = {a->n_batch, a->n_heads, a->n_q, a->n_kv};
    if (!t)
        return HONE_OK;
    HONE_TRY(hone_attend_mask_dims(c, t, full, false, a->bias_at));
    a->bias = hone_op_widen(c, t, HONE_DTYPE_F32, &ok);
    return ok ? HONE_OK : HONE_E_NOMEM;
}

static hone_status set_offset(hone_op_ctx *c, hone_attend *a, int64_t n_past) {
    int64_t *offset = hone_op_array(c, a->n_batch, sizeof *offset);
    if (!offset)
        return HONE_E_NOMEM;
    for (int64_t b = 0; b < a->n_batch; ++b)
        offset[b] = n_past;
    a->offset = offset;
    return HONE_OK;
}

/* Rows of the past that count: all, or, when the past is a buffer that the new rows are written to,
 * as many as the scalar `length` says. */
static hone_status past_rows(hone_op_ctx *c, const hone_tensor *length, int64_t buffer,
                             int64_t n_new, int64_t *n_past) {
    *n_past = buffer;
    if (!length)
        return HONE_OK;
    if (hone_tensor_count(length) != 1)
        return hone_op_fail(c, HONE_E_SHAPE, "past_sequence_length must hold one element");
    *n_past = hone_load_i64(length->dtype, length->data, 0);
    if (*n_past < 0 || n_new > buffer || *n_past > buffer - n_new)
        return hone_op_fail(c, HONE_E_RUNTIME,
                            "past_sequence_length %" PRId64 " leaves no room for %" PRId64
                            " tokens in a buffer of %" PRId64,
                            *n_past, n_new, buffer);
    return HONE_OK;
}

/* Heads of `room` rows: those of `old` (`n_old` a head), then from row n_past on the new ones. */
static void join_rows(const hone_attend *a, int64_t size, const float *old, int64_t n_old,
                      int64_t n_past, const float *fresh, hone_bhs at, float *to, int64_t room) {
    for (int64_t i = 0; i < a->n_batch * a->n_heads; ++i) {
        const float *from = fresh + i / a->n_heads * at.b + i % a->n_heads * at.h;
        float *head = to + i * room * size;
        if (n_old && size)
            memcpy(head, old + i * n_old * size, (size_t)(n_old * size) * sizeof *head);
        for (int64_t s = 0; s < a->n_kv && size; ++s)
            memcpy(head + (n_past + s) * size, from + s * at.s, (size_t)size * sizeof *head);
    }
}

/* ---- MultiHeadAttention --------------------------------------------------------------------- */

/* query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value. Forms: query
 * [b, s, n*d] with key, value of rank 3, or of rank 4 [b, n, keys, d] (cross attention, used as
 * they are); key [b, keys, n, 2, d] without value; query [b, s, n, 3, d] alone. */
typedef struct mha_dims {
    int64_t heads, batch, seq, keys, size, v_size, past;
} mha_dims;

static hone_status infer_query(hone_infer_ctx *c, mha_dims *m) {
    const hone_type *q = &c->in[0];
    if (!ranked(c, 0))
        return HONE_OK;
    m->batch = q->dims[0];
    m->seq = q->dims[1];
    if (q->rank == 3)
        return divide(c, q->dims[2], m->heads, &m->size);
    int64_t d;
    if (q->rank != 5)
        return hone_infer_fail(c, HONE_E_SHAPE, "queries must have rank 3 or 5");
    HONE_TRY(hone_infer_same_dim(c, q->dims[2], m->heads, &d));
    HONE_TRY(hone_infer_same_dim(c, q->dims[3], 3, &d));
    m->size = m->v_size = q->dims[4];
    m->keys = m->seq;
    return HONE_OK;
}

/* Key (input 1) or value (2): merges batch and keys, and gives the size of a head. */
static hone_status infer_key_value(hone_infer_ctx *c, int i, mha_dims *m, int64_t *size) {
    const hone_type *t = &c->in[i];
    int64_t d, own = HONE_DIM_UNKNOWN;
    if (!ranked(c, i))
        return HONE_OK;
    HONE_TRY(hone_infer_same_dim(c, m->batch, t->dims[0], &m->batch));
    HONE_TRY(hone_infer_same_dim(c, m->keys, t->dims[t->rank == 4 ? 2 : 1], &m->keys));
    if (t->rank == 3) {
        HONE_TRY(divide(c, t->dims[2], m->heads, &own));
    } else {
        own = t->dims[t->rank - 1];
        HONE_TRY(hone_infer_same_dim(c, t->dims[t->rank == 4 ? 1 : 2], m->heads, &d));
    }
    if (t->rank == 5) { /* keys and values */
        HONE_TRY(hone_infer_same_dim(c, t->dims[3], 2, &d));
        m->v_size = own;
    }
    return hone_infer_same_dim(c, *size, own, size);
}

static hone_status infer_mha_past(hone_infer_ctx *c, mha_dims *m) {
    if (given(c, 6) != given(c, 7))
        return hone_infer_fail(c, HONE_E_FORMAT, "past_key and past_value go together");
    m->past = given(c, 6) ? HONE_DIM_UNKNOWN : 0;
    for (int i = 6; i <= 7; ++i) {
        int64_t d;
        HONE_TRY(want_rank(c, i, 4, 4));
        if (!ranked(c, i))
            continue;
        HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[0], m->batch, &d));
        HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[1], m->heads, &d));
        HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[2], m->past, &m->past));
        HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[3], i == 6 ? m->size : m->v_size, &d));
    }
    return HONE_OK;
}

hone_status hone_infer_ms_mha(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x1));
    mha_dims m;
    HONE_TRY(want_heads(c, "num_heads", &m.heads));
    m.batch = m.seq = m.keys = m.size = m.v_size = HONE_DIM_UNKNOWN;
    HONE_TRY(want_rank(c, 1, 3, 5));
    HONE_TRY(want_rank(c, 2, 3, 4));
    HONE_TRY(want_rank(c, 3, 1, 1));
    HONE_TRY(infer_query(c, &m));
    HONE_TRY(infer_key_value(c, 1, &m, &m.size));
    HONE_TRY(infer_key_value(c, 2, &m, &m.v_size));
    HONE_TRY(infer_mha_past(c, &m));
    if (ranked(c, 3) && m.size >= 0 && m.v_size >= 0) {
        int64_t d;
        HONE_TRY(hone_infer_same_dim(c, c->in[3].dims[0], m.heads * (2 * m.size + m.v_size), &d));
    }
    bool shares = given(c, 8);
    if (shares && (!given(c, 6) || (c->n_out > 3 && c->node->out[3])))
        return hone_infer_fail(c, HONE_E_UNSUPPORTED,
                               "past_sequence_length without a past, or with scores as an output");
    hone_dtype d = c->in[0].dtype;
    int64_t total = shares ? m.past : plus(m.past, m.keys);
    hone_infer_set(c, 0, d, 3, (int64_t[]){m.batch, m.seq, times(m.heads, m.v_size)});
    hone_infer_set(c, 1, d, 4, (int64_t[]){m.batch, m.heads, total, m.size});
    hone_infer_set(c, 2, d, 4, (int64_t[]){m.batch, m.heads, total, m.v_size});
    hone_infer_set(c, 3, d, 4, (int64_t[]){m.batch, m.heads, m.seq, total});
    return HONE_OK;
}

/* Pointers and strides of q, k and v for the forms above, the bias added. */
static hone_status mha_operands(hone_op_ctx *c, hone_attend *a) {
    const hone_tensor *q = c->in[0], *k = hone_in(c, 1), *v = hone_in(c, 2), *bias = hone_in(c, 3);
    bool ok = true;
    int64_t n = a->n_heads;
    const float *data = hone_op_widen(c, q, HONE_DTYPE_F32, &ok);
    const float *b = hone_op_widen(c, bias, HONE_DTYPE_F32, &ok);
    a->n_batch = q->dims[0];
    a->n_q = q->dims[1];
    if (q->rank == 5) { /* [b, s, n, 3, d] */
        int64_t d = q->dims[4];
        a->size = a->v_size = d;
        a->n_kv = a->n_q;
        a->q_at = a->k_at = a->v_at = (hone_bhs){a->n_q * n * 3 * d, 3 * d, n * 3 * d};
        a->q = data;
        a->k = data + d;
        a->v = data + 2 * d;
        return b ? hone_op_fail(c, HONE_E_UNSUPPORTED, "bias with packed queries is not supported")
               : ok ? HONE_OK
                    : HONE_E_NOMEM;
    }
    a->size = q->dims[2] / n;
    a->q_at = hone_bhs_bsnh(n, a->n_q, a->size);
    a->q = add_bias(c, data, a->n_batch * a->n_q, n * a->size, b, &ok);
    if (!k || (!v && k->rank != 5))
        return hone_op_fail(c, HONE_E_ARGUMENT, "key and value are needed");
    const float *kd = hone_op_widen(c, k, HONE_DTYPE_F32, &ok);
    const float *vd = hone_op_widen(c, v, HONE_DTYPE_F32, &ok);
    a->n_kv = k->rank == 4 ? k->dims[2] : k->dims[1];
    if (k->rank == 5) { /* [b, keys, n, 2, d] */
        int64_t d = a->v_size = k->dims[4];
        a->k_at = a->v_at = (hone_bhs){a->n_kv * n * 2 * d, 2 * d, n * 2 * d};
        a->k = kd;
        a->v = kd + d;
        return ok ? HONE_OK : HONE_E_NOMEM;
    }
    a->v_size = v->rank == 4 ? v->dims[3] : v->dims[2] / n;
    if (k->rank != v->rank)
        return hone_op_fail(c, HONE_E_SHAPE, "key and value must have the same rank");
    int64_t rows = a->n_batch * a->n_kv;
    bool four = k->rank == 4;
    a->k = add_bias(c, kd, rows, n * a->size, b && !four ? b + n * a->size : NULL, &ok);
    a->v = add_bias(c, vd, rows, n * a->v_size, b && !four ? b + 2 * n * a->size : NULL, &ok);
    a->k_at = four ? hone_bhs_bnsh(n, a->n_kv, a->size) : hone_bhs_bsnh(n, a->n_kv, a->size);
    a->v_at = four ? hone_bhs_bnsh(n, a->n_kv, a->v_size) : hone_bhs_bsnh(n, a->n_kv, a->v_size);
    return ok ? HONE_OK : HONE_E_NOMEM;
}

hone_status hone_ref_ms_mha(hone_op_ctx *c) {
    const hone_node *node = c->node;
    bool ok = true;
    hone_attend a = {.left = -1, .right = -1};
    a.n_heads = a.n_kv_heads = hone_attr_int(node, "num_heads", 0);
    HONE_TRY(mha_operands(c, &a));
    const hone_tensor *past_k = hone_in(c, 6), *past_v = hone_in(c, 7);
    int64_t n_old = past_k ? past_k->dims[2] : 0, n_past;
    HONE_TRY(past_rows(c, hone_in(c, 8), n_old, a.n_kv, &n_past));
    int64_t total = n_past + a.n_kv, room = hone_in(c, 8) ? n_old : total;
    if (past_k || hone_out(c, 1) || hone_out(c, 2)) {
        int64_t n = a.n_batch * a.n_heads * room;
        float *k = joined(c, hone_out(c, 1), n * a.size, &ok);
        float *v = joined(c, hone_out(c, 2), n * a.v_size, &ok);
        const float *old_k = hone_op_widen(c, past_k, HONE_DTYPE_F32, &ok);
        const float *old_v = hone_op_widen(c, past_v, HONE_DTYPE_F32, &ok);
        if (!ok)
            return HONE_E_NOMEM;
        join_rows(&a, a.size, old_k, n_old, n_past, a.k, a.k_at, k, room);
        join_rows(&a, a.v_size, old_v, n_old, n_past, a.v, a.v_at, v, room);
        hone_op_narrow(hone_out(c, 1), HONE_DTYPE_F32, k);
        hone_op_narrow(hone_out(c, 2), HONE_DTYPE_F32, v);
        a.k = k;
        a.v = v;
        a.n_kv = total;
        a.k_at = hone_bhs_bnsh(a.n_heads, room, a.size);
        a.v_at = hone_bhs_bnsh(a.n_heads, room, a.v_size);
    }
    a.scale = scale_of(node, a.size);
    a.causal = hone_attr_int(node, "unidirectional", 0) != 0;
    a.y_at = hone_bhs_bsnh(a.n_heads, a.n_q, a.v_size);
    a.y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    a.qk = hone_op_wide_out(c, hone_out(c, 3), HONE_DTYPE_F32, &ok);
    if (!ok)
        return HONE_E_NOMEM;
    HONE_TRY(set_offset(c, &a, n_past));
    if (hone_in(c, 4))
        HONE_TRY(
            key_mask(c, hone_in(c, 4), &a, hone_attr_float(node, "mask_filter_value", -10000.0f)));
    HONE_TRY(set_bias(c, hone_in(c, 5), &a));
    HONE_TRY(hone_attend_run(c, &a, HONE_DTYPE_F32));
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, a.y);
    hone_op_narrow(hone_out(c, 3), HONE_DTYPE_F32, a.qk);
    return HONE_OK;
}

/* ---- Attention ------------------------------------------------------------------------------ */

/* Widths of q, k and v in the projection. */
static hone_status attention_widths(const hone_node *n, int64_t columns, int64_t w[3]) {
    const int64_t *sizes;
    int count = hone_attr_ints(n, "qkv_hidden_sizes", &sizes);
    for (int i = 0; i < 3; ++i)
        w[i] = count == 3 ? sizes[i] : columns / 3;
    int64_t heads = hone_attr_int(n, "num_heads", 0);
    for (int i = 0; i < 3; ++i)
        if (w[i] < 0 || w[i] > columns || w[i] % heads != 0)
            return HONE_E_SHAPE;
    return w[0] == w[1] && w[0] + w[1] + w[2] == columns ? HONE_OK : HONE_E_SHAPE;
}

/* input [b, s, in], weights [in, columns], bias, mask_index, past [2, b, n, p, d], attention_bias.
 */
hone_status hone_infer_ms_attention(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x3));
    int64_t heads, w[3] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN}, d;
    int64_t y[3] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN};
    HONE_TRY(want_heads(c, "num_heads", &heads));
    HONE_TRY(want_rank(c, 0, 3, 3));
    HONE_TRY(want_rank(c, 1, 2, 2));
    HONE_TRY(want_rank(c, 2, 1, 1));
    HONE_TRY(want_rank(c, 4, 5, 5));
    if (ranked(c, 0))
        memcpy(y, c->in[0].dims, 2 * sizeof *y);
    if (ranked(c, 0) && ranked(c, 1))
        HONE_TRY(hone_infer_same_dim(c, c->in[0].dims[2], c->in[1].dims[0], &d));
    int64_t columns = ranked(c, 1) ? c->in[1].dims[1] : HONE_DIM_UNKNOWN;
    if (ranked(c, 2))
        HONE_TRY(hone_infer_same_dim(c, columns, c->in[2].dims[0], &columns));
    if (columns >= 0 && attention_widths(c->node, columns, w) != HONE_OK)
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "%" PRId64 " columns do not divide into q, k and v of %" PRId64
                               " heads",
                               columns, heads);
    y[2] = w[2];
    int64_t size = w[0] < 0 ? w[0] : w[0] / heads, past = given(c, 4) ? HONE_DIM_UNKNOWN : 0;
    if (ranked(c, 4)) {
        int64_t want[5] = {2, y[0], heads, HONE_DIM_UNKNOWN, size};
        for (int i = 0; i < 5; ++i)
            HONE_TRY(hone_infer_same_dim(c, c->in[4].dims[i], want[i], &d));
        past = c->in[4].dims[3];
    }
    bool shares = hone_attr_int(c->node, "past_present_share_buffer", 0) != 0;
    if (shares && (!given(c, 4) || !given(c, 6)))
        return hone_infer_fail(c, HONE_E_FORMAT,
                               "past_present_share_buffer needs past and past_sequence_length");
    int64_t total = shares ? past : plus(past, y[1]);
    hone_infer_set(c, 0, c->in[0].dtype, 3, y);
    hone_infer_set(c, 1, c->in[0].dtype, 5, (int64_t[]){2, y[0], heads, total, size});
    return HONE_OK;
}

typedef struct projection {
    const float *x, *w, *bias;
    float *y;
    int64_t n_in, n;
} projection;

static void project_row(void *arg, int64_t r, int worker) {
    const projection *p = arg;
    (void)worker;
    float *y = p->y + r * p->n;
    for (int64_t i = 0; i < p->n; ++i)
        y[i] = p->bias ? p->bias[i] : 0;
    hone_vecmat_f32(p->n, p->n_in, p->x + r * p->n_in, p->w, p->n, y);
}

/* Joins the projected keys and values with the past into one [2, b, n, total, size] array. */
static hone_status attention_past(hone_op_ctx *c, hone_attend *a, int64_t *n_past) {
    const hone_tensor *past = hone_in(c, 4);
    hone_tensor *present = hone_out(c, 1);
    bool shares = hone_attr_int(c->node, "past_present_share_buffer", 0) != 0;
    int64_t n_old = past ? past->dims[3] : 0;
    HONE_TRY(past_rows(c, shares ? hone_in(c, 6) : NULL, n_old, a->n_kv, n_past));
    if (!past && !present)
        return HONE_OK;
    if (a->v_size != a->size)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "past state needs equal key and value sizes");
    bool ok = true;
    int64_t total = *n_past + a->n_kv, room = shares ? n_old : total, n = a->n_batch * a->n_heads;
    const float *old = hone_op_widen(c, past, HONE_DTYPE_F32, &ok);
    float *to = joined(c, present, 2 * n * room * a->size, &ok);
    if (!ok)
        return HONE_E_NOMEM;
    float *to_v = to + n * room * a->size;
    join_rows(a, a->size, old, n_old, *n_past, a->k, a->k_at, to, room);
    join_rows(a, a->size, old ? old + n * n_old * a->size : NULL, n_old, *n_past, a->v, a->v_at,
              to_v, room);
    hone_op_narrow(present, HONE_DTYPE_F32, to);
    a->k = to;
    a->v = to_v;
    a->n_kv = total;
    a->k_at = a->v_at = hone_bhs_bnsh(a->n_heads, room, a->size);
    return HONE_OK;
}

hone_status hone_ref_ms_attention(hone_op_ctx *c) {
    const hone_tensor *x = c->in[0];
    bool ok = true;
    int64_t heads = hone_attr_int(c->node, "num_heads", 0), w[3], n_past;
    projection p = {.n_in = x->dims[2], .n = c->in[1]->dims[1]};
    if (attention_widths(c->node, p.n, w) != HONE_OK)
        return hone_op_fail(c, HONE_E_SHAPE, "qkv_hidden_sizes do not fit");
    if (hone_attr_int(c->node, "do_rotary", 0) != 0)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "do_rotary is not supported");
    int64_t rows = x->dims[0] * x->dims[1];
    p.x = hone_op_widen(c, x, HONE_DTYPE_F32, &ok);
    p.w = hone_op_widen(c, c->in[1], HONE_DTYPE_F32, &ok);
    p.bias = hone_op_widen(c, hone_in(c, 2), HONE_DTYPE_F32, &ok);
    p.y = hone_op_array(c, rows, sizeof(float) * (size_t)p.n);
    if (!ok || !p.y)
        return HONE_E_NOMEM;
    hone_op_parallel(c, rows, project_row, &p);
    hone_attend a = {.n_batch = x->dims[0],
                     .n_heads = heads,
                     .n_kv_heads = heads,
                     .n_q = x->dims[1],
                     .n_kv = x->dims[1],
                     .size = w[0] / heads,
                     .v_size = w[2] / heads,
                     .left = -1,
                     .right = -1};
    a.q = p.y;
    a.k = p.y + w[0];
    a.v = p.y + w[0] + w[1];
    a.q_at = a.k_at = (hone_bhs){a.n_q * p.n, a.size, p.n};
    a.v_at = (hone_bhs){a.n_q * p.n, a.v_size, p.n};
    HONE_TRY(attention_past(c, &a, &n_past));
    a.scale = scale_of(c->node, a.size);
    a.causal = hone_attr_int(c->node, "unidirectional", 0) != 0;
    a.y_at = hone_bhs_bsnh(heads, a.n_q, a.v_size);
    a.y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    if (!ok)
        return HONE_E_NOMEM;
    HONE_TRY(set_offset(c, &a, n_past));
    if (hone_in(c, 3))
        HONE_TRY(key_mask(c, hone_in(c, 3), &a,
                          hone_attr_float(c->node, "mask_filter_value", -10000.0f)));
    HONE_TRY(set_bias(c, hone_in(c, 5), &a));
    HONE_TRY(hone_attend_run(c, &a, HONE_DTYPE_F32));
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, a.y);
    return HONE_OK;
}
