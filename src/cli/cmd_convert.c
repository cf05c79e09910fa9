/* hone convert: a model in another format. */
#include <string.h>
#include <sys/stat.h>

#include "cli/findings.h"
#include "cli/options_def.h"
#include "cli/python.h"
#include "cli/quantise.h"
#include "cli/verify.h"
#include "engine/profile.h"
#include "onnx/writer.h"
#include "quant/decompose.h"
#include "tflite/convert.h"
#include "tflite/qdq.h"

/* What FP16 weights may change: 2^-11 of each, and more as layers follow each other. */
#define FP16_TOLERANCE 2e-2
/* Integer arithmetic against float rounded to integers: a layer's results are a step apart here and
 * there, which adds up from layer to layer. Measured: docs/tflite.md. Dims in the wrong order or a
 * wrong scale make dozens of steps. */
#define QUANTISED_STEPS      16
#define QUANTISED_MEAN_STEPS 2
/* Floats that integers were made of on the way (hybrid layers), of the largest output. */
#define QUANTISED_TOLERANCE 0.2

typedef struct conversion {
    const cli_args *args;
    const hone_model *model;
    hone_model integer; /* with --int8: the quantised graph, before it was converted */
    cli_quantised quantised;
    hone_findings findings;
    cli_comparison comparison;
    double convert_ms, verify_ms;
    bool is_verified, is_rounding;
} conversion;

static hone_status put(void *arg, const void *bytes, size_t n) {
    return hone_file_put(arg, bytes, n, NULL);
}

static double now_ms(void) {
    return (double)cli_now_ns() * 1e-6;
}

static hone_status fix_shapes(const cli_args *args, hone_graph *g, hone_error *err) {
    cli_shapes shapes;
    hone_status status = cli_shapes_parse(&args->shapes, &shapes, err);
    if (status == HONE_OK)
        status = hone_apply_shapes(g, shapes.range, shapes.n, err);
    cli_shapes_free(&shapes);
    return status;
}

static double at_least(double given, double least) {
    return given > least ? given : least;
}

/* What an option asks for, and FP16 weights at least. */
static double tolerance(const cli_args *args, double given) {
    return at_least(given, args->fp16 ? FP16_TOLERANCE : 0);
}

/* Has operators of LiteRT's integer arithmetic, or rounds to integers. */
static bool is_quantised(const hone_graph *g) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        bool rounds = strcmp(n->op_name, "QuantizeLinear") == 0 ||
                      strncmp(n->op_name, "QLinear", 7) == 0 || strcmp(n->op_name, "QGemm") == 0;
        if (rounds || strcmp(n->domain, "ai.hone") == 0)
            return true;
    }
    return false;
}

/* What the file must compute. */
static const hone_model *original(const conversion *c) {
    return c->integer.graph ? &c->integer : c->model;
}

/* Rounding at other places moves the results of a deep network by more steps than the rules allow,
 * as rounding to integers at all does. No error of the conversion: in the mean, the file is no
 * further from the quantised graph than that is from the float model. */
static bool is_rounding(const conversion *c) {
    for (int i = 0; i < c->comparison.n; ++i) {
        const cli_compared *row = &c->comparison.rows[i];
        if (!row->is_output)
            continue;
        const cli_loss *loss = cli_loss_of(&c->quantised, row->name);
        bool is_near = loss && row->diff.mean_abs <= cli_mean_error(loss);
        if (!row->is_compared || row->diff.why[0] || (!is_near && !row->diff.is_alike))
            return false;
    }
    return c->integer.graph && !c->args->int8_io && c->comparison.n_compared > 0;
}

