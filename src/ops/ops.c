/* The operator table, made from ops.def, and look-up in it. */
#include <stdlib.h>
#include <string.h>

#include "ir/op.h"

#define DOMAIN_ONNX ""
#define DOMAIN_ML "ai.onnx.ml"
#define DOMAIN_MS "com.microsoft"
#define DOMAIN_PREVIEW "ai.onnx.preview"
#define DOMAIN_TRAINING "ai.onnx.preview.training"
#define DOMAIN_HONE "hone"
#define DOMAIN_TFL "ai.hone"

#define OP(domain, name, since, min_in, max_in, min_out, max_out, types, flags, infer, run)        \
    hone_status hone_infer_##infer(hone_infer_ctx *c);                                             \
    hone_status hone_ref_##run(hone_op_ctx *c);
#include "ops/ops.def"
#undef OP



static const hone_op_def op_table[] = {
#define OP(domain, name, since, min_in, max_in, min_out, max_out, types, flags, infer, run)        \
    {DOMAIN_##domain, #name, since,   min_in, max_in,                                              \
     min_out,         max_out, types, flags,  hone_infer_##infer,                                  \
     hone_ref_##run},
#include "ops/ops.def"
#undef OP
    {"", "", 0, 0, 0, 0, 0, 0, 0, NULL, NULL},
};

const hone_op_def *hone_op_table(int *n) {
    *n = (int)(sizeof op_table / sizeof op_table[0]) - 1;
    return op_table;
}

const hone_op_def *hone_op_find(const char *domain, const char *name) {
    if (strcmp(domain, "ai.onnx") == 0)
        domain = "";
    /* A linear walk: some 300 string compares a node, microseconds in all at import. */
    int n;
    const hone_op_def *ops = hone_op_table(&n);
    for (int i = 0; i < n; ++i) {
        if (strcmp(ops[i].name, name) == 0 && strcmp(ops[i].domain, domain) == 0)
            return &ops[i];
    }
    return NULL;
}
