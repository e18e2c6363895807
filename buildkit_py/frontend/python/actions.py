"""Actions: what each method of an `Image` recorded, as a closed union that the lowering takes apart.

Recorded and not done at once, because a Buildfile.py runs for `--list` too,
where no image may be resolved and no directory read.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from buildkit_py.frontend.python.mounts import BindMount, CacheMount, SecretMount, TmpfsMount
    from buildkit_py.frontend.python.text import Text
    from buildkit_py.frontend.python.tree import Tree
    from buildkit_py.image.config import Healthcheck

    AnyText: TypeAlias = str | Text
    Pairs: TypeAlias = tuple[tuple[str, AnyText], ...]


class FromImage(Record):
    reference: AnyText
    platform: str


class FromScratch(Record):
    pass


class FromHost(Record):
    pass


class FromBuildfile(Record):
    path: str
    target: str
    args: tuple[tuple[str, AnyText], ...]
    context: str


class CommandLine(Record):
    """`words`; with `shell` the first and only word is a text for the image's SHELL."""

    words: tuple[AnyText, ...]
    shell: bool


class RunCommand(Record):
    command: CommandLine
    mounts: tuple[CacheMount | SecretMount | TmpfsMount | BindMount, ...]
    network: str
    env: Pairs
    user: str


class CopyFiles(Record):
    keyword: str
    tree: Tree
    dest: str
    owner: str
    mode: str
    exclude: tuple[str, ...]
    parents: bool
    link: bool


class WriteFile(Record):
    path: str
    content: AnyText | bytes
    mode: str
    owner: str


class SetEnv(Record):
    pairs: Pairs


class SetLabels(Record):
    pairs: Pairs


class SetWorkdir(Record):
    path: str


class SetUser(Record):
    user: str


class Expose(Record):
    ports: tuple[str, ...]


class Volume(Record):
    paths: tuple[str, ...]


class SetCmd(Record):
    command: CommandLine


class SetEntrypoint(Record):
    command: CommandLine


class SetShell(Record):
    argv: tuple[str, ...]


class SetHealthcheck(Record):
    command: CommandLine | None
    times: Healthcheck


class SetStopSignal(Record):
    signal: str


class AddOutput(Record):
    source: str
    dest: str


if TYPE_CHECKING:
    Start: TypeAlias = FromImage | FromScratch | FromHost | FromBuildfile
    Change: TypeAlias = (
        RunCommand
        | CopyFiles
        | WriteFile
        | SetEnv
        | SetLabels
        | SetWorkdir
        | SetUser
        | Expose
        | Volume
        | SetCmd
        | SetEntrypoint
        | SetShell
        | SetHealthcheck
        | SetStopSignal
        | AddOutput
    )
