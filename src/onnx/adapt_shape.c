/* Adapters of operators that move and resample data. */
#include <inttypes.h>
#include <string.h>

#include "onnx/adapt.h"

/* Pad-1 called them paddings. */
hone_status adapt_pad_names(hone_adapt *a) {
    const int64_t *pads;
    int n = hone_attr_ints(a->n, "paddings", &pads);
    if (n == 0)
        return HONE_OK;
    bool ok = hone_attr_set_ints(a->g, a->n, "pads", pads, n);
    hone_attr_remove(a->n, "paddings");
    return ok ? HONE_OK : adapt_no_memory(a);
}

hone_status adapt_pad(hone_adapt *a) {
    HONE_TRY(adapt_ints_to_input(a, "pads", 1));
    float value = hone_attr_float(a->n, "value", 0.0f);
    hone_attr_remove(a->n, "value");
    if (value == 0.0f)
        return HONE_OK;
    return adapt_scalar_input(a, 2, (double)value, a->n->n_in ? a->n->in[0] : NULL);
}

hone_status adapt_slice(hone_adapt *a) {
    HONE_TRY(adapt_ints_to_input(a, "starts", 1));
    HONE_TRY(adapt_ints_to_input(a, "ends", 2));
    return adapt_ints_to_input(a, "axes", 3);
}

/* Split-1 may have the sizes as an input of the data's type. */
hone_status adapt_split_input(hone_adapt *a) {
    if (a->n->n_in < 2 || !a->n->in[1])
        return HONE_OK;
    hone_value *wide = hone_graph_fresh(a->g, "split");
    hone_node *cast = wide ? hone_node_create(a->g, hone_op_find("", "Cast"), a->n->name,
                                              &a->n->in[1], 1, &wide, 1)
                           : NULL;
    if (!cast || !hone_attr_set_int(a->g, cast, "to", HONE_DTYPE_I64))
        return adapt_no_memory(a);
    cast->op_name = "Cast";
    cast->origin = a->n->origin;
    a->n->in[1] = wide;
    return adapt_emit(a, cast);
}

hone_status adapt_split_attr(hone_adapt *a) {
    return adapt_ints_to_input(a, "split", 1);
}

/* From 18 on equal parts are asked for by their number. */
hone_status adapt_split_count(hone_adapt *a) {
    if (a->n->n_in >= 2 && a->n->in[1])
        return HONE_OK;
    return hone_attr_set_int(a->g, a->n, "num_outputs", a->n->n_out) ? HONE_OK : adapt_no_memory(a);
}

static const hone_tensor *constant_input(const hone_adapt *a, int i) {
    const hone_value *v = i < a->n->n_in ? a->n->in[i] : NULL;
    return v ? v->constant : NULL;
}

/* Tile-1: tiles and axis, both scalars. */
hone_status adapt_tile(hone_adapt *a) {
    if (a->n->n_in < 3)
        return HONE_OK;
    const hone_tensor *tiles = constant_input(a, 1), *axis = constant_input(a, 2);
    int rank = adapt_rank(a, 0);
    if (!tiles || !axis || rank < 0 || hone_tensor_count(tiles) != 1 ||
        hone_tensor_count(axis) != 1 || !hone_dtype_in(tiles->dtype, HONE_T_NUM) ||
        !hone_dtype_in(axis->dtype, HONE_T_NUM))
        return adapt_fail(a, HONE_E_UNSUPPORTED, "tiles or axis that are not constant");
    int64_t at = hone_load_i64(axis->dtype, axis->data, 0);
    if (at < 0 || at >= rank)
        return adapt_fail(a, HONE_E_SHAPE, "axis %" PRId64 " is outside rank %d", at, rank);
    int64_t repeats[HONE_MAX_RANK];
    for (int i = 0; i < rank; ++i)
        repeats[i] = 1;
    repeats[at] = hone_load_i64(tiles->dtype, tiles->data, 0);
    hone_value *v = hone_graph_const_i64(a->g, "repeats", repeats, rank);
    if (!v)
        return adapt_no_memory(a);
    a->n->n_in = 2;
    a->n->in[1] = v;
    return HONE_OK;
}

