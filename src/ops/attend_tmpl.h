/* The attention core for one float type: included with REAL and ATTEND_(name) defined. */

typedef struct ATTEND_(job) {
    const hone_attend *a;
    REAL *rows; /* n_kv a thread */
    int64_t n_blocks;
} ATTEND_(job);

/* Keys [*lo, *hi) that query i of batch b may see before the mask. */
static void ATTEND_(visible)(const hone_attend *a, int64_t b, int64_t i, int64_t *lo, int64_t *hi) {
    int64_t at = i + (a->offset ? a->offset[b] : 0);
    *lo = a->first ? a->first[b] : 0;
    *hi = a->n_keys && a->n_keys[b] < a->n_kv ? a->n_keys[b] : a->n_kv;
    if (a->causal && *hi > at + 1)
        *hi = at + 1;
    if (a->right >= 0 && *hi > at + a->right + 1)
        *hi = at + a->right + 1;
    if (a->left >= 0 && *lo < at - a->left)
        *lo = at - a->left;
    if (a->mask && *hi > a->mask_keys)
        *hi = a->mask_keys;
    if (*lo < 0)
        *lo = 0;
    if (*lo > a->n_kv)
        *lo = a->n_kv;
    if (*hi < *lo)
        *hi = *lo;
}

static void ATTEND_(cap)(REAL cap, REAL *s, int64_t n) {
    for (int64_t j = 0; j < n; ++j)
        s[j] = cap * REAL_TANH(s[j] / cap);
}

static void ATTEND_(add_mask)(const REAL *m, int64_t stride, REAL *s, int64_t lo, int64_t hi) {
    if (stride == 1)
        for (int64_t j = lo; j < hi; ++j)
            s[j] = m[j] == -(REAL)INFINITY ? m[j] : s[j] + m[j];
    else
        for (int64_t j = lo; j < hi; ++j)
            s[j] = m[j * stride] == -(REAL)INFINITY ? m[j * stride] : s[j] + m[j * stride];
}

/* In place; a row without a visible key becomes zero. */
static void ATTEND_(softmax)(REAL *s, int64_t n, const float *sink) {
    REAL top = sink ? (REAL)*sink : -(REAL)INFINITY, sum = 0;
    for (int64_t j = 0; j < n; ++j)
        top = s[j] > top ? s[j] : top;
    if (top == -(REAL)INFINITY)
        top = 0;
    for (int64_t j = 0; j < n; ++j)
        s[j] = REAL_EXP(s[j] - top);
    for (int64_t j = 0; j < n; ++j)
        sum += s[j];
    if (sink)
        sum += REAL_EXP((REAL)*sink - top);
    if (sum == 0)
        return;
    REAL inverse = 1 / sum;
    for (int64_t j = 0; j < n; ++j)
        s[j] *= inverse;
}

static void ATTEND_(query)(const hone_attend *a, int64_t b, int64_t h, int64_t i, REAL *s) {
    int64_t kv = h / (a->n_heads / a->n_kv_heads), lo, hi;
    ATTEND_(visible)(a, b, i, &lo, &hi);
    const REAL *q = (const REAL *)a->q + b * a->q_at.b + h * a->q_at.h + i * a->q_at.s;
    const REAL *k = (const REAL *)a->k + b * a->k_at.b + kv * a->k_at.h;
    REAL *qk = a->qk ? (REAL *)a->qk + ((b * a->n_heads + h) * a->n_q + i) * a->n_kv : NULL;
    bool all = qk && a->qk_mode < 2;
    REAL scale =
        a->size > 0 ? (REAL)a->scale : 0; /* the default scale of an empty head is infinite */
    for (int64_t j = all ? 0 : lo; j < (all ? a->n_kv : hi); ++j)
        s[j] = scale * DOT(q, k + j * a->k_at.s, a->size);
    if (qk && a->qk_mode == 0)
        memcpy(qk, s, (size_t)a->n_kv * sizeof *s);
    if (a->softcap > 0)
        ATTEND_(cap)((REAL)a->softcap, all ? s : s + lo, all ? a->n_kv : hi - lo);
    if (qk && a->qk_mode == 1)
        memcpy(qk, s, (size_t)a->n_kv * sizeof *s);
    if (a->mask)
        ATTEND_(add_mask)
        ((const REAL *)a->mask + b * a->mask_at[0] + h * a->mask_at[1] + i * a->mask_at[2],
         a->mask_at[3], s, lo, hi);
    if (a->bias)
        ATTEND_(add_mask)
        ((const REAL *)a->bias + b * a->bias_at[0] + h * a->bias_at[1] + i * a->bias_at[2],
         a->bias_at[3], s, lo, hi);
    if (qk && a->qk_mode == 2)
        for (int64_t j = 0; j < a->n_kv; ++j)
            qk[j] = j >= lo && j < hi ? s[j] : -(REAL)INFINITY;
    if (!a->y && !(qk && a->qk_mode == 3))
        return;
    ATTEND_(softmax)(s + lo, hi - lo, a->sink ? &a->sink[h] : NULL);
    if (qk && a->qk_mode == 3)
        for (int64_t j = 0; j < a->n_kv; ++j)
            qk[j] = j >= lo && j < hi ? s[j] : 0;
    if (!a->y)
        return;
    REAL *y = (REAL *)a->y + b * a->y_at.b + h * a->y_at.h + i * a->y_at.s;
    for (int64_t j = 0; j < a->v_size; ++j)
        y[j] = 0;
    if (hi > lo)
        VECMAT(a->v_size, hi - lo, s + lo,
               (const REAL *)a->v + b * a->v_at.b + kv * a->v_at.h + lo * a->v_at.s, a->v_at.s, y);
}

static void ATTEND_(task)(void *arg, int64_t task, int worker) {
    const ATTEND_(job) *job = arg;
    const hone_attend *a = job->a;
    int64_t head = task / job->n_blocks, first = task % job->n_blocks * ATTEND_BLOCK;
    for (int64_t i = first; i < a->n_q && i < first + ATTEND_BLOCK; ++i)
        ATTEND_(query)(a, head / a->n_heads, head % a->n_heads, i, job->rows + worker * a->n_kv);
}

static hone_status ATTEND_(run)(hone_op_ctx *c, const hone_attend *a) {
    ATTEND_(job) job = {a, NULL, (a->n_q + ATTEND_BLOCK - 1) / ATTEND_BLOCK};
    job.rows = hone_op_array(c, a->n_kv, sizeof(REAL) * (size_t)hone_pool_threads(c->pool));
    if (!job.rows)
        return HONE_E_NOMEM;
    hone_op_parallel(c, a->n_batch * a->n_heads * job.n_blocks, ATTEND_(task), &job);
    return HONE_OK;
}
