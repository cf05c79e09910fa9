/* Affinity by sched_getaffinity(2); quotas as the kernel's documentation of cgroups describes them:
 * cpu.max in version 2, cpu.cfs_quota_us and cpu.cfs_period_us in version 1. */
#include "base/threads.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PATH = 1024 };

/* The first line of a file; false when there is none. */
static bool read_line(const char *path, char *text, int size) {
    FILE *f = fopen(path, "r");
    bool ok = f && fgets(text, size, f) != NULL;
    if (f)
        fclose(f);
    return ok;
}

/* CPUs, rounded up; 0 for "max", -1 and nonsense. */
static int cpus_of(long long quota, long long period) {
    if (quota <= 0 || period <= 0)
        return 0;
    long long n = quota / period + (quota % period != 0);
    return n < HONE_MAX_THREADS ? (int)n : HONE_MAX_THREADS;
}

/* "max 100000" or "150000 100000". */
static int quota_v2(const char *folder) {
    char path[MAX_PATH], text[64], *rest;
    if (snprintf(path, sizeof path, "%s/cpu.max", folder) >= MAX_PATH ||
        !read_line(path, text, sizeof text))
        return 0;
    long long quota = strtoll(text, &rest, 10);
    return cpus_of(quota, strtoll(rest, NULL, 10));
}

static int quota_v1(const char *folder) {
    char path[MAX_PATH], quota[64], period[64];
    if (snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder) >= MAX_PATH ||
        !read_line(path, quota, sizeof quota) ||
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder) >= MAX_PATH ||
        !read_line(path, period, sizeof period))
        return 0;
    return cpus_of(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static int tighter(int a, int b) {
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* The quotas of `mount``group` and all groups above it: each limits what lies below. A container
 * may see a group's path without seeing its folder; then only the mount's own files count. */
static int tightest(const char *mount, char *group, int (*quota)(const char *folder)) {
    int least = 0;
    for (;;) {
        char folder[MAX_PATH];
        if (snprintf(folder, sizeof folder, "%s%s", mount, group) < MAX_PATH)
            least = tighter(least, quota(folder));
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Is "cpu" one of the comma-separated names? */
static bool names_cpu(const char *list, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t len = strcspn(list + i, ",:");
        if (len == 3 && memcmp(list + i, "cpu", 3) == 0)
            return true;
        i += len + 1;
    }
    return false;
}

/* A line of /proc/self/cgroup: "0::/group" in version 2, "4:cpu,cpuacct:/group" in version 1. */
static int quota_of_line(const char *root, char *line) {
    char mount[MAX_PATH];
    char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
    if (!group)
        return 0;
    *group++ = '\0';
    *names++ = '\0';
    group[strcspn(group, "\n")] = '\0';
    if (names[0] == '\0') {
        int n = snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
        return n < MAX_PATH ? tightest(mount, group, quota_v2) : 0;
    }
    if (!names_cpu(names, strlen(names)))
        return 0;
    int n = snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, names);
    if (n >= MAX_PATH || access(mount, F_OK) != 0)
        n = snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/cpu", root);
    return n < MAX_PATH ? tightest(mount, group, quota_v1) : 0;
}

int hone_quota_threads(const char *root) {
    char path[MAX_PATH], line[MAX_PATH];
    if (snprintf(path, sizeof path, "%s/proc/self/cgroup", root) >= MAX_PATH)
        return 0;
    int least = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        least = tighter(least, quota_of_line(root, line));
    if (f)
        fclose(f);
    return least;
}

int hone_default_threads(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < n)
        n = CPU_COUNT(&set);
    int quota = hone_quota_threads("");
    if (quota > 0 && quota < n)
        n = quota;
    return n < 1 ? 1 : n > HONE_MAX_THREADS ? HONE_MAX_THREADS : (int)n;
}
