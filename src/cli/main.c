/* The program `hone`: verbs and help. */
#include <string.h>

#include "cli/cli.h"
#include "cli/manual.h"
#include "cli/python.h"

static const cli_verb *const verbs[] = {&cli_inspect, &cli_check,   &cli_optimize, &cli_build,
                                        &cli_run,     &cli_bench,   &cli_profile,  &cli_peak,
                                        &cli_diff,    &cli_convert, &cli_version};

enum { N_VERBS = sizeof verbs / sizeof verbs[0] };

static const cli_verb *find_verb(const char *name) {
    for (int i = 0; i < N_VERBS; ++i) {
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    }
    return NULL;
}

static void print_overview(FILE *to) {
    fprintf(to, "usage: hone VERB ...\n\n"
                "Makes trained models fast and small where they run.\n\nverbs:\n");
    for (int i = 0; i < N_VERBS; ++i)
        fprintf(to, "  %-9s %.*s\n", verbs[i]->name, (int)strcspn(verbs[i]->what, "\n"),
                verbs[i]->what);
    int n;
    const cli_python_verb *more = cli_python_verbs(&n);
    for (int i = 0; i < n; ++i)
        fprintf(to, "  %-9s %s\n", more[i].name, more[i].what);
    fprintf(to, "  %-9s %s\n\n", "help", "show what a verb does and takes: hone help VERB");
    fprintf(to, "Exit status: 0 done, 1 failed, 2 misused.\n");
}

static int unknown_verb(const char *name) {
    return cli_misuse(NULL, "'%s' is no verb", name);
}

static int help(int argc, char **argv) {
    if (argc == 0) {
        print_overview(stdout);
        return CLI_DONE;
    }
    if (strcmp(argv[0], "--man") == 0) {
        cli_print_manual(verbs, N_VERBS, stdout);
        return CLI_DONE;
    }
    if (strcmp(argv[0], "--completion") == 0) {
        cli_print_completion(verbs, N_VERBS, stdout);
        return CLI_DONE;
    }
    if (cli_find_python_verb(argv[0])) {
        char help_option[] = "--help", *options[] = {help_option};
        return cli_run_python(argv[0], 1, options);
    }
    const cli_verb *verb = find_verb(argv[0]);
    if (!verb)
        return unknown_verb(argv[0]);
    cli_print_help(verb, stdout);
    return CLI_DONE;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stderr);
        return CLI_MISUSED;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc - 2, argv + 2);
    if (strcmp(name, "--version") == 0)
        name = "version";
    if (cli_find_python_verb(name))
        return cli_run_python(name, argc - 2, argv + 2);
    const cli_verb *verb = find_verb(name);
    if (!verb)
        return unknown_verb(name);
    cli_args args;
    cli_args_init(&args);
    int status = cli_parse(verb, argc - 2, argv + 2, &args);
    if (status == CLI_DONE && args.help)
        cli_print_help(verb, stdout);
    else if (status == CLI_DONE)
        status = verb->run(&args);
    cli_args_free(&args);
    if (fflush(stdout) != 0 && status == CLI_DONE)
        status = CLI_FAILED;
    return status;
}
