/* QLstm on integers: 8-bit activations and weights, 16-bit gates in Q3.12 and cell state. */
#include <string.h>

#include "ops/tfl_lstm.h"

typedef struct int_gate {
    const int16_t *w, *r;
    const int16_t *peephole, *norm;
    const int32_t *bias;
    tfl_factor w_factor, r_factor, peephole_factor, norm_factor;
    int32_t least_variance;
} int_gate;

typedef struct lstm_int {
    lstm_shape s;
    int_gate gate[GATES];
    bool is_coupled; /* the input gate is 1 - forget gate */
    const int16_t *projection;
    const int32_t *projection_bias;
    tfl_factor hidden_factor, projection_factor;
    int32_t x_zero, h_zero, hidden_zero, cell_clip, proj_clip;
    int cell_log2;
    int16_t *value[GATES], *x, *h, *hidden; /* scratch */
} lstm_int;

static int16_t clamp16(int64_t v) {
    return (int16_t)tfl_clamp(v, INT16_MIN, INT16_MAX);
}

static const void *data_of(const hone_tensor *t) {
    return t ? t->data : NULL;
}

static hone_status read_gate(hone_op_ctx *c, lstm_int *l, int g, float x_scale, float h_scale) {
    hone_status status = HONE_OK;
    const float *scales;
    int n = hone_attr_floats(c->node, "gate_scales", &scales);
    const hone_tensor *w = hone_in(c, LSTM_W + g), *r = hone_in(c, LSTM_R + g);
    if (!w || !r)
        return HONE_OK;
    int_gate *to = &l->gate[g];
    float out = g < n && scales[g] > 0 ? scales[g] : 1.0f / 4096;
    int peephole = LSTM_PEEPHOLE + (g == GATE_OUTPUT ? 2 : g);
    float cell = ldexpf(lstm_scale(c->node, peephole), l->cell_log2);
    to->w = tfl_wide_matrix(c, w, &status);
    to->r = tfl_wide_matrix(c, r, &status);
    to->peephole = data_of(lstm_of_gate(c, LSTM_PEEPHOLE, g));
    to->norm = data_of(lstm_of_gate(c, LSTM_NORM, g));
    to->bias = data_of(lstm_of_gate(c, LSTM_BIAS, g));
    to->w_factor = tfl_factor_of((double)(lstm_scale(c->node, LSTM_W + g) * x_scale / out));
    to->r_factor = tfl_factor_of((double)(lstm_scale(c->node, LSTM_R + g) * h_scale / out));
    to->peephole_factor = tfl_factor_of((double)(cell / out));
    float norm_scale = lstm_scale(c->node, LSTM_NORM + g);
    to->norm_factor = tfl_factor_of((double)norm_scale);
    to->norm_factor.shift += 12;
    to->least_variance =
        (int32_t)tfl_clamp((int64_t)fminf(10000 * norm_scale, 1e9f), 1, 1000000000);
    return status;
}

static hone_status prepare(hone_op_ctx *c, lstm_int *l) {
    hone_status status = HONE_OK;
    tfl_param x = tfl_param_of(c->node, "x"), h = tfl_param_of(c->node, "h");
    tfl_param hidden = tfl_param_of(c->node, "hidden");
    l->s = lstm_shape_of(c);
    l->x_zero = x.zero;
    l->h_zero = h.zero;
    l->hidden_zero = hidden.zero;
    l->cell_log2 = (int)tfl_clamp(hone_attr_int(c->node, "cell_log2", 0), -15, -9);
    l->is_coupled = !hone_in(c, LSTM_W);
    for (int g = 0; g < GATES; ++g)
        HONE_TRY(read_gate(c, l, g, (float)x.scale, (float)h.scale));
    const hone_tensor *projection = hone_in(c, LSTM_PROJECTION);
    if (projection)
        l->projection = tfl_wide_matrix(c, projection, &status);
    HONE_TRY(status);
    l->projection_bias = data_of(hone_in(c, LSTM_PROJECTION_BIAS));
    l->hidden_factor = tfl_factor_of((double)(float)(ldexp(1, -15) / hidden.scale * ldexp(1, -15)));
    l->projection_factor = tfl_factor_of(
        (double)(lstm_scale(c->node, LSTM_PROJECTION) * (float)hidden.scale / (float)h.scale));
    float clip = hone_attr_float(c->node, "cell_clip", 0),
          out = hone_attr_float(c->node, "proj_clip", 0);
    l->cell_clip = clip > 0 ? (int32_t)fminf(ldexpf(clip, -l->cell_log2), 32767) : 0;
    l->proj_clip = out > 0 ? (int32_t)fminf(out / (float)h.scale, 127) : 0;
    size_t most = (size_t)(l->s.cells > l->s.n ? l->s.cells : l->s.n);
    most = most > (size_t)l->s.outputs ? most : (size_t)l->s.outputs;
    int16_t **buffers[] = {&l->value[0], &l->value[1], &l->value[2], &l->value[3],
                           &l->x,        &l->h,        &l->hidden};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; ++i) {
        *buffers[i] = hone_op_scratch(c, most * sizeof(int16_t));
        if (!*buffers[i])
            return HONE_E_NOMEM;
    }
    return HONE_OK;
}

