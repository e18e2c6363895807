"""A Buildfile.py written, loaded and called against fakes, for the tests of the Python door."""

from __future__ import annotations

import textwrap

from buildkit_py.frontend.python.load import load
from buildkit_py.frontend.python.lower import call
from buildkit_py.frontend.target import Options
from buildkit_py.image.config import ImageConfig
from tests.frontend.fakes import FakeResolver, SeenInputs

BASE = ImageConfig(env=(("PATH", "/bin"),), working_dir="/")
HEAD = (
    "from buildkit_py import (Image, bind, cache, context, env, expand, file, fmt, git, host, platform_arg, read, "
    "remote, scratch, secret, ssh, target, tmpfs)\n"
)


class Door:
    """`Door(tmp_path, text)` loads; `call(…)` calls targets. The text starts on line 2, below the imports."""

    def __init__(self, directory, text, *, resolver=None, runner=None, notice=None, **options):
        self.path = directory / "Buildfile.py"
        self.path.write_text(HEAD + textwrap.dedent(text).lstrip("\n"))
        self.inputs = SeenInputs()
        self.resolver = resolver or FakeResolver(base=BASE, other=BASE)
        self.told = {"runner": runner, "notice": notice}
        options.setdefault("platform", "linux/amd64")
        self.options = Options(context=str(directory), **options)
        self.module = load(str(self.path), self.inputs)

    def call(self, *wanted, **parameters):
        asked = [(name, {}) for name in wanted] or [("", parameters)]
        return call(self.module, asked, self.options, self.resolver, self.inputs, **self.told)

    def one(self, name="", **parameters):
        asked = [(name, parameters)]
        (target,) = call(self.module, asked, self.options, self.resolver, self.inputs, **self.told)
        return target


def image(directory, expression, **options):
    """The target that returns one image, written as an expression."""
    return Door(directory, f"@target\ndef app():\n    return {expression}\n", **options).one()
