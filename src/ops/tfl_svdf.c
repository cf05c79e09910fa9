/* QSvdf: a layer over a window of the last inputs, by matrices of low rank. Inputs: x [batch, n],
 * features [filters, n], weights over time [filters, memory], bias [units] or omitted, state
 * [batch, filters * memory]; filters = units * rank. Outputs: y [batch, units], state. Float with
 * float or int8 features (hybrid), or int8 with an int16 state. Source:
 * tflite/kernels/internal/reference/svdf.h (LiteRT). */
#include <string.h>

#include "ops/tfl_lstm.h"

enum { SVDF_X, SVDF_FEATURES, SVDF_TIME, SVDF_BIAS, SVDF_STATE };

typedef struct svdf {
    int64_t batch, n, filters, memory, units, rank, activation;
    const hone_tensor *time, *bias;
    const float *real;
    const int16_t *wide;
    float scale;
    int32_t x_zero;
    tfl_factor factor_1, factor_2;
    int32_t y_zero;
    int16_t *row;
} svdf;

static void shift_in(void *state, size_t bytes, size_t element) {
    memmove(state, (char *)state + element, bytes - element);
}

static void run_float(const svdf *s, const float *x, float *state, float *y, bool is_symmetric) {
    const float *time = s->time->data;
    float scale = s->scale, own = 1;
    shift_in(state, (size_t)(s->filters * s->memory) * sizeof *state, sizeof *state);
    if (s->wide)
        tfl_quantise_rows(x, 1, s->n, is_symmetric, s->row, &own);
    for (int64_t u = 0; u < s->units; ++u)
        y[u] = s->bias ? ((const float *)s->bias->data)[u] : 0;
    for (int64_t f = 0; f < s->filters; ++f) {
        float feature = 0, sum = 0;
        if (s->wide) {
            feature = (float)tfl_dot(s->row, s->wide + f * s->n, s->n) * (own * scale);
        } else {
            for (int64_t k = 0; k < s->n; ++k)
                feature += s->real[f * s->n + k] * x[k];
        }
        state[f * s->memory + s->memory - 1] = feature;
        for (int64_t m = 0; m < s->memory; ++m)
            sum += time[f * s->memory + m] * state[f * s->memory + m];
        y[f / s->rank] += sum;
    }
    for (int64_t u = 0; u < s->units; ++u)
        y[u] = tfl_activation(s->activation, y[u]);
}

static void run_int(const svdf *s, const int8_t *x, int16_t *state, int8_t *y) {
    const int16_t *time = s->time->data;
    shift_in(state, (size_t)(s->filters * s->memory) * sizeof *state, sizeof *state);
    for (int64_t k = 0; k < s->n; ++k)
        s->row[k] = (int16_t)(x[k] - s->x_zero);
    for (int64_t u = 0; u < s->units; ++u) {
        int64_t total = s->bias ? ((const int32_t *)s->bias->data)[u] : 0;
        for (int64_t f = u * s->rank; f < (u + 1) * s->rank; ++f) {
            int32_t dot = tfl_wrap(tfl_dot(s->row, s->wide + f * s->n, s->n));
            state[f * s->memory + s->memory - 1] =
                (int16_t)tfl_clamp(tfl_scale(dot, s->factor_1), INT16_MIN, INT16_MAX);
            for (int64_t m = 0; m < s->memory; ++m)
                total += (int32_t)time[f * s->memory + m] * state[f * s->memory + m];
        }
        int64_t v = (int64_t)tfl_scale(tfl_wrap(total), s->factor_2) + s->y_zero;
        y[u] = (int8_t)tfl_clamp(v, -128, 127);
    }
}

static hone_status prepare(hone_op_ctx *c, svdf *s) {
    hone_status status = HONE_OK;
    const hone_tensor *features = hone_in(c, SVDF_FEATURES);
    s->time = hone_in(c, SVDF_TIME);
    s->bias = hone_in(c, SVDF_BIAS);
    s->batch = hone_in(c, SVDF_X)->dims[0];
    s->n = hone_in(c, SVDF_X)->dims[1];
    s->filters = features->dims[0];
    s->memory = s->time->dims[1];
    s->rank = hone_attr_int(c->node, "rank", 1);
    s->units = s->filters / s->rank;
    s->activation = hone_attr_int(c->node, "activation", 0);
    s->scale = hone_attr_float(c->node, "w_scale", 1);
    if (features->dtype == HONE_DTYPE_F32)
        s->real = features->data;
    else
        s->wide = tfl_wide_matrix(c, features, &status);
    s->row = hone_op_scratch(c, ((size_t)s->n + 1) * sizeof *s->row);
    tfl_param x = tfl_param_of(c->node, "x"), y = tfl_param_of(c->node, "y");
    tfl_param state = tfl_param_of(c->node, "state"), time = tfl_param_of(c->node, "time");
    s->x_zero = x.zero;
    s->y_zero = y.zero;
    float state_scale = (float)state.scale; /* LiteRT multiplies in float */
    s->factor_1 = tfl_factor_of((double)((float)x.scale * s->scale / state_scale));
    s->factor_2 = tfl_factor_of((double)(state_scale * (float)time.scale / (float)y.scale));
    return s->row ? status : HONE_E_NOMEM;
}

