/* Element-wise operators of two and more operands, with broadcasting. */
#include <string.h>

#include "tflite/legal_ops.h"
#include "tflite/quant.h"

static const struct {
    const char *name;
    int code;
} codes[] = {
    {"Add", TFL_ADD},         {"Sum", TFL_ADD},
    {"Sub", TFL_SUB},         {"Mul", TFL_MUL},
    {"Div", TFL_DIV},         {"Pow", TFL_POW},
    {"Mod", TFL_FLOOR_MOD},   {"Max", TFL_MAXIMUM},
    {"Min", TFL_MINIMUM},     {"Equal", TFL_EQUAL},
    {"Greater", TFL_GREATER}, {"GreaterOrEqual", TFL_GREATER_EQUAL},
    {"Less", TFL_LESS},       {"LessOrEqual", TFL_LESS_EQUAL},
    {"And", TFL_LOGICAL_AND}, {"Or", TFL_LOGICAL_OR},
    {"Xor", TFL_NOT_EQUAL},
};

static int code_of(const char *name) {
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; ++i) {
        if (strcmp(codes[i].name, name) == 0)
            return codes[i].code;
    }
    return -1;
}

/* The order to work in: that of the first operand which has all dims. */
static void choose_order(tfl_legal *l, const hone_node *n, int *perm) {
    int rank = tfl_rank(n->out[0]);
    tfl_identity(rank, perm);
    for (int i = 0; i < n->n_in; ++i) {
        if (!tfl_contents(l, n->in[i]) && tfl_rank(n->in[i]) == rank) {
            tfl_order(l, n->in[i], perm);
            return;
        }
    }
}

/* Where all dims are in their place, lower ranks broadcast as they are. */
static int operand(tfl_legal *l, const hone_value *v, int rank, const int *perm) {
    return tfl_is_identity(perm, rank) ? tfl_take(l, v, NULL) : tfl_take_padded(l, v, rank, perm);
}

static bool has_code_activation(int code) {
    return code == TFL_ADD || code == TFL_SUB || code == TFL_MUL || code == TFL_DIV;
}

/* x * W + bias: the bias joins the product that was made without one. */
static bool join_bias(tfl_legal *l, const hone_node *n) {
    for (int i = 0; i < 2; ++i) {
        const hone_value *x = n->in[i], *b = n->in[1 - i];
        const tfl_form *f = l->forms[x->id];
        if (x->constant || !b->constant || !f || f->tensor < 0 || x->n_uses != 1)
            continue;
        const hone_tensor *t = b->constant;
        int at = l->model.tensors[f->tensor].producer;
        tfl_operator *op = at < 0 ? NULL : &l->model.operators[at];
        int rank = tfl_rank(x);
        if (!op || op->code != TFL_FULLY_CONNECTED || op->n_in != 3 || op->in[2] >= 0 || rank < 1 ||
            tfl_rank(n->out[0]) != rank || t->rank < 1 || t->rank > rank ||
            hone_tensor_count(t) != t->dims[t->rank - 1] ||
            t->dims[t->rank - 1] != x->type.dims[rank - 1] ||
            tfl_option_find(op, 0)->i != TFL_ACT_NONE)
            continue;
        int32_t dim = (int32_t)hone_tensor_count(t);
        bool is_quantised = l->model.tensors[f->tensor].quant.n != 0;
        int bias = is_quantised ? tfl_quant_bias(l, b, dim, op->in[0], op->in[1])
                                : tfl_const(l, TFL_F32, 1, &dim, tfl_floats(l, b));
        op = &l->model.operators[at];
        int in[3] = {op->in[0], op->in[1], bias};
        int *list = tfl_alloc(l, 3, sizeof *list);
        if (list)
            op->in = memcpy(list, in, sizeof in);
        l->model.tensors[f->tensor].name = n->out[0]->name; /* what it holds now */
        l->is_integer = is_quantised;
        tfl_alias(l, n->out[0], f->tensor, f->perm);
        return true;
    }
    return false;
}

