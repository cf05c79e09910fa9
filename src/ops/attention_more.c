/* RotaryEmbedding, LinearAttention (ONNX) and FlexAttention (ai.onnx.preview). */
#include <inttypes.h>
#include <math.h>

#include "ops/attend.h"

/* ---- RotaryEmbedding ------------------------------------------------------------------------ */

hone_status hone_infer_rotary(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    const hone_type *x = &c->in[0];
    if (hone_infer_has(c, 0) && x->rank >= 0 && x->rank != 3 && x->rank != 4)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input must have rank 3 or 4, not %d", x->rank);
    int64_t heads = hone_attr_int(c->node, "num_heads", 0);
    if (hone_infer_has(c, 0) && x->rank == 3 && x->dims[2] >= 0 &&
        (heads <= 0 || x->dims[2] % heads != 0))
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "a rank-3 input needs num_heads that divides its last dim %" PRId64,
                               x->dims[2]);
    hone_infer_same(c, 0, 0);
    return HONE_OK;
}

typedef struct rotary {
    int64_t batch, heads, seq, size, n; /* n: rotated elements of a head */
    hone_bhs at;
    int64_t n_rows; /* of the caches, with positions */
    const float *cos, *sin;
    const hone_tensor *positions;
    bool interleaved;
} rotary;

static hone_status rotary_dims(hone_op_ctx *c, rotary *r) {
    const hone_tensor *x = c->in[0], *cache = c->in[1];
    int64_t heads = x->rank == 4 ? x->dims[1] : hone_attr_int(c->node, "num_heads", 0);
    bool four = x->rank == 4;
    r->batch = x->dims[0];
    r->heads = heads;
    r->seq = four ? x->dims[2] : x->dims[1];
    r->size = four ? x->dims[3] : x->dims[2] / heads;
    r->at = four ? hone_bhs_bnsh(heads, r->seq, r->size) : hone_bhs_bsnh(heads, r->seq, r->size);
    r->n = hone_attr_int(c->node, "rotary_embedding_dim", 0);
    r->n = r->n ? r->n : r->size;
    r->interleaved = hone_attr_int(c->node, "interleaved", 0) != 0;
    r->positions = hone_in(c, 3);
    if (r->n < 0 || r->n > r->size || r->n % 2 != 0)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "%" PRId64 " elements of a head of %" PRId64 " cannot be rotated", r->n,
                            r->size);
    int rank = r->positions ? 2 : 3;
    if (cache->rank != rank || !hone_same_dims(cache, c->in[2]) ||
        cache->dims[rank - 1] != r->n / 2)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "cos_cache and sin_cache must have rank %d and last dim %" PRId64, rank,
                            r->n / 2);
    if (!r->positions && (cache->dims[0] != r->batch || cache->dims[1] != r->seq))
        return hone_op_fail(c, HONE_E_SHAPE,
                            "without position_ids the caches must be [batch, sequence, size/2]");
    if (r->positions && hone_tensor_count(r->positions) != r->batch * r->seq)
        return hone_op_fail(c, HONE_E_SHAPE, "position_ids must be [batch, sequence]");
    r->n_rows = cache->dims[0];
    return HONE_OK;
}

hone_status hone_ref_rotary(hone_op_ctx *c) {
    rotary r = {0};
    bool ok = true;
    HONE_TRY(rotary_dims(c, &r));
    const float *x = hone_op_widen(c, c->in[0], HONE_DTYPE_F32, &ok);
    r.cos = hone_op_widen(c, c->in[1], HONE_DTYPE_F32, &ok);
    r.sin = hone_op_widen(c, c->in[2], HONE_DTYPE_F32, &ok);
    float *y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    if (!ok)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < r.batch * r.seq; ++i) {
        int64_t row = r.positions ? hone_load_i64(r.positions->dtype, r.positions->data, i) : i;
        if (r.positions && (row < 0 || row >= r.n_rows))
            return hone_op_fail(c, HONE_E_RUNTIME,
                                "position %" PRId64 " is outside the cache of %" PRId64 " rows",
                                row, r.n_rows);
        for (int64_t h = 0; h < r.heads; ++h) {
            int64_t at = i / r.seq * r.at.b + h * r.at.h + i % r.seq * r.at.s;
            hone_rope_f32(x + at, r.cos + row * (r.n / 2), r.sin + row * (r.n / 2), r.n,
                          r.interleaved, y + at);
            for (int64_t j = r.n; j < r.size; ++j)
                y[at + j] = x[at + j];
        }
    }
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, y);
    return HONE_OK;
}