/* The sum of squares less that of the mean, 10 bits up. */
static void normalise(const int_gate *g, int16_t *v, int64_t n) {
    int64_t sum = 0, squares = 0;
    for (int64_t i = 0; i < n; ++i) {
        sum += v[i];
        squares += (int64_t)v[i] * v[i];
    }
    int32_t mean = (int32_t)(sum * 1024 / n);
    int64_t variance = squares * ((1 << 20) / n) - (int64_t)mean * mean;
    int32_t narrow = tfl_wrap(variance / (1 << 20));
    tfl_factor inverse = tfl_inverse_sqrt(narrow < 1 ? g->least_variance : narrow);
    for (int64_t i = 0; i < n; ++i) {
        int32_t scaled = tfl_scale(1024 * v[i] - mean, inverse);
        int64_t w = (int64_t)tfl_wrap((int64_t)scaled * g->norm[i]) + g->bias[i];
        int32_t rounded = tfl_wrap((w > 0 ? w + 512 : w - 512) / 1024);
        v[i] = clamp16(tfl_scale(rounded, g->norm_factor));
    }
}

static void run_gate(const lstm_int *l, int which, const int16_t *cell) {
    const int_gate *g = &l->gate[which];
    int16_t *v = l->value[which];
    for (int64_t i = 0; i < l->s.cells; ++i) {
        int64_t sum = tfl_dot(l->x, g->w + i * l->s.n, l->s.n) + (g->norm ? 0 : g->bias[i]);
        int16_t part = clamp16(tfl_scale(tfl_wrap(sum), g->w_factor));
        sum = tfl_dot(l->h, g->r + i * l->s.outputs, l->s.outputs);
        v[i] = clamp16((int64_t)tfl_scale(tfl_wrap(sum), g->r_factor) + part);
        if (g->peephole)
            v[i] = clamp16(
                (int64_t)tfl_scale((int32_t)g->peephole[i] * cell[i], g->peephole_factor) + v[i]);
    }
    if (g->norm)
        normalise(g, v, l->s.cells);
    for (int64_t i = 0; i < l->s.cells; ++i)
        v[i] = which == GATE_CELL ? tfl_tanh16(v[i], 3) : tfl_sigmoid16(v[i]);
}

static void update_cell(const lstm_int *l, int16_t *cell) {
    for (int64_t i = 0; i < l->s.cells; ++i) {
        int16_t forget = l->value[GATE_FORGET][i];
        int32_t in = l->is_coupled ? INT16_MAX - forget : l->value[GATE_INPUT][i];
        int16_t kept = (int16_t)tfl_divide_pot((int32_t)forget * cell[i], 15);
        int16_t fresh = (int16_t)tfl_divide_pot(in * l->value[GATE_CELL][i], 30 + l->cell_log2);
        cell[i] = clamp16((int64_t)kept + fresh);
        if (l->cell_clip > 0)
            cell[i] = (int16_t)tfl_clamp(cell[i], -l->cell_clip, l->cell_clip);
    }
}

static void project(const lstm_int *l, int8_t *h) {
    int64_t n = l->s.cells;
    for (int64_t o = 0; o < l->s.outputs; ++o) {
        int64_t sum = tfl_dot(l->hidden, l->projection + o * n, n);
        sum += l->projection_bias ? l->projection_bias[o] : 0;
        int64_t v = (int64_t)tfl_scale(tfl_wrap(sum), l->projection_factor) + l->h_zero;
        v = tfl_clamp(v, -128, 127);
        h[o] = (int8_t)(l->proj_clip > 0 ? tfl_clamp(v, -l->proj_clip, l->proj_clip) : v);
    }
}

static void step(const lstm_int *l, const int8_t *x, int8_t *h, int16_t *cell) {
    int64_t n = l->s.cells;
    for (int64_t i = 0; i < l->s.n; ++i)
        l->x[i] = (int16_t)(x[i] - l->x_zero);
    for (int64_t i = 0; i < l->s.outputs; ++i)
        l->h[i] = (int16_t)(h[i] - l->h_zero);
    for (int g = l->is_coupled ? GATE_FORGET : GATE_INPUT; g < GATE_OUTPUT; ++g)
        run_gate(l, g, cell);
    update_cell(l, cell);
    run_gate(l, GATE_OUTPUT, cell);
    for (int64_t i = 0; i < n; ++i) {
        int32_t product =
            (int32_t)l->value[GATE_OUTPUT][i] * tfl_tanh16(cell[i], 15 + l->cell_log2);
        int64_t v = tfl_scale(product, l->hidden_factor);
        /* LiteRT subtracts the zero point of projected values here, and the projection adds it. */
        if (l->projection)
            l->hidden[i] = (int16_t)tfl_clamp(v - l->hidden_zero, -128, 127);
        else
            h[i] = (int8_t)tfl_clamp(v + l->hidden_zero, -128, 127);
    }
    if (l->projection)
        project(l, h);
}

hone_status lstm_run_integers(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, LSTM_X);
    hone_tensor *y = hone_out(c, 0), *h = hone_out(c, 1), *cell = hone_out(c, 2);
    lstm_int l = {.cell_log2 = 0};
    HONE_TRY(prepare(c, &l));
    for (int64_t b = 0; b < l.s.batch; ++b) {
        int8_t *state = (int8_t *)h->data + b * l.s.outputs;
        for (int64_t t = 0; t < l.s.time; ++t) {
            int64_t row = lstm_row(&l.s, b, t);
            step(&l, (const int8_t *)x->data + row * l.s.n, state,
                 (int16_t *)cell->data + b * l.s.cells);
            if (y)
                memcpy((int8_t *)y->data + row * l.s.outputs, state, (size_t)l.s.outputs);
        }
    }
    return HONE_OK;
}
