/* hone.Recurrent: the steps of LSTM and GRU layers. Directions, and rows of the batch, run side by
 * side; a single narrow sequence has its hidden units split over the threads in every step. */
#include <string.h>

#include "backend/cpu/impl.h"

enum { IN_GATES, IN_PACKED, IN_BIAS, IN_H, IN_C };
enum { ROWS = 4, WIDE = 256 }; /* rows of a task; hidden units that are worth splitting */

typedef enum cell { LSTM, GRU_LINEAR, GRU_PLAIN } cell;

typedef struct rnn_state {
    cell cell;
    bool is_batch_first, is_reverse, splits_units, is_bf16;
    int64_t directions, n_time, n_batch, hidden, n_gates;
    size_t first_bytes, each_bytes; /* packed: gates that run together, all of a direction */
    int64_t n_tasks, n_chunks;
    size_t scratch_bytes; /* of one task */
    const hone_vec_kernels *vec;
} rnn_state;

static bool is_state(const hone_prepare_ctx *c, const rnn_state *s, int i) {
    if (i >= c->n_in || !c->node->in[i])
        return true;
    const hone_type *t = &c->in[i];
    const int64_t want[3] = {s->is_batch_first ? s->n_batch : s->directions,
                             s->is_batch_first ? s->directions : s->n_batch, s->hidden};
    return hone_is_f32(t) && t->rank == 3 && memcmp(t->dims, want, sizeof want) == 0;
}

static bool check(const hone_prepare_ctx *c, const rnn_state *s) {
    const hone_type *gates = &c->in[IN_GATES], *bias = &c->in[IN_BIAS];
    const hone_tensor *packed = c->value[IN_PACKED];
    return hone_is_f32(gates) && gates->dims[2] == s->directions * s->n_gates * s->hidden &&
           packed && (s->is_bf16 || packed->dtype == HONE_DTYPE_F32) &&
           hone_tensor_bytes(packed) == (size_t)s->directions * s->each_bytes &&
           (!c->node->in[IN_BIAS] ||
            (hone_is_f32(bias) && hone_count(bias) == s->directions * s->hidden)) &&
           is_state(c, s, IN_H) && is_state(c, s, IN_C);
}

hone_status hone_prepare_rnn(hone_prepare_ctx *c, void **state) {
    rnn_state *s = HONE_NEW(c->arena, rnn_state);
    const hone_node *n = c->node;
    const hone_type *x = &c->in[IN_GATES];
    if (!s)
        return hone_fail(c->err, HONE_E_NOMEM, "no memory for a kernel");
    bool is_lstm = strcmp(hone_attr_string(n, "cell", ""), "LSTM") == 0;
    s->cell = is_lstm ? LSTM : hone_attr_int(n, "linear_before_reset", 0) ? GRU_LINEAR : GRU_PLAIN;
    s->n_gates = is_lstm ? 4 : 3;
    s->is_batch_first = hone_attr_int(n, "layout", 0) != 0;
    s->is_reverse = hone_attr_int(n, "reverse", 0) != 0;
    s->directions = hone_attr_int(n, "directions", 0);
    s->hidden = hone_attr_int(n, "hidden", 0);
    if (c->n_in != 5 || x->rank != 3 || s->directions < 1 || s->directions > 2 || s->hidden < 1 ||
        s->hidden > INT32_MAX)
        return hone_fail(c->err, HONE_E_FORMAT, "the recurrent layer's attributes are damaged");
    s->n_time = x->dims[s->is_batch_first];
    s->n_batch = x->dims[!s->is_batch_first];
    int together = s->cell == GRU_PLAIN ? 2 : (int)s->n_gates;
    s->is_bf16 = c->value[IN_PACKED] && c->value[IN_PACKED]->dtype == HONE_DTYPE_BF16;
    s->first_bytes = 4 * hone_rnn_packed_count(s->hidden, together, s->is_bf16);
    s->each_bytes = s->first_bytes;
    if (s->cell == GRU_PLAIN)
        s->each_bytes += 4 * hone_rnn_packed_count(s->hidden, 1, s->is_bf16);
    if (!check(c, s))
        return hone_fail(c->err, HONE_E_FORMAT, "the recurrent layer's inputs do not fit");
    s->n_chunks = (s->n_batch + ROWS - 1) / ROWS;
    s->n_tasks = s->directions * s->n_chunks;
    s->splits_units = s->n_tasks == 1 && s->hidden >= WIDE && c->n_threads > 1;
    /* Two states h, and c or a GRU's z and reset; with BF16 the states and the reset rounded. */
    s->scratch_bytes = (size_t)(ROWS * s->hidden) * 4 * sizeof(float);
    if (s->is_bf16)
        s->scratch_bytes += (size_t)(ROWS * hone_rnn_terms(s->hidden, true)) * 3 * sizeof(uint32_t);
    s->scratch_bytes = (s->scratch_bytes + 63) / 64 * 64;
    c->scratch_bytes = s->scratch_bytes * (size_t)(s->n_tasks ? s->n_tasks : 1) + 64;
    s->vec = hone_vec();
    *state = s;
    return HONE_OK;
}

