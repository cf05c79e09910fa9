/* Models and engines as the arguments ask for them. */
#include "cli/subject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/constants.h"
#include "ops/cost.h"

/* ---- shapes -----------------------------------------------------------------------------------
 */

/* "1x3x224x224" up to ':' or the end; "" is a scalar. */
static bool parse_dims(const char **at, int *rank, int64_t *dims) {
    *rank = 0;
    while (**at && **at != ':') {
        char *end;
        errno = 0;
        long long v = strtoll(*at, &end, 10);
        if (end == *at || errno || v < 0 || *rank == HONE_MAX_RANK)
            return false;
        dims[(*rank)++] = v;
        if (*end == 'x' && end[1])
            ++end;
        else if (*end && *end != ':')
            return false;
        *at = end;
    }
    return true;
}

static bool parse_range(const char *text, hone_shape_range *r) {
    int rank[3];
    int64_t *const dims[3] = {r->min, r->opt, r->max};
    for (int i = 0; i < 3; ++i) {
        if (!parse_dims(&text, &rank[i], dims[i]))
            return false;
        if (i == 0 && !*text) { /* a fixed shape */
            memcpy(r->opt, r->min, sizeof r->min);
            memcpy(r->max, r->min, sizeof r->min);
            r->rank = rank[0];
            return true;
        }
        if (i < 2 && *text++ != ':')
            return false;
    }
    r->rank = rank[0];
    return !*text && rank[1] == rank[0] && rank[2] == rank[0];
}

static hone_status parse_shape(const char *spec, hone_shape_range *r, hone_error *err) {
    const char *equals = strrchr(spec, '=');
    if (!equals || equals == spec || !parse_range(equals + 1, r))
        return hone_fail(err, HONE_E_ARGUMENT,
                         "--shape %s is not of the form NAME=1x3x224x224 or NAME=min:opt:max",
                         spec);
    char *name = strndup(spec, (size_t)(equals - spec));
    r->input = name;
    return name ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory for shapes");
}

hone_status cli_shapes_parse(const cli_list *specs, cli_shapes *out, hone_error *err) {
    *out = (cli_shapes){.range = calloc((size_t)specs->n + 1, sizeof *out->range)};
    if (!out->range)
        return hone_fail(err, HONE_E_NOMEM, "no memory for shapes");
    for (; out->n < specs->n; ++out->n)
        HONE_TRY(parse_shape(specs->item[out->n], &out->range[out->n], err));
    return HONE_OK;
}

void cli_shapes_free(cli_shapes *shapes) {
    for (int i = 0; i < shapes->n; ++i)
        free((char *)shapes->range[i].input);
    free(shapes->range);
    *shapes = (cli_shapes){0};
}

/* ---- build options ----------------------------------------------------------------------------
 */

static hone_status parse_tune(const char *text, hone_tune *out, hone_error *err) {
    static const char *const names[] = {"off", "quick", "full"};
    for (int i = 0; i < 3; ++i) {
        if (strcmp(text, names[i]) == 0) {
            *out = (hone_tune)i;
            return HONE_OK;
        }
    }
    return hone_fail(err, HONE_E_ARGUMENT, "--tune %s: it is off, quick or full", text);
}

/* What a build needs besides its options, which point into it. */
typedef struct request {
    hone_build_options options;
    cli_shapes shapes;
    cli_progress progress;
    char tune_cache[1024];
} request;

/* The folders of the default cache are made when they are missing; what fails then is remarked upon
 * when the file cannot be written. */
static const char *tune_cache_path(const char *given, char *path, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (given)
        return strcmp(given, "off") == 0 ? NULL : given;
    bool has_cache = cache && cache[0] == '/'; /* relative ones are invalid by the specification */
    if (!has_cache && !(home && home[0] == '/'))
        return NULL;
    int n = snprintf(path, size, "%s%s", has_cache ? cache : home, has_cache ? "" : "/.cache");
    if (n < 0 || (size_t)n + sizeof "/hone/tuning" > size)
        return NULL;
    (void)mkdir(path, 0700);
    snprintf(path + n, size - (size_t)n, "/hone");
    (void)mkdir(path, 0700);
    snprintf(path + n, size - (size_t)n, "/hone/tuning");
    return path;
}

static hone_status parse_precision(const char *text, hone_precision *out, hone_error *err) {
    if (strcmp(text, "fp32") == 0)
        *out = HONE_PRECISION_FP32;
    else if (strcmp(text, "bf16") == 0)
        *out = HONE_PRECISION_BF16;
    else
        return hone_fail(err, HONE_E_ARGUMENT, "--precision %s: it is fp32 or bf16", text);
    return HONE_OK;
}

