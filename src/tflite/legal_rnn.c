/* LSTM and GRU layers: what their forms share, and the LSTM operator of the runtime. That one keeps
 * its state in variables that start at zero and live on from run to run: whoever runs the model
 * resets them before a new sequence (Interpreter.reset_all_variables). */
#include "tflite/legal_rnn.h"

#include <string.h>

#include "tflite/legal_ops.h"

/* ---- the node ---- */

bool tfl_rnn_wants(const hone_node *n, int i) {
    return i < n->n_out && n->out[i] && n->out[i]->n_uses > 0;
}

const char *tfl_rnn_obstacle(const hone_node *n) {
    const hone_string *names;
    if (!n->in[1]->constant || !n->in[2]->constant ||
        (n->n_in > 3 && n->in[3] && !n->in[3]->constant))
        return "the weights are no constants";
    if ((n->n_in > 4 && n->in[4]) || (n->n_in > 7 && n->in[7]))
        return "sequence lengths and peepholes have no equivalent";
    if (hone_attr_strings(n, "activations", &names) || hone_attr_find(n, "clip") ||
        hone_attr_int(n, "input_forget", 0))
        return "activations and clipping of one's own have no equivalent";
    return NULL;
}

bool tfl_rnn_read(tfl_legal *l, const hone_node *n, int n_gates, tfl_rnn *m) {
    const int64_t *x = n->in[0]->type.dims, *w = n->in[1]->type.dims;
    bool is_batch_first = hone_attr_int(n, "layout", 0) != 0;
    int64_t time = x[is_batch_first], batch = x[!is_batch_first];
    *m =
        (tfl_rnn){.node = n,
                  .time = time < 0 ? -1 : time,
                  .batch = batch < 0 ? -1 : batch,
                  .n_in = x[2],
                  .units = w[1] / n_gates,
                  .n_gates = n_gates,
                  .n_dirs = (int)w[0],
                  .is_reverse = strcmp(hone_attr_string(n, "direction", "forward"), "reverse") == 0,
                  .is_batch_first = is_batch_first,
                  .w = tfl_floats(l, n->in[1]),
                  .r = tfl_floats(l, n->in[2]),
                  .b = n->n_in > 3 ? tfl_floats(l, n->in[3]) : NULL};
    return m->w && m->r && !l->is_out_of_memory;
}

int tfl_rnn_matrix(tfl_legal *l, const float *rows, int64_t n_rows, int64_t n_columns) {
    int32_t dims[2] = {(int32_t)n_rows, (int32_t)n_columns};
    return tfl_const(l, TFL_F32, 2, dims, rows);
}

/* ---- inputs and outputs ---- */

static const int swapped[3] = {1, 0, 2};

int tfl_rnn_input(tfl_legal *l, const tfl_rnn *m) {
    return tfl_take(l, m->node->in[0], m->is_batch_first ? swapped : NULL);
}

static int joined(tfl_legal *l, const tfl_rnn *m, const int *parts, int axis, int out) {
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, parts, m->n_dirs, out);
    tfl_option_i32(op, 0, axis);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    return out;
}

/* Lies as [time, batch, directions, units]. */
void tfl_rnn_give_all(tfl_legal *l, const tfl_rnn *m, const int *y) {
    static const int order[2][4] = {{0, 2, 1, 3}, {1, 0, 2, 3}};
    int32_t dims[4] = {(int32_t)m->time, (int32_t)m->batch, m->n_dirs, (int32_t)m->units};
    int32_t wide[3] = {dims[0], dims[1], (int32_t)(m->n_dirs * m->units)};
    int all = m->n_dirs == 1 ? y[0] : joined(l, m, y, 2, tfl_temp(l, TFL_F32, 3, wide));
    tfl_alias(l, m->node->out[0], tfl_reshape(l, all, 4, dims), order[m->is_batch_first]);
}

/* Lies as [directions, batch, units]. */
void tfl_rnn_give_last(tfl_legal *l, const tfl_rnn *m, int i, const int *last) {
    int32_t dims[3] = {m->n_dirs, (int32_t)m->batch, (int32_t)m->units};
    int all = m->n_dirs == 1 ? last[0] : joined(l, m, last, 0, tfl_temp(l, TFL_F32, 3, dims));
    tfl_alias(l, m->node->out[i], all, m->is_batch_first ? swapped : NULL);
}

/* ---- the runtime's LSTM ---- */

/* Where the runtime wants the gates, and where ONNX has them (i, o, f, c). */
static const int gate_of[4] = {0, 2, 3, 1};

/* The sum of the input's and the recurrent bias of a gate. */
static int bias(tfl_legal *l, const tfl_rnn *m, const float *b, int gate) {
    int32_t dim = (int32_t)m->units;
    float *v = tfl_alloc(l, (size_t)m->units, sizeof *v);
    for (int64_t i = 0; v && b && i < m->units; ++i)
        v[i] = b[gate * m->units + i] + b[(4 + gate) * m->units + i];
    return tfl_const(l, TFL_F32, 1, &dim, v);
}

static int state(tfl_legal *l, const tfl_rnn *m) {
    int32_t dims[2] = {(int32_t)m->batch, (int32_t)m->units};
    int t = tfl_temp(l, TFL_F32, 2, dims);
    if (t >= 0)
        l->model.tensors[t].is_variable = true;
    return t;
}

static int reversed(tfl_legal *l, int x) {
    int32_t axis = 0;
    int out = tfl_like(l, x);
    tfl_op2(l, TFL_REVERSE_V2, x, tfl_const_i32s(l, &axis, 1), out);
    return out;
}

