/* Concat of channels in front of a convolution whose kernel reads its input from two places: the
 * joined tensor is never made. */
#include <string.h>

#include "backend/cpu/fuse.h"
#include "backend/cpu/problem.h"

/* A Concat of two pictures' channels that only this convolution reads. */
static const hone_node *source_of(const hone_node *n) {
    const hone_value *x = n->in[HONE_IN_X];
    const hone_node *c = x ? x->producer : NULL;
    if (!c || c->domain[0] != '\0' || strcmp(c->op_name, "Concat") != 0 || c->n_in != 2 ||
        x->n_uses != 1 || !c->in[0] || !c->in[1])
        return NULL;
    int rank = c->in[0]->type.rank;
    int64_t axis = hone_attr_int(c, "axis", 0);
    bool fits = rank == 4 && c->in[1]->type.rank == rank && (axis == -1 || axis == rank - 1) &&
                c->in[0]->type.dtype == x->type.dtype && c->in[1]->type.dtype == x->type.dtype;
    return fits && c->in[0]->type.dims[3] > 0 && c->in[1]->type.dims[3] > 0 ? c : NULL;
}

/* Whether the kernel takes the problem in two parts, with the weights as they are packed. */
static bool takes_parts(const hone_conv_kernel *kernel, const hone_conv *whole,
                        const hone_node *concat) {
    hone_conv p = *whole;
    p.ldx = concat->in[0]->type.dims[3];
    p.ic2 = p.ldx2 = concat->in[1]->type.dims[3];
    return p.ldx + p.ic2 == p.ic && hone_conv_check(&p, NULL) == HONE_OK &&
           !hone_conv_refusal(kernel, &p) &&
           kernel->packed_bytes(&p) == kernel->packed_bytes(whole);
}

static hone_status take_parts(hone_graph *g, hone_node *n, const hone_node *concat,
                              hone_error *err) {
    hone_value **in = HONE_NEW_ARRAY(g->arena, hone_value *, HONE_IN_MORE + 1);
    if (!in || !hone_attr_set_int(g, n, "more_channels", concat->in[1]->type.dims[3]))
        return hone_fail(err, HONE_E_NOMEM, "no memory to lower Concat");
    memcpy(in, n->in, (size_t)n->n_in * sizeof *in);
    in[HONE_IN_X] = concat->in[0];
    in[HONE_IN_MORE] = concat->in[1];
    n->in = in;
    n->n_in = HONE_IN_MORE + 1;
    return HONE_OK;
}

hone_status hone_cpu_fuse_concat(hone_graph *g, hone_node *n, const hone_conv *p,
                                 const hone_conv_kernel *kernel, hone_error *err) {
    const hone_node *concat = hone_is_lowered(n, "Conv") ? source_of(n) : NULL;
    if (!concat || !takes_parts(kernel, p, concat))
        return HONE_OK;
    return take_parts(g, n, concat, err);
}
