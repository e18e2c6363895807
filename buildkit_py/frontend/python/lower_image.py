"""One image of a Buildfile.py into a stage: the recorded actions, oldest first, each given to `assemble`."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError, UsageError
from buildkit_py.frontend import assemble
from buildkit_py.frontend.assemble import join
from buildkit_py.frontend.host import host_step
from buildkit_py.frontend.local_context import context_step, sealed
from buildkit_py.frontend.named_context import NamedContexts
from buildkit_py.frontend.platform_args import normalise, this_platform
from buildkit_py.frontend.python import actions
from buildkit_py.frontend.python.mounts import BindMount, CacheMount, SecretMount, TmpfsMount
from buildkit_py.frontend.python.text import plain
from buildkit_py.frontend.python.tree import Directory
from buildkit_py.frontend.python.watch import Unwatched
from buildkit_py.frontend.target import Output
from buildkit_py.graph.op import CopyPath, Inline, Mount, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.lower import Notify
    from buildkit_py.frontend.python.image import Image
    from buildkit_py.frontend.python.session import Session
    from buildkit_py.frontend.python.tree import Tree
    from buildkit_py.frontend.target import Inputs, Options, Resolver
    from buildkit_py.graph.step import Step

    Made = tuple[Stage, tuple[Output, ...]]


class ImageLowering:
    """The images of one call lowered so far; the same `Image` is the same steps."""

    def __init__(
        self,
        session: Session,
        options: Options,
        resolver: Resolver,
        inputs: Inputs,
        *,
        runner: Callable[[Step], str] | None = None,
        notice: Notify | None = None,
    ) -> None:
        self.session = session
        self.options = options
        self.resolver = resolver
        self.inputs = inputs
        self.runner = runner
        self.notice = notice
        self.platform = normalise(options.platform) if options.platform else this_platform()
        self.settings = assemble.settings_of(options)
        self.contexts = NamedContexts(options.build_contexts, resolver, inputs)
        # The image itself is kept with what it became, so that its id stays taken.
        self._made: dict[int, tuple[Image, Made]] = {}
        self._directories: dict[tuple[str, tuple[str, ...]], Step] = {}
        self._texts: dict[int, str] = {}

    def stage(self, image: Image) -> Made:
        """The stage an image stands for, and the outputs on the way to it."""
        chain: list[Image] = []
        node: Image | None = image
        while node is not None and id(node) not in self._made:
            chain.append(node)
            node = node.base
        for node in reversed(chain):
            if node.base is None:
                made: Made = (self._start(node), ())
            else:
                stage, outputs = self._made[id(node.base)][1]
                made = self._change(stage, outputs, node)
            self._made[id(node)] = (node, made)
        return self._made[id(image)][1]

    def evaluate(self, image: Image) -> str:
        """The standard output of the image's last command, run now by the runner."""
        known = self._texts.get(id(image))
        if known is not None:
            return known
        with Unwatched():
            step = self.stage(image)[0].step
            assert step is not None
            assert isinstance(step.op, Run)
            assert self.runner is not None
            text = self.runner(step.replace(op=step.op.replace(capture=True)))
        self._texts[id(image)] = text
        return text

    def _start(self, image: Image) -> Stage:
        at, name = image.position, image.position.function
        action = image.action
        match action:
            case actions.FromScratch():
                stage = assemble.scratch(name, self.platform, self.settings)
            case actions.FromHost():
                step = host_step(self.inputs, stage=name, label=_label(name, "FROM host()"), position=at)
                stage = assemble.from_step(name, this_platform(), step, self.settings, host=True)
            case actions.FromBuildfile():
                stage = self._from_buildfile(image, action)
            case actions.FromImage():
                stage = self._from_image(image, action)
            case _:
                raise AssertionError(f"{type(action).__name__} starts no image")
        return stage.replace(name=name, ignore_cache=self._ignores_cache(name), cmd_given=False)

    def _from_image(self, image: Image, action: actions.FromImage) -> Stage:
        at, name = image.position, image.position.function
        reference = plain(action.reference)
        platform = normalise(action.platform, at) if action.platform else self.platform
        label = _label(name, f"FROM {reference}")
        found = self.contexts.find(reference, platform, at)
        if found is not None:
            stage = found.base(name, platform, self.settings, label, at)
        elif reference == "scratch":
            stage = assemble.scratch(name, platform, self.settings)
        else:
            resolved = self.resolver.resolve(reference, platform, at)
            stage = assemble.from_image(name, resolved, self.settings, label=label, position=at)
        if not stage.config.on_build:
            return stage
        # The image's ONBUILD triggers are Buildfile text and mean here what they mean there.
        from buildkit_py.frontend.buildfile.parse import parse_text

        tree = parse_text(f"FROM --platform={platform} {reference}\n", at.file)
        return self._buildfile(tree, "", self.options.replace(context=self.session.root), "")

    def _from_buildfile(self, image: Image, action: actions.FromBuildfile) -> Stage:
        from buildkit_py.frontend.buildfile.parse import parse_file

        self.inputs.file(action.path)
        shown = action.path.removeprefix(self.session.root + "/")
        args = tuple((name, plain(value)) for name, value in action.args)
        options = self.options.replace(context=action.context, build_args=self._merged(args))
        try:
            tree = parse_file(action.path, name=shown)
            return self._buildfile(tree, action.target, options, action.path)
        except BuildfileError as problem:
            if not hasattr(problem.at, "line"):  # it cannot be read: our line is the place
                problem.at = image.position
            raise
        except UsageError as problem:  # a target that the command line did not ask for
            raise BuildfileError(problem.message, at=image.position, hint=problem.hint) from problem

    def _buildfile(self, tree: object, target: str, options: Options, file: str) -> Stage:
        from buildkit_py.frontend.buildfile.lower import Build
        from buildkit_py.frontend.buildfile.syntax import Buildfile

        assert isinstance(tree, Buildfile)
        build = Build(
            tree, options, self.resolver, self.inputs, target_name=target, file=file, notice=self.notice or _silent
        )
        return build.wanted_stage(target)

    def _merged(self, args: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """The command line's proxies and the call's own build args, which win."""
        kept = tuple(pair for pair in self.options.build_args if pair[0].lower() in assemble.PROXIES)
        return tuple(dict((*kept, *args)).items())

    def _change(self, stage: Stage, outputs: tuple[Output, ...], image: Image) -> Made:
        at, name = image.position, image.position.function
        if stage.name != name:
            stage = stage.replace(name=name, ignore_cache=self._ignores_cache(name))
        action = image.action
        match action:
            case actions.RunCommand():
                return self._run(stage, image, action), outputs
            case actions.CopyFiles():
                return self._copy(stage, image, action), outputs
            case actions.WriteFile():
                content = action.content if isinstance(action.content, bytes) else plain(action.content).encode()
                item = Inline(action.path.rpartition("/")[2], content)
                label = _label(name, f"WRITE {action.path}")
                stage = assemble.copy(
                    stage, (item,), action.path, owner=action.owner, mode=action.mode, label=label, position=at
                )
            case actions.SetEnv():
                stage = assemble.set_env(stage, _plain_pairs(action.pairs))
            case actions.SetLabels():
                stage = assemble.label(stage, _plain_pairs(action.pairs))
            case actions.SetWorkdir():
                stage = assemble.workdir(stage, action.path, label=_label(name, f"WORKDIR {action.path}"), position=at)
            case actions.SetUser():
                stage = assemble.user(stage, action.user)
            case actions.Expose():
                stage = assemble.expose(stage, action.ports)
            case actions.Volume():
                stage = assemble.volume(stage, action.paths, position=at)
            case actions.SetCmd():
                stage = assemble.cmd(stage, _argv(stage, action.command))
            case actions.SetEntrypoint():
                stage = assemble.entrypoint(stage, _argv(stage, action.command))
            case actions.SetShell():
                stage = assemble.shell(stage, action.argv)
            case actions.SetHealthcheck():
                stage = assemble.healthcheck(stage, action.times.replace(test=_test(action.command)), position=at)
            case actions.SetStopSignal():
                stage = assemble.stop_signal(stage, action.signal, position=at)
            case actions.AddOutput():
                source = join(stage.config.working_dir or "/", action.source)
                if action.source.startswith("/"):
                    source = join("/", action.source)
                outputs = (*outputs, Output(source, action.dest))
            case _:
                raise AssertionError(f"{type(action).__name__} changes no image")
        return stage, outputs

    def _run(self, stage: Stage, image: Image, action: actions.RunCommand) -> Stage:
        at, name = image.position, image.position.function
        argv = _argv(stage, action.command)
        mounts: list[Mount] = []
        sources: list[Step] = []
        for mount in action.mounts:
            target = join(stage.config.working_dir or "/", mount.target) if mount.target else ""
            if mount.target.startswith("/"):
                target = join("/", mount.target)
            if target == "/":
                raise BuildfileError("a mount cannot cover the whole filesystem", at=at)
            match mount:
                case CacheMount():
                    mounts.append(
                        Mount(
                            "cache",
                            target,
                            read_only=False,
                            id=mount.id or target,
                            sharing=mount.sharing,
                            mode=mount.mode,
                            uid=mount.uid,
                            gid=mount.gid,
                        )
                    )
                case SecretMount():
                    mounts.append(
                        Mount("secret", target, id=mount.id, mode=mount.mode, env=mount.env, required=mount.required)
                    )
                case TmpfsMount():
                    mounts.append(Mount("tmpfs", target, read_only=False, size=mount.size))
                case BindMount():
                    step, path = self._bound(mount.tree, image)
                    mounts.append(Mount("bind", target, len(sources), path, mount.read_only))
                    sources.append(step)
        shown = " ".join(argv[-1].split()) if action.command.shell else " ".join(argv)
        return assemble.run(
            stage,
            argv,
            mounts=tuple(mounts),
            sources=tuple(sources),
            network=action.network,
            user=action.user,
            env=_plain_pairs(action.env),
            label=_label(name, f"RUN {shown}"),
            position=at,
        )

    def _copy(self, stage: Stage, image: Image, action: actions.CopyFiles) -> Stage:
        paths = action.tree.paths or ("/",)
        label = _label(image.position.function, f"{action.keyword} {' '.join(paths)} {action.dest}")
        return assemble.copy(
            stage,
            tuple(CopyPath(path) for path in paths),
            action.dest,
            sources=(self._source(action.tree),),
            keyword=action.keyword,
            owner=action.owner,
            mode=action.mode,
            exclude=action.exclude,
            parents=action.parents,
            link=action.link,
            unpack=action.keyword == "ADD",
            label=label,
            position=image.position,
        )

    def _source(self, tree: Tree) -> Step:
        source = tree.source
        if not isinstance(source, Directory):
            return assemble.files_of(self.stage(source)[0])
        key = (source.root, source.ignore)
        step = self._directories.get(key)
        if step is None:
            own = source.root == self.session.root
            step = self._directories[key] = context_step(
                "context" if own else source.root.rpartition("/")[2],
                source.root,
                self.inputs,
                buildfile=self.session.path if own else "",
                extra=source.ignore,
                position=source.position,
            )
        return step

    def _bound(self, tree: Tree, image: Image) -> tuple[Step, str]:
        """What a bind mount shows: of a directory a sealed snapshot, of an image itself."""
        path = join("/", tree.paths[0] if tree.paths else "/")
        step = self._source(tree)
        if isinstance(tree.source, Directory):
            step = sealed(step, path.lstrip("/") or "/", stage=image.position.function, position=image.position)
        return step, path

    def _ignores_cache(self, name: str) -> bool:
        options = self.options
        return options.no_cache or name.lower() in {item.lower().replace("-", "_") for item in options.no_cache_filter}


def _label(function: str, text: str) -> str:
    return f"[{function}] {text}" if function else text


def _plain_pairs(pairs: actions.Pairs) -> tuple[tuple[str, str], ...]:
    return tuple((name, plain(value)) for name, value in pairs)


def _argv(stage: Stage, command: actions.CommandLine) -> tuple[str, ...]:
    words = tuple(plain(word) for word in command.words)
    return assemble.shell_argv(stage, words[0]) if command.shell else words


def _test(command: actions.CommandLine | None) -> tuple[str, ...]:
    if command is None:
        return ("NONE",)
    return ("CMD-SHELL" if command.shell else "CMD", *(plain(word) for word in command.words))


def _silent(message: str, at: object, hint: str) -> None:
    """Nobody wants to hear."""
