/* QLstm: shapes, and the kernel on floats. */
#include "ops/tfl_lstm.h"

#include <inttypes.h>
#include <string.h>

/* ---- shapes -----------------------------------------------------------------------------------
 */

typedef struct expected {
    int64_t cells, outputs, n, n_aux, batch;
} expected;

/* What input i must be; rank 0: nothing is known. */
static int dims_of_input(const expected *e, int i, int64_t *dims) {
    if (i >= LSTM_AUX_W || (i >= LSTM_W && i < LSTM_PEEPHOLE)) {
        dims[0] = e->cells;
        dims[1] = i >= LSTM_AUX_W ? e->n_aux : i >= LSTM_R ? e->outputs : e->n;
        return 2;
    }
    if (i == LSTM_PROJECTION || i == LSTM_H || i == LSTM_C) {
        dims[0] = i == LSTM_PROJECTION ? e->outputs : e->batch;
        dims[1] = i == LSTM_H ? e->outputs : e->cells;
        return 2;
    }
    dims[0] = i == LSTM_PROJECTION_BIAS ? e->outputs : e->cells;
    return 1;
}

static uint32_t types_of_input(bool is_integer, int i) {
    bool is_matrix = i == LSTM_PROJECTION || i >= LSTM_AUX_W || (i >= LSTM_W && i < LSTM_PEEPHOLE);
    if (!is_integer)
        return is_matrix ? HONE_T(F32) | HONE_T(I8) : HONE_T(F32);
    if (is_matrix || i == LSTM_H)
        return HONE_T(I8);
    bool is_bias = (i >= LSTM_BIAS && i < LSTM_PROJECTION) || i == LSTM_PROJECTION_BIAS;
    return is_bias ? HONE_T(I32) : HONE_T(I16);
}

static hone_status check_input(hone_infer_ctx *c, const expected *e, int i) {
    int64_t dims[2];
    const hone_type *t = &c->in[i];
    int rank = dims_of_input(e, i, dims);
    if (!hone_infer_has(c, i) || t->kind != HONE_KIND_TENSOR || t->rank < 0)
        return HONE_OK;
    bool fits = t->rank == rank &&
                hone_dtype_in(t->dtype, types_of_input(c->in[0].dtype == HONE_DTYPE_I8, i));
    for (int d = 0; fits && d < rank; ++d)
        fits = t->dims[d] < 0 || dims[d] < 0 || t->dims[d] == dims[d];
    return fits ? HONE_OK
                : hone_infer_fail(c, HONE_E_SHAPE, "input %d has the wrong type or shape", i);
}

/* The node has input i, whether its type is known or not. */
static bool given(const hone_infer_ctx *c, int i) {
    return i < c->node->n_in && c->node->in[i];
}

/* All of a group of inputs or none; the input gate's may be missing alone. */
static bool is_whole(const hone_infer_ctx *c, int first, int n, bool has_input_gate) {
    bool has = given(c, first + GATE_FORGET);
    for (int g = 0; g < n; ++g) {
        if (given(c, first + g) != (has && (g > 0 || has_input_gate)))
            return false;
    }
    return true;
}

static hone_status check_groups(hone_infer_ctx *c) {
    bool has_input_gate = given(c, LSTM_W);
    bool is_whole_lstm = is_whole(c, LSTM_W, GATES, has_input_gate) && given(c, LSTM_W + 1) &&
                         is_whole(c, LSTM_R, GATES, has_input_gate) && given(c, LSTM_R + 1) &&
                         is_whole(c, LSTM_PEEPHOLE, GATES - 1, has_input_gate) &&
                         is_whole(c, LSTM_BIAS, GATES, has_input_gate) && given(c, LSTM_BIAS + 1) &&
                         is_whole(c, LSTM_NORM, GATES, has_input_gate) &&
                         is_whole(c, LSTM_AUX_W, GATES, has_input_gate) && given(c, LSTM_H) &&
                         given(c, LSTM_C);
    if (!is_whole_lstm || given(c, LSTM_AUX_W + 1) != given(c, LSTM_AUX))
        return hone_infer_fail(c, HONE_E_FORMAT, "weights of some gates are missing");
    const hone_type *x = &c->in[LSTM_X], *r = &c->in[LSTM_R + 1];
    if (x->rank != 3 || r->rank != 2 || r->dims[0] < 1 || r->dims[1] < 1)
        return hone_infer_fail(c, HONE_E_SHAPE, "an input of rank 3 and known weights are needed");
    if (!given(c, LSTM_PROJECTION) && r->dims[0] != r->dims[1])
        return hone_infer_fail(c, HONE_E_SHAPE, "%" PRId64 " cells give %" PRId64 " outputs",
                               r->dims[0], r->dims[1]);
    const hone_type *aux = &c->in[LSTM_AUX];
    if (!given(c, LSTM_AUX) || aux->rank < 0)
        return HONE_OK;
    bool fits = aux->rank == 3 && aux->dtype == x->dtype && aux->dtype == HONE_DTYPE_F32;
    for (int d = 0; fits && d < 2; ++d)
        fits = aux->dims[d] == x->dims[d];
    return fits ? HONE_OK
                : hone_infer_fail(c, HONE_E_SHAPE, "the auxiliary input does not fit the input");
}

