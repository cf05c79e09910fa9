/* Inputs from .npy, .npz and .pb files, or made up: `random`, `zeros`. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/subject.h"
#include "ir/npz.h"
#include "onnx/tensor_pb.h"

/* ---- files ------------------------------------------------------------------------------------
 */

typedef enum file_kind { FILE_NPY, FILE_NPZ, FILE_PB } file_kind;

static file_kind kind_of(const hone_file_map *f) {
    if (f->n_bytes >= 6 && memcmp(f->data, "\x93NUMPY", 6) == 0)
        return FILE_NPY;
    if (f->n_bytes >= 4 && (memcmp(f->data, "PK\3\4", 4) == 0 || memcmp(f->data, "PK\5\6", 4) == 0))
        return FILE_NPZ;
    return FILE_PB;
}

/* The member called `name`, or the only one. */
static hone_status take_member(const hone_file_map *f, const char *name, hone_tensor *out,
                               hone_error *err) {
    hone_npz_item *items;
    int n, at = -1;
    HONE_TRY(hone_npz_parse(NULL, f->data, f->n_bytes, &items, &n, err));
    for (int i = 0; i < n; ++i) {
        if (strcmp(items[i].name, name) == 0)
            at = i;
    }
    if (at < 0 && n == 1)
        at = 0;
    if (at >= 0) {
        *out = items[at].value;
        items[at].value = (hone_tensor){0};
    }
    hone_npz_free(items, n);
    return at >= 0 ? HONE_OK : hone_fail(err, HONE_E_ARGUMENT, "it has no member '%s'", name);
}

static hone_status parse_value(const hone_file_map *f, const hone_io_info *io, hone_tensor *out,
                               hone_error *err) {
    hone_kind kind = io->kind == HONE_KIND_NONE ? HONE_KIND_TENSOR : io->kind;
    switch (kind_of(f)) {
    case FILE_NPY:
        return hone_npy_parse(NULL, f->data, f->n_bytes, io->dtype, out, err);
    case FILE_NPZ:
        return take_member(f, io->name, out, err);
    case FILE_PB:
        break;
    }
    return hone_value_from_pb(NULL, f->data, f->n_bytes, kind, false, out, err);
}

hone_status cli_input_load(const char *path, const hone_io_info *io, hone_tensor *out,
                           hone_error *err) {
    hone_file_map f;
    HONE_TRY(hone_file_map_open(path, &f, err));
    hone_status status = parse_value(&f, io, out, err);
    hone_file_map_close(&f);
    if (status != HONE_OK && err) {
        hone_error inner = *err;
        hone_fail(err, status, "input %s: %s: %.400s", io->name, path, inner.message);
    }
    return status;
}

/* ---- made-up contents -------------------------------------------------------------------------
 */

/* splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

enum { MAX_INTEGERS = 10 };

int64_t cli_index_limit(const hone_graph *g, const char *input) {
    int64_t limit = MAX_INTEGERS;
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        if (n->domain[0] || strcmp(n->op_name, "Gather") != 0 || n->n_in != 2 || !n->in[0] ||
            !n->in[1] || strcmp(n->in[1]->name, input) != 0)
            continue;
        const hone_type *table = &n->in[0]->type;
        int64_t axis = hone_attr_int(n, "axis", 0);
        axis += axis < 0 ? table->rank : 0;
        if (axis >= 0 && axis < table->rank && table->dims[axis] > 0 && table->dims[axis] < limit)
            limit = table->dims[axis];
    }
    return limit;
}

/* Floats in [-1, 1); bytes over their range; wider integers from 0 to limit - 1. */
static double draw(hone_dtype d, int64_t limit, uint64_t *state) {
    uint64_t r = next_random(state) >> 11;
    if (d == HONE_DTYPE_U8)
        return (double)(r % 256);
    if (d == HONE_DTYPE_I8)
        return (double)(r % 256) - 128;
    if (d == HONE_DTYPE_BOOL || hone_dtype_in(d, HONE_T_SUB))
        return (double)(r % 2);
    if (hone_dtype_in(d, HONE_T_INT))
        return (double)(r % (uint64_t)limit);
    return (double)r * 0x1p-52 - 1.0;
}

