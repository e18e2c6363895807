"""Watching a Buildfile.py while it runs: what it read becomes an input, what cannot be checked later is noted.

Python's audit events tell of every file opened, process started, socket used
and directory listed. They do not tell of environment variables and of
`os.stat`, so those are wrapped for the time being, nor of where a module is
looked for in vain, so a finder that finds nothing stands before Python's own.
What no one can see is the clock and randomness, and code in C that asks the
system by itself; the docs say so.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident
from collections.abc import Callable, Iterator, MutableMapping
from importlib.machinery import PathFinder, all_suffixes
from stat import S_ISDIR, S_ISREG

from buildkit_py.frontend.python.position import is_ours, is_users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, ModuleType
    from typing import Any

    from buildkit_py.frontend.target import Inputs

_STDLIB = os.path.dirname(os.__file__) + os.sep
_SITE = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
_IMPURE = (
    *("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty.spawn"),
    *("socket.", "urllib.Request", "ftplib.", "http.client.", "smtplib.", "sqlite3.connect"),
    *("os.listdir", "os.scandir", "os.walk", "os.fwalk", "glob.", "shutil.", "ctypes."),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown"),
    *("os.truncate", "os.utime", "os.getxattr", "os.listxattr", "os.setxattr", "os.removexattr"),
)
_STATS = ("stat", "lstat", "access", "readlink")
_OF_LINKS = ("lstat", "readlink")
_OF_KERNEL = ("/proc/", "/sys/")

# The one watcher at work; the audit hook stays in the process for ever and does nothing without it.
_active: list[Watch] = []
_hooked: list[bool] = []


class Watch:
    """`with Watch(inputs):` around the user's code, in this thread and those it starts.

    Threads that run already are pybuild's own. `paused` is for `Unwatched`.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.paused = False
        self.others: set[int] = set()
        self._telling: set[int] = set()
        self._replaced: dict[str, Any] = {}
        self._finder = _Finder(self)

    def __enter__(self) -> Watch:
        self.others = running_threads() - {get_ident()}
        self._replace("environ", _Environ(os.environ, self))
        for name in _STATS:
            self._replace(name, self._recording(getattr(os, name), of_link=name in _OF_LINKS))
        self._stdin = sys.stdin
        sys.stdin = _Stdin(sys.stdin, self)
        if not _hooked:
            _hooked.append(True)
            sys.addaudithook(_audit)
        _active.append(self)
        # Behind the finders of modules that are built in: nothing can hide those.
        at = next((at for at, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path))
        sys.meta_path.insert(at, self._finder)
        return self

    def __exit__(self, *problem: object) -> None:
        _active.remove(self)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        sys.stdin = self._stdin
        for name, original in self._replaced.items():
            setattr(os, name, original)

    def _replace(self, name: str, value: object) -> None:
        self._replaced[name] = getattr(os, name)
        setattr(os, name, value)

    def _recording(self, function: Callable[..., Any], *, of_link: bool) -> Callable[..., Any]:
        def recorded(path: Any, *args: Any, **named: Any) -> Any:
            if named.get("dir_fd") is not None:
                self.inputs.impure("a path below an open directory")
            elif not isinstance(path, int):
                self.saw_file(path, of_link=of_link)
            return function(path, *args, **named)

        return recorded

    def blind(self) -> bool:
        """Whether what happens now, in this thread, is none of the user's doing."""
        thread = get_ident()
        return self.paused or thread in self.others or thread in self._telling

    def audit(self, event: str, args: tuple[Any, ...], frame: FrameType) -> None:
        """One audit event of the watched thread."""
        if self.blind():
            return
        if event == "open":
            path, _, flags = args
            if isinstance(path, int):
                if path == 0:
                    self.inputs.impure("standard input")
                return
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
                if not _by_import(frame):  # which writes .pyc files
                    self.inputs.impure(f"wrote {os.fsdecode(path)}")
            else:
                self.saw_file(path)
                if self._is_made_when_read(path):
                    self.inputs.impure(f"read {os.fsdecode(path)}")
        elif not _by_import(frame):
            self.inputs.impure(event)

    def saw_file(self, path: Any, *, of_link: bool = False) -> None:
        """A file was opened or looked at. Python's own modules and ours belong to the tool's version.

        `of_link`: it was asked whether it is a symbolic link, or where that leads. None is ever written anew: where it
        is replaced, its directory changes.
        """
        if self.blind():
            return
        self._telling.add(get_ident())  # `inputs` looks at the file itself
        try:
            whole = os.path.abspath(os.fsdecode(path))
            self._note(whole)
            if of_link and os.path.islink(whole):
                self._note(os.path.dirname(whole))
        finally:
            self._telling.discard(get_ident())

    def saw_search(self, module: str, places: Sequence[str], frame: FrameType) -> None:
        """A module is looked for in these directories: it is another one when one of that name appears in them."""
        if self.blind() or _by_us(frame):
            return
        self._telling.add(get_ident())
        try:
            for place in places:
                folder = os.path.abspath(place)
                if folder + os.sep == _STDLIB and module in sys.stdlib_module_names:
                    break
                for path in _deciding(folder, module.rpartition(".")[2]):
                    self._note(path)
        finally:
            self._telling.discard(get_ident())

    def _is_made_when_read(self, path: Any) -> bool:
        """Whether a file's times and size say nothing: what the kernel tells, devices, pipes."""
        self._telling.add(get_ident())
        try:
            name = os.path.realpath(os.fsdecode(path))
            if name == os.devnull:
                return False
            mode = os.stat(name).st_mode
            return name.startswith(_OF_KERNEL) or not (S_ISREG(mode) or S_ISDIR(mode))
        except OSError:
            return False
        finally:
            self._telling.discard(get_ident())

    def _note(self, path: str) -> None:
        inside = path + os.sep
        if is_ours(inside) or (inside.startswith(_STDLIB) and not _is_installed(path)):
            return
        folder, file = os.path.split(path)
        if file.endswith(".pyc") and folder.endswith("__pycache__"):
            # An edit shows in the source; the compiled file is made from it.
            path = os.path.join(os.path.dirname(folder), file.partition(".")[0] + ".py")
        self.inputs.file(path)


