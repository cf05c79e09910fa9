/* Attention against a double reference. */
#include "vec_test.h"

typedef struct shape {
    int64_t batch, heads, kv_heads, n_q, n_kv, size, v_size;
} shape;

enum {
    MASK_F32 = 1,
    MASK_BOOL = 2,
    CAUSAL = 4,
    SOFTCAP = 8,
    WINDOW = 16,
    PACKED = 32,
    LENGTHS = 64
};

static double score(const hone_attention *p, int64_t b, int64_t h, int64_t i, int64_t j) {
    const float *q = (const float *)p->q + b * p->q_at[0] + h * p->q_at[1] + i * p->q_at[2];
    int64_t g = h / (p->n_heads / p->n_kv_heads), at = i + (p->offset ? p->offset[b] : 0);
    const float *k = (const float *)p->k + b * p->k_at[0] + g * p->k_at[1] + j * p->k_at[2];
    int64_t m = b * p->mask_at[0] + h * p->mask_at[1] + i * p->mask_at[2] + j * p->mask_at[3];
    double s = 0;
    if ((p->n_keys && j >= p->n_keys[b]) || (p->causal && j > at) ||
        (p->left >= 0 && j < at - p->left) || (p->right >= 0 && j > at + p->right) ||
        (p->mask_bool && !p->mask_bool[m]))
        return -INFINITY;
    for (int64_t d = 0; d < p->size; ++d)
        s += (double)q[d] * k[d];
    s *= p->scale;
    if (p->softcap > 0)
        s = p->softcap * tanh(s / p->softcap);
    return p->mask ? s + p->mask[m] : s;
}

static void check_row(const hone_attention *p, int64_t b, int64_t h, int64_t i, const char *isa) {
    double s[1024], top = -INFINITY, sum = 0, want[300];
    int64_t g = h / (p->n_heads / p->n_kv_heads);
    for (int64_t j = 0; j < p->n_kv; ++j)
        top = fmax(top, s[j] = score(p, b, h, i, j));
    for (int64_t d = 0; d < p->v_size; ++d)
        want[d] = 0;
    for (int64_t j = 0; j < p->n_kv && top > -INFINITY; ++j) {
        double w = exp(s[j] - top);
        sum += w;
        for (int64_t d = 0; d < p->v_size; ++d)
            want[d] += w * ((const float *)p->v)[b * p->v_at[0] + g * p->v_at[1] + j * p->v_at[2] + d];
    }
    for (int64_t d = 0; d < p->v_size; ++d)
        want[d] = sum > 0 ? want[d] / sum : 0;
    check_close((const float *)p->y + b * p->y_at[0] + h * p->y_at[1] + i * p->y_at[2], want, p->v_size, 3e-6,
                "attention", isa);
}

static void strides(int64_t at[3], bool packed, int64_t heads, int64_t n, int64_t size) {
    at[0] = heads * n * size;
    at[1] = packed ? size : n * size;
    at[2] = packed ? heads * size : size;
}

