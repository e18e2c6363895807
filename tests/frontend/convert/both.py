"""One text through both doors: lowered as a Buildfile, and converted, loaded and called as a Buildfile.py."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.lower import lower
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.convert.convert import convert
from buildkit_py.frontend.python.load import load
from buildkit_py.frontend.python.lower import call, targets
from buildkit_py.frontend.target import Options
from buildkit_py.graph.op import LocalSource
from buildkit_py.image.config import ImageConfig
from buildkit_py.solver.keys import op_parts
from tests.frontend.fakes import FakeResolver, SeenInputs

BASE = ImageConfig(env=(("PATH", "/bin"), ("LANG", "C")), cmd=("bash",), working_dir="/", labels=(("base", "1"),))


class AnyImage(FakeResolver):
    """Has every image, each of its own content."""

    def resolve(self, reference, platform, position):
        self.configs.setdefault(reference.replace("-", "_").partition(":")[0], BASE)
        return super().resolve(reference, platform, position).replace(digest=f"sha256:{reference}", reference=reference)


def convert_text(text, **options):
    """The Buildfile.py of a text."""
    return convert(parse_text(text, "Dockerfile"), text, **options)


def as_buildfile(text, directory, *, target="", file="", **options):
    """The target of the text itself."""
    given = Options(str(directory), platform="linux/amd64", **options)
    wanted = (target,) if target else ()
    (made,) = lower(parse_text(text, "Dockerfile"), given, AnyImage(), SeenInputs(), targets=wanted, file=file)
    return made


def as_python(text, directory, *, target="", build_args=(), **options):
    """The same target of the converted text; build args become the parameters that are there."""
    path = directory / "Buildfile.py"
    path.write_text(convert_text(text), encoding="utf-8", errors="surrogateescape")
    module = load(str(path), SeenInputs())
    outlines = {outline.name: outline for outline in targets(module)}
    name = target.lower() or module.default().name
    known = {parameter[0] for parameter in outlines[name].parameters} if name in outlines else set()
    parameters = [(key.lower(), value) for key, value in build_args if key.lower() in known]
    rest = tuple(pair for pair in build_args if pair[0].lower().endswith("_proxy") or pair[0].startswith("TARGET"))
    given = Options(str(directory), platform="linux/amd64", build_args=rest, **options)
    (made,) = call(module, [(name, parameters)], given, AnyImage(), SeenInputs())
    return made


def shape(step):
    """A step as nested tuples of what its keys are made of, and of how it is run."""
    if step is None:
        return None
    own = (step.op.root, step.op.ignore) if isinstance(step.op, LocalSource) else op_parts(step.op)
    own = (own, getattr(step.op, "policy", None))
    return own, shape(step.base), tuple(shape(source) for source in step.sources)
