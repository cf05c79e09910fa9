/* Rows of option tables that several verbs have. */
#ifndef HONE_CLI_OPTIONS_DEF_H
#define HONE_CLI_OPTIONS_DEF_H

#include "cli/cli.h"

#define CLI_OPTION_SHAPE                                                                           \
    CLI_OPTION("--shape", "NAME=DIMS", CLI_LIST, shapes,                                           \
               "fix the dims of an input: NAME=1x3x224x224, or NAME=min:opt:max")
#define CLI_OPTION_INPUT                                                                           \
    CLI_OPTION("--input", "NAME=FILE", CLI_LIST, inputs,                                           \
               "a .npy, .npz or .pb file; or NAME=random, NAME=zeros")
#define CLI_OPTION_THREADS                                                                         \
    CLI_OPTION("--threads", "N", CLI_INT, threads,                                                 \
               "threads to use (default: all that the process may use)")
#define CLI_OPTION_LEVEL                                                                           \
    CLI_OPTION("--level", "L", CLI_INT, level,                                                     \
               "0: as in the file, 1: graph passes, 2: and kernels (default)")
#define CLI_OPTION_SEED                                                                            \
    CLI_OPTION("--seed", "N", CLI_INT, seed, "seed of random inputs (default 0)")
#define CLI_OPTION_CONSTANT                                                                        \
    CLI_OPTION("--constant", "NAME=VALUE", CLI_LIST, constants,                                    \
               "make an input a constant: a number, or a .npy, .npz or .pb file")
#define CLI_OPTION_SIGNATURE                                                                       \
    CLI_OPTION("--signature", "KEY", CLI_TEXT, signature,                                          \
               "the graph of a .tflite file to take, by its signature (default: the first)")
#define CLI_OPTION_JSON CLI_OPTION("--json", NULL, CLI_FLAG, json, "print facts as JSON")
#define CLI_OPTION_TOLERANCE                                                                       \
    CLI_OPTION("--rtol", "X", CLI_NUMBER, rtol, "relative tolerance (default 1e-3)"),              \
        CLI_OPTION("--atol", "X", CLI_NUMBER, atol, "absolute tolerance (default 1e-4)")
#define CLI_OPTION_BUILD                                                                           \
    CLI_OPTION("--max-ram", "SIZE", CLI_SIZE, max_ram,                                             \
               "refuse plans whose activations need more, e.g. 64M"),                              \
        CLI_OPTION("--tune", "off|quick|full", CLI_TEXT, tune,                                     \
                   "time kernel candidates on this machine (default off)"),                        \
        CLI_OPTION("--tune-cache", "FILE|off", CLI_TEXT, tune_cache,                               \
                   "where tuning keeps its times (default ~/.cache/hone/tuning)"),                 \
        CLI_OPTION("--precision", "fp32|bf16", CLI_TEXT, precision,                                \
                   "what to compute in (default fp32)"),                                           \
        CLI_OPTION("--isa", "LEVEL", CLI_TEXT, isa,                                                \
                   "pack weights for ref, avx2, avx512, ... (default: what this CPU has)"),        \
        CLI_OPTION("--exact", NULL, CLI_FLAG, exact,                                               \
                   "leave out reformulations of arithmetic such as Winograd")

#endif
