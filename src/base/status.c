/* Status names and error filling. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const status_names[HONE_STATUS_COUNT] = {
    [HONE_OK] = "ok",
    [HONE_E_ARGUMENT] = "bad argument",
    [HONE_E_NOMEM] = "out of memory",
    [HONE_E_IO] = "input/output error",
    [HONE_E_FORMAT] = "malformed data",
    [HONE_E_TYPE] = "type conflict",
    [HONE_E_SHAPE] = "shape conflict",
    [HONE_E_UNSUPPORTED] = "not supported",
    [HONE_E_RUNTIME] = "run-time error",
    [HONE_E_MISMATCH] = "outputs differ",
    [HONE_E_VERSION] = "wrong version",
};

const char *hone_status_name(hone_status status) {
    if ((int)status < 0 || status >= HONE_STATUS_COUNT)
        return "unknown status";
    return status_names[status];
}

static void fill(hone_error *err, int64_t offset, hone_status code, const char *format,
                 va_list args) {
    if (!err)
        return;
    err->code = code;
    err->offset = offset;
    err->node[0] = '\0';
    err->op[0] = '\0';
    vsnprintf(err->message, sizeof err->message, format, args);
}

hone_status hone_fail(hone_error *err, hone_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fill(err, -1, code, format, args);
    va_end(args);
    return code;
}

hone_status hone_fail_at(hone_error *err, int64_t offset, hone_status code, const char *format,
                         ...) {
    va_list args;
    va_start(args, format);
    fill(err, offset, code, format, args);
    va_end(args);
    return code;
}

hone_status hone_fail_node(hone_error *err, hone_status code, const char *node, const char *op) {
    if (err && err->node[0] == '\0' && err->op[0] == '\0') {
        snprintf(err->node, sizeof err->node, "%s", node);
        snprintf(err->op, sizeof err->op, "%s", op);
    }
    return code;
}
