/* RNN, GRU and LSTM (ONNX operator specification): types, attributes, checks. */
#include "ops/rnn.h"

#include <inttypes.h>
#include <math.h>
#include <strings.h>

#define REAL       float
#define RNN_(name) f32_##name
#define VECMAT     hone_vecmat_f32
#define TRANSPOSE  hone_transpose_f32
#define REAL_EXP   expf
#define REAL_TANH  tanhf
#define REAL_LOG1P log1pf
#include "ops/rnn_tmpl.h"
#undef REAL
#undef RNN_
#undef VECMAT
#undef TRANSPOSE
#undef REAL_EXP
#undef REAL_TANH
#undef REAL_LOG1P
#define REAL       double
#define RNN_(name) f64_##name
#define VECMAT     hone_vecmat_f64
#define TRANSPOSE  hone_transpose_f64
#define REAL_EXP   exp
#define REAL_TANH  tanh
#define REAL_LOG1P log1p
#include "ops/rnn_tmpl.h"

static const struct {
    const char *name;
    bool alpha, beta; /* takes an element of activation_alpha, activation_beta */
    float default_alpha, default_beta;
} acts[ACT_COUNT] = {
    [ACT_SIGMOID] = {"Sigmoid", false, false, 0, 0},
    [ACT_TANH] = {"Tanh", false, false, 0, 0},
    [ACT_RELU] = {"Relu", false, false, 0, 0},
    [ACT_AFFINE] = {"Affine", true, true, 1, 0},
    [ACT_LEAKY_RELU] = {"LeakyRelu", true, false, 0.01f, 0},
    [ACT_THRESHOLDED_RELU] = {"ThresholdedRelu", true, false, 1, 0},
    [ACT_SCALED_TANH] = {"ScaledTanh", true, true, 1, 1},
    [ACT_HARD_SIGMOID] = {"HardSigmoid", true, true, 0.2f, 0.5f},
    [ACT_ELU] = {"Elu", true, false, 1, 0},
    [ACT_SOFTSIGN] = {"Softsign", false, false, 0, 0},
    [ACT_SOFTPLUS] = {"Softplus", false, false, 0, 0},
};

static rnn_kind kind_of(const hone_node *node) {
    const char *name = node->op->name;
    return name[0] == 'L' ? RNN_LSTM : name[0] == 'G' ? RNN_GRU : RNN_PLAIN;
}

static const int gates_of[] = {[RNN_PLAIN] = 1, [RNN_GRU] = 3, [RNN_LSTM] = 4};
static const int acts_of[] = {[RNN_PLAIN] = 1, [RNN_GRU] = 2, [RNN_LSTM] = 3};

/* dims[axis] of input i is `want` (taken over when that is unknown). */
static hone_status merge_dim(hone_infer_ctx *c, int i, int axis, int64_t *want) {
    if (!hone_infer_has(c, i) || c->in[i].rank < 0)
        return HONE_OK;
    return hone_infer_same_dim(c, *want, c->in[i].dims[axis], want);
}

static hone_status check_ranks(hone_infer_ctx *c) {
    static const int ranks[] = {3, 3, 3, 2, 1, 3, 3, 2};
    for (int i = 0; i < c->n_in && i < 8; ++i) {
        if (hone_infer_has(c, i) && c->in[i].rank >= 0 && c->in[i].rank != ranks[i])
            return hone_infer_fail(c, HONE_E_SHAPE, "input %d must have rank %d, not %d", i,
                                   ranks[i], c->in[i].rank);
    }
    return HONE_OK;
}

