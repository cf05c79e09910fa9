/* LSTM and GRU layers. The LSTM operator of the runtime keeps its state in variables that start at
 * zero and live on from run to run: whoever runs the model resets them before a new sequence
 * (Interpreter.reset_all_variables). */
#include <string.h>

#include "tflite/legal_ops.h"

/* Where the runtime wants the gates, and where ONNX has them (i, o, f, c). */
static const int gate_of[4] = {0, 2, 3, 1};

typedef struct layer {
    int64_t time, batch, n_in, units; /* time and batch may be -1 */
    const float *w, *r, *b;           /* of one direction; b may be NULL */
} layer;

static int matrix(tfl_legal *l, const float *rows, int64_t n_rows, int64_t n_columns) {
    int32_t dims[2] = {(int32_t)n_rows, (int32_t)n_columns};
    return tfl_const(l, TFL_F32, 2, dims, rows);
}

/* The sum of the input's and the recurrent bias of a gate. */
static int bias(tfl_legal *l, const layer *m, int gate) {
    int32_t dim = (int32_t)m->units;
    float *v = tfl_alloc(l, (size_t)m->units, sizeof *v);
    for (int64_t i = 0; v && m->b && i < m->units; ++i)
        v[i] = m->b[gate * m->units + i] + m->b[(4 + gate) * m->units + i];
    return tfl_const(l, TFL_F32, 1, &dim, v);
}

