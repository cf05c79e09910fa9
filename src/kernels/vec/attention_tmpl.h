/* Attention: see kernels/attention.h. */
#include <math.h>

#include "kernels/attention.h"

enum {
    AT_NQ = HONE_ATTENTION_Q_BLOCK,
    AT_NK = HONE_ATTENTION_KV_BLOCK,
    AT_LDS = AT_NK + 16,
    AT_STEP = 4
};

/* One block of queries of one head. */
typedef struct at_state {
    const hone_attention *p;
    const char *k, *v;
    int64_t elem; /* bytes of an element of q, k, v and y */
    int64_t batch, head, q_first, n_rows, offset, n_keys, ldq, ldo;
    float *q, *kt, *vp, *s, *o, *top, *sum, *wide;
} at_state;

/* Keys [*lo, *hi) that query row i of the block may see. */
static void at_range(const at_state *st, int64_t i, int64_t *lo, int64_t *hi) {
    const hone_attention *p = st->p;
    int64_t at = st->q_first + i + st->offset;
    *lo = p->left >= 0 && at - p->left > 0 ? at - p->left : 0;
    *hi = st->n_keys;
    if (p->causal && at + 1 < *hi)
        *hi = at + 1;
    if (p->right >= 0 && at + p->right + 1 < *hi)
        *hi = at + p->right + 1;
    if (*hi < 0)
        *hi = 0;
    if (*lo > *hi)
        *lo = *hi;
}

static void at_softcap(float *s, int64_t n, float cap) {
    const vf c = vf_set1(cap), inv = vf_set1(1.0f / cap);
    int64_t j = 0;
    for (; j + VW <= n; j += VW)
        vf_store(s + j, vf_mul(c, vf_tanh(vf_mul(vf_load(s + j), inv))));
    for (; j < n; ++j)
        s[j] = cap * tanhf(s[j] * (1.0f / cap));
}

/* Where the mask of row i and key `first` lies. */
static int64_t at_mask_at(const at_state *st, int64_t i, int64_t first) {
    const int64_t *at = st->p->mask_at;
    return st->batch * at[0] + st->head * at[1] + (st->q_first + i) * at[2] + first * at[3];
}

static void at_mask(const at_state *st, int64_t i, int64_t first, int64_t n, float *s) {
    const hone_attention *p = st->p;
    const float hidden = -__builtin_inff();
    const int64_t step = p->mask_at[3], at = at_mask_at(st, i, first);
    if (p->mask) {
        const float *m = p->mask + at;
        for (int64_t j = 0; j < n; ++j)
            s[j] = m[j * step] == hidden ? hidden : s[j] + m[j * step];
    } else if (p->mask_bool) {
        const uint8_t *m = p->mask_bool + at;
        for (int64_t j = 0; j < n; ++j)
            s[j] = m[j * step] ? s[j] : hidden;
    }
}

/* s = s factor + m, -infinity where m is; returns the largest. m NULL: 0. */
VEC_INLINE float at_scores_plain(float *s, const float *m, int64_t n, float factor) {
    const float hidden = -__builtin_inff();
    const vf f = vf_set1(factor), h = vf_set1(hidden);
    vf top = h;
    int64_t j = 0;
    for (; j + VW <= n; j += VW) {
        vf v = vf_mul(vf_load(s + j), f);
        if (m) {
            vf add = vf_load(m + j);
            v = vf_sel(vf_eq(add, h), h, vf_add(v, add));
        }
        vf_store(s + j, v);
        top = red_step(HONE_REDUCE_MAX, top, v);
    }
    for (int64_t k = j; k < n; ++k)
        s[k] = m && m[k] == hidden ? hidden : s[k] * factor + (m ? m[k] : 0.0f);
    if (j < n)
        top = red_tail(HONE_REDUCE_MAX, top, s + j, n - j);
    return red_lanes(HONE_REDUCE_MAX, top);
}

/* Scores of row i against keys [first, first + n) times factor, masked; returns the largest. */
static float at_scores(const at_state *st, int64_t i, int64_t first, int64_t n, float factor) {
    const hone_attention *p = st->p;
    const float hidden = -__builtin_inff();
    float *s = st->s + i * AT_LDS;
    int64_t lo, hi;
    at_range(st, i, &lo, &hi);
    const bool is_seen = lo <= first && hi >= first + n;
    if (is_seen && p->softcap <= 0 && !p->mask && !p->mask_bool)
        return at_scores_plain(s, NULL, n, factor);
    if (is_seen && p->softcap <= 0 && p->mask && p->mask_at[3] == 1)
        return at_scores_plain(s, p->mask + at_mask_at(st, i, first), n, factor);
    softmax_affine(s, s, n, factor, 0.0f);
    if (p->softcap > 0)
        at_softcap(s, n, p->softcap);
    at_mask(st, i, first, n, s);
    for (int64_t j = 0; j < n && first + j < lo; ++j)
        s[j] = hidden;
    for (int64_t j = hi > first ? hi - first : 0; j < n; ++j)
        s[j] = hidden;
    return red_row(HONE_REDUCE_MAX, s, n);
}

