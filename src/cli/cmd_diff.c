/* hone diff: where two models, or two optimisation levels, part ways. */
#include <string.h>

#include "cli/compare.h"
#include "cli/options_def.h"

static void print_json_row(cli_json *j, const char *key, const cli_compared *row) {
    cli_json_open(j, key, '{');
    cli_json_text(j, "name", row->name);
    cli_json_text(j, "type", row->type);
    cli_json_bool(j, "is_output", row->is_output);
    cli_json_bool(j, "within_tolerance", row->diff.is_alike);
    cli_json_number(j, "max_abs", row->diff.max_abs);
    cli_json_number(j, "max_rel", row->diff.max_rel);
    cli_json_number(j, "mean_abs", row->diff.mean_abs);
    cli_json_int(j, "beyond", row->diff.n_beyond);
    cli_json_int(j, "elements", row->diff.n);
    if (row->diff.why[0])
        cli_json_text(j, "why", row->diff.why);
    cli_json_close(j, '}');
}

static void print_json(const cli_comparison *c) {
    cli_json j = {.to = stdout};
    cli_json_open(&j, NULL, '{');
    cli_json_int(&j, "compared", c->n_compared);
    cli_json_int(&j, "beyond_tolerance", c->n_beyond);
    cli_json_int(&j, "outputs_beyond_tolerance", c->n_outputs_beyond);
    if (c->first)
        print_json_row(&j, "first", c->first);
    cli_json_open(&j, "tensors", '[');
    for (int i = 0; i < c->n; ++i) {
        if (c->rows[i].is_compared)
            print_json_row(&j, NULL, &c->rows[i]);
    }
    cli_json_close(&j, ']');
    cli_json_close(&j, '}');
}

static void print_table(const cli_comparison *c, bool all) {
    cli_table *t = cli_table_create("tensor|type|>max abs|>max rel|>mean abs|>beyond|");
    for (int i = 0; i < c->n; ++i) {
        const cli_compared *row = &c->rows[i];
        const cli_difference *d = &row->diff;
        if (!row->is_compared || !(all || row->is_output || row == c->first))
            continue;
        cli_cell(t, "%s%s", row->name, row->is_output ? " (output)" : "");
        cli_cell(t, "%s", row->type);
        cli_cell(t, "%.3g", d->max_abs);
        cli_cell(t, "%.3g", d->max_rel);
        cli_cell(t, "%.3g", d->mean_abs);
        cli_cell(t, "%lld of %lld", (long long)d->n_beyond, (long long)d->n);
        cli_cell(t, "%s", d->is_alike ? "" : row == c->first ? "<- first beyond" : "<- beyond");
    }
    cli_table_print(t, stdout);
}

static void print_text(const cli_comparison *c, const cli_args *args) {
    char text[256];
    print_table(c, args->all);
    printf("%d tensors compared by name, %d beyond tolerance (rtol %g, atol %g)\n", c->n_compared,
           c->n_beyond, args->rtol, args->atol);
    if (c->first) {
        cli_describe_difference(&c->first->diff, text, sizeof text);
        cli_say(stdout, "first beyond tolerance: %s: %s\n", c->first->name, text);
    }
}

/* *path: the file that a failure is about. */
static hone_status compare(const cli_args *args, cli_subject *a, cli_subject *b, cli_comparison *c,
                           const char **path, hone_error *err) {
    const char *first = args->files.item[0];
    *path = first;
    HONE_TRY(cli_subject_open(a, args, first, args->level_a, err));
    HONE_TRY(cli_subject_make_inputs(a, args, err));
    *path = args->files.n > 1 ? args->files.item[1] : first;
    HONE_TRY(cli_subject_open(b, args, *path, args->level_b, err));
    return cli_compare_runs(a, b, &(cli_rules){.rtol = args->rtol, .atol = args->atol}, c, err);
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    cli_subject a = {0}, b = {0};
    cli_comparison c = {.n = 0};
    if (args->files.n == 1 && args->level_a == args->level_b)
        return cli_misuse("diff", "one model needs two levels: --level-a 0 --level-b 2");
    const char *path;
    hone_status status = compare(args, &a, &b, &c, &path, &err);
    int result = CLI_DONE;
    if (status != HONE_OK)
        result = cli_fail(&err, path);
    else if (args->json)
        print_json(&c);
    else
        print_text(&c, args);
    if (status == HONE_OK && c.n_outputs_beyond > 0)
        result = CLI_FAILED;
    cli_comparison_free(&c);
    cli_subject_close(&a);
    cli_subject_close(&b);
    return result;
}

static const cli_option options[] = {
    CLI_OPTION("--level-a", "L", CLI_INT, level_a, "optimisation level of A (default 2)"),
    CLI_OPTION("--level-b", "L", CLI_INT, level_b, "optimisation level of B (default 2)"),
    CLI_OPTION_TOLERANCE,
    CLI_OPTION("--all", NULL, CLI_FLAG, all, "list every tensor, not only outputs and the first"),
    CLI_OPTION_INPUT,
    CLI_OPTION_SHAPE,
    CLI_OPTION_THREADS,
    CLI_OPTION_SEED,
    CLI_OPTION("--passes", "A,B", CLI_TEXT, passes, "run these graph passes only"),
    CLI_OPTION("--stop-at", "N", CLI_INT, stop_at, "run the first N pass applications only"),
    CLI_OPTION("--exact", NULL, CLI_FLAG, exact,
               "leave out reformulations of arithmetic such as Winograd"),
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_diff = {
    .name = "diff",
    .usage = "hone diff A [B] [--level-a 0 --level-b 2] [--input NAME=FILE ...]",
    .what = "compare what two models, or two optimisation levels of one, compute\n\n"
            "Both run on the same inputs (random ones unless given); outputs and the tensors that\n"
            "both compute under the same name are compared, in the order in which A computes\n"
            "them. An element is beyond tolerance when |a - b| > rtol |a| + atol max(1, the\n"
            "largest |a| of the tensor). The exit status is 1 when an output is beyond tolerance.\n"
            "'python -m hone diff' compares with ONNX Runtime.",
    .examples = "  hone diff model.onnx optimised.onnx --input image=cat.npy\n"
                "  hone diff model.onnx --level-a 0 --level-b 2 --all\n"
                "  hone diff model.onnx int8.onnx --rtol 0.1 --atol 0.05 --json\n",
    .options = options,
    .min_files = 1,
    .max_files = 2,
    .run = run,
};
