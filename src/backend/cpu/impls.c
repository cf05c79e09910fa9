#include "backend/cpu/impls.h"

#include <string.h>

#define IMPL(op, kernel, prepare, run)                                                             \
    hone_status hone_prepare_##prepare(hone_prepare_ctx *c, void **state);                         \
    hone_status hone_run_##run(hone_op_ctx *c);
#include "backend/cpu/impls.def"
#undef IMPL

static const struct {
    const char *op;
    hone_impl impl;
} impls[] = {
#define IMPL(op, kernel, prepare, run) {#op, {#kernel, hone_prepare_##prepare, hone_run_##run}},
#include "backend/cpu/impls.def"
#undef IMPL
};
enum { N_IMPLS = sizeof impls / sizeof impls[0] };

const hone_impl *hone_impl_find(const char *name) {
    for (int i = 0; i < N_IMPLS; ++i) {
        if (strcmp(impls[i].impl.name, name) == 0)
            return &impls[i].impl;
    }
    return NULL;
}

const hone_impl *hone_impl_for(const hone_node *n) {
    bool is_lowered = strcmp(n->domain, "hone") == 0;
    if (n->domain[0] != '\0' && !is_lowered && strcmp(n->domain, "ai.onnx.ml") != 0)
        return NULL;
    for (int i = 0; i < N_IMPLS; ++i) {
        const char *op = impls[i].op;
        bool is_row_lowered = strncmp(op, "hone_", 5) == 0;
        if (is_row_lowered == is_lowered && strcmp(op + (is_lowered ? 5 : 0), n->op_name) == 0)
            return &impls[i].impl;
    }
    return NULL;
}
