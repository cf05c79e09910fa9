/* Adapters of arithmetic, normalisation and activations. */
#include <inttypes.h>
#include <string.h>

#include "onnx/adapt.h"

/* Append `count` axes of size 1 to input i. */
static hone_status append_axes(hone_adapt *a, int i, int count) {
    int rank = adapt_rank(a, i);
    int64_t axes[HONE_MAX_RANK];
    if (rank + count > HONE_MAX_RANK)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "more than %d dims", HONE_MAX_RANK);
    for (int k = 0; k < count; ++k)
        axes[k] = rank + k;
    hone_value *in[2] = {a->n->in[i], hone_graph_const_i64(a->g, "axes", axes, count)};
    if (!in[1])
        return adapt_no_memory(a);
    hone_value *wide = adapt_op(a, "Unsqueeze", in, 2);
    if (!wide)
        return a->err ? a->err->code : HONE_E_NOMEM;
    a->n->in[i] = wide;
    return HONE_OK;
}

/* Binary operators up to version 6: `broadcast` allows it, `axis` says where B's dims begin. */
hone_status adapt_broadcast(hone_adapt *a) {
    const hone_attr *axis = hone_attr_find(a->n, "axis");
    bool aligned = hone_attr_int(a->n, "broadcast", 0) && axis && axis->kind == HONE_ATTR_INT;
    int64_t at = aligned ? axis->i : 0;
    hone_attr_remove(a->n, "axis");
    hone_attr_remove(a->n, "broadcast");
    if (!aligned)
        return HONE_OK;
    int ra = adapt_rank(a, 0), rb = adapt_rank(a, 1);
    if (ra < 0 || rb < 0)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "broadcasting at an axis of unknown ranks");
    if (at < 0)
        at += ra;
    if (at < 0 || at > ra || rb > ra - at)
        return adapt_fail(a, HONE_E_SHAPE, "axis %" PRId64 " does not fit ranks %d and %d", at, ra,
                          rb);
    int after = ra - (int)at - rb;
    return after > 0 && rb > 0 ? append_axes(a, 1, after) : HONE_OK;
}

/* PRelu up to version 6: a slope of one dim is per channel. */
hone_status adapt_prelu(hone_adapt *a) {
    int rx = adapt_rank(a, 0);
    if (adapt_rank(a, 1) != 1 || a->n->in[1]->type.dims[0] == 1 || rx <= 2)
        return HONE_OK;
    return append_axes(a, 1, rx - 2);
}

/* Up to version 13 further outputs (mean, var, saved_mean, saved_var) mean training. */
hone_status adapt_batch_norm(hone_adapt *a) {
    hone_node *n = a->n;
    bool per_activation = a->version <= 8 && hone_attr_int(n, "spatial", 1) == 0;
    if (per_activation && adapt_rank(a, 0) != 2)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "spatial=0 (statistics per activation)");
    hone_attr_remove(n, "spatial");
    hone_attr_remove(n, "is_test");
    if (adapt_output_used(a, 3) || adapt_output_used(a, 4))
        return adapt_fail(a, HONE_E_UNSUPPORTED, "the saved statistics as outputs");
    bool training = adapt_output_used(a, 1) || adapt_output_used(a, 2);
    if (n->n_out > (training ? 3 : 1))
        n->n_out = training ? 3 : 1;
    if (training && !hone_attr_set_int(a->g, n, "training_mode", 1))
        return adapt_no_memory(a);
    return HONE_OK;
}

/* [groups] -> [channels], each element repeated. */
static hone_status repeat_groups(hone_adapt *a, int i, int64_t groups, int64_t channels) {
    int64_t one = 1, wide[2] = {groups, channels / groups}, flat = channels;
    hone_value *in[2] = {a->n->in[i], hone_graph_const_i64(a->g, "axes", &one, 1)};
    hone_value *shape = hone_graph_const_i64(a->g, "shape", wide, 2);
    hone_value *last = hone_graph_const_i64(a->g, "shape", &flat, 1);
    if (!in[1] || !shape || !last)
        return adapt_no_memory(a);
    static const char *const steps[] = {"Unsqueeze", "Expand", "Reshape"};
    hone_value *second[] = {in[1], shape, last};
    for (int s = 0; s < 3; ++s) {
        in[1] = second[s];
        in[0] = adapt_op(a, steps[s], in, 2);
        if (!in[0])
            return a->err ? a->err->code : HONE_E_NOMEM;
    }
    a->n->in[i] = in[0];
    return HONE_OK;
}

/* GroupNormalization-18 has scale and bias per group, 21 per channel. */
hone_status adapt_group_norm(hone_adapt *a) {
    hone_node *n = a->n;
    int64_t groups = hone_attr_int(n, "num_groups", 0);
    int64_t channels = adapt_rank(a, 0) >= 2 ? n->in[0]->type.dims[1] : HONE_DIM_UNKNOWN;
    if (n->n_in < 3 || !n->in[1] || !n->in[2] || groups <= 0)
        return adapt_fail(a, HONE_E_FORMAT, "needs three inputs and num_groups > 0");
    if (channels < 0)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "an unknown number of channels");
    if (channels % groups)
        return adapt_fail(a, HONE_E_SHAPE, "%" PRId64 " channels in %" PRId64 " groups", channels,
                          groups);
    HONE_TRY(repeat_groups(a, 1, groups, channels));
    return repeat_groups(a, 2, groups, channels);
}

