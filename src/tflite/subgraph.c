#include "tflite/subgraph.h"

#include "tflite/convert_graph.h"

int tfl_same_as(tfl_legal *l, const tfl_model *other, int tensor) {
    if (tensor < 0 || l->is_out_of_memory)
        return -1;
    tfl_tensor t = other->tensors[tensor];
    int own = tfl_temp(l, t.type, t.rank, t.dims);
    if (own >= 0)
        l->model.tensors[own].quant = t.quant;
    return own;
}

bool tfl_subgraph_enter(tfl_legal *l, tfl_legal *inner, hone_graph *g, const char *name, int n_in,
                        int n_out) {
    *inner = (tfl_legal){.model = {.arena = l->model.arena, .name = name},
                         .file = l->file,
                         .graph = g,
                         .is_fp16 = l->is_fp16,
                         .findings = l->findings};
    inner->model.inputs = tfl_alloc(inner, (size_t)n_in + 1, sizeof *inner->model.inputs);
    inner->model.outputs = tfl_alloc(inner, (size_t)n_out + 1, sizeof *inner->model.outputs);
    inner->model.n_inputs = n_in;
    inner->model.n_outputs = n_out;
    if (g && !inner->is_out_of_memory)
        tfl_graph_begin(inner);
    l->is_out_of_memory |= inner->is_out_of_memory;
    return !inner->is_out_of_memory;
}

int tfl_subgraph_leave(tfl_legal *l, tfl_legal *inner) {
    if (!inner->is_out_of_memory && inner->findings->n_errors == 0)
        tfl_graph_finish(inner);
    l->is_out_of_memory |= inner->is_out_of_memory;
    tfl_model *m = l->is_out_of_memory || l->findings->n_errors ? NULL : tfl_alloc(l, 1, sizeof *m);
    if (!m)
        return -1;
    *m = inner->model;
    const tfl_model *made = m;
    if (!HONE_PUSH(m->arena, l->file->called, l->file->n_called, l->file->cap_called, made)) {
        l->is_out_of_memory = true;
        return -1;
    }
    return l->file->n_called;
}

void tfl_call(tfl_legal *l, int code, const int *in, int n_in, const int *out, int n_out,
              const int *graphs) {
    if (l->is_out_of_memory)
        return;
    tfl_operator *op = tfl_model_operator(&l->model, code, in, n_in, out, n_out);
    if (!op)
        l->is_out_of_memory = true;
    tfl_option_i32(op, 0, graphs[0]);
    tfl_option_i32(op, 1, graphs[1]);
}
