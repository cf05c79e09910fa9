#include "cli/manual.h"

#include <string.h>

#include "cli/python.h"

/* ---- the manual page --------------------------------------------------------------------------
 */

/* Up to `n` characters of text: hyphens as they are typed, and no line that begins like a request.
 */
static void put_roff(FILE *to, const char *s, size_t n) {
    bool is_start = true;
    for (size_t i = 0; i < n && s[i]; ++i) {
        if (is_start && (s[i] == '.' || s[i] == '\''))
            fputs("\\&", to);
        if (s[i] == '\\')
            fputs("\\e", to);
        else if (s[i] == '-')
            fputs("\\-", to);
        else
            putc(s[i], to);
        is_start = s[i] == '\n';
    }
}

/* Descriptions: paragraphs are separated by empty lines; indented lines stay as they are. */
static void put_text(FILE *to, const char *s) {
    bool is_literal = false;
    while (*s) {
        size_t n = strcspn(s, "\n");
        bool is_indented = s[0] == ' ';
        if (is_indented != is_literal)
            fputs(is_indented ? ".nf\n" : ".fi\n", to);
        is_literal = is_indented;
        if (n == 0)
            fputs(".PP\n", to);
        else {
            put_roff(to, s, n);
            putc('\n', to);
        }
        s += n + (s[n] == '\n');
    }
    fputs(is_literal ? ".fi\n" : "", to);
}

static void put_verb(FILE *to, const cli_verb *v) {
    size_t title = strcspn(v->what, "\n");
    fprintf(to, ".SS %s\n.B ", v->name);
    put_roff(to, v->usage, strlen(v->usage));
    fputs("\n.PP\n", to);
    put_roff(to, v->what, title);
    fputs(".\n.PP\n", to);
    put_text(to, v->what + title + strspn(v->what + title, "\n"));
    for (const cli_option *o = v->options; o->name; ++o) {
        fputs(".TP\n.B ", to);
        put_roff(to, o->name, strlen(o->name));
        if (o->arg) {
            putc(' ', to);
            put_roff(to, o->arg, strlen(o->arg));
        }
        putc('\n', to);
        put_roff(to, o->help, strlen(o->help));
        putc('\n', to);
    }
    fputs(".PP\nExamples:\n.PP\n", to);
    put_text(to, v->examples);
}

void cli_print_manual(const cli_verb *const *verbs, int n, FILE *to) {
    int n_more;
    const cli_python_verb *more = cli_python_verbs(&n_more);
    fprintf(to,
            ".TH HONE 1 \"\" \"hone %d.%d.%d\" \"User Commands\"\n"
            ".SH NAME\nhone \\- make trained models fast and small where they run\n"
            ".SH SYNOPSIS\n.B hone\n.I VERB\n[\\fIargument\\fR ...]\n.SH VERBS\n",
            HONE_VERSION_MAJOR, HONE_VERSION_MINOR, HONE_VERSION_PATCH);
    for (int i = 0; i < n; ++i)
        put_verb(to, verbs[i]);
    for (int i = 0; i < n_more; ++i) {
        fprintf(to, ".SS %s\n", more[i].name);
        put_roff(to, more[i].what, strlen(more[i].what));
        fprintf(to, ". Of the Python package: see \\fBhone help %s\\fR.\n", more[i].name);
    }
    fputs(".SH EXIT STATUS\n0: done; 1: failed; 2: misused.\n"
          ".SH ENVIRONMENT\n"
          ".TP\n.B HONE_MAX_ISA\nthe highest instruction set to use: ref, avx2, avx512, "
          "avx512_vnni or avx512_bf16\n"
          ".TP\n.B HONE_PYTHON\nthe interpreter for verbs of the Python package\n"
          ".TP\n.B NO_COLOR\nno colours when it is not empty\n"
          ".TP\n.B XDG_CACHE_HOME\nwhere hone/tuning lies (~/.cache when it is not set)\n",
          to);
}

/* ---- completion -------------------------------------------------------------------------------
 */

static void put_options(FILE *to, const cli_verb *v) {
    fprintf(to, "    %s) options=\"", v->name);
    for (const cli_option *o = v->options; o->name; ++o)
        fprintf(to, "%s%s", o == v->options ? "" : " ", o->name);
    fputs("\" ;;\n", to);
}

void cli_print_completion(const cli_verb *const *verbs, int n, FILE *to) {
    int n_more;
    const cli_python_verb *more = cli_python_verbs(&n_more);
    fputs("# bash completion for hone: verbs, options, files.\n"
          "_hone() {\n"
          "  local word=${COMP_WORDS[COMP_CWORD]} options=\n"
          "  COMPREPLY=()\n"
          "  if [ \"$COMP_CWORD\" = 1 ]; then\n"
          "    COMPREPLY=($(compgen -W \"",
          to);
    for (int i = 0; i < n; ++i)
        fprintf(to, "%s ", verbs[i]->name);
    for (int i = 0; i < n_more; ++i)
        fprintf(to, "%s ", more[i].name);
    fputs("help\" -- \"$word\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n", to);
    for (int i = 0; i < n; ++i)
        put_options(to, verbs[i]);
    fputs("  esac\n"
          "  case ${COMP_WORDS[COMP_CWORD-1]} in\n"
          "    --tune) COMPREPLY=($(compgen -W \"off quick full\" -- \"$word\")) ;;\n"
          "    --isa) COMPREPLY=($(compgen -W \"ref avx2 avx512 avx512_vnni avx512_bf16\" -- "
          "\"$word\")) ;;\n"
          "    *)\n"
          "      if [ \"${word:0:1}\" = - ]; then\n"
          "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
          "      fi\n"
          "      ;;\n"
          "  esac\n"
          "}\n"
          "complete -o default -F _hone hone\n",
          to);
}
