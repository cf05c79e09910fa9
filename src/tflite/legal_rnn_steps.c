/* The steps of LSTM and GRU layers written one by one: about ten operators each. ONNX's gates are
 * i, o, f, c and z, r, h (operator specification, LSTM-22 and GRU-22). */
#include "tflite/legal_ops.h"
#include "tflite/legal_rnn.h"

/* The gates of a layer are computed from the input for all steps at once, in one or two products.
 */
enum { MAX_PARTS = 2 };

typedef struct cell cell;
struct cell {
    const tfl_rnn *m;
    int direction;
    int n_parts;
    int gates[MAX_PARTS];     /* of each part */
    bool adds_r[MAX_PARTS];   /* the recurrent bias goes with the input's share */
    int r[MAX_PARTS], r_bias; /* tensors: recurrent weights; bias of the last part, or -1 */
    bool is_reset_last;       /* GRU: linear_before_reset */
    /* From the input's shares and the states h and c before to those after. */
    void (*step)(tfl_legal *l, const cell *c, const int *x, int *state);
};

const char *tfl_rnn_steps_obstacle(const hone_node *n) {
    const int64_t *x = n->in[0]->type.dims;
    bool is_batch_first = hone_attr_int(n, "layout", 0) != 0;
    int64_t time = x[is_batch_first], batch = x[!is_batch_first];
    if (time < 1 || time > TFL_RNN_MAX_STEPS || batch < 1 || x[2] < 1)
        return "batch and length must be known, and the length from 1 to 64";
    return NULL;
}

static int dense(tfl_legal *l, int x, int w, int b, int64_t rows, int64_t columns) {
    int in[3] = {x, w, b};
    int out = tfl_temp(l, TFL_F32, 2, (int32_t[]){(int32_t)rows, (int32_t)columns});
    tfl_no_activation(tfl_op(l, TFL_FULLY_CONNECTED, in, 3, out));
    return out;
}

/* Bias of the rows [from, from + n) of the gates; the recurrent one is added where `with_r` says.
 */
static int bias(tfl_legal *l, const cell *c, int64_t from, int64_t n, bool with_r) {
    const int64_t all = c->m->n_gates * c->m->units;
    const float *b = c->m->b ? c->m->b + c->direction * 2 * all : NULL;
    int32_t dim = (int32_t)n;
    float *v = tfl_alloc(l, (size_t)n, sizeof *v);
    for (int64_t i = 0; v && b && i < n; ++i)
        v[i] = b[from + i] + (with_r ? b[all + from + i] : 0);
    return tfl_const(l, TFL_F32, 1, &dim, v);
}

/* `count` tensors of [batch, columns] that a tensor holds one after the other; false: no memory. */
static bool cut(tfl_legal *l, const tfl_rnn *m, int x, int count, int64_t columns, int *out) {
    int32_t dims[3] = {count, (int32_t)m->batch, (int32_t)columns};
    x = tfl_reshape(l, x, 3, dims);
    for (int i = 0; i < count; ++i)
        out[i] = tfl_temp(l, TFL_F32, 2, dims + 1);
    if (x < 0 || l->is_out_of_memory)
        return false;
    tfl_operator *op = tfl_model_operator(&l->model, TFL_UNPACK, &x, 1, out, count);
    if (!op)
        l->is_out_of_memory = true;
    tfl_option_i32(op, 0, count);
    tfl_option_i32(op, 1, 0);
    return op != NULL;
}

