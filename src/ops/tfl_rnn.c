/* QRnn: y = activation(W x + R h + b) over a sequence, h being the last y. Inputs: x [time, batch,
 * n] or, unless time_major, [batch, time, n]; W [units, n]; R [units, units]; bias [units]; h
 * [batch, units]; auxiliary x and its weights, or omitted. Weights float, or int8 (hybrid;
 * attribute scales: of W, R and the auxiliary weights). Outputs: y, h. Source:
 * tflite/kernels/internal/kernel_utils.cc (LiteRT). */
#include <string.h>

#include "ops/tfl_lstm.h"

enum { RNN_X, RNN_W, RNN_R, RNN_BIAS, RNN_H, RNN_AUX, RNN_AUX_W };

typedef struct part {
    const hone_tensor *w;
    const int16_t *wide;
    float scale;
    int64_t n;
    int16_t *row;
} part;

static hone_status read_part(hone_op_ctx *c, int i, int k, part *p) {
    hone_status status = HONE_OK;
    p->w = hone_in(c, i);
    if (!p->w)
        return HONE_OK;
    p->n = p->w->dims[1];
    p->scale = lstm_scale(c->node, k);
    if (p->w->dtype != HONE_DTYPE_F32) {
        p->wide = tfl_wide_matrix(c, p->w, &status);
        p->row = hone_op_scratch(c, ((size_t)p->n + 1) * sizeof *p->row);
        status = p->row ? status : HONE_E_NOMEM;
    }
    return status;
}

static void add_part(const part *p, const float *x, bool is_symmetric, int64_t units, float *y) {
    float scale = 1;
    if (!p->w)
        return;
    if (p->wide)
        tfl_quantise_rows(x, 1, p->n, is_symmetric, p->row, &scale);
    for (int64_t u = 0; u < units; ++u) {
        float sum = 0;
        if (p->wide)
            sum = (float)tfl_dot(p->row, p->wide + u * p->n, p->n) * (scale * p->scale);
        else
            for (int64_t k = 0; k < p->n; ++k)
                sum += ((const float *)p->w->data)[u * p->n + k] * x[k];
        y[u] += sum;
    }
}

hone_status hone_ref_tfl_rnn(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, RNN_X), *aux = hone_in(c, RNN_AUX);
    const float *bias = hone_in(c, RNN_BIAS)->data;
    hone_tensor *y = hone_out(c, 0), *h = hone_out(c, 1);
    part w = {.n = 0}, r = {.n = 0}, a = {.n = 0};
    if (!y || !h)
        return hone_op_fail(c, HONE_E_FORMAT, "both outputs are needed");
    HONE_TRY(read_part(c, RNN_W, 0, &w));
    HONE_TRY(read_part(c, RNN_R, 1, &r));
    HONE_TRY(read_part(c, RNN_AUX_W, 2, &a));
    bool is_major = hone_attr_int(c->node, "time_major", 0) != 0;
    bool is_symmetric = hone_attr_int(c->node, "is_symmetric", 0) != 0;
    int64_t units = w.w->dims[0], batch = x->dims[is_major ? 1 : 0],
            time = x->dims[is_major ? 0 : 1];
    lstm_shape s = {.time = time,
                    .step_batch = is_major ? 1 : time,
                    .step_time = is_major ? batch : 1,
                    .is_reverse = hone_attr_int(c->node, "reverse", 0) != 0};
    int64_t activation = hone_attr_int(c->node, "activation", 0);
    memcpy(h->data, hone_in(c, RNN_H)->data, hone_tensor_bytes(h));
    for (int64_t b = 0; b < batch; ++b) {
        float *state = (float *)h->data + b * units;
        for (int64_t t = 0; t < time; ++t) {
            int64_t row = lstm_row(&s, b, t);
            float *to = (float *)y->data + row * units;
            memcpy(to, bias, (size_t)units * sizeof *to);
            add_part(&w, (const float *)x->data + row * w.n, is_symmetric, units, to);
            if (aux)
                add_part(&a, (const float *)aux->data + row * a.n, is_symmetric, units, to);
            add_part(&r, state, is_symmetric, units, to);
            for (int64_t u = 0; u < units; ++u)
                state[u] = to[u] = tfl_activation(activation, to[u]);
        }
    }
    return HONE_OK;
}

static bool is_matrix(const hone_type *t, int64_t rows, int64_t columns) {
    return t->rank == 2 && hone_dtype_in(t->dtype, HONE_T(F32) | HONE_T(I8)) &&
           t->dims[0] == rows && t->dims[1] > 0 && (columns < 0 || t->dims[1] == columns);
}

hone_status hone_infer_tfl_rnn(hone_infer_ctx *c) {
    for (int i = 0; i < 5; ++i) {
        if (!hone_infer_has(c, i) || c->in[i].rank < 0)
            return HONE_OK;
    }
    HONE_TRY(tfl_check_type(c));
    const hone_type *x = &c->in[RNN_X], *w = &c->in[RNN_W], *h = &c->in[RNN_H],
                    *bias = &c->in[RNN_BIAS];
    bool is_major = hone_attr_int(c->node, "time_major", 0) != 0;
    int64_t units = w->rank == 2 ? w->dims[0] : 0,
            batch = x->rank == 3 ? x->dims[is_major ? 1 : 0] : -1;
    bool fits = x->rank == 3 && units > 0 && is_matrix(w, units, x->dims[2]) &&
                is_matrix(&c->in[RNN_R], units, units) && bias->rank == 1 &&
                bias->dims[0] == units && bias->dtype == HONE_DTYPE_F32 && h->rank == 2 &&
                h->dtype == HONE_DTYPE_F32 && h->dims[1] == units &&
                (h->dims[0] < 0 || batch < 0 || h->dims[0] == batch) &&
                hone_infer_has(c, RNN_AUX) == hone_infer_has(c, RNN_AUX_W);
    if (fits && hone_infer_has(c, RNN_AUX)) {
        const hone_type *a = &c->in[RNN_AUX];
        fits = a->rank == 3 && a->dtype == HONE_DTYPE_F32 && a->dims[0] == x->dims[0] &&
               a->dims[1] == x->dims[1] && is_matrix(&c->in[RNN_AUX_W], units, a->dims[2]);
    }
    if (!fits)
        return hone_infer_fail(c, HONE_E_SHAPE, "inputs, weights and state do not fit each other");
    hone_infer_set(c, 0, HONE_DTYPE_F32, 3, (int64_t[]){x->dims[0], x->dims[1], units});
    hone_infer_set(c, 1, HONE_DTYPE_F32, 2, (int64_t[]){batch, units});
    return HONE_OK;
}
