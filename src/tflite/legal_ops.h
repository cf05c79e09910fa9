/* The functions of legal.def, one file a family of operators. Each finds the node with types
 * inferred and its inputs in forms, and makes a form of every output or refuses. */
#ifndef HONE_TFLITE_LEGAL_OPS_H
#define HONE_TFLITE_LEGAL_OPS_H

#include "tflite/legal.h"

#define LEGAL(name, fn) void tfl_legal_##fn(tfl_legal *l, const hone_node *n);
#include "tflite/legal.def"
#undef LEGAL

/** The canonical operator's function; NULL: it has no equivalent. */
tfl_legal_fn tfl_legal_find(const hone_node *n);

#endif
