/* The parts of hone inspect. */
#ifndef HONE_CLI_INSPECT_H
#define HONE_CLI_INSPECT_H

#include "cli/subject.h"

/** Inputs or outputs with their types; those with defaults only when `all`. */
void cli_print_values(const char *title, const hone_graph *g, hone_value *const *list, int n,
                      bool all);
void cli_json_values(cli_json *j, const char *key, const hone_graph *g, hone_value *const *list,
                     int n);
/** hone inspect FILE.hone: exit status. */
int cli_inspect_engine(const cli_args *args, const char *path);

#endif
