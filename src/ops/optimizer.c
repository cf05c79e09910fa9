/* Adagrad, Adam and Momentum of ai.onnx.preview.training: inputs R, T, then the tensors to
 * optimise, their gradients, and one or two groups of state; outputs the new tensors and states. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ir/op.h"

typedef enum optimizer_kind { ADAGRAD, ADAM, MOMENTUM } optimizer_kind;

static optimizer_kind kind_of(const hone_node *n) {
    return strcmp(n->op->name, "Adam") == 0      ? ADAM
           : strcmp(n->op->name, "Adagrad") == 0 ? ADAGRAD
                                                 : MOMENTUM;
}

/* Groups of inputs after R and T: X, G, and the states. */
static int groups_of(const hone_node *n) {
    return kind_of(n) == ADAM ? 4 : 3;
}

hone_status hone_infer_optimizer(hone_infer_ctx *c) {
    int groups = groups_of(c->node), n = (c->n_in - 2) / groups;
    if (c->n_in - 2 != n * groups || c->n_out != n * (groups - 1))
        return hone_infer_fail(c, HONE_E_FORMAT, "%d inputs and %d outputs do not fit", c->n_in,
                               c->n_out);
    for (int i = 0; i < n; ++i) {
        hone_infer_same(c, i, 2 + i);
        for (int state = 0; state < groups - 2; ++state)
            hone_infer_same(c, (1 + state) * n + i, 2 + (2 + state) * n + i);
    }
    return HONE_OK;
}

typedef struct optimizer {
    optimizer_kind kind;
    double rate, t;
    double alpha, beta, epsilon, norm, norm_post, decay;
    bool is_nesterov;
} optimizer;

static void read_optimizer(const hone_op_ctx *c, optimizer *o) {
    const hone_node *n = c->node;
    const hone_tensor *r = hone_in(c, 0), *t = hone_in(c, 1);
    o->kind = kind_of(n);
    o->rate = hone_load_f64(r->dtype, r->data, 0);
    o->t = hone_load_f64(t->dtype, t->data, 0);
    o->alpha = (double)hone_attr_float(n, "alpha", 0.9f);
    o->beta = (double)hone_attr_float(n, "beta", o->kind == ADAM ? 0.999f : 0);
    o->epsilon = (double)hone_attr_float(n, "epsilon", 1e-6f);
    o->norm = (double)hone_attr_float(n, "norm_coefficient", 0);
    o->norm_post = (double)hone_attr_float(n, "norm_coefficient_post", 0);
    o->decay = (double)hone_attr_float(n, "decay_factor", 0);
    o->is_nesterov = strcmp(hone_attr_string(n, "mode", "standard"), "nesterov") == 0;
}

/* One element: x and its states v and h are updated. */
static void step(const optimizer *o, double *x, double g, double *v, double *h) {
    g += o->norm * *x;
    if (o->kind == ADAGRAD) {
        *v += g * g;
        *x -= o->rate / (1 + o->t * o->decay) * g / (sqrt(*v) + o->epsilon);
    } else if (o->kind == MOMENTUM) {
        double weight = o->t > 0 ? o->beta : 1;
        *v = o->alpha * *v + weight * g;
        *x -= o->rate * (o->is_nesterov ? g + o->alpha * *v : *v);
    } else {
        *v = o->alpha * *v + (1 - o->alpha) * g;
        *h = o->beta * *h + (1 - o->beta) * g * g;
        double rate =
            o->t > 0 ? o->rate * sqrt(1 - pow(o->beta, o->t)) / (1 - pow(o->alpha, o->t)) : o->rate;
        *x -= rate * *v / (sqrt(*h) + o->epsilon);
        *x *= 1 - o->norm_post;
    }
}

hone_status hone_ref_optimizer(hone_op_ctx *c) {
    optimizer o;
    int groups = groups_of(c->node), n = (c->n_in - 2) / groups;
    if (hone_tensor_count(hone_in(c, 0)) != 1 || hone_tensor_count(hone_in(c, 1)) != 1)
        return hone_op_fail(c, HONE_E_SHAPE, "the learning rate and the step must be scalars");
    read_optimizer(c, &o);
    for (int i = 0; i < n; ++i) {
        const hone_tensor *in[4] = {NULL};
        hone_tensor *out[4] = {NULL};
        for (int k = 0; k < groups; ++k) {
            in[k] = hone_in(c, 2 + k * n + i);
            if (k != 1)
                out[k] = hone_out(c, (k == 0 ? 0 : k - 1) * n + i);
            if (!in[k] || !hone_same_dims(in[k], in[0]) || (k != 1 && !out[k]))
                return hone_op_fail(c, HONE_E_SHAPE,
                                    "tensor %d, its gradient and states differ in shape", i);
        }
        for (int64_t e = 0, count = hone_tensor_count(in[0]); e < count; ++e) {
            double v[4] = {0};
            for (int k = 0; k < groups; ++k)
                v[k] = hone_load_f64(in[k]->dtype, in[k]->data, e);
            step(&o, &v[0], v[1], &v[2], &v[3]);
            for (int k = 0; k < groups; ++k) {
                if (out[k])
                    hone_store_f64(out[k]->dtype, out[k]->data, e, v[k]);
            }
        }
    }
    return HONE_OK;
}
