#include "tflite/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/infer.h"
#include "tflite/import_impl.h"

/* Memory that importing may take: a fixed part and one in proportion to the file. */
#define LIMIT_FIXED_BYTES ((size_t)64 << 20)
enum { LIMIT_PER_BYTE = 64 };

#define VIEW_FLOAT                    TFR_FLOAT
#define VIEW_RAW                      TFR_RAW
#define VIEW_OWN                      TFR_OWN
#define RULE(code, build, view, onnx) void tfr_build_##build(tfr_import *im);
#define CUSTOM(name, build)           void tfr_build_##build(tfr_import *im);
#include "tflite/import.def"
#undef RULE
#undef CUSTOM

const tfr_rule tfr_rules[] = {
#define RULE(code, build, view, onnx) {TFL_##code, tfr_build_##build, VIEW_##view, onnx},
#define CUSTOM(name, build)
#include "tflite/import.def"
#undef RULE
#undef CUSTOM
};

static const struct {
    const char *name;
    tfr_rule rule;
} customs[] = {
#define RULE(code, build, view, onnx)
#define CUSTOM(name, build) {#name, {TFL_CUSTOM, tfr_build_##build, TFR_OWN, NULL}},
#include "tflite/import.def"
#undef RULE
#undef CUSTOM
};
const tfr_op tfr_no_op = {.code = -1};
const int tfr_n_rules = sizeof tfr_rules / sizeof tfr_rules[0];

bool hone_tflite_is_model(const uint8_t *bytes, size_t n) {
    return tfr_is_file(bytes, n);
}

const tfr_rule *tfr_rule_of(int code) {
    for (int i = 0; i < tfr_n_rules; ++i) {
        if (tfr_rules[i].code == code)
            return &tfr_rules[i];
    }
    return NULL;
}

static const tfr_rule *rule_for(const tfr_op *op) {
    for (size_t i = 0; op->custom && i < sizeof customs / sizeof customs[0]; ++i) {
        if (strcmp(customs[i].name, op->custom) == 0)
            return &customs[i].rule;
    }
    return tfr_rule_of(op->code);
}

/* ---- what is not supported, all at once -------------------------------------------------------
 */

static void list_name(char *list, size_t size, const char *name) {
    size_t len = strlen(list), n = strlen(name);
    const char *found = strstr(list, name);
    while (found && found[n] != '\0' && found[n] != ',')
        found = strstr(found + 1, name);
    if (!found && len + n + 3 < size)
        snprintf(list + len, size - len, "%s%s", len ? ", " : "", name);
}

/* Subgraphs that operators of a reachable one call. */
static void mark_called(const tfr_file *file, const tfr_graph *g, bool *reached) {
    for (int i = 0; i < g->n_ops; ++i) {
        tfr_flat flat = file->flat;
        int called[2], n = tfr_called(&flat, &g->ops[i], called);
        for (int k = 0; k < n; ++k) {
            if (called[k] >= 0 && called[k] < file->n_graphs)
                reached[called[k]] = true;
        }
    }
}

static bool mark_reached(const tfr_file *file, int root, bool *reached) {
    bool *done = HONE_NEW_ARRAY(file->arena, bool, file->n_graphs + 1);
    if (!done)
        return false;
    reached[root] = true;
    for (bool is_new = true; is_new;) {
        is_new = false;
        for (int i = 0; i < file->n_graphs; ++i) {
            if (!reached[i] || done[i])
                continue;
            done[i] = is_new = true;
            mark_called(file, &file->graphs[i], reached);
        }
    }
    return true;
}

static void list_missing(const tfr_graph *g, char *builtin, char *custom, size_t size) {
    for (int i = 0; i < g->n_ops; ++i) {
        const tfr_op *op = &g->ops[i];
        if (rule_for(op))
            continue;
        char name[96];
        snprintf(name, sizeof name, "%.60s", op->custom ? op->custom : tfr_op_name(op->code));
        if (!name[0])
            snprintf(name, sizeof name, "(without a name)");
        list_name(op->custom ? custom : builtin, size, name);
    }
}

