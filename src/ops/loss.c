/* NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss over [n, classes, positions]. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "ir/op.h"

hone_status hone_infer_loss(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_type *in = &c->in[0];
    int64_t dims[HONE_MAX_RANK];
    hone_infer_same(c, 1, 0); /* log_prob */
    if (strcmp(hone_attr_string(c->node, "reduction", "mean"), "none") != 0) {
        hone_infer_set(c, 0, in->dtype, 0, NULL);
        return HONE_OK;
    }
    hone_infer_set(c, 0, in->dtype, -1, NULL);
    if (in->rank < 2)
        return HONE_OK;
    dims[0] = in->dims[0];
    for (int i = 2; i < in->rank; ++i)
        dims[i - 1] = in->dims[i];
    hone_infer_set(c, 0, in->dtype, in->rank - 1, dims);
    return HONE_OK;
}

typedef struct loss_job {
    const hone_tensor *scores, *target, *weight;
    hone_tensor *log_prob;
    int64_t classes, positions;
    bool takes_softmax;
} loss_job;

/* Log-probability of class k at (n, position); for NegativeLogLikelihoodLoss it is the input. */
static double log_prob_at(const loss_job *j, int64_t n, int64_t k, int64_t position, double shift) {
    int64_t at = (n * j->classes + k) * j->positions + position;
    return hone_load_f64(j->scores->dtype, j->scores->data, at) - shift;
}

/* log(sum(exp(scores))) of a position. */
static double log_sum(const loss_job *j, int64_t n, int64_t position) {
    double top = -INFINITY, sum = 0;
    for (int64_t k = 0; k < j->classes; ++k)
        top = fmax(top, log_prob_at(j, n, k, position, 0));
    for (int64_t k = 0; k < j->classes; ++k)
        sum += exp(log_prob_at(j, n, k, position, top));
    return top + log(sum);
}

static hone_status check_loss(hone_op_ctx *c, const loss_job *j, int64_t samples) {
    if (j->scores->rank < 2 || hone_tensor_count(j->target) != samples ||
        (j->weight && hone_tensor_count(j->weight) != j->classes))
        return hone_op_fail(c, HONE_E_SHAPE, "scores, labels and weights do not fit");
    return HONE_OK;
}

hone_status hone_ref_loss(hone_op_ctx *c) {
    loss_job j = {.scores = hone_in(c, 0),
                  .target = hone_in(c, 1),
                  .weight = hone_in(c, 2),
                  .log_prob = hone_out(c, 1)};
    hone_tensor *out = hone_out(c, 0);
    const char *reduction = hone_attr_string(c->node, "reduction", "mean");
    bool is_none = strcmp(reduction, "none") == 0, is_mean = strcmp(reduction, "mean") == 0;
    const hone_attr *ignore = hone_attr_find(c->node, "ignore_index");
    j.takes_softmax = strcmp(c->node->op->name, "SoftmaxCrossEntropyLoss") == 0;
    j.classes = j.scores->rank > 1 ? j.scores->dims[1] : 0;
    j.positions = hone_dims_count(j.scores->dims, 2, j.scores->rank > 2 ? j.scores->rank : 2);
    int64_t samples = j.scores->rank ? j.scores->dims[0] * j.positions : 0;
    HONE_TRY(check_loss(c, &j, samples));
    double total = 0, weights = 0;
    for (int64_t i = 0; i < samples; ++i) {
        int64_t n = i / j.positions, position = i % j.positions;
        double shift = j.takes_softmax ? log_sum(&j, n, position) : 0, loss = 0, weight = 0;
        for (int64_t k = 0; j.log_prob && k < j.classes; ++k)
            hone_store_f64(j.log_prob->dtype, j.log_prob->data,
                           (n * j.classes + k) * j.positions + position,
                           log_prob_at(&j, n, k, position, shift));
        int64_t label = hone_load_i64(j.target->dtype, j.target->data, i);
        if (!ignore || label != ignore->i) {
            if (label < 0 || label >= j.classes)
                return hone_op_fail(c, HONE_E_RUNTIME,
                                    "label %" PRId64 " is outside %" PRId64 " classes", label,
                                    j.classes);
            weight = j.weight ? hone_load_f64(j.weight->dtype, j.weight->data, label) : 1;
            loss = -log_prob_at(&j, n, label, position, shift) * weight;
        }
        if (is_none)
            hone_store_f64(out->dtype, out->data, i, loss);
        total += loss;
        weights += weight;
    }
    if (!is_none)
        hone_store_f64(out->dtype, out->data, 0, is_mean ? total / weights : total);
    return HONE_OK;
}
