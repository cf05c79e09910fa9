/* Attention without past state on the blocked kernel with online softmax. */
#include <math.h>
#include <string.h>

#include "backend/cpu/impl.h"

enum { IN_Q, IN_K, IN_V, IN_MASK, IN_PAST_K, IN_PAST_V, IN_LENGTHS };

typedef struct attention_state {
    hone_attention p;
    int64_t offset[3]; /* of q, k and v in what they are views of */
    int64_t n_tasks;
    size_t scratch_bytes; /* of one thread */
    hone_attention_fn *fn;
    bool has_mask, is_mask_bool;
} attention_state;

/* Sizes and strides of [batch, heads, positions, size], or of [batch, positions, heads * size]. */
static bool split(const hone_type *t, int64_t heads, int64_t dims[4], int64_t at[3]) {
    if (t->rank == 4) {
        memcpy(dims, t->dims, 4 * sizeof *dims);
        at[0] = dims[1] * dims[2] * dims[3];
        at[1] = dims[2] * dims[3];
        at[2] = dims[3];
        return true;
    }
    if (t->rank != 3 || heads <= 0 || t->dims[2] % heads)
        return false;
    dims[0] = t->dims[0];
    dims[1] = heads;
    dims[2] = t->dims[1];
    dims[3] = t->dims[2] / heads;
    at[0] = t->dims[1] * t->dims[2];
    at[1] = dims[3];
    at[2] = t->dims[2];
    return true;
}

/* The same from a view attribute [offset, dims, strides]; false when it leaves the tensor. */
static bool read_view(const hone_node *n, const char *name, const hone_type *t, int64_t dims[4],
                      int64_t at[3], int64_t *offset) {
    const int64_t *v;
    if (hone_attr_ints(n, name, &v) != 8 || v[0] < 0)
        return false;
    memcpy(dims, v + 1, 4 * sizeof *dims);
    memcpy(at, v + 5, 3 * sizeof *at);
    int64_t end = v[0];
    for (int i = 0; i < 4; ++i) {
        int64_t step = i < 3 ? at[i] : 1, reach;
        if (dims[i] < 1 || step < 0 || __builtin_mul_overflow(dims[i] - 1, step, &reach) ||
            __builtin_add_overflow(end, reach, &end))
            return false;
    }
    *offset = v[0];
    return end < hone_count(t);
}

/* Where the operands lie: views of the inputs, or the inputs. */
static hone_status read_operands(hone_prepare_ctx *c, attention_state *s, int64_t dims[4][4]) {
    static const char *const names[] = {"q_view", "k_view", "v_view", "y_view"};
    const hone_node *n = c->node;
    hone_attention *p = &s->p;
    int64_t *at[4] = {p->q_at, p->k_at, p->v_at, p->y_at}, none;
    const hone_type *t[4] = {&c->in[IN_Q], &c->in[IN_K], &c->in[IN_V], &c->out[0]};
    int64_t q_heads = hone_attr_int(n, "q_num_heads", 0),
            kv_heads = hone_attr_int(n, "kv_num_heads", 0);
    bool is_lowered = strcmp(n->domain, "hone") == 0, ok = true;
    for (int i = 0; i < 4; ++i) {
        int64_t heads = i == 0 || i == 3 ? q_heads : kv_heads;
        ok = ok && (is_lowered ? read_view(n, names[i], t[i], dims[i], at[i],
                                           i < 3 ? &s->offset[i] : &none)
                               : split(t[i], heads, dims[i], at[i]));
    }
    HONE_REJECT_IF(!ok && !is_lowered, "the inputs' shapes");
    const int64_t *q = dims[0], *k = dims[1], *v = dims[2], *y = dims[3];
    if (!ok || (is_lowered && (q[0] != k[0] || q[0] != v[0] || k[1] != v[1] || k[1] < 1 ||
                               q[1] % k[1] || q[3] != k[3] || k[2] != v[2] || y[0] != q[0] ||
                               y[1] != q[1] || y[2] != q[2] || y[3] != v[3])))
        return hone_fail(c->err, HONE_E_FORMAT, "the attention's views do not fit");
    return HONE_OK;
}

static bool is_given(const hone_prepare_ctx *c, int i) {
    return i < c->n_in && c->node->in[i];
}

/* A mask that broadcasts to [batch, heads, queries, keys]. */
static hone_status set_mask(hone_prepare_ctx *c, attention_state *s) {
    if (!is_given(c, IN_MASK))
        return HONE_OK;
    const hone_type *t = &c->in[IN_MASK];
    const hone_attention *p = &s->p;
    const int64_t want[4] = {p->n_batch, p->n_heads, p->n_q, p->n_kv};
    int64_t step = 1;
    s->has_mask = true;
    s->is_mask_bool = t->dtype == HONE_DTYPE_BOOL;
    HONE_REJECT_IF(t->rank > 4 || (!s->is_mask_bool && !hone_is_f32(t)),
                   "the mask is of another type");
    for (int i = 3; i >= 0; --i) {
        int k = i - (4 - t->rank);
        int64_t dim = k < 0 ? 1 : t->dims[k];
        HONE_REJECT_IF(dim != 1 && dim != want[i], "the mask does not cover the keys");
        s->p.mask_at[i] = dim == 1 ? 0 : step;
        step *= dim;
    }
    return HONE_OK;
}

