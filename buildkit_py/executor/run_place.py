"""The place of a Run: the filesystem that it stands on, its mounts, variables and network.

Sandboxes are made of it: for the step itself, and for a shell where the step runs.
"""

from __future__ import annotations

import os

from buildkit_py.errors import SandboxError
from buildkit_py.events import Notice
from buildkit_py.executor.cache_mounts import Begun, CacheMounts
from buildkit_py.executor.run_step import Mounts, sandbox_spec
from buildkit_py.graph.op import Run
from buildkit_py.record import Record
from buildkit_py.sandbox.network.choice import Choice
from buildkit_py.sandbox.resolv import hosts_file
from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec
from buildkit_py.store.work import make_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.events import Emit
    from buildkit_py.executor.filesystems import Filesystems
    from buildkit_py.executor.materialize import Materializer
    from buildkit_py.executor.result import Result
    from buildkit_py.executor.settings import Given, Settings
    from buildkit_py.executor.ssh_forward import AgentMounts
    from buildkit_py.graph.op import Service
    from buildkit_py.graph.step import Step
    from buildkit_py.store.store import Store


class Asked(Record):
    """A Run and what it got: the results of the steps that it stands on (`below` is a snapshot) and reads."""

    step: Step
    below: str
    sources: tuple[Result, ...]

    @property
    def op(self) -> Run:
        """What is to be run."""
        assert isinstance(self.step.op, Run)
        return self.step.op

    @property
    def stands_on(self) -> str:
        """The snapshot that the command finds: with `--inputs` the base as narrowed to them."""
        return self.sources[-1].snapshot if self.op.inputs else self.below

    @property
    def snapshots(self) -> tuple[str, ...]:
        """Those of the sources."""
        return tuple([source.snapshot for source in self.sources])


class Places:
    """Makes the places of one build's Runs."""

    def __init__(
        self,
        store: Store,
        materializer: Materializer,
        files: Filesystems,
        emit: Emit,
        given: Given,
        settings: Settings,
    ) -> None:
        self._store = store
        self._materializer = materializer
        self._files = files
        self._given = given
        self._settings = settings
        self.networks = Choice(settings.network, lambda message, hint: emit(Notice("warning", message, hint=hint)))
        self.begun = Begun()

    def open(self, asked: Asked, step_id: str, waiting: Callable[[int], object]) -> RunPlace:
        """Have the mounts of a Run, until `release`; `waiting` is called while a cache is in use elsewhere.

        Raises `BuildfileError`, `SandboxError`, and what getting its filesystems raises.
        """
        step, op = asked.step, asked.op
        trees = self._files.trees(asked.stands_on, step_id)
        seen = [self._files.trees(name, step_id) if name else None for name in asked.snapshots]
        caches = CacheMounts(
            self._store,
            self._materializer,
            self.begun,
            step,
            trees,
            asked.snapshots,
            seen,
            waiting,
            self._settings.restore,
        )
        network = self.network(op)
        resolv_conf = self.networks.resolv_conf(network)
        root = RootFilesystem(trees.directories, host=trees.host)
        mounts = Mounts(
            step, op, seen, self._given.secret, caches, lambda: self._agents(step), self._settings.ca_bundle
        )
        try:
            spec = sandbox_spec(op, root, tuple(mounts.specs), tuple(mounts.env), network, resolv_conf)
            services = [self._container(service, asked.snapshots, network, step_id) for service in op.services]
            return RunPlace(asked, trees.roots, spec, mounts, tuple(services))
        except BaseException:
            mounts.release()  # what it took, else only the place gives back
            raise

    def _agents(self, step: Step) -> AgentMounts:
        from buildkit_py.executor.ssh_forward import AgentMounts

        return AgentMounts(self._store, self._given.agent, step)

    def network(self, op: Run) -> str:
        """The network of a Run, one of those of `Choice`: with services the isolated one, for only there are they
        reached. Raises `SandboxError`.
        """
        if not op.services and op.seeds is None:
            return self.networks.network(op.network)
        if self._settings.network == "none":
            raise SandboxError(
                "services need the isolated network, and this build's network is `none`",
                hint="let `network` of the configuration, or PYBUILD_NETWORK, be `isolated`",
            )
        return self.networks.network("isolated")

    def _container(
        self, service: Service, snapshots: tuple[str, ...], network: str, step_id: str
    ) -> tuple[Service, SandboxSpec]:
        """A service with its sandbox, which is yet to get a place to write to."""
        from buildkit_py.executor.services import container_spec

        trees = self._files.trees(snapshots[service.source], step_id)
        spec = SandboxSpec(
            root=RootFilesystem(trees.directories, host=trees.host),
            argv=service.argv,
            network=network,
            hosts=hosts_file(service.name, ()),
            resolv_conf=self.networks.resolv_conf(network),
        )
        return service, container_spec(service, spec)


class RunPlace:
    """`roots` are the directories of the filesystem that the command finds, lowest first; `layers` those of its layers
    (the lowest of all may be this machine's own root). `services` run beside it, each with its sandbox.
    """

    def __init__(
        self,
        asked: Asked,
        roots: tuple[str, ...],
        spec: SandboxSpec,
        mounts: Mounts,
        services: tuple[tuple[Service, SandboxSpec], ...] = (),
    ) -> None:
        self.asked = asked
        self.roots = roots
        self.layers = spec.root.layers
        self.services = services
        self._spec = spec
        self._mounts = mounts

    def sandbox(self, work: str, layers: tuple[str, ...] | None = None) -> SandboxSpec:
        """The sandbox of the command, which writes to `upper` in the directory `work`; that is made where it is not
        there yet. `layers` are found in it in place of `layers` of the place.
        """
        if not os.path.isdir(f"{work}/upper"):
            make_root(f"{work}/upper")
        # What overlayfs leaves in it is of the mount that it was made for.
        overlay_work = f"{work}/work-{os.urandom(4).hex()}"
        os.mkdir(overlay_work, 0o700)
        root = self._spec.root.replace(upper=f"{work}/upper", work=overlay_work)
        return self._spec.replace(root=root if layers is None else root.replace(layers=layers))

    def release(self) -> None:
        """Give the mounts back."""
        self._mounts.release()