/* Takes the largest of new scores into row i's running maximum; sum and output row are rescaled
 * when it grows. False while no key has been seen. */
static bool at_raise(at_state *st, int64_t i, float top) {
    const float hidden = -__builtin_inff(), old = st->top[i];
    if (old >= top)
        return old != hidden;
    st->top[i] = top;
    if (old != hidden) {
        float shrink = expf(old - top);
        st->sum[i] *= shrink;
        softmax_affine(st->o + i * st->ldo, st->o + i * st->ldo, st->p->v_size, shrink, 0.0f);
    }
    return true;
}

/* Scores of row i against keys [first, first + n) become weights relative to the running maximum.
 */
static void at_row(at_state *st, int64_t i, int64_t first, int64_t n) {
    float *s = st->s + i * AT_LDS;
    if (at_raise(st, i, at_scores(st, i, first, n, 1.0f)))
        st->sum[i] += softmax_exp(s, s, n, st->top[i]);
    else
        memset(s, 0, (size_t)n * sizeof *s);
}

static float at_dot(const float *a, const float *b, int64_t n) {
    vf s = vf_set1(0.0f);
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        s = vf_fma(vf_load(a + i), vf_load(b + i), s);
    if (i < n)
        s = vf_fma(vf_load_n(a + i, n - i), vf_load_n(b + i, n - i), s);
    return vf_hsum(s);
}

/* y += f[0] x[0] + f[1] x[1] + ... in this order, over n_rows rows of x at `stride`. */
VEC_INLINE void at_axpy(int n_rows, const float *f, const float *x, int64_t stride, float *y,
                        int64_t n) {
    for (int64_t i = 0; i < n; i += VW) {
        int64_t lanes = n - i;
        vf sum = lanes < VW ? vf_load_n(y + i, lanes) : vf_load(y + i);
#pragma GCC unroll 8
        for (int r = 0; r < n_rows; ++r) {
            const float *p = x + r * stride + i;
            sum = vf_fma(vf_set1(f[r]), lanes < VW ? vf_load_n(p, lanes) : vf_load(p), sum);
        }
        if (lanes < VW)
            vf_store_n(y + i, sum, lanes);
        else
            vf_store(y + i, sum);
    }
}

/* Few queries (decoding): read keys and values in place. */
static void at_block_thin(at_state *st, int64_t first, int64_t n) {
    const hone_attention *p = st->p;
    const float *k = (const float *)(const void *)st->k + first * p->k_at[2];
    const float *v = (const float *)(const void *)st->v + first * p->v_at[2];
    for (int64_t i = 0; i < st->n_rows; ++i) {
        float *s = st->s + i * AT_LDS;
        for (int64_t j = 0; j < n; ++j)
            s[j] = at_dot(st->q + i * st->ldq, k + j * p->k_at[2], p->size);
        at_row(st, i, first, n);
        float *o = st->o + i * st->ldo;
        int64_t j = 0;
        for (; j + 8 <= n; j += 8)
            at_axpy(8, s + j, v + j * p->v_at[2], p->v_at[2], o, p->v_size);
        for (; j < n; ++j)
            at_axpy(1, s + j, v + j * p->v_at[2], p->v_at[2], o, p->v_size);
    }
}

/* Rows [first, first + n) of keys or values as floats, and their stride. */
static const float *at_rows(const at_state *st, const char *x, int64_t first, int64_t n,
                            int64_t size, int64_t step, int64_t *stride) {
    const char *from = x + first * step * st->elem;
    *stride = step;
    if (!st->p->is_bf16)
        return (const float *)(const void *)from;
    *stride = size;
    for (int64_t i = 0; i < n; ++i)
        ew_widen((const uint16_t *)(const void *)(from + i * step * st->elem), size,
                 st->wide + i * size);
    return st->wide;
}

static void at_block(at_state *st, int64_t first, int64_t n) {
    const hone_attention *p = st->p;
    int64_t stride;
    const float *k = at_rows(st, st->k, first, n, p->size, p->k_at[2], &stride);
    mm_pack_transposed(k, n, p->size, stride, st->kt);
    mm_run(st->n_rows, n, p->size, st->q, st->ldq, st->kt, st->s, AT_LDS, false);
    for (int64_t i = 0; i < st->n_rows; ++i)
        at_row(st, i, first, n);
    const float *v = at_rows(st, st->v, first, n, p->v_size, p->v_at[2], &stride);
    mm_pack(v, n, p->v_size, stride, st->vp);
    mm_run(st->n_rows, p->v_size, n, st->s, AT_LDS, st->vp, st->o, st->ldo, true);
}