hone_status hone_prepare_attention(hone_prepare_ctx *c, void **state) {
    attention_state *s = HONE_NEW(c->arena, attention_state);
    const hone_node *n = c->node;
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    hone_attention *p = &s->p;
    const hone_dtype dtype = c->in[IN_Q].dtype;
    HONE_REJECT_IF((!hone_is_f32(&c->in[IN_Q]) && !hone_is_bf16(&c->in[IN_Q])) ||
                       c->in[IN_K].dtype != dtype || c->in[IN_V].dtype != dtype,
                   "neither float32 nor bfloat16");
    HONE_REJECT_IF(is_given(c, IN_PAST_K) || is_given(c, IN_PAST_V) || is_given(c, IN_LENGTHS),
                   "past state or key lengths");
    for (int i = 1; i < c->n_out; ++i)
        HONE_REJECT_IF(n->out[i], "more than one output");
    HONE_REJECT_IF(hone_attr_int(n, "softmax_precision", HONE_DTYPE_F32) != HONE_DTYPE_F32,
                   "softmax in another precision");
    int64_t dims[4][4], *q = dims[0], *k = dims[1], *v = dims[2];
    HONE_REJECT_IF(hone_count(&c->out[0]) == 0 || hone_count(&c->in[IN_K]) == 0, "empty");
    HONE_TRY(read_operands(c, s, dims));
    *p = (hone_attention){
        .n_batch = q[0],
        .n_heads = q[1],
        .n_kv_heads = k[1],
        .n_q = q[2],
        .n_kv = k[2],
        .size = q[3],
        .v_size = v[3],
        .is_bf16 = dtype == HONE_DTYPE_BF16,
        .q_at = {p->q_at[0], p->q_at[1], p->q_at[2]},
        .k_at = {p->k_at[0], p->k_at[1], p->k_at[2]},
        .v_at = {p->v_at[0], p->v_at[1], p->v_at[2]},
        .y_at = {p->y_at[0], p->y_at[1], p->y_at[2]},
        .softcap = hone_attr_float(n, "softcap", 0),
        .causal = hone_attr_int(n, "is_causal", 0) != 0,
        .left = hone_attr_int(n, "left_window_size", -1),
        .right = hone_attr_int(n, "right_window_size", -1),
    };
    p->scale = hone_attr_float(n, "scale", 1.0f / sqrtf((float)q[3]));
    HONE_TRY(set_mask(c, s));
    s->fn = hone_vec()->attention;
    s->n_tasks = hone_attention_tasks(p);
    s->scratch_bytes = (hone_attention_scratch_bytes(p) + 63) / 64 * 64;
    c->scratch_bytes = s->scratch_bytes * (size_t)c->n_threads + 64;
    *state = s;
    return HONE_OK;
}

typedef struct attention_job {
    attention_state s;
    unsigned char *scratch;
} attention_job;

static void attention_range(void *arg, int64_t begin, int64_t end, int worker) {
    attention_job *j = arg;
    j->s.fn(&j->s.p, begin, end, j->scratch + (size_t)worker * j->s.scratch_bytes);
}

static const void *operand(const hone_op_ctx *c, const attention_state *s, int i) {
    size_t element = s->p.is_bf16 ? sizeof(uint16_t) : sizeof(float);
    return (const char *)hone_in(c, i)->data + (size_t)s->offset[i] * element;
}

hone_status hone_run_attention(hone_op_ctx *c) {
    attention_job j = {.s = *(const attention_state *)c->state};
    hone_attention *p = &j.s.p;
    p->q = operand(c, &j.s, IN_Q);
    p->k = operand(c, &j.s, IN_K);
    p->v = operand(c, &j.s, IN_V);
    p->y = hone_out(c, 0)->data;
    if (j.s.has_mask && j.s.is_mask_bool)
        p->mask_bool = hone_in(c, IN_MASK)->data;
    else if (j.s.has_mask)
        p->mask = hone_in(c, IN_MASK)->data;
    j.scratch = hone_op_scratch(c, j.s.scratch_bytes * (size_t)hone_pool_threads(c->pool) + 64);
    if (!j.scratch)
        return HONE_E_NOMEM;
    hone_parallel_range(c->pool, j.s.n_tasks, 1, attention_range, &j);
    return HONE_OK;
}
