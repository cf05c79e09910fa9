/* Recurrent layers. Their states are variable tensors (import_state.c). */
#include "tflite/import_impl.h"

/* Inputs of an LSTM by their place in UNIDIRECTIONAL_SEQUENCE_LSTM, then the auxiliary input and
 * its weights (src/ops/tfl_lstm.h). */
enum {
    WEIGHTS = 1,
    PEEPHOLE = 9,
    BIAS = 12,
    PROJECTION = 16,
    OUTPUT_STATE = 18,
    CELL_STATE,
    NORM,
    AUX = 24,
    PLACES = 29
};

/* One direction of a recurrent layer. */
typedef struct layer {
    int at[PLACES]; /* number of the operator's input; -1: none */
    hone_value *x;  /* of rank 3 */
    bool is_time_major, is_reverse, is_symmetric;
    int64_t activation;
    float cell_clip, proj_clip;
} layer;

static bool has(const tfr_import *im, int k) {
    return k >= 0 && tfr_in_tensor(im, k) != NULL;
}

static bool is_hybrid(const tfr_tensor *w) {
    return w && w->dtype == HONE_DTYPE_I8;
}

/* int8 matrices as they are; what else is quantised, in float. */
static hone_value *float_input(tfr_import *im, int k) {
    const tfr_tensor *t = k >= 0 ? tfr_in_tensor(im, k) : NULL;
    if (!t)
        return NULL;
    bool is_matrix = t->rank == 2 && t->dtype == HONE_DTYPE_I8 && t->quant.n_scales == 1;
    return is_matrix ? tfr_in_raw(im, k) : tfr_in_float(im, k);
}

static void set_list(tfr_import *im, hone_value *v, const char *name, const float *list, int n) {
    if (im->status == HONE_OK && v && !hone_attr_set_floats(im->g, v->producer, name, list, n))
        tfr_fail(im, HONE_E_NOMEM, "out of memory");
}

static float scale_of(const tfr_import *im, int k) {
    const tfr_tensor *t = k >= 0 ? tfr_in_tensor(im, k) : NULL;
    return t && t->quant.n_scales == 1 ? t->quant.scale[0] : 0;
}

static void one_scale(tfr_import *im, hone_value *v, const char *name, const tfr_tensor *t) {
    if (t)
        tfr_param(im, v, name, t);
    else
        tfr_fail(im, HONE_E_FORMAT, "the quantisation of %s is missing", name);
}

static const tfr_tensor *intermediate(const tfr_import *im, int i) {
    int t = i < im->op->n_intermediates ? im->op->intermediates[i] : -1;
    return t < 0 || im->sub->tensors[t].quant.n_scales != 1 ? NULL : &im->sub->tensors[t];
}

/* Scales of an integer LSTM: of input, states, the gates before layer normalisation, the hidden
 * value. */
static void set_integers(tfr_import *im, hone_value *y, const layer *l) {
    const tfr_tensor *cell = tfr_in_tensor(im, l->at[CELL_STATE]), *hidden = intermediate(im, 4);
    float gates[4] = {0};
    for (int g = 0; has(im, l->at[NORM + 1]) && g < 4; ++g)
        gates[g] = intermediate(im, g) ? intermediate(im, g)->quant.scale[0] : 0;
    set_list(im, y, "gate_scales", gates, 4);
    one_scale(im, y, "x", tfr_in_tensor(im, l->at[0]));
    one_scale(im, y, "h", tfr_in_tensor(im, l->at[OUTPUT_STATE]));
    tfr_int(im, y, "hidden_zero", hidden ? hidden->quant.zero_point[0] : 0);
    if (hidden)
        tfr_float(im, y, "hidden_scale", hidden->quant.scale[0]);
    int log2 = 0;
    bool is_power = cell && cell->quant.n_scales == 1;
    float rest = is_power ? cell->quant.scale[0] : 1.0f;
    for (; rest < 1.0f && rest > 0 && log2 > -16; --log2)
        rest *= 2;
    if (!hidden || !is_power || rest != 1.0f || log2 < -15 || log2 > -9)
        tfr_fail(im, HONE_E_UNSUPPORTED,
                 "the cell state's scale must be a power of two from 2^-15 to 2^-9, the hidden "
                 "value's known");
    tfr_int(im, y, "cell_log2", log2);
}

/* ---- LSTM -------------------------------------------------------------------------------------
 */

