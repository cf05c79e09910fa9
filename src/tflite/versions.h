/* Versions: which version of an operator its types and options need, and which release of the
 * runtime has it. Source: tensorflow/lite/tools/versioning/op_version.cc and runtime_version.cc. */
#ifndef HONE_TFLITE_VERSIONS_H
#define HONE_TFLITE_VERSIONS_H

#include "tflite/model.h"

int tfl_operator_version(const tfl_model *m, const tfl_operator *op);
/** "2.9.0"; the oldest release where nothing newer is known to be needed. */
const char *tfl_runtime_version(int code, int version);
bool tfl_runtime_is_newer(const char *a, const char *b);

#endif
