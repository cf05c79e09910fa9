/* The samples that --calibrate names, one run's inputs after the other. */
#ifndef HONE_CLI_SAMPLES_H
#define HONE_CLI_SAMPLES_H

#include "cli/subject.h"

/** `inputs`: the session's, set already; kind NONE: left unset. */
typedef hone_status (*cli_sample_fn)(void *arg, cli_subject *s, const hone_tensor *inputs,
                                     hone_error *err);

/** Set the inputs of each sample and call `fn`. What --calibrate names is a file, .npz with an
 * array for each input or .npy for the only input; a folder of such files, taken by name; or
 * "random". Where dim 0 of arrays is a multiple of the model's, or the model leaves it open, they
 * are that many samples. `*n` counts them. */
HONE_NODISCARD hone_status cli_each_sample(const cli_args *args, cli_subject *s, cli_sample_fn fn,
                                           void *arg, int *n, hone_error *err);

#endif