hone_status hone_infer_tfl_lstm(hone_infer_ctx *c) {
    if (!given(c, LSTM_C) || !given(c, LSTM_R + 1))
        return hone_infer_fail(c, HONE_E_FORMAT, "weights or states are missing");
    if (!hone_infer_has(c, LSTM_X) || c->in[LSTM_X].rank < 0 || !hone_infer_has(c, LSTM_R + 1) ||
        c->in[LSTM_R + 1].rank < 0)
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    HONE_TRY(check_groups(c));
    const hone_type *x = &c->in[LSTM_X], *r = &c->in[LSTM_R + 1];
    bool is_time_major = hone_attr_int(c->node, "time_major", 0) != 0;
    expected e = {.cells = r->dims[0],
                  .outputs = r->dims[1],
                  .n = x->dims[2],
                  .n_aux = hone_infer_has(c, LSTM_AUX) ? c->in[LSTM_AUX].dims[2] : 0,
                  .batch = x->dims[is_time_major ? 1 : 0]};
    for (int i = LSTM_W; i < c->n_in; ++i) {
        if (i != LSTM_AUX)
            HONE_TRY(check_input(c, &e, i));
    }
    hone_dtype cell = x->dtype == HONE_DTYPE_I8 ? HONE_DTYPE_I16 : HONE_DTYPE_F32;
    hone_infer_set(c, 0, x->dtype, 3, (int64_t[]){x->dims[0], x->dims[1], e.outputs});
    hone_infer_set(c, 1, x->dtype, 2, (int64_t[]){e.batch, e.outputs});
    hone_infer_set(c, 2, cell, 2, (int64_t[]){e.batch, e.cells});
    return HONE_OK;
}

lstm_shape lstm_shape_of(const hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, LSTM_X), *r = hone_in(c, LSTM_R + 1),
                      *aux = hone_in(c, LSTM_AUX);
    bool is_time_major = hone_attr_int(c->node, "time_major", 0) != 0;
    lstm_shape s = {.batch = x->dims[is_time_major ? 1 : 0],
                    .time = x->dims[is_time_major ? 0 : 1],
                    .n = x->dims[2],
                    .n_aux = aux ? aux->dims[2] : 0,
                    .cells = r->dims[0],
                    .outputs = r->dims[1],
                    .is_reverse = hone_attr_int(c->node, "reverse", 0) != 0};
    s.step_batch = is_time_major ? 1 : s.time;
    s.step_time = is_time_major ? s.batch : 1;
    return s;
}

const hone_tensor *lstm_of_gate(const hone_op_ctx *c, int first, int gate) {
    if (first != LSTM_PEEPHOLE)
        return hone_in(c, first + gate);
    return gate == GATE_CELL ? NULL : hone_in(c, first + (gate == GATE_OUTPUT ? 2 : gate));
}

float lstm_scale(const hone_node *n, int i) {
    const float *scales;
    int count = hone_attr_floats(n, "scales", &scales);
    return i < count && scales[i] > 0 ? scales[i] : 1.0f;
}

const int16_t *tfl_wide_matrix(hone_op_ctx *c, const hone_tensor *w, hone_status *status) {
    int64_t n = hone_tensor_count(w);
    int16_t *wide = hone_op_scratch(c, ((size_t)n + 1) * sizeof *wide);
    if (!wide) {
        *status = HONE_E_NOMEM;
        return NULL;
    }
    tfl_widen(w, 0, n, 0, wide);
    return wide;
}

float tfl_activation(int64_t activation, float v) {
    switch (activation) {
    case 1: /* ReLU */
        return v > 0 ? v : 0;
    case 2:
        return v < -1 ? -1 : v > 1 ? 1 : v;
    case 3:
        return v < 0 ? 0 : v > 6 ? 6 : v;
    case 4:
        return tanhf(v);
    case 6: /* sigmoid */
        return 1.0f / (1.0f + expf(-v));
    default:
        return v;
    }
}

/* ---- floats -----------------------------------------------------------------------------------
 */