hone_status hone_infer_rnn(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    HONE_TRY(check_ranks(c));
    rnn_kind kind = kind_of(c->node);
    bool batch_first = hone_attr_int(c->node, "layout", 0) != 0;
    const char *direction = hone_attr_string(c->node, "direction", "forward");
    int64_t n_dirs = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    if (n_dirs == 1 && strcmp(direction, "forward") != 0 && strcmp(direction, "reverse") != 0)
        return hone_infer_fail(c, HONE_E_FORMAT, "unknown direction \"%.40s\"", direction);
    int64_t n_gates = gates_of[kind], dirs = n_dirs;
    int64_t time = HONE_DIM_UNKNOWN, batch = time, in = time, bias = time, gates = time, p = time;
    int64_t hidden = hone_attr_int(c->node, "hidden_size", HONE_DIM_UNKNOWN);
    HONE_TRY(merge_dim(c, 0, batch_first ? 1 : 0, &time));
    HONE_TRY(merge_dim(c, 0, batch_first ? 0 : 1, &batch));
    HONE_TRY(merge_dim(c, 0, 2, &in));
    HONE_TRY(merge_dim(c, 1, 2, &in));
    HONE_TRY(merge_dim(c, 2, 2, &hidden));
    if (hidden > INT64_MAX / 16)
        return hone_infer_fail(c, HONE_E_SHAPE, "hidden_size %" PRId64 " is too large", hidden);
    if (hidden >= 0) {
        gates = hidden * n_gates;
        bias = gates * 2;
        p = hidden * 3;
    }
    HONE_TRY(merge_dim(c, 1, 1, &gates));
    HONE_TRY(merge_dim(c, 2, 1, &gates));
    HONE_TRY(merge_dim(c, 3, 1, &bias));
    HONE_TRY(merge_dim(c, 7, 1, &p));
    HONE_TRY(merge_dim(c, 4, 0, &batch));
    for (int i = 1; i <= 7; ++i)
        if (i != 4)
            HONE_TRY(merge_dim(c, i, (i == 5 || i == 6) && batch_first ? 1 : 0, &dirs));
    for (int i = 5; i <= 6; ++i) {
        HONE_TRY(merge_dim(c, i, batch_first ? 0 : 1, &batch));
        HONE_TRY(merge_dim(c, i, 2, &hidden));
    }
    hone_dtype d = c->in[0].dtype;
    int64_t y[4] = {time, dirs, batch, hidden}, y_b[4] = {batch, time, dirs, hidden};
    int64_t s[3] = {dirs, batch, hidden}, s_b[3] = {batch, dirs, hidden};
    hone_infer_set(c, 0, d, 4, batch_first ? y_b : y);
    hone_infer_set(c, 1, d, 3, batch_first ? s_b : s);
    if (kind == RNN_LSTM)
        hone_infer_set(c, 2, d, 3, batch_first ? s_b : s);
    return HONE_OK;
}

static int find_act(hone_string name) {
    for (int i = 0; i < ACT_COUNT; ++i)
        if (name.len == strlen(acts[i].name) && strncasecmp(name.data, acts[i].name, name.len) == 0)
            return i;
    return -1;
}

/* activation_alpha and activation_beta are consumed by the functions that use them, in order. */
static hone_status parse_acts(hone_op_ctx *c, rnn_args *a) {
    static const rnn_act defaults[][3] = {[RNN_PLAIN] = {ACT_TANH, ACT_TANH, ACT_TANH},
                                          [RNN_GRU] = {ACT_SIGMOID, ACT_TANH, ACT_TANH},
                                          [RNN_LSTM] = {ACT_SIGMOID, ACT_TANH, ACT_TANH}};
    const hone_string *names;
    const float *alpha, *beta;
    int n = hone_attr_strings(c->node, "activations", &names);
    int n_alpha = hone_attr_floats(c->node, "activation_alpha", &alpha);
    int n_beta = hone_attr_floats(c->node, "activation_beta", &beta);
    int n_acts = acts_of[a->kind], i_alpha = 0, i_beta = 0;
    if (n != 0 && n != n_acts * a->n_dirs)
        return hone_op_fail(c, HONE_E_FORMAT, "%d activations are given, %d are needed", n,
                            n_acts * a->n_dirs);
    for (int i = 0; i < n_acts * a->n_dirs; ++i) {
        int act = n ? find_act(names[i]) : (int)defaults[a->kind][i % n_acts];
        if (act < 0)
            return hone_op_fail(c, HONE_E_UNSUPPORTED, "unknown activation \"%.*s\"",
                                (int)(names[i].len > 40 ? 40 : names[i].len), names[i].data);
        rnn_fn *fn = &a->fn[i / n_acts][i % n_acts];
        fn->act = (rnn_act)act;
        fn->alpha =
            acts[act].alpha && i_alpha < n_alpha ? alpha[i_alpha++] : acts[act].default_alpha;
        fn->beta = acts[act].beta && i_beta < n_beta ? beta[i_beta++] : acts[act].default_beta;
    }
    return HONE_OK;
}

