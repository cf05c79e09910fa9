/* com.microsoft GroupQueryAttention and RotaryEmbedding (public operator documentation,
 * ContribOperators.md); f32 arithmetic. */
#include <inttypes.h>
#include <math.h>

#include "ops/attend.h"

/* ---- rotation ------------------------------------------------------------------------------- */

typedef struct rope {
    const float *cos, *sin;
    int64_t n_rows, n; /* rows of the caches; rotated elements of a head */
    bool interleaved;
} rope;

static hone_status set_rope(hone_op_ctx *c, int i_cos, bool interleaved, int64_t size, rope *r) {
    const hone_tensor *cos_cache = hone_in(c, i_cos), *sin_cache = hone_in(c, i_cos + 1);
    bool ok = true;
    if (!cos_cache || !sin_cache || cos_cache->rank != 2 || !hone_same_dims(cos_cache, sin_cache))
        return hone_op_fail(c, HONE_E_SHAPE, "cos_cache and sin_cache must be [positions, size/2]");
    *r = (rope){
        .n_rows = cos_cache->dims[0], .n = cos_cache->dims[1] * 2, .interleaved = interleaved};
    r->cos = hone_op_widen(c, cos_cache, HONE_DTYPE_F32, &ok);
    r->sin = hone_op_widen(c, sin_cache, HONE_DTYPE_F32, &ok);
    if (r->n > size)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "the caches rotate %" PRId64 " elements of a head of %" PRId64, r->n,
                            size);
    return ok ? HONE_OK : HONE_E_NOMEM;
}

/* One token's head at x into y. */
static hone_status rotate(hone_op_ctx *c, const rope *r, int64_t position, int64_t size,
                          const float *x, float *y) {
    if (position < 0 || position >= r->n_rows)
        return hone_op_fail(c, HONE_E_RUNTIME,
                            "position %" PRId64 " is outside the rotary cache of %" PRId64 " rows",
                            position, r->n_rows);
    hone_rope_f32(x, r->cos + position * (r->n / 2), r->sin + position * (r->n / 2), r->n,
                  r->interleaved, y);
    for (int64_t i = r->n; i < size; ++i)
        y[i] = x[i];
    return HONE_OK;
}

hone_status hone_infer_ms_rotary(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0xf));
    if (hone_infer_has(c, 0) && c->in[0].rank >= 0 && c->in[0].rank != 3 && c->in[0].rank != 4)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input must have rank 3 or 4");
    if (hone_attr_int(c->node, "is_packed_batching", 0) != 0)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "is_packed_batching is not supported");
    hone_infer_same(c, 0, 0);
    return HONE_OK;
}

hone_status hone_ref_ms_rotary(hone_op_ctx *c) {
    const hone_tensor *x = c->in[0], *positions = c->in[1], *cache = c->in[2];
    bool four = x->rank == 4, ok = true;
    int64_t heads = hone_attr_int(c->node, "num_heads", 0), size;
    int64_t seq = x->dims[four ? 2 : 1], width = four ? 0 : x->dims[2];
    if (four) {
        heads = x->dims[1];
        size = x->dims[3];
    } else {
        size = heads > 0 ? width / heads : cache->rank == 2 ? cache->dims[1] * 2 : 0;
        if (size <= 0 || width % size != 0)
            return hone_op_fail(c, HONE_E_SHAPE,
                                "the last dim %" PRId64 " does not divide into "
                                "heads",
                                width);
        heads = width / size;
    }
    rope r;
    HONE_TRY(set_rope(c, 2, hone_attr_int(c->node, "interleaved", 0) != 0, size, &r));
    int64_t n_pos = hone_tensor_count(positions), n = x->dims[0] * seq;
    if (n_pos != 1 && n_pos != n)
        return hone_op_fail(c, HONE_E_SHAPE, "position_ids must be [1] or [batch, sequence]");
    const float *in = hone_op_widen(c, x, HONE_DTYPE_F32, &ok);
    float *y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    if (!ok)
        return HONE_E_NOMEM;
    hone_bhs at = four ? hone_bhs_bnsh(heads, seq, size) : hone_bhs_bsnh(heads, seq, size);
    for (int64_t i = 0; i < n; ++i) {
        /* A single position is that of the first token. */
        bool offset = positions->rank < 2;
        int64_t p = hone_load_i64(positions->dtype, positions->data, offset ? 0 : i);
        if (offset && (p < 0 || p > r.n_rows))
            p = r.n_rows;
        p += offset ? i % seq : 0;
        for (int64_t h = 0; h < heads; ++h) {
            int64_t from = i / seq * at.b + h * at.h + i % seq * at.s;
            HONE_TRY(rotate(c, &r, p, size, in + from, y + from));
        }
    }
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, y);
    return HONE_OK;
}

