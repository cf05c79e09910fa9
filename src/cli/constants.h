/* --constant: inputs of a model that are made constants. */
#ifndef HONE_CLI_CONSTANTS_H
#define HONE_CLI_CONSTANTS_H

#include "cli/cli.h"
#include "ir/graph.h"

/** NAME=NUMBER, for inputs of one element, or NAME=FILE: the inputs go, and what depended on them
 * is constant too. The graph is indexed and its types inferred afterwards. */
HONE_NODISCARD hone_status cli_fix_inputs(const cli_list *specs, hone_graph *g, hone_error *err);

#endif
