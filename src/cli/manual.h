/* The manual page and the shell completion, made of the tables that parse the arguments. */
#ifndef HONE_CLI_MANUAL_H
#define HONE_CLI_MANUAL_H

#include "cli/cli.h"

/** hone(1), as man(7) macros. */
void cli_print_manual(const cli_verb *const *verbs, int n, FILE *to);
/** A completion script for bash. */
void cli_print_completion(const cli_verb *const *verbs, int n, FILE *to);

#endif
