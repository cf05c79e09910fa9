/* Kernels of RNN, GRU and LSTM for one float type: included with REAL, RNN_(name), VECMAT and
 * TRANSPOSE defined. One GEMM for the inputs of all steps, then a step at a time. */

static void RNN_(activate)(const rnn_fn *fn, REAL clip, REAL *v, int64_t n) {
    REAL alpha = (REAL)fn->alpha, beta = (REAL)fn->beta;
    if (isfinite(clip))
        for (int64_t i = 0; i < n; ++i)
            v[i] = v[i] < -clip ? -clip : v[i] > clip ? clip : v[i];
#define EACH(expr)                                                                                 \
    for (int64_t i = 0; i < n; ++i) {                                                              \
        REAL x = v[i];                                                                             \
        v[i] = (expr);                                                                             \
    }                                                                                              \
    break
    switch (fn->act) {
    case ACT_SIGMOID:
        EACH(1 / (1 + REAL_EXP(-x)));
    case ACT_TANH:
        EACH(REAL_TANH(x));
    case ACT_RELU:
        EACH(x > 0 ? x : 0);
    case ACT_AFFINE:
        EACH(alpha * x + beta);
    case ACT_LEAKY_RELU:
        EACH(x >= 0 ? x : alpha * x);
    case ACT_THRESHOLDED_RELU:
        EACH(x >= alpha ? x : 0);
    case ACT_SCALED_TANH:
        EACH(alpha * REAL_TANH(beta * x));
    case ACT_HARD_SIGMOID:
        EACH(alpha * x + beta < 0 ? 0 : alpha * x + beta > 1 ? 1 : alpha * x + beta);
    case ACT_ELU:
        EACH(x >= 0 ? x : alpha * (REAL_EXP(x) - 1));
    case ACT_SOFTSIGN:
        EACH(x / (1 + (x < 0 ? -x : x)));
    case ACT_SOFTPLUS:
        EACH(x > 0 ? x + REAL_LOG1P(REAL_EXP(-x)) : REAL_LOG1P(REAL_EXP(x)));
    case ACT_COUNT:
        break;
    }
#undef EACH
}

/* g: the gates i, o, f, c before the recurrent part; h and c are updated. */
static void RNN_(lstm_step)(const rnn_args *a, const rnn_fn *fn, const REAL *rt, const REAL *p,
                            REAL *restrict g, REAL *restrict h, REAL *restrict c) {
    int64_t n = a->n_hidden;
    REAL clip = (REAL)a->clip;
    REAL *gi = g, *go = g + n, *gf = g + 2 * n, *gc = g + 3 * n;
    VECMAT(4 * n, n, h, rt, 4 * n, g);
    for (int64_t j = 0; p && j < n; ++j) {
        gi[j] += p[j] * c[j];
        gf[j] += p[2 * n + j] * c[j];
    }
    RNN_(activate)(&fn[0], clip, gi, n);
    if (a->input_forget)
        for (int64_t j = 0; j < n; ++j)
            gf[j] = 1 - gi[j];
    else
        RNN_(activate)(&fn[0], clip, gf, n);
    RNN_(activate)(&fn[1], clip, gc, n);
    for (int64_t j = 0; j < n; ++j)
        c[j] = gf[j] * c[j] + gi[j] * gc[j];
    for (int64_t j = 0; p && j < n; ++j)
        go[j] += p[n + j] * c[j];
    RNN_(activate)(&fn[0], clip, go, n);
    memcpy(h, c, (size_t)n * sizeof *h);
    RNN_(activate)(&fn[2], (REAL)INFINITY, h, n);
    for (int64_t j = 0; j < n; ++j)
        h[j] *= go[j];
}

/* g: the gates z, r, h; rb: recurrent bias of the hidden gate when it is added before the reset,
 * else NULL; t: room for n elements. */
static void RNN_(gru_step)(const rnn_args *a, const rnn_fn *fn, const REAL *rt, const REAL *rb,
                           REAL *restrict g, REAL *restrict h, REAL *restrict t) {
    int64_t n = a->n_hidden;
    REAL clip = (REAL)a->clip;
    REAL *gz = g, *gr = g + n, *gh = g + 2 * n;
    VECMAT(2 * n, n, h, rt, 3 * n, g);
    RNN_(activate)(&fn[0], clip, gz, n);
    RNN_(activate)(&fn[0], clip, gr, n);
    if (a->linear_before_reset) {
        for (int64_t j = 0; j < n; ++j)
            t[j] = rb ? rb[j] : 0;
        VECMAT(n, n, h, rt + 2 * n, 3 * n, t);
        for (int64_t j = 0; j < n; ++j)
            gh[j] += gr[j] * t[j];
    } else {
        for (int64_t j = 0; j < n; ++j)
            t[j] = gr[j] * h[j];
        VECMAT(n, n, t, rt + 2 * n, 3 * n, gh);
    }
    RNN_(activate)(&fn[1], clip, gh, n);
    for (int64_t j = 0; j < n; ++j)
        h[j] = (1 - gz[j]) * gh[j] + gz[j] * h[j];
}

