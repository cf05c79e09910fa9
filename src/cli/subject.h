/* The thing a verb works on: a model or engine file, its engine, a session and inputs. */
#ifndef HONE_CLI_SUBJECT_H
#define HONE_CLI_SUBJECT_H

#include "cli/cli.h"
#include "engine/internal.h"

typedef struct cli_shapes {
    hone_shape_range *range;
    int n;
} cli_shapes;

/* Dims of made-up inputs that neither the model, --shape nor another input fixes: they are 1, or
 * what is guessed. Called by their symbol, or "#input.axis". */
enum { CLI_DIM_TEXT = 64, CLI_MAX_OPEN = 16 };
#define CLI_ALL_DIMS "*"
typedef struct cli_open_dims {
    char dim[CLI_MAX_OPEN][CLI_DIM_TEXT];
    int n;
} cli_open_dims;
typedef struct cli_guess {
    char dim[CLI_DIM_TEXT]; /* "": none; CLI_ALL_DIMS: all */
    int64_t size;
} cli_guess;

typedef struct cli_subject {
    const char *path;
    hone_engine *engine;
    hone_session *session;
    hone_tensor *inputs; /* one for each of the engine's; kind NONE: left unset */
    int n_inputs;
    cli_open_dims open; /* when the inputs were made up */
    cli_guess guess;
    double load_ms; /* reading and, from a model file, building */
} cli_subject;

/** NAME=1x3x224x224 or NAME=min:opt:max. */
HONE_NODISCARD hone_status cli_shapes_parse(const cli_list *specs, cli_shapes *out,
                                            hone_error *err);
void cli_shapes_free(cli_shapes *shapes);
/** Is it an engine file? False when it cannot be read. */
bool cli_is_engine(const char *path);
/** The model with the signature and the constants that the arguments ask for; with a clear word about
 * engine files. */
HONE_NODISCARD hone_status cli_model_open(const char *path, const cli_args *args, hone_model **out,
                                          hone_error *err);
/** The value of an input from a .npy, .npz or .pb file, to be released. */
HONE_NODISCARD hone_status cli_input_load(const char *path, const hone_io_info *io,
                                          hone_tensor *out, hone_error *err);
/** Open a model or engine file and make a session. */
HONE_NODISCARD hone_status cli_subject_open(cli_subject *s, const cli_args *args, const char *path,
                                            int level, hone_error *err);
/** As cli_subject_open with a model that is read already; `path` is for messages. */
HONE_NODISCARD hone_status cli_subject_from_model(cli_subject *s, const cli_args *args,
                                                  const hone_model *model, const char *path,
                                                  int level, hone_error *err);
/** The type that the multiplying nodes compute in; "mixed" when they differ. */
const char *cli_precision(const hone_engine *e);
void cli_subject_close(cli_subject *s);
/** One run, with a progress bar when it takes long and somebody watches. */
HONE_NODISCARD hone_status cli_subject_run(cli_subject *s, hone_error *err);

/** What inputs that no --input names get. */
typedef enum cli_fill {
    CLI_FILL_NONE,    /* inputs without a default must be named */
    CLI_FILL_RANDOM,  /* of the optimal shapes of --shape */
    CLI_FILL_LARGEST, /* zeros of the largest shapes of --shape */
} cli_fill;
/** Random integers of an input are drawn below this: 10, or the rows of the table that the input
 * picks from (BERT has two types of tokens). */
int64_t cli_index_limit(const hone_graph *g, const char *input);
void cli_subject_drop_inputs(cli_subject *s);
/** Load, or make up, the inputs and set them in place of what was set (inputs.c). */
HONE_NODISCARD hone_status cli_subject_set_inputs(cli_subject *s, const cli_args *args,
                                                  cli_fill fill, hone_error *err);
/** Set copies of these, one for each of the engine's inputs (kind NONE: left unset). */
HONE_NODISCARD hone_status cli_subject_take_inputs(cli_subject *s, const hone_tensor *inputs,
                                                   hone_error *err);
/** As cli_subject_set_inputs with random inputs where none are named, in sizes that the model runs
 * with: where dims are open and 1 does not do, others are tried (guess.c). The session has not run
 * afterwards. */
HONE_NODISCARD hone_status cli_subject_make_inputs(cli_subject *s, const cli_args *args,
                                                   hone_error *err);

#endif
