/* The structs behind the public handles. */
#ifndef HONE_ENGINE_INTERNAL_H
#define HONE_ENGINE_INTERNAL_H

#include "base/cpu.h"
#include "base/file.h"
#include "engine/exec.h"
#include "engine/memplan.h"
#include "onnx/reader.h"

struct hone_model {
    hone_graph *graph; /* canonical */
    hone_file_map map; /* of the file; data NULL when parsed from memory */
    hone_onnx_facts facts;
    bool is_tflite; /* a TensorFlow Lite model: of the facts, only producer_name */
    const char *const *signatures; /* keys; in the graph's arena */
    int n_signatures, signature;   /* the one that the graph is of; -1: there are none */
};

struct hone_engine {
    hone_graph *graph; /* lowered, indexed */
    hone_file_map map; /* of an engine file; data NULL when built in memory */
    hone_model *model; /* owned when the engine was opened from a model file, else NULL */
    bool is_reference; /* optimize = 0 */
    size_t max_ram_bytes;
    hone_isa isa;             /* what its packed weights need */
    int n_threads;            /* that it was tuned for; 0: it was not */
    hone_shape_range *shapes; /* the profile; in the graph's arena */
    int n_shapes;
    hone_mem_layout layout; /* activations at the profile's optimum; n 0: none. In that arena too */
};

/** The bytes begin as an engine file does. */
bool hone_engine_is_file(const uint8_t *bytes, size_t n);
/** An engine over bytes that outlive it. */
HONE_NODISCARD hone_status hone_engine_parse(const uint8_t *bytes, size_t n, hone_engine **out,
                                             hone_error *err);
/** Check the bytes of an engine file as a load does, and the checksum of its data section. */
HONE_NODISCARD hone_status hone_engine_check(const uint8_t *bytes, size_t n, hone_error *err);
/** Call `fn` after each step of the session's runs, with more than the public profiler sees; NULL:
 * none. Takes the place of profiler and watcher. */
void hone_session_set_hook(hone_session *s, hone_step_hook fn, void *arg);
/** Runs may take `*steps` steps in all, those of subgraphs included; NULL: any number. */
void hone_session_set_budget(hone_session *s, int64_t *steps);
/** Entry i of a graph's inputs or outputs for the public API. */
bool hone_graph_io(const hone_graph *g, hone_value *const *list, int n, int i, hone_io_info *info);

#endif
