"""ONBUILD triggers of an image that a Buildfile.py starts from: Buildfile text that means what it means there."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend.buildfile.lower_file import Build
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.buildfile.syntax import From
from buildkit_py.frontend.python.position import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.other_files import OtherFiles
    from buildkit_py.frontend.target import Options
    from buildkit_py.source_map import Position


def expect_trigger(instruction: str) -> None:
    """Raise `BuildfileError` for a text that no image can have as a trigger, as a Buildfile's ONBUILD does."""
    try:
        tree = parse_text(f"FROM scratch\nONBUILD {instruction}\n", "ONBUILD")
        alone = len(tree.instructions) == 2
    except BuildfileError as problem:
        raise BuildfileError(
            f"`{instruction}` cannot be a trigger: {problem.message}", at=here(), hint=problem.hint
        ) from problem
    if not alone:
        raise BuildfileError("on_build() takes one instruction at a time", at=here())


def after_triggers(
    reference: str, platform: str, at: Position, path: str, options: Options, others: OtherFiles
) -> Stage:
    """The state of an image behind its triggers, all of which are said to be where it is named.

    `path` is the Buildfile.py, whose ignore file counts. Raises as the lowering of a Buildfile does.
    """
    tree = parse_text(f"FROM --platform={platform} image\n", at.file)
    (head,) = tree.instructions
    assert isinstance(head, From)
    # Nothing in the name is to be expanded, and it may have blanks.
    word = "".join([f"\\{ch}" if ch in "\\$\"'" else ch for ch in reference])
    head = head.replace(position=at, image=head.image.replace(text=word, position=at))
    build = Build(
        tree.replace(instructions=(head,)),
        options,
        others.resolver,
        others.inputs,
        target_name="",
        file=path,
        others=others,
    )
    stage = build.wanted_stage("")
    others.declared.update(build.declared())
    return stage