/* ---- GroupQueryAttention -------------------------------------------------------------------- */

enum {
    GQA_Q,
    GQA_K,
    GQA_V,
    GQA_PAST_K,
    GQA_PAST_V,
    GQA_LENS,
    GQA_TOTAL,
    GQA_COS,
    GQA_SIN,
    GQA_POSITIONS,
    GQA_BIAS,
    GQA_SINK
};

static bool has_in(const hone_infer_ctx *c, int i) {
    return i < c->n_in && c->node->in[i];
}

hone_status hone_infer_ms_gqa(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x61));
    int64_t n = hone_attr_int(c->node, "num_heads", 0),
            kv = hone_attr_int(c->node, "kv_num_heads", 0);
    int64_t y[3] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN}, d;
    int64_t size = HONE_DIM_UNKNOWN, total = HONE_DIM_UNKNOWN;
    if (n < 1 || kv < 1 || n % kv != 0 || n > INT32_MAX)
        return hone_infer_fail(c, HONE_E_FORMAT, "num_heads must be a multiple of kv_num_heads");
    if (has_in(c, GQA_K) != has_in(c, GQA_V) || has_in(c, GQA_PAST_K) != has_in(c, GQA_PAST_V))
        return hone_infer_fail(c, HONE_E_FORMAT, "keys and values go together");
    bool packed = !has_in(c, GQA_K);
    for (int i = 0; i < 3; ++i) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            continue;
        if (c->in[i].rank != 3)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank 3", i);
        int64_t heads = i > 0 ? kv : packed ? n + 2 * kv : n, width = c->in[i].dims[2];
        HONE_TRY(hone_infer_same_dim(c, y[0], c->in[i].dims[0], &y[0]));
        HONE_TRY(hone_infer_same_dim(c, y[1], c->in[i].dims[1], &y[1]));
        if (width >= 0 && width % heads != 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d does not divide into heads", i);
        if (width >= 0)
            HONE_TRY(hone_infer_same_dim(c, size, width / heads, &size));
    }
    int64_t past = has_in(c, GQA_PAST_K) ? HONE_DIM_UNKNOWN : 0;
    for (int i = GQA_PAST_K; i <= GQA_PAST_V; ++i) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            continue;
        int64_t want[4] = {y[0], kv, past, size};
        for (int axis = 0; axis < 4; ++axis) {
            if (c->in[i].rank != 4)
                return hone_infer_fail(c, HONE_E_SHAPE, "past state must have rank 4");
            HONE_TRY(hone_infer_same_dim(c, c->in[i].dims[axis], want[axis], &d));
        }
        past = c->in[i].dims[2];
    }
    const hone_tensor *t = hone_infer_value(c, GQA_TOTAL);
    if (t && hone_tensor_count(t) == 1 && past >= 0) {
        total = hone_load_i64(t->dtype, t->data, 0);
        if (total < 0)
            return hone_infer_fail(c, HONE_E_SHAPE, "total_sequence_length is negative");
        total = total > past ? total : past;
    }
    if (size >= 0)
        y[2] = n * size;
    hone_infer_set(c, 0, c->in[0].dtype, 3, y);
    hone_infer_set(c, 1, c->in[0].dtype, 4, (int64_t[]){y[0], kv, total, size});
    hone_infer_set(c, 2, c->in[0].dtype, 4, (int64_t[]){y[0], kv, total, size});
    if (c->n_out > 3 && c->node->out[3])
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "the output of scores is not supported");
    return HONE_OK;
}

typedef struct gqa {
    hone_attend a;
    const float *q, *k, *v; /* new tokens */
    hone_bhs q_at, k_at;
    int64_t n_past, total; /* of the past buffer and of the present one */
    int64_t *before;       /* valid tokens of each sequence before the new ones */
    float *q_rotated, *present_k, *present_v;
} gqa;

static hone_status gqa_operands(hone_op_ctx *c, gqa *g) {
    const hone_tensor *q = c->in[GQA_Q], *k = hone_in(c, GQA_K);
    hone_attend *a = &g->a;
    bool ok = true;
    a->n_heads = hone_attr_int(c->node, "num_heads", 0);
    a->n_kv_heads = hone_attr_int(c->node, "kv_num_heads", 0);
    a->n_batch = q->dims[0];
    a->n_q = q->dims[1];
    int64_t all = k ? a->n_heads : a->n_heads + 2 * a->n_kv_heads;
    a->size = a->v_size = q->dims[2] / all;
    g->q = hone_op_widen(c, q, HONE_DTYPE_F32, &ok);
    g->k = hone_op_widen(c, k, HONE_DTYPE_F32, &ok);
    g->v = hone_op_widen(c, hone_in(c, GQA_V), HONE_DTYPE_F32, &ok);
    if (!ok)
        return HONE_E_NOMEM;
    g->q_at = hone_bhs_bsnh(all, a->n_q, a->size);
    g->k_at = k ? hone_bhs_bsnh(a->n_kv_heads, a->n_q, a->size) : g->q_at;
    if (!k) {
        g->k = g->q + a->n_heads * a->size;
        g->v = g->k + a->n_kv_heads * a->size;
    }
    return HONE_OK;
}

