/* The steps of converting one graph, the model's or one that an operator calls: begin, forms for
 * the inputs, nodes, outputs, finish. */
#ifndef HONE_TFLITE_CONVERT_GRAPH_H
#define HONE_TFLITE_CONVERT_GRAPH_H

#include "tflite/legal.h"

/** Values must be tensors of a type and a rank that the file can hold. False: refused. */
bool tfl_check_value(tfl_legal *l, const hone_node *n, const hone_value *v);
/** Make room for forms of the values of l->graph, which is indexed. */
void tfl_graph_begin(tfl_legal *l);
void tfl_graph_nodes(tfl_legal *l);
/** The tensor of an output in this order (NULL: as ONNX counts), one of its own: no input, no
 * constant, none of the first n_done outputs of l->model. */
int tfl_graph_output(tfl_legal *l, const hone_value *v, const int *perm, int n_done);
/** Inputs and outputs of l->model are listed: drop the operators and tensors that nobody reads, and
 * find the operators' versions. Nothing was refused. */
void tfl_graph_finish(tfl_legal *l);

#endif
