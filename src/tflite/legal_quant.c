/* QuantizeLinear and DequantizeLinear where they are no part of an operator on integers. */
#include <string.h>

#include "ir/eval.h"
#include "tflite/legal_ops.h"
#include "tflite/quant.h"

static const char *CURE_FORM =
    "quantise with constant scales, one for each tensor, or for each output channel of weights";

/* True: refused. */
static bool refuse_form(tfl_legal *l, const hone_node *n, const char *why) {
    if (why)
        tfl_refuse(l, n, "unsupported-form", CURE_FORM, "%s", why);
    return why != NULL;
}

/* Constants of types or with scales that the format does not have become floats. */
static void fold(tfl_legal *l, const hone_node *n) {
    const hone_tensor *in[3] = {NULL};
    hone_tensor out = {.kind = HONE_KIND_NONE}, *t = tfl_alloc(l, 1, sizeof *t);
    for (int i = 0; i < n->n_in && i < 3; ++i)
        in[i] = n->in[i] ? n->in[i]->constant : NULL;
    if (!t)
        return;
    if (hone_eval_node(n, in, &out, NULL, NULL) != HONE_OK) {
        refuse_form(l, n, "the scale or zero point is no constant, or does not fit");
        return;
    }
    void *data = tfl_alloc(l, hone_tensor_bytes(&out) + 1, 1);
    if (data) {
        memcpy(data, out.data, hone_tensor_bytes(&out));
        *t = hone_tensor_view(out.dtype, out.rank, out.dims, data);
        n->out[0]->constant = t;
    }
    hone_tensor_release(&out);
}

/* No operator: who reads the result takes what is stored, or asks for a DEQUANTIZE. */
void tfl_legal_dequantize(tfl_legal *l, const hone_node *n) {
    const hone_value *x = n->in[0], *y = n->out[0];
    tfl_stored s;
    const char *why = tfl_quant_of(l, n, &s);
    if (x->constant && (why || tfl_type_of(x->type.dtype) < 0)) {
        fold(l, n);
        return;
    }
    if (x->constant) {
        l->stored[y->id] = s;
        l->stored[y->id].in = y;
        return;
    }
    if (!why && s.quant.n != 1)
        why = "scales by channel are of constants";
    if (!why && l->stored[x->id].in &&
        (l->stored[x->id].quant.scale[0] != s.quant.scale[0] ||
         l->stored[x->id].quant.zero_point[0] != s.quant.zero_point[0]))
        why = "the same integers have another scale or zero point elsewhere";
    if (refuse_form(l, n, why))
        return;
    if (!l->stored[x->id].in) {
        tfl_refuse(l, n, "unsupported-type", "quantise to int8, uint8 or int16",
                   "DEQUANTIZE has no such integers");
        return;
    }
    l->stored[y->id] = l->stored[x->id];
}

/* What is stored with these parameters already is the result. */
static bool is_stored_so(tfl_legal *l, const hone_value *x, const tfl_stored *s) {
    const tfl_stored *have = &l->stored[x->id];
    return have->in && have->type == s->type && have->quant.n == 1 &&
           have->quant.scale[0] == s->quant.scale[0] &&
           have->quant.zero_point[0] == s->quant.zero_point[0];
}

void tfl_legal_quantize(tfl_legal *l, const hone_node *n) {
    const hone_value *x = n->in[0], *y = n->out[0];
    int perm[TFL_MAX_RANK];
    tfl_stored s;
    const char *why = tfl_quant_of(l, n, &s);
    if (!why && s.quant.n != 1)
        why = "scales by channel are of constants";
    if (refuse_form(l, n, why))
        return;
    l->is_integer = l->stored[x->id].in != NULL;
    tfl_order(l, x, perm);
    int in = tfl_take(l, x, perm);
    bool is_same = l->is_integer && is_stored_so(l, x, &s);
    tfl_quant_leave(l);
    if (in < 0)
        return;
    if (is_same) {
        if (l->model.tensors[in].producer >= 0 && x->n_uses == 1)
            l->model.tensors[in].name = y->name; /* what it holds now */
        tfl_alias(l, y, in, perm);
        return;
    }
    tfl_op1(l, TFL_QUANTIZE, in, tfl_give(l, y, perm));
}