/* Where the new tokens of each sequence go. */
static hone_status gqa_lengths(hone_op_ctx *c, gqa *g) {
    const hone_tensor *lens = c->in[GQA_LENS], *total = c->in[GQA_TOTAL];
    g->n_past = hone_in(c, GQA_PAST_K) ? hone_in(c, GQA_PAST_K)->dims[2] : 0;
    if (hone_tensor_count(total) != 1)
        return hone_op_fail(c, HONE_E_SHAPE, "total_sequence_length must be a scalar");
    int64_t all = hone_load_i64(total->dtype, total->data, 0);
    g->total = all > g->n_past ? all : g->n_past;
    g->before = hone_op_array(c, g->a.n_batch, sizeof *g->before);
    if (!g->before)
        return HONE_E_NOMEM;
    if (hone_tensor_count(lens) != g->a.n_batch || all < g->a.n_q)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "seqlens_k must have one element a sequence and "
                            "total_sequence_length must count the new tokens");
    for (int64_t b = 0; b < g->a.n_batch; ++b) {
        int64_t n = hone_load_i64(lens->dtype, lens->data, b) + 1;
        g->before[b] = all == g->a.n_q ? 0 : n - g->a.n_q;
        if (n < 0 || n > g->total || g->before[b] < 0 || (g->before[b] > g->n_past) ||
            g->before[b] + g->a.n_q > g->total)
            return hone_op_fail(c, HONE_E_RUNTIME,
                                "seqlens_k[%" PRId64 "] does not fit a cache of %" PRId64, b,
                                g->total);
    }
    return HONE_OK;
}

static int64_t gqa_position(hone_op_ctx *c, const gqa *g, int64_t b, int64_t s) {
    const hone_tensor *p = hone_in(c, GQA_POSITIONS);
    if (!p)
        return g->before[b] + s;
    return hone_load_i64(p->dtype, p->data, b * g->a.n_q + s);
}

/* Rotates the queries, and puts the new keys (rotated) and values behind the old ones. */
static hone_status gqa_tokens(hone_op_ctx *c, gqa *g, const rope *r) {
    const hone_attend *a = &g->a;
    size_t row = (size_t)a->size * sizeof(float);
    for (int64_t i = 0; i < a->n_batch * a->n_q; ++i) {
        int64_t b = i / a->n_q, s = i % a->n_q, position = r ? gqa_position(c, g, b, s) : 0;
        for (int64_t h = 0; r && h < a->n_heads; ++h)
            HONE_TRY(rotate(c, r, position, a->size,
                            g->q + b * g->q_at.b + h * g->q_at.h + s * g->q_at.s,
                            g->q_rotated + (i * a->n_heads + h) * a->size));
        for (int64_t h = 0; h < a->n_kv_heads; ++h) {
            int64_t from = b * g->k_at.b + h * g->k_at.h + s * g->k_at.s;
            int64_t to = ((b * a->n_kv_heads + h) * g->total + g->before[b] + s) * a->size;
            if (r)
                HONE_TRY(rotate(c, r, position, a->size, g->k + from, g->present_k + to));
            else if (row)
                memcpy(g->present_k + to, g->k + from, row);
            if (row)
                memcpy(g->present_v + to, g->v + from, row);
        }
    }
    return HONE_OK;
}

static void gqa_copy_past(const gqa *g, const float *past, float *present) {
    const hone_attend *a = &g->a;
    memset(present, 0, (size_t)(a->n_batch * a->n_kv_heads * g->total * a->size) * sizeof *present);
    for (int64_t i = 0; past && i < a->n_batch * a->n_kv_heads; ++i) {
        size_t bytes = (size_t)(g->before[i / a->n_kv_heads] * a->size) * sizeof *present;
        if (bytes)
            memcpy(present + i * g->total * a->size, past + i * g->n_past * a->size, bytes);
    }
}

