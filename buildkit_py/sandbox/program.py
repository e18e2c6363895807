"""Finding and starting the sandbox's program, with the exit codes of a shell: 127 not found, 126 not executable.

Until the exec, this process is this machine's Python interpreter, and
`/proc/self/exe` inside leads to its file. A program that is a link to it, or
a script with it as interpreter, would come to run with a handle on that file,
and could write to it (CVE-2019-5736). So whatever the exec would open is
looked at first, and a way through a magic link of /proc is refused.

Where somebody else may change a file between the look and the exec (a command
that joins a sandbox or stands on this machine's own root, or a program in a
directory of others that is mounted) no path is handed to the kernel that a
link could be behind, only descriptors of the very file that was looked at or
of its directory. By one that the exec closes no script is run (execveat(2)),
so scripts are taken apart here, as the kernel does it, and their interpreters
opened the same way. A program that is reached by a link is then called, in
/proc/PID/comm and by AT_EXECFN, what the link leads to.
"""

from __future__ import annotations

import os

from buildkit_py.sandbox import syscalls
from buildkit_py.sandbox.mounts import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, NOT_EXECUTABLE = 127, 126
_ENOENT, _E2BIG, _ENOEXEC, _EACCES, _ENOTDIR, _ELOOP = 2, 7, 8, 13, 20, 40
# What others may change before the exec: of the sandbox's root nothing, what is mounted in it, or all.
NOTHING, MOUNTS, EVERYTHING = range(3)
_MOST_INTERPRETERS = 5  # the kernel's limit for scripts of scripts
_SHEBANG_BYTES = 256  # the kernel's BINPRM_BUF_SIZE
_ELF = b"\x7fELF"


class Refused(Exception):
    """A program that leads through a magic link."""