/* Read the file back and run it beside the original. */
static hone_status verify(conversion *c, const char *path, hone_error *err) {
    const cli_args *args = c->args;
    double start = now_ms();
    bool has_steps = is_quantised(original(c)->graph);
    hone_model *after;
    HONE_TRY(hone_model_open(path, &after, err));
    cli_pair pair = {.before = original(c),
                     .after = after,
                     .path_before = args->files.item[0],
                     .path_after = args->output,
                     .what = "converted",
                     .cure = "--rtol and --atol set the tolerance, --no-verify skips the check",
                     .rules = {.rtol = tolerance(args, args->rtol),
                               .atol = at_least(tolerance(args, args->atol),
                                                has_steps ? QUANTISED_TOLERANCE : 0),
                               .steps = has_steps ? QUANTISED_STEPS : 0,
                               .mean_steps = QUANTISED_MEAN_STEPS,
                               .has_any_scale = true,
                               .has_moved_io = args->nhwc_io,
                               .has_moved_inside = true},
                     .inputs = c->args->inputs.n == 0 ? c->quantised.sample : NULL};
    hone_status status = cli_verify(args, &pair, &c->comparison, err);
    hone_model_destroy(after);
    if (status == HONE_E_MISMATCH && is_rounding(c)) {
        c->is_rounding = true;
        status = HONE_OK;
    }
    c->is_verified = status == HONE_OK;
    c->verify_ms = now_ms() - start;
    return status;
}

static bool ends_in(const char *path, const char *suffix) {
    const char *dot = path ? strrchr(path, '.') : NULL;
    return dot && strcmp(dot, suffix) == 0;
}

static hone_status write_format(conversion *c, hone_graph *g, hone_file_writer *w,
                                hone_error *err) {
    if (ends_in(c->args->output, ".onnx")) {
        HONE_TRY(hone_tflite_to_qdq(g, &c->findings, err));
        return hone_onnx_write_to(g, &c->model->facts, put, w, err);
    }
    hone_tflite_options options = {.is_fp16 = c->args->fp16,
                                   .has_channels_last_io = c->args->nhwc_io};
    return hone_tflite_convert(g, &options, &c->findings, put, w, err);
}

static hone_status write_checked(conversion *c, hone_graph *g, hone_file_writer *w,
                                 hone_error *err) {
    double start = now_ms();
    HONE_TRY(write_format(c, g, w, err));
    HONE_TRY(hone_file_flush(w, err));
    c->convert_ms += now_ms() - start;
    return c->args->no_verify ? HONE_OK : verify(c, w->temporary, err);
}

/* The float graph becomes one on integers, which the file must compute then. */
static hone_status quantise(conversion *c, hone_graph *g, hone_error *err) {
    if (is_quantised(g))
        return hone_fail(err, HONE_E_ARGUMENT,
                         "--int8: the model is quantised already; it is converted without --int8");
    HONE_TRY(hone_tflite_prepare(g, err));
    HONE_TRY(hone_quant_decompose(g, err));
    HONE_TRY(cli_quantise(c->args, c->model, g, &c->findings, &c->quantised, err));
    c->integer = *c->model;
    c->integer.graph = hone_graph_clone(g);
    return c->integer.graph ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory to copy the graph");
}

/* The graph, with shapes and constants as the arguments say, to a file that appears whole and
 * checked. */
static hone_status convert_graph(conversion *c, hone_graph *g, hone_error *err) {
    hone_file_writer w;
    double start = now_ms();
    hone_fix_defaults(g);
    HONE_TRY(fix_shapes(c->args, g, err));
    HONE_TRY(hone_onnx_align(g, SIZE_MAX, &c->model->map, err));
    if (c->args->int8)
        HONE_TRY(quantise(c, g, err));
    HONE_TRY(hone_file_begin(&w, c->args->output, err));
    c->convert_ms += now_ms() - start;
    hone_status status = write_checked(c, g, &w, err);
    if (status == HONE_OK)
        return hone_file_commit(&w, err);
    hone_file_abort(&w);
    return status;
}

static int64_t bytes_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

/* What others who check the file need (python/hone/_convert.py), so that they do it as here. */
static void report_rules(const conversion *c, cli_json *j) {
    const hone_graph *g = original(c)->graph;
    cli_json_number(j, "rtol", tolerance(c->args, c->args->rtol));
    cli_json_number(j, "atol", tolerance(c->args, c->args->atol));
    cli_json_open(j, "integers_below", '{');
    for (int i = 0; i < g->n_inputs; ++i) {
        if (hone_dtype_in(g->inputs[i]->type.dtype, HONE_T_INT))
            cli_json_int(j, g->inputs[i]->name, cli_index_limit(g, g->inputs[i]->name));
    }
    cli_json_close(j, '}');
}

