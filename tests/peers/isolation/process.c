/* The process itself: its rights, what it inherited, and what it shares with the machine. */
#include "facts.h"

#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

extern char **environ;

static void tell_status(void) {
    static const char *const wanted[] = {
        "Umask",  "Tgid",   "PPid",   "TracerPid", "Uid",    "Gid",        "Groups",  "NStgid",          "SigPnd",
        "ShdPnd", "SigBlk", "SigIgn", "SigCgt",    "CapInh", "CapPrm",     "CapEff",  "CapBnd",          "CapAmb",
        "NoNewPrivs", "Seccomp", "Seccomp_filters", "Speculation_Store_Bypass", "SpeculationIndirectBranch",
        "THP_enabled", "CoreDumping", "Threads", NULL};
    char line[4096];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        *value++ = 0;
        value[strcspn(value, "\n")] = 0;
        for (int i = 0; wanted[i]; i++)
            if (strcmp(line, wanted[i]) == 0) {
                char name[64];
                snprintf(name, sizeof name, "status/%s", line);
                for (char *c = value; *c; c++)
                    if (*c == '\t')
                        *c = ' ';
                fact(name, "%s", value + strspn(value, " "));
            }
    }
    if (file)
        fclose(file);
}

static void tell_control(void) {
    int number = 0;
    fact("prctl/securebits", "%d", prctl(PR_GET_SECUREBITS));
    fact("prctl/keepcaps", "%d", prctl(PR_GET_KEEPCAPS));
    fact("prctl/dumpable", "%d", prctl(PR_GET_DUMPABLE));
    prctl(PR_GET_PDEATHSIG, &number);
    fact("prctl/pdeathsig", "%d", number);
    prctl(PR_GET_CHILD_SUBREAPER, &number);
    fact("prctl/child_subreaper", "%d", number);
    fact("prctl/timerslack", "%d", prctl(PR_GET_TIMERSLACK));
    fact("prctl/thp_disable", "%d", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    fact("prctl/mce_kill", "%d", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    fact("prctl/io_flusher", "%d", prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) > 0);
    fact("process/personality", "%x", (unsigned)personality(0xffffffff));
    fact("process/secure_exec", "%lu", getauxval(AT_SECURE));
    fact("process/nice", "%d", getpriority(PRIO_PROCESS, 0));
    fact("process/scheduler", "%ld", syscall(SYS_sched_getscheduler, 0));
    fact("process/io_priority", "%ld", syscall(SYS_ioprio_get, 1, 0));
    fact("process/session_leader", "%d", getsid(0) == getpid());
    fact("process/group_leader", "%d", getpgrp() == getpid());
    char path[4096];
    fact("process/directory", "%s", getcwd(path, sizeof path));
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    fact("process/terminal", "%s", outcome(tty));
    if (tty >= 0)
        close(tty);
}

static void tell_file(const char *name, const char *path) {
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (size < 0) {
        fact(name, "%s", strerrorname_np(errno));
    } else {
        char joined[8192], *to = joined;
        text[size] = 0;
        for (char *c = text; *c; c++) { /* blanks of any length are one, lines are parted by a semicolon */
            if (*c == '\n') {
                if (c[1])
                    *to++ = ';';
            } else if (*c == ' ' || *c == '\t') {
                if (to > joined && to[-1] != ' ' && to[-1] != ';')
                    *to++ = ' ';
            } else {
                *to++ = *c;
            }
        }
        *to = 0;
        fact(name, "%s", joined);
    }
    if (fd >= 0)
        close(fd);
}

static void tell_inherited(void) {
    for (char **variable = environ; *variable; variable++) {
        char name[128];
        int length = (int)strcspn(*variable, "=");
        snprintf(name, sizeof name, "environment/%.*s", length, *variable);
        fact(name, "%s", *variable + length + 1);
    }
    for (int fd = 0; fd < 1024; fd++) {
        char name[64], link[64], path[4096];
        struct stat status;
        if (fstat(fd, &status) != 0)
            continue;
        snprintf(name, sizeof name, "descriptor/%d", fd);
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, path, sizeof path - 1);
        path[size < 0 ? 0 : size] = 0;
        path[strcspn(path, "[")] = 0; /* the number of a pipe */
        fact(name, "%s %s", path, fcntl(fd, F_GETFL) & O_WRONLY ? "w" : fcntl(fd, F_GETFL) & O_RDWR ? "rw" : "r");
    }
    static const char *const limits[] = {"cpu",     "fsize",   "data",       "stack",    "core",  "rss",
                                         "nproc",   "nofile",  "memlock",    "as",       "locks", "sigpending",
                                         "msgqueue", "nice",   "rtprio",     "rttime"};
    for (int i = 0; i < 16; i++) {
        struct rlimit limit;
        char name[64];
        snprintf(name, sizeof name, "limit/%s", limits[i]);
        getrlimit(i, &limit);
        fact(name, "%lld %lld", (long long)limit.rlim_cur, (long long)limit.rlim_max);
    }
}

