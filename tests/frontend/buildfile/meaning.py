"""What a text means: the steps of all of its stages with what their keys are made of, configuration and history."""

from __future__ import annotations

from buildkit_py.errors import PybuildError
from buildkit_py.frontend.buildfile.lower_file import Build
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.target import Options, Resolved
from buildkit_py.graph.step import Step, in_order, inputs
from buildkit_py.image.config import ImageConfig, ImageDocument
from tests.frontend.fakes import SeenInputs

_CONFIG = ImageConfig(env=(("PATH", "/bin"), ("LANG", "C")), working_dir="/")


class _AnyImage:
    def resolve(self, reference: str, platform: str, position: object) -> Resolved:
        system, _, architecture = platform.partition("/")
        document = ImageDocument(architecture, system, _CONFIG, ("d" * 64,))
        return Resolved(reference, "sha256:" + "a" * 64, platform, ("d" * 64,), document)


def meaning(text: str | bytes, **build_args: str) -> object:
    """Comparable by `==`. A text that is wrong means its error."""
    try:
        tree = parse_text(text, "Buildfile")
        options = Options("/", tuple(build_args.items()), platform="linux/amd64")
        build = Build(tree, options, _AnyImage(), SeenInputs(), target_name="", file="")
        stages = [build.stage(node) for node in build.table.stages]
    except PybuildError as problem:
        return type(problem), problem.message
    steps = list(in_order([stage.step for stage in stages if stage.step is not None]))
    number: dict[Step | None, int] = {step: at for at, step in enumerate(steps)}
    graph = [(step.op, step.base is None, [number[other] for other in inputs(step)]) for step in steps]
    # Exposed ports are a map in an image: their order means nothing.
    configs = [stage.config.replace(ports=tuple(sorted(stage.config.ports))) for stage in stages]
    ends = [
        (number.get(stage.step), config, stage.history, stage.author)
        for stage, config in zip(stages, configs, strict=True)
    ]
    return graph, ends, build.table.names(), [node.head.doc for node in build.table.stages]
