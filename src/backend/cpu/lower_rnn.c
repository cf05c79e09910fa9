/* LSTM and GRU with constant weights: one hone.Gemm makes the inputs' part of the gates for all
 * steps and directions, hone.Recurrent runs the steps with packed recurrent weights. */
#include <math.h>
#include <string.h>

#include "backend/cpu/fuse.h"
#include "ir/weights.h"
#include "kernels/rnn.h"

enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P, N_IN };

typedef struct layer {
    const hone_node *n;
    hone_value *in[N_IN];
    bool is_lstm, is_linear; /* GRU: linear_before_reset */
    int64_t directions, gates, hidden, inputs;
} layer;

static const hone_tensor *f32_constant(const hone_value *v, int rank) {
    const hone_tensor *t = v ? v->constant : NULL;
    return t && t->dtype == HONE_DTYPE_F32 && t->rank == rank ? t : NULL;
}

/* No activations, or those that the operator has by itself. */
static bool has_usual_activations(const hone_node *n, bool is_lstm) {
    static const char *const usual[] = {"Sigmoid", "Tanh", "Tanh"};
    const hone_string *names;
    int count = hone_attr_strings(n, "activations", &names), period = is_lstm ? 3 : 2;
    for (int i = 0; i < count; ++i) {
        const char *want = usual[i % period];
        if (names[i].len != strlen(want) || memcmp(names[i].data, want, names[i].len) != 0)
            return false;
    }
    return true;
}

static bool is_plain(const hone_node *n) {
    float clip = hone_attr_float(n, "clip", 0);
    return !(clip > 0 && isfinite(clip)) && !hone_attr_int(n, "input_forget", 0);
}

static bool read_layer(const hone_node *n, layer *l) {
    *l = (layer){.n = n, .is_lstm = strcmp(n->op_name, "LSTM") == 0};
    if (n->domain[0] != '\0' || (!l->is_lstm && strcmp(n->op_name, "GRU") != 0) || n->n_in > N_IN)
        return false;
    for (int i = 0; i < n->n_in; ++i)
        l->in[i] = n->in[i];
    const hone_tensor *w = f32_constant(l->in[IN_W], 3), *r = f32_constant(l->in[IN_R], 3);
    l->gates = l->is_lstm ? 4 : 3;
    l->is_linear = hone_attr_int(n, "linear_before_reset", 0) != 0;
    if (!w || !r || l->in[IN_LENGTHS] || l->in[IN_P] || !l->in[IN_X] ||
        l->in[IN_X]->type.dtype != HONE_DTYPE_F32 || l->in[IN_X]->type.rank != 3 ||
        hone_tensor_count(w) == 0 || hone_tensor_count(r) == 0 ||
        !has_usual_activations(n, l->is_lstm) || !is_plain(n))
        return false;
    l->directions = w->dims[0];
    l->inputs = w->dims[2];
    l->hidden = r->dims[2];
    const hone_tensor *b = f32_constant(l->in[IN_B], 2);
    return w->dims[1] == l->gates * l->hidden && r->dims[1] == w->dims[1] &&
           r->dims[0] == l->directions &&
           (!l->in[IN_B] || (b && b->dims[0] == l->directions && b->dims[1] == 2 * w->dims[1]));
}

static hone_value *constant(hone_graph *g, const char *name, hone_dtype dtype, int rank,
                            const int64_t *dims, const void *data) {
    hone_tensor *t = HONE_NEW(g->arena, hone_tensor);
    if (!t || !data)
        return NULL;
    *t = hone_tensor_view(dtype, rank, dims, (void *)(uintptr_t)data);
    return hone_graph_constant(g, name, t);
}

/* All directions' gates in one product. A GRU that is linear before the reset adds the recurrent
 * bias of its last gate in the step. */
static hone_value *gate_products(hone_graph *g, const layer *l, hone_node **made) {
    int64_t rows = l->gates * l->hidden, all = l->directions * rows, dims[2] = {all, l->inputs};
    const float *b = l->in[IN_B] ? l->in[IN_B]->constant->data : NULL;
    float *bias = HONE_NEW_ARRAY(g->arena, float, all);
    for (int64_t i = 0; bias && b && i < all; ++i) {
        int64_t d = i / rows, k = i % rows;
        bool is_late = !l->is_lstm && l->is_linear && k >= 2 * l->hidden;
        bias[i] = b[2 * d * rows + k] + (is_late ? 0 : b[(2 * d + 1) * rows + k]);
    }
    hone_value *in[3] = {l->in[IN_X],
                         constant(g, "w", HONE_DTYPE_F32, 2, dims, l->in[IN_W]->constant->data),
                         constant(g, "bias", HONE_DTYPE_F32, 1, &all, bias)};
    hone_value *gates = hone_graph_fresh(g, "gates");
    if (!in[1] || !in[2] || !gates)
        return NULL;
    gates->type = l->in[IN_X]->type;
    gates->type.dims[2] = all;
    hone_node *n = hone_node_create(g, hone_op_find("hone", "Gemm"), l->n->name, in, 3, &gates, 1);
    if (!n || !hone_attr_set_int(g, n, "k", l->inputs) ||
        !hone_attr_set_int(g, n, "out_channels", all) || !hone_attr_set_int(g, n, "trans_b", 1))
        return NULL;
    n->origin = l->n->origin;
    *made = n;
    return gates;
}

