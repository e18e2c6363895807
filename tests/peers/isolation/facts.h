/* A fact: a name, a tab, and what was seen. Facts are kept until all are known, so that telling one changes no other. */
#ifndef FACTS_H
#define FACTS_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern FILE *facts;

__attribute__((format(printf, 2, 3))) void fact(const char *name, const char *format, ...);
/* "ok", or the name of the error number that a call left. */
const char *outcome(long result);

void tell_process(char **namespaces); /* process.c: rights, limits, signals, descriptors, namespaces */
void tell_files(void);                /* files.c: mounts, devices, what is covered or read-only */
void tell_attempts(void);             /* attempts.c: what the kernel says to one who tries */
void tell_syscalls(void);             /* syscalls.c: the filter's answer to every number and to samples of arguments */

#endif
