#include "cli/samples.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { N_RANDOM = 8 };

typedef struct walker {
    const cli_args *args;
    cli_subject *s;
    cli_sample_fn fn;
    void *arg;
    int *n;
} walker;

/* ---- one file ---------------------------------------------------------------------------------
 */

/* How many of the model's batches the tensor holds; where dim 0 is open, it counts samples. */
static int64_t batches(const hone_engine *e, int i, const hone_tensor *t) {
    hone_io_info io;
    if (t->kind != HONE_KIND_TENSOR || t->rank < 1 || !hone_engine_input(e, i, &io) ||
        io.rank != t->rank || t->dims[0] < 1)
        return 1;
    int64_t batch = io.dims[0] > 0 ? io.dims[0] : 1;
    return t->dims[0] % batch == 0 ? t->dims[0] / batch : 1;
}

/* Batch `at` of `n`; others than those of n batches are whole. */
static hone_tensor batch_of(const hone_tensor *t, int64_t n, int64_t at) {
    hone_tensor part = *t;
    part.owner = NULL;
    part.dims[0] /= n;
    part.data = (char *)t->data + (size_t)at * hone_tensor_bytes(&part);
    return part;
}

static hone_status run_batch(walker *w, int64_t n, int64_t at, hone_tensor *parts,
                             hone_error *err) {
    cli_subject *s = w->s;
    for (int i = 0; i < s->n_inputs; ++i) {
        const hone_tensor *t = &s->inputs[i];
        parts[i] = n > 1 && batches(s->engine, i, t) == n ? batch_of(t, n, at) : *t;
        if (t->kind != HONE_KIND_NONE)
            HONE_TRY(hone_session_set_input(s->session, i, &parts[i], err));
    }
    ++*w->n;
    return w->fn(w->arg, s, parts, err);
}

/* The inputs that are set, batch by batch. */
static hone_status run_batches(walker *w, hone_error *err) {
    cli_subject *s = w->s;
    int64_t n = 1;
    for (int i = 0; i < s->n_inputs; ++i) {
        int64_t own = batches(s->engine, i, &s->inputs[i]);
        if (own > 1 && n > 1 && own != n)
            return hone_fail(err, HONE_E_ARGUMENT,
                             "the inputs have different numbers of samples: %lld and %lld",
                             (long long)n, (long long)own);
        n = own > n ? own : n;
    }
    hone_tensor *parts = calloc((size_t)s->n_inputs + 1, sizeof *parts);
    hone_status status = parts ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory for inputs");
    for (int64_t at = 0; at < n && status == HONE_OK; ++at)
        status = run_batch(w, n, at, parts, err);
    free(parts);
    return status;
}

static bool ends_in(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strcmp(path + n - m, suffix) == 0;
}

static hone_status run_file(walker *w, const char *path, hone_error *err) {
    hone_io_info io;
    char spec[4096];
    const char *item = spec;
    cli_args plain = *w->args;
    plain.inputs = (cli_list){.item = &item, .n = 1};
    snprintf(spec, sizeof spec, "%s", path);
    if (ends_in(path, ".npy")) {
        if (hone_engine_input_count(w->s->engine) != 1 || !hone_engine_input(w->s->engine, 0, &io))
            return hone_fail(err, HONE_E_ARGUMENT,
                             "--calibrate %.300s: the model has several inputs: give .npz files "
                             "with an array for each",
                             path);
        snprintf(spec, sizeof spec, "%s=%s", io.name, path);
    } else if (!ends_in(path, ".npz")) {
        return hone_fail(err, HONE_E_ARGUMENT,
                         "--calibrate %.300s: it is a .npz or .npy file, a folder of them, or "
                         "random",
                         path);
    }
    HONE_TRY(cli_subject_set_inputs(w->s, &plain, CLI_FILL_NONE, err));
    return run_batches(w, err);
}

/* ---- folders and random numbers ---------------------------------------------------------------
 */

static int is_sample(const struct dirent *entry) {
    return ends_in(entry->d_name, ".npz") || ends_in(entry->d_name, ".npy");
}

static hone_status run_folder(walker *w, const char *folder, hone_error *err) {
    struct dirent **entries = NULL;
    char path[4096];
    int n = scandir(folder, &entries, is_sample, alphasort);
    hone_status status = HONE_OK;
    if (n <= 0)
        status = hone_fail(err, HONE_E_ARGUMENT,
                           "--calibrate %.300s: there are no .npz or .npy files", folder);
    for (int i = 0; i < n; ++i) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (status == HONE_OK)
            status = run_file(w, path, err);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static hone_status run_random(walker *w, hone_error *err) {
    cli_args plain = *w->args;
    plain.inputs = (cli_list){0};
    for (int i = 0; i < N_RANDOM; ++i) {
        plain.seed = w->args->seed + i;
        HONE_TRY(cli_subject_make_inputs(w->s, &plain, err));
        HONE_TRY(run_batches(w, err));
    }
    return HONE_OK;
}

hone_status cli_each_sample(const cli_args *args, cli_subject *s, cli_sample_fn fn, void *arg,
                            int *n, hone_error *err) {
    walker w = {.args = args, .s = s, .fn = fn, .arg = arg, .n = n};
    *n = 0;
    for (int i = 0; i < args->calibrate.n; ++i) {
        const char *what = args->calibrate.item[i];
        struct stat st;
        bool is_folder = stat(what, &st) == 0 && S_ISDIR(st.st_mode);
        if (strcmp(what, "random") == 0)
            HONE_TRY(run_random(&w, err));
        else if (is_folder)
            HONE_TRY(run_folder(&w, what, err));
        else
            HONE_TRY(run_file(&w, what, err));
    }
    return HONE_OK;
}