static void report_json(const conversion *c, bool is_done) {
    cli_json j = {.to = stdout};
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "output", is_done ? c->args->output : "");
    cli_json_int(&j, "file_bytes", is_done ? bytes_of(c->args->output) : 0);
    cli_json_number(&j, "convert_ms", c->convert_ms);
    cli_json_bool(&j, "quantised", is_quantised(original(c)->graph));
    if (c->integer.graph)
        cli_quantised_json(&c->quantised, &j);
    report_rules(c, &j);
    cli_json_bool(&j, "verified", c->is_verified);
    if (c->is_verified) {
        cli_json_number(&j, "verify_ms", c->verify_ms);
        cli_json_int(&j, "tensors_compared", c->comparison.n_compared);
        cli_json_number(&j, "outputs_max_abs", cli_worst_output(&c->comparison));
        if (c->comparison.has_steps)
            cli_json_number(&j, "outputs_max_steps", c->comparison.steps);
    }
    cli_findings_json(&j, &c->findings);
    cli_json_close(&j, '}');
}

static void report_text(const conversion *c, bool is_done) {
    cli_findings_print(&c->findings, stdout);
    if (!is_done)
        return;
    cli_say(stdout, "%s: %s, converted in %.0f ms\n", c->args->output,
            cli_bytes((double)bytes_of(c->args->output)).s, c->convert_ms);
    if (c->integer.graph) {
        cli_say(stdout, "%s: %s before\n", c->args->files.item[0],
                cli_bytes((double)bytes_of(c->args->files.item[0])).s);
        cli_quantised_print(&c->quantised, stdout);
    }
    char on[64] = "the first sample";
    if (!c->quantised.sample || c->args->inputs.n)
        snprintf(on, sizeof on, "random inputs (seed %d)", c->args->seed);
    if (c->is_rounding)
        printf(
            "verified on %s: %d tensors compared, outputs differ by %.3g at most, in the mean no "
            "more than the quantised graph's from the float model's\n",
            on, c->comparison.n_compared, cli_worst_output(&c->comparison));
    else if (c->is_verified && c->comparison.has_steps)
        printf(
            "verified on %s: %d tensors compared, the integers of the outputs, before a softmax, "
            "differ by %.0f steps at most\n",
            on, c->comparison.n_compared, c->comparison.steps);
    else if (c->is_verified)
        printf("verified on %s: %d tensors compared, outputs differ by %.3g at most\n", on,
               c->comparison.n_compared, cli_worst_output(&c->comparison));
    else
        printf("not verified (--no-verify)\n");
}

static hone_status convert(const cli_args *args, const char *path, hone_error *err) {
    hone_model *model;
    conversion c = {.args = args};
    double start = now_ms();
    HONE_TRY(cli_model_open(path, args, &model, err));
    hone_graph *g = hone_graph_clone(model->graph);
    c.model = model;
    c.convert_ms = now_ms() - start;
    hone_arena_init(&c.findings.arena, 0);
    hone_status status =
        g ? convert_graph(&c, g, err) : hone_fail(err, HONE_E_NOMEM, "no memory to copy the graph");
    if (status == HONE_OK || c.findings.n)
        (args->json ? report_json : report_text)(&c, status == HONE_OK);
    cli_comparison_free(&c.comparison);
    cli_quantised_free(&c.quantised);
    hone_graph_destroy(c.integer.graph);
    hone_findings_free(&c.findings);
    hone_graph_destroy(g);
    hone_model_destroy(model);
    return status;
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    const char *path = args->files.item[0];
    bool is_onnx = ends_in(args->output, ".onnx");
    if (!is_onnx && !ends_in(args->output, ".tflite"))
        return cli_misuse("convert", "where to? give -o OUT.tflite or -o OUT.onnx");
    if (is_onnx &&
        (args->fp16 || args->nhwc_io || (args->verify && strcmp(args->verify, "hone") != 0)))
        return cli_misuse("convert", "--fp16, --nhwc-io and --verify litert are for -o OUT.tflite");
    if (args->int8 != (args->calibrate.n > 0))
        return cli_misuse("convert", args->int8
                                         ? "--int8 needs samples of the inputs, which set the "
                                           "ranges of the integers: --calibrate FILE.npz, a "
                                           "folder of such files, or random (for timing only)"
                                         : "--calibrate is for --int8");
    if (args->int8 && (is_onnx || args->fp16))
        return cli_misuse("convert", "--int8 is for -o OUT.tflite, and without --fp16");
    if (args->int8_io && !args->int8)
        return cli_misuse("convert", "--int8-io is for --int8");
    if (args->verify && strcmp(args->verify, "litert") == 0)
        return cli_run_python("convert", args->argc, args->argv);
    if (args->verify && strcmp(args->verify, "hone") != 0)
        return cli_misuse("convert", "--verify %s: it is hone or litert", args->verify);
    return convert(args, path, &err) == HONE_OK ? CLI_DONE : cli_fail(&err, path);
}

