"""The shell kit: what a shell in a step's place needs and the image may lack.

    bin/WORD         a command for each word that can be said to the build
    ask, never       the pipe that a word comes through, and one that nothing ever comes through
    busybox/         this machine's busybox under all its names, where the image has no shell

It is a directory of the store, and mounted into the sandbox. Who says a word
there has the sandbox ended from outside: a shell may well be process 1, which
nothing inside can end.
"""

from __future__ import annotations

import os
import shutil

from buildkit_py.errors import SandboxError
from buildkit_py.image.config import DEFAULT_PATH
from buildkit_py.image.entry import FILE
from buildkit_py.image.union import Union
from buildkit_py.sandbox.spec import SandboxMount
from buildkit_py.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from buildkit_py.sandbox.spec import SandboxSpec

    class Ending(Protocol):
        """What can be ended: a sandbox."""

        def destroy(self) -> None: ...


SHELL = "/bin/sh"
PLACE = "/run/pybuild/shell"
_BUSYBOX = ("busybox", "busybox.static", "busybox-static")
_SCRIPT = """\
#!{shell}
echo {word} > {place}/ask
read nothing < {place}/never # until this sandbox is ended
"""
_ELF = b"\x7fELF"
_NEEDS_LOADER = 3  # PT_INTERP of elf(5)


def shell_of(roots: Sequence[str]) -> str:
    """The path of the shell in a filesystem of these directories, lowest first; "" where it has none."""
    found = Union(roots).lookup(SHELL)
    return SHELL if found is not None and found.kind == FILE and found.stat.st_mode & 0o111 else ""


class ShellKit:
    """A shell for the filesystem that `roots` are, put together in the new directory `directory`.

    `words` are what can be said in it. Raises `SandboxError` where neither the image nor this machine has a shell.
    """

    def __init__(self, directory: str, roots: Sequence[str], words: Sequence[str] = ()) -> None:
        self.said = ""
        self._directory = directory
        self._words = tuple(words)
        self._ended = False
        self._ask = -1
        shell = shell_of(roots)
        for name in ("", "/bin"):
            _make_directory(directory + name)
        if not shell:
            _bring_busybox(f"{directory}/busybox")
            shell = f"{PLACE}/busybox/sh"
        self._shell = shell
        for pipe in ("ask", "never"):
            os.mkfifo(f"{directory}/{pipe}")
            os.chmod(f"{directory}/{pipe}", 0o666)  # whatever the umask is: the step may be any user
        for word in self._words:
            with open(f"{directory}/bin/{word}", "w", encoding="ascii") as file:
                file.write(_SCRIPT.format(shell=shell, word=word, place=PLACE))
            os.chmod(f"{directory}/bin/{word}", 0o755)

    def equip(self, spec: SandboxSpec) -> SandboxSpec:
        """The sandbox with the shell as its command and a terminal; the image's own programs come before busybox's."""
        env = [item for item in spec.env if item[0] != "TERM"]
        env.append(("TERM", os.environ.get("TERM", "xterm")))
        spec = spec.replace(argv=(self._shell,), terminal=True)
        if self._shell == SHELL and not self._words:
            return spec.replace(env=tuple(env))
        path = dict(env).get("PATH", DEFAULT_PATH)
        env = [item for item in env if item[0] != "PATH"]
        env.append(("PATH", f"{PLACE}/bin:{path}:{PLACE}/busybox"))
        mount = SandboxMount("bind", PLACE, source=self._directory)
        return spec.replace(env=tuple(env), mounts=(*spec.mounts, mount))

    def to(self, sandbox: Ending) -> None:
        """Listen to what is said in the sandbox, and end it then. `said` is the word, "" before."""
        self._ask = os.open(f"{self._directory}/ask", os.O_RDWR | os.O_CLOEXEC)
        self._listener = Thread(lambda: self._listen(sandbox))

    def close(self) -> None:
        """Listen no more."""
        if self._ask >= 0:
            self._ended = True
            os.write(self._ask, b"\n")
            self._listener.join()
            os.close(self._ask)
            self._ask = -1

    def _listen(self, sandbox: Ending) -> None:
        heard = b""
        while not self._ended:
            heard += os.read(self._ask, 4096)
            *lines, heard = heard[-4096:].split(b"\n")
            for line in lines:
                word = line.decode("ascii", "replace")
                if word in self._words:
                    self.said = word
                    sandbox.destroy()
                    return


def _make_directory(path: str) -> None:
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)


def _bring_busybox(directory: str) -> None:
    import subprocess

    busybox = next((path for name in _BUSYBOX if (path := shutil.which(name)) and _is_static(path)), None)
    if busybox is None:
        raise SandboxError(
            f"the image has no {SHELL}, and this machine has no busybox to bring in that needs no libraries",
            hint="install busybox-static (or busybox, where that is linked statically)",
        )
    done = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=False, timeout=10)
    _make_directory(directory)
    shutil.copyfile(busybox, f"{directory}/busybox")
    os.chmod(f"{directory}/busybox", 0o755)
    for name in {*done.stdout.split(), "sh"} - {"busybox"}:
        if "/" not in name:
            os.symlink("busybox", f"{directory}/{name}")


def _is_static(path: str) -> bool:
    """Whether a program asks for no loader, and so for no libraries (elf(5): it has no PT_INTERP)."""
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            if head[:4] != _ELF:
                return False
            wide = head[4] == 2
            order = "little" if head[5] == 1 else "big"

            def number(data: bytes, at: int, size: int) -> int:
                return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]

            start = number(head, 32, 8) if wide else number(head, 28, 4)
            size, count = number(head, 54 if wide else 42, 2), number(head, 56 if wide else 44, 2)
            file.seek(start)
            table = file.read(size * count)
    except OSError:
        return False
    return all(number(table, at * size, 4) != _NEEDS_LOADER for at in range(count))