hone_status hone_ref_tfl_svdf(hone_op_ctx *c) {
    svdf s = {.units = 0};
    hone_tensor *y = hone_out(c, 0), *state = hone_out(c, 1);
    const hone_tensor *x = hone_in(c, SVDF_X);
    if (!y || !state)
        return hone_op_fail(c, HONE_E_FORMAT, "both outputs are needed");
    memcpy(state->data, hone_in(c, SVDF_STATE)->data, hone_tensor_bytes(state));
    HONE_TRY(prepare(c, &s));
    bool is_symmetric = hone_attr_int(c->node, "is_symmetric", 0) != 0;
    for (int64_t b = 0; b < s.batch; ++b) {
        int64_t at = b * s.filters * s.memory;
        if (x->dtype == HONE_DTYPE_F32)
            run_float(&s, (const float *)x->data + b * s.n, (float *)state->data + at,
                      (float *)y->data + b * s.units, is_symmetric);
        else
            run_int(&s, (const int8_t *)x->data + b * s.n, (int16_t *)state->data + at,
                    (int8_t *)y->data + b * s.units);
    }
    return HONE_OK;
}

static bool has_type(const hone_infer_ctx *c, int i, int rank, uint32_t types) {
    return c->in[i].rank == rank && hone_dtype_in(c->in[i].dtype, types);
}

hone_status hone_infer_tfl_svdf(hone_infer_ctx *c) {
    if (c->n_in < 5 || !c->node->in[SVDF_STATE])
        return hone_infer_fail(c, HONE_E_FORMAT, "the state is missing");
    for (int i = 0; i < 5; ++i) {
        if (i != SVDF_BIAS && (!hone_infer_has(c, i) || c->in[i].rank < 0))
            return HONE_OK;
    }
    HONE_TRY(tfl_check_type(c));
    const hone_type *x = &c->in[SVDF_X], *features = &c->in[SVDF_FEATURES],
                    *time = &c->in[SVDF_TIME];
    const hone_type *state = &c->in[SVDF_STATE], *bias = &c->in[SVDF_BIAS];
    bool is_int = x->dtype == HONE_DTYPE_I8;
    bool fits =
        x->rank == 2 && has_type(c, SVDF_FEATURES, 2, HONE_T(I8) | (is_int ? 0 : HONE_T(F32))) &&
        has_type(c, SVDF_TIME, 2, is_int ? HONE_T(I16) : HONE_T(F32)) &&
        has_type(c, SVDF_STATE, 2, is_int ? HONE_T(I16) : HONE_T(F32)) && features->dims[0] > 0 &&
        features->dims[1] > 0 && time->dims[0] == features->dims[0] && time->dims[1] > 0 &&
        features->dims[0] <= INT32_MAX && time->dims[1] <= INT32_MAX;
    int64_t rank = hone_attr_int(c->node, "rank", 1);
    fits = fits && rank > 0 && features->dims[0] % rank == 0 &&
           (x->dims[1] < 0 || x->dims[1] == features->dims[1]) &&
           (state->dims[0] < 0 || x->dims[0] < 0 || state->dims[0] == x->dims[0]) &&
           (state->dims[1] < 0 || state->dims[1] == features->dims[0] * time->dims[1]);
    if (fits && hone_infer_has(c, SVDF_BIAS))
        fits = bias->rank == 1 && bias->dims[0] == features->dims[0] / rank &&
               bias->dtype == (is_int ? HONE_DTYPE_I32 : HONE_DTYPE_F32);
    if (!fits)
        return hone_infer_fail(c, HONE_E_SHAPE, "inputs, weights and state do not fit each other");
    hone_infer_set(c, 0, x->dtype, 2, (int64_t[]){x->dims[0], features->dims[0] / rank});
    hone_infer_set(c, 1, state->dtype, 2,
                   (int64_t[]){x->dims[0], features->dims[0] * time->dims[1]});
    return HONE_OK;
}