/* The recurrent weights as pairs of BF16, rows padded to an even count. */
static const void *round_recurrent(hone_graph *g, const layer *l) {
    int64_t n_rows = l->directions * l->gates * l->hidden, n = l->hidden, even = (n + 1) / 2 * 2;
    const float *r = l->in[IN_R]->constant->data;
    uint16_t *rounded = HONE_NEW_ARRAY(g->arena, uint16_t, n_rows * even);
    for (int64_t i = 0; rounded && i < n_rows * n; ++i)
        rounded[i / n * even + i % n] = hone_bf16_from_f32(r[i]);
    return rounded;
}

/* Packed recurrent weights, a block for each direction; a plain GRU's last gate apart. */
static hone_value *pack_recurrent(hone_graph *g, const layer *l, bool is_bf16) {
    const char *r = is_bf16 ? round_recurrent(g, l) : l->in[IN_R]->constant->data;
    int together = l->is_lstm ? 4 : l->is_linear ? 3 : 2, apart = (int)l->gates - together;
    size_t first = 4 * hone_rnn_packed_count(l->hidden, together, is_bf16);
    size_t each = first + 4 * hone_rnn_packed_count(l->hidden, apart, is_bf16);
    size_t gate = (size_t)(4 * l->hidden * hone_rnn_terms(l->hidden, is_bf16));
    size_t bytes = (size_t)l->directions * each;
    int64_t count = (int64_t)bytes / (is_bf16 ? 2 : 4), n = l->hidden;
    char *memory = hone_graph_data(g, bytes);
    if (!memory || !r)
        return NULL;
    for (int64_t d = 0; d < l->directions; ++d) {
        char *to = memory + (size_t)d * each;
        const char *from = r + (size_t)(d * l->gates) * gate;
        hone_rnn_pack(from, n, together, is_bf16, to);
        hone_rnn_pack(from + (size_t)together * gate, n, apart, is_bf16, to + first);
    }
    return constant(g, "packed", is_bf16 ? HONE_DTYPE_BF16 : HONE_DTYPE_F32, 1, &count, memory);
}

static hone_value *late_bias(hone_graph *g, const layer *l) {
    int64_t rows = l->gates * l->hidden, count = l->directions * l->hidden;
    const float *b = l->in[IN_B]->constant->data;
    float *bias = HONE_NEW_ARRAY(g->arena, float, count);
    for (int64_t i = 0; bias && i < count; ++i)
        bias[i] = b[(2 * (i / l->hidden) + 1) * rows + 2 * l->hidden + i % l->hidden];
    return constant(g, "bias", HONE_DTYPE_F32, 1, &count, bias);
}

static hone_status lower(hone_graph *g, const layer *l, int position, bool is_bf16,
                         hone_error *err) {
    hone_node *product = NULL;
    bool has_late_bias = !l->is_lstm && l->is_linear && l->in[IN_B];
    hone_value *in[5] = {gate_products(g, l, &product), pack_recurrent(g, l, is_bf16),
                         has_late_bias ? late_bias(g, l) : NULL, l->in[IN_H], l->in[IN_C]};
    hone_node *steps = NULL;
    if (in[0] && in[1] && (in[2] || !has_late_bias))
        steps = hone_node_create(g, hone_op_find("hone", "Recurrent"), l->n->name, in, 5, l->n->out,
                                 l->n->n_out);
    bool is_reverse = strcmp(hone_attr_string(l->n, "direction", "forward"), "reverse") == 0;
    if (!steps || !hone_attr_set_string(g, steps, "cell", l->is_lstm ? "LSTM" : "GRU") ||
        !hone_attr_set_int(g, steps, "hidden", l->hidden) ||
        !hone_attr_set_int(g, steps, "directions", l->directions) ||
        !hone_attr_set_int(g, steps, "reverse", is_reverse) ||
        !hone_attr_set_int(g, steps, "linear_before_reset", l->is_linear) ||
        !hone_attr_set_int(g, steps, "layout", hone_attr_int(l->n, "layout", 0)))
        return hone_fail(err, HONE_E_NOMEM, "no memory to lower a recurrent layer");
    steps->origin = l->n->origin;
    g->nodes[position] = steps;
    return hone_graph_insert(g, position, product)
               ? HONE_OK
               : hone_fail(err, HONE_E_NOMEM, "no memory to lower a recurrent layer");
}

hone_status hone_cpu_lower_rnn(hone_graph *g, const hone_lower_options *o, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        layer l;
        if (!read_layer(g->nodes[i], &l))
            continue;
        HONE_TRY(lower(g, &l, i, hone_cpu_wants_bf16(o), err));
        ++i;
    }
    return hone_graph_index(g) == HONE_OK ? HONE_OK
                                          : hone_fail(err, HONE_E_NOMEM, "no memory to index");
}