/* The layer has no more than ONNX's LSTM has, and float weights. */
static bool is_plain(tfr_import *im, const layer *l) {
    const tfr_tensor *w = tfr_in_tensor(im, l->at[WEIGHTS]), *x = tfr_in_tensor(im, 0);
    for (int i = WEIGHTS; i < PEEPHOLE; ++i) {
        const tfr_tensor *t = tfr_in_tensor(im, l->at[i] < 0 ? PLACES : l->at[i]);
        if (!t || t->rank != 2 || tfr_is_quantised(t) || t->dims[0] < 1)
            return false;
    }
    return w && x && x->dtype == HONE_DTYPE_F32 && !has(im, l->at[PEEPHOLE + 1]) &&
           !has(im, l->at[PROJECTION]) && !has(im, l->at[NORM + 1]) && !has(im, l->at[AUX]) &&
           l->activation == TFL_ACT_TANH && !(l->cell_clip > 0) && !(l->proj_clip > 0);
}

/* Inputs first to first + 3 in the order input, output, forget, cell, one below the other. */
static hone_value *gates(tfr_import *im, const layer *l, int first, hone_value *more) {
    static const int order[] = {0, 3, 1, 2};
    hone_value *in[5] = {NULL};
    for (int g = 0; g < 4; ++g)
        in[g] = tfr_in_float(im, l->at[first + order[g]]);
    in[4] = more;
    hone_value *y = tfr_make(im, "Concat", in, more ? 5 : 4);
    tfr_int(im, y, "axis", 0);
    return tfr_binary(im, "Unsqueeze", y, tfr_const_i64(im, (int64_t[]){0}, 1));
}

static hone_value *swap_time(tfr_import *im, const layer *l, hone_value *v) {
    return l->is_time_major ? v : tfr_transpose(im, v, (int64_t[]){1, 0, 2}, 3);
}

static hone_value *drop_axis(tfr_import *im, hone_value *v, int64_t axis) {
    return tfr_binary(im, "Squeeze", v, tfr_const_i64(im, &axis, 1));
}

static hone_value *plain_lstm(tfr_import *im, const layer *l) {
    int64_t cells = tfr_in_tensor(im, l->at[WEIGHTS])->dims[0], zero = 0;
    hone_value *one = tfr_const_i64(im, &zero, 1), *out[3];
    hone_value *none = tfr_binary(im, "Expand", tfr_const_f32(im, 0),
                                  tfr_const_i64(im, (int64_t[]){4 * cells}, 1));
    hone_value *h = tfr_binary(im, "Unsqueeze", tfr_state_in(im, l->at[OUTPUT_STATE]), one);
    hone_value *c = tfr_binary(im, "Unsqueeze", tfr_state_in(im, l->at[CELL_STATE]), one);
    hone_value *in[7] = {swap_time(im, l, l->x),
                         gates(im, l, WEIGHTS, NULL),
                         gates(im, l, WEIGHTS + 4, NULL),
                         gates(im, l, BIAS, none),
                         NULL,
                         h,
                         c};
    tfr_make_many(im, "LSTM", in, 7, out, 3);
    tfr_int(im, out[0], "hidden_size", cells);
    if (l->is_reverse)
        tfr_text_attr(im, out[0], "direction", "reverse");
    tfr_state_out(im, l->at[OUTPUT_STATE], drop_axis(im, out[1], 0));
    tfr_state_out(im, l->at[CELL_STATE], drop_axis(im, out[2], 0));
    return swap_time(im, l, drop_axis(im, out[0], 1));
}

static hone_value *build_lstm(tfr_import *im, const layer *l) {
    if (is_plain(im, l))
        return plain_lstm(im, l);
    const tfr_tensor *x = tfr_in_tensor(im, l->at[0]);
    bool is_integer = x && x->dtype == HONE_DTYPE_I8;
    hone_value *in[PLACES] = {l->x}, *out[3];
    float scales[PLACES] = {0};
    for (int i = 1; i < PLACES; ++i) {
        if (!has(im, l->at[i]))
            continue;
        if (i == OUTPUT_STATE || i == CELL_STATE)
            in[i] = tfr_state_in(im, l->at[i]);
        else
            in[i] = is_integer ? tfr_in_raw(im, l->at[i]) : float_input(im, l->at[i]);
        scales[i] = scale_of(im, l->at[i]);
    }
    tfr_make_many(im, "QLstm", in, PLACES, out, 3);
    hone_value *y = out[0];
    set_list(im, y, "scales", scales, PLACES);
    tfr_int(im, y, "time_major", l->is_time_major);
    tfr_int(im, y, "reverse", l->is_reverse);
    tfr_int(im, y, "activation", l->activation);
    tfr_int(im, y, "is_symmetric", l->is_symmetric);
    tfr_float(im, y, "cell_clip", l->cell_clip);
    tfr_float(im, y, "proj_clip", l->proj_clip);
    if (is_integer)
        set_integers(im, y, l);
    tfr_state_out(im, l->at[OUTPUT_STATE], out[1]);
    tfr_state_out(im, l->at[CELL_STATE], out[2]);
    return y;
}

