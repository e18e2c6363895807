"""Targets of other files: what `./dir+target` means, through whichever door that file goes.

One for a whole build. Each file is read once and each target lowered once.
The context of another file is its own directory; of what the command line
says it gets what is for a whole build, and the build args.
"""

from __future__ import annotations

import os

from buildkit_py.errors import BuildfileError, PybuildError, UsageError
from buildkit_py.frontend.files import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower import Notify
    from buildkit_py.frontend.buildfile.lower_file import Build
    from buildkit_py.frontend.files import Files
    from buildkit_py.frontend.python.load import Module
    from buildkit_py.frontend.target import Inputs, Options, Resolver
    from buildkit_py.graph.step import Step
    from buildkit_py.source_map import Position


_DEEPEST = 20


def is_other(word: str) -> bool:
    """Whether the word of a FROM or `--from` is a target of another file. No image has such a name."""
    return word.startswith(("./", "../"))


class OtherFiles:
    """`runner` builds a step that captures its output now and gives that, None where nothing can be run.

    `surveying`: the files are only looked at, so what a command would print is
    not known. `testing`: stages have their tests. `notice` hears of what checks find in the other files;
    `declared` are the names of the arguments that they take.
    """

    def __init__(
        self,
        options: Options,
        resolver: Resolver,
        inputs: Inputs,
        files: Files,
        *,
        runner: Callable[[Step], str] | None = None,
        notice: Notify | None = None,
        surveying: bool = False,
        testing: bool = False,
    ) -> None:
        self.options = options
        self.resolver = resolver
        self.inputs = inputs
        self.files = files
        self.runner = runner
        self.surveying = surveying
        self.testing = testing
        self.declared: set[str] = set()
        self._notice = notice
        self._told: set[tuple[str, Position | None]] = set()
        self._modules: dict[str, Module] = {}
        self._builds: dict[tuple[str, str, Options], Build] = {}
        self._stages: dict[tuple[str, str, Options], Stage] = {}
        # The targets that are being lowered, outermost first, with how people call them.
        self._running: dict[tuple[str, str, Options], str] = {}

    def stage(self, word: str, platform: str, at: Position) -> Stage:
        """The final state of the target that a word such as `./dir+target` names where `at` is.

        Raises `BuildfileError` for one that is not there or needs itself, and what lowering it raises.
        """
        place, _, target = word.rpartition("+")
        if not place or not target:
            raise BuildfileError(
                f"`{word}` names no target of another file", at=at, hint=f"write it as `{word.rstrip('+')}+target`"
            )
        path, name = self._find(*self.files.beside(place, at), at)
        options = self.options.replace(context=os.path.dirname(path), platform=platform, source=None)
        if path.endswith(".py"):
            key = (path, target, options)
            return self._once(key, f"{name}+{target}", at, lambda: self._of_python(path, name, target, options))
        return self.of_buildfile(path, name, target, options, at)

    def of_buildfile(self, path: str, name: str, target: str, options: Options, at: Position) -> Stage:
        """The final state of a stage ("" for the last) of the Buildfile at a path, with options of its own.

        `name` is how places call the file, `at` where it is named. Raises as `stage`.
        """
        self.files.add(name, path, options.context)
        shown = f"{name}+{target}" if target else name
        key = (path, target.lower(), options)
        return self._once(key, shown, at, lambda: self._of_buildfile(path, name, target, options, at))

    def _find(self, path: str, name: str, at: Position) -> tuple[str, str]:
        """The file that is meant: the path itself, or the Buildfile of that directory."""
        if not os.path.isdir(path):
            self.inputs.file(path)
            if not os.path.isfile(path):
                raise BuildfileError(f"there is no `{name}`", at=at)
            return path, name
        for known in NAMES:
            inside = os.path.join(path, known)
            self.inputs.file(inside)
            if os.path.isfile(inside):
                return inside, os.path.normpath(os.path.join(name, known))
        listed = ", ".join(f"`{known}`" for known in NAMES[:-1])
        raise BuildfileError(f"`{name}` has no Buildfile", at=at, hint=f"one of {listed} is looked for")

    def _once(self, key: tuple[str, str, Options], shown: str, at: Position, make: Callable[[], Stage]) -> Stage:
        if key in self._running:
            names = list(self._running.values())
            chain = " → ".join(f"`{name}`" for name in (*names[list(self._running).index(key) :], shown))
            raise BuildfileError(f"the targets need each other: {chain}", at=at)
        if len(self._running) >= _DEEPEST:
            raise BuildfileError(f"targets of other files need each other more than {_DEEPEST} deep", at=at)
        if key not in self._stages:
            self._running[key] = shown
            try:
                self._stages[key] = make()
            except UsageError as problem:  # a target that nobody asked for on the command line
                raise BuildfileError(problem.message, at=at, hint=problem.hint) from problem
            except PybuildError as problem:
                self.files.show(problem)
                problem.at = self.files.led_from(problem.at, at)
                raise
            finally:
                del self._running[key]
        return self._stages[key]

    def _of_buildfile(self, path: str, name: str, target: str, options: Options, at: Position) -> Stage:
        from buildkit_py.frontend.buildfile.lower_file import Build, is_one_for_all_targets

        tree = self.files.tree(path, name, at)
        key = (path, "" if is_one_for_all_targets(tree) else target, options)
        build = self._builds.get(key)
        if build is None:
            build = Build(tree, options, self.resolver, self.inputs, target_name=target, file=path, others=self)
            self._builds[key] = build
            self.declared.update(build.declared())
        stage = build.wanted_stage(target)
        if self._notice is not None:
            from buildkit_py.frontend.buildfile.checks.of_build import check

            check(tree, build.build_args, build.facts, self.tell)
        return stage

    def _of_python(self, path: str, name: str, target: str, options: Options) -> Stage:
        if self.surveying:  # a look at a file runs no program
            from buildkit_py.frontend import assemble

            return assemble.scratch(target, options.platform, assemble.settings_of(options))
        from buildkit_py.frontend.python.load import load
        from buildkit_py.frontend.python.lower import stage_of

        if path not in self._modules:
            self._modules[path] = load(path, self.inputs, name=name)
        return stage_of(self._modules[path], target, options, self)

    def tell(self, message: str, at: Position | None, hint: str, rule: str) -> None:
        """Pass a notice on, once: a file may be lowered several times."""
        if self._notice is not None and (message, at) not in self._told:
            self._told.add((message, at))
            self._notice(message, at, hint, rule)
