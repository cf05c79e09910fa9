/* What the program's verbs share: options, messages, tables, JSON.
 *
 * A verb is a table row (main.c) with a run function that returns the exit status: 0 done, 1
 * failed, 2 misused. Facts go to stdout, everything about the process to stderr. */
#ifndef HONE_CLI_CLI_H
#define HONE_CLI_CLI_H

#include <stdarg.h>
#include <stdio.h>

#include "base/status.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_MISUSED = 2 };

/* ---- options (options.c) ---- */

typedef struct cli_list {
    const char **item;
    int n, cap;
} cli_list;

/* All options of all verbs; a verb's table says which of them it takes. */
typedef struct cli_args {
    cli_list files; /* positional */
    cli_list inputs, shapes, calibrate, constants;
    int argc; /* as given, after the verb */
    char **argv;
    const char *output, *output_dir, *graph, *trace, *passes, *tune, *tune_cache, *isa, *precision,
        *verify, *signature;
    int level, level_a, level_b, threads, stop_at, seed, runs;
    double seconds, rtol, atol;
    size_t max_ram;
    bool json, exact, explain, list_passes, no_verify, all, assert_dispatch, fix_defaults, fp16,
        nhwc_io, int8, int8_io, help;
} cli_args;

typedef enum cli_option_kind {
    CLI_FLAG,
    CLI_TEXT,
    CLI_INT,
    CLI_NUMBER,
    CLI_SIZE,
    CLI_LIST
} cli_option_kind;

typedef struct cli_option {
    const char *name; /* "--threads" or "-o" */
    const char *arg;  /* what its argument is called, NULL for flags */
    cli_option_kind kind;
    size_t at; /* offset in cli_args */
    const char *help;
} cli_option;

typedef struct cli_verb {
    const char *name, *usage, *what;
    const char *examples;
    const cli_option *options; /* up to a row without a name */
    int min_files, max_files;
    int (*run)(const cli_args *args);
} cli_verb;

extern const cli_verb cli_inspect, cli_check, cli_optimize, cli_build, cli_run, cli_bench,
    cli_profile, cli_peak, cli_diff, cli_convert, cli_version;

#define CLI_OPTION(name, arg, kind, field, help)                                                   \
    { name, arg, kind, offsetof(cli_args, field), help }
#define CLI_OPTION_END                                                                             \
    CLI_OPTION("--help", NULL, CLI_FLAG, help, "show this help"), {                                \
        .name = NULL                                                                               \
    }

/** Fill in the defaults. */
void cli_args_init(cli_args *args);
void cli_args_free(cli_args *args);
/** argv[0..argc) after the verb. Returns CLI_DONE or CLI_MISUSED (said why). */
int cli_parse(const cli_verb *verb, int argc, char **argv, cli_args *args);
void cli_print_help(const cli_verb *verb, FILE *to);
/** "512", "64k", "1.5G" -> bytes; false when it is no size. */
bool cli_parse_size(const char *text, size_t *bytes);
/** Append; exits the parse with false when out of memory. */
bool cli_list_add(cli_list *list, const char *item);

/* ---- messages (print.c) ---- */

typedef enum cli_colour {
    CLI_PLAIN,
    CLI_BOLD,
    CLI_RED,
    CLI_GREEN,
    CLI_YELLOW,
    CLI_GREY
} cli_colour;

/** The escape sequence when `to` is a terminal that wants colours, else "". */
const char *cli_colour_on(FILE *to, cli_colour colour);
const char *cli_colour_off(FILE *to);

/** "hone: node (op): message", then the next command to try with `file` (may be NULL). Returns
 * CLI_FAILED. */
int cli_fail(const hone_error *err, const char *file);
/** "hone: message" for wrong usage. Returns CLI_MISUSED. */
int cli_misuse(const char *verb, const char *format, ...) HONE_PRINTF(2, 3);
/** A remark on stderr. */
void cli_note(const char *format, ...) HONE_PRINTF(1, 2);
/** The same; matches hone_build_options.remark. */
void cli_remark(void *arg, const char *text);

typedef struct cli_text {
    char s[32];
} cli_text;
cli_text cli_bytes(double bytes); /* "1.3 MB" */
cli_text cli_count(double n);     /* "3.8 G" */

/** The model's name of a NULL or empty string. */
const char *cli_name(const char *name);

/* ---- text that others wrote (escape.c) ---- */

/** Bytes of the UTF-8 character that s begins with, and its number; 0: it is none. */
int cli_utf8(const char *s, uint32_t *code);
/** No control character, and none that changes the direction of text. */
bool cli_is_harmless(uint32_t code);
/** A copy, to be freed, with anything but harmless characters written as \x1b or \u{202e}; NULL
 * when out of memory. */
char *cli_escape(const char *s);
/** Like fprintf, for text with names of models and files in it: escaped, except for newlines at the
 * end. */
void cli_say(FILE *to, const char *format, ...) HONE_PRINTF(2, 3);
void cli_say_list(FILE *to, const char *format, va_list args);

/* ---- tables: cells are escaped ---- */

typedef struct cli_table cli_table;
/** `heads` separated by '|'; a head that starts with '>' makes a right-aligned column. */
cli_table *cli_table_create(const char *heads);
/** A cell in the next place, row by row. */
void cli_cell(cli_table *t, const char *format, ...) HONE_PRINTF(2, 3);
/** Print and destroy. NULL: nothing. */
void cli_table_print(cli_table *t, FILE *to);

/* ---- progress: a bar on a terminal once a second has passed ---- */

typedef struct cli_progress {
    int64_t start_ns;
    bool is_shown;
} cli_progress;
void cli_progress_start(cli_progress *p);
/** Matches hone_build_options.progress. */
void cli_progress_show(void *progress, double fraction, const char *what);
void cli_progress_end(cli_progress *p);
int64_t cli_now_ns(void);

/* ---- JSON (json.c): `key` NULL inside arrays and at the root ---- */

typedef struct cli_json {
    FILE *to;
    int depth;
    bool has_items;
} cli_json;
void cli_json_open(cli_json *j, const char *key, char bracket);
void cli_json_close(cli_json *j, char bracket);
void cli_json_text(cli_json *j, const char *key, const char *value);
void cli_json_int(cli_json *j, const char *key, int64_t value);
void cli_json_number(cli_json *j, const char *key, double value);
void cli_json_bool(cli_json *j, const char *key, bool value);

#endif
