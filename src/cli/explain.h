/* What hone build --explain and hone bench --assert-dispatch say of every node's kernel. */
#ifndef HONE_CLI_EXPLAIN_H
#define HONE_CLI_EXPLAIN_H

#include "cli/subject.h"

/** Print, for every node: the kernel, its measured time, its share of the machine's peak, and why
 * the alternatives were left. `j` NULL: a table on stdout. Runs the session on made-up inputs. */
HONE_NODISCARD hone_status cli_explain(cli_subject *s, const cli_args *args, cli_json *j,
                                       hone_error *err);
/** Compare the kernel of every node with its alternatives; *n_slow gets how many nodes would be
 * more than 5 % faster with another. Prints them. */
HONE_NODISCARD hone_status cli_assert_dispatch(cli_subject *s, const cli_args *args, int *n_slow,
                                               hone_error *err);

#endif