/* Which numbers a range has is the machine's affair. */
static void tell_map(const char *name, const char *path) {
    unsigned inside, outside, count;
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%u %u %u", &inside, &outside, &count) != 3)
        fact(name, "unreadable");
    else
        fact(name, "%s", inside == outside && count == 4294967295U ? "every number is itself" : "numbers of a range");
    if (file)
        fclose(file);
}

static void tell_namespaces(char **outside) {
    for (; *outside; outside++) {
        char name[64], link[64], target[64];
        int length = (int)strcspn(*outside, "=");
        snprintf(name, sizeof name, "namespace/%.*s", length, *outside);
        snprintf(link, sizeof link, "/proc/self/ns/%.*s", length, *outside);
        ssize_t size = readlink(link, target, sizeof target - 1);
        target[size < 0 ? 0 : size] = 0;
        fact(name, "%s", size < 0 ? "missing" : strcmp(target, *outside + length + 1) ? "new" : "shared");
    }
    struct utsname names;
    uname(&names);
    fact("namespace/host name", "%s", names.nodename);
    fact("namespace/domain name", "%s", names.domainname);
    int processes = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));)
        processes += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
    if (proc)
        closedir(proc);
    fact("namespace/processes", "%d", processes);
    tell_map("namespace/uid map", "/proc/self/uid_map");
    tell_map("namespace/gid map", "/proc/self/gid_map");
    tell_file("namespace/setgroups", "/proc/self/setgroups");
    tell_file("namespace/time offsets", "/proc/self/timens_offsets");
    struct ifaddrs *addresses = NULL;
    getifaddrs(&addresses);
    for (struct ifaddrs *one = addresses; one; one = one->ifa_next) {
        char name[64];
        if (one->ifa_addr == NULL || one->ifa_addr->sa_family == AF_PACKET) {
            snprintf(name, sizeof name, "network/%s", one->ifa_name);
            fact(name, "%s%s", one->ifa_flags & IFF_UP ? "up" : "down", one->ifa_flags & IFF_LOOPBACK ? " loopback" : "");
        }
    }
    freeifaddrs(addresses);
}

void tell_process(char **namespaces) {
    tell_inherited(); /* first: before this program opens anything */
    tell_status();
    tell_control();
    tell_namespaces(namespaces);
    static const char *const own[] = {"oom_score_adj", "coredump_filter", "loginuid", "sessionid", "attr/current",
                                      "timerslack_ns"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        char name[64], path[64];
        snprintf(name, sizeof name, "process/%s", own[i]);
        snprintf(path, sizeof path, "/proc/self/%s", own[i]);
        tell_file(name, path);
    }
    static const char *const values[] = {
        "kernel/shmmax", "kernel/shmall", "kernel/shmmni", "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni",
        "kernel/sem", "kernel/shm_rmid_forced", "fs/mqueue/msg_max", "fs/mqueue/msgsize_max", "fs/mqueue/queues_max",
        "net/ipv4/ip_forward", "net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range",
        "net/ipv4/ip_local_port_range", "net/ipv4/ip_default_ttl", "net/ipv4/conf/all/route_localnet",
        "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/all/accept_redirects", "net/ipv4/tcp_syncookies",
        "net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/all/forwarding", "net/core/somaxconn"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char name[128], path[128];
        snprintf(name, sizeof name, "sysctl/%s", values[i]);
        snprintf(path, sizeof path, "/proc/sys/%s", values[i]);
        tell_file(name, path);
    }
    static const char *const files[] = {"/etc/hosts", "/etc/hostname", "/.dockerenv"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[128];
        snprintf(name, sizeof name, "content%s", files[i]);
        tell_file(name, files[i]);
    }
}
