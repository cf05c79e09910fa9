/* Numbers in a FlexBuffers map, which custom operators keep their options in. Every offset is
 * checked. Source of the layout: the FlexBuffers internals documentation (flatbuffers.dev,
 * "FlexBuffers"). */
#ifndef HONE_TFLITE_FLEX_READ_H
#define HONE_TFLITE_FLEX_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The number (integer, float or bool) of a key of the map that the bytes hold. false: there is
 * none. */
bool tfr_flex_number(const uint8_t *data, size_t n, const char *key, double *out);

#endif
