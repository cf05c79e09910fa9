/* hone version */
#include "base/cpu.h"
#include "base/threads.h"
#include "cli/cli.h"

static int run(const cli_args *args) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", HONE_VERSION_MAJOR, HONE_VERSION_MINOR,
             HONE_VERSION_PATCH);
    if (args->json) {
        cli_json j = {.to = stdout};
        cli_json_open(&j, NULL, '{');
        cli_json_text(&j, "version", version);
        cli_json_text(&j, "cpu", hone_cpu_model());
        cli_json_text(&j, "isa", hone_isa_name(hone_cpu_isa()));
        cli_json_int(&j, "threads", hone_default_threads());
        cli_json_close(&j, '}');
    } else {
        printf("hone %s\ncpu: %s (%s), %d threads\n", version, hone_cpu_model(),
               hone_isa_name(hone_cpu_isa()), hone_default_threads());
    }
    return CLI_DONE;
}

static const cli_option options[] = {
    CLI_OPTION("--json", NULL, CLI_FLAG, json, "print facts as JSON"),
    CLI_OPTION_END,
};

const cli_verb cli_version = {
    .name = "version",
    .usage = "hone version [--json]",
    .what = "show the version, the CPU and what of it is used",
    .examples = "  hone version\n",
    .options = options,
    .run = run,
};
