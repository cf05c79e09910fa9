/* The structs behind the public handles. */
#ifndef HONE_ENGINE_INTERNAL_H
#define HONE_ENGINE_INTERNAL_H

#include "base/file.h"
#include "engine/exec.h"

struct hone_model {
    hone_graph *graph; /* canonical */
    hone_file_map map; /* of the file; data NULL when parsed from memory */
};

struct hone_engine {
    hone_graph *graph;  /* lowered, indexed */
    hone_file_map map;  /* of an engine file; data NULL when built in memory */
    hone_arena storage; /* constants that the build made */
    bool is_reference;  /* optimize = 0 */
    size_t max_ram_bytes;
    hone_shape_range *shapes; /* the profile; in the graph's arena */
    int n_shapes;
};

#endif
