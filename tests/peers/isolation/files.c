/* The files that the kernel and the engine put into a root: mounts, devices, and what of /proc and /sys is covered. */
#include "facts.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

enum { MOST = 256 };

/* The mount in sight on each place: flags of the mount, kind, and those of the file system that matter. */
static void tell_mounts(void) {
    static char targets[MOST][256], values[MOST][1024];
    int count = 0;
    char line[8192];
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file && fgets(line, sizeof line, file) && count < MOST) {
        char root[4096], target[4096], flags[512], kind[64], source[4096], options[4096];
        char *rest = strstr(line, " - ");
        if (!rest || sscanf(line, "%*d %*d %*s %4095s %4095s %511s", root, target, flags) != 3 ||
            sscanf(rest, " - %63s %4095s %4095s", kind, source, options) != 3)
            continue;
        const char *propagation = strstr(line, " shared:") ? " shared" : strstr(line, " master:") ? " slave" : "";
        char kept[256] = "";
        for (char *option = strtok(options, ","); option; option = strtok(NULL, ","))
            if (!strcmp(option, "ro") || !strcmp(option, "rw") || !strncmp(option, "mode=", 5) ||
                !strncmp(option, "size=", 5) || !strncmp(option, "ptmxmode=", 9) ||
                (!strncmp(option, "gid=", 4) && !strcmp(kind, "devpts"))) {
                /* what of a file system of the machine's is only its own affair */
                if (strcmp(kind, "overlay") && strcmp(kind, "devtmpfs")) {
                    strcat(kept, " ");
                    strcat(kept, option);
                }
            }
        int at = 0;
        while (at < count && strcmp(targets[at], target))
            at++;
        if (at == count)
            snprintf(targets[count++], 256, "%.255s", target);
        /* a bind of a file may come from any file system of the machine */
        int bound = strcmp(root, "/") != 0 && strncmp(target, "/proc", 5) && strncmp(target, "/sys", 4);
        snprintf(values[at], sizeof values[at], "%s %s%s%s", flags, bound ? "bind" : kind, bound ? "" : kept, propagation);
    }
    if (file)
        fclose(file);
    int nodes = 0;
    for (int i = 0; i < count; i++) {
        struct stat status;
        char name[300];
        if (!strncmp(targets[i], "/dev/", 5) && stat(targets[i], &status) == 0 && S_ISCHR(status.st_mode)) {
            nodes++;
            continue;
        }
        snprintf(name, sizeof name, "mount%s", targets[i]);
        fact(name, "%s", values[i]);
    }
    fact("mount/devices", "%s", nodes ? "bound" : "made");
}

static void tell_names(const char *path) {
    char name[256], joined[8192] = "";
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++)
        if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, "..")) {
            strcat(joined, " ");
            strcat(joined, entries[i]->d_name);
        }
    snprintf(name, sizeof name, "names%s", path);
    fact(name, "%s", count < 0 ? strerrorname_np(errno) : joined + (*joined == ' '));
}

static const char *tried(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return strerrorname_np(errno);
    close(fd);
    return "ok";
}

static void tell_device(const char *path) {
    char name[256], target[256];
    struct stat status;
    snprintf(name, sizeof name, "device%s", path);
    if (lstat(path, &status) != 0) {
        fact(name, "%s", strerrorname_np(errno));
    } else if (S_ISLNK(status.st_mode)) {
        ssize_t size = readlink(path, target, sizeof target - 1);
        target[size < 0 ? 0 : size] = 0;
        fact(name, "link to %s", target);
    } else if (S_ISDIR(status.st_mode)) {
        fact(name, "directory %o %u:%u", status.st_mode & 07777, status.st_uid, status.st_gid);
    } else {
        fact(name, "%o %u:%u device %u:%u", status.st_mode, status.st_uid, status.st_gid, major(status.st_rdev),
             minor(status.st_rdev));
        snprintf(name, sizeof name, "device%s read", path);
        fact(name, "%s", tried(path, O_RDONLY));
        snprintf(name, sizeof name, "device%s write", path);
        fact(name, "%s", tried(path, O_WRONLY));
    }
}

