/* Scaled dot-product attention over strided float or double arrays: the core of the ONNX and
 * com.microsoft attention operators. */
#ifndef HONE_OPS_ATTEND_H
#define HONE_OPS_ATTEND_H

#include "ops/dense.h"

/* Element strides of a [batch, head, sequence, size] array whose last axis is contiguous. */
typedef struct hone_bhs {
    int64_t b, h, s;
} hone_bhs;

static inline hone_bhs hone_bhs_bnsh(int64_t heads, int64_t seq, int64_t size) {
    return (hone_bhs){heads * seq * size, seq * size, size};
}
static inline hone_bhs hone_bhs_bsnh(int64_t heads, int64_t seq, int64_t size) {
    return (hone_bhs){seq * heads * size, size, heads * size};
}

typedef struct hone_attend {
    int64_t n_batch, n_heads, n_kv_heads, n_q, n_kv, size, v_size;
    const void *q, *k, *v;
    void *y; /* NULL: only the scores are wanted */
    hone_bhs q_at, k_at, v_at, y_at;
    double scale, softcap; /* softcap 0: none */
    /* Added to the scores: [batch, head, query, key] with strides, 0 for an axis that is
     * broadcast; keys from mask_keys on are masked. */
    const void *mask;
    int64_t mask_at[4], mask_keys;
    const void *bias; /* a second term of full key length, or NULL */
    int64_t bias_at[4];
    bool causal;           /* key j is visible to query i when j <= i + offset */
    int64_t left, right;   /* window around i + offset; -1: open */
    const int64_t *offset; /* of each batch element; NULL: 0 */
    const int64_t *n_keys; /* valid keys of each batch element; NULL: all */
    const int64_t *first;  /* first valid key of each batch element; NULL: 0 */
    const float *sink;     /* one more logit a head in the softmax's sum; NULL: none */
    void *qk;              /* scores of every pair [batch, head, query, key], or NULL */
    int qk_mode;           /* 0 raw, 1 capped, 2 with mask, 3 probabilities */
} hone_attend;

/** All pointers are float (real F32) or double (F64) arrays. Needs scratch of n_kv elements a
 * thread. */
hone_status hone_attend_run(hone_op_ctx *c, const hone_attend *a, hone_dtype real);

/** n elements of a boolean or numeric mask as an additive `real` array (false: -infinity); NULL
 * when t is NULL. */
const void *hone_attend_mask(hone_op_ctx *c, const hone_tensor *t, hone_dtype real, bool *ok);
/** Strides of a mask whose dims broadcast, right-aligned, to [batch, head, query, key]; fails when
 * they do not. The key axis may be shorter when `short_keys`. */
hone_status hone_attend_mask_dims(hone_op_ctx *c, const hone_tensor *t, const int64_t full[4],
                                  bool short_keys, int64_t at[4]);
/** to[b][h][0..n_past+n_new) = past [b][h][0..n_past) then new; `to` and `past` are BNSH. */
void hone_attend_concat(hone_dtype real, int64_t n_batch, int64_t n_heads, int64_t size,
                        const void *past, int64_t n_past, const void *fresh, hone_bhs fresh_at,
                        int64_t n_new, void *to);

/** Rotary position embedding of one head: pairs (i, i + n/2), or (2i, 2i + 1) when interleaved, of
 * the first n elements are rotated; y may be x. */
void hone_rope_f32(const float *x, const float *cos_row, const float *sin_row, int64_t n,
                   bool interleaved, float *y);

#endif
