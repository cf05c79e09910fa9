/* Subgraphs of the file in the making, which IF and WHILE call. They see their inputs and constants
 * of their own, nothing else. */
#ifndef HONE_TFLITE_SUBGRAPH_H
#define HONE_TFLITE_SUBGRAPH_H

#include "tflite/legal.h"

/** A context for a subgraph with room for n_in inputs and n_out outputs, which the caller lists in
 * inner->model; g is what is converted, NULL where operators are made by hand. False: out of
 * memory. */
bool tfl_subgraph_enter(tfl_legal *l, tfl_legal *inner, hone_graph *g, const char *name, int n_in,
                        int n_out);
/** The subgraph's number; -1: out of memory, or something was refused. */
int tfl_subgraph_leave(tfl_legal *l, tfl_legal *inner);
/** A tensor of l's graph with the type and dims of another graph's. */
int tfl_same_as(tfl_legal *l, const tfl_model *other, int tensor);
/** IF or WHILE with its two subgraphs. */
void tfl_call(tfl_legal *l, int code, const int *in, int n_in, const int *out, int n_out,
              const int *graphs);

#endif