/* The `count` gates of [batch, units] that x [batch, count * units] holds; false: no memory. */
static bool split(tfl_legal *l, const cell *c, int x, int count, int *gate) {
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

static void gru_step(tfl_legal *l, const cell *c, const int *x, int *state) {
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

static void lstm_step(tfl_legal *l, const cell *c, const int *x, int *state) {
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

static cell make_cell(tfl_legal *l, const tfl_rnn *m, int direction) {
    const int64_t u = m->units;
    const float *r = m->r + direction * m->n_gates * u * u;
    cell c = {.m = m, .direction = direction, .n_parts = 1, .gates = {4}, .adds_r = {true}};
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

/* ---- a direction ---- */

/* The input's share of each part, step by step. */
static bool input_shares(tfl_legal *l, const cell *c, int x, int (*share)[MAX_PARTS]) {
    const tfl_rnn *m = c->m;
    const float *w = m->w + c->direction * m->n_gates * m->units * m->n_in;
    int64_t from = 0;
    for (int p = 0; p < c->n_parts; ++p) {
        int steps[TFL_RNN_MAX_STEPS];
        int64_t rows = c->gates[p] * m->units;
        int part = tfl_rnn_matrix(l, w + from * m->n_in, rows, m->n_in);
        int all = dense(l, x, part, bias(l, c, from, rows, c->adds_r[p]), m->time * m->batch, rows);
        if (!cut(l, m, all, (int)m->time, rows, steps))
            return false;
        for (int64_t t = 0; t < m->time; ++t)
            share[t][p] = steps[t];
        from += rows;
    }
    return true;
}

/* [time * batch, in] to [time, batch, units]; the states h and c become the last ones. */
static int run_direction(tfl_legal *l, const tfl_rnn *m, int direction, int x, int *state) {
    int share[TFL_RNN_MAX_STEPS][MAX_PARTS], y[TFL_RNN_MAX_STEPS], n = (int)m->time;
    int32_t flat[2] = {(int32_t)(m->time * m->batch), (int32_t)m->units};
    int32_t dims[3] = {n, (int32_t)m->batch, flat[1]};
    cell c = make_cell(l, m, direction);
    if (!input_shares(l, &c, x, share))
        return -1;
    for (int i = 0; i < n; ++i) {
        int t = tfl_rnn_is_reverse(m, direction) ? n - 1 - i : i;
        c.step(l, &c, share[t], state);
        y[t] = state[0];
    }
    int out = tfl_temp(l, TFL_F32, 2, flat);
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, y, n, out);
    tfl_option_i32(op, 0, 0);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    return tfl_reshape(l, out, 3, dims);
}

/* State `which` (h, c) of each direction before the first step. */
static bool first_state(tfl_legal *l, const tfl_rnn *m, int which, int (*state)[2]) {
    static const int swapped[3] = {1, 0, 2};
    const hone_value *v = m->node->n_in > 5 + which ? m->node->in[5 + which] : NULL;
    float *zeros = v ? NULL : tfl_alloc(l, (size_t)(m->batch * m->units), sizeof *zeros);
    int to[2] = {-1, -1};
    if (v &&
        !cut(l, m, tfl_take(l, v, m->is_batch_first ? swapped : NULL), m->n_dirs, m->units, to))
        return false;
    if (!v)
        to[0] = to[1] = tfl_rnn_matrix(l, zeros, m->batch, m->units);
    for (int d = 0; d < m->n_dirs; ++d)
        state[d][which] = to[d];
    return to[0] >= 0;
}

void tfl_rnn_write_steps(tfl_legal *l, const tfl_rnn *m) {
    int n_states = m->n_gates == 4 ? 2 : 1, state[2][2], y[2] = {-1, -1};
    int32_t flat[2] = {(int32_t)(m->time * m->batch), (int32_t)m->n_in};
    int32_t one[3] = {1, (int32_t)m->batch, (int32_t)m->units};
    int x = tfl_reshape(l, tfl_rnn_input(l, m), 2, flat);
    for (int k = 0; k < n_states; ++k) {
        if (!first_state(l, m, k, state))
            return;
    }
    for (int d = 0; d < m->n_dirs; ++d)
        y[d] = run_direction(l, m, d, x, state[d]);
    if (m->node->out[0])
        tfl_rnn_give_all(l, m, y);
    for (int k = 0; k < n_states; ++k) {
        int last[2] = {-1, -1};
        for (int d = 0; d < m->n_dirs && tfl_rnn_wants(m->node, 1 + k); ++d)
            last[d] = tfl_reshape(l, state[d][k], 3, one);
        if (tfl_rnn_wants(m->node, 1 + k))
            tfl_rnn_give_last(l, m, 1 + k, last);
    }
}