/* ---- running ----------------------------------------------------------------------------------
 */

typedef struct rnn_job {
    const rnn_state *s;
    const float *gates, *bias, *h, *c;
    const char *packed;
    float *y, *y_h, *y_c; /* or NULL */
    unsigned char *scratch;
    hone_pool *pool; /* to split hidden units over, or NULL */
} rnn_job;

/* Some rows of one direction. */
typedef struct sequence {
    const rnn_job *j;
    int64_t direction, row, n_rows;
    float *h[2], *c, *z, *reset; /* dense rows */
    uint16_t *rounded[3];        /* with BF16: h, h, reset; else NULL */
} sequence;

typedef struct rows {
    const float *h;
    float *h_out;
    int64_t h_stride, out_stride;
    const float *gates;
    hone_rnn_bf16 bf16;
} rows;

typedef struct step_job {
    const sequence *q;
    const rows *r;
    bool is_second; /* of a plain GRU's two parts */
} step_job;

static void step_range(void *arg, int64_t begin, int64_t end, int worker) {
    (void)worker;
    const step_job *a = arg;
    const sequence *q = a->q;
    const rnn_state *s = q->j->s;
    const rows *r = a->r;
    const char *packed = q->j->packed + (size_t)q->direction * s->each_bytes;
    int64_t n = s->hidden, wide = s->directions * s->n_gates * n;
    int64_t gates_stride = s->is_batch_first ? s->n_time * wide : wide;
    if (s->cell == LSTM) {
        s->vec->lstm_step(&(hone_lstm_step){q->n_rows, n, r->gates, r->h, q->c, packed, r->h_out,
                                            q->c, gates_stride, r->h_stride, n, r->out_stride, n,
                                            r->bf16},
                          begin, end);
    } else if (s->cell == GRU_LINEAR) {
        const float *bias = q->j->bias ? q->j->bias + q->direction * n : NULL;
        s->vec->gru_step(&(hone_gru_step){q->n_rows, n, r->gates, r->h, packed, bias, r->h_out,
                                          gates_stride, r->h_stride, r->out_stride, r->bf16},
                         begin, end);
    } else {
        hone_gru_plain_step p = {
            q->n_rows, n,        r->gates, r->h,         packed,      packed + s->first_bytes,
            q->z,      q->reset, r->h_out, gates_stride, r->h_stride, r->out_stride,
            r->bf16};
        if (a->is_second)
            p.bf16.h = q->rounded[2];
        else
            p.bf16.out = q->rounded[2];
        (a->is_second ? s->vec->gru_finish : s->vec->gru_reset)(&p, begin, end);
    }
}

static void run_step(const sequence *q, const rows *r) {
    const rnn_state *s = q->j->s;
    int64_t blocks = hone_rnn_tasks(s->hidden);
    for (int part = 0; part < (s->cell == GRU_PLAIN ? 2 : 1); ++part) {
        step_job a = {q, r, part == 1};
        if (q->j->pool)
            hone_parallel_range(q->j->pool, blocks,
                                (blocks + hone_pool_threads(q->j->pool) - 1) /
                                    hone_pool_threads(q->j->pool),
                                step_range, &a);
        else
            step_range(&a, 0, blocks, 0);
    }
}

/* Rows of an initial or final state, [directions, batch, hidden] or batch first. */
static int64_t state_at(const sequence *q, int64_t row) {
    const rnn_state *s = q->j->s;
    int64_t batch = q->row + row;
    return (s->is_batch_first ? batch * s->directions + q->direction
                              : q->direction * s->n_batch + batch) *
           s->hidden;
}

static void load_state(const sequence *q, const float *from, float *to) {
    int64_t n = q->j->s->hidden;
    for (int64_t i = 0; i < q->n_rows; ++i) {
        if (from)
            memcpy(to + i * n, from + state_at(q, i), (size_t)n * sizeof *to);
        else
            memset(to + i * n, 0, (size_t)n * sizeof *to);
    }
}

