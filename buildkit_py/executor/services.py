"""The services of a step: each in a sandbox of its own, started before the command, waited for, ended after it.

A service stands on the layers of its image, and what it writes goes to a
directory that is dropped with it: however many steps run at once, each has
its own.
"""

from __future__ import annotations

from _thread import allocate_lock
from contextlib import ExitStack

from buildkit_py.errors import SandboxError, StepFailed
from buildkit_py.events import Notice
from buildkit_py.executor.started_service import Started
from buildkit_py.sandbox.network.plan import LAST, SERVICES, as_text
from buildkit_py.sandbox.resolv import reached_at
from buildkit_py.sandbox.spec import SandboxMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from buildkit_py.events import Emit
    from buildkit_py.executor.run_step import Running
    from buildkit_py.executor.secret_gate import SecretGate
    from buildkit_py.graph.op import Service
    from buildkit_py.graph.step import Step
    from buildkit_py.sandbox.launch import Launcher
    from buildkit_py.sandbox.network.plan import Plan
    from buildkit_py.sandbox.spec import SandboxSpec
    from buildkit_py.store.store import Store


class Numbers:
    """The numbers of addresses, by which the services of one build are told from each other. For many threads."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._taken: set[int] = set()
        self._last = SERVICES - 1

    def take(self) -> int:
        """One that no service has, and the longest ago had. Raises `SandboxError` where all are taken."""
        with self._lock:
            if len(self._taken) > LAST - SERVICES:
                raise SandboxError("too many services run at once")
            while True:
                self._last = self._last + 1 if self._last < LAST else SERVICES
                if self._last not in self._taken:
                    self._taken.add(self._last)
                    return self._last

    def give_back(self, number: int) -> None:
        """Its service has ended."""
        with self._lock:
            self._taken.discard(number)


class Surroundings:
    """What all services of a build share. `launcher`, `running`, `gate`, `log_dir` are those of the Runs."""

    def __init__(
        self,
        store: Store,
        launcher: Callable[[], Launcher],
        running: Running,
        emit: Emit,
        clock: Callable[[], float],
        gate: SecretGate | None,
        log_dir: str,
        plan: Callable[[], Plan],
    ) -> None:
        self.store = store
        self.launcher = launcher
        self.running = running
        self.emit = emit
        self.clock = clock
        self.gate = gate
        self.log_dir = log_dir
        self.plan = plan
        self.numbers = Numbers()


class Beside:
    """The services of one attempt at a step: a context manager at whose end none of them runs.

    `shown`: what they write is progress of the step, and kept in a log beside its own (`append`: behind what is there).
    Else nobody sees that they are waited for, and after a while that is told.
    """

    def __init__(
        self, around: Surroundings, step: Step, step_id: str, *, append: bool = False, shown: bool = True
    ) -> None:
        self._around = around
        self._step = step
        self._step_id = step_id
        self._append = append
        self._shown = shown
        self._started: list[Started] = []
        self._held = ExitStack()
        self.hosts = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for service in self._started:
            service.end()
        if isinstance(value, StepFailed):
            for service in self._started:
                service.explain(value)
        self._held.close()

    def surround(self, services: tuple[tuple[Service, SandboxSpec], ...], spec: SandboxSpec) -> SandboxSpec:
        """Start some, one after the other; the spec of a step that then knows them. Raises as `start`."""
        for service, container in services:
            self.start(service, container)
        return self._known_to(spec)

    def surround_shell(self, services: tuple[tuple[Service, SandboxSpec], ...], spec: SandboxSpec) -> SandboxSpec:
        """As `surround`, for a person who wants to look: one that cannot be had is told, and is no reason against it.

        Those behind it are not started. Raises `StepFailed` where the build is interrupted.
        """
        names = [service.name for service, _ in services]
        try:
            return self.surround(services, spec)
        except (StepFailed, SandboxError) as problem:
            if self._around.running.cancelled:
                raise
            left = ", ".join([f"`{name}`" for name in names[len(self._started) :]])
            self._around.emit(
                Notice(
                    "warning",
                    ": ".join([problem.message, *problem.notes[:1]]),
                    self._step.position,
                    hint=f"the shell opens without {left}" if left else "",
                )
            )
        return self._known_to(spec)

    def _known_to(self, spec: SandboxSpec) -> SandboxSpec:
        """A spec that knows by name those that were started."""
        return spec.replace(hosts=(spec.hosts or b"") + self.hosts)

    def start(self, service: Service, spec: SandboxSpec) -> Started:
        """Start one in the sandbox of a spec, which knows those before it by name, and wait until it is ready.

        A spec without an `upper` gets one that is dropped. Raises `StepFailed` and `SandboxError`.
        """
        around = self._around
        number = around.numbers.take()
        address = as_text(around.plan().address(number))
        spec = spec.replace(number=number, hosts=reached_at(spec.hosts, service.name, address) + self.hosts)
        started = Started(around, service, self._step, self._step_id, append=self._append, shown=self._shown)
        self._started.append(started)
        self._held.callback(started.put_away)
        started.start(spec)
        # Before it is ready: who looks for what is wrong with it finds it, too.
        self.hosts += f"{address}\t{service.name}\n".encode()
        started.wait_until_ready()
        return started


def container_spec(service: Service, spec: SandboxSpec) -> SandboxSpec:
    """The sandbox of a service, as `pybuild run` gives it: `spec` is that of a step, of which root, mounts, /etc/hosts,
    name servers and network are taken.
    """
    name = SandboxMount("file", "/etc/hostname", data=f"{service.name}\n".encode(), mode=0o644, read_only=False)
    return spec.replace(
        argv=service.argv,
        env=service.env,
        cwd=service.cwd,
        user=service.user,
        hostname=service.name,
        mounts=(*spec.mounts, name),
        writable_etc=True,
        open_ports=True,
    )
