/* External tensor data: files beside the model, mapped once each. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "onnx/tensor_read.h"

struct external_file {
    struct external_file *next;
    const char *location;
    hone_file_map file;
};

static void unmap(void *arg) {
    struct external_file *e = arg;
    hone_file_map_close(&e->file);
}

/* Relative, and no component is "..". */
static bool is_safe(const char *path) {
    if (path[0] == '\0' || path[0] == '/')
        return false;
    for (const char *p = path; p;) {
        const char *slash = strchr(p, '/');
        size_t n = slash ? (size_t)(slash - p) : strlen(p);
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return false;
        p = slash ? slash + 1 : NULL;
    }
    return true;
}

/* Symbolic links may point anywhere: what counts is where the path ends up. Returns the resolved
 * path (to be freed) or NULL. */
static char *resolve_inside(const char *dir, const char *path) {
    char *root = realpath(dir[0] ? dir : ".", NULL);
    char *real = realpath(path, NULL);
    size_t n = root ? strlen(root) : 0;
    bool inside = root && real && strncmp(real, root, n) == 0 &&
                  (real[n] == '/' || (n == 1 && root[0] == '/'));
    free(root);
    if (!inside) {
        free(real);
        return NULL;
    }
    return real;
}

static hone_status map_new(hone_onnx_source *s, hone_pb *at, const char *location,
                           struct external_file **out) {
    const char *dir = s->dir[0] ? s->dir : ".";
    struct external_file *e = HONE_NEW(s->arena, struct external_file);
    char *joined = hone_arena_printf(s->arena, "%s/%s", dir, location);
    if (!e || !joined)
        return hone_pb_fail(at, HONE_E_NOMEM, "out of memory");
    char *real = resolve_inside(dir, joined);
    if (!real)
        return hone_pb_fail(at, HONE_E_IO, "external data file '%s' is missing or outside '%s'",
                            location, dir);
    hone_error why = {0};
    hone_status status = hone_file_map_open(real, &e->file, &why);
    free(real);
    if (status != HONE_OK)
        return hone_pb_fail(at, status, "external data: %s", why.message);
    e->location = location;
    if (!hone_arena_defer(s->arena, unmap, e)) {
        hone_file_map_close(&e->file);
        return hone_pb_fail(at, HONE_E_NOMEM, "out of memory");
    }
    e->next = s->files;
    s->files = e;
    *out = e;
    return HONE_OK;
}

hone_status hone_onnx_external(hone_onnx_source *s, hone_pb *at, hone_string location,
                               const uint8_t **bytes, size_t *n) {
    if (!s->dir)
        return hone_pb_fail(at, HONE_E_UNSUPPORTED,
                            "external tensor data in a model that was not loaded from a file");
    if (location.len == 0 || location.len > 4000 || memchr(location.data, '\0', location.len))
        return hone_pb_fail(at, HONE_E_FORMAT, "bad location of external data");
    struct external_file *e = s->files;
    while (e && !(strlen(e->location) == location.len &&
                  memcmp(e->location, location.data, location.len) == 0))
        e = e->next;
    if (!e) {
        const char *name = hone_arena_strdup(s->arena, location.data, location.len);
        if (!name)
            return hone_pb_fail(at, HONE_E_NOMEM, "out of memory");
        if (!is_safe(name))
            return hone_pb_fail(at, HONE_E_FORMAT,
                                "external data location '%s' must be a path inside the model's "
                                "folder",
                                name);
        HONE_TRY(map_new(s, at, name, &e));
    }
    *bytes = e->file.data;
    *n = e->file.n_bytes;
    return HONE_OK;
}
