/* Values that are other values seen through strides: chains of transposes, reshapes, gathers of one
 * index and the like, which a kernel that takes strides need not have made. */
#ifndef HONE_BACKEND_CPU_VIEW_H
#define HONE_BACKEND_CPU_VIEW_H

#include "ir/graph.h"

typedef struct hone_view {
    hone_value *base;
    int rank;
    int64_t offset; /* elements of base, as the strides */
    int64_t dims[HONE_MAX_RANK], stride[HONE_MAX_RANK];
} hone_view;

/** v as a view of the value farthest up that it is one of; at worst of itself. False when its type
 * is not static. */
bool hone_view_trace(hone_value *v, hone_view *view);

#endif