/* Whether a path is there, what reading it gives, and whether it can be written to. */
static void tell_access(const char *path) {
    char name[256], byte[16];
    struct stat status;
    snprintf(name, sizeof name, "path%s", path);
    if (stat(path, &status) != 0) {
        fact(name, "%s", strerrorname_np(errno));
        return;
    }
    if (S_ISDIR(status.st_mode)) {
        int count = 0;
        DIR *directory = opendir(path);
        for (struct dirent *entry; directory && (entry = readdir(directory));)
            count += entry->d_name[0] != '.';
        const char *made = directory ? count ? "filled" : "empty" : strerrorname_np(errno);
        if (directory)
            closedir(directory);
        char inside[300];
        snprintf(inside, sizeof inside, "%s/pybuild-probe", path);
        if (strncmp(path, "/sys/fs/cgroup/", 15) == 0) /* a root of a hierarchy has another mode than the rest of it */
            fact(name, "directory %s", made);
        else
            fact(name, "directory %o %s", status.st_mode & 07777, made);
        snprintf(name, sizeof name, "path%s make", path);
        const char *result = outcome(mkdir(inside, 0700));
        fact(name, "%s", result);
        rmdir(inside);
        return;
    }
    const char *read_result = tried(path, O_RDONLY);
    if (!strcmp(read_result, "ok")) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        ssize_t size = read(fd, byte, sizeof byte);
        read_result = size > 0 ? "filled" : size == 0 ? "empty" : strerrorname_np(errno);
        close(fd);
    }
    fact(name, "%s %o %s", S_ISCHR(status.st_mode) ? "device" : "file", status.st_mode & 07777, read_result);
    snprintf(name, sizeof name, "path%s write", path);
    fact(name, "%s", tried(path, O_WRONLY));
}

static void tell_cgroups(void) {
    char line[4096];
    const char *shown = "none";
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *path = strchr(strchr(line, ':') + 1, ':') + 1;
        if (strcmp(path, "/\n"))
            shown = "paths of the machine";
        else if (!strcmp(shown, "none"))
            shown = "the root";
    }
    if (file)
        fclose(file);
    fact("cgroup/shown", "%s", shown);
}

void tell_files(void) {
    tell_names("/");
    tell_names("/dev");
    tell_names("/sys/fs/cgroup");
    static const char *const devices[] = {
        "/dev", "/dev/console", "/dev/core", "/dev/fd", "/dev/full", "/dev/fuse", "/dev/kmsg", "/dev/loop0", "/dev/mem",
        "/dev/mqueue", "/dev/net", "/dev/null", "/dev/ptmx", "/dev/pts", "/dev/pts/ptmx", "/dev/pts/0", "/dev/random",
        "/dev/shm", "/dev/stderr", "/dev/stdin", "/dev/stdout", "/dev/tty", "/dev/urandom", "/dev/zero"};
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        tell_device(devices[i]);
    static const char *const paths[] = {
        "/proc/acpi", "/proc/asound", "/proc/bus", "/proc/cmdline", "/proc/config.gz", "/proc/diskstats", "/proc/fs",
        "/proc/interrupts", "/proc/iomem", "/proc/ioports", "/proc/irq", "/proc/kallsyms", "/proc/kcore",
        "/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags",
        "/proc/latency_stats", "/proc/mdstat", "/proc/modules", "/proc/mtrr", "/proc/partitions", "/proc/pressure",
        "/proc/sched_debug", "/proc/scsi", "/proc/self/mem", "/proc/slabinfo", "/proc/swaps", "/proc/sys",
        "/proc/sysrq-trigger", "/proc/sysvipc", "/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo",
        "/sys", "/sys/block", "/sys/bus", "/sys/class/net", "/sys/dev/block", "/sys/devices",
        "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs", "/sys/fs/bpf", "/sys/fs/cgroup",
        "/sys/fs/cgroup/devices", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified",
        "/sys/fs/pstore", "/sys/kernel", "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing",
        "/sys/module", "/sys/power", "/sys/power/state", "/sys/kernel/uevent_helper", "/sys/kernel/vmcoreinfo",
        "/proc/sys/fs/binfmt_misc", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/fs/file-max",
        "/proc/sys/fs/mqueue/msg_max", "/proc/sys/fs/suid_dumpable", "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/domainname", "/proc/sys/kernel/hostname", "/proc/sys/kernel/hotplug",
        "/proc/sys/kernel/kexec_load_disabled", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/msgmax",
        "/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/panic", "/proc/sys/kernel/pid_max",
        "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/sem", "/proc/sys/kernel/shmmax",
        "/proc/sys/kernel/sysrq", "/proc/sys/net/core/somaxconn", "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/net/ipv4/ping_group_range",
        "/proc/sys/user/max_user_namespaces", "/proc/sys/vm/drop_caches", "/proc/sys/vm/overcommit_memory",
        "/etc", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev", "/dev/shm", "/dev/mqueue", "/", "/tmp"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        tell_access(paths[i]);
    struct statvfs shared;
    statvfs("/dev/shm", &shared);
    fact("size/dev/shm", "%llu", (unsigned long long)shared.f_blocks * shared.f_frsize);
    tell_cgroups();
    tell_mounts();
}
