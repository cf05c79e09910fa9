/* hone convert: a model in another format. */
#include <string.h>
#include <sys/stat.h>

#include "cli/findings.h"
#include "cli/options_def.h"
#include "cli/subject.h"
#include "engine/profile.h"
#include "tflite/convert.h"

static hone_status put(void *arg, const void *bytes, size_t n) {
    return hone_file_put(arg, bytes, n, NULL);
}

/* The graph, with shapes and constants as the arguments say, to a file that appears whole. */
static hone_status write_tflite(const cli_args *args, const hone_model *model, hone_graph *g,
                                hone_findings *findings, hone_error *err) {
    hone_tflite_options options = {.is_fp16 = args->fp16, .has_channels_last_io = args->nhwc_io};
    cli_shapes shapes;
    hone_file_writer w;
    hone_fix_defaults(g);
    hone_status status = cli_shapes_parse(&args->shapes, &shapes, err);
    if (status == HONE_OK)
        status = hone_apply_shapes(g, shapes.range, shapes.n, err);
    cli_shapes_free(&shapes);
    HONE_TRY(status);
    HONE_TRY(hone_onnx_align(g, SIZE_MAX, &model->map, err));
    HONE_TRY(hone_file_begin(&w, args->output, err));
    status = hone_tflite_convert(g, &options, findings, put, &w, err);
    if (status == HONE_OK)
        return hone_file_commit(&w, err);
    hone_file_abort(&w);
    return status;
}

static void report(const cli_args *args, const hone_findings *f, double ms, bool is_done) {
    struct stat st;
    long long bytes = is_done && stat(args->output, &st) == 0 ? (long long)st.st_size : 0;
    if (args->json) {
        cli_json j = {.to = stdout};
        cli_json_open(&j, NULL, '{');
        cli_json_text(&j, "output", is_done ? args->output : "");
        cli_json_int(&j, "file_bytes", bytes);
        cli_json_number(&j, "convert_ms", ms);
        cli_findings_json(&j, f);
        cli_json_close(&j, '}');
        return;
    }
    cli_findings_print(f, stdout);
    if (is_done)
        cli_say(stdout, "%s: %s, converted in %.0f ms\n", args->output, cli_bytes((double)bytes).s,
                ms);
}

static hone_status convert(const cli_args *args, const char *path, hone_error *err) {
    hone_model *model;
    hone_findings findings = {.n = 0};
    int64_t start = cli_now_ns();
    HONE_TRY(cli_model_open(path, &model, err));
    hone_graph *g = hone_graph_clone(model->graph);
    hone_arena_init(&findings.arena, 0);
    hone_status status = g ? write_tflite(args, model, g, &findings, err)
                           : hone_fail(err, HONE_E_NOMEM, "no memory to copy the graph");
    if (status == HONE_OK || findings.n)
        report(args, &findings, (double)(cli_now_ns() - start) * 1e-6, status == HONE_OK);
    hone_findings_free(&findings);
    hone_graph_destroy(g);
    hone_model_destroy(model);
    return status;
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    const char *path = args->files.item[0];
    const char *dot = args->output ? strrchr(args->output, '.') : NULL;
    if (!dot || strcmp(dot, ".tflite") != 0)
        return cli_misuse("convert", "where to? give -o OUT.tflite");
    return convert(args, path, &err) == HONE_OK ? CLI_DONE : cli_fail(&err, path);
}

static const cli_option options[] = {
    CLI_OPTION("-o", "OUT.tflite", CLI_TEXT, output, "the file to write"),
    CLI_OPTION_SHAPE,
    CLI_OPTION("--fp16", NULL, CLI_FLAG, fp16, "store large weights in half precision"),
    CLI_OPTION("--nhwc-io", NULL, CLI_FLAG, nhwc_io,
               "images in and out channels-last, not in the model's order"),
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_convert = {
    .name = "convert",
    .usage = "hone convert IN.onnx -o OUT.tflite [--shape NAME=DIMS] [--fp16] [--nhwc-io]",
    .what = "write a model in another format\n\n"
            "ONNX to TensorFlow Lite. Inputs and outputs keep their order of dims unless\n"
            "--nhwc-io is given; inside, the model is channels-last. Dims that stay open must be\n"
            "the batch. What has no equivalent is listed, everything at once, and nothing is\n"
            "written then.",
    .examples = "  hone convert model.onnx -o model.tflite\n"
                "  hone convert model.onnx -o model.tflite --shape x=1x3x224x224 --fp16\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
