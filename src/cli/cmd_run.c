/* hone run: inputs from files, outputs to files. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/options_def.h"
#include "cli/subject.h"
#include "ir/npy.h"
#include "onnx/tensor_pb.h"

static hone_status put(void *arg, const void *bytes, size_t n) {
    return hone_file_put(arg, bytes, n, NULL);
}

static hone_status emit_npy(hone_file_writer *w, const hone_tensor *t, hone_error *err) {
    return hone_npy_emit(t, put, w, err);
}

/* Sequences, maps and empty optionals have no .npy form. */
static hone_status emit_pb(hone_file_writer *w, const hone_tensor *t, hone_error *err) {
    hone_pbw pb;
    hone_pbw_init(&pb);
    hone_status status = hone_value_to_pb(&pb, t, t->kind == HONE_KIND_NONE, "", err);
    if (status == HONE_OK)
        status = hone_pbw_emit(&pb, put, w, err);
    hone_pbw_deinit(&pb);
    return status;
}

static hone_status write_output(const char *dir, const hone_io_info *io, const hone_tensor *t,
                                char path[PATH_MAX], hone_error *err) {
    bool is_tensor = t->kind == HONE_KIND_TENSOR;
    int n = snprintf(path, PATH_MAX, "%s/%s.%s", dir, io->name, is_tensor ? "npy" : "pb");
    if (n < 0 || n >= PATH_MAX)
        return hone_fail(err, HONE_E_ARGUMENT, "the path of output %.100s is too long", io->name);
    for (char *c = path + strlen(dir) + 1; *c; ++c)
        *c = *c == '/' ? '_' : *c;
    hone_file_writer w;
    HONE_TRY(hone_file_begin(&w, path, err));
    hone_status status = is_tensor ? emit_npy(&w, t, err) : emit_pb(&w, t, err);
    if (status == HONE_OK)
        return hone_file_commit(&w, err);
    hone_file_abort(&w);
    return status;
}

static hone_status make_dir(const char *dir, hone_error *err) {
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return hone_fail(err, HONE_E_IO, "%s: %s", dir, strerror(errno));
    return HONE_OK;
}

static void print_output(cli_json *j, const hone_io_info *io, const hone_tensor *t,
                         const char *path) {
    char type[200];
    hone_tensor_describe(t, type, sizeof type);
    if (!j) {
        cli_say(stdout, "%s: %s%s%s\n", io->name, type, path ? " -> " : "", path ? path : "");
        return;
    }
    cli_json_open(j, NULL, '{');
    cli_json_text(j, "name", io->name);
    cli_json_text(j, "type", type);
    cli_json_text(j, "file", path);
    cli_json_close(j, '}');
}

static hone_status write_outputs(const cli_subject *s, const cli_args *args, double ms,
                                 hone_error *err) {
    cli_json json = {.to = stdout}, *j = args->json ? &json : NULL;
    hone_io_info io;
    if (args->output_dir)
        HONE_TRY(make_dir(args->output_dir, err));
    if (j) {
        cli_json_open(j, NULL, '{');
        cli_json_number(j, "run_ms", ms);
        cli_json_open(j, "outputs", '[');
    }
    for (int i = 0; hone_engine_output(s->engine, i, &io); ++i) {
        const hone_tensor *t = hone_session_output(s->session, i);
        char path[PATH_MAX];
        if (args->output_dir)
            HONE_TRY(write_output(args->output_dir, &io, t, path, err));
        print_output(j, &io, t, args->output_dir ? path : NULL);
    }
    if (j) {
        cli_json_close(j, ']');
        cli_json_close(j, '}');
    }
    return HONE_OK;
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    cli_subject s;
    const char *path = args->files.item[0];
    if (cli_subject_open(&s, args, path, args->level, &err) != HONE_OK)
        return cli_fail(&err, path);
    hone_status status = cli_subject_set_inputs(&s, args, CLI_FILL_NONE, &err);
    int64_t start = cli_now_ns();
    if (status == HONE_OK)
        status = cli_subject_run(&s, &err);
    double ms = (double)(cli_now_ns() - start) * 1e-6;
    if (status == HONE_OK)
        status = write_outputs(&s, args, ms, &err);
    cli_subject_close(&s);
    return status == HONE_OK ? CLI_DONE : cli_fail(&err, path);
}

static const cli_option options[] = {
    CLI_OPTION_INPUT,
    CLI_OPTION("--output-dir", "DIR", CLI_TEXT, output_dir,
               "write DIR/NAME.npy for each output, '/' in a name becoming '_'"),
    CLI_OPTION_SHAPE,
    CLI_OPTION_SIGNATURE,
    CLI_OPTION_THREADS,
    CLI_OPTION_LEVEL,
    CLI_OPTION_SEED,
    CLI_OPTION_BUILD,
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_run = {
    .name = "run",
    .usage = "hone run MODEL|FILE.hone --input NAME=FILE.npy ... [--output-dir DIR]",
    .what =
        "run a model on inputs from files and write its outputs\n\n"
        "Inputs are .npy, .npz (the member of the input's name, or the only one) or .pb files\n"
        "(TensorProto, SequenceProto), or made up. A lone FILE.npz, random or zeros stands for\n"
        "every input that is not named. Dynamic dims of made-up inputs are 1 unless --shape\n"
        "says otherwise.",
    .examples = "  hone run model.onnx --input image=cat.npy --output-dir out\n"
                "  hone run model.onnx --input random --shape image=4x3x224x224\n"
                "  hone run model.hone --input inputs.npz --output-dir out --json\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
