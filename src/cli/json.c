/* A JSON writer (RFC 8259). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/cli.h"

static void put_text(FILE *to, const char *s) {
    putc('"', to);
    while (*s) {
        uint32_t c;
        int n = cli_utf8(s, &c);
        if (n == 0) /* JSON is UTF-8 */
            fputs("\\ufffd", to);
        else if (c == '"' || c == '\\')
            fprintf(to, "\\%c", (int)c);
        else if (!cli_is_harmless(c))
            fprintf(to, "\\u%04x", (unsigned)c);
        else
            fwrite(s, 1, (size_t)n, to);
        s += n ? n : 1;
    }
    putc('"', to);
}

static void start_item(cli_json *j, const char *key) {
    if (j->has_items)
        putc(',', j->to);
    if (j->depth > 0)
        fprintf(j->to, "\n%*s", 2 * j->depth, "");
    if (key) {
        put_text(j->to, key);
        fputs(": ", j->to);
    }
    j->has_items = true;
}

void cli_json_open(cli_json *j, const char *key, char bracket) {
    start_item(j, key);
    putc(bracket, j->to);
    j->depth++;
    j->has_items = false;
}

void cli_json_close(cli_json *j, char bracket) {
    j->depth--;
    if (j->has_items)
        fprintf(j->to, "\n%*s", 2 * j->depth, "");
    putc(bracket, j->to);
    j->has_items = true;
    if (j->depth == 0)
        putc('\n', j->to);
}

void cli_json_text(cli_json *j, const char *key, const char *value) {
    start_item(j, key);
    if (value)
        put_text(j->to, value);
    else
        fputs("null", j->to);
}

void cli_json_int(cli_json *j, const char *key, int64_t value) {
    start_item(j, key);
    fprintf(j->to, "%" PRId64, value);
}

void cli_json_number(cli_json *j, const char *key, double value) {
    start_item(j, key);
    if (isfinite(value)) /* JSON has no infinities and no NaN */
        fprintf(j->to, "%.9g", value);
    else
        fputs("null", j->to);
}

void cli_json_bool(cli_json *j, const char *key, bool value) {
    start_item(j, key);
    fputs(value ? "true" : "false", j->to);
}