typedef struct matrix {
    const float *real;
    const int16_t *wide; /* hybrid: instead of it, with the scale */
    float scale;
    int64_t rows, columns;
} matrix;

/* A vector, and as 8-bit numbers for hybrid matrices. */
typedef struct vector {
    const float *real;
    int16_t *wide;
    float scale;
} vector;

typedef struct lstm_float {
    lstm_shape s;
    matrix w[GATES], r[GATES], aux[GATES], projection;
    const float *peephole[GATES], *norm[GATES], *bias[GATES], *projection_bias;
    int64_t activation;
    float cell_clip, proj_clip;
    bool is_symmetric;
    float *gate[GATES];
    vector x, h, a, hidden;
} lstm_float;

static matrix matrix_of(hone_op_ctx *c, int i, hone_status *status) {
    const hone_tensor *w = hone_in(c, i);
    matrix m = {.scale = lstm_scale(c->node, i)};
    if (!w)
        return m;
    m.rows = w->dims[0];
    m.columns = w->dims[1];
    if (w->dtype == HONE_DTYPE_F32)
        m.real = w->data;
    else
        m.wide = tfl_wide_matrix(c, w, status);
    return m;
}

static const float *list_of(const hone_tensor *t) {
    return t ? t->data : NULL;
}

static void add_product(const matrix *m, const vector *v, float *out) {
    float scale = m->scale * v->scale;
    for (int64_t r = 0; r < m->rows; ++r) {
        if (m->wide) {
            out[r] += (float)tfl_dot(v->wide, m->wide + r * m->columns, m->columns) * scale;
            continue;
        }
        float sum = 0;
        for (int64_t k = 0; k < m->columns; ++k)
            sum += m->real[r * m->columns + k] * v->real[k];
        out[r] += sum;
    }
}

static void set_vector(const lstm_float *l, vector *v, const float *real, int64_t n) {
    v->real = real;
    if (v->wide && n)
        tfl_quantise_rows(real, 1, n, l->is_symmetric, v->wide, &v->scale);
}

static void normalise(float *v, int64_t n) {
    float sum = 0, squares = 0;
    for (int64_t i = 0; i < n; ++i)
        sum += v[i];
    float mean = sum / (float)n;
    for (int64_t i = 0; i < n; ++i)
        squares += (v[i] - mean) * (v[i] - mean);
    float inverse = 1.0f / sqrtf(squares / (float)n + 1e-8f);
    for (int64_t i = 0; i < n; ++i)
        v[i] = (v[i] - mean) * inverse;
}

static void run_gate(lstm_float *l, int g, const float *cell) {
    int64_t n = l->s.cells;
    float *v = l->gate[g];
    for (int64_t i = 0; i < n; ++i)
        v[i] = l->norm[g] ? 0 : l->bias[g][i];
    add_product(&l->w[g], &l->x, v);
    add_product(&l->aux[g], &l->a, v);
    add_product(&l->r[g], &l->h, v);
    for (int64_t i = 0; l->peephole[g] && i < n; ++i)
        v[i] += l->peephole[g][i] * cell[i];
    if (l->norm[g]) {
        normalise(v, n);
        for (int64_t i = 0; i < n; ++i)
            v[i] = v[i] * l->norm[g][i] + l->bias[g][i];
    }
    int64_t activation = g == GATE_CELL ? l->activation : 6;
    for (int64_t i = 0; i < n; ++i)
        v[i] = tfl_activation(activation, v[i]);
}

static void clip(float *v, int64_t n, float limit) {
    for (int64_t i = 0; limit > 0 && i < n; ++i)
        v[i] = v[i] < -limit ? -limit : v[i] > limit ? limit : v[i];
}

/* One step of one row of the batch: h and cell are replaced. */
static void step(lstm_float *l, const float *x, const float *aux, float *h, float *cell) {
    int64_t n = l->s.cells;
    bool is_coupled = !l->w[GATE_INPUT].rows;
    set_vector(l, &l->x, x, l->s.n);
    set_vector(l, &l->a, aux, l->s.n_aux);
    set_vector(l, &l->h, h, l->s.outputs);
    for (int g = is_coupled ? GATE_FORGET : GATE_INPUT; g < GATE_OUTPUT; ++g)
        run_gate(l, g, cell);
    for (int64_t i = 0; i < n; ++i) {
        float forget = l->gate[GATE_FORGET][i];
        cell[i] = forget * cell[i] +
                  (is_coupled ? 1.0f - forget : l->gate[GATE_INPUT][i]) * l->gate[GATE_CELL][i];
    }
    clip(cell, n, l->cell_clip);
    run_gate(l, GATE_OUTPUT, cell);
    float *hidden = l->gate[GATE_OUTPUT];
    for (int64_t i = 0; i < n; ++i)
        hidden[i] *= tfl_activation(l->activation, cell[i]);
    if (!l->projection.rows) {
        memcpy(h, hidden, (size_t)n * sizeof *h);
        return;
    }
    for (int64_t i = 0; i < l->s.outputs; ++i)
        h[i] = l->projection_bias ? l->projection_bias[i] : 0;
    set_vector(l, &l->hidden, hidden, n);
    add_product(&l->projection, &l->hidden, h);
    clip(h, l->s.outputs, l->proj_clip);
}

