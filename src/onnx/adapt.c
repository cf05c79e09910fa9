/* The table of adapters and the walk that applies them.
 *
 * The rows follow the version histories of onnx.defs; versions that only added types or attributes
 * whose default is the old behaviour need no row. */
#include "onnx/adapt.h"

#include <string.h>

enum { ALWAYS = 1000 };       /* in the column of versions */
enum { GRADIENT_OPSET = 18 }; /* has the forms that src/onnx/derivatives.c uses */

static hone_status axes_input(hone_adapt *a) {
    return adapt_ints_to_input(a, "axes", 1);
}

static hone_status shape_input(hone_adapt *a) {
    return adapt_ints_to_input(a, "shape", 1);
}

static hone_status k_input(hone_adapt *a) {
    return adapt_ints_to_input(a, "k", 1);
}

/* DFT-17: the axis is an attribute with another default than DFT-20's input. */
static hone_status dft_axis(hone_adapt *a) {
    int64_t axis = hone_attr_int(a->n, "axis", 1);
    hone_attr_remove(a->n, "axis");
    return adapt_int_input(a, 2, axis);
}

static hone_status concat_axis(hone_adapt *a) {
    int64_t axis = hone_attr_int(a->n, "axis", 1);
    return hone_attr_set_int(a->g, a->n, "axis", axis) ? HONE_OK : adapt_no_memory(a);
}

static hone_status drop_broadcast(hone_adapt *a) {
    hone_attr_remove(a->n, "broadcast"); /* of Gemm: its C always broadcasts from version 7 on */
    return HONE_OK;
}

static hone_status drop_output_sequence(hone_adapt *a) {
    hone_attr_remove(a->n, "output_sequence"); /* the output is there or not */
    return HONE_OK;
}

/* GRU-1 spelled its default "foward". */
static hone_status gru_direction(hone_adapt *a) {
    if (strcmp(hone_attr_string(a->n, "direction", ""), "foward") == 0)
        hone_attr_remove(a->n, "direction");
    return HONE_OK;
}

hone_status adapt_grid_sample(hone_adapt *a) {
    const char *mode = hone_attr_string(a->n, "mode", "bilinear");
    const char *now = strcmp(mode, "bilinear") == 0  ? "linear"
                      : strcmp(mode, "bicubic") == 0 ? "cubic"
                                                     : mode;
    return hone_attr_set_string(a->g, a->n, "mode", now) ? HONE_OK : adapt_no_memory(a);
}

static hone_status roi_align_mode(hone_adapt *a) {
    return hone_attr_set_string(a->g, a->n, "coordinate_transformation_mode", "output_half_pixel")
               ? HONE_OK
               : adapt_no_memory(a);
}

static hone_status scatter_rename(hone_adapt *a) {
    return adapt_rename(a, "ScatterElements");
}

static hone_status scan8(hone_adapt *a) {
    return hone_attr_set_int(a->g, a->n, "hone_scan8", 1) ? HONE_OK : adapt_no_memory(a);
}

/* Applied in this order, so that a very old form may take several steps. */
static const hone_adapt_row rows[] = {
    {"Add", 6, adapt_broadcast},
    {"Sub", 6, adapt_broadcast},
    {"Mul", 6, adapt_broadcast},
    {"Div", 6, adapt_broadcast},
    {"Pow", 6, adapt_broadcast},
    {"And", 6, adapt_broadcast},
    {"Or", 6, adapt_broadcast},
    {"Xor", 6, adapt_broadcast},
    {"Equal", 6, adapt_broadcast},
    {"Greater", 6, adapt_broadcast},
    {"Less", 6, adapt_broadcast},
    {"PRelu", 6, adapt_prelu},
    {"Gemm", 6, drop_broadcast},
    {"BatchNormalization", 13, adapt_batch_norm},
    {"GroupNormalization", 20, adapt_group_norm},
    {"Dropout", 11, adapt_dropout},
    {"Softmax", 12, adapt_softmax},
    {"LogSoftmax", 12, adapt_softmax},
    {"Hardmax", 12, adapt_softmax},
    {"Cast", 5, adapt_cast},
    {"Clip", 10, adapt_clip},
    {"Selu", 5, adapt_selu},
    {"LpPool", 1, adapt_p_to_int},
    {"GlobalLpPool", 1, adapt_p_to_int},
    {"Concat", 3, concat_axis},
    {"Pad", 1, adapt_pad_names},
    {"Pad", 10, adapt_pad},
    {"Slice", 9, adapt_slice},
    {"Split", 1, adapt_split_input},
    {"Split", 12, adapt_split_attr},
    {"Split", 17, adapt_split_count},
    {"Squeeze", 12, axes_input},
    {"Unsqueeze", 12, axes_input},
    {"ReduceSum", 12, axes_input},
    {"ReduceL1", 17, axes_input},
    {"ReduceL2", 17, axes_input},
    {"ReduceLogSum", 17, axes_input},
    {"ReduceLogSumExp", 17, axes_input},
    {"ReduceMax", 17, axes_input},
    {"ReduceMean", 17, axes_input},
    {"ReduceMin", 17, axes_input},
    {"ReduceProd", 17, axes_input},
    {"ReduceSumSquare", 17, axes_input},
    {"Reshape", 4, shape_input},
    {"Tile", 5, adapt_tile},
    {"TopK", 9, k_input},
    {"Upsample", 10, adapt_upsample},
    {"Resize", 10, adapt_resize10},
    {"Resize", 12, adapt_resize12},
    {"RoiAlign", 15, roi_align_mode},
    {"GridSample", 19, adapt_grid_sample},
    {"DFT", 19, dft_axis},
    {"Scatter", ALWAYS, scatter_rename},
    {"Scan", 8, scan8},
    {"RNN", 6, drop_output_sequence},
    {"GRU", 2, gru_direction},
    {"GRU", 6, drop_output_sequence},
    {"LSTM", 6, drop_output_sequence},
};