/* One direction: [time, batch, in] to [time, batch, units]. */
static int run_direction(tfl_legal *l, const tfl_rnn *m, int x, int d) {
    const float *w = m->w + d * 4 * m->units * m->n_in, *r = m->r + d * 4 * m->units * m->units;
    const float *b = m->b ? m->b + d * 8 * m->units : NULL;
    bool is_reverse = tfl_rnn_is_reverse(m, d);
    int in[24];
    int32_t dims[3] = {(int32_t)m->time, (int32_t)m->batch, (int32_t)m->units};
    for (int i = 0; i < 24; ++i)
        in[i] = -1;
    in[0] = is_reverse ? reversed(l, x) : x;
    for (int k = 0; k < 4; ++k) {
        int64_t row = gate_of[k] * m->units;
        in[1 + k] = tfl_rnn_matrix(l, w + row * m->n_in, m->units, m->n_in);
        in[5 + k] = tfl_rnn_matrix(l, r + row * m->units, m->units, m->units);
        in[12 + k] = bias(l, m, b, gate_of[k]);
    }
    in[18] = state(l, m);
    in[19] = state(l, m);
    int out = tfl_temp(l, TFL_F32, 3, dims);
    tfl_operator *op = tfl_op(l, TFL_UNIDIRECTIONAL_SEQUENCE_LSTM, in, 24, out);
    tfl_option_byte(op, 0, TFL_ACT_TANH);
    tfl_option_f32(op, 1, 0);
    tfl_option_f32(op, 2, 0);
    tfl_option_byte(op, 3, 1);
    return is_reverse ? reversed(l, out) : out;
}

/* The last step of a direction's outputs; of the reverse one that is the first in time. */
static int last_step(tfl_legal *l, const tfl_rnn *m, int y, int d) {
    int32_t one[3] = {1, (int32_t)m->batch, (int32_t)m->units};
    int32_t begin[3] = {tfl_rnn_is_reverse(m, d) ? 0 : (int32_t)m->time - 1, 0, 0};
    int out = tfl_temp(l, TFL_F32, 3, one);
    int in[3] = {y, tfl_const_i32s(l, begin, 3), tfl_const_i32s(l, one, 3)};
    tfl_op(l, TFL_SLICE, in, 3, out);
    return out;
}

static void write_operator(tfl_legal *l, const tfl_rnn *m) {
    const hone_node *n = m->node;
    int y[2] = {-1, -1}, last[2], in = tfl_rnn_input(l, m);
    for (int d = 0; d < m->n_dirs; ++d)
        y[d] = run_direction(l, m, in, d);
    if (n->out[0])
        tfl_rnn_give_all(l, m, y);
    for (int d = 0; d < m->n_dirs && tfl_rnn_wants(n, 1); ++d)
        last[d] = last_step(l, m, y[d], d);
    if (tfl_rnn_wants(n, 1))
        tfl_rnn_give_last(l, m, 1, last);
    hone_findings_add(l->findings, HONE_NOTE, "state", hone_node_label(n), n->op_name,
                      "call reset_all_variables before each new sequence",
                      "the layer's state lives on from run to run");
}

/* No first state, or zeros. */
static bool starts_from_zero(const hone_value *v) {
    if (v && !v->constant)
        return false;
    for (int64_t k = 0; v && k < hone_tensor_count(v->constant); ++k) {
        if (hone_load_f64(v->constant->dtype, v->constant->data, k) != 0)
            return false;
    }
    return true;
}

static const char *operator_obstacle(const hone_node *n) {
    bool is_batch_first = hone_attr_int(n, "layout", 0) != 0;
    const int64_t *x = n->in[0]->type.dims;
    for (int i = 5; i < 7; ++i) {
        if (n->n_in > i && !starts_from_zero(n->in[i]))
            return "a first state";
    }
    if (tfl_rnn_wants(n, 2))
        return "a last cell state";
    if (x[!is_batch_first] < 0)
        return "an open batch";
    return x[is_batch_first] < 0 && tfl_rnn_wants(n, 1) ? "a last state after an open length"
                                                        : NULL;
}

/* ---- nodes ---- */

static void refuse(tfl_legal *l, const hone_node *n, const char *why, const char *what) {
    tfl_refuse(l, n, "unsupported-form",
               "fix batch and length with --shape, or export a plain layer that starts from zero",
               "%s%s%s", what ? what : "", what ? ": " : "", why);
}

/* Streaming models run one step at a time, and hand their state on themselves. */
void tfl_legal_lstm(tfl_legal *l, const hone_node *n) {
    tfl_rnn m;
    const char *why = tfl_rnn_obstacle(n), *no_operator = operator_obstacle(n);
    const char *no_steps = tfl_rnn_steps_obstacle(n);
    if (why || (no_operator && no_steps)) {
        refuse(l, n, why ? why : no_steps, why ? NULL : no_operator);
        return;
    }
    if (!tfl_rnn_read(l, n, 4, &m))
        return;
    if (!no_steps && (no_operator || m.time == 1))
        tfl_rnn_write_steps(l, &m);
    else
        write_operator(l, &m);
}

void tfl_legal_gru(tfl_legal *l, const hone_node *n) {
    tfl_rnn m;
    const char *why = tfl_rnn_obstacle(n);
    if (!why)
        why = tfl_rnn_steps_obstacle(n);
    if (why)
        refuse(l, n, why, NULL);
    else if (tfl_rnn_read(l, n, 3, &m))
        tfl_rnn_write_steps(l, &m);
}
