/* What the forms of recurrent layers share: the runtime's LSTM operator (legal_rnn.c), and steps
 * that are written one by one (legal_rnn_steps.c). */
#ifndef HONE_TFLITE_LEGAL_RNN_H
#define HONE_TFLITE_LEGAL_RNN_H

#include "tflite/legal.h"

/* An LSTM or GRU of constant weights: W [dirs][gates * units][n_in], R [dirs][gates *
 * units][units], B [dirs][2 * gates * units] or NULL. */
typedef struct tfl_rnn {
    const hone_node *node;
    int64_t time, batch, n_in, units; /* time and batch may be -1 */
    int n_gates, n_dirs;
    bool is_reverse; /* the only direction is */
    bool is_batch_first;
    const float *w, *r, *b;
} tfl_rnn;

/** NULL, or why neither form can be. */
const char *tfl_rnn_obstacle(const hone_node *n);
/** False: out of memory. The node has no obstacle. */
bool tfl_rnn_read(tfl_legal *l, const hone_node *n, int n_gates, tfl_rnn *m);
/** The input as [time, batch, n_in]. */
int tfl_rnn_input(tfl_legal *l, const tfl_rnn *m);
/** Output 0, from [time, batch, units] of each direction. */
void tfl_rnn_give_all(tfl_legal *l, const tfl_rnn *m, const int *y);
/** Output i, a last state, from [1, batch, units] of each direction. */
void tfl_rnn_give_last(tfl_legal *l, const tfl_rnn *m, int i, const int *last);
/** A constant matrix; the data are borrowed. */
int tfl_rnn_matrix(tfl_legal *l, const float *rows, int64_t n_rows, int64_t n_columns);
static inline bool tfl_rnn_is_reverse(const tfl_rnn *m, int direction) {
    return direction == 1 || m->is_reverse;
}
/** The node's output i is there, and something reads it. */
bool tfl_rnn_wants(const hone_node *n, int i);

/* A step. The gates are computed from the input for all steps at once, in one or two products. */
enum { TFL_RNN_MAX_PARTS = 2 };
typedef struct tfl_rnn_cell tfl_rnn_cell;
struct tfl_rnn_cell {
    const tfl_rnn *m;
    int direction;
    int n_parts;
    int gates[TFL_RNN_MAX_PARTS];     /* of each part */
    bool adds_r[TFL_RNN_MAX_PARTS];   /* the recurrent bias goes with the input's share */
    int r[TFL_RNN_MAX_PARTS], r_bias; /* tensors: recurrent weights; bias of the last part, or -1 */
    bool is_reset_last;               /* GRU: linear_before_reset */
    /* From the input's shares and the states h and c before to those after. */
    void (*step)(tfl_legal *l, const tfl_rnn_cell *c, const int *x, int *state);
};
/** With constants in l's graph, where its steps are. */
tfl_rnn_cell tfl_rnn_make_cell(tfl_legal *l, const tfl_rnn *m, int direction);
/** The input's share of each part, [time, batch, gates * units], from x [time * batch, n_in]. */
void tfl_rnn_shares(tfl_legal *l, const tfl_rnn_cell *c, int x, int *share);
/** States of a cell: h, and c of LSTM. */
static inline int tfl_rnn_states(const tfl_rnn *m) {
    return m->n_gates == 4 ? 2 : 1;
}

/** Steps, which keep no state from run to run. NULL, or why they cannot be written. */
const char *tfl_rnn_steps_obstacle(const hone_node *n);
void tfl_rnn_write_steps(tfl_legal *l, const tfl_rnn *m);

#endif