static const hone_adapt_row ml_rows[] = {{"LabelEncoder", 1, adapt_label_encoder}};

/* The writer must not go below the version that brought the new form. */
static void raise_opset(hone_graph *g, int opset) {
    while (g->parent)
        g = g->parent;
    if (g->opset < opset)
        g->opset = opset;
}

static hone_status apply_rows(hone_adapt *a, const hone_adapt_row *list, size_t n) {
    const char *op = a->n->op_name;
    for (size_t i = 0; i < n; ++i) {
        if (a->version > list[i].up_to || strcmp(list[i].op, op) != 0)
            continue;
        HONE_TRY(list[i].fn(a));
        if (a->n->domain[0] == '\0' && list[i].up_to < ALWAYS)
            raise_opset(a->g, list[i].up_to + 1);
    }
    return HONE_OK;
}

static hone_status apply_contrib(hone_adapt *a) {
    int n;
    const hone_contrib_row *list = hone_contrib_rows(&n);
    for (int i = 0; i < n; ++i) {
        if (strcmp(list[i].op, a->n->op_name) != 0)
            continue;
        HONE_TRY(list[i].fn(a));
        raise_opset(a->g, list[i].opset);
        return HONE_OK;
    }
    return HONE_OK;
}

static hone_status adapt_node(hone_adapt *a) {
    a->version = a->n->opset;
    a->n->opset = 0;
    if (a->version == 0)
        return HONE_OK;
    if (strcmp(a->n->domain, "ai.onnx.ml") == 0)
        return apply_rows(a, ml_rows, sizeof ml_rows / sizeof ml_rows[0]);
    if (strcmp(a->n->domain, "com.microsoft") == 0)
        return apply_contrib(a);
    if (strcmp(a->n->domain, "ai.onnx.preview.training") == 0 &&
        strcmp(a->n->op_name, "Gradient") == 0) {
        raise_opset(a->g, GRADIENT_OPSET);
        return adapt_gradient(a);
    }
    if (a->n->domain[0] != '\0')
        return HONE_OK;
    if (a->version <= 5)
        hone_attr_remove(a->n, "consumed_inputs");
    return apply_rows(a, rows, sizeof rows / sizeof rows[0]);
}

static hone_status adapt_graph(const hone_adapt *outer, hone_graph *g);

static hone_status adapt_subgraphs(hone_adapt *a) {
    const hone_node *n = a->n;
    hone_infer_enter(a->n);
    for (int i = 0; i < n->n_attrs; ++i) {
        const hone_attr *attr = &n->attrs[i];
        if (attr->kind == HONE_ATTR_GRAPH)
            HONE_TRY(adapt_graph(a, attr->g));
        for (int k = 0; attr->kind == HONE_ATTR_GRAPHS && k < attr->n; ++k)
            HONE_TRY(adapt_graph(a, attr->graphs[k]));
    }
    return HONE_OK;
}

static hone_status adapt_and_emit(hone_adapt *a) {
    hone_status status = adapt_node(a);
    if (status != HONE_OK)
        return hone_fail_node(a->err, status, a->n->name, a->n->op_name);
    HONE_TRY(adapt_subgraphs(a));
    return adapt_emit(a, a->n);
}

static hone_status keep_failed(hone_adapt *a) {
    a->report(a->report_arg, a->g, a->n, a->err);
    return HONE_PUSH(a->g->arena, a->nodes, a->n_nodes, a->cap_nodes, a->n) ? HONE_OK
                                                                            : adapt_no_memory(a);
}

static hone_status adapt_graph(const hone_adapt *outer, hone_graph *g) {
    hone_adapt a = {
        .g = g, .report = outer->report, .report_arg = outer->report_arg, .err = outer->err};
    for (int i = 0; i < g->n_nodes; ++i) {
        a.n = g->nodes[i];
        hone_status status = adapt_and_emit(&a);
        if (status != HONE_OK && status != HONE_E_NOMEM && a.report)
            status = keep_failed(&a);
        HONE_TRY(status);
    }
    g->nodes = a.nodes;
    g->n_nodes = a.n_nodes;
    g->cap_nodes = a.cap_nodes;
    return HONE_OK;
}

hone_status hone_onnx_adapt(hone_graph *g, hone_error *err) {
    return adapt_graph(&(hone_adapt){.err = err}, g);
}

hone_status hone_onnx_adapt_all(hone_graph *g, hone_adapt_report report, void *arg,
                                hone_error *err) {
    hone_error failure = {.offset = -1}; /* the reports need one in any case */
    hone_adapt a = {.report = report, .report_arg = arg, .err = &failure};
    hone_status status = adapt_graph(&a, g);
    if (status != HONE_OK && err)
        *err = failure;
    return status;
}
