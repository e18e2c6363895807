"""Actions: what each method of an `Image` recorded, as a closed union that the lowering takes apart.

Recorded and not done at once, because a Buildfile.py runs for `--list` too,
where no image may be resolved and no directory read.
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from buildkit_py.frontend.python.file import File
    from buildkit_py.frontend.python.mounts import BindMount, CacheMount, SecretMount, SshMount, TmpfsMount
    from buildkit_py.frontend.python.service import Service
    from buildkit_py.frontend.python.template import Template
    from buildkit_py.frontend.python.text import Text
    from buildkit_py.frontend.python.tree import Tree
    from buildkit_py.graph.op import Policy
    from buildkit_py.image.config import Healthcheck

    KnownText: TypeAlias = str | Text
    AnyText: TypeAlias = KnownText | Template
    Pairs: TypeAlias = tuple[tuple[str | Template, AnyText], ...]


class FromImage(Record):
    reference: KnownText
    platform: str


class FromScratch(Record):
    pass


class FromHost(Record):
    pass


class FromBuildfile(Record):
    path: str
    target: str
    args: tuple[tuple[str, KnownText], ...]
    context: str


class CommandLine(Record):
    """`words`; with `shell` the first and only word is a text for the image's SHELL."""

    words: tuple[KnownText, ...]
    shell: bool


class RunCommand(Record):
    """`script`: a file that the command, which is its path, runs."""

    command: CommandLine
    mounts: tuple[CacheMount | SecretMount | SshMount | TmpfsMount | BindMount, ...]
    network: str
    security: str
    env: Pairs
    user: str
    script: File | None
    inputs: tuple[str, ...]
    policy: Policy
    services: tuple[tuple[str, Service], ...] = ()


class CopyFiles(Record):
    """`unpack` None: archives of this machine are unpacked, those from elsewhere are not."""

    keyword: str
    trees: tuple[Tree, ...]
    files: tuple[File, ...]
    dest: AnyText
    owner: AnyText
    mode: AnyText
    exclude: tuple[str, ...]
    parents: bool
    link: bool
    unpack: bool | None


class WriteFile(Record):
    path: str
    content: AnyText | bytes
    mode: str
    owner: str


class SetEnv(Record):
    pairs: Pairs


class DeclareArgs(Record):
    """A value of None declares the name and nothing more."""

    pairs: tuple[tuple[str, AnyText | None], ...]


class SetLabels(Record):
    pairs: Pairs


class SetWorkdir(Record):
    path: AnyText


class SetUser(Record):
    user: AnyText


class Expose(Record):
    """Ports as `parse_ports` gives them, templates as they stand."""

    ports: tuple[str | Template, ...]


class Volume(Record):
    paths: tuple[AnyText, ...]


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
    signal: AnyText


class SetMaintainer(Record):
    name: str


class AddTrigger(Record):
    """ONBUILD: for the images that are built from this one."""

    text: str


class NewStage(Record):
    """A target goes on from what another one returned: as FROM of that stage."""


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
        | DeclareArgs
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
        | SetMaintainer
        | AddTrigger
        | NewStage
        | AddOutput
    )
