/* Options from tables, and help made of the same tables. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

void cli_args_init(cli_args *args) {
    *args = (cli_args){.level = 2,
                       .level_a = 2,
                       .level_b = 2,
                       .stop_at = -1,
                       .seconds = 3,
                       .runs = 10,
                       .rtol = 1e-3,
                       .atol = 1e-4};
}

void cli_args_free(cli_args *args) {
    free(args->files.item);
    free(args->inputs.item);
    free(args->shapes.item);
    free(args->constants.item);
    free(args->calibrate.item);
}

bool cli_list_add(cli_list *list, const char *item) {
    if (list->n == list->cap) {
        int cap = list->cap ? 2 * list->cap : 8;
        const char **grown = realloc(list->item, (size_t)cap * sizeof *grown);
        if (!grown)
            return false;
        list->item = grown;
        list->cap = cap;
    }
    list->item[list->n++] = item;
    return true;
}

bool cli_parse_size(const char *text, size_t *bytes) {
    static const char units[] = "kKmMgG";
    char *end;
    double v = strtod(text, &end);
    if (end == text || !(v >= 0))
        return false;
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (unit) {
        for (ptrdiff_t i = 0; i <= (unit - units) / 2; ++i)
            v *= 1024;
        ++end;
    }
    if (end[0] == 'i' && unit)
        ++end;
    if (end[0] == 'B')
        ++end;
    if (*end || v > 1e18)
        return false;
    *bytes = (size_t)v;
    return true;
}

static bool parse_int(const char *text, int *out) {
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (end == text || *end || errno || v < -1 || v > 1000000000)
        return false;
    *out = (int)v;
    return true;
}

static bool parse_number(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && *out >= 0 && isfinite(*out);
}

static bool store(const cli_option *option, const char *value, cli_args *args) {
    void *to = (char *)args + option->at;
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)to = true;
        return true;
    case CLI_TEXT:
        *(const char **)to = value;
        return true;
    case CLI_INT:
        return parse_int(value, to);
    case CLI_NUMBER:
        return parse_number(value, to);
    case CLI_SIZE:
        return cli_parse_size(value, to);
    case CLI_LIST:
        return cli_list_add(to, value);
    }
    return false;
}

static const cli_option *find_option(const cli_verb *verb, const char *text, size_t len) {
    for (const cli_option *o = verb->options; o->name; ++o) {
        if (strlen(o->name) == len && memcmp(o->name, text, len) == 0)
            return o;
    }
    return NULL;
}

/* One option with its argument, "--name value" or "--name=value"; *i moves on. */
static int parse_option(const cli_verb *verb, int argc, char **argv, int *i, cli_args *args) {
    const char *text = argv[*i];
    size_t len = strncmp(text, "--", 2) == 0 ? strcspn(text, "=") : strlen(text);
    const cli_option *option = find_option(verb, text, len);
    if (!option)
        return cli_misuse(verb->name, "'%.*s' is no option of 'hone %s'", (int)len, text,
                          verb->name);
    const char *value = text[len] == '=' ? text + len + 1 : NULL;
    if (option->kind == CLI_FLAG && value)
        return cli_misuse(verb->name, "%s takes no argument", option->name);
    if (option->kind != CLI_FLAG && !value) {
        if (*i + 1 >= argc)
            return cli_misuse(verb->name, "%s needs an argument: %s %s", option->name, option->name,
                              option->arg);
        value = argv[++*i];
    }
    if (!store(option, value, args))
        return cli_misuse(verb->name, "'%s' is not possible for %s %s", value, option->name,
                          option->arg);
    return CLI_DONE;
}

int cli_parse(const cli_verb *verb, int argc, char **argv, cli_args *args) {
    bool only_files = false;
    args->argc = argc;
    args->argv = argv;
    for (int i = 0; i < argc; ++i) {
        if (!only_files && strcmp(argv[i], "--") == 0) {
            only_files = true;
        } else if (!only_files && argv[i][0] == '-' && argv[i][1]) {
            int status = parse_option(verb, argc, argv, &i, args);
            if (status != CLI_DONE)
                return status;
        } else if (!cli_list_add(&args->files, argv[i])) {
            return cli_misuse(verb->name, "out of memory");
        }
    }
    if (args->help || args->list_passes)
        return CLI_DONE;
    if (args->files.n < verb->min_files)
        return cli_misuse(verb->name, "%s is missing: %s", verb->max_files > 1 ? "a file" : "MODEL",
                          verb->usage);
    if (args->files.n > verb->max_files)
        return cli_misuse(verb->name, "'%s' is one argument too many",
                          args->files.item[verb->max_files]);
    return CLI_DONE;
}

void cli_print_help(const cli_verb *verb, FILE *to) {
    fprintf(to, "usage: %s\n\n%s\n\noptions:\n", verb->usage, verb->what);
    size_t width = 0;
    for (const cli_option *o = verb->options; o->name; ++o) {
        size_t n = strlen(o->name) + (o->arg ? strlen(o->arg) + 1 : 0);
        width = n > width ? n : width;
    }
    for (const cli_option *o = verb->options; o->name; ++o) {
        int used = fprintf(to, "  %s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        fprintf(to, "%*s  %s\n", (int)width + 2 - used, "", o->help);
    }
    fprintf(to, "\nexamples:\n%s", verb->examples);
}