static int state(tfl_legal *l, const layer *m) {
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
static int run_direction(tfl_legal *l, const layer *m, int x, bool is_reverse) {
    int in[24];
    int32_t dims[3] = {(int32_t)m->time, (int32_t)m->batch, (int32_t)m->units};
    for (int i = 0; i < 24; ++i)
        in[i] = -1;
    in[0] = is_reverse ? reversed(l, x) : x;
    for (int k = 0; k < 4; ++k) {
        int64_t row = gate_of[k] * m->units;
        in[1 + k] = matrix(l, m->w + row * m->n_in, m->units, m->n_in);
        in[5 + k] = matrix(l, m->r + row * m->units, m->units, m->units);
        in[12 + k] = bias(l, m, gate_of[k]);
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

/* NULL when there is an equivalent. */
static const char *obstacle(const hone_node *n) {
    const hone_string *names;
    for (int i = 5; i < 7; ++i) {
        const hone_value *v = n->n_in > i ? n->in[i] : NULL;
        if (!v)
            continue;
        if (!v->constant)
            return "an initial state from the graph has no equivalent";
        for (int64_t k = 0; k < hone_tensor_count(v->constant); ++k) {
            if (hone_load_f64(v->constant->dtype, v->constant->data, k) != 0)
                return "an initial state other than zero has no equivalent";
        }
    }
    if (!n->in[1]->constant || !n->in[2]->constant ||
        (n->n_in > 3 && n->in[3] && !n->in[3]->constant))
        return "the weights are no constants";
    if ((n->n_in > 4 && n->in[4]) || (n->n_in > 7 && n->in[7]))
        return "sequence lengths and peepholes have no equivalent";
    if (hone_attr_strings(n, "activations", &names) || hone_attr_find(n, "clip") ||
        hone_attr_int(n, "layout", 0) || hone_attr_int(n, "input_forget", 0))
        return "activations, clipping and layouts of one's own have no equivalent";
    if (n->n_out > 2 && n->out[2] && n->out[2]->n_uses)
        return "the final cell state has no equivalent";
    if (n->in[0]->type.dims[1] < 0)
        return "the batch size must be known (--shape)";
    return NULL;
}

/* [time, batch, units] of each direction to [time, directions, batch, units]. */
static void give_all(tfl_legal *l, const hone_node *n, const layer *m, const int *y, int n_dirs) {
    static const int order[4] = {0, 2, 1, 3}; /* lies as [time, batch, directions, units] */
    int32_t dims[4] = {(int32_t)m->time, (int32_t)m->batch, n_dirs, (int32_t)m->units};
    int32_t wide[3] = {dims[0], dims[1], (int32_t)(n_dirs * m->units)};
    int all = y[0];
    if (n_dirs == 2) {
        all = tfl_temp(l, TFL_F32, 3, wide);
        tfl_operator *op = tfl_op2(l, TFL_CONCATENATION, y[0], y[1], all);
        tfl_option_i32(op, 0, 2);
        tfl_option_byte(op, 1, TFL_ACT_NONE);
    }
    tfl_alias(l, n->out[0], tfl_reshape(l, all, 4, dims), order);
}

/* The last step of each direction; of the reverse one that is the first in time. */
static void give_last(tfl_legal *l, const hone_node *n, const layer *m, const int *y, int n_dirs,
                      bool first_is_reverse) {
    int32_t one[3] = {1, (int32_t)m->batch, (int32_t)m->units};
    int last[2];
    for (int d = 0; d < n_dirs; ++d) {
        bool is_reverse = d == 1 || first_is_reverse;
        int32_t begin[3] = {is_reverse ? 0 : (int32_t)m->time - 1, 0, 0};
        last[d] = tfl_temp(l, TFL_F32, 3, one);
        int in[3] = {y[d], tfl_const_i32s(l, begin, 3), tfl_const_i32s(l, one, 3)};
        tfl_op(l, TFL_SLICE, in, 3, last[d]);
    }
    if (n_dirs == 1) {
        tfl_alias(l, n->out[1], last[0], NULL);
        return;
    }
    tfl_operator *op =
        tfl_op2(l, TFL_CONCATENATION, last[0], last[1], tfl_give(l, n->out[1], NULL));
    tfl_option_i32(op, 0, 0);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
}

void tfl_legal_lstm(tfl_legal *l, const hone_node *n) {
    const char *why = obstacle(n);
    const char *direction = hone_attr_string(n, "direction", "forward");
    bool wants_last = n->n_out > 1 && n->out[1] && n->out[1]->n_uses;
    if (!why && wants_last && n->in[0]->type.dims[0] < 0)
        why = "the length of the sequence must be known (--shape)";
    if (why) {
        tfl_refuse(l, n, "unsupported-form", "export a plain LSTM that starts from zero", "%s",
                   why);
        return;
    }
    const hone_type *x = &n->in[0]->type, *w = &n->in[1]->type;
    int n_dirs = (int)w->dims[0], y[2] = {-1, -1};
    layer m = {.time = x->dims[0] < 0 ? -1 : x->dims[0],
               .batch = x->dims[1],
               .n_in = x->dims[2],
               .units = w->dims[1] / 4};
    const float *all_w = tfl_floats(l, n->in[1]), *all_r = tfl_floats(l, n->in[2]);
    const float *all_b = n->n_in > 3 ? tfl_floats(l, n->in[3]) : NULL;
    int in = tfl_take(l, n->in[0], NULL);
    for (int d = 0; d < n_dirs && all_w && all_r; ++d) {
        m.w = all_w + d * 4 * m.units * m.n_in;
        m.r = all_r + d * 4 * m.units * m.units;
        m.b = all_b ? all_b + d * 8 * m.units : NULL;
        y[d] = run_direction(l, &m, in, d == 1 || strcmp(direction, "reverse") == 0);
    }
    if (n->out[0])
        give_all(l, n, &m, y, n_dirs);
    if (wants_last)
        give_last(l, n, &m, y, n_dirs, strcmp(direction, "reverse") == 0);
    hone_findings_add(l->findings, HONE_NOTE, "state", hone_node_label(n), n->op_name,
                      "call reset_all_variables before each new sequence",
                      "the layer's state lives on from run to run");
}

/* ---- GRU --------------------------------------------------------------------------------------
 * There is no operator for it: the steps are written one by one, and keep no state. Of w, r and b,
 * the gates z and r (2 * units rows) are computed in one product, h (units rows) in another. */

enum { MAX_STEPS = 64 }; /* each makes eleven operators */

typedef struct gru {
    layer m;
    bool is_reset_last; /* linear_before_reset */
    int r[2], r_bias;   /* tensors: recurrent weights of z, r and of h; bias of h, or -1 */
} gru;

static const char *gru_obstacle(const hone_node *n) {
    const hone_string *names;
    const int64_t *dims = n->in[0]->type.dims;
    if (!n->in[1]->constant || !n->in[2]->constant ||
        (n->n_in > 3 && n->in[3] && !n->in[3]->constant))
        return "the weights are no constants";
    if (n->n_in > 4 && n->in[4])
        return "sequence lengths have no equivalent";
    if (hone_attr_strings(n, "activations", &names) || hone_attr_find(n, "clip") ||
        hone_attr_int(n, "layout", 0))
        return "activations, clipping and layouts of one's own have no equivalent";
    if (dims[0] < 1 || dims[0] > MAX_STEPS || dims[1] < 1)
        return "batch and length must be known, and the length from 1 to 64 (--shape)";
    return NULL;
}

static int dense(tfl_legal *l, int x, int w, int b, int64_t rows, int64_t columns) {
    int in[3] = {x, w, b};
    int out = tfl_temp(l, TFL_F32, 2, (int32_t[]){(int32_t)rows, (int32_t)columns});
    tfl_no_activation(tfl_op(l, TFL_FULLY_CONNECTED, in, 3, out));
    return out;
}

/* Bias of the rows [from, from + n) of the gates; the recurrent one is added where `with` says. */
static int gru_bias(tfl_legal *l, const layer *m, int64_t from, int64_t n, bool with) {
    int32_t dim = (int32_t)n;
    float *v = tfl_alloc(l, (size_t)n, sizeof *v);
    for (int64_t i = 0; v && m->b && i < n; ++i)
        v[i] = m->b[from + i] + (with ? m->b[3 * m->units + from + i] : 0);
    return tfl_const(l, TFL_F32, 1, &dim, v);
}

/* `count` tensors of [batch, columns] that a tensor holds one after the other; false: no memory. */
static bool cut(tfl_legal *l, const layer *m, int x, int count, int64_t columns, int *out) {
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

/* The state after one step, from the input's share of z, r and of h, and the state before. */
static int gru_step(tfl_legal *l, const gru *g, int x_zr, int x_h, int state) {
    int64_t units = g->m.units, batch = g->m.batch;
    int zr = dense(l, state, g->r[0], -1, batch, 2 * units);
    zr = tfl_apply1(l, TFL_LOGISTIC, tfl_apply2(l, TFL_ADD, x_zr, zr));
    int in[2] = {tfl_const_i32(l, 1), zr}, gate[2] = {tfl_like(l, state), tfl_like(l, state)};
    if (zr < 0 || gate[0] < 0 || gate[1] < 0)
        return -1;
    tfl_operator *op = tfl_model_operator(&l->model, TFL_SPLIT, in, 2, gate, 2);
    if (!op)
        l->is_out_of_memory = true;
    tfl_option_i32(op, 0, 2);
    int h = g->is_reset_last ? state : tfl_apply2(l, TFL_MUL, gate[1], state);
    h = dense(l, h, g->r[1], g->r_bias, batch, units);
    if (g->is_reset_last)
        h = tfl_apply2(l, TFL_MUL, gate[1], h);
    h = tfl_apply1(l, TFL_TANH, tfl_apply2(l, TFL_ADD, x_h, h));
    int back = tfl_apply2(l, TFL_MUL, gate[0], tfl_apply2(l, TFL_SUB, state, h));
    return tfl_apply2(l, TFL_ADD, h, back);
}

/* One direction: [time * batch, in] to [time, batch, units]. */
static int gru_direction(tfl_legal *l, gru *g, int x, int state, bool is_reverse) {
    const layer *m = &g->m;
    int64_t u = m->units, rows = m->time * m->batch;
    int n = (int)m->time, zr[MAX_STEPS], h[MAX_STEPS], y[MAX_STEPS];
    int32_t flat[2] = {(int32_t)rows, (int32_t)u}, dims[3] = {n, (int32_t)m->batch, flat[1]};
    g->r[0] = matrix(l, m->r, 2 * u, u);
    g->r[1] = matrix(l, m->r + 2 * u * u, u, u);
    g->r_bias = -1;
    if (g->is_reset_last && m->b)
        g->r_bias = tfl_const(l, TFL_F32, 1, flat + 1, m->b + 5 * u);
    int all_zr =
        dense(l, x, matrix(l, m->w, 2 * u, m->n_in), gru_bias(l, m, 0, 2 * u, true), rows, 2 * u);
    int all_h = dense(l, x, matrix(l, m->w + 2 * u * m->n_in, u, m->n_in),
                      gru_bias(l, m, 2 * u, u, !g->is_reset_last), rows, u);
    if (!cut(l, m, all_zr, n, 2 * u, zr) || !cut(l, m, all_h, n, u, h))
        return -1;
    for (int i = 0; i < n; ++i) {
        int t = is_reverse ? n - 1 - i : i;
        state = y[t] = gru_step(l, g, zr[t], h[t], state);
    }
    int out = tfl_temp(l, TFL_F32, 2, flat);
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, y, n, out);
    tfl_option_i32(op, 0, 0);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    return tfl_reshape(l, out, 3, dims);
}

/* The state of each direction before the first step. */
static bool first_states(tfl_legal *l, const hone_node *n, const layer *m, int n_dirs, int *to) {
    const hone_value *v = n->n_in > 5 ? n->in[5] : NULL;
    if (v)
        return cut(l, m, tfl_take(l, v, NULL), n_dirs, m->units, to);
    float *zeros = tfl_alloc(l, (size_t)(m->batch * m->units), sizeof *zeros);
    to[0] = to[1] = matrix(l, zeros, m->batch, m->units);
    return to[0] >= 0;
}

void tfl_legal_gru(tfl_legal *l, const hone_node *n) {
    const char *why = gru_obstacle(n);
    if (why) {
        tfl_refuse(l, n, "unsupported-form", "export a plain GRU of fixed, short length", "%s",
                   why);
        return;
    }
    bool is_reverse = strcmp(hone_attr_string(n, "direction", "forward"), "reverse") == 0;
    const hone_type *x = &n->in[0]->type, *w = &n->in[1]->type;
    int n_dirs = (int)w->dims[0], y[2] = {-1, -1}, state[2];
    gru g = {.m = {x->dims[0], x->dims[1], x->dims[2], w->dims[1] / 3, NULL, NULL, NULL},
             .is_reset_last = hone_attr_int(n, "linear_before_reset", 0) != 0};
    layer *m = &g.m;
    const float *all_w = tfl_floats(l, n->in[1]), *all_r = tfl_floats(l, n->in[2]);
    const float *all_b = n->n_in > 3 ? tfl_floats(l, n->in[3]) : NULL;
    int32_t flat[2] = {(int32_t)(m->time * m->batch), (int32_t)m->n_in};
    int in = tfl_reshape(l, tfl_take(l, n->in[0], NULL), 2, flat);
    if (!all_w || !all_r || !first_states(l, n, m, n_dirs, state))
        return;
    for (int d = 0; d < n_dirs; ++d) {
        m->w = all_w + d * 3 * m->units * m->n_in;
        m->r = all_r + d * 3 * m->units * m->units;
        m->b = all_b ? all_b + d * 6 * m->units : NULL;
        y[d] = gru_direction(l, &g, in, state[d], d == 1 || is_reverse);
    }
    if (n->out[0])
        give_all(l, n, m, y, n_dirs);
    if (n->n_out > 1 && n->out[1])
        give_last(l, n, m, y, n_dirs, is_reverse);
}
