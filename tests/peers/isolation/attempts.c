/* What the kernel says to one who tries: each attempt in a process of its own, so that none changes the next. */
#include "facts.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>

typedef long (*Attempt)(void);

static const char *const FILE_OF_OURS = "/tmp/pybuild-probe";

static long mount_tmpfs(void) { return mount("none", "/tmp", "tmpfs", 0, NULL); }
static long mount_proc(void) { return mount("proc", "/tmp", "proc", 0, NULL); }
static long bind_root(void) { return mount("/", "/tmp", NULL, MS_BIND, NULL); }
static long remount_sys(void) { return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL); }
static long share_root(void) { return mount(NULL, "/", NULL, MS_SHARED, NULL); }
static long unmount_proc(void) { return umount2("/proc", MNT_DETACH); }
static long pivot(void) { return syscall(SYS_pivot_root, "/", "/tmp"); }
static long chroot_tmp(void) { return chroot("/tmp"); }
static long new_user(void) { return unshare(CLONE_NEWUSER); }
static long new_mount(void) { return unshare(CLONE_NEWNS); }
static long new_network(void) { return unshare(CLONE_NEWNET); }
static long new_files(void) { return unshare(CLONE_FILES); }
static long join_own(void) { return setns(open("/proc/self/ns/uts", O_RDONLY), 0); }
static long name_host(void) { return sethostname("x", 1); }
static long name_domain(void) { return setdomainname("x", 1); }
static long set_clock(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return settimeofday(&now, NULL);
}
static long raise_files(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_max++;
    return setrlimit(RLIMIT_NOFILE, &limit);
}
static long lower_nice(void) { return setpriority(PRIO_PROCESS, 0, -5); }
static long real_time(void) {
    struct sched_param parameter = {.sched_priority = 1};
    return sched_setscheduler(0, SCHED_FIFO, &parameter);
}
static long lock_memory(void) {
    static char page[4096];
    return mlock(page, sizeof page);
}
static long chown_file(void) { return chown(FILE_OF_OURS, 1000, 1000); }
static long chmod_setuid(void) { return chmod(FILE_OF_OURS, 04755); }
static long groups_of_others(void) {
    gid_t groups[] = {5, 10};
    return syscall(SYS_setgroups, 2, groups);
}
static long become_other(void) { return setresuid(1000, 1000, 1000); }
static long become_root(void) { return setresuid(0, 0, 0); }
static long bind_port(int family, int type, int protocol, int port) {
    int fd = socket(family, type, protocol);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof address);
}
static long low_port(void) { return bind_port(AF_INET, SOCK_STREAM, 0, 80); }
static long high_port(void) { return bind_port(AF_INET, SOCK_STREAM, 0, 8080); }
static long raw_socket(void) { return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static long ping_socket(void) { return socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP); }
static long packet_socket(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static long netlink_audit(void) { return socket(AF_NETLINK, SOCK_RAW, 9); }
static long set_interface_down(void) {
    struct { char name[16]; short flags; char rest[22]; } request = {"lo", 0, ""};
    return ioctl(socket(AF_INET, SOCK_DGRAM, 0), 0x8914, &request);
}
static long trace_child(void) {
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    long result = ptrace(PTRACE_SEIZE, child, 0, 0);
    int error = errno;
    kill(child, SIGKILL);
    errno = error;
    return result;
}
static long capability_on_file(void) {
    struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};
    data.data[0].permitted = 1 << CAP_NET_RAW;
    return setxattr(FILE_OF_OURS, "security.capability", &data, XATTR_CAPS_SZ_2, 0);
}
static long trusted_attribute(void) { return setxattr(FILE_OF_OURS, "trusted.x", "1", 1, 0); }
static long user_attribute(void) { return setxattr(FILE_OF_OURS, "user.x", "1", 1, 0); }
static long immutable_file(void) {
    int flags = FS_IMMUTABLE_FL;
    return ioctl(open(FILE_OF_OURS, O_RDONLY), FS_IOC_SETFLAGS, &flags);
}
static long by_handle(void) {
    struct { struct file_handle head; char data[128]; } handle = {.head.handle_bytes = 128};
    int mount_id;
    if (name_to_handle_at(AT_FDCWD, "/tmp", &handle.head, &mount_id, 0) != 0)
        return open_by_handle_at(AT_FDCWD, &handle.head, O_RDONLY);
    return open_by_handle_at(open("/", O_RDONLY), &handle.head, O_RDONLY);
}
static long type_for_others(void) { return ioctl(0, TIOCSTI, "x"); }
static long read_kernel_log(void) { return syscall(SYS_syslog, 3, "", 0); }
static long key_of_session(void) { return syscall(SYS_keyctl, 0, -3, 0); }
static long add_key(void) { return syscall(SYS_add_key, "user", "probe", "x", 1, -2); }
static long drop_from_bounding(void) { return syscall(SYS_prctl, 24, 0, 0, 0, 0); }
static long lock_securebits(void) { return syscall(SYS_prctl, 28, 0x2f, 0, 0, 0); }
static long load_module(void) { return syscall(SYS_init_module, "", 0, ""); }
static long put_key_in(void) { return open("/proc/sysrq-trigger", O_WRONLY); }
static long executable_memory(void) {
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}
static long large_pages(void) {
    return mmap(NULL, 1 << 21, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0) == MAP_FAILED ? -1 : 0;
}
static long lower_oom(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    return fd < 0 ? -1 : write(fd, "-500", 4);
}
static long remove_root_file(void) { return unlink("/etc/pybuild-probe"); }

