/* The steps of LSTM and GRU layers: a few are written one by one, about ten operators each; more,
 * or a number that is known at run time only, are turns of a WHILE. */
#include "tflite/legal_rnn.h"
#include "tflite/subgraph.h"

enum { MAX_WRITTEN = 64 };

const char *tfl_rnn_steps_obstacle(const hone_node *n) {
    const int64_t *x = n->in[0]->type.dims;
    bool is_batch_first = hone_attr_int(n, "layout", 0) != 0;
    if (x[!is_batch_first] < 1 || x[2] < 1 || x[is_batch_first] == 0)
        return "the batch size must be known (--shape)";
    return NULL;
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

/* ---- steps one by one -------------------------------------------------------------------------
 */

/* [time, batch, units]; the states h and c become the last ones. */
static int written(tfl_legal *l, const tfl_rnn_cell *c, const int *share, int *state) {
    const tfl_rnn *m = c->m;
    int part[TFL_RNN_MAX_PARTS][MAX_WRITTEN], y[MAX_WRITTEN], n = (int)m->time;
    int32_t flat[2] = {(int32_t)(m->time * m->batch), (int32_t)m->units};
    int32_t dims[3] = {n, (int32_t)m->batch, flat[1]};
    for (int p = 0; p < c->n_parts; ++p) {
        if (!cut(l, m, share[p], n, c->gates[p] * m->units, part[p]))
            return -1;
    }
    for (int i = 0; i < n; ++i) {
        int t = tfl_rnn_is_reverse(m, c->direction) ? n - 1 - i : i, x[TFL_RNN_MAX_PARTS];
        for (int p = 0; p < c->n_parts; ++p)
            x[p] = part[p][t];
        c->step(l, c, x, state);
        y[t] = state[0];
    }
    int out = tfl_temp(l, TFL_F32, 2, flat);
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, y, n, out);
    tfl_option_i32(op, 0, 0);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    return tfl_reshape(l, out, 3, dims);
}

/* ---- a loop -----------------------------------------------------------------------------------
 * Handed from turn to turn: the turn's number, the number of turns, all outputs, the states, and
 * the input's shares, which never change. */

enum { TURN, TURNS, OUTPUTS, STATES, MAX_HANDED = STATES + 2 + TFL_RNN_MAX_PARTS };

static int element(tfl_legal *l, int x, int index, int rank, const int32_t *dims) {
    int out = tfl_shaped_like(l, x, rank, dims);
    tfl_operator *op = tfl_op2(l, TFL_GATHER, x, index, out);
    tfl_option_i32(op, 0, 0);
    return out;
}

/* The first dim of a tensor of three. */
static int length_of(tfl_legal *l, int x, int64_t known) {
    int32_t rank = 3;
    if (known >= 0)
        return tfl_const_i32(l, (int32_t)known);
    int shape = tfl_temp(l, TFL_I32, 1, &rank);
    tfl_option_byte(tfl_op1(l, TFL_SHAPE, x, shape), 0, TFL_I32);
    return element(l, shape, tfl_const_i32(l, 0), 0, NULL);
}

/* `all` with the state h at its place in time. */
static int stored(tfl_legal *l, const tfl_rnn *m, int all, int index, int h) {
    int32_t one[1] = {1}, zeros[2] = {0}, three = 3;
    int32_t dims[3] = {1, (int32_t)m->batch, (int32_t)m->units};
    int parts[2] = {tfl_reshape(l, index, 1, one), tfl_const_i32s(l, zeros, 2)};
    int at = tfl_temp(l, TFL_I32, 1, &three), out = tfl_like(l, all);
    tfl_operator *op = tfl_op(l, TFL_CONCATENATION, parts, 2, at);
    tfl_option_i32(op, 0, 0);
    tfl_option_byte(op, 1, TFL_ACT_NONE);
    int in[3] = {all, tfl_reshape(l, h, 3, dims), at};
    tfl_op(l, TFL_DYNAMIC_UPDATE_SLICE, in, 3, out);
    return out;
}