static hone_status request_init(request *r, const cli_args *args, int level, hone_error *err) {
    hone_build_options *o = &r->options;
    hone_build_options_init(o);
    HONE_TRY(cli_shapes_parse(&args->shapes, &r->shapes, err));
    if (level < 0 || level > 2)
        return hone_fail(err, HONE_E_ARGUMENT, "level %d: it is 0, 1 or 2", level);
    o->optimize = level;
    o->n_threads = args->threads;
    o->max_ram_bytes = args->max_ram;
    o->isa = args->isa;
    o->signature = args->signature;
    o->is_exact = args->exact;
    o->passes = args->passes;
    o->stop_at = args->stop_at;
    o->shapes = r->shapes.range;
    o->n_shapes = r->shapes.n;
    o->progress = cli_progress_show;
    o->progress_arg = &r->progress;
    o->remark = cli_remark;
    if (args->tune)
        HONE_TRY(parse_tune(args->tune, &o->tune, err));
    if (args->precision)
        HONE_TRY(parse_precision(args->precision, &o->precision, err));
    if (o->tune != HONE_TUNE_OFF)
        o->tune_cache = tune_cache_path(args->tune_cache, r->tune_cache, sizeof r->tune_cache);
    return HONE_OK;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

bool cli_is_engine(const char *path) {
    hone_file_map map;
    if (hone_file_map_open(path, &map, NULL) != HONE_OK)
        return false;
    bool is_engine = hone_engine_is_file(map.data, map.n_bytes);
    hone_file_map_close(&map);
    return is_engine;
}

hone_status cli_model_open(const char *path, const cli_args *args, hone_model **out,
                           hone_error *err) {
    *out = NULL;
    if (cli_is_engine(path))
        return hone_fail(err, HONE_E_VERSION,
                         "%s is an engine, not a model: give the model that it was built from",
                         path);
    HONE_TRY(hone_model_open_signature(path, args->signature, out, err));
    hone_status status = cli_fix_inputs(&args->constants, (*out)->graph, err);
    if (status != HONE_OK) {
        hone_model_destroy(*out);
        *out = NULL;
    }
    return status;
}

static hone_status build(cli_subject *s, const cli_args *args, const hone_model *model, int level,
                         hone_error *err) {
    request r;
    int64_t start = cli_now_ns();
    cli_progress_start(&r.progress);
    hone_status status = request_init(&r, args, level, err);
    if (status == HONE_OK)
        status = model ? hone_engine_build(model, &r.options, &s->engine, err)
                       : hone_engine_open(s->path, &r.options, &s->engine, err);
    cli_progress_end(&r.progress);
    cli_shapes_free(&r.shapes);
    s->load_ms = (double)(cli_now_ns() - start) * 1e-6;
    return status;
}

hone_status cli_subject_from_model(cli_subject *s, const cli_args *args, const hone_model *model,
                                   const char *path, int level, hone_error *err) {
    *s = (cli_subject){.path = path};
    hone_status status = build(s, args, model, level, err);
    if (status == HONE_OK)
        status = hone_session_create(s->engine, args->threads, &s->session, err);
    if (status != HONE_OK)
        cli_subject_close(s);
    return status;
}

hone_status cli_subject_open(cli_subject *s, const cli_args *args, const char *path, int level,
                             hone_error *err) {
    return cli_subject_from_model(s, args, NULL, path, level, err);
}

typedef struct run_progress {
    cli_progress progress;
    int n_seen, n_nodes;
} run_progress;

static void count_value(void *arg, const char *name, const hone_tensor *value) {
    run_progress *p = arg;
    (void)value;
    double fraction = (double)++p->n_seen / (p->n_nodes + 1);
    cli_progress_show(&p->progress, fraction < 1 ? fraction : 1, name);
}

hone_status cli_subject_run(cli_subject *s, hone_error *err) {
    run_progress p = {.n_nodes = s->engine->graph->n_nodes};
    if (!isatty(fileno(stderr)))
        return hone_session_run(s->session, err);
    cli_progress_start(&p.progress);
    hone_session_set_watch(s->session, count_value, &p);
    hone_status status = hone_session_run(s->session, err);
    hone_session_set_watch(s->session, NULL, NULL);
    cli_progress_end(&p.progress);
    return status;
}

void cli_subject_drop_inputs(cli_subject *s) {
    for (int i = 0; i < s->n_inputs; ++i) {
        hone_status status = hone_session_set_input(s->session, i, NULL, NULL);
        (void)status; /* input i exists */
        hone_tensor_release(&s->inputs[i]);
    }
    free(s->inputs);
    s->inputs = NULL;
    s->n_inputs = 0;
}

void cli_subject_close(cli_subject *s) {
    cli_subject_drop_inputs(s);
    hone_session_destroy(s->session);
    hone_engine_destroy(s->engine);
    *s = (cli_subject){0};
}

static const char *type_class(hone_dtype d) {
    if (hone_dtype_in(d, HONE_T(U8) | HONE_T(I8)))
        return "int8";
    return d == HONE_DTYPE_NONE ? NULL : hone_dtype_name(d);
}

const char *cli_precision(const hone_engine *e) {
    const char *found = NULL;
    for (int i = 0; i < e->graph->n_nodes; ++i) {
        const hone_node *n = e->graph->nodes[i];
        if (hone_node_macs(n, NULL) == 0 || n->n_in == 0 || !n->in[0])
            continue;
        bool is_bf16 = n->out[0] && n->out[0]->type.dtype == HONE_DTYPE_BF16;
        const char *name = type_class(is_bf16 ? HONE_DTYPE_BF16 : n->in[0]->type.dtype);
        if (found && name && strcmp(found, name) != 0)
            return "mixed";
        found = name ? name : found;
    }
    return found ? found : "float32";
}
