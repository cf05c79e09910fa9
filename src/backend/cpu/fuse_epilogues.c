#include <math.h>
#include <string.h>

#include "backend/cpu/fuse.h"
#include "backend/cpu/problem.h"
#include "ir/weights.h"

typedef struct fuser {
    hone_graph *g;
    int *user; /* by value id: position of the last node that reads it, -1: none */
    hone_error *err;
} fuser;

static hone_status no_memory(const fuser *f) {
    return hone_fail(f->err, HONE_E_NOMEM, "no memory to fuse nodes");
}

static const char *join(hone_graph *g, const char *a, const char *b) {
    if (!a || !a[0])
        return b;
    return b && b[0] ? hone_arena_printf(g->arena, "%s,%s", a, b) : a;
}

/* ---- activations ------------------------------------------------------------------------------
 */

static const struct {
    const char *op;
    hone_act act;
    const char *attr_a, *attr_b;
    float a, b;
} acts[] = {
    {"Relu", HONE_ACT_RELU, NULL, NULL, 0, 0},
    {"LeakyRelu", HONE_ACT_LEAKY, "alpha", NULL, 0.01f, 0},
    {"HardSigmoid", HONE_ACT_HARD_SIGMOID, "alpha", "beta", 0.2f, 0.5f},
    {"HardSwish", HONE_ACT_HARD_SWISH, NULL, NULL, 0, 0},
    {"Sigmoid", HONE_ACT_SIGMOID, NULL, NULL, 0, 0},
    {"Swish", HONE_ACT_SILU, NULL, NULL, 0, 0},
    {"Tanh", HONE_ACT_TANH, NULL, NULL, 0, 0},
    {"Gelu", HONE_ACT_GELU, NULL, NULL, 0, 0},
    {"Clip", HONE_ACT_CLIP, NULL, NULL, -INFINITY, INFINITY},
};

static bool scalar_f32(const hone_node *n, int i, float *out) {
    if (i >= n->n_in || !n->in[i])
        return true;
    const hone_tensor *t = n->in[i]->constant;
    if (!t || t->dtype != HONE_DTYPE_F32 || hone_tensor_count(t) != 1)
        return false;
    *out = *(const float *)t->data;
    return true;
}

static bool read_act(const hone_node *n, hone_act *act, float *a, float *b) {
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; ++i) {
        if (n->domain[0] != '\0' || strcmp(acts[i].op, n->op_name) != 0)
            continue;
        *act = acts[i].act;
        *a = acts[i].attr_a ? hone_attr_float(n, acts[i].attr_a, acts[i].a) : acts[i].a;
        *b = acts[i].attr_b ? hone_attr_float(n, acts[i].attr_b, acts[i].b) : acts[i].b;
        if (*act == HONE_ACT_SILU && hone_attr_float(n, "alpha", 1) != 1.0f)
            return false;
        if (*act == HONE_ACT_GELU &&
            strcmp(hone_attr_string(n, "approximate", "none"), "tanh") == 0)
            *act = HONE_ACT_GELU_TANH;
        return *act != HONE_ACT_CLIP || (scalar_f32(n, 1, a) && scalar_f32(n, 2, b));
    }
    return false;
}

/* ---- bias and residual ------------------------------------------------------------------------
 */

/* A constant that gives one number to each output channel, [oc] or [1, ..., oc], and does not widen
 * the output. */
static bool is_channel_constant(const hone_value *v, const hone_node *n, int64_t channels) {
    const hone_tensor *t = v->constant;
    return t && t->dtype == HONE_DTYPE_F32 && t->rank >= 1 && t->dims[t->rank - 1] == channels &&
           hone_tensor_count(t) == channels && t->rank <= n->out[0]->type.rank;
}

static hone_status add_bias(fuser *f, hone_node *n, const hone_value *more, int64_t channels) {
    const hone_value *old = n->in[HONE_IN_BIAS];
    hone_tensor *t = HONE_NEW(f->g->arena, hone_tensor);
    float *sum = HONE_NEW_ARRAY(f->g->arena, float, channels);
    if (!t || !sum)
        return no_memory(f);
    const float *a = old ? old->constant->data : NULL, *b = more->constant->data;
    for (int64_t i = 0; i < channels; ++i)
        sum[i] = (a ? a[i] : 0) + b[i];
    *t = hone_tensor_view(HONE_DTYPE_F32, 1, &channels, sum);
    n->in[HONE_IN_BIAS] = hone_graph_constant(f->g, "bias", t);
    return n->in[HONE_IN_BIAS] ? HONE_OK : no_memory(f);
}