static int loop_body(tfl_legal *l, const tfl_rnn_cell *outer, const int *first, int n) {
    const tfl_rnn *m = outer->m;
    tfl_legal inner;
    int n_states = tfl_rnn_states(m), state[2], x[TFL_RNN_MAX_PARTS];
    if (!tfl_subgraph_enter(l, &inner, NULL, "body", n, n))
        return -1;
    int *in = inner.model.inputs, *out = inner.model.outputs;
    for (int i = 0; i < n; ++i)
        out[i] = in[i] = tfl_same_as(&inner, &l->model, first[i]);
    tfl_rnn_cell c = tfl_rnn_make_cell(&inner, m, outer->direction);
    int index = in[TURN];
    out[TURN] = tfl_apply2(&inner, TFL_ADD, in[TURN], tfl_const_i32(&inner, 1));
    if (tfl_rnn_is_reverse(m, c.direction))
        index = tfl_apply2(&inner, TFL_SUB, in[TURNS], out[TURN]);
    for (int p = 0; p < c.n_parts; ++p) {
        int32_t dims[2] = {(int32_t)m->batch, (int32_t)(c.gates[p] * m->units)};
        x[p] = element(&inner, in[STATES + n_states + p], index, 2, dims);
    }
    for (int k = 0; k < n_states; ++k)
        state[k] = in[STATES + k];
    c.step(&inner, &c, x, state);
    for (int k = 0; k < n_states; ++k)
        out[STATES + k] = state[k];
    out[OUTPUTS] = stored(&inner, m, in[OUTPUTS], index, state[0]);
    return tfl_subgraph_leave(l, &inner);
}

static int loop_condition(tfl_legal *l, const int *first, int n) {
    tfl_legal inner;
    if (!tfl_subgraph_enter(l, &inner, NULL, "condition", n, 1))
        return -1;
    int *in = inner.model.inputs, left = tfl_temp(&inner, TFL_BOOL, 0, NULL);
    for (int i = 0; i < n; ++i)
        in[i] = tfl_same_as(&inner, &l->model, first[i]);
    tfl_op2(&inner, TFL_LESS, in[TURN], in[TURNS], left);
    inner.model.outputs[0] = left;
    return tfl_subgraph_leave(l, &inner);
}

/* As `written`. What the outputs hold at first is overwritten. */
static int looped(tfl_legal *l, const tfl_rnn_cell *c, const int *share, int *state) {
    const tfl_rnn *m = c->m;
    int n_states = tfl_rnn_states(m), n = STATES + n_states + c->n_parts;
    int first[MAX_HANDED], out[MAX_HANDED];
    int32_t begin[3] = {0}, size[3] = {-1, -1, (int32_t)m->units};
    int32_t dims[3] = {(int32_t)m->time, (int32_t)m->batch, size[2]};
    first[TURN] = tfl_const_i32(l, 0);
    first[TURNS] = length_of(l, share[0], m->time);
    first[OUTPUTS] = tfl_temp(l, TFL_F32, 3, dims);
    int in[3] = {share[0], tfl_const_i32s(l, begin, 3), tfl_const_i32s(l, size, 3)};
    tfl_op(l, TFL_SLICE, in, 3, first[OUTPUTS]);
    for (int k = 0; k < n_states; ++k)
        first[STATES + k] = state[k];
    for (int p = 0; p < c->n_parts; ++p)
        first[STATES + n_states + p] = share[p];
    for (int i = 0; i < n; ++i)
        out[i] = tfl_like(l, first[i]);
    int graphs[2] = {loop_condition(l, first, n), loop_body(l, c, first, n)};
    tfl_call(l, TFL_WHILE, first, n, out, n, graphs);
    for (int k = 0; k < n_states; ++k)
        state[k] = out[STATES + k];
    return out[OUTPUTS];
}

/* ---- a layer ----------------------------------------------------------------------------------
 */

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
    int n_states = tfl_rnn_states(m), state[2][2], y[2] = {-1, -1};
    bool is_short = m->time > 0 && m->time <= MAX_WRITTEN;
    int32_t flat[2] = {m->time < 0 ? -1 : (int32_t)(m->time * m->batch), (int32_t)m->n_in};
    int32_t one[3] = {1, (int32_t)m->batch, (int32_t)m->units};
    int x = tfl_reshape(l, tfl_rnn_input(l, m), 2, flat);
    for (int k = 0; k < n_states; ++k) {
        if (!first_state(l, m, k, state))
            return;
    }
    for (int d = 0; d < m->n_dirs; ++d) {
        int share[TFL_RNN_MAX_PARTS];
        const tfl_rnn_cell c = tfl_rnn_make_cell(l, m, d);
        tfl_rnn_shares(l, &c, x, share);
        y[d] = (is_short ? written : looped)(l, &c, share, state[d]);
    }
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