/* Dropout up to 11: the ratio is an attribute and means nothing in inference. Up to 9 the mask has
 * the type of the data. */
hone_status adapt_dropout(hone_adapt *a) {
    hone_node *n = a->n;
    hone_attr_remove(n, "ratio");
    hone_attr_remove(n, "is_test");
    if (a->version >= 10 || n->n_out < 2)
        return HONE_OK;
    if (adapt_output_used(a, 1))
        return adapt_fail(a, HONE_E_UNSUPPORTED, "the mask as an output");
    n->n_out = 1;
    return HONE_OK;
}

/* Softmax, LogSoftmax and Hardmax up to 12 work on a matrix whose columns begin at `axis`. */
hone_status adapt_softmax(hone_adapt *a) {
    int64_t axis = hone_attr_int(a->n, "axis", 1);
    int rank = adapt_rank(a, 0);
    bool last = axis == -1 || (rank > 0 && axis == rank - 1);
    if (!hone_attr_set_int(a->g, a->n, "axis", last ? -1 : axis) ||
        (!last && !hone_attr_set_int(a->g, a->n, "hone_flatten", 1)))
        return adapt_no_memory(a);
    return HONE_OK;
}

/* Cast up to 5 names its type. */
hone_status adapt_cast(hone_adapt *a) {
    static const char *const names[] = {
        "UNDEFINED", "FLOAT", "UINT8",   "INT8",   "UINT16", "INT16",  "INT32",     "INT64",
        "STRING",    "BOOL",  "FLOAT16", "DOUBLE", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128"};
    const hone_attr *to = hone_attr_find(a->n, "to");
    if (!to || to->kind != HONE_ATTR_STRING)
        return HONE_OK;
    for (int d = 1; d < (int)(sizeof names / sizeof names[0]); ++d) {
        if (strcmp(to->s.data, names[d]) == 0)
            return hone_attr_set_int(a->g, a->n, "to", d) ? HONE_OK : adapt_no_memory(a);
    }
    return adapt_fail(a, HONE_E_FORMAT, "unknown type '%.40s'", to->s.data);
}

hone_status adapt_clip(hone_adapt *a) {
    static const char *const names[] = {"min", "max"};
    for (int i = 0; i < 2; ++i) {
        const hone_attr *limit = hone_attr_find(a->n, names[i]);
        if (!limit || limit->kind != HONE_ATTR_FLOAT)
            continue;
        double v = (double)limit->f;
        HONE_TRY(adapt_scalar_input(a, 1 + i, v, a->n->n_in ? a->n->in[0] : NULL));
        hone_attr_remove(a->n, names[i]);
    }
    return HONE_OK;
}

/* Selu-1 had shorter defaults. */
hone_status adapt_selu(hone_adapt *a) {
    float alpha = hone_attr_float(a->n, "alpha", 1.6732f);
    float gamma = hone_attr_float(a->n, "gamma", 1.0507f);
    return hone_attr_set_float(a->g, a->n, "alpha", alpha) &&
                   hone_attr_set_float(a->g, a->n, "gamma", gamma)
               ? HONE_OK
               : adapt_no_memory(a);
}

/* LpPool-1 and GlobalLpPool-1 have a float p. */
hone_status adapt_p_to_int(hone_adapt *a) {
    float p = hone_attr_float(a->n, "p", 2.0f);
    if (!(p >= 1.0f && p <= 1024.0f) || p != (float)(int)p)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "p = %g", (double)p);
    return hone_attr_set_int(a->g, a->n, "p", (int)p) ? HONE_OK : adapt_no_memory(a);
}

/* LabelEncoder-1: one list of strings, whose indices are the integers. */
hone_status adapt_label_encoder(hone_adapt *a) {
    hone_node *n = a->n;
    const hone_string *classes;
    int count = hone_attr_strings(n, "classes_strings", &classes);
    hone_dtype d = n->n_in ? n->in[0]->type.dtype : HONE_DTYPE_NONE;
    if (!d)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "an input of unknown type");
    bool from_text = d == HONE_DTYPE_STRING;
    int64_t *index = HONE_NEW_ARRAY(a->g->arena, int64_t, count);
    if (!index)
        return adapt_no_memory(a);
    for (int i = 0; i < count; ++i)
        index[i] = i;
    hone_attr texts = {.name = from_text ? "keys_strings" : "values_strings",
                       .kind = HONE_ATTR_STRINGS,
                       .n = count,
                       .strings = classes};
    const char *numbers = from_text ? "values_int64s" : "keys_int64s";
    hone_attr_remove(n, "classes_strings");
    return hone_attr_set(a->g, n, &texts) && hone_attr_set_ints(a->g, n, numbers, index, count)
               ? HONE_OK
               : adapt_no_memory(a);
}