static void test_attention(const hone_vec_kernels *k, const char *isa, shape s, int mode) {
    int64_t n_mask = s.heads * s.n_q * s.n_kv, lengths[2], offset[2] = {s.n_kv - s.n_q, 3};
    float *q = random_array(s.batch * s.heads * s.n_q * s.size, -1, 1);
    float *kk = random_array(s.batch * s.kv_heads * s.n_kv * s.size, -1, 1);
    float *v = random_array(s.batch * s.kv_heads * s.n_kv * s.v_size, -1, 1);
    float *mask = random_array(n_mask, -2, 2);
    uint8_t *bools = malloc((size_t)n_mask + 1);
    guarded y = guarded_new((size_t)(s.batch * s.heads * s.n_q * s.v_size) * 4);
    if (!bools)
        exit(2);
    for (int64_t i = 0; i < n_mask; ++i) {
        bools[i] = (random_u32() & 3) != 0 && i % (s.n_q * s.n_kv) >= s.n_kv; /* row 0 is hidden */
        if ((random_u32() & 7) == 0)
            mask[i] = -INFINITY;
    }
    hone_attention p = {.n_batch = s.batch,
                        .n_heads = s.heads,
                        .n_kv_heads = s.kv_heads,
                        .n_q = s.n_q,
                        .n_kv = s.n_kv,
                        .size = s.size,
                        .v_size = s.v_size,
                        .q = q,
                        .k = kk,
                        .v = v,
                        .y = (float *)(void *)y.p,
                        .scale = 0.4f,
                        .softcap = mode & SOFTCAP ? 2.5f : 0,
                        .left = -1,
                        .right = -1,
                        .causal = mode & CAUSAL,
                        .mask = mode & MASK_F32 ? mask : NULL,
                        .mask_bool = mode & MASK_BOOL ? bools : NULL,
                        .mask_at = {0, s.n_q * s.n_kv, s.n_kv, 1}};
    if (mode & WINDOW)
        p.left = 5, p.right = 2;
    if (mode & (CAUSAL | WINDOW))
        p.offset = offset;
    if (mode & LENGTHS)
        lengths[0] = s.n_kv / 2, lengths[1] = s.n_kv, p.n_keys = lengths;
    strides(p.q_at, mode & PACKED, s.heads, s.n_q, s.size);
    strides(p.k_at, mode & PACKED, s.kv_heads, s.n_kv, s.size);
    strides(p.v_at, mode & PACKED, s.kv_heads, s.n_kv, s.v_size);
    strides(p.y_at, mode & PACKED, s.heads, s.n_q, s.v_size);
    void *scratch = scratch_new(hone_attention_scratch_bytes(&p));
    int64_t n = hone_attention_tasks(&p);
    k->attention(&p, n / 2, n, scratch);
    k->attention(&p, 0, n / 2, scratch);
    for (int64_t b = 0; b < s.batch; ++b)
        for (int64_t h = 0; h < s.heads; ++h)
            for (int64_t i = 0; i < s.n_q; ++i)
                check_row(&p, b, h, i, isa);
    guarded_free(&y, "attention");
    free(q), free(kk), free(v), free(mask), free(bools), free(scratch);
}

/* NaN in one key reaches the queries that see it, and no other. */
static void test_attention_nan(const hone_vec_kernels *k, const char *isa, int64_t n_q) {
    enum { KV = 140, D = 16, BAD = 3 };
    float *q = random_array(n_q * D, -1, 1), *kv = random_array(KV * D, -1, 1);
    float *y = random_array(n_q * D, 0, 0), *value = random_array(KV * D, -1, 1);
    kv[BAD * D + 2] = NAN;
    hone_attention p = {.n_batch = 1,
                        .n_heads = 1,
                        .n_kv_heads = 1,
                        .n_q = n_q,
                        .n_kv = KV,
                        .size = D,
                        .v_size = D,
                        .q = q,
                        .k = kv,
                        .v = value,
                        .y = y,
                        .scale = 1,
                        .left = -1,
                        .right = -1,
                        .causal = true,
                        .q_at = {0, 0, D},
                        .k_at = {0, 0, D},
                        .v_at = {0, 0, D},
                        .y_at = {0, 0, D}};
    void *scratch = scratch_new(hone_attention_scratch_bytes(&p));
    k->attention(&p, 0, hone_attention_tasks(&p), scratch);
    for (int64_t i = 0; i < n_q * D; ++i)
        CHECK(isnan(y[i]) == (i / D >= BAD), "%s attention NaN at %lld", isa, (long long)(i / D));
    free(q), free(kv), free(y), free(value), free(scratch);
}

static void test_isa(const hone_vec_kernels *k, const char *isa) {
    const int modes[] = {0,
                         MASK_F32,
                         MASK_BOOL | PACKED,
                         CAUSAL,
                         CAUSAL | SOFTCAP | PACKED,
                         WINDOW,
                         WINDOW | CAUSAL | LENGTHS,
                         LENGTHS | SOFTCAP | MASK_F32};
    const shape shapes[] = {{1, 1, 1, 1, 1, 1, 1},        {2, 4, 2, 7, 13, 5, 17},
                            {1, 2, 1, 1, 300, 64, 64},    {2, 2, 2, 97, 131, 33, 40},
                            {1, 1, 1, 193, 257, 128, 31}, {1, 3, 3, 2, 129, 32, 256},
                            {2, 6, 3, 3, 0, 16, 16}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i) {
        for (size_t m = 0; m < sizeof modes / sizeof *modes; ++m)
            test_attention(k, isa, shapes[i], modes[m]);
    }
    test_attention_nan(k, isa, 2);
    test_attention_nan(k, isa, 139);
}

int main(void) {
    return for_each_isa(test_isa);
}
