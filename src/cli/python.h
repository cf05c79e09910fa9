/* Verbs of the program that the Python package has. */
#ifndef HONE_CLI_PYTHON_H
#define HONE_CLI_PYTHON_H

#include "cli/cli.h"

typedef struct cli_python_verb {
    const char *name, *what;
} cli_python_verb;

const cli_python_verb *cli_python_verbs(int *n);
/** NULL: none of that name. */
const cli_python_verb *cli_find_python_verb(const char *name);
/** Become `python3 -m hone VERB ARGUMENT...`; comes back with CLI_FAILED only, said why. The
 * interpreter is HONE_PYTHON, else that of the checkout the program was built in, else python3. */
int cli_run_python(const char *verb, int argc, char **argv);

#endif