#ifdef VEC_HAS_DOT
#include "attention_dot_tmpl.h"
#endif

/* By pairs of BF16? */
static bool at_is_dot(const hone_attention *p) {
#ifdef VEC_HAS_DOT
    return p->is_bf16 && p->size % 2 == 0;
#else
    (void)p;
    return false;
#endif
}

static int64_t at_round(int64_t n) {
    return (n + 31) / 32 * 32;
}

static void at_begin(at_state *st, int64_t task, float *scratch) {
    const hone_attention *p = st->p;
    int64_t blocks = hone_attention_blocks(p), block = task % blocks;
    /* Equal blocks, in steps of the rows that products take at a time. */
    int64_t steps = (p->n_q + AT_STEP - 1) / AT_STEP, end = steps * (block + 1) / blocks * AT_STEP;
    st->head = task / blocks % p->n_heads;
    st->batch = task / blocks / p->n_heads;
    st->q_first = steps * block / blocks * AT_STEP;
    st->n_rows = (end < p->n_q ? end : p->n_q) - st->q_first;
    st->offset = p->offset ? p->offset[st->batch] : 0;
    st->n_keys = p->n_keys ? p->n_keys[st->batch] : p->n_kv;
    st->ldq = at_round(p->size) + 16;
    st->ldo = at_round(p->v_size) + 16;
    int64_t kv_head = st->head / (p->n_heads / p->n_kv_heads);
    st->elem = p->is_bf16 ? 2 : 4;
    st->k = (const char *)p->k + (st->batch * p->k_at[0] + kv_head * p->k_at[1]) * st->elem;
    st->v = (const char *)p->v + (st->batch * p->v_at[0] + kv_head * p->v_at[1]) * st->elem;
    st->q = scratch;
    st->kt = st->q + AT_NQ * st->ldq;
    st->vp = st->kt + AT_NK * at_round(p->size);
    st->s = st->vp + AT_NK * at_round(p->v_size);
    st->o = st->s + AT_NQ * AT_LDS;
    st->top = st->o + AT_NQ * st->ldo;
    st->sum = st->top + AT_NQ;
    st->wide = st->sum + AT_NQ;
    const char *q =
        (const char *)p->q + (st->batch * p->q_at[0] + st->head * p->q_at[1]) * st->elem;
    for (int64_t i = 0; i < st->n_rows; ++i) {
        const void *from = q + (st->q_first + i) * p->q_at[2] * st->elem;
        float *row = st->q + i * st->ldq;
        if (p->is_bf16 && !at_is_dot(p))
            ew_widen(from, p->size, row);
        if (!at_is_dot(p))
            softmax_affine(p->is_bf16 ? row : from, row, p->size, p->scale, 0.0f);
        for (int64_t j = 0; j < st->ldo; ++j)
            st->o[i * st->ldo + j] = 0;
        st->top[i] = -__builtin_inff();
        st->sum[i] = 0;
    }
}

static void at_finish(const at_state *st) {
    const hone_attention *p = st->p;
    char *y = (char *)p->y + (st->batch * p->y_at[0] + st->head * p->y_at[1]) * st->elem;
    for (int64_t i = 0; i < st->n_rows; ++i) {
        float factor = st->sum[i] == 0 ? 0.0f : 1.0f / st->sum[i];
        float *o = st->o + i * st->ldo;
        void *to = y + (st->q_first + i) * p->y_at[2] * st->elem;
        softmax_affine(o, p->is_bf16 ? o : to, p->v_size, factor, 0.0f);
        if (p->is_bf16)
            ew_narrow(o, p->v_size, to);
    }
}

static void attention_run(const hone_attention *p, int64_t begin, int64_t end, void *scratch) {
    for (int64_t task = begin; task < end; ++task) {
        at_state st = {.p = p};
        int64_t lo, hi, unused;
        at_begin(&st, task, scratch);
        at_range(&st, 0, &lo, &unused);
        at_range(&st, st.n_rows - 1, &unused, &hi);
        for (int64_t first = lo / AT_NK * AT_NK; first < hi; first += AT_NK) {
            int64_t n = hi - first < AT_NK ? hi - first : AT_NK;
#ifdef VEC_HAS_DOT
            if (at_is_dot(p)) {
                at_block_dot(&st, first, n);
                continue;
            }
#endif
            if (st.n_rows <= 2 && !p->is_bf16)
                at_block_thin(&st, first, n);
            else
                at_block(&st, first, n);
        }
        at_finish(&st);
    }
}