static hone_status fill_random(hone_tensor *t, int64_t limit, uint64_t *state, hone_error *err) {
    int64_t n = hone_tensor_count(t);
    if (t->dtype == HONE_DTYPE_STRING) {
        for (int64_t i = 0; i < n; ++i) {
            char text[2] = {(char)('a' + next_random(state) % 26), '\0'};
            HONE_TRY(hone_string_set(t, i, text, 1, err));
        }
        return HONE_OK;
    }
    if (hone_dtype_in(t->dtype, HONE_T_COMPLEX)) {
        hone_dtype part = t->dtype == HONE_DTYPE_C64 ? HONE_DTYPE_F32 : HONE_DTYPE_F64;
        for (int64_t i = 0; i < 2 * n; ++i)
            hone_store_f64(part, t->data, i, draw(part, limit, state));
        return HONE_OK;
    }
    for (int64_t i = 0; i < n; ++i)
        hone_store_f64(t->dtype, t->data, i, draw(t->dtype, limit, state));
    return HONE_OK;
}

/* ---- shapes of made-up inputs -----------------------------------------------------------------
 */

enum { MAX_BOUND = 64 };

typedef struct binding {
    const char *name;
    int64_t size;
} binding;

typedef struct filler {
    cli_subject *s;
    cli_shapes shapes;
    binding bound[MAX_BOUND]; /* symbolic dims whose size is known */
    int n_bound;
    uint64_t seed;
    cli_fill fill;
} filler;

static void bind(filler *f, const hone_io_info *io, int rank, const int64_t *dims) {
    for (int d = 0; d < io->rank && d < rank; ++d) {
        if (io->dim_names[d] && f->n_bound < MAX_BOUND)
            f->bound[f->n_bound++] = (binding){io->dim_names[d], dims[d]};
    }
}

static void keep_open(cli_open_dims *open, const char *dim) {
    for (int i = 0; i < open->n; ++i) {
        if (strcmp(open->dim[i], dim) == 0)
            return;
    }
    if (open->n < CLI_MAX_OPEN)
        memcpy(open->dim[open->n++], dim, CLI_DIM_TEXT);
}

/* The size bound to the dim's name, or what is guessed, or 1. */
static int64_t size_of_dim(const filler *f, const hone_io_info *io, int d) {
    const char *name = io->dim_names[d];
    for (int i = 0; name && i < f->n_bound; ++i) {
        if (strcmp(f->bound[i].name, name) == 0)
            return f->bound[i].size;
    }
    char dim[CLI_DIM_TEXT] = "";
    if (name)
        snprintf(dim, sizeof dim, "%s", name);
    else
        snprintf(dim, sizeof dim, "#%.40s.%d", io->name, d);
    keep_open(&f->s->open, dim);
    const cli_guess *g = &f->s->guess;
    bool is_guessed = strcmp(g->dim, CLI_ALL_DIMS) == 0 || strcmp(g->dim, dim) == 0;
    return is_guessed ? g->size : 1;
}

static const hone_shape_range *find_shape(const filler *f, const char *input) {
    for (int i = 0; i < f->shapes.n; ++i) {
        if (strcmp(f->shapes.range[i].input, input) == 0)
            return &f->shapes.range[i];
    }
    return NULL;
}

static const int64_t *chosen_dims(const filler *f, const hone_shape_range *shape) {
    return f->fill == CLI_FILL_LARGEST ? shape->max : shape->opt;
}

