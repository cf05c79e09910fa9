/* Messages, tables and progress, for people. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

/* ---- colours ----------------------------------------------------------------------------------
 */

/* no-color.org: any non-empty NO_COLOR turns colours off. */
static bool wants_colour(FILE *to) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(to)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

const char *cli_colour_on(FILE *to, cli_colour colour) {
    static const char *const codes[] = {"",         "\033[1m",  "\033[1;31m",
                                        "\033[32m", "\033[33m", "\033[90m"};
    return wants_colour(to) ? codes[colour] : "";
}

const char *cli_colour_off(FILE *to) {
    return wants_colour(to) ? "\033[0m" : "";
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static void say_hone(void) {
    fflush(stdout);
    fprintf(stderr, "%shone:%s ", cli_colour_on(stderr, CLI_RED), cli_colour_off(stderr));
}

/* The command that shows more about this kind of failure. */
static void suggest(const hone_error *err, const char *file) {
    const char *verb = NULL, *why = NULL;
    switch (err->code) {
    case HONE_E_FORMAT:
    case HONE_E_TYPE:
    case HONE_E_UNSUPPORTED:
        verb = "check";
        why = "lists everything wrong with the file";
        break;
    case HONE_E_ARGUMENT:
    case HONE_E_SHAPE:
    case HONE_E_RUNTIME:
        verb = "inspect";
        why = "shows the inputs and their shapes";
        break;
    case HONE_E_MISMATCH:
        verb = "diff --level-a 0 --level-b 2";
        why = "finds the first tensor that differs";
        break;
    default:
        break;
    }
    if (verb && file)
        cli_say(stderr, "  next: hone %s %s   (%s)\n", verb, file, why);
}

int cli_fail(const hone_error *err, const char *file) {
    say_hone();
    bool has_node = err->node[0] || err->op[0];
    if (has_node)
        cli_say(stderr, "%s (%s): ", cli_name(err->node), err->op);
    cli_say(stderr, "%s\n", err->message[0] ? err->message : hone_status_name(err->code));
    suggest(err, file);
    return CLI_FAILED;
}

int cli_misuse(const char *verb, const char *format, ...) {
    va_list args;
    say_hone();
    va_start(args, format);
    cli_say_list(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n  next: hone help%s%s\n", verb ? " " : "", verb ? verb : "");
    return CLI_MISUSED;
}

void cli_note(const char *format, ...) {
    va_list args;
    fflush(stdout);
    fputs(cli_colour_on(stderr, CLI_GREY), stderr);
    va_start(args, format);
    cli_say_list(stderr, format, args);
    va_end(args);
    fprintf(stderr, "%s\n", cli_colour_off(stderr));
}

void cli_remark(void *arg, const char *text) {
    (void)arg;
    cli_note("%s", text);
}

static cli_text scaled(double v, double step, const char *const *units, int n) {
    cli_text t;
    int i = 0;
    while (fabs(v) >= step && i + 1 < n) {
        v /= step;
        ++i;
    }
    snprintf(t.s, sizeof t.s, i == 0 ? "%.0f %s" : "%.2f %s", v, units[i]);
    return t;
}

cli_text cli_bytes(double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    return scaled(bytes, 1024, units, 5);
}

cli_text cli_count(double n) {
    static const char *const units[] = {"", "k", "M", "G", "T"};
    cli_text t = scaled(n, 1000, units, 5);
    size_t len = strlen(t.s);
    if (len && t.s[len - 1] == ' ')
        t.s[len - 1] = '\0';
    return t;
}

const char *cli_name(const char *name) {
    return name && *name ? name : "(unnamed)";
}

/* ---- tables -----------------------------------------------------------------------------------
 */

enum { MAX_COLUMNS = 16 };

struct cli_table {
    int n_columns;
    bool right[MAX_COLUMNS];
    char **cell;
    int n, cap;
};

static void add_cell(cli_table *t, char *text) {
    if (t->n == t->cap) {
        int cap = t->cap ? 2 * t->cap : 64;
        char **grown = realloc(t->cell, (size_t)cap * sizeof *grown);
        if (!grown) {
            free(text);
            return;
        }
        t->cell = grown;
        t->cap = cap;
    }
    t->cell[t->n++] = text;
}

cli_table *cli_table_create(const char *heads) {
    cli_table *t = calloc(1, sizeof *t);
    for (const char *at = heads; t && t->n_columns < MAX_COLUMNS;) {
        size_t n = strcspn(at, "|");
        bool right = *at == '>';
        t->right[t->n_columns++] = right;
        add_cell(t, strndup(at + right, n - right));
        if (!at[n])
            break;
        at += n + 1;
    }
    return t;
}

void cli_cell(cli_table *t, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (t)
        add_cell(t, cli_escape(text));
}

/* Columns that a UTF-8 text takes, one for each code point. */
static int width_of(const char *s) {
    int n = 0;
    for (; s && *s; ++s)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void print_row(const cli_table *t, int row, const int *width, FILE *to) {
    for (int c = 0; c < t->n_columns; ++c) {
        int at = row * t->n_columns + c;
        const char *s = at < t->n && t->cell[at] ? t->cell[at] : "";
        int pad = width[c] - width_of(s);
        fputs(c ? "  " : "", to);
        if (t->right[c])
            fprintf(to, "%*s%s", pad, "", s);
        else
            fprintf(to, "%s%*s", s, c + 1 < t->n_columns ? pad : 0, "");
    }
    putc('\n', to);
}

void cli_table_print(cli_table *t, FILE *to) {
    if (!t)
        return;
    int width[MAX_COLUMNS] = {0};
    for (int i = 0; i < t->n; ++i) {
        int w = width_of(t->cell[i]), *max = &width[i % t->n_columns];
        *max = w > *max ? w : *max;
    }
    int n_rows = (t->n + t->n_columns - 1) / t->n_columns;
    for (int row = 0; row < n_rows; ++row) {
        fputs(row == 0 ? cli_colour_on(to, CLI_BOLD) : "", to);
        print_row(t, row, width, to);
        fputs(row == 0 ? cli_colour_off(to) : "", to);
    }
    for (int i = 0; i < t->n; ++i)
        free(t->cell[i]);
    free(t->cell);
    free(t);
}

/* ---- progress ---------------------------------------------------------------------------------
 */

int64_t cli_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void cli_progress_start(cli_progress *p) {
    *p = (cli_progress){.start_ns = cli_now_ns()};
}

void cli_progress_show(void *progress, double fraction, const char *what) {
    enum { WIDTH = 30, AFTER_NS = 1000000000 };
    cli_progress *p = progress;
    if (!isatty(fileno(stderr)) || cli_now_ns() - p->start_ns < AFTER_NS)
        return;
    int full = (int)(fraction * WIDTH);
    full = full < 0 ? 0 : full > WIDTH ? WIDTH : full;
    fprintf(stderr, "\r[%.*s%*s] %3.0f %% ", full, "##############################", WIDTH - full,
            "", fraction * 100);
    cli_say(stderr, "%-24.24s", what ? what : "");
    fflush(stderr);
    p->is_shown = true;
}

void cli_progress_end(cli_progress *p) {
    if (p->is_shown)
        fprintf(stderr, "\r%70s\r", "");
    p->is_shown = false;
}
