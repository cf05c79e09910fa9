#include "ir/eval.h"

#include <stdint.h>

hone_status hone_eval_alloc(hone_op_ctx *c, hone_type *types, hone_arena *temp) {
    hone_type *in = types, *out = types + c->n_in;
    for (int i = 0; i < c->n_in; ++i)
        in[i] = c->in[i] ? hone_type_of(c->in[i]) : (hone_type){.kind = HONE_KIND_NONE, .rank = -1};
    for (int i = 0; i < c->n_out; ++i)
        out[i] = (hone_type){.kind = HONE_KIND_NONE, .rank = -1};
    hone_infer_ctx ic = {
        .node = c->node,
        .n_in = c->n_in,
        .n_out = c->n_out,
        .in = in,
        .value = c->in,
        .out = out,
        .arena = temp,
        .err = c->err,
    };
    hone_status status = hone_op_infer(&ic);
    if (status != HONE_OK)
        return hone_fail_node(c->err, status, c->node->name, c->node->op_name);
    for (int i = 0; i < c->n_out; ++i) {
        if (!c->out[i])
            continue;
        *c->out[i] = (hone_tensor){.kind = HONE_KIND_NONE};
        if (hone_type_is_static(&out[i])) {
            HONE_TRY(hone_op_alloc(c, i, out[i].dtype, out[i].rank, out[i].dims));
        } else if (!(c->node->op->flags & HONE_OP_DYNAMIC)) {
            char text[160];
            return hone_op_fail(c, HONE_E_UNSUPPORTED,
                                "the type of output %d could not be worked out (%s)", i,
                                hone_type_describe(NULL, &out[i], text, sizeof text));
        }
    }
    return HONE_OK;
}

/* A host for nodes that run outside an executor: scratch from an arena, no subgraphs. */
static void *eval_scratch(hone_op_ctx *c, size_t bytes) {
    char *p = hone_arena_alloc(c->frame, bytes + 64);
    return p ? p + (64 - (uintptr_t)p % 64) % 64 : NULL;
}

static hone_status eval_run_graph(hone_op_ctx *c, const hone_graph *g, const hone_tensor *const *in,
                                  int n_in, hone_tensor *out, int n_out) {
    (void)g, (void)in, (void)n_in, (void)out, (void)n_out;
    return hone_op_fail(c, HONE_E_UNSUPPORTED, "control flow is not evaluated here");
}

static const hone_op_host eval_host = {.run_graph = eval_run_graph, .scratch = eval_scratch};

static hone_status eval_in(const hone_node *node, const hone_tensor *const *in,
                           hone_tensor *const *out, hone_alloc *alloc, hone_arena *temp,
                           hone_error *err) {
    hone_op_ctx c = {
        .node = node,
        .n_in = node->n_in,
        .n_out = node->n_out,
        .in = in,
        .out = out,
        .alloc = alloc,
        .host = &eval_host,
        .frame = temp,
        .err = err,
    };
    hone_type *types = HONE_NEW_ARRAY(temp, hone_type, node->n_in + node->n_out);
    if (!types)
        return hone_op_fail(&c, HONE_E_NOMEM, "no memory to evaluate the node");
    HONE_TRY(hone_eval_alloc(&c, types, temp));
    return node->op->run(&c);
}

hone_status hone_eval_node(const hone_node *node, const hone_tensor *const *in, hone_tensor *out,
                           hone_alloc *alloc, hone_error *err) {
    if (!node->op || node->op->flags & (HONE_OP_RANDOM | HONE_OP_CONTROL))
        return hone_fail(err, HONE_E_UNSUPPORTED, "the node cannot be evaluated ahead of a run");
    hone_arena temp;
    hone_arena_init(&temp, 0);
    hone_tensor **outs = HONE_NEW_ARRAY(&temp, hone_tensor *, node->n_out);
    hone_status status = outs ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory for a node");
    for (int i = 0; i < node->n_out; ++i)
        out[i] = (hone_tensor){.kind = HONE_KIND_NONE};
    for (int i = 0; outs && i < node->n_out; ++i)
        outs[i] = node->out[i] ? &out[i] : NULL;
    if (status == HONE_OK)
        status = eval_in(node, in, outs, alloc, &temp, err);
    if (status != HONE_OK) {
        for (int i = 0; i < node->n_out; ++i)
            hone_tensor_release(&out[i]);
    }
    hone_arena_deinit(&temp);
    return status;
}