class _Finder:
    """Finds no module, and tells the watch where Python's own finder, the next one, will look for it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """What Python asks of each finder; `path` is that of the package, None for a module of `sys.path`."""
        places = [place for place in (sys.path if path is None else path) if isinstance(place, str)]
        self._watch.saw_search(name, places, sys._getframe(1))


class _Stdin:
    """Standard input, which tells when something is done with it."""

    def __init__(self, real: object, watch: Watch) -> None:
        self._real = real
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        if not self._watch.blind():
            self._watch.inputs.impure("standard input")
        return getattr(self._real, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__getattr__("__iter__")())


class _Environ(MutableMapping[str, str]):
    """`os.environ` that tells which variables were read. To loop over it is to read them all."""

    def __init__(self, real: os._Environ[str], watch: Watch) -> None:
        self._real = real
        self._watch = watch

    def __getitem__(self, name: str) -> str:
        if isinstance(name, str) and not self._watch.blind():
            self._watch.inputs.env(name, self._real.get(name))
        return self._real[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._real[name] = value

    def __delitem__(self, name: str) -> None:
        del self._real[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def __repr__(self) -> str:
        return repr(self.copy())

    def copy(self) -> dict[str, str]:
        """All of them, as a plain dict."""
        if not self._watch.blind():
            self._watch.inputs.impure("all environment variables")
        return dict(self._real)


class Unwatched:
    """`with Unwatched():` around work of pybuild's own that the user's code asked for."""

    def __enter__(self) -> None:
        self._watch = _active[-1] if _active else None
        self._was_paused = self._watch is not None and self._watch.paused
        if self._watch is not None:
            self._watch.paused = True
            self._before = running_threads()

    def __exit__(self, *problem: object) -> None:
        if self._watch is not None:
            self._watch.paused = self._was_paused
            self._watch.others |= running_threads() - self._before


def running_threads() -> set[int]:
    """The threads that run Python code now."""
    return set(sys._current_frames())


def _audit(event: str, args: tuple[Any, ...]) -> None:
    # `sys._getframe` is an audited event itself, so what does not matter has to leave before it.
    if _active and (event == "open" or event.startswith(_IMPURE)):
        _active[-1].audit(event, args, sys._getframe(1))


def _by_us(frame: FrameType | None) -> bool:
    """Whether pybuild's own code wants something, or a library that it calls; not the user's code that called it."""
    while frame is not None:
        name = frame.f_code.co_filename
        if is_ours(name) or is_users(name):
            return is_ours(name)
        frame = frame.f_back
    return False


def _deciding(folder: str, name: str) -> list[str]:
    """The paths that say, by being there or not, whether a directory has a module of that name, and which it is."""
    place = os.path.join(folder, name)
    package = os.path.isdir(place)
    if _is_installed(folder) or not os.path.isdir(folder):
        # What installs packages changes the directory, and nothing else does.
        return [folder, place] if package else [folder]
    suffixes = all_suffixes()
    modules = [place + suffix for suffix in suffixes]
    if not package:
        return [place, *modules]
    # A directory also changes when Python puts compiled files into it: what makes it a package is what counts.
    begins = [os.path.join(place, "__init__" + suffix) for suffix in suffixes]
    return [*begins, *modules] if any(map(os.path.exists, begins)) else [place, *begins, *modules]


def _is_installed(path: str) -> bool:
    return any(part in path + os.sep for part in _SITE)


def _by_import(frame: FrameType | None) -> bool:
    """Whether Python's import machinery did it (it lists directories to find modules)."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return True
        if not name.startswith((_STDLIB, "<frozen")):
            return False
        frame = frame.f_back
    return False