static const struct { const char *name; Attempt try; } attempts[] = {
    {"mount a tmpfs", mount_tmpfs}, {"mount /proc again", mount_proc}, {"bind the root", bind_root},
    {"make /proc/sys writable", remount_sys}, {"share the root's mounts", share_root}, {"unmount /proc", unmount_proc},
    {"pivot_root", pivot}, {"chroot", chroot_tmp}, {"a user namespace", new_user}, {"a mount namespace", new_mount},
    {"a network namespace", new_network}, {"descriptors of its own", new_files}, {"join a namespace", join_own},
    {"set the host name", name_host}, {"set the domain name", name_domain}, {"set the clock", set_clock},
    {"raise a hard limit", raise_files}, {"nice below 0", lower_nice}, {"real-time scheduling", real_time},
    {"lock a page", lock_memory}, {"give a file away", chown_file}, {"make a file set-uid", chmod_setuid},
    {"take other groups", groups_of_others}, {"become 1000", become_other}, {"become root", become_root},
    {"bind port 80", low_port}, {"bind port 8080", high_port}, {"a raw socket", raw_socket},
    {"a ping socket", ping_socket}, {"a packet socket", packet_socket}, {"an audit socket", netlink_audit},
    {"set lo down", set_interface_down}, {"trace a child", trace_child}, {"a file capability", capability_on_file},
    {"a trusted attribute", trusted_attribute}, {"a user attribute", user_attribute},
    {"make a file immutable", immutable_file}, {"open by handle", by_handle}, {"type into the terminal", type_for_others},
    {"read the kernel's log", read_kernel_log}, {"the session's keyring", key_of_session}, {"add a key", add_key},
    {"drop from the bounding set", drop_from_bounding}, {"lock the securebits", lock_securebits},
    {"load a module", load_module}, {"press sysrq", put_key_in}, {"writable code", executable_memory},
    {"large pages", large_pages}, {"lower the OOM score", lower_oom}, {"remove in /etc", remove_root_file},
};

/* mknod, and whether what was made can be opened: without a device cgroup that would be the machine's disk. */
static void tell_nodes(void) {
    static const struct { const char *name; mode_t kind; unsigned major, minor; } nodes[] = {
        {"null", S_IFCHR, 1, 3},    {"mem", S_IFCHR, 1, 1},    {"kmsg", S_IFCHR, 1, 11}, {"tty0", S_IFCHR, 4, 0},
        {"console", S_IFCHR, 5, 1}, {"tun", S_IFCHR, 10, 200}, {"fuse", S_IFCHR, 10, 229}, {"loop0", S_IFBLK, 7, 0},
        {"whiteout", S_IFCHR, 0, 0}, {"fifo", S_IFIFO, 0, 0}};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        char name[64], path[64];
        snprintf(path, sizeof path, "/tmp/node-%s", nodes[i].name);
        snprintf(name, sizeof name, "node/%s make", nodes[i].name);
        long made = mknod(path, nodes[i].kind | 0600, makedev(nodes[i].major, nodes[i].minor));
        fact(name, "%s", outcome(made));
        snprintf(name, sizeof name, "node/%s open", nodes[i].name);
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        fact(name, "%s", outcome(fd));
        if (fd >= 0)
            close(fd);
        unlink(path);
    }
}

void tell_attempts(void) {
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        char name[128], text[64] = "";
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0)
            exit(3);
        pid_t child = fork();
        if (child == 0) {
            close(open(FILE_OF_OURS, O_WRONLY | O_CREAT, 0600));
            const char *result = outcome(attempts[i].try());
            ssize_t written = write(ends[1], result, strlen(result));
            _exit(written < 0);
        }
        close(ends[1]);
        ssize_t size = read(ends[0], text, sizeof text - 1);
        close(ends[0]);
        waitpid(child, NULL, 0);
        unlink(FILE_OF_OURS);
        snprintf(name, sizeof name, "attempt/%s", attempts[i].name);
        fact(name, "%s", size > 0 ? text : "died");
    }
    tell_nodes();
}
