/* Runs folders of ONNX backend cases (made by make_cases.py) and compares outputs.
 *
 * usage: node_suite DIR [--filter TEXT] [--expect FILE] [--level 0|1|2] [-v]
 *   DIR      has a folder per case
 *   FILE     lists cases that may fail, "name: reason" a line; the run fails when one of them
 * passes or another one fails Tolerances are those of the case; see compare() for how they are
 * applied. */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "engine/internal.h"
#include "onnx/tensor_pb.h"

typedef struct options {
    const char *dir, *filter, *expect;
    int level;
    bool is_verbose;
} options;

typedef struct reason {
    char text[512];
} reason;

static bool give(reason *r, const char *format, ...) HONE_PRINTF(2, 3);
static bool give(reason *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(r->text, sizeof r->text, format, args);
    va_end(args);
    return false;
}

/* ---- comparing --------------------------------------------------------------------------------
 */

static bool same_number(double want, double got, double rtol, double atol) {
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    if (isinf(want) || isinf(got))
        return want == got;
    return fabs(want - got) <= atol + rtol * fabs(want);
}

static double part(const hone_tensor *t, int64_t i, bool is_imaginary) {
    if (t->dtype == HONE_DTYPE_C64)
        return (double)((const float *)t->data)[2 * i + is_imaginary];
    if (t->dtype == HONE_DTYPE_C128)
        return ((const double *)t->data)[2 * i + is_imaginary];
    return is_imaginary ? 0 : hone_load_f64(t->dtype, t->data, i);
}

static bool compare_elements(const hone_tensor *want, const hone_tensor *got, double rtol,
                             double atol, reason *r) {
    int64_t n = hone_tensor_count(want), n_bad = 0, first = 0;
    if (want->dtype == HONE_DTYPE_BF16 && rtol < 0x1p-6)
        rtol = 0x1p-6; /* two units in the last place, as ONNX's own runner allows */
    for (int64_t i = 0; i < n; ++i) {
        bool same;
        if (want->dtype == HONE_DTYPE_STRING)
            same = hone_string_equal(((const hone_string *)want->data)[i],
                                     ((const hone_string *)got->data)[i]);
        else if (hone_dtype_in(want->dtype, HONE_T_INT))
            same = hone_load_i64(want->dtype, want->data, i) ==
                       hone_load_i64(got->dtype, got->data, i) ||
                   same_number(part(want, i, false), part(got, i, false), rtol, atol);
        else
            same = same_number(part(want, i, false), part(got, i, false), rtol, atol) &&
                   same_number(part(want, i, true), part(got, i, true), rtol, atol);
        if (!same && n_bad++ == 0)
            first = i;
    }
    if (n_bad == 0)
        return true;
    return give(r, "%" PRId64 " of %" PRId64 " elements differ, first [%" PRId64 "]: %g, want %g",
                n_bad, n, first, part(got, first, false), part(want, first, false));
}

static bool compare(const hone_tensor *want, const hone_tensor *got, double rtol, double atol,
                    reason *r) {
    char a[160], b[160];
    if (want->kind != got->kind)
        return give(r, "kind: got %s, want %s", hone_tensor_describe(got, a, sizeof a),
                    hone_tensor_describe(want, b, sizeof b));
    if (want->kind == HONE_KIND_NONE)
        return true;
    if (want->kind == HONE_KIND_SEQUENCE || want->kind == HONE_KIND_MAP) {
        int64_t n = want->kind == HONE_KIND_MAP ? 2 : want->dims[0];
        if (want->kind == HONE_KIND_SEQUENCE && got->dims[0] != n)
            return give(r, "sequence of %" PRId64 ", want %" PRId64, got->dims[0], n);
        for (int64_t i = 0; i < n; ++i) {
            if (!compare(hone_seq_at(want, i), hone_seq_at(got, i), rtol, atol, r))
                return false;
        }
        return true;
    }
    if (want->dtype != got->dtype || !hone_same_dims(want, got))
        return give(r, "got %s, want %s", hone_tensor_describe(got, a, sizeof a),
                    hone_tensor_describe(want, b, sizeof b));
    return compare_elements(want, got, rtol, atol, r);
}

/* ---- one case ---------------------------------------------------------------------------------
 */

static bool read_value(const char *path, const hone_type *type, hone_tensor *out, reason *r) {
    hone_file_map map;
    hone_error err = {0};
    if (hone_file_map_open(path, &map, &err) != HONE_OK)
        return give(r, "%s", err.message);
    hone_kind kind = type->kind ? type->kind : HONE_KIND_TENSOR;
    hone_status status =
        hone_value_from_pb(NULL, map.data, map.n_bytes, kind, type->optional, out, &err);
    hone_file_map_close(&map);
    return status == HONE_OK || give(r, "%s: %s", path, err.message);
}

static bool check_outputs(hone_session *s, const hone_graph *g, const char *set, double rtol,
                          double atol, reason *r) {
    for (int i = 0; i < g->n_outputs; ++i) {
        char path[1200];
        snprintf(path, sizeof path, "%s/output_%d.pb", set, i);
        hone_tensor want = {.kind = HONE_KIND_NONE};
        if (!read_value(path, &g->outputs[i]->type, &want, r))
            return false;
        bool same = compare(&want, hone_session_output(s, i), rtol, atol, r);
        hone_tensor_release(&want);
        if (!same) {
            char text[512];
            snprintf(text, sizeof text, "%s", r->text);
            return give(r, "output %d: %.400s", i, text);
        }
    }
    return true;
}