/* All that is missing, in all subgraphs that `root` leads to, in one message. */
static hone_status check_operators(const tfr_file *file, int root, hone_error *err) {
    char builtin[220] = "", custom[220] = "";
    bool *reached = HONE_NEW_ARRAY(file->arena, bool, file->n_graphs + 1);
    if (!reached || !mark_reached(file, root, reached))
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    for (int i = 0; i < file->n_graphs; ++i) {
        if (reached[i])
            list_missing(&file->graphs[i], builtin, custom, sizeof builtin);
    }
    if (custom[0])
        return hone_fail(
            err, HONE_E_UNSUPPORTED,
            "custom operators have no definition that hone could read: %s%s%s; cut the "
            "model before them, or convert it again without custom operators "
            "(allow_custom_ops=False)",
            custom, builtin[0] ? "; and operators that are not supported: " : "", builtin);
    return builtin[0]
               ? hone_fail(err, HONE_E_UNSUPPORTED, "operators that are not supported: %s", builtin)
               : HONE_OK;
}

/* ---- names ------------------------------------------------------------------------------------
 */

typedef struct named {
    const char *name;
    int tensor;
} named;

static int by_name(const void *a, const void *b) {
    const named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

/* Names of tensors, made unique, and with a suffix those of subgraphs; '#' is kept for values that
 * only the import makes. */
static bool make_names(tfr_import *im, const char *suffix) {
    int n = im->sub->n_tensors;
    hone_arena *a = im->g->arena;
    named *sorted = HONE_NEW_ARRAY(a, named, n + 1);
    im->names = HONE_NEW_ARRAY(a, const char *, n + 1);
    if (!sorted || !im->names)
        return false;
    for (int i = 0; i < n; ++i)
        sorted[i] = (named){im->sub->tensors[i].name, i};
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    for (int i = 0; i < n; ++i) {
        const char *name = sorted[i].name;
        bool is_taken = name[0] == '\0' || strchr(name, '#') ||
                        (i > 0 && strcmp(name, sorted[i - 1].name) == 0);
        char *own = is_taken ? hone_arena_printf(a, "%.200s;%d%s", name, sorted[i].tensor, suffix)
                             : hone_arena_printf(a, "%s%s", name, suffix);
        if (!own)
            return false;
        for (char *c = own; *c; ++c)
            *c = *c == '#' ? '_' : *c;
        im->names[sorted[i].tensor] = own;
    }
    return true;
}

bool tfr_is_named(const tfr_import *im, const char *name) {
    for (int i = 0; i < im->sub->n_tensors; ++i) {
        bool is_handle = im->sub->tensors[i].dtype == HONE_DTYPE_NONE;
        if (!is_handle && strcmp(im->names[i], name) == 0)
            return true;
    }
    return false;
}

/* The tensor gets a name and, where another one has it, that one this tensor's. */
static void rename_tensor(tfr_import *im, int tensor, const char *name) {
    for (int i = 0; i < im->sub->n_tensors; ++i) {
        if (strcmp(im->names[i], name) == 0)
            im->names[i] = im->names[tensor];
    }
    im->names[tensor] = name;
}

/* Inputs and outputs are called as the signature calls them. */
static void use_signature(tfr_import *im, const tfr_name *list, int n) {
    for (int i = 0; i < n && i < 1000; ++i) {
        if (list[i].name[0] && !strchr(list[i].name, '#'))
            rename_tensor(im, list[i].tensor, list[i].name);
    }
}

/* ---- the graph --------------------------------------------------------------------------------
 */

static hone_status add_inputs(tfr_import *im) {
    for (int i = 0; i < im->sub->n_inputs; ++i) {
        int t = im->sub->inputs[i];
        const tfr_tensor *x = &im->sub->tensors[t];
        if (x->dtype == HONE_DTYPE_NONE)
            return hone_fail(im->err, HONE_E_UNSUPPORTED, "input %s is a resource", im->names[t]);
        hone_value *v = im->value[t] ? NULL : hone_graph_value(im->g, im->names[t]);
        if (!v)
            return hone_fail(im->err, HONE_E_FORMAT, "input %s is listed twice", im->names[t]);
        v->type = hone_type_tensor(x->dtype, x->rank, x->dims);
        for (int d = 0; d < x->rank; ++d) {
            if (x->dims[d] >= 0)
                continue;
            char name[64];
            snprintf(name, sizeof name, i || d ? "%.40s_%d" : "batch", im->names[t], d);
            int symbol = hone_symbol(im->g, name);
            v->type.dims[d] = symbol < 0 ? HONE_DIM_UNKNOWN : HONE_DIM_SYMBOL(symbol);
        }
        im->value[t] = v;
        if (!HONE_PUSH(im->g->arena, im->g->inputs, im->g->n_inputs, im->g->cap_inputs, v))
            return hone_fail(im->err, HONE_E_NOMEM, "out of memory");
    }
    return HONE_OK;
}

/* An output that no operator of its own makes (an input, a constant) is copied. */
static hone_status add_outputs(tfr_import *im) {
    for (int i = 0; i < im->sub->n_outputs; ++i) {
        tfr_op op = {.in = &im->sub->outputs[i], .n_in = 1};
        im->op = &op;
        hone_value *v = tfr_in_raw(im, 0);
        tfr_add_output(im, v);
        im->op = &tfr_no_op;
        HONE_TRY(im->status);
    }
    return HONE_OK;
}

bool tfr_import_begin(tfr_import *im, const char *suffix) {
    im->value = HONE_NEW_ARRAY(im->g->arena, hone_value *, im->sub->n_tensors + 1);
    im->resource = HONE_NEW_ARRAY(im->g->arena, int, im->sub->n_tensors + 1);
    if (im->value && im->resource && make_names(im, suffix))
        return true;
    im->status = hone_fail(im->err, HONE_E_NOMEM, "out of memory");
    return false;
}

void tfr_import_ops(tfr_import *im) {
    for (int i = 0; i < im->sub->n_ops && im->status == HONE_OK; ++i) {
        im->op = &im->sub->ops[i];
        im->rule = rule_for(im->op);
        im->rule->build(im);
    }
}

static hone_status import_root(tfr_import *im, const tfr_signature *s) {
    tfr_scope scope;
    if (!tfr_import_begin(im, ""))
        return im->status;
    if (s) {
        use_signature(im, s->outputs, s->n_outputs);
        use_signature(im, s->inputs, s->n_inputs); /* theirs are kept where both have one name */
    }
    HONE_TRY(add_inputs(im));
    tfr_find_variables(im);
    HONE_TRY(im->status);
    if (!tfr_scope_begin(im, &scope, NULL, im->g))
        return im->status;
    im->scope = &scope;
    tfr_import_ops(im);
    HONE_TRY(im->status);
    HONE_TRY(add_outputs(im));
    tfr_finish_variables(im);
    return im->status;
}

/* *s is NULL when no key is given and there are no signatures. */
static hone_status find_signature(const tfr_file *file, const char *key, const tfr_signature **s,
                                  hone_error *err) {
    char keys[300] = "";
    *s = file->n_signatures ? &file->signatures[0] : NULL;
    if (!key)
        return HONE_OK;
    for (int i = 0; i < file->n_signatures; ++i) {
        *s = &file->signatures[i];
        if (strcmp((*s)->key, key) == 0)
            return HONE_OK;
        list_name(keys, sizeof keys, (*s)->key);
    }
    return hone_fail(err, HONE_E_ARGUMENT, "there is no signature %.100s; the model has %s", key,
                     keys[0] ? keys : "none");
}

static hone_status import_file(const uint8_t *bytes, size_t n, const char *key, hone_graph *g,
                               const char **description, hone_error *err) {
    tfr_file *file = HONE_NEW(g->arena, tfr_file);
    if (!file)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    HONE_TRY(tfr_file_read(file, g->arena, bytes, n, err));
    if (description)
        *description = file->description;
    const tfr_signature *s;
    HONE_TRY(find_signature(file, key, &s, err));
    int root = s ? s->graph : 0;
    HONE_TRY(check_operators(file, root, err));
    tfr_shared shared = {.n_vars = 0};
    tfr_import im = {.g = g,
                     .file = file,
                     .shared = &shared,
                     .sub = &file->graphs[root],
                     .op = &tfr_no_op,
                     .err = err};
    shared.root = &im;
    HONE_TRY(import_root(&im, s));
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    return HONE_OK;
}

hone_status hone_tflite_import(const uint8_t *bytes, size_t n, const char *key, hone_graph **out,
                               const char **description, hone_error *err) {
    hone_error ignored;
    *out = NULL;
    err = err ? err : &ignored;
    hone_graph *g = hone_graph_create();
    if (!g)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    size_t limit;
    if (!hone_mul_size(n, LIMIT_PER_BYTE, &limit) ||
        !hone_add_size(limit, LIMIT_FIXED_BYTES, &limit))
        limit = 0;
    g->arena->limit_bytes = limit;
    hone_status status = import_file(bytes, n, key, g, description, err);
    g->arena->limit_bytes = 0;
    if (status != HONE_OK) {
        hone_graph_destroy(g);
        return status;
    }
    *out = g;
    return HONE_OK;
}