static hone_status check_lens(hone_op_ctx *c, const rnn_args *a) {
    for (int64_t i = 0; a->lens && i < a->n_batch; ++i) {
        int64_t len = hone_load_i64(a->lens->dtype, a->lens->data, i);
        if (len < 0 || len > a->n_time)
            return hone_op_fail(c, HONE_E_RUNTIME,
                                "sequence_lens[%" PRId64 "] is %" PRId64
                                ", outside 0 to seq_length %" PRId64,
                                i, len, a->n_time);
    }
    return HONE_OK;
}

static hone_status set_args(hone_op_ctx *c, rnn_args *a, hone_dtype real) {
    const hone_tensor *x = hone_in(c, 0);
    a->kind = kind_of(c->node);
    a->n_gates = gates_of[a->kind];
    a->n_dirs = (int)c->in[1]->dims[0];
    a->reverse = strcmp(hone_attr_string(c->node, "direction", "forward"), "reverse") == 0;
    a->batch_first = hone_attr_int(c->node, "layout", 0) != 0;
    a->input_forget = hone_attr_int(c->node, "input_forget", 0) != 0;
    a->linear_before_reset = hone_attr_int(c->node, "linear_before_reset", 0) != 0;
    a->clip = hone_attr_float(c->node, "clip", INFINITY);
    if (a->clip <= 0)
        a->clip = INFINITY;
    a->n_time = x->dims[a->batch_first ? 1 : 0];
    a->n_batch = x->dims[a->batch_first ? 0 : 1];
    a->n_in = x->dims[2];
    a->n_hidden = c->in[2]->dims[2];
    a->lens = hone_in(c, 4);
    HONE_TRY(parse_acts(c, a));
    HONE_TRY(check_lens(c, a));
    /* X may be empty and yet claim any number of steps. */
    if ((double)a->n_time * (double)a->n_batch * (double)(4 * a->n_hidden + 1) > 1e15)
        return hone_op_fail(c, HONE_E_NOMEM, "the sequences are too large");
    bool ok = true, lstm = a->kind == RNN_LSTM;
    a->x = hone_op_widen(c, x, real, &ok);
    a->w = hone_op_widen(c, hone_in(c, 1), real, &ok);
    a->r = hone_op_widen(c, hone_in(c, 2), real, &ok);
    a->b = hone_op_widen(c, hone_in(c, 3), real, &ok);
    a->h0 = hone_op_widen(c, hone_in(c, 5), real, &ok);
    a->c0 = lstm ? hone_op_widen(c, hone_in(c, 6), real, &ok) : NULL;
    a->p = lstm ? hone_op_widen(c, hone_in(c, 7), real, &ok) : NULL;
    a->y = hone_op_wide_out(c, hone_out(c, 0), real, &ok);
    a->y_h = hone_op_wide_out(c, hone_out(c, 1), real, &ok);
    a->y_c = lstm ? hone_op_wide_out(c, hone_out(c, 2), real, &ok) : NULL;
    a->work = hone_op_array(c, rnn_work(a), real == HONE_DTYPE_F64 ? 8 : 4);
    return ok && a->work ? HONE_OK : HONE_E_NOMEM;
}

hone_status hone_ref_rnn(hone_op_ctx *c) {
    if (!hone_dtype_in(c->in[0]->dtype, HONE_T_FLOAT))
        return hone_op_bad_type(c, c->in[0]->dtype);
    hone_dtype real = c->in[0]->dtype == HONE_DTYPE_F64 ? HONE_DTYPE_F64 : HONE_DTYPE_F32;
    rnn_args a = {0};
    HONE_TRY(set_args(c, &a, real));
    for (int dir = 0; dir < a.n_dirs; ++dir) {
        if (real == HONE_DTYPE_F64)
            f64_direction(&a, dir);
        else
            f32_direction(&a, dir);
    }
    hone_op_narrow(hone_out(c, 0), real, a.y);
    hone_op_narrow(hone_out(c, 1), real, a.y_h);
    hone_op_narrow(hone_out(c, 2), real, a.y_c);
    return HONE_OK;
}