/* ---- LinearAttention ------------------------------------------------------------------------ */

hone_status hone_infer_linear_attention(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    int64_t heads = hone_attr_int(c->node, "q_num_heads", 0);
    int64_t kv_heads = hone_attr_int(c->node, "kv_num_heads", 0);
    int64_t batch = HONE_DIM_UNKNOWN, time = batch, size = batch, v_size = batch, width = batch;
    if (heads <= 0 || kv_heads <= 0 || heads % kv_heads != 0 || heads > INT32_MAX)
        return hone_infer_fail(c, HONE_E_FORMAT, "q_num_heads must be a multiple of kv_num_heads");
    for (int i = 0; i < 6; ++i) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            continue;
        const hone_type *t = &c->in[i];
        if (t->rank != (i == 3 ? 4 : 3))
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d has the wrong rank %d", i, t->rank);
        HONE_TRY(hone_infer_same_dim(c, batch, t->dims[0], &batch));
        if (i != 3)
            HONE_TRY(hone_infer_same_dim(c, time, t->dims[1], &time));
        int64_t n = i == 0 ? heads : kv_heads;
        if (i < 3 && t->dims[2] >= 0 && t->dims[2] % n != 0)
            return hone_infer_fail(c, HONE_E_SHAPE,
                                   "the last dim of input %d must be a multiple "
                                   "of its heads",
                                   i);
        if (i < 3 && t->dims[2] >= 0)
            HONE_TRY(hone_infer_same_dim(c, i < 2 ? size : v_size, t->dims[2] / n,
                                         i < 2 ? &size : &v_size));
    }
    if (hone_infer_has(c, 3) && c->in[3].rank == 4) {
        int64_t d;
        HONE_TRY(hone_infer_same_dim(c, c->in[3].dims[1], kv_heads, &d));
        HONE_TRY(hone_infer_same_dim(c, c->in[3].dims[2], size, &size));
        HONE_TRY(hone_infer_same_dim(c, c->in[3].dims[3], v_size, &v_size));
    }
    if (v_size >= 0)
        width = heads * v_size;
    bool past = c->n_in > 3 && c->node->in[3];
    hone_infer_set(c, 0, c->in[0].dtype, 3, (int64_t[]){batch, time, width});
    hone_infer_set(c, 1, past ? c->in[3].dtype : c->in[0].dtype, 4,
                   (int64_t[]){batch, kv_heads, size, v_size});
    return HONE_OK;
}

typedef struct linear {
    int64_t batch, time, heads, kv_heads, size, v_size;
    const float *q, *k, *v, *decay, *beta;
    int64_t n_decay, n_beta; /* last dims */
    float scale;
    float *state, *y, *value; /* value: v_size of scratch */
} linear;