static const cli_option options[] = {
    CLI_OPTION("-o", "OUT", CLI_TEXT, output, "the file to write: OUT.tflite, or OUT.onnx"),
    CLI_OPTION_SHAPE,
    CLI_OPTION_CONSTANT,
    CLI_OPTION_SIGNATURE,
    CLI_OPTION("--fp16", NULL, CLI_FLAG, fp16, "store large weights in half precision"),
    CLI_OPTION("--nhwc-io", NULL, CLI_FLAG, nhwc_io,
               "images in and out channels-last, not in the model's order"),
    CLI_OPTION("--int8", NULL, CLI_FLAG, int8, "compute on integers; needs --calibrate"),
    CLI_OPTION("--calibrate", "WHAT", CLI_LIST, calibrate,
               "samples: FILE.npz, FILE.npy, a folder of them, or random"),
    CLI_OPTION("--int8-io", NULL, CLI_FLAG, int8_io,
               "with --int8: inputs and outputs are integers, too"),
    CLI_OPTION("--verify", "hone|litert", CLI_TEXT, verify,
               "who runs the result to check it (default hone; litert needs Python)"),
    CLI_OPTION("--no-verify", NULL, CLI_FLAG, no_verify, "write without comparing results"),
    CLI_OPTION_TOLERANCE,
    CLI_OPTION_INPUT,
    CLI_OPTION_SEED,
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_convert = {
    .name = "convert",
    .usage = "hone convert IN.onnx|IN.tflite -o OUT.tflite|OUT.onnx [--shape NAME=DIMS] [--fp16] "
             "[--int8 --calibrate FILE.npz|DIR] [--nhwc-io]",
    .what = "write a model in another format\n\n"
            "ONNX to TensorFlow Lite. Inputs and outputs keep their order of dims unless\n"
            "--nhwc-io is given; inside, the model is channels-last. Dims that stay open must be\n"
            "the batch. What has no equivalent is listed, everything at once, and nothing is\n"
            "written then. The file is read back and runs beside the original on the same random\n"
            "inputs; it appears when their outputs agree (with --fp16, tolerances are at least\n"
            "2e-2). --verify litert runs it by LiteRT besides (pip install ai-edge-litert).\n\n"
            "TensorFlow Lite to ONNX. Quantised operators become DequantizeLinear, the float\n"
            "operator, QuantizeLinear; convolutions are channels-first, inputs and outputs keep\n"
            "their order of dims.\n\n"
            "--int8 makes a float model one of 8-bit integers. Samples of its inputs set the\n"
            "ranges: arrays called as the inputs in a .npz file, or a folder of such files; where\n"
            "the first dim is a multiple of the model's, or open there, an array is that many\n"
            "samples. Operators without a form on integers stay on floats; the report names them,\n"
            "and says how far the outputs are from the float model's on the samples.\n\n"
            "Quantised models, either way, compute on integers in TensorFlow Lite and on rounded\n"
            "floats in ONNX. The integers that outputs are made of (before a softmax at the end)\n"
            "may differ by 16 quantisation steps, and by 2 in the mean.",
    .examples = "  hone convert model.onnx -o model.tflite\n"
                "  hone convert model.onnx -o model.tflite --shape x=1x3x224x224 --fp16\n"
                "  hone convert model.onnx -o model.tflite --int8 --calibrate samples.npz\n"
                "  hone convert model.tflite -o model.onnx\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
