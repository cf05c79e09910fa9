/* Threads by affinity and cgroup quota, against made-up /proc and /sys trees. */
#include "base/threads.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

static char root[64];

/* Write a file of the tree, with the folders that it lies in. */
static void put(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; ++at) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0);
    if (f)
        fclose(f);
}

static void clear(void) {
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'/proc '%s'/sys", root, root);
    CHECK(system(command) == 0);
}

static void check_v2(const char *max, int expected) {
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cpu.max", max);
    CHECK(hone_quota_threads(root) == expected);
}

static void check_v1(const char *quota, int expected) {
    clear();
    put("/proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/\n");
    put("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", quota);
    put("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
    CHECK(hone_quota_threads(root) == expected);
}

static void check_groups(void) {
    /* The tightest group on the way up counts. */
    clear();
    put("/proc/self/cgroup", "0::/pod/container\n");
    put("/sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/pod/cpu.max", "300000 100000\n");
    CHECK(hone_quota_threads(root) == 3);
    put("/sys/fs/cgroup/pod/container/cpu.max", "50000 100000\n");
    CHECK(hone_quota_threads(root) == 1);
    /* Version 1 as seen from inside a container: the group's folder is the mount itself. */
    clear();
    put("/proc/self/cgroup", "2:cpuacct:/docker/abc\n1:cpu:/docker/abc\n0::/\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(hone_quota_threads(root) == 3);
}

static void check_affinity(void) {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    int n = hone_default_threads();
    CHECK(n >= 1 && n <= CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (size_t i = 0; i < (size_t)CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    }
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(hone_default_threads() == 1);
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    CHECK(hone_default_threads() == n);
}

int main(void) {
    strcpy(root, "/tmp/hone-threads-XXXXXX");
    if (!mkdtemp(root))
        return 1;
    CHECK(hone_quota_threads(root) == 0); /* nothing there */
    check_v2("max 100000\n", 0);
    check_v2("200000 100000\n", 2);
    check_v2("150000 100000\n", 2);
    check_v2("5000 100000\n", 1);
    check_v2("9223372036854775807 1\n", HONE_MAX_THREADS);
    check_v2("-5 100000\n", 0);
    check_v2("100000 0\n", 0);
    check_v2("", 0);
    check_v1("-1\n", 0);
    check_v1("150000\n", 2);
    check_v1("400000\n", 4);
    check_groups();
    check_affinity();
    clear();
    CHECK(remove(root) == 0);
    return CHECK_RESULT();
}
