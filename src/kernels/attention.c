#include "kernels/attention.h"

/* Panels are padded to at most 32 columns, rows of blocks by 16 more against cache-set conflicts.
 */
static size_t padded(int64_t n) {
    return ((size_t)n + 31) / 32 * 32;
}

size_t hone_attention_scratch_bytes(const hone_attention *p) {
    const size_t nq = HONE_ATTENTION_Q_BLOCK, nk = HONE_ATTENTION_KV_BLOCK;
    size_t size = padded(p->size), v_size = padded(p->v_size);
    size_t n = nq * (size + 16) + nk * size + nk * v_size + nq * (nk + 16) + nq * (v_size + 16);
    n += p->is_bf16 ? nk * (size > v_size ? size : v_size) : 0;
    return (n + 2 * nq) * sizeof(float);
}