/* The integers that LiteRT's kernels take for quantised numbers, or do not take. */
static uint32_t types_without_kernel(int code) {
    switch (code) {
    case TFL_MAXIMUM:
    case TFL_MINIMUM:
        return 0;
    case TFL_FLOOR_MOD:
        return HONE_T(U8);
    case TFL_SUB:
    case TFL_DIV:
        return HONE_T(I8) | HONE_T(U8) | HONE_T(I16);
    default:
        return HONE_T(I8) | HONE_T(U8);
    }
}

/* NULL: the types are possible. */
static const char *type_obstacle(const hone_node *n, int code) {
    if (hone_dtype_in(n->in[0]->type.dtype, types_without_kernel(code)))
        return "LiteRT takes integers of this type for quantised numbers";
    tfl_type first = (tfl_type)tfl_type_of(n->in[0]->type.dtype);
    if (code == TFL_POW && (first != (tfl_type)tfl_type_of(n->in[1]->type.dtype) ||
                            (first != TFL_F32 && first != TFL_I32)))
        return "LiteRT's powers are of two floats or two int32";
    return NULL;
}

void tfl_legal_binary(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->out[0]), code = code_of(n->op_name);
    const char *obstacle = type_obstacle(n, code);
    if (obstacle) {
        tfl_refuse(l, n, "unsupported-type",
                   "insert a Cast of the operands to float or int32 in the model", "%s", obstacle);
        return;
    }
    if (code == TFL_FLOOR_MOD && hone_attr_int(n, "fmod", 0)) {
        tfl_refuse(l, n, "unsupported-form", "use Mod with fmod 0",
                   "the remainder with the dividend's sign has no equivalent");
        return;
    }
    if (code == TFL_ADD && n->n_in == 2 && join_bias(l, n))
        return;
    choose_order(l, n, perm);
    int acc = operand(l, n->in[0], rank, perm);
    if (n->n_in == 1) {
        tfl_alias(l, n->out[0], acc, perm);
        return;
    }
    for (int i = 1; i < n->n_in; ++i) {
        int b = operand(l, n->in[i], rank, perm);
        int out = tfl_give(l, n->out[0], perm);
        if (i + 1 < n->n_in) { /* a result on the way: not yet the value */
            l->forms[n->out[0]->id] = NULL;
        }
        tfl_operator *op = tfl_op2(l, code, acc, b, out);
        if (has_code_activation(code))
            tfl_no_activation(op);
        acc = out;
    }
}

void tfl_legal_where(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], in[3], rank = tfl_rank(n->out[0]);
    choose_order(l, n, perm);
    for (int i = 0; i < 3; ++i)
        in[i] = operand(l, n->in[i], rank, perm);
    int out = tfl_give(l, n->out[0], perm);
    tfl_op(l, TFL_SELECT_V2, in, 3, out);
}

/* The slope has the dims of one sample. */
void tfl_legal_prelu(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->out[0]), kept = 0;
    int32_t dims[TFL_MAX_RANK];
    if (!tfl_contents(l, n->in[1]) || rank < 2) {
        tfl_refuse(l, n, "variable-weights", "export with a constant slope",
                   "the slope is no constant");
        return;
    }
    tfl_order(l, n->in[0], perm);
    if (perm[0] != 0)
        tfl_identity(rank, perm);
    int x = tfl_take(l, n->in[0], perm);
    int slope = tfl_take_padded(l, n->in[1], rank, perm);
    if (slope < 0)
        return;
    tfl_tensor t = l->model.tensors[slope];
    for (int i = t.rank == rank ? 1 : 0; i < t.rank; ++i)
        dims[kept++] = t.dims[i];
    if (!t.data || (t.rank == rank && t.dims[0] != 1)) {
        tfl_refuse(l, n, "unsupported-form", "use one slope per channel",
                   "a slope that depends on the sample has no equivalent");
        return;
    }
    slope = tfl_const(l, t.type, kept, dims, t.data);
    if (slope >= 0)
        l->model.tensors[slope].quant = t.quant;
    tfl_op2(l, TFL_PRELU, x, slope, tfl_give(l, n->out[0], perm));
}
