/* Findings as text and as JSON. */
#ifndef HONE_CLI_FINDINGS_H
#define HONE_CLI_FINDINGS_H

#include "cli/cli.h"
#include "ir/findings.h"

/** One after another, errors first. */
void cli_findings_print(const hone_findings *f, FILE *to);
/** The fields "errors", "warnings" and "findings" of an object that is open. */
void cli_findings_json(cli_json *j, const hone_findings *f);

#endif
