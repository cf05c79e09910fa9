/* How many threads a process may run at once. */
#ifndef HONE_BASE_THREADS_H
#define HONE_BASE_THREADS_H

enum { HONE_MAX_THREADS = 256 };

/** CPUs this process may use: the least of affinity, cgroup quota and CPUs online; at least 1. */
int hone_default_threads(void);
/** CPUs that the process's cgroups (v1 and v2) grant, a fraction rounded up: one and a half CPUs
 * keep two threads busier than one. 0: no quota. `root` is put before /proc and /sys; "" outside of
 * tests. */
int hone_quota_threads(const char *root);

#endif