static hone_status floats_input(hone_adapt *a, int i, const float *v, int n) {
    hone_tensor *t = HONE_NEW(a->g->arena, hone_tensor);
    float *copy = HONE_NEW_ARRAY(a->g->arena, float, n);
    if (!t || !copy)
        return adapt_no_memory(a);
    for (int k = 0; k < n; ++k)
        copy[k] = v[k];
    int64_t dims[1] = {n};
    *t = hone_tensor_view(HONE_DTYPE_F32, 1, dims, copy);
    hone_value *c = hone_graph_constant(a->g, "scales", t);
    return c ? adapt_set_input(a, i, c) : adapt_no_memory(a);
}

/* Which neighbour Resize-10 takes: the lower one, but the upper one where it shrinks (as the test
 * data of that version and ONNX Runtime have it). */
static const char *old_nearest(const hone_adapt *a) {
    const hone_tensor *t = constant_input(a, 1);
    bool shrinks = false, grows = false;
    for (int64_t i = 0; t && t->dtype == HONE_DTYPE_F32 && i < hone_tensor_count(t); ++i) {
        shrinks = shrinks || hone_load_f64(t->dtype, t->data, i) < 1.0;
        grows = grows || hone_load_f64(t->dtype, t->data, i) > 1.0;
    }
    return shrinks && grows ? NULL : shrinks ? "ceil" : "floor";
}

/* Resize-10 and Upsample take the scales as input 1 and sample at x / scale. */
static hone_status old_sampling(hone_adapt *a) {
    const char *mode = hone_attr_string(a->n, "mode", "nearest");
    if (strcmp(mode, "bilinear") == 0)
        mode = "linear";
    bool nearest = strcmp(mode, "nearest") == 0;
    const char *side = nearest ? old_nearest(a) : "floor";
    if (!side)
        return adapt_fail(a, HONE_E_UNSUPPORTED, "nearest, growing and shrinking at once");
    hone_graph *g = a->g;
    if (!hone_attr_set_string(g, a->n, "mode", mode) ||
        !hone_attr_set_string(g, a->n, "coordinate_transformation_mode", "asymmetric") ||
        !hone_attr_set_string(g, a->n, "nearest_mode", side))
        return adapt_no_memory(a);
    return HONE_OK;
}

static hone_status scales_to_third(hone_adapt *a) {
    if (a->n->n_in != 2)
        return HONE_OK; /* infer tells what is wrong */
    hone_value *scales = a->n->in[1];
    HONE_TRY(adapt_set_input(a, 2, scales));
    a->n->in[1] = NULL;
    return HONE_OK;
}

hone_status adapt_upsample(hone_adapt *a) {
    hone_node *n = a->n;
    const float *list;
    int count = hone_attr_floats(n, "scales", &list);
    if (hone_attr_find(n, "height_scale")) {
        float scales[4] = {1, 1, hone_attr_float(n, "height_scale", 1),
                           hone_attr_float(n, "width_scale", 1)};
        hone_attr_remove(n, "height_scale");
        hone_attr_remove(n, "width_scale");
        HONE_TRY(floats_input(a, 1, scales, 4));
    } else if (count) {
        HONE_TRY(floats_input(a, 1, list, count));
        hone_attr_remove(n, "scales");
    }
    HONE_TRY(old_sampling(a));
    HONE_TRY(scales_to_third(a));
    return adapt_rename(a, "Resize");
}

hone_status adapt_resize10(hone_adapt *a) {
    HONE_TRY(old_sampling(a));
    return scales_to_third(a);
}

/* Resize-11 needs roi and scales; empty tensors stand for omitted ones. */
hone_status adapt_resize12(hone_adapt *a) {
    for (int i = 1; i < a->n->n_in && i <= 2; ++i) {
        const hone_tensor *t = constant_input(a, i);
        if (t && hone_tensor_count(t) == 0)
            a->n->in[i] = NULL;
    }
    return HONE_OK;
}
