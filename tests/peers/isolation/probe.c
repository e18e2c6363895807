/* What a container looks like from inside, a fact a line: `probe FILE NAME=LINK…`, with `-` for standard output.

   The links are those of the namespaces outside, so that a new one is told from one that is shared. `probe wait` only
   waits. It is linked statically: the image needs nothing else. */
#include "facts.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>

FILE *facts;

void fact(const char *name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(facts, "%s\t", name);
    vfprintf(facts, format, arguments);
    fputc('\n', facts);
    va_end(arguments);
}

const char *outcome(long result) {
    return result >= 0 ? "ok" : strerrorname_np(errno);
}

static void on_terminate(int number) {
    (void)number;
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "wait") == 0) {
        signal(SIGTERM, on_terminate);
        for (;;)
            pause();
    }
    if (argc < 2 || prctl(PR_GET_SECCOMP) != 2) {
        fputs("usage: probe FILE NAME=LINK…, in a container with a filter: what it tries would harm a machine\n", stderr);
        return 2;
    }
    char *text = NULL;
    size_t size = 0;
    facts = open_memstream(&text, &size);
    tell_process(argv + 2);
    tell_files();
    tell_attempts();
    tell_syscalls();
    fclose(facts);
    FILE *out = strcmp(argv[1], "-") == 0 ? stdout : fopen(argv[1], "w");
    if (out == NULL || fwrite(text, 1, size, out) != size || fclose(out) != 0) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
