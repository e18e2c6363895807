"""One image of a Buildfile.py into a stage: the recorded actions, oldest first, each given to `assemble`."""

from __future__ import annotations

from buildkit_py.errors import BuildfileError
from buildkit_py.frontend import assemble, results, run_options
from buildkit_py.frontend.assemble import join
from buildkit_py.frontend.buildfile.expand import expansion
from buildkit_py.frontend.buildfile.suggest import did_you_mean
from buildkit_py.frontend.entitlements import check_network, check_security
from buildkit_py.frontend.files import Files
from buildkit_py.frontend.host import host_step
from buildkit_py.frontend.local_context import context_step, sealed
from buildkit_py.frontend.named_context import NamedContexts
from buildkit_py.frontend.other_files import OtherFiles
from buildkit_py.frontend.platform_args import normalise, this_platform
from buildkit_py.frontend.ports import parse_ports
from buildkit_py.frontend.python import actions
from buildkit_py.frontend.python.lower_service import ServiceLowering
from buildkit_py.frontend.python.mounts import BindMount, CacheMount, SecretMount, SshMount, TmpfsMount
from buildkit_py.frontend.python.remote import Elsewhere
from buildkit_py.frontend.python.template import Template
from buildkit_py.frontend.python.text import plain
from buildkit_py.frontend.python.tree import Directory
from buildkit_py.frontend.python.watch import Unwatched
from buildkit_py.graph.op import CopyPath, HttpSource, Inline, LocalSource, Mount, Pipe, Run
from buildkit_py.graph.step import Step
from buildkit_py.http.address import shown_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from buildkit_py.frontend.assemble import Stage
    from buildkit_py.frontend.buildfile.expand import Expansion
    from buildkit_py.frontend.buildfile.lower import Notify
    from buildkit_py.frontend.python.actions import AnyText
    from buildkit_py.frontend.python.image import Image
    from buildkit_py.frontend.python.session import Session
    from buildkit_py.frontend.python.tree import Tree
    from buildkit_py.frontend.target import Inputs, Options, Resolver, Test
    from buildkit_py.graph.op import GitSource
    from buildkit_py.graph.step import Step

    AnyMount = CacheMount | SecretMount | SshMount | TmpfsMount | BindMount


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
        others: OtherFiles | None = None,
    ) -> None:
        self.session = session
        self.options = options
        self.resolver = resolver
        self.inputs = inputs
        self.runner = runner
        self.notice = notice
        self.platform = normalise(options.platform) if options.platform else this_platform()
        self.settings = assemble.settings_of(options)
        self.contexts = NamedContexts(options.build_contexts, resolver, inputs, options.normalize)
        # The image itself is kept with what it became, so that its id stays taken.
        self._made: dict[int, tuple[Image, Stage]] = {}
        self._borrowed: list[Test] = []
        self._images: dict[tuple[str, str], Step] = {}
        self._directories: dict[tuple[str, tuple[str, ...]], Step] = {}
        self._remotes: dict[HttpSource | GitSource, Step] = {}
        self._texts: dict[int, str] = {}
        # So that two mounts of one path are one step.
        self._sealed: dict[tuple[Step, str], Step] = {}
        self._services = ServiceLowering(self._service_stage, self._seed_files)
        if others is None:
            others = OtherFiles(options, resolver, inputs, Files(inputs), runner=runner, notice=notice)
        self.others = others

    def stage(self, image: Image) -> Stage:
        """The stage an image stands for."""
        chain: list[Image] = []
        node: Image | None = image
        while node is not None and id(node) not in self._made:
            chain.append(node)
            node = node.base
        for node in reversed(chain):
            made = self._start(node) if node.base is None else self._change(self._made[id(node.base)][1], node)
            self._made[id(node)] = (node, made)
        return self._made[id(image)][1]

    def evaluate(self, image: Image) -> str:
        """The standard output of the image's last command, run now by the runner."""
        known = self._texts.get(id(image))
        if known is not None:
            return known
        with Unwatched():
            step = self.stage(image).step
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
        return stage.replace(name=name, ignore_cache=self._ignores_cache(name), cmd_given=False, outputs=(), tags=())

    def _from_image(self, image: Image, action: actions.FromImage, *, triggered: bool = True) -> Stage:
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
        if not (stage.config.on_build and triggered):
            return stage
        from buildkit_py.frontend.python.triggers import after_triggers

        options = self.options.replace(context=self.session.root)
        return after_triggers(reference, platform, at, self.session.path, options, self.others)

    def _from_buildfile(self, image: Image, action: actions.FromBuildfile) -> Stage:
        shown = action.path.removeprefix(self.session.root + "/")
        args = tuple((name, plain(value)) for name, value in action.args)
        options = self.options.replace(context=action.context, build_args=self._merged(args))
        return self.others.of_buildfile(action.path, shown, action.target, options, image.position)

    def _merged(self, args: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """The command line's proxies and the call's own build args, which win."""
        kept = tuple(pair for pair in self.options.build_args if pair[0].lower() in assemble.PROXIES)
        return tuple(dict((*kept, *args)).items())

    def _change(self, stage: Stage, image: Image) -> Stage:
        """The stage after an action, with the tests of what it takes files from."""
        borrowed, self._borrowed = self._borrowed, []
        stage = results.with_tests(self._changed(stage, image), self._borrowed)
        self._borrowed = borrowed
        return stage

    def _changed(self, stage: Stage, image: Image) -> Stage:
        at, name = image.position, image.position.function
        if stage.name != name:
            stage = stage.replace(name=name, ignore_cache=self._ignores_cache(name))
        action = image.action
        match action:
            case actions.RunCommand():
                return self._run(stage, image, action)
            case actions.CopyFiles():
                return self._copy(stage, image, action)
            case actions.WriteFile():
                item = Inline(action.path.rpartition("/")[2], self._bytes(stage, action.content))
                label = _label(name, f"WRITE {action.path}")
                stage = assemble.copy(
                    stage, (item,), action.path, owner=action.owner, mode=action.mode, label=label, position=at
                )
            case actions.SetEnv():
                stage = assemble.set_env(stage, self._pairs(stage, action.pairs))
            case actions.DeclareArgs():
                stage = self._args(stage, action)
            case actions.SetLabels():
                stage = assemble.label(stage, self._pairs(stage, action.pairs))
            case actions.SetWorkdir():
                path = self._text(stage, action.path)
                stage = assemble.workdir(stage, path, label=_label(name, f"WORKDIR {path}"), position=at)
            case actions.SetUser():
                stage = assemble.user(stage, self._text(stage, action.user))
            case actions.Expose():
                stage = assemble.expose(stage, tuple(self._ports(stage, action.ports)))
            case actions.Volume():
                paths = tuple(self._text(stage, path) for path in action.paths)
                stage = assemble.volume(stage, paths, position=at)
            case actions.SetCmd():
                stage = assemble.cmd(stage, _argv(stage, action.command))
            case actions.SetEntrypoint():
                stage = assemble.entrypoint(stage, _argv(stage, action.command))
            case actions.SetShell():
                stage = assemble.shell(stage, action.argv)
            case actions.SetHealthcheck():
                stage = assemble.healthcheck(stage, action.times.replace(test=_test(action.command)), position=at)
            case actions.SetStopSignal():
                stage = assemble.stop_signal(stage, self._text(stage, action.signal), position=at)
            case actions.SetMaintainer():
                stage = assemble.maintainer(stage, action.name)
            case actions.AddTrigger():
                stage = assemble.on_build(stage, action.text)
            case actions.NewStage():
                stage = assemble.from_stage(name, stage, ignore_cache=stage.ignore_cache)
            case actions.AddOutput():
                stage = results.output(stage, action.source, action.dest, position=at)
            case _:
                raise AssertionError(f"{type(action).__name__} changes no image")
        return stage

    def _run(self, stage: Stage, image: Image, action: actions.RunCommand) -> Stage:
        at, name = image.position, image.position.function
        argv = _argv(stage, action.command)
        mounts: list[Mount] = []
        sources: list[Step] = []
        for mount in action.mounts:
            mounts.append(self._mount(stage, mount, image, sources, mounts))
        services = self._services.lower(action.services, action, stage, sources) if action.services else ()
        pipes: tuple[Pipe, ...] = ()
        if action.script is not None:
            pipes = (Pipe(action.script.name, self._bytes(stage, action.script.content)),)
        cwd = stage.config.working_dir or "/"
        saved = tuple(
            (join("/" if source.startswith("/") else cwd, source), dest) for source, dest in action.policy.save_always
        )
        shown = " ".join(argv[-1].split()) if action.command.shell else " ".join(argv)
        return assemble.run(
            stage,
            argv,
            mounts=tuple(mounts),
            sources=tuple(sources),
            pipes=pipes,
            network=check_network(action.network, stage.settings.allow, at),
            security=check_security(action.security, stage.settings.allow, at),
            user=action.user,
            env=self._pairs(stage, action.env),
            inputs=tuple(run_options.pattern(pattern, cwd) for pattern in action.inputs),
            policy=action.policy.replace(save_always=saved),
            services=services,
            label=_label(name, f"RUN {shown}"),
            position=at,
        )

    def _mount(
        self, stage: Stage, mount: AnyMount, image: Image, sources: list[Step], others: Sequence[Mount]
    ) -> Mount:
        """One mount, behind some others; what it reads from is added to the sources."""
        given = self._text(stage, mount.target)
        target = join("/" if given.startswith("/") else stage.config.working_dir or "/", given) if given else ""
        if target == "/":
            raise BuildfileError("a mount cannot cover the whole filesystem", at=image.position)
        match mount:
            case CacheMount():
                source, path = -1, "/"
                if mount.tree is not None:
                    source, path = self._bound(stage, mount.tree, image, sources)
                return Mount(
                    "cache",
                    target,
                    source,
                    path,
                    mount.read_only,
                    id=self._text(stage, mount.id) or target,
                    sharing=mount.sharing,
                    mode=mount.mode,
                    uid=mount.uid,
                    gid=mount.gid,
                    keys=tuple(self._text(stage, key) for key in mount.keys),
                )
            case SecretMount():
                return Mount(
                    "secret",
                    target,
                    id=self._text(stage, mount.id),
                    mode=mount.mode,
                    uid=mount.uid,
                    gid=mount.gid,
                    env=mount.env,
                    required=mount.required,
                )
            case SshMount():
                return Mount(
                    "ssh",
                    target or assemble.agent_target(others),
                    id=self._text(stage, mount.id),
                    mode=mount.mode,
                    uid=mount.uid,
                    gid=mount.gid,
                    required=mount.required,
                )
            case TmpfsMount():
                return Mount("tmpfs", target, read_only=False, size=mount.size)
            case BindMount():
                source, path = self._bound(stage, mount.tree, image, sources)
                return Mount("bind", target, source, path, mount.read_only)

    def _copy(self, stage: Stage, image: Image, action: actions.CopyFiles) -> Stage:
        sources: list[Step] = []
        items: list[CopyPath | Inline] = []
        words: list[str] = []
        for tree in action.trees:
            step = self._source(stage, tree)
            if step not in sources or isinstance(tree.source, Elsewhere):
                sources.append(step)
            number = len(sources) - 1 if isinstance(tree.source, Elsewhere) else sources.index(step)
            taken, shown_paths = self._taken(stage, tree, step, number, action)
            items += taken
            words += shown_paths
        for file in action.files:
            items.append(Inline(file.name, self._bytes(stage, file.content)))
            words.append(f"<<{file.name}")
        dest = self._text(stage, action.dest)
        if len(items) > 1 and action.files and not dest.endswith(("/", "/.")):
            raise BuildfileError(
                f"with more than one source, `{dest}` has to be a directory",
                at=image.position,
                hint="end it with `/`",
            )
        return assemble.copy(
            stage,
            tuple(items),
            dest,
            sources=tuple(sources),
            shown=tuple(words),
            keyword=action.keyword,
            owner=self._text(stage, action.owner),
            mode=self._text(stage, action.mode),
            exclude=action.exclude,
            parents=action.parents,
            link=action.link,
            unpack=action.unpack if action.unpack is not None else True,
            label=_label(image.position.function, " ".join((action.keyword, *words, dest))),
            position=image.position,
        )

    def _taken(
        self, stage: Stage, tree: Tree, step: Step, number: int, action: actions.CopyFiles
    ) -> tuple[list[CopyPath], list[str]]:
        """What is copied of a tree, which is source `number`, and how the history says it."""
        paths = [self._text(stage, path) for path in tree.paths]
        if not isinstance(tree.source, Elsewhere):
            paths = paths or ["/"]
            return [CopyPath(path or "/", number) for path in paths], paths
        if paths:
            return [CopyPath(path, number, unpack=bool(action.unpack)) for path in paths], paths
        # As ADD has it: the whole of a repository, or the one file there is.
        if isinstance(step.op, HttpSource):
            item = CopyPath("/" + step.op.name, number, wildcard=False, unpack=bool(action.unpack))
        else:
            item = CopyPath("/", number, wildcard=False, unpack=False, whole=True)
        return [item], [self._text(stage, tree.source.address)]

    def _remote(self, stage: Stage, source: Elsewhere) -> Step:
        """One step for all who take the same, so that it is asked for once."""
        op = source.op(self._text(stage, source.address), self._text(stage, source.checksum))
        step = self._remotes.get(op)
        if step is None:
            name = source.position.function
            step = Step(op, name=_label(name, shown_url(op.url)), stage=name, position=source.position)
            self._remotes[op] = step
        return step

    def _source(self, stage: Stage, tree: Tree) -> Step:
        source = tree.source
        if isinstance(source, Elsewhere):
            return self._remote(stage, source)
        if not isinstance(source, Directory):
            return self._files(source)
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
                normalize=self.options.normalize,
                position=source.position,
            )
        return step

    def _files(self, image: Image) -> Step:
        """The files of an image; one of a registry is taken as it is, without its triggers."""
        if not isinstance(image.action, actions.FromImage):
            stage = self.stage(image)
            self._borrowed += stage.tests
            return assemble.files_of(stage)
        reference, at = plain(image.action.reference), image.position
        platform = normalise(image.action.platform, at) if image.action.platform else self.platform
        if (reference, platform) not in self._images:
            found = self.contexts.find(reference, platform, at)
            if found is not None:
                step = found.directory or found.files(f"[context {reference}]", at)
            elif reference == "scratch":
                step = assemble.files_of(assemble.scratch("scratch", platform, self.settings))
            else:
                resolved = self.resolver.resolve(reference, platform, at)
                step = assemble.image_step(resolved, "", f"FROM {reference}", at)
            self._images[reference, platform] = step
        return self._images[reference, platform]

    def _bound(self, stage: Stage, tree: Tree, image: Image, sources: list[Step]) -> tuple[int, str]:
        """What a mount shows, as its number among the sources and a path: of a live directory a sealed snapshot."""
        path = join("/", self._text(stage, tree.paths[0]) if tree.paths else "/")
        step = self._source(stage, tree)
        if isinstance(step.op, LocalSource):
            key = (step, path.lstrip("/") or "/")
            if key not in self._sealed:
                self._sealed[key] = sealed(*key, stage=image.position.function, position=image.position)
            step = self._sealed[key]
        if step not in sources:
            sources.append(step)
        return sources.index(step), path

    def _service_stage(self, image: Image) -> Stage:
        """The stage that a service starts from: an image of a registry as it is, without its triggers."""
        if isinstance(image.action, actions.FromImage):
            return self._from_image(image, image.action, triggered=False).replace(ignore_cache=self.options.no_cache)
        stage = self.stage(image)
        self._borrowed += stage.tests
        return stage

    def _seed_files(self, tree: Tree) -> tuple[Step, list[str]]:
        """The step of a tree of a service, and its paths."""
        stage = assemble.scratch("", self.platform, self.settings)
        return self._source(stage, tree), [self._text(stage, path) for path in tree.paths]

    # Texts

    def _text(self, stage: Stage, value: AnyText) -> str:
        """A text as a string: run now, or expanded with the stage's variables."""
        return self._expanded(stage, value).text if isinstance(value, Template) else plain(value)

    def _expanded(self, stage: Stage, template: Template) -> Expansion:
        known = dict(stage.env)
        done = expansion(template.text, known.get, escape=template.escape, at=template.position, raw=template.raw)
        declared = {name for name, _ in stage.args}
        for name in done.undefined:
            if self.notice is not None and name not in declared:
                hint = did_you_mean(name, known)
                self.notice(f"the variable `{name}` is not defined", template.position, hint, "")
        return done

    def _bytes(self, stage: Stage, content: AnyText | bytes) -> bytes:
        return content if isinstance(content, bytes) else self._text(stage, content).encode("utf-8", "surrogateescape")

    def _pairs(self, stage: Stage, pairs: actions.Pairs) -> tuple[tuple[str, str], ...]:
        return tuple((self._text(stage, name), self._text(stage, value)) for name, value in pairs)

    def _args(self, stage: Stage, action: actions.DeclareArgs) -> Stage:
        """Each of them sees those before it."""
        declared: list[tuple[str, str | None, str | None]] = []
        seen = stage
        for name, value in action.pairs:
            text = None if value is None else self._text(seen, value)
            declared.append((name, text, text))
            seen = assemble.declare_args(stage, declared)
        return seen

    def _ports(self, stage: Stage, ports: tuple[str | Template, ...]) -> Iterator[str]:
        for port in ports:
            if isinstance(port, str):
                yield port
                continue
            for word in self._expanded(stage, port).words:
                try:
                    yield from parse_ports(word)
                except ValueError as problem:
                    raise BuildfileError(str(problem), at=port.position) from problem

    def _ignores_cache(self, name: str) -> bool:
        options = self.options
        return options.no_cache or name.lower() in {item.lower().replace("-", "_") for item in options.no_cache_filter}


def _label(function: str, text: str) -> str:
    return f"[{function}] {text}" if function else text


def _argv(stage: Stage, command: actions.CommandLine) -> tuple[str, ...]:
    words = tuple(plain(word) for word in command.words)
    return assemble.shell_argv(stage, words[0]) if command.shell else words


def _test(command: actions.CommandLine | None) -> tuple[str, ...]:
    if command is None:
        return ("NONE",)
    return ("CMD-SHELL" if command.shell else "CMD", *(plain(word) for word in command.words))
