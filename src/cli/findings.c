#include "cli/findings.h"

static const struct {
    const char *name;
    cli_colour colour;
} severities[] = {{"note", CLI_GREY}, {"warning", CLI_YELLOW}, {"error", CLI_RED}};

void cli_findings_json(cli_json *j, const hone_findings *f) {
    cli_json_int(j, "errors", f->n_errors);
    cli_json_int(j, "warnings", f->n_warnings);
    cli_json_open(j, "findings", '[');
    for (int i = 0; i < f->n; ++i) {
        const hone_finding *x = &f->item[i];
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "severity", severities[x->severity].name);
        cli_json_text(j, "reason", x->reason);
        cli_json_text(j, "node", x->node);
        cli_json_text(j, "op", x->op);
        cli_json_text(j, "message", x->message);
        cli_json_text(j, "cure", x->cure);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static void print_finding(const hone_finding *x, FILE *to) {
    fprintf(to, "%s%s%s [%s] ", cli_colour_on(to, severities[x->severity].colour),
            severities[x->severity].name, cli_colour_off(to), x->reason);
    if (x->node[0] || x->op[0])
        cli_say(to, "%s (%s): ", cli_name(x->node), x->op[0] ? x->op : "?");
    cli_say(to, "%s\n", x->message);
    fprintf(to, "    to do: %s\n", x->cure);
}

void cli_findings_print(const hone_findings *f, FILE *to) {
    for (int severity = HONE_ERROR; severity >= HONE_NOTE; --severity) {
        for (int i = 0; i < f->n; ++i) {
            if ((int)f->item[i].severity == severity)
                print_finding(&f->item[i], to);
        }
    }
}
