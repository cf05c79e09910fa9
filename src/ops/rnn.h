/* What rnn.c hands to its kernels (rnn_tmpl.h). */
#ifndef HONE_OPS_RNN_H
#define HONE_OPS_RNN_H

#include "ops/dense.h"

typedef enum rnn_kind { RNN_PLAIN, RNN_GRU, RNN_LSTM } rnn_kind;

typedef enum rnn_act {
    ACT_SIGMOID,
    ACT_TANH,
    ACT_RELU,
    ACT_AFFINE,
    ACT_LEAKY_RELU,
    ACT_THRESHOLDED_RELU,
    ACT_SCALED_TANH,
    ACT_HARD_SIGMOID,
    ACT_ELU,
    ACT_SOFTSIGN,
    ACT_SOFTPLUS,
    ACT_COUNT
} rnn_act;

typedef struct rnn_fn {
    rnn_act act;
    float alpha, beta;
} rnn_fn;

typedef struct rnn_args {
    rnn_kind kind;
    int n_gates, n_dirs;
    bool reverse; /* the only direction runs backwards */
    bool batch_first, input_forget, linear_before_reset;
    float clip; /* infinite: none */
    rnn_fn fn[2][3];
    int64_t n_time, n_batch, n_in, n_hidden;
    /* float or double, as the kernel */
    const void *x, *w, *r, *b, *h0, *c0, *p;
    const hone_tensor *lens; /* may be NULL */
    void *y, *y_h, *y_c;     /* may be NULL */
    void *work;
} rnn_args;

/* Elements of rnn_args.work. */
static inline int64_t rnn_work(const rnn_args *a) {
    int64_t g = a->n_gates * a->n_hidden;
    return (a->n_in + a->n_hidden + 2 + a->n_time * a->n_batch) * g +
           (2 * a->n_batch + 2) * a->n_hidden;
}

#endif
