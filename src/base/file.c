/* Files: mapping and atomic writing (POSIX). */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 16 };

static const uint8_t empty_file[1];

hone_status hone_file_map_open(const char *path, hone_file_map *out, hone_error *err) {
    *out = (hone_file_map){empty_file, 0};
    /* O_NONBLOCK: opening a FIFO must not hang; regular files ignore it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return hone_fail(err, HONE_E_IO, "cannot open %s: %s", path, strerror(errno));
    struct stat st;
    hone_status status = HONE_OK;
    if (fstat(fd, &st) != 0) {
        status = hone_fail(err, HONE_E_IO, "cannot read %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = hone_fail(err, HONE_E_IO, "%s is not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            status = hone_fail(err, HONE_E_IO, "cannot map %s: %s", path, strerror(errno));
        else
            *out = (hone_file_map){p, (size_t)st.st_size};
    }
    close(fd);
    return status;
}

bool hone_file_map_has(const hone_file_map *f, const void *data, size_t n) {
    uintptr_t begin = (uintptr_t)f->data, at = (uintptr_t)data;
    return f->n_bytes && at >= begin && at - begin <= f->n_bytes && n <= f->n_bytes - (at - begin);
}

void hone_file_map_forget(const hone_file_map *f, const void *data, size_t n) {
    if (!hone_file_map_has(f, data, n) || n == 0)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)data / page * page, end = (uintptr_t)data + n;
    union {
        uintptr_t number;
        void *m;
    } p = {begin};
    (void)madvise(p.m, end - begin, MADV_DONTNEED);
}

void hone_file_map_close(hone_file_map *f) {
    if (f->n_bytes) {
        union {
            const uint8_t *c;
            void *m;
        } p = {f->data};
        munmap(p.m, f->n_bytes);
    }
    *f = (hone_file_map){NULL, 0};
}

static void drop(hone_file_writer *w) {
    free(w->path);
    free(w->temporary);
    free(w->buffer);
    *w = (hone_file_writer){.fd = -1};
}

hone_status hone_file_begin(hone_file_writer *w, const char *path, hone_error *err) {
    size_t n = strlen(path);
    *w = (hone_file_writer){.fd = -1,
                            .path = malloc(n + 1),
                            .temporary = malloc(n + 16),
                            .buffer = malloc(BUFFER_BYTES)};
    if (!w->path || !w->temporary || !w->buffer) {
        drop(w);
        return hone_fail(err, HONE_E_NOMEM, "out of memory while writing %s", path);
    }
    memcpy(w->path, path, n + 1);
    snprintf(w->temporary, n + 16, "%s.XXXXXX", path);
    w->fd = mkostemp(w->temporary, O_CLOEXEC);
    if (w->fd < 0) {
        hone_status status =
            hone_fail(err, HONE_E_IO, "cannot write %s: %s", path, strerror(errno));
        drop(w);
        return status;
    }
    /* mkstemp makes private files; give the usual permissions of a new file. */
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(w->fd, 0666 & ~mask);
    return HONE_OK;
}

static hone_status write_all(hone_file_writer *w, const uint8_t *p, size_t n, hone_error *err) {
    while (n) {
        ssize_t done = write(w->fd, p, n < (1u << 30) ? n : (1u << 30));
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return hone_fail(err, HONE_E_IO, "cannot write %s: %s", w->path, strerror(errno));
        p += done;
        n -= (size_t)done;
    }
    return HONE_OK;
}

hone_status hone_file_put(hone_file_writer *w, const void *bytes, size_t n, hone_error *err) {
    if (n <= BUFFER_BYTES - w->n_buffered) {
        if (n)
            memcpy(w->buffer + w->n_buffered, bytes, n);
        w->n_buffered += n;
        return HONE_OK;
    }
    HONE_TRY(write_all(w, w->buffer, w->n_buffered, err));
    w->n_buffered = 0;
    if (n >= BUFFER_BYTES)
        return write_all(w, bytes, n, err);
    memcpy(w->buffer, bytes, n);
    w->n_buffered = n;
    return HONE_OK;
}

/* So that the rename itself survives a power failure. */
static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(folder);
}

hone_status hone_file_flush(hone_file_writer *w, hone_error *err) {
    hone_status status = write_all(w, w->buffer, w->n_buffered, err);
    w->n_buffered = 0;
    return status;
}

hone_status hone_file_commit(hone_file_writer *w, hone_error *err) {
    hone_status status = hone_file_flush(w, err);
    if (status == HONE_OK && fsync(w->fd) != 0)
        status = hone_fail(err, HONE_E_IO, "cannot write %s: %s", w->path, strerror(errno));
    if (status == HONE_OK && rename(w->temporary, w->path) != 0)
        status = hone_fail(err, HONE_E_IO, "cannot rename to %s: %s", w->path, strerror(errno));
    if (status != HONE_OK) {
        hone_file_abort(w);
        return status;
    }
    sync_folder(w->path);
    close(w->fd);
    drop(w);
    return HONE_OK;
}

void hone_file_abort(hone_file_writer *w) {
    if (w->fd < 0)
        return;
    close(w->fd);
    unlink(w->temporary);
    drop(w);
}

hone_status hone_file_write(const char *path, const void *bytes, size_t n, hone_error *err) {
    hone_file_writer w;
    HONE_TRY(hone_file_begin(&w, path, err));
    hone_status status = hone_file_put(&w, bytes, n, err);
    if (status == HONE_OK)
        return hone_file_commit(&w, err);
    hone_file_abort(&w);
    return status;
}