static hone_status gqa_cache(hone_op_ctx *c, gqa *g) {
    bool ok = true;
    int64_t n = g->a.n_batch * g->a.n_kv_heads * g->total;
    float *to[2];
    for (int i = 0; i < 2; ++i) {
        const float *past = hone_op_widen(c, hone_in(c, GQA_PAST_K + i), HONE_DTYPE_F32, &ok);
        hone_tensor *present = hone_out(c, 1 + i);
        to[i] = present ? hone_op_wide_out(c, present, HONE_DTYPE_F32, &ok)
                        : hone_op_array(c, n, sizeof(float) * (size_t)g->a.size);
        if (!ok || !to[i])
            return HONE_E_NOMEM;
        gqa_copy_past(g, past, to[i]);
    }
    g->present_k = to[0];
    g->present_v = to[1];
    return HONE_OK;
}

static hone_status gqa_softmax(hone_op_ctx *c, hone_attend *a) {
    const hone_tensor *bias = hone_in(c, GQA_BIAS), *sink = hone_in(c, GQA_SINK);
    bool ok = true;
    int64_t window = hone_attr_int(c->node, "local_window_size", -1);
    float scale = hone_attr_float(c->node, "scale", 0);
    a->scale = scale == 0 ? 1 / sqrt((double)a->size) : (double)scale;
    a->softcap = (double)hone_attr_float(c->node, "softcap", 0);
    a->causal = true;
    a->left = window > 0 && window < INT32_MAX ? window - 1 : -1;
    a->right = -1;
    if (bias) {
        int64_t full[4] = {a->n_batch, a->n_heads, a->n_q, a->n_kv};
        HONE_TRY(hone_attend_mask_dims(c, bias, full, true, a->mask_at));
        a->mask = hone_op_widen(c, bias, HONE_DTYPE_F32, &ok);
        a->mask_keys = bias->dims[bias->rank - 1];
    }
    if (sink && hone_tensor_count(sink) != a->n_heads)
        return hone_op_fail(c, HONE_E_SHAPE, "head_sink must have one element a head");
    a->sink = hone_op_widen(c, sink, HONE_DTYPE_F32, &ok);
    if (!sink && hone_attr_int(c->node, "smooth_softmax", 0) == 1) {
        float *zero = hone_op_array(c, a->n_heads, sizeof *zero);
        ok = ok && zero;
        for (int64_t h = 0; zero && h < a->n_heads; ++h)
            zero[h] = 0;
        a->sink = zero;
    }
    return ok ? HONE_OK : HONE_E_NOMEM;
}

hone_status hone_ref_ms_gqa(hone_op_ctx *c) {
    gqa g = {0};
    rope r;
    bool ok = true, turn = hone_attr_int(c->node, "do_rotary", 0) != 0;
    HONE_TRY(gqa_operands(c, &g));
    HONE_TRY(gqa_lengths(c, &g));
    HONE_TRY(gqa_cache(c, &g));
    hone_attend *a = &g.a;
    if (turn) {
        HONE_TRY(set_rope(c, GQA_COS, hone_attr_int(c->node, "rotary_interleaved", 0) != 0, a->size,
                          &r));
        g.q_rotated =
            hone_op_array(c, a->n_batch * a->n_q * a->n_heads, sizeof(float) * (size_t)a->size);
        if (!g.q_rotated)
            return HONE_E_NOMEM;
        const hone_tensor *p = hone_in(c, GQA_POSITIONS);
        if (p && hone_tensor_count(p) != a->n_batch * a->n_q)
            return hone_op_fail(c, HONE_E_SHAPE, "position_ids must be [batch, sequence]");
    }
    HONE_TRY(gqa_tokens(c, &g, turn ? &r : NULL));
    hone_op_narrow(hone_out(c, 1), HONE_DTYPE_F32, g.present_k);
    hone_op_narrow(hone_out(c, 2), HONE_DTYPE_F32, g.present_v);
    a->q = turn ? g.q_rotated : g.q;
    a->q_at = turn ? hone_bhs_bsnh(a->n_heads, a->n_q, a->size) : g.q_at;
    a->k = g.present_k;
    a->v = g.present_v;
    a->n_kv = g.total;
    a->k_at = a->v_at = hone_bhs_bnsh(a->n_kv_heads, g.total, a->size);
    a->offset = g.before;
    a->y = hone_op_wide_out(c, c->out[0], HONE_DTYPE_F32, &ok);
    a->y_at = hone_bhs_bsnh(a->n_heads, a->n_q, a->size);
    HONE_TRY(gqa_softmax(c, a));
    if (!ok)
        return HONE_E_NOMEM;
    HONE_TRY(hone_attend_run(c, a, HONE_DTYPE_F32));
    hone_op_narrow(c->out[0], HONE_DTYPE_F32, a->y);
    return HONE_OK;
}
