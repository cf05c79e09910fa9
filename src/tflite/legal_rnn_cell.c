/* What LSTM and GRU compute in a step. ONNX's gates are i, o, f, c and z, r, h (operator
 * specification, LSTM-22 and GRU-22). */
#include "tflite/legal_rnn.h"

static int dense(tfl_legal *l, int x, int w, int b, int64_t rows, int64_t columns) {
    int in[3] = {x, w, b};
    int out = tfl_temp(l, TFL_F32, 2, (int32_t[]){(int32_t)rows, (int32_t)columns});
    tfl_no_activation(tfl_op(l, TFL_FULLY_CONNECTED, in, 3, out));
    return out;
}

/* Bias of the rows [from, from + n) of the gates; the recurrent one is added where `with_r` says.
 */
static int bias(tfl_legal *l, const tfl_rnn_cell *c, int64_t from, int64_t n, bool with_r) {
    const int64_t all = c->m->n_gates * c->m->units;
    const float *b = c->m->b ? c->m->b + c->direction * 2 * all : NULL;
    int32_t dim = (int32_t)n;
    float *v = tfl_alloc(l, (size_t)n, sizeof *v);
    for (int64_t i = 0; v && b && i < n; ++i)
        v[i] = b[from + i] + (with_r ? b[all + from + i] : 0);
    return tfl_const(l, TFL_F32, 1, &dim, v);
}

void tfl_rnn_shares(tfl_legal *l, const tfl_rnn_cell *c, int x, int *share) {
    const tfl_rnn *m = c->m;
    const float *w = m->w + c->direction * m->n_gates * m->units * m->n_in;
    int64_t from = 0, n = m->time < 0 ? -1 : m->time * m->batch;
    for (int p = 0; p < c->n_parts; ++p) {
        int64_t rows = c->gates[p] * m->units;
        int32_t dims[3] = {(int32_t)m->time, (int32_t)m->batch, (int32_t)rows};
        int part = tfl_rnn_matrix(l, w + from * m->n_in, rows, m->n_in);
        int all = dense(l, x, part, bias(l, c, from, rows, c->adds_r[p]), n, rows);
        share[p] = tfl_reshape(l, all, 3, dims);
        from += rows;
    }
}

/* The `count` gates of [batch, units] that x [batch, count * units] holds; false: no memory. */
static bool split(tfl_legal *l, const tfl_rnn_cell *c, int x, int count, int *gate) {
    int32_t dims[2] = {(int32_t)c->m->batch, (int32_t)c->m->units};
    int in[2] = {tfl_const_i32(l, 1), x};
    for (int i = 0; i < count; ++i)
        gate[i] = tfl_temp(l, TFL_F32, 2, dims);
    if (x < 0 || l->is_out_of_memory)
        return false;
    tfl_operator *op = tfl_model_operator(&l->model, TFL_SPLIT, in, 2, gate, count);
    if (!op)
        l->is_out_of_memory = true;
    tfl_option_i32(op, 0, count);
    return op != NULL;
}

/* ---- the cells ---- */

static void gru_step(tfl_legal *l, const tfl_rnn_cell *c, const int *x, int *state) {
    const int64_t units = c->m->units, batch = c->m->batch;
    int gate[2], zr = dense(l, state[0], c->r[0], -1, batch, 2 * units);
    zr = tfl_apply1(l, TFL_LOGISTIC, tfl_apply2(l, TFL_ADD, x[0], zr));
    if (!split(l, c, zr, 2, gate))
        return;
    int h = c->is_reset_last ? state[0] : tfl_apply2(l, TFL_MUL, gate[1], state[0]);
    h = dense(l, h, c->r[1], c->r_bias, batch, units);
    if (c->is_reset_last)
        h = tfl_apply2(l, TFL_MUL, gate[1], h);
    h = tfl_apply1(l, TFL_TANH, tfl_apply2(l, TFL_ADD, x[1], h));
    int back = tfl_apply2(l, TFL_MUL, gate[0], tfl_apply2(l, TFL_SUB, state[0], h));
    state[0] = tfl_apply2(l, TFL_ADD, h, back);
}

static void lstm_step(tfl_legal *l, const tfl_rnn_cell *c, const int *x, int *state) {
    enum { I, O, F, C };
    int gate[4], all = dense(l, state[0], c->r[0], -1, c->m->batch, 4 * c->m->units);
    if (!split(l, c, tfl_apply2(l, TFL_ADD, x[0], all), 4, gate))
        return;
    for (int k = 0; k < 4; ++k)
        gate[k] = tfl_apply1(l, k == C ? TFL_TANH : TFL_LOGISTIC, gate[k]);
    int kept = tfl_apply2(l, TFL_MUL, gate[F], state[1]);
    state[1] = tfl_apply2(l, TFL_ADD, kept, tfl_apply2(l, TFL_MUL, gate[I], gate[C]));
    state[0] = tfl_apply2(l, TFL_MUL, gate[O], tfl_apply1(l, TFL_TANH, state[1]));
}

tfl_rnn_cell tfl_rnn_make_cell(tfl_legal *l, const tfl_rnn *m, int direction) {
    const int64_t u = m->units;
    const float *r = m->r + direction * m->n_gates * u * u;
    tfl_rnn_cell c = {.m = m, .direction = direction, .n_parts = 1, .gates = {4}, .adds_r = {true}};
    c.r_bias = -1;
    c.step = lstm_step;
    c.r[0] = tfl_rnn_matrix(l, r, (m->n_gates == 4 ? 4 : 2) * u, u);
    if (m->n_gates == 4)
        return c;
    c.step = gru_step;
    c.is_reset_last = hone_attr_int(m->node, "linear_before_reset", 0) != 0;
    c.n_parts = 2;
    c.gates[0] = 2;
    c.gates[1] = 1;
    c.adds_r[1] = !c.is_reset_last;
    c.r[1] = tfl_rnn_matrix(l, r + 2 * u * u, u, u);
    int32_t dim = (int32_t)u;
    if (c.is_reset_last && m->b)
        c.r_bias = tfl_const(l, TFL_F32, 1, &dim, m->b + direction * 6 * u + 5 * u);
    return c;
}
