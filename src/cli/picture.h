/* Graphs as pictures. */
#ifndef HONE_CLI_PICTURE_H
#define HONE_CLI_PICTURE_H

#include "ir/graph.h"

/** Write the graph, and below it the bodies of its control-flow nodes, to `path`, whose ending
 * decides: .dot (Graphviz) or .svg. */
HONE_NODISCARD hone_status cli_picture_write(const hone_graph *g, const char *path,
                                             hone_error *err);

#endif