static bool run_set(hone_session *s, const hone_graph *g, const char *set, double rtol, double atol,
                    reason *r) {
    hone_error err = {0};
    hone_tensor *in = calloc((size_t)g->n_inputs + 1, sizeof *in);
    bool ok = in != NULL;
    for (int i = 0; ok && i < g->n_inputs; ++i) {
        char path[1200];
        snprintf(path, sizeof path, "%s/input_%d.pb", set, i);
        struct stat st;
        if (stat(path, &st) != 0)
            continue;
        ok = read_value(path, &g->inputs[i]->type, &in[i], r);
        if (ok && in[i].kind != HONE_KIND_NONE &&
            hone_session_set_input(s, i, &in[i], &err) != HONE_OK)
            ok = give(r, "%s", err.message);
    }
    if (ok && hone_session_run(s, &err) != HONE_OK)
        ok = give(r, "run: %s (%s %s): %s", hone_status_name(err.code), err.op, err.node,
                  err.message);
    ok = ok && check_outputs(s, g, set, rtol, atol, r);
    for (int i = 0; in && i < g->n_inputs; ++i)
        hone_tensor_release(&in[i]);
    free(in);
    return ok;
}

static bool run_case(const options *o, const char *folder, reason *r) {
    char path[1100];
    hone_error err = {0};
    double rtol = 1e-3, atol = 1e-7;
    snprintf(path, sizeof path, "%s/tolerance", folder);
    FILE *f = fopen(path, "r");
    if (f) {
        if (fscanf(f, "%lf %lf", &rtol, &atol) != 2)
            rtol = 1e-3, atol = 1e-7;
        fclose(f);
    }
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    hone_model *model;
    if (hone_model_open(path, &model, &err) != HONE_OK)
        return give(r, "open: %s (%s %s): %s", hone_status_name(err.code), err.op, err.node,
                    err.message);
    hone_build_options build;
    hone_build_options_init(&build);
    build.optimize = o->level;
    hone_engine *engine = NULL;
    hone_session *session = NULL;
    bool ok = hone_engine_build(model, &build, &engine, &err) == HONE_OK &&
              hone_session_create(engine, 1, &session, &err) == HONE_OK;
    if (!ok)
        give(r, "build: %s (%s %s): %s", hone_status_name(err.code), err.op, err.node, err.message);
    for (int set = 0; ok; ++set) {
        snprintf(path, sizeof path, "%s/set_%d", folder, set);
        struct stat st;
        if (stat(path, &st) != 0) {
            ok = set > 0 || give(r, "no data in %s", folder);
            break;
        }
        ok = run_set(session, model->graph, path, rtol, atol, r);
    }
    hone_session_destroy(session);
    hone_engine_destroy(engine);
    hone_model_destroy(model);
    return ok;
}

/* ---- all cases --------------------------------------------------------------------------------
 */

static bool is_expected(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *line = list; line && *line;) {
        if (strncmp(line, name, n) == 0 && line[n] == ':')
            return true;
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return false;
}

static char *read_text(const char *path) {
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    if (f && text && fread(text, 1, (1 << 20) - 1, f) == 0)
        text[0] = '\0';
    if (f)
        fclose(f);
    return text;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int run_all(const options *o) {
    struct dirent **list;
    int n = scandir(o->dir, &list, NULL, by_name);
    int n_passed = 0, n_failed = 0, n_expected = 0;
    char *expected = o->expect ? read_text(o->expect) : NULL;
    if (n < 0) {
        fprintf(stderr, "node_suite: no folder %s: make it with tests/suite/make_cases.py\n",
                o->dir);
        return 2;
    }
    for (int i = 0; i < n; ++i) {
        const char *name = list[i]->d_name;
        if (name[0] != '.' && (!o->filter || strstr(name, o->filter))) {
            char folder[1024];
            reason r = {""};
            snprintf(folder, sizeof folder, "%s/%s", o->dir, name);
            bool ok = run_case(o, folder, &r), may_fail = is_expected(expected, name);
            if (!ok && may_fail)
                ++n_expected;
            else if (ok && may_fail)
                printf("FAIL %s: listed in %s, but passes: take it out\n", name, o->expect);
            else if (!ok)
                printf("FAIL %s: %s\n", name, r.text);
            else if (o->is_verbose)
                printf("ok   %s\n", name);
            n_passed += ok && !may_fail;
            n_failed += ok == may_fail;
            fflush(stdout);
        }
        free(list[i]);
    }
    free(list);
    free(expected);
    printf("%s: %d passed, %d failed, %d known not to pass\n", o->dir, n_passed, n_failed,
           n_expected);
    return n_failed ? 1 : n_passed ? 0 : 2;
}

int main(int argc, char **argv) {
    options o = {.level = 2};
    for (int i = 1; i < argc; ++i) {
        if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
            o.filter = argv[++i];
        else if (strcmp(argv[i], "--expect") == 0 && i + 1 < argc)
            o.expect = argv[++i];
        else if (strcmp(argv[i], "--level") == 0 && i + 1 < argc)
            o.level = atoi(argv[++i]);
        else if (strcmp(argv[i], "-v") == 0)
            o.is_verbose = true;
        else
            o.dir = argv[i];
    }
    if (!o.dir) {
        fprintf(stderr, "usage: node_suite DIR [--filter TEXT] [--expect FILE] [--level N] [-v]\n");
        return 2;
    }
    return run_all(&o);
}