class Program:
    """A command to start: its arguments, environment and where its name may be found.

    `interpreters` are the binfmt_misc interpreters that the kernel would look up inside. `changing` is what others may
    change before the exec: NOTHING, MOUNTS or EVERYTHING. `tell` hears the exit code where there is no exec, and why.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        env: dict[bytes, bytes],
        interpreters: tuple[bytes, ...],
        *,
        changing: int,
        tell: Callable[[int, str], None] = lambda code, why: None,
    ) -> None:
        self._argv = [encode(argument) for argument in argv]
        self._env = env
        name = self._argv[0]
        self._bare = b"/" not in name
        path = env.get(b"PATH", DEFAULT_PATH)
        self._candidates = [part + b"/" + name for part in path.split(b":") if part] if self._bare else [name]
        if not name:
            self._candidates = []
        self._interpreters = interpreters
        self._changing = changing
        self._tell = tell

    def inspect(self) -> None:
        """Refuse magic links, with the rights of root and inside the root. Raises `Refused`."""
        for path in self._interpreters:
            _inspect(path)
        for path in self._candidates:
            _inspect(path)

    def start(self) -> NoReturn:
        """Exec, or say on standard error why not and exit with the code that a shell would give."""
        denied = 0
        for path in self._candidates:
            try:
                if self._changing == EVERYTHING or (self._changing == MOUNTS and not _is_of_the_root(path)):
                    self._start_opened(path)
                os.execve(path, self._argv, self._env)
            except Refused as refused:
                self.refuse(refused)
            except OSError as error:
                if error.errno not in (_ENOENT, _ENOTDIR):
                    denied = error.errno or _EACCES
                    if denied != _EACCES:
                        break
        if denied:
            self._fail(os.strerror(denied).lower(), NOT_EXECUTABLE)
        self._fail("executable file not found in $PATH" if self._bare else "no such file or directory", NOT_FOUND)

    def _start_opened(self, path: bytes) -> NoReturn:
        """Exec the file that is there now and no other. Raises `OSError` and `Refused`."""
        argv = self._argv
        for _ in range(_MOST_INTERPRETERS + 1):
            fd = _open_program(path)
            try:
                head = os.pread(fd, _SHEBANG_BYTES, 0)
            except OSError:  # not for this user to read, but perhaps to run
                head = b""
            script = _shebang(head)
            if script is None:
                _exec_opened(fd, argv, self._env, foreign=head.startswith(_ELF) and _machine(head) != _OURS)
            os.close(fd)
            # What the kernel asks of a script, too. Who changes it now has gained no more than that it is read.
            if not os.access(path, os.X_OK):
                raise OSError(_EACCES, "not executable")
            interpreter, argument = script
            if not interpreter:
                raise OSError(_ENOEXEC, "a script without an interpreter")
            argv = [interpreter, *([argument] if argument else []), path, *argv[1:]]
            path = interpreter
        raise OSError(_ELOOP, "scripts of scripts")

    def refuse(self, refused: Refused) -> NoReturn:
        self._fail(f"refused, {refused} leads out of the sandbox", NOT_EXECUTABLE)

    def _fail(self, why: str, code: int) -> NoReturn:
        os.write(2, b'exec: "' + self._argv[0] + b'": ' + why.encode() + b"\n")
        self._tell(code, why)
        os._exit(code)


def _is_of_the_root(path: bytes) -> bool:
    """Whether a program and the interpreters of scripts lie on the mount of the root, and the ways to them, too."""
    for _ in range(_MOST_INTERPRETERS + 1):
        if not path.startswith(b"/"):
            return False  # the working directory may be somewhere else
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        resolve = syscalls.RESOLVE_NO_XDEV | syscalls.RESOLVE_NO_MAGICLINKS
        try:
            fd = syscalls.openat2(syscalls.AT_FDCWD, path, flags, resolve)
        except OSError:
            return False  # also for one that may not be read, which could be a script
        try:
            script = _shebang(os.read(fd, _SHEBANG_BYTES))
        except OSError:
            return False
        finally:
            os.close(fd)
        if script is None:
            return True
        path = script[0]
    return False


def _shebang(head: bytes) -> tuple[bytes, bytes] | None:
    """A script's interpreter and the argument for it, as the kernel finds them at the beginning of its file.

    b"" where there is none; None where it is no script. Only blanks, tabs and NUL end a path (fs/binfmt_script.c).
    """
    if not head.startswith(b"#!"):
        return None
    line = head[2:].split(b"\n", 1)[0].split(b"\0", 1)[0]
    words = line.lstrip(b" \t")
    interpreter = words.split(b" ", 1)[0].split(b"\t", 1)[0]
    if interpreter == words and len(line) == _SHEBANG_BYTES - 2:
        return b"", b""  # not all of it is there, and the kernel does not guess
    return interpreter, words[len(interpreter) :].strip(b" \t")


def _machine(head: bytes) -> bytes:
    """What a program is for, by the beginning of its file: class, byte order and machine (elf(5))."""
    return head[4:6] + head[18:20]


def _machine_of_ours() -> bytes:
    try:
        with open("/proc/self/exe", "rb") as file:
            return _machine(file.read(20))
    except OSError:
        return b""


# Looked at while /proc is this machine's.
_OURS = _machine_of_ours()


def _inspect(path: bytes) -> None:
    for _ in range(_MOST_INTERPRETERS + 1):
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        try:
            fd = syscalls.openat2(syscalls.AT_FDCWD, path, flags, syscalls.RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno == _ELOOP:
                raise Refused(os.fsdecode(path)) from error
            return  # the exec will say what is wrong
        try:
            head = os.read(fd, _SHEBANG_BYTES)
        except OSError:
            return
        finally:
            os.close(fd)
        script = _shebang(head)
        if script is None or not script[0]:
            return
        path = script[0]


def _open_program(path: bytes) -> int:
    """A descriptor that the exec closes; it can be read if the user may. Raises `OSError` and `Refused`."""
    for flags in (os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, os.O_PATH):
        try:
            return syscalls.openat2(syscalls.AT_FDCWD, path, flags | os.O_CLOEXEC, syscalls.RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno == _ELOOP:
                raise Refused(os.fsdecode(path)) from error
            if error.errno != _EACCES or flags & os.O_PATH:
                raise
    raise AssertionError("the last attempt returns or raises")


def _exec_opened(fd: int, argv: list[bytes], env: dict[bytes, bytes], *, foreign: bool) -> NoReturn:
    """Exec an open file, which may be a program for another processor. Raises `OSError`."""
    try:
        # By its own name in its directory, so that it is called by that one: until Linux 6.14 one that is run by its
        # own descriptor is called by the number of that. Whatever has the name now is no link, and no script is run.
        directory, _, name = os.readlink(b"/proc/self/fd/%d" % fd).rpartition(b"/")
        flags = os.O_PATH | os.O_DIRECTORY
        place = syscalls.openat2(syscalls.AT_FDCWD, directory or b"/", flags, syscalls.RESOLVE_NO_SYMLINKS)
        if os.path.samestat(os.stat(name, dir_fd=place, follow_symlinks=False), os.fstat(fd)):
            syscalls.execveat(place, name, argv, [key + b"=" + value for key, value in env.items()])
    except OSError as error:
        if error.errno in (_EACCES, _ENOEXEC, _E2BIG):
            raise
    try:
        os.execve(fd, argv, env)
    except OSError as error:
        if error.errno != _ENOENT or not foreign:
            raise
    # An interpreter of binfmt_misc has to open it, so the exec may not close it: it gets a copy, which nobody changes.
    copy = os.memfd_create("program")
    while piece := memoryview(os.read(fd, 1 << 20)):
        while piece:
            piece = piece[os.write(copy, piece) :]
    program = os.open(b"/proc/self/fd/%d" % copy, os.O_RDONLY)
    os.close(copy)  # what is open for writing is not run
    os.set_inheritable(program, True)
    os.execve(program, argv, env)


def host_interpreters() -> tuple[bytes, ...]:
    """Interpreters registered with binfmt_misc that are looked up at exec time, in the caller's root.

    Those with flag F were opened when they were registered and are none of our business.
    """
    out = []
    base = b"/proc/sys/fs/binfmt_misc"
    try:
        names = os.listdir(base)
    except OSError:
        return ()
    for name in names:
        if name in (b"register", b"status"):
            continue
        try:
            fd = os.open(base + b"/" + name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        text = os.read(fd, 4096)
        os.close(fd)
        fields = dict(line.partition(b" ")[::2] for line in text.splitlines())
        if b"F" not in fields.get(b"flags:", b"") and b"interpreter" in fields:
            out.append(fields[b"interpreter"])
    return tuple(out)
