/* A map from names (views of bytes) to pointers, in an arena. */
#ifndef HONE_ONNX_NAMES_H
#define HONE_ONNX_NAMES_H

#include "base/arena.h"

typedef struct hone_names {
    hone_arena *arena;
    struct name_slot *slots;
    size_t n, cap; /* cap: 0 or a power of two */
} hone_names;

/** NULL when absent. */
void *hone_names_get(const hone_names *m, hone_string name);
/** Adds or replaces; the bytes of the name must outlive the map. False when out of memory. */
bool hone_names_put(hone_names *m, hone_string name, void *value);
hone_string hone_text(const char *s);

#endif
