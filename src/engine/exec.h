/* Running a graph: frames hold what one run of one graph needs, and keep it for the next.
 *
 * A frame belongs to one session (one thread). Subgraphs of control-flow nodes run in child frames,
 * made on first use. Plans are cached by input types, at most HONE_PLAN_CACHE of them, the least
 * recently used one being dropped. A plan may be for a slice of the batch (slices.h): then a run
 * goes through it once for each slice. */
#ifndef HONE_ENGINE_EXEC_H
#define HONE_ENGINE_EXEC_H

#include "engine/plan.h"

enum { HONE_PLAN_CACHE = 8 };

typedef struct hone_frame hone_frame;

/** Called after each step when set; times in nanoseconds of the monotonic clock. */
typedef void (*hone_step_hook)(void *arg, const hone_plan *plan, const hone_step *step, int depth,
                               int64_t start_ns, int64_t end_ns, const hone_frame *frame);

/** What all frames of a session share. */
typedef struct hone_exec_env {
    hone_pool *pool;   /* may be NULL */
    hone_alloc *alloc; /* for dynamic values */
    hone_plan_options options;
    hone_step_hook hook;
    void *hook_arg;
    int64_t *budget;    /* steps that runs may still take, then they fail; NULL: any number */
    bool is_watched;    /* values inside are looked at: batches are run whole */
} hone_exec_env;

HONE_NODISCARD hone_status hone_frame_create(const hone_graph *g, const hone_exec_env *env,
                                             hone_frame **out, hone_error *err);
void hone_frame_destroy(hone_frame *f);

/** Choose, or build, the plan for these inputs (one for each graph input; kind NONE: empty). The
 * inputs' data may be NULL: only types are read. */
HONE_NODISCARD hone_status hone_frame_plan(hone_frame *f, const hone_tensor *const *in,
                                           hone_error *err);
/** Run with the inputs; out_data[i], when not NULL, is caller memory of out_bytes[i] for output i.
 * Results are read with hone_frame_output until the next run. */
HONE_NODISCARD hone_status hone_frame_run(hone_frame *f, const hone_tensor *const *in,
                                          void *const *out_data, const size_t *out_bytes,
                                          hone_error *err);
/** Output i of the last run. Borrowed: valid until the next run or plan. */
const hone_tensor *hone_frame_output(const hone_frame *f, int i);
/** Value `id` (of the graph's values) as the last run left it, of the last slice where the batch is
 * sliced; kind NONE when dropped. */
const hone_tensor *hone_frame_value(const hone_frame *f, int id);
/** The plan in use; NULL before the first. */
const hone_plan *hone_frame_current(const hone_frame *f);
/** Bytes of all arenas and scratch memory of the frame and its children. */
size_t hone_frame_bytes(const hone_frame *f);

#endif