static layer lstm_layer(tfr_import *im) {
    enum { ACTIVATION, CELL_CLIP, PROJ_CLIP };
    layer l = {.activation = tfr_option_byte(im, ACTIVATION, 0),
               .cell_clip = tfr_option_f32(im, CELL_CLIP, 0),
               .proj_clip = tfr_option_f32(im, PROJ_CLIP, 0),
               .x = tfr_in_raw(im, 0)};
    for (int i = 0; i < PLACES; ++i)
        l.at[i] = i < AUX ? i : -1;
    return l;
}

void tfr_build_sequence_lstm(tfr_import *im) {
    enum { TIME_MAJOR = 3, ASYMMETRIC, DIAGONAL };
    layer l = lstm_layer(im);
    l.is_time_major = tfr_option_byte(im, TIME_MAJOR, 0) != 0;
    l.is_symmetric = tfr_option_byte(im, ASYMMETRIC, 0) == 0;
    if (tfr_option_byte(im, DIAGONAL, 0) != 0)
        tfr_fail(im, HONE_E_UNSUPPORTED, "diagonal recurrent weights are not supported");
    else
        tfr_out_raw(im, 0, build_lstm(im, &l));
}

/* A single step. */
void tfr_build_lstm(tfr_import *im) {
    enum { KERNEL = 3, ASYMMETRIC };
    layer l = lstm_layer(im);
    if (tfr_option_byte(im, KERNEL, 0) != 0) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "the basic kernel of LSTM is not supported");
        return;
    }
    l.is_time_major = true;
    l.is_symmetric = tfr_option_byte(im, ASYMMETRIC, 0) == 0;
    l.x = tfr_binary(im, "Unsqueeze", l.x, tfr_const_i64(im, (int64_t[]){0}, 1));
    tfr_out_raw(im, 0, drop_axis(im, build_lstm(im, &l), 0));
}

/* Both directions' outputs: apart, or side by side. */
static void put_both(tfr_import *im, hone_value *forward, hone_value *backward, bool is_merged) {
    if (!is_merged) {
        tfr_out_raw(im, 0, forward);
        tfr_out_raw(im, 1, backward);
        return;
    }
    hone_value *y = tfr_binary(im, "Concat", forward, backward);
    tfr_int(im, y, "axis", 2);
    tfr_out_raw(im, 0, y);
}

void tfr_build_bidirectional_lstm(tfr_import *im) {
    enum { MERGE = 3, TIME_MAJOR, ASYMMETRIC };
    enum { BACKWARD = 17, STATES = 35, AUX_INPUT = 39, AUX_WEIGHTS = 40 };
    layer l[2];
    hone_value *y[2];
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    bool uses_aux = has(im, AUX_WEIGHTS + 1);
    if (!x || x->dtype != HONE_DTYPE_F32) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "only float is supported");
        return;
    }
    for (int d = 0; d < 2; ++d) {
        l[d] = lstm_layer(im);
        l[d].is_time_major = tfr_option_byte(im, TIME_MAJOR, 1) != 0;
        l[d].is_symmetric = tfr_option_byte(im, ASYMMETRIC, 0) == 0;
        l[d].is_reverse = d == 1;
        for (int i = 1; i < OUTPUT_STATE; ++i)
            l[d].at[i] = i + d * BACKWARD;
        for (int i = 0; i < 4; ++i) {
            l[d].at[NORM + i] = -1;
            l[d].at[AUX + 1 + i] = uses_aux ? AUX_WEIGHTS + 4 * d + i : -1;
        }
        l[d].at[OUTPUT_STATE] = STATES + 2 * d;
        l[d].at[CELL_STATE] = STATES + 2 * d + 1;
        l[d].at[AUX] = uses_aux ? AUX_INPUT : -1;
        /* Without weights of its own the auxiliary input is the backward direction's input. */
        if (d == 1 && !uses_aux && has(im, AUX_INPUT))
            l[d].x = tfr_in_raw(im, AUX_INPUT);
        y[d] = build_lstm(im, &l[d]);
    }
    put_both(im, y[0], y[1], tfr_option_byte(im, MERGE, 0) != 0);
}

/* ---- RNN --------------------------------------------------------------------------------------
 */

/* Inputs from `first` on: weights, recurrent weights, bias, state. */
static hone_value *build_rnn(tfr_import *im, const layer *l, int first, int aux, int aux_weights) {
    hone_value *in[7] = {l->x,
                         float_input(im, first),
                         float_input(im, first + 1),
                         tfr_in_float(im, first + 2),
                         tfr_state_in(im, first + 3),
                         aux < 0 ? NULL : tfr_in_raw(im, aux),
                         aux < 0 ? NULL : float_input(im, aux_weights)};
    hone_value *out[2];
    float scales[3] = {scale_of(im, first), scale_of(im, first + 1), scale_of(im, aux_weights)};
    tfr_make_many(im, "QRnn", in, aux < 0 ? 5 : 7, out, 2);
    set_list(im, out[0], "scales", scales, 3);
    tfr_int(im, out[0], "time_major", l->is_time_major);
    tfr_int(im, out[0], "reverse", l->is_reverse);
    tfr_int(im, out[0], "activation", l->activation);
    tfr_int(im, out[0], "is_symmetric", l->is_symmetric);
    tfr_state_out(im, first + 3, out[1]);
    return out[0];
}

