#include "ir/findings.h"

#include <stdio.h>
#include <string.h>

bool hone_findings_add(hone_findings *f, hone_severity severity, const char *reason,
                       const char *node, const char *op, const char *cure, const char *format,
                       ...) {
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hone_finding found = {.severity = severity,
                          .reason = reason,
                          .node = hone_arena_strdup(&f->arena, node, strlen(node)),
                          .op = hone_arena_strdup(&f->arena, op, strlen(op)),
                          .message = hone_arena_strdup(&f->arena, text, strlen(text)),
                          .cure = cure};
    if (!found.node || !found.op || !found.message ||
        !HONE_PUSH(&f->arena, f->item, f->n, f->cap, found))
        return false;
    f->n_errors += severity == HONE_ERROR;
    f->n_warnings += severity == HONE_WARNING;
    return true;
}

void hone_findings_free(hone_findings *f) {
    hone_arena_deinit(&f->arena);
    *f = (hone_findings){.n = 0};
}

const char *hone_node_label(const hone_node *n) {
    if (n->name[0])
        return n->name;
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i])
            return n->out[i]->name;
    }
    return "";
}
