/* Batches in slices: a network whose activations for a whole batch do not fit the cache runs faster,
 * and in less memory, a few pictures at a time, provided that pictures do not meet inside. */
#ifndef HONE_ENGINE_SLICES_H
#define HONE_ENGINE_SLICES_H

#include "engine/plan.h"

/** The inputs' common first dim when it may be sliced and every node is of a kind that can keep the
 * batch apart; else 1. `inputs` as in hone_plan_create. */
int64_t hone_slices_batch(const hone_graph *g, const hone_type *inputs);
/** How many of the batch to run at a time: a divisor of `batch`, `batch` when slices do not pay on
 * this machine. `whole` is the plan of the batch. */
int64_t hone_slices_size(const hone_plan *whole, int64_t batch);
/** Whether runs of `part` on slices of `size` do what one of `whole` does on the batch: each value
 * that depends on the inputs has the batch as first dim, which no node mixes. */
bool hone_slices_agree(const hone_plan *whole, const hone_plan *part, int64_t batch, int64_t size);

#endif