static hone_status make_up(filler *f, const hone_io_info *io, bool random, hone_tensor *out,
                           hone_error *err) {
    const hone_shape_range *shape = find_shape(f, io->name);
    if (io->kind != HONE_KIND_TENSOR || io->dtype == HONE_DTYPE_NONE)
        return hone_fail(err, HONE_E_ARGUMENT,
                         "input %s is no tensor of a known type and cannot be made up: "
                         "give --input %s=FILE.pb",
                         io->name, io->name);
    if (io->rank < 0 && !shape)
        return hone_fail(err, HONE_E_ARGUMENT,
                         "the rank of input %s is not known: give --shape %s=1x...", io->name,
                         io->name);
    if (io->rank >= 0 && shape && shape->rank != io->rank)
        return hone_fail(err, HONE_E_SHAPE, "input %s has rank %d, --shape gives rank %d", io->name,
                         io->rank, shape->rank);
    *out = (hone_tensor){
        .kind = HONE_KIND_TENSOR, .dtype = io->dtype, .rank = shape ? shape->rank : io->rank};
    const int64_t *given = shape ? chosen_dims(f, shape) : NULL;
    for (int d = 0; d < out->rank; ++d)
        out->dims[d] = given ? given[d] : io->dims[d] >= 0 ? io->dims[d] : size_of_dim(f, io, d);
    HONE_TRY(hone_tensor_alloc(NULL, out, err));
    if (random)
        return fill_random(out, cli_index_limit(f->s->engine->graph, io->name), &f->seed, err);
    if (out->dtype != HONE_DTYPE_STRING && hone_tensor_bytes(out) > 0)
        memset(out->data, 0, hone_tensor_bytes(out));
    return HONE_OK;
}

/* ---- specifications ---------------------------------------------------------------------------
 */

typedef struct wish {
    const char *what; /* a path, "random", "zeros"; NULL: nothing said */
} wish;

static void list_inputs(const hone_engine *e, char *buf, size_t size) {
    size_t at = 0;
    hone_io_info io;
    buf[0] = '\0';
    for (int i = 0; hone_engine_input(e, i, &io) && at < size; ++i)
        at += (size_t)snprintf(buf + at, size - at, "%s%s", i ? ", " : "", io.name);
}

static bool is_made_up(const char *what) {
    return strcmp(what, "random") == 0 || strcmp(what, "zeros") == 0;
}

/* NAME=WHAT, where names and paths may have '=' in them; or WHAT alone, for all inputs. */
static hone_status read_spec(const hone_engine *e, const char *spec, wish *wishes,
                             hone_error *err) {
    for (const char *at = strchr(spec, '='); at; at = strchr(at + 1, '=')) {
        char *name = strndup(spec, (size_t)(at - spec));
        int i = name ? hone_engine_input_index(e, name) : -1;
        free(name);
        if (i >= 0) {
            wishes[i].what = at + 1;
            return HONE_OK;
        }
    }
    size_t len = strlen(spec);
    if (is_made_up(spec) ||
        (!strchr(spec, '=') && len > 4 && strcmp(spec + len - 4, ".npz") == 0)) {
        for (int i = 0; i < hone_engine_input_count(e); ++i) {
            if (!wishes[i].what)
                wishes[i].what = spec;
        }
        return HONE_OK;
    }
    char names[400];
    list_inputs(e, names, sizeof names);
    return hone_fail(err, HONE_E_ARGUMENT,
                     "--input %.200s is not of the form NAME=FILE with one of the inputs: %.300s",
                     spec, names);
}

/* Files first: their dims are those of symbols in made-up inputs. */
static hone_status load_files(filler *f, const wish *wishes, hone_error *err) {
    hone_io_info io;
    for (int i = 0; hone_engine_input(f->s->engine, i, &io); ++i) {
        if (!wishes[i].what || is_made_up(wishes[i].what))
            continue;
        hone_tensor *t = &f->s->inputs[i];
        HONE_TRY(cli_input_load(wishes[i].what, &io, t, err));
        if (t->kind == HONE_KIND_TENSOR)
            bind(f, &io, t->rank, t->dims);
    }
    return HONE_OK;
}

