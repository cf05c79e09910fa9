/* A float graph made one on integers (hone convert --int8), and what that costs. */
#ifndef HONE_CLI_QUANTISE_H
#define HONE_CLI_QUANTISE_H

#include "cli/subject.h"
#include "quant/insert_qdq.h"

/* An output on integers beside the same output on floats, over all samples. */
typedef struct cli_loss {
    const char *name;
    double largest, max_error, sum_error; /* absolute values */
    double sum_square, sum_square_error;
    int64_t n;
    int64_t n_rows, n_same; /* rows of a matrix, and those with the largest element where it was */
} cli_loss;

typedef struct cli_quantised {
    hone_arena arena;
    hone_quant_count count;
    int n_samples;
    cli_loss *loss; /* by float output */
    int n_loss;
    hone_tensor *sample; /* the first sample's inputs; NULL where inputs are integers */
    int n_inputs;
} cli_quantised;

/** Quantise `g` (passes done) by the samples of --calibrate; with --int8-io its inputs and outputs
 * become integers. `model` is what g was made of. `out` is to be freed in any case. */
HONE_NODISCARD hone_status cli_quantise(const cli_args *args, const hone_model *model,
                                        hone_graph *g, hone_findings *findings, cli_quantised *out,
                                        hone_error *err);
/** NULL: no float output is called so. */
const cli_loss *cli_loss_of(const cli_quantised *q, const char *name);
double cli_mean_error(const cli_loss *loss);
void cli_quantised_print(const cli_quantised *q, FILE *to);
void cli_quantised_json(const cli_quantised *q, cli_json *j);
void cli_quantised_free(cli_quantised *q);

#endif