void tfr_build_sequence_rnn(tfr_import *im) {
    layer l = {.x = tfr_in_raw(im, 0),
               .is_time_major = tfr_option_byte(im, 0, 0) != 0,
               .activation = tfr_option_byte(im, 1, 0),
               .is_symmetric = tfr_option_byte(im, 2, 0) == 0};
    tfr_out_raw(im, 0, build_rnn(im, &l, 1, -1, -1));
}

/* A single step. */
void tfr_build_rnn(tfr_import *im) {
    layer l = {.is_time_major = true,
               .activation = tfr_option_byte(im, 0, 0),
               .is_symmetric = tfr_option_byte(im, 1, 0) == 0};
    l.x = tfr_binary(im, "Unsqueeze", tfr_in_raw(im, 0), tfr_const_i64(im, (int64_t[]){0}, 1));
    tfr_out_raw(im, 0, drop_axis(im, build_rnn(im, &l, 1, -1, -1), 0));
}

void tfr_build_bidirectional_rnn(tfr_import *im) {
    enum { BACKWARD = 5, AUX_INPUT = 9, AUX_WEIGHTS };
    layer l = {.x = tfr_in_raw(im, 0),
               .is_time_major = tfr_option_byte(im, 0, 0) != 0,
               .activation = tfr_option_byte(im, 1, 0),
               .is_symmetric = tfr_option_byte(im, 3, 0) == 0};
    bool uses_aux = has(im, AUX_WEIGHTS);
    int aux = uses_aux ? AUX_INPUT : -1;
    hone_value *forward = build_rnn(im, &l, 1, aux, AUX_WEIGHTS);
    l.is_reverse = true;
    if (!uses_aux && has(im, AUX_INPUT))
        l.x = tfr_in_raw(im, AUX_INPUT);
    hone_value *backward = build_rnn(im, &l, BACKWARD, aux, AUX_WEIGHTS + 1);
    put_both(im, forward, backward, tfr_option_byte(im, 2, 0) != 0);
}

/* ---- SVDF -------------------------------------------------------------------------------------
 */

void tfr_build_svdf(tfr_import *im) {
    enum { RANK, ACTIVATION, ASYMMETRIC };
    enum { FEATURES = 1, TIME, SVDF_BIAS, STATE };
    const tfr_tensor *x = tfr_in_tensor(im, 0);
    bool is_integer = x && x->dtype == HONE_DTYPE_I8;
    int64_t activation = tfr_option_byte(im, ACTIVATION, 0);
    hone_value *in[5] = {tfr_in_raw(im, 0),
                         is_hybrid(tfr_in_tensor(im, FEATURES)) ? tfr_in_raw(im, FEATURES)
                                                                : tfr_in_float(im, FEATURES),
                         is_integer ? tfr_in_raw(im, TIME) : tfr_in_float(im, TIME),
                         is_integer ? tfr_in_raw(im, SVDF_BIAS) : tfr_in_float(im, SVDF_BIAS),
                         tfr_state_in(im, STATE)};
    hone_value *out[2];
    tfr_make_many(im, "QSvdf", in, 5, out, 2);
    tfr_int(im, out[0], "rank", tfr_option_i32(im, RANK, 0));
    tfr_int(im, out[0], "activation", activation);
    tfr_int(im, out[0], "is_symmetric", tfr_option_byte(im, ASYMMETRIC, 0) == 0);
    tfr_float(im, out[0], "w_scale", scale_of(im, FEATURES));
    const tfr_tensor *state = tfr_in_tensor(im, STATE);
    if (is_integer && state && state->dtype != HONE_DTYPE_I16) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "on integers the state must have 16 bits, as in LiteRT");
        return;
    }
    if (is_integer) {
        one_scale(im, out[0], "x", x);
        one_scale(im, out[0], "y", tfr_out_tensor(im, 0));
        one_scale(im, out[0], "state", tfr_in_tensor(im, STATE));
        one_scale(im, out[0], "time", tfr_in_tensor(im, TIME));
        if (activation != TFL_ACT_RELU)
            tfr_fail(im, HONE_E_UNSUPPORTED, "on integers LiteRT has ReLU only, not activation %d",
                     (int)activation);
    }
    tfr_state_out(im, STATE, out[1]);
    tfr_out_raw(im, 0, out[0]);
}