/* Rows of h as BF16; all else of the rounded rows is 0 from here on. */
static void round_state(const sequence *q) {
    const rnn_state *s = q->j->s;
    int64_t even = 2 * hone_rnn_terms(s->hidden, true);
    if (!s->is_bf16)
        return;
    memset(q->rounded[0], 0, (size_t)(3 * ROWS * even) * sizeof(uint16_t));
    for (int64_t i = 0; i < q->n_rows; ++i)
        s->vec->f32_to_bf16(q->h[0] + i * s->hidden, q->rounded[0] + i * even, s->hidden);
}

static void store_state(const sequence *q, const float *from, int64_t stride, float *to) {
    int64_t n = q->j->s->hidden;
    for (int64_t i = 0; to && i < q->n_rows; ++i)
        memcpy(to + state_at(q, i), from + i * stride, (size_t)n * sizeof *to);
}

static void run_sequence(const sequence *q) {
    const rnn_job *j = q->j;
    const rnn_state *s = j->s;
    int64_t n = s->hidden, gates = s->n_gates * n;
    bool backwards = s->is_reverse || q->direction == 1;
    load_state(q, j->h, q->h[0]);
    if (s->cell == LSTM)
        load_state(q, j->c, q->c);
    round_state(q);
    rows r = {.h = q->h[0], .h_stride = n};
    for (int64_t k = 0; k < s->n_time; ++k) {
        int64_t t = backwards ? s->n_time - 1 - k : k;
        int64_t at = s->is_batch_first ? q->row * s->n_time + t : t * s->n_batch + q->row;
        r.gates = j->gates + (at * s->directions + q->direction) * gates;
        r.h_out = q->h[(k + 1) % 2];
        r.out_stride = n;
        if (j->y && s->is_batch_first) {
            r.h_out = j->y + (at * s->directions + q->direction) * n;
            r.out_stride = s->n_time * s->directions * n;
        } else if (j->y) {
            r.h_out = j->y + ((t * s->directions + q->direction) * s->n_batch + q->row) * n;
        }
        r.bf16 = (hone_rnn_bf16){q->rounded[k % 2], q->rounded[(k + 1) % 2]};
        run_step(q, &r);
        r.h = r.h_out;
        r.h_stride = r.out_stride;
    }
    store_state(q, r.h, r.h_stride, j->y_h);
    if (s->cell == LSTM)
        store_state(q, q->c, n, j->y_c);
}

static void rnn_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const rnn_job *j = arg;
    const rnn_state *s = j->s;
    int64_t row = task % s->n_chunks * ROWS, size = ROWS * s->hidden;
    float *memory = (float *)(void *)(j->scratch + (size_t)task * s->scratch_bytes);
    sequence q = {
        .j = j,
        .direction = task / s->n_chunks,
        .row = row,
        .n_rows = s->n_batch - row < ROWS ? s->n_batch - row : ROWS,
        .h = {memory, memory + size},
        .c = memory + 2 * size,
        .z = memory + 2 * size,
        .reset = memory + 3 * size,
    };
    int64_t rounded = ROWS * 2 * hone_rnn_terms(s->hidden, true);
    for (int i = 0; s->is_bf16 && i < 3; ++i)
        q.rounded[i] = (uint16_t *)(void *)(memory + 4 * size) + i * rounded;
    run_sequence(&q);
}

static const float *input(hone_op_ctx *c, int i) {
    return hone_in(c, i) ? hone_in(c, i)->data : NULL;
}
static float *output(hone_op_ctx *c, int i) {
    return hone_out(c, i) ? hone_out(c, i)->data : NULL;
}

hone_status hone_run_rnn(hone_op_ctx *c) {
    const rnn_state *s = c->state;
    rnn_job j = {
        .s = s,
        .gates = input(c, IN_GATES),
        .packed = hone_in(c, IN_PACKED)->data,
        .bias = input(c, IN_BIAS),
        .h = input(c, IN_H),
        .c = input(c, IN_C),
        .y = output(c, 0),
        .y_h = output(c, 1),
        .y_c = output(c, 2),
        .pool = s->splits_units ? c->pool : NULL,
    };
    j.scratch = hone_op_scratch(c, s->scratch_bytes * (size_t)s->n_tasks + 64);
    if (!j.scratch)
        return HONE_E_NOMEM;
    if (s->n_tasks == 1)
        rnn_task(&j, 0, 0);
    else
        hone_op_parallel(c, s->n_tasks, rnn_task, &j);
    return HONE_OK;
}
