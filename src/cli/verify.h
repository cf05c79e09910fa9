/* Does a rewritten model compute what the original does? */
#ifndef HONE_CLI_VERIFY_H
#define HONE_CLI_VERIFY_H

#include "cli/compare.h"

typedef struct cli_pair {
    const hone_model *before, *after;
    const char *path_before, *path_after; /* for messages */
    const char *what;                     /* "optimised": what was done, for the message */
    const char *cure;                     /* what to do when they differ */
    cli_list shapes_after; /* --shape of the rewritten model; of the original: args */
    const hone_tensor *inputs; /* of `before`, by input, in place of random ones; NULL: none */
    cli_rules rules; /* with steps: of quantised models, see below */
} cli_pair;

/** Run both with the reference kernels, as they are in the files, on the same random inputs (`args`
 * has their seed, shapes and files). HONE_E_MISMATCH, with the first tensor that differs, when an
 * output is beyond tolerance. Of quantised models the integers count that an output is made of: those
 * before a softmax at the end, which makes many steps of one. `c` is to be freed in any case. */
HONE_NODISCARD hone_status cli_verify(const cli_args *args, const cli_pair *pair, cli_comparison *c,
                                      hone_error *err);

#endif
