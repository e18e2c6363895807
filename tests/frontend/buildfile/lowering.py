"""A Buildfile's text lowered against fakes, for the tests of its semantics."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.lower import lower
from buildkit_py.frontend.buildfile.parse import parse_text
from buildkit_py.frontend.target import Options
from buildkit_py.graph.op import LocalSource
from buildkit_py.graph.step import in_order
from buildkit_py.image.config import ImageConfig
from tests.frontend.fakes import FakeResolver, SeenInputs

BASE = ImageConfig(env=(("PATH", "/bin"), ("LANG", "C")), cmd=("bash",), working_dir="/", labels=(("base", "1"),))


class Lowered:
    """The targets of a text, what was resolved, read, noticed and found by checks on the way."""

    def __init__(self, text, *targets, resolver=None, file="", runner=None, testing=False, everything=False, **options):
        self.resolver = resolver or FakeResolver(base=BASE, other=BASE)
        self.inputs = SeenInputs()
        self.notices = []
        self.findings = []
        options.setdefault("context", "/")
        options.setdefault("platform", "linux/amd64")
        self.targets = lower(
            parse_text(text, "Buildfile"),
            Options(**options),
            self.resolver,
            self.inputs,
            targets=targets,
            file=file,
            runner=runner,
            testing=testing,
            everything=everything,
            notice=self._notice,
        )

    def _notice(self, message, at, hint, rule):
        if rule:
            self.findings.append((rule, message, str(at)))
        else:
            self.notices.append((message, str(at), hint))

    @property
    def target(self):
        return self.targets[-1]

    @property
    def config(self):
        return self.target.config

    @property
    def history(self):
        """The texts of the history beyond the base image's, those without a layer in brackets."""
        entries = self.target.history
        own = entries[1:] if entries and entries[0].created else entries
        return [f"({entry.created_by})" if entry.empty_layer else entry.created_by for entry in own]

    @property
    def steps(self):
        """All steps but the contexts, in the order they can run."""
        roots = [target.step for target in self.targets if target.step is not None]
        return [step for step in in_order(roots) if not isinstance(step.op, LocalSource)]

    @property
    def op(self):
        return self.target.step.op