static void linear_step(const linear *l, int64_t row, int64_t h, float *state) {
    const float *k = l->k + (row * l->kv_heads + h) * l->size;
    const float *v = l->v + (row * l->kv_heads + h) * l->v_size;
    bool each = l->decay && l->n_decay != l->kv_heads;
    for (int64_t i = 0; l->decay && i < l->size; ++i) {
        float g = expf(l->decay[row * l->n_decay + (each ? h * l->size + i : h)]);
        for (int64_t j = 0; j < l->v_size; ++j)
            state[i * l->v_size + j] *= g;
    }
    memcpy(l->value, v, (size_t)l->v_size * sizeof *v);
    if (l->beta) {
        float beta = l->beta[row * l->n_beta + (l->n_beta == 1 ? 0 : h)];
        for (int64_t i = 0; i < l->size; ++i)
            for (int64_t j = 0; j < l->v_size; ++j)
                l->value[j] -= state[i * l->v_size + j] * k[i];
        for (int64_t j = 0; j < l->v_size; ++j)
            l->value[j] *= beta;
    }
    for (int64_t i = 0; i < l->size; ++i)
        for (int64_t j = 0; j < l->v_size; ++j)
            state[i * l->v_size + j] += k[i] * l->value[j];
    int64_t group = l->heads / l->kv_heads;
    for (int64_t g = h * group; g < (h + 1) * group; ++g) {
        float *y = l->y + (row * l->heads + g) * l->v_size;
        memset(y, 0, (size_t)l->v_size * sizeof *y);
        hone_vecmat_f32(l->v_size, l->size, l->q + (row * l->heads + g) * l->size, state, l->v_size,
                        y);
        for (int64_t j = 0; j < l->v_size; ++j)
            y[j] *= l->scale;
    }
}

static hone_status linear_check(hone_op_ctx *c, linear *l) {
    const char *rule = hone_attr_string(c->node, "update_rule", "gated_delta");
    bool gated = strncmp(rule, "gated", 5) == 0;
    bool delta = strcmp(rule, "delta") == 0 || strcmp(rule, "gated_delta") == 0;
    if (!delta && strcmp(rule, "gated") != 0 && strcmp(rule, "linear") != 0)
        return hone_op_fail(c, HONE_E_FORMAT, "unknown update_rule \"%.40s\"", rule);
    const hone_tensor *decay = hone_in(c, 4), *beta = hone_in(c, 5);
    if (gated != (decay != NULL) || delta != (beta != NULL))
        return hone_op_fail(c, HONE_E_ARGUMENT,
                            "update_rule \"%s\" does not go with the given decay and beta", rule);
    l->n_decay = decay ? decay->dims[2] : 0;
    l->n_beta = beta ? beta->dims[2] : 0;
    if (decay && l->n_decay != l->kv_heads && l->n_decay != l->kv_heads * l->size)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "decay must have a last dim of kv_num_heads or "
                            "kv_num_heads * key size, not %" PRId64,
                            l->n_decay);
    if (beta && l->n_beta != l->kv_heads && l->n_beta != 1)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "beta must have a last dim of kv_num_heads or 1, not "
                            "%" PRId64,
                            l->n_beta);
    return HONE_OK;
}

hone_status hone_ref_linear_attention(hone_op_ctx *c) {
    const hone_tensor *q = c->in[0], *past = hone_in(c, 3);
    linear l = {.batch = q->dims[0], .time = q->dims[1]};
    bool ok = true;
    l.heads = hone_attr_int(c->node, "q_num_heads", 0);
    l.kv_heads = hone_attr_int(c->node, "kv_num_heads", 0);
    l.size = q->dims[2] / l.heads;
    l.v_size = c->in[2]->dims[2] / l.kv_heads;
    HONE_TRY(linear_check(c, &l));
    l.scale = hone_attr_float(c->node, "scale", 0);
    if (l.scale == 0)
        l.scale = (float)(1 / sqrt((double)l.size));
    l.q = hone_op_widen(c, q, HONE_DTYPE_F32, &ok);
    l.k = hone_op_widen(c, c->in[1], HONE_DTYPE_F32, &ok);
    l.v = hone_op_widen(c, c->in[2], HONE_DTYPE_F32, &ok);
    l.decay = hone_op_widen(c, hone_in(c, 4), HONE_DTYPE_F32, &ok);
    l.beta = hone_op_widen(c, hone_in(c, 5), HONE_DTYPE_F32, &ok);
    l.y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    hone_tensor *present = hone_out(c, 1);
    int64_t n_head = l.size * l.v_size, n_state = l.batch * l.kv_heads * n_head;
    l.state = present ? hone_op_wide_out(c, present, HONE_DTYPE_F32, &ok)
                      : hone_op_array(c, n_state, sizeof(float));
    l.value = hone_op_array(c, l.v_size, sizeof(float));
    if (!ok || !l.state || !l.value)
        return HONE_E_NOMEM;
    if (past)
        hone_to_f32(past->dtype, past->data, n_state, l.state);
    else
        memset(l.state, 0, (size_t)n_state * sizeof(float));
    for (int64_t b = 0; b < l.batch; ++b)
        for (int64_t h = 0; h < l.kv_heads; ++h)
            for (int64_t t = 0; t < l.time; ++t)
                linear_step(&l, b * l.time + t, h, l.state + (b * l.kv_heads + h) * n_head);
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, l.y);
    hone_op_narrow(present, HONE_DTYPE_F32, l.state);
    return HONE_OK;
}