/* A factor for each output channel goes into the weights and the bias. */
static hone_status scale_weights(fuser *f, hone_node *n, const hone_value *factor,
                                 int64_t channels) {
    const hone_tensor *w = n->in[HONE_IN_WEIGHT]->constant;
    const hone_value *old = n->in[HONE_IN_BIAS];
    int64_t count = hone_tensor_count(w), each = count / channels;
    /* Which channel a weight is for: by rows of `each`, or by columns. */
    bool by_rows = !hone_is_lowered(n, "Gemm") || hone_attr_int(n, "trans_b", 0);
    const float *s = factor->constant->data, *from = w->data;
    hone_tensor *t = HONE_NEW_ARRAY(f->g->arena, hone_tensor, 2);
    float *to = hone_graph_data(f->g, (size_t)count * sizeof *to);
    float *bias = HONE_NEW_ARRAY(f->g->arena, float, channels);
    if (!t || !to || !bias)
        return no_memory(f);
    for (int64_t i = 0; i < count; ++i)
        to[i] = from[i] * s[by_rows ? i / each : i % channels];
    for (int64_t i = 0; old && i < channels; ++i)
        bias[i] = ((const float *)old->constant->data)[i] * s[i];
    t[0] = hone_tensor_view(HONE_DTYPE_F32, w->rank, w->dims, to);
    t[1] = hone_tensor_view(HONE_DTYPE_F32, 1, &channels, bias);
    n->in[HONE_IN_WEIGHT] = hone_graph_constant(f->g, "scaled", &t[0]);
    n->in[HONE_IN_BIAS] = old ? hone_graph_constant(f->g, "bias", &t[1]) : NULL;
    return n->in[HONE_IN_WEIGHT] && (!old || n->in[HONE_IN_BIAS]) ? HONE_OK : no_memory(f);
}

static bool same_dims(const hone_type *a, const hone_type *b) {
    if (a->kind != HONE_KIND_TENSOR || b->kind != HONE_KIND_TENSOR || a->dtype != b->dtype ||
        a->rank != b->rank || a->rank < 0)
        return false;
    for (int i = 0; i < a->rank; ++i) {
        if (a->dims[i] != b->dims[i] || a->dims[i] == HONE_DIM_UNKNOWN)
            return false;
    }
    return true;
}

/* ---- fusing -----------------------------------------------------------------------------------
 */

/* The node takes over its user's place and output. */
static void absorb(fuser *f, int position, hone_node *n, int user_position) {
    hone_node *user = f->g->nodes[user_position];
    n->out[0] = user->out[0];
    n->out[0]->producer = n;
    n->origin = join(f->g, n->origin, user->origin);
    f->g->nodes[position] = NULL;
    f->g->nodes[user_position] = n;
}

static hone_status widen_inputs(fuser *f, hone_node *n) {
    hone_value **in = HONE_NEW_ARRAY(f->g->arena, hone_value *, 4);
    if (!in)
        return no_memory(f);
    memcpy(in, n->in, (size_t)n->n_in * sizeof *in);
    n->in = in;
    n->n_in = 4;
    return HONE_OK;
}

/* Try to absorb the node's user; *fused says whether it did. */
static hone_status fuse_user(fuser *f, int position, int user_position, bool *fused) {
    hone_node *n = f->g->nodes[position], *user = f->g->nodes[user_position];
    int64_t channels = hone_attr_int(n, "out_channels", 0);
    bool has_act = hone_attr_int(n, "act", HONE_ACT_NONE) != HONE_ACT_NONE;
    hone_act act;
    float a, b;
    *fused = false;
    if (has_act || user->n_out != 1 || user->domain[0] != '\0')
        return HONE_OK;
    if (read_act(user, &act, &a, &b) && user->in[0] == n->out[0]) {
        if (!hone_attr_set_int(f->g, n, "act", act) || !hone_attr_set_float(f->g, n, "act_a", a) ||
            !hone_attr_set_float(f->g, n, "act_b", b))
            return no_memory(f);
        *fused = true;
    } else if (strcmp(user->op_name, "Mul") == 0) {
        const hone_value *other = user->in[user->in[0] == n->out[0]];
        if (!n->in[HONE_IN_RESIDUAL] && is_channel_constant(other, n, channels)) {
            HONE_TRY(scale_weights(f, n, other, channels));
            *fused = true;
        }
    } else if (strcmp(user->op_name, "Add") == 0) {
        hone_value *other = user->in[user->in[0] == n->out[0]];
        if (other == n->out[0])
            return HONE_OK;
        if (is_channel_constant(other, n, channels)) {
            HONE_TRY(add_bias(f, n, other, channels));
            *fused = true;
        } else if (!n->in[HONE_IN_RESIDUAL] && same_dims(&other->type, &n->out[0]->type)) {
            n->in[HONE_IN_RESIDUAL] = other;
            *fused = true;
        }
    }
    if (*fused)
        absorb(f, position, n, user_position);
    return HONE_OK;
}

hone_status hone_cpu_fuse_epilogues(hone_graph *g, hone_error *err) {
    fuser f = {.g = g, .err = err, .user = HONE_NEW_ARRAY(g->arena, int, g->n_values)};
    if (!f.user)
        return no_memory(&f);
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int k = 0; k < g->nodes[i]->n_in; ++k) {
            if (g->nodes[i]->in[k])
                f.user[g->nodes[i]->in[k]->id] = i;
        }
    }
    int n_ids = g->n_values;
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        if (!hone_is_lowered(n, "Conv") && !hone_is_lowered(n, "Gemm"))
            continue;
        HONE_TRY(widen_inputs(&f, n));
        hone_value *out = n->out[0];
        /* A node moved to a later place is met there again, and may go on from there. */
        if (out->id < 0 || out->id >= n_ids || out->n_uses != 1 || hone_graph_is_output(g, out))
            continue;
        bool fused;
        HONE_TRY(fuse_user(&f, i, f.user[out->id], &fused));
    }
    hone_graph_compact(g);
    return hone_graph_index(g) == HONE_OK ? HONE_OK : no_memory(&f);
}
