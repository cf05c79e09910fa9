/* Everything wrong with a model file, all at once. */
#ifndef HONE_ENGINE_CHECK_H
#define HONE_ENGINE_CHECK_H

#include "ir/graph.h"

typedef enum hone_severity {
    HONE_NOTE,    /* worth knowing */
    HONE_WARNING, /* odd, but the model runs */
    HONE_ERROR,   /* the model cannot run */
} hone_severity;

typedef struct hone_finding {
    hone_severity severity;
    const char *reason; /* a code: "unsupported-operator", ... */
    const char *node;   /* name of a node, "" for the model */
    const char *op;     /* "" for the model */
    const char *message;
    const char *cure; /* what to do */
} hone_finding;

/* Strings live in the arena. */
typedef struct hone_findings {
    hone_arena arena;
    hone_finding *item;
    int n, cap;
    int n_errors, n_warnings;
} hone_findings;

/** Check an ONNX or TensorFlow Lite file, or the structure and checksums of an engine file. HONE_OK when the check could be made, whatever it found; the findings go
 * with hone_findings_free in any case. */
HONE_NODISCARD hone_status hone_check_file(const char *path, hone_findings *out, hone_error *err);
void hone_findings_free(hone_findings *findings);

/* For the parts of the check. */
/** False when out of memory. Strings are copied, but for `reason` and `cure`. */
bool hone_findings_add(hone_findings *f, hone_severity severity, const char *reason,
                       const char *node, const char *op, const char *cure, const char *format, ...)
    HONE_PRINTF(7, 8);
/** Names in the file that nothing defines or that are defined twice (check_names.c). */
void hone_check_names(const uint8_t *bytes, size_t n, hone_findings *f);

#endif