/* ---- FlexAttention -------------------------------------------------------------------------- */

hone_status hone_infer_flex_attention(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    int64_t y[4] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN};
    const hone_type *t = c->in;
    for (int i = 0; i < 3; ++i)
        if (hone_infer_has(c, i) && t[i].rank >= 0 && t[i].rank != 4)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank 4, not %d", i,
                                   t[i].rank);
    bool known[3];
    for (int i = 0; i < 3; ++i)
        known[i] = hone_infer_has(c, i) && t[i].rank == 4;
    if (known[0])
        memcpy(y, t[0].dims, 3 * sizeof *y);
    if (known[2])
        y[3] = t[2].dims[3];
    int64_t d;
    if (known[0] && known[1]) {
        HONE_TRY(hone_infer_same_dim(c, t[0].dims[0], t[1].dims[0], &d));
        HONE_TRY(hone_infer_same_dim(c, t[0].dims[3], t[1].dims[3], &d));
        int64_t q_heads = t[0].dims[1], k_heads = t[1].dims[1];
        if (q_heads >= 0 && k_heads >= 0 && (k_heads == 0 ? q_heads != 0 : q_heads % k_heads != 0))
            return hone_infer_fail(c, HONE_E_SHAPE,
                                   "%" PRId64 " query heads are not a multiple of "
                                   "%" PRId64 " key heads",
                                   q_heads, k_heads);
    }
    for (int axis = 0; known[1] && known[2] && axis < 3; ++axis)
        HONE_TRY(hone_infer_same_dim(c, t[1].dims[axis], t[2].dims[axis], &d));
    hone_infer_set(c, 0, t[0].dtype, 4, y);
    return HONE_OK;
}

/* t (of rank 4, in the softmax's type) goes through the subgraph attribute `name`, if there. */
static hone_status modify(hone_op_ctx *c, const char *name, hone_tensor *t) {
    const hone_graph *g = hone_attr_graph(c->node, name);
    if (!g)
        return HONE_OK;
    const hone_tensor *in[1] = {t};
    hone_tensor out = {0};
    HONE_TRY(c->host->run_graph(c, g, in, 1, &out, 1));
    hone_status status = HONE_OK;
    if (out.dtype != t->dtype || !hone_same_dims(&out, t))
        status =
            hone_op_fail(c, HONE_E_SHAPE, "%s must keep the type and shape of its input", name);
    else if (hone_tensor_bytes(t) > 0)
        memcpy(t->data, out.data, hone_tensor_bytes(t));
    hone_tensor_release(&out);
    return status;
}

static double row_max(const double *s, int64_t n) {
    double top = -INFINITY;
    for (int64_t j = 0; j < n; ++j)
        top = s[j] > top ? s[j] : top;
    return top;
}

static void softmax_rows(double *s, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; ++r, s += n) {
        double top = row_max(s, n), sum = 0;
        for (int64_t j = 0; j < n; ++j)
            sum += s[j] = exp(s[j] - top);
        for (int64_t j = 0; j < n; ++j)
            s[j] /= sum;
    }
}

