/* Scaled dot-product attention in one pass over blocks of keys with online softmax
 * (FlashAttention-2, arXiv 2307.08691): softmax(softcap(scale q k^T) + mask) v. */
#ifndef HONE_KERNELS_ATTENTION_H
#define HONE_KERNELS_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HONE_ATTENTION_Q_BLOCK = 128, HONE_ATTENTION_KV_BLOCK = 128 };

/* Strides are in elements, of [batch, head, position]; sizes within a row are contiguous. Query
 * head h reads key and value head h / (n_heads / n_kv_heads). */
typedef struct hone_attention {
    int64_t n_batch, n_heads, n_kv_heads, n_q, n_kv, size, v_size;
    const void *q, *k, *v; /* floats, or BF16 when is_bf16 */
    void *y;               /* as q; overlaps nothing */
    bool is_bf16;          /* scores and sums are FP32 */
    int64_t q_at[3], k_at[3], v_at[3], y_at[3];
    float scale, softcap; /* softcap 0: none */
    /* [batch, head, query, key] strides, 0: broadcast; at most one of the two masks is set. */
    const float *mask;        /* added; -infinity hides a key */
    const uint8_t *mask_bool; /* 0 hides a key */
    int64_t mask_at[4];
    bool causal;           /* key j is visible to query i when j <= i + offset */
    int64_t left, right;   /* window around i + offset; -1: open */
    const int64_t *offset; /* of each batch element; NULL: 0 */
    const int64_t *n_keys; /* valid keys of each batch element; NULL: n_kv */
} hone_attention;

/** Blocks of queries of a head: each of them packs all keys and values. */
static inline int64_t hone_attention_blocks(const hone_attention *p) {
    return (p->n_q + HONE_ATTENTION_Q_BLOCK - 1) / HONE_ATTENTION_Q_BLOCK;
}
static inline int64_t hone_attention_tasks(const hone_attention *p) {
    return p->n_batch * p->n_heads * hone_attention_blocks(p);
}
/** Scratch for one thread, 64-byte aligned. Valid for every ISA. */
size_t hone_attention_scratch_bytes(const hone_attention *p);

/** Tasks [begin, end): (batch, head, block of queries). A query that sees no key gives 0. A NaN
 * among the scores a query sees gives NaN. Error about 2e-6 of the largest |v|. Values of hidden
 * keys must be finite, those of keys from n_keys on are not read. */
typedef void hone_attention_fn(const hone_attention *p, int64_t begin, int64_t end, void *scratch);

#endif