static hone_status make_up_rest(filler *f, const wish *wishes, hone_error *err) {
    hone_io_info io;
    for (int i = 0; hone_engine_input(f->s->engine, i, &io); ++i) {
        const char *what = wishes[i].what;
        if (!what && io.is_optional)
            continue;
        if (!what && f->fill == CLI_FILL_NONE)
            return hone_fail(err, HONE_E_ARGUMENT,
                             "input %s is missing: give --input %s=FILE.npy (or =random)", io.name,
                             io.name);
        bool random = what ? strcmp(what, "random") == 0 : f->fill == CLI_FILL_RANDOM;
        if (!what || is_made_up(what))
            HONE_TRY(make_up(f, &io, random, &f->s->inputs[i], err));
    }
    return HONE_OK;
}

static hone_status check_shape_names(const filler *f, hone_error *err) {
    for (int i = 0; i < f->shapes.n; ++i) {
        if (hone_engine_input_index(f->s->engine, f->shapes.range[i].input) < 0)
            return hone_fail(err, HONE_E_ARGUMENT, "--shape: there is no input '%s'",
                             f->shapes.range[i].input);
    }
    return HONE_OK;
}

static hone_status set_inputs(filler *f, const cli_args *args, wish *wishes, hone_error *err) {
    hone_io_info io;
    cli_subject *s = f->s;
    HONE_TRY(cli_shapes_parse(&args->shapes, &f->shapes, err));
    HONE_TRY(check_shape_names(f, err));
    for (int i = 0; i < args->inputs.n; ++i)
        HONE_TRY(read_spec(s->engine, args->inputs.item[i], wishes, err));
    HONE_TRY(load_files(f, wishes, err));
    for (int i = 0; hone_engine_input(s->engine, i, &io); ++i) {
        const hone_shape_range *shape = find_shape(f, io.name);
        if (shape)
            bind(f, &io, shape->rank, chosen_dims(f, shape));
    }
    HONE_TRY(make_up_rest(f, wishes, err));
    for (int i = 0; i < s->n_inputs; ++i) {
        if (s->inputs[i].kind != HONE_KIND_NONE)
            HONE_TRY(hone_session_set_input(s->session, i, &s->inputs[i], err));
    }
    return HONE_OK;
}

hone_status cli_subject_take_inputs(cli_subject *s, const hone_tensor *inputs, hone_error *err) {
    cli_subject_drop_inputs(s);
    s->n_inputs = hone_engine_input_count(s->engine);
    s->inputs = calloc((size_t)s->n_inputs + 1, sizeof *s->inputs);
    if (!s->inputs)
        return hone_fail(err, HONE_E_NOMEM, "no memory for inputs");
    for (int i = 0; i < s->n_inputs; ++i) {
        if (inputs[i].kind == HONE_KIND_NONE)
            continue;
        HONE_TRY(hone_tensor_copy(NULL, &s->inputs[i], &inputs[i], err));
        HONE_TRY(hone_session_set_input(s->session, i, &s->inputs[i], err));
    }
    return HONE_OK;
}

hone_status cli_subject_set_inputs(cli_subject *s, const cli_args *args, cli_fill fill,
                                   hone_error *err) {
    filler f = {.s = s, .seed = (uint64_t)args->seed, .fill = fill};
    cli_subject_drop_inputs(s);
    s->open.n = 0;
    s->n_inputs = hone_engine_input_count(s->engine);
    s->inputs = calloc((size_t)s->n_inputs + 1, sizeof *s->inputs);
    wish *wishes = calloc((size_t)s->n_inputs + 1, sizeof *wishes);
    hone_status status = s->inputs && wishes ? set_inputs(&f, args, wishes, err)
                                             : hone_fail(err, HONE_E_NOMEM, "no memory for inputs");
    cli_shapes_free(&f.shapes);
    free(wishes);
    return status;
}