static void RNN_(plain_step)(const rnn_args *a, const rnn_fn *fn, const REAL *rt, REAL *restrict g,
                             REAL *restrict h) {
    int64_t n = a->n_hidden;
    VECMAT(n, n, h, rt, n, g);
    RNN_(activate)(fn, (REAL)a->clip, g, n);
    memcpy(h, g, (size_t)n * sizeof *h);
}

/* Sum of the input and recurrent biases; for a GRU that adds the hidden gate's recurrent bias
 * before the reset, that part stays out. */
static void RNN_(bias)(const rnn_args *a, const REAL *b, REAL *bias) {
    int64_t g = a->n_gates * a->n_hidden;
    int64_t n_both = a->kind == RNN_GRU && a->linear_before_reset ? 2 * a->n_hidden : g;
    for (int64_t j = 0; j < g; ++j)
        bias[j] = !b ? 0 : j < n_both ? b[j] + b[g + j] : b[j];
}

static void RNN_(inputs)(const rnn_args *a, const REAL *wt, const REAL *bias, REAL *gates) {
    int64_t g = a->n_gates * a->n_hidden;
    for (int64_t t = 0; t < a->n_time; ++t) {
        for (int64_t i = 0; i < a->n_batch; ++i) {
            int64_t row = a->batch_first ? i * a->n_time + t : t * a->n_batch + i;
            REAL *to = gates + (t * a->n_batch + i) * g;
            memcpy(to, bias, (size_t)g * sizeof *to);
            VECMAT(g, a->n_in, (const REAL *)a->x + row * a->n_in, wt, g, to);
        }
    }
}

/* One sequence of the batch in direction `dir`. */
static void RNN_(sequence)(const rnn_args *a, int dir, int64_t i, const REAL *rt, const REAL *rb,
                           REAL *gates, REAL *h, REAL *c, REAL *temp) {
    int64_t n = a->n_hidden, g = a->n_gates * n;
    const rnn_fn *fn = a->fn[dir];
    const REAL *p = a->p ? (const REAL *)a->p + dir * 3 * n : NULL;
    int64_t len = a->lens ? hone_load_i64(a->lens->dtype, a->lens->data, i) : a->n_time;
    bool backwards = dir == 1 || a->reverse;
    for (int64_t s = 0; s < a->n_time; ++s) {
        int64_t t = s < len && backwards ? len - 1 - s : s;
        if (s < len) {
            REAL *gate = gates + (t * a->n_batch + i) * g;
            if (a->kind == RNN_LSTM)
                RNN_(lstm_step)(a, fn, rt, p, gate, h, c);
            else if (a->kind == RNN_GRU)
                RNN_(gru_step)(a, fn, rt, rb, gate, h, temp);
            else
                RNN_(plain_step)(a, fn, rt, gate, h);
        }
        if (!a->y)
            continue;
        REAL *y = (REAL *)a->y + (a->batch_first ? ((i * a->n_time + t) * a->n_dirs + dir) * n
                                                 : ((t * a->n_dirs + dir) * a->n_batch + i) * n);
        for (int64_t j = 0; j < n; ++j)
            y[j] = s < len ? h[j] : 0;
    }
}

static void RNN_(direction)(const rnn_args *a, int dir) {
    int64_t n = a->n_hidden, g = a->n_gates * n;
    REAL *wt = a->work, *rt = wt + a->n_in * g, *bias = rt + n * g, *gates = bias + g;
    REAL *h = gates + a->n_time * a->n_batch * g, *c = h + n, *temp = c + n;
    const REAL *b = a->b ? (const REAL *)a->b + dir * 2 * g : NULL;
    TRANSPOSE(g, a->n_in, (const REAL *)a->w + dir * g * a->n_in, wt);
    TRANSPOSE(g, n, (const REAL *)a->r + dir * g * n, rt);
    RNN_(bias)(a, b, bias);
    RNN_(inputs)(a, wt, bias, gates);
    for (int64_t i = 0; i < a->n_batch; ++i) {
        int64_t at = (a->batch_first ? i * a->n_dirs + dir : dir * a->n_batch + i) * n;
        for (int64_t j = 0; j < n; ++j) {
            h[j] = a->h0 ? ((const REAL *)a->h0)[at + j] : 0;
            c[j] = a->c0 ? ((const REAL *)a->c0)[at + j] : 0;
        }
        RNN_(sequence)(a, dir, i, rt, b ? b + g + 2 * n : NULL, gates, h, c, temp);
        if (a->y_h && n > 0)
            memcpy((REAL *)a->y_h + at, h, (size_t)n * sizeof *h);
        if (a->y_c && n > 0)
            memcpy((REAL *)a->y_c + at, c, (size_t)n * sizeof *c);
    }
}
