"""Types checked while tests run, as a plugin of pytest: `python -m pytest -p tests.typed`.

typeguard evaluates annotations at every call, but the package imports the
names in them only under `if TYPE_CHECKING:`, since start-up time is a feature.
Here every module gets those names: what the standard library has before the
module runs, what the package itself has once the outermost import is over (the
imports of a type checker go in circles). Records are made by a constructor
without annotations, so the fields of each are compared with those of its class.
"""

from __future__ import annotations

import ast
import sys
from array import array
from collections import deque
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Never, get_type_hints

import pytest
import typeguard
from typeguard import TypeCheckError, TypeCheckMemo
from typeguard._importhook import TypeguardFinder, TypeguardLoader

PACKAGE = "buildkit_py"
# Its annotations tell users what to give; it checks that itself, and says it in their words.
DOOR = "buildkit_py.frontend.python"


class _WrongType(TypeCheckError, TypeError):
    """What a caller that passes a wrong type on purpose expects is a `TypeError`."""


def _fail(error: TypeCheckError, _memo: TypeCheckMemo) -> Never:
    raise _WrongType(str(error)) from error


class _Array:
    """`array[int]` before Python 3.12, where it cannot be written."""

    def __class_getitem__(cls, item: object) -> type:
        return array


class _Loader(TypeguardLoader):
    running = 0
    waiting: ClassVar[deque[tuple[ModuleType, list[ast.stmt]]]] = deque()

    def exec_module(self, module: ModuleType) -> None:
        own, others = _type_imports(Path(self.path))
        for statement in others:
            _add(module, statement)
        _Loader.waiting.append((module, own))
        _Loader.running += 1
        try:
            super().exec_module(module)
            if _Loader.running == 1:
                _add_waiting()
        finally:
            _Loader.running -= 1


def _add_waiting() -> None:
    """Add what modules wait for: a name may be one that the other module waits for itself, so several rounds."""
    failed = 0
    while _Loader.waiting:
        module, statements = _Loader.waiting.popleft()
        try:
            while statements:
                _add(module, statements[0])
                del statements[0]
                failed = 0
        except (ImportError, NameError):
            _Loader.waiting.append((module, statements))
            failed += 1
            if failed > len(_Loader.waiting):
                raise


class _Finder(TypeguardFinder):
    def find_spec(self, fullname: str, *place: Any) -> ModuleSpec | None:
        spec = super().find_spec(fullname, *place)
        if spec is not None and isinstance(spec.loader, TypeguardLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def _type_imports(path: Path) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements under `if TYPE_CHECKING:` of a module: what needs the package, and imports of anything else."""
    own: list[ast.stmt] = []
    others: list[ast.stmt] = []
    for statement in ast.parse(path.read_bytes()).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            for inner in statement.body:
                foreign = isinstance(inner, ast.ImportFrom) and not str(inner.module).startswith(PACKAGE)
                (others if foreign else own).append(inner)
    return own, others


def _add(module: ModuleType, statement: ast.stmt) -> None:
    """Run a statement for the names that the module lacks."""
    if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) in vars(module):
        return  # an alias that is another one where it is run: some classes take no parameters there
    names = dict(vars(module))
    exec(compile(ast.Module([statement], []), str(module.__file__), "exec"), names)
    for name, value in names.items():
        vars(module).setdefault(name, _Array if value is array else value)


@cache
def _fields(kind: type) -> dict[str, Any]:
    if kind.__module__.startswith(DOOR):
        return {}
    hints = get_type_hints(kind)
    return {name: hints[name] for name in vars(kind)["__fields__"]}


def _check_records() -> None:
    from buildkit_py.record import Record

    make = Record.__init__

    def checked(self: Record, *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)
        for name, hint in _fields(type(self)).items():
            try:
                typeguard.check_type(getattr(self, name), hint)
            except TypeCheckError as error:
                raise _WrongType(f"{type(self).__name__}.{name}: {error}") from error

    Record.__init__ = checked


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Check the package from here on: a conftest may already import it."""
    assert PACKAGE not in sys.modules
    typeguard.config.typecheck_fail_callback = _fail
    typeguard.install_import_hook([PACKAGE], [DOOR], cls=_Finder)
    _check_records()
