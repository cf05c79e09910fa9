/* hone check: everything wrong with a model file. */
#include "cli/findings.h"
#include "cli/options_def.h"
#include "engine/check.h"

static void print_json(const char *path, const hone_findings *f) {
    cli_json j = {.to = stdout};
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "file", path);
    cli_findings_json(&j, f);
    cli_json_close(&j, '}');
}

static void print_text(const char *path, const hone_findings *f) {
    cli_findings_print(f, stdout);
    cli_say(stdout, "%s: %d errors, %d warnings, %d notes%s\n", path, f->n_errors, f->n_warnings,
            f->n - f->n_errors - f->n_warnings, f->n_errors ? "" : ": the model can run");
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    hone_findings f;
    const char *path = args->files.item[0];
    hone_status status = hone_check_file(path, &f, &err);
    int result = status != HONE_OK ? cli_fail(&err, NULL) : f.n_errors ? CLI_FAILED : CLI_DONE;
    if (status == HONE_OK && args->json)
        print_json(path, &f);
    else if (status == HONE_OK)
        print_text(path, &f);
    hone_findings_free(&f);
    return result;
}

static const cli_option options[] = {
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_check = {
    .name = "check",
    .usage = "hone check MODEL|FILE.hone [--json]",
    .what = "list everything wrong with a model file, or check an engine file\n\n"
            "All findings at once, each with its node, a reason code and what to do:\n"
            "  errors    malformed, malformed-node, undefined-value, defined-twice,\n"
            "            type-conflict, shape-conflict, unsupported-operator,\n"
            "            unsupported-type, unsupported-form, unsupported-model\n"
            "            of engine files: malformed (checksums too), other-version\n"
            "  warnings  stale-shape\n"
            "  notes     dynamic-input, dynamic-shape, unused-node\n"
            "The exit status is 1 when there is an error.",
    .examples = "  hone check model.onnx\n"
                "  hone check model.onnx --json\n"
                "  hone check model.hone\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