static hone_status prepare(hone_op_ctx *c, lstm_float *l) {
    hone_status status = HONE_OK;
    l->s = lstm_shape_of(c);
    for (int g = 0; g < GATES; ++g) {
        l->w[g] = matrix_of(c, LSTM_W + g, &status);
        l->r[g] = matrix_of(c, LSTM_R + g, &status);
        l->aux[g] = matrix_of(c, LSTM_AUX_W + g, &status);
        l->peephole[g] = list_of(lstm_of_gate(c, LSTM_PEEPHOLE, g));
        l->norm[g] = list_of(lstm_of_gate(c, LSTM_NORM, g));
        l->bias[g] = list_of(lstm_of_gate(c, LSTM_BIAS, g));
        l->gate[g] = hone_op_scratch(c, (size_t)l->s.cells * sizeof(float));
        if (!l->gate[g])
            return HONE_E_NOMEM;
    }
    l->projection = matrix_of(c, LSTM_PROJECTION, &status);
    l->projection_bias = list_of(hone_in(c, LSTM_PROJECTION_BIAS));
    HONE_TRY(status);
    int64_t most = l->s.n + l->s.n_aux + l->s.outputs + l->s.cells;
    int16_t *wide = hone_op_scratch(c, ((size_t)most + 1) * sizeof *wide);
    if (!wide)
        return HONE_E_NOMEM;
    l->x.wide = l->w[GATE_FORGET].wide ? wide : NULL;
    l->a.wide = l->aux[GATE_FORGET].wide ? wide + l->s.n : NULL;
    l->h.wide = l->r[GATE_FORGET].wide ? wide + l->s.n + l->s.n_aux : NULL;
    l->hidden.wide = l->projection.wide ? wide + l->s.n + l->s.n_aux + l->s.outputs : NULL;
    l->activation = hone_attr_int(c->node, "activation", 4);
    l->cell_clip = hone_attr_float(c->node, "cell_clip", 0);
    l->proj_clip = hone_attr_float(c->node, "proj_clip", 0);
    l->is_symmetric = hone_attr_int(c->node, "is_symmetric", 0) != 0;
    return HONE_OK;
}

/* Weights of all gates are of one type. */
static bool is_uniform(const hone_op_ctx *c, int first) {
    for (int g = 0; g < GATES; ++g) {
        const hone_tensor *w = hone_in(c, first + g), *f = hone_in(c, first + GATE_FORGET);
        if (w && f && w->dtype != f->dtype)
            return false;
    }
    return true;
}

hone_status hone_ref_tfl_lstm(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, LSTM_X), *aux = hone_in(c, LSTM_AUX);
    hone_tensor *y = hone_out(c, 0), *h = hone_out(c, 1), *cell = hone_out(c, 2);
    if (!h || !cell || !is_uniform(c, LSTM_W) || !is_uniform(c, LSTM_R) ||
        !is_uniform(c, LSTM_AUX_W))
        return hone_op_fail(c, HONE_E_TYPE, "states or weights that do not fit");
    memcpy(h->data, hone_in(c, LSTM_H)->data, hone_tensor_bytes(h));
    memcpy(cell->data, hone_in(c, LSTM_C)->data, hone_tensor_bytes(cell));
    if (x->dtype == HONE_DTYPE_I8)
        return lstm_run_integers(c);
    lstm_float l = {.activation = 0};
    HONE_TRY(prepare(c, &l));
    for (int64_t b = 0; b < l.s.batch; ++b) {
        float *state = (float *)h->data + b * l.s.outputs;
        for (int64_t t = 0; t < l.s.time; ++t) {
            int64_t row = lstm_row(&l.s, b, t);
            step(&l, (const float *)x->data + row * l.s.n,
                 aux ? (const float *)aux->data + row * l.s.n_aux : NULL, state,
                 (float *)cell->data + b * l.s.cells);
            if (y)
                memcpy((float *)y->data + row * l.s.outputs, state,
                       (size_t)l.s.outputs * sizeof *state);
        }
    }
    return HONE_OK;
}