/* Modifies the scores, turns them into probabilities, modifies those. */
static hone_status flex_probabilities(hone_op_ctx *c, hone_dtype d, const int64_t dims[4],
                                      double *s) {
    int64_t rows = dims[0] * dims[1] * dims[2], n = rows * dims[3];
    hone_tensor t = hone_tensor_view(d, 4, dims, NULL);
    t.data = d == HONE_DTYPE_F64 ? s : hone_op_array(c, n, sizeof(float));
    if (!t.data)
        return HONE_E_NOMEM;
    for (int step = 0; step < 2; ++step) {
        hone_op_narrow(&t, HONE_DTYPE_F64, s);
        HONE_TRY(modify(c, step == 0 ? "score_mod" : "prob_mod", &t));
        for (int64_t i = 0; d != HONE_DTYPE_F64 && i < n; ++i)
            s[i] = hone_load_f64(d, t.data, i);
        if (step == 0)
            softmax_rows(s, rows, dims[3]);
    }
    return HONE_OK;
}

hone_status hone_ref_flex_attention(hone_op_ctx *c) {
    const hone_tensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    hone_dtype d = (hone_dtype)hone_attr_int(
        c->node, "softmax_precision", q->dtype == HONE_DTYPE_F64 ? HONE_DTYPE_F64 : HONE_DTYPE_F32);
    if (!hone_dtype_in(q->dtype, HONE_T_FLOAT))
        return hone_op_bad_type(c, q->dtype);
    if ((unsigned)d >= HONE_DTYPE_COUNT || !hone_dtype_in(d, HONE_T_FLOAT))
        return hone_op_fail(c, HONE_E_FORMAT, "softmax_precision %d is no float type", (int)d);
    bool ok = true;
    int64_t dims[4] = {q->dims[0], q->dims[1], q->dims[2], k->dims[2]};
    hone_attend a = {.n_batch = dims[0],
                     .n_heads = dims[1],
                     .n_kv_heads = k->dims[1],
                     .n_q = dims[2],
                     .n_kv = dims[3],
                     .size = q->dims[3],
                     .left = -1,
                     .right = -1};
    a.q = hone_op_widen(c, q, HONE_DTYPE_F64, &ok);
    a.k = hone_op_widen(c, k, HONE_DTYPE_F64, &ok);
    a.v = hone_op_widen(c, v, HONE_DTYPE_F64, &ok);
    a.q_at = hone_bhs_bnsh(q->dims[1], q->dims[2], q->dims[3]);
    a.k_at = hone_bhs_bnsh(k->dims[1], k->dims[2], k->dims[3]);
    a.scale = hone_attr_find(c->node, "scale") ? (double)hone_attr_float(c->node, "scale", 1)
                                               : 1 / sqrt((double)a.size);
    double *s = hone_op_array(c, dims[0] * dims[1] * dims[2] * dims[3], sizeof *s);
    int64_t y_dims[4] = {dims[0], dims[1], dims[2], v->dims[3]};
    HONE_TRY(hone_op_alloc(c, 0, q->dtype, 4, y_dims));
    double *y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F64, &ok);
    if (!ok || !s)
        return HONE_E_NOMEM;
    a.qk = s;
    HONE_TRY(hone_attend_run(c, &a, HONE_DTYPE_F64));
    HONE_TRY(flex_probabilities(c, d, dims, s));
    int64_t v_size = v->dims[3];
    for (int64_t r = 0; r < dims[0] * dims[1] * dims[2]; ++r) {
        int64_t head = r / dims[2], b = head / dims[1];
        int64_t kv = head % dims[1] / (dims[1] / k->dims[1]);
        memset(y + r * v_size, 0, (size_t)v_size * sizeof *y);
        hone_vecmat_f64(v_size, dims[3], s + r * dims[3],
                        (const double *)a.v + (b * k->dims[1] + kv) * dims[3] * v_size, v_size,
                        y + r * v_size);
    }
    hone_op_narrow(c->out[0], HONE_DTYPE_F64, y);
    return HONE_OK;
}
