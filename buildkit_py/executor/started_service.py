"""One service of a step: started, watched until it is ready, asked to end or killed, and what it wrote dropped."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress

from buildkit_py.errors import PybuildError, SandboxError, StepFailed
from buildkit_py.events import Notice, StepOutput
from buildkit_py.executor.deadline import Deadline, duration
from buildkit_py.executor.listening import TO_ALL, TO_ITSELF, listens
from buildkit_py.executor.output import Pump
from buildkit_py.sandbox.launch import piped
from buildkit_py.store.work import make_root
from buildkit_py.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.executor.services import Surroundings
    from buildkit_py.graph.op import Service
    from buildkit_py.graph.step import Step
    from buildkit_py.sandbox.launch import Sandbox
    from buildkit_py.sandbox.spec import RootFilesystem, SandboxSpec

GRACE = 10.0
"""How many seconds a service that is stopped cleanly has for that."""

ENDING = 1.0
"""How many seconds it is waited for one to end, when what ran in it was killed or it cannot be entered."""

KILLED = 137
"""The exit code of what was killed."""

# How long it is waited between two looks at whether a service is ready: a tenth of the time that it has had, and at
# least and at most so many seconds.
_PAUSE, _LONGEST_PAUSE = 0.005, 0.25
# After how many seconds it is told that one is waited for, where nothing else tells of it.
_SILENCE = 1.0
_TAIL = 20
_SIGKILL = 9


class Started:
    """One service that runs, or has run. `pidfd` is of its first process, for who joins it."""

    def __init__(
        self, around: Surroundings, service: Service, step: Step, step_id: str, *, append: bool, shown: bool
    ) -> None:
        self.service = service
        self._around = around
        self._step = step
        self._step_id = step_id
        gate = around.gate
        self._shown = shown
        self._pump = Pump(
            self._line if shown else _drop,
            f"{around.log_dir}/step-{step_id}.{service.name}.log" if shown else os.devnull,
            append=append,
            mask=gate.mask if gate is not None else None,
        )
        self._sandbox: Sandbox | None = None
        self._spec: SandboxSpec | None = None
        self._reader: Thread | None = None
        self.pidfd = -1
        self._number = 0
        self._ready = False
        self._told = False  # it has failed the step itself
        self._ending = False  # it is our doing that it ends
        self._ended = False
        self._code = 0
        self._problem: PybuildError | None = None
        self._put_away: Callable[[], object] = lambda: None

    def start(self, spec: SandboxSpec) -> None:
        """Start it. Raises `SandboxError`, `StoreError`."""
        self._number = spec.number
        if not spec.root.upper:
            work = self._around.store.work_dir("service")
            self._put_away = work.discard
            spec = spec.replace(root=writable(spec.root, work.path))
        launcher = self._around.launcher()
        sandbox, out_read, err_read = piped(lambda stdout, stderr: launcher.spawn(spec, stdout=stdout, stderr=stderr))
        try:
            self._sandbox, self._spec = sandbox, spec
            self._around.running.add(sandbox)
            # Before it is set up, its process is still among this machine's files and on its network: not to be asked.
            _ = sandbox.terminal_fd
            self.pidfd = os.dup(sandbox.pidfd)  # its own is closed when it has ended, and the number another's then
        except BaseException:
            os.close(out_read)
            os.close(err_read)
            raise
        self._reader = Thread(lambda: self._look_after(sandbox, out_read, err_read))

    def _look_after(self, sandbox: Sandbox, stdout: int, stderr: int) -> None:
        """In a thread of its own: read what it writes, until it has ended."""
        try:
            try:
                self._pump.run(stdout, stderr)
            except BaseException:
                sandbox.destroy()
                raise
            finally:
                self._code = sandbox.wait().code
        except PybuildError as problem:
            self._problem = problem
        finally:
            self._ended = True
            self._around.running.remove(sandbox)
        if self._ready and not (self._ending or self._around.running.cancelled):
            self._around.emit(
                Notice("warning", f"{self._end_in_words()} while `{self._step.name}` needs it", self._step.position)
            )

    def _end_in_words(self) -> str:
        if self._problem is not None:
            return f"the service `{self.service.name}` was ended: {self._problem.message}"
        return f"the service `{self.service.name}` ended with exit code {self._code}"

    def _line(self, stream: int, text: str) -> None:
        self._around.emit(StepOutput(self._step_id, stream, f"{self.service.name} | {text}", self._around.clock()))

    def wait_until_ready(self) -> None:
        """Until it is. Raises `StepFailed` where that does not come to pass, or the service ends before."""
        service = self.service
        began = time.monotonic()
        until = began + service.timeout / 1000
        asked, heard, told = "", 0, self._shown
        while True:
            self._refuse_interrupt()
            if self._ended:
                assert self._reader is not None
                self._reader.join()
                if isinstance(self._problem, SandboxError):
                    raise self._problem
                raise self._failed(f"{self._end_in_words()} before it was ready", reason="a service ended")
            heard = listens(self.sandbox.pid, service.port) if service.port else TO_ALL
            if heard == TO_ALL:
                ready, answer = self._is_ready(until) if service.ready else (True, "")
                asked = answer or asked
                if ready:
                    self._ready = True
                    return
            now = time.monotonic()
            if not told and now - began >= _SILENCE:
                told = True
                waits = f"waiting until the service `{service.name}` is ready, for at most {duration(service.timeout)}"
                self._around.emit(Notice("info", waits))
            if now >= until:
                raise self._late(heard, asked)
            time.sleep(min(max((now - began) / 10, _PAUSE), _LONGEST_PAUSE))

    @property
    def sandbox(self) -> Sandbox:
        """Where it runs."""
        assert self._sandbox is not None
        return self._sandbox

    def spec_for(self, argv: tuple[str, ...]) -> SandboxSpec:
        """What another command in it is."""
        assert self._spec is not None
        return self._spec.replace(argv=argv)

    def _is_ready(self, until: float) -> tuple[bool, str]:
        """Whether the command that knows succeeds, and what it answered; "" where it was still at it in the end."""
        launcher, spec = self._around.launcher(), self.spec_for(self.service.ready)
        pump = Pump(_drop, os.devnull)
        try:
            asking, out_read, err_read = piped(
                lambda stdout, stderr: launcher.join(self.pidfd, spec, stdout=stdout, stderr=stderr)
            )
            # What the command has started would go on without it, but not without the service, which has failed then.
            deadline = Deadline(max(1, int((until - time.monotonic()) * 1000)), self.sandbox.destroy)
            try:
                pump.run(out_read, err_read, asking.started())
                code = asking.wait().code
            finally:
                deadline.end()
        except SandboxError as problem:  # mostly it has ended meanwhile, which is seen next
            return False, problem.message
        if deadline.passed:
            return False, ""
        text = next((line.strip() for line in reversed(pump.tail) if line.strip()), "")
        return code == 0, f"it ends with exit code {code}" + (f", and says: {text}" if text else "")

    def _late(self, heard: int, asked: str) -> StepFailed:
        service = self.service
        if heard == TO_ITSELF:
            note = f"it listens on port {service.port} of its loopback only, where no other reaches it"
        elif heard != TO_ALL:
            note = f"nothing in it listens on port {service.port}"
        else:
            note = f"`{' '.join(service.ready[-1:])}` did not succeed in it: {asked or 'it does not end'}"
        return self._failed(
            f"the service `{service.name}` was not ready within {duration(service.timeout)}",
            note,
            reason="a service was not ready",
        )

    def _failed(self, message: str, *notes: str, reason: str) -> StepFailed:
        self._told = True
        tail = tuple([f"{self.service.name} | {line}" for line in self._pump.tail[-_TAIL:]])
        return StepFailed(
            message,
            code=self._code or 1,
            step_id=self._step_id,
            tail=tail,
            at=self._step.position,
            notes=notes,
            reason=reason,
        )

    def explain(self, failed: StepFailed) -> None:
        """Say with a failed step whether the service was still there, and its last lines."""
        if self._told or failed.code == 130:
            return
        if self._reader is not None:
            self._reader.join()  # what it still had to say
        lines = [f"  {line}" for line in self._pump.tail[-_TAIL // 2 :]]
        if not self._ending:
            failed.notes = (*failed.notes, "\n".join([f"{self._end_in_words()} before the step did", *lines]))
        elif lines and not any(line.startswith(f"{self.service.name} | ") for line in failed.tail):
            failed.notes = (*failed.notes, "\n".join([f"the last lines of the service `{self.service.name}`:", *lines]))

    def stop(self, signum: int) -> None:
        """End it cleanly when it was seeded: by its own signal, and by force where it does not heed that.

        Raises `StepFailed` where it has ended by itself, or the build ends: its files are no seed then.
        """
        self.refuse_end()
        assert self._reader is not None
        self._ending = heard = hears(self.sandbox.pid, signum)
        self.sandbox.kill(signum)
        told, hint = "", ""
        if self._reader.join(GRACE):
            if not heard:
                self.refuse_end()
        else:
            told = f"did not heed its stop signal for {GRACE:g}s, and was killed"
            hint = "; a process 1 hears only the signals that it has a handler for"
        self.end()
        self._reader.join()
        self._refuse_interrupt()
        if not told and self._code not in (0, 128 + signum):  # as many programs do that were asked to end
            told = f"ended with exit code {self._code} when it was stopped"
        if told:
            message = f"the service `{self.service.name}` {told}"
            self._around.emit(
                Notice("warning", message, self._step.position, hint=f"its files are kept as they are{hint}")
            )

    def refuse_end(self, wait: float = 0) -> None:
        """Raise `StepFailed` where it has ended, though nobody asked it to, or does so within so many seconds."""
        self._refuse_interrupt()
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if poll.poll(int(wait * 1000)):
            assert self._reader is not None
            self._reader.join()
            raise self._failed(f"{self._end_in_words()} while it was seeded", reason="a service ended")

    def _refuse_interrupt(self) -> None:
        if self._around.running.cancelled:
            raise StepFailed("the build was interrupted", code=130, at=self._step.position)

    def end(self) -> None:
        """Kill it, if it still runs."""
        self._ending = self._ending or not self._ended
        if self._sandbox is not None:
            self._sandbox.destroy()

    def put_away(self) -> None:
        """Wait for its end, and drop what it wrote."""
        try:
            if self._reader is not None:
                self._reader.join()
            elif self._sandbox is not None:
                self._around.running.remove(self._sandbox)
                with suppress(SandboxError):  # which was told already
                    self._sandbox.wait()
            if self.pidfd >= 0:
                os.close(self.pidfd)
            if self._around.gate is not None:
                self._around.gate.masked(self._pump.masked, self._step.position)
        finally:
            self._around.numbers.give_back(self._number)
            self._put_away()


def hears(pid: int, signum: int) -> bool:
    """Whether the first process of a sandbox notices a signal: it has a handler for it, or blocks it to wait for it.

    What it has neither for the kernel drops (pid_namespaces(7)), but for SIGKILL.
    """
    masks = 0
    with suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith((b"SigCgt:", b"SigBlk:")):
                masks |= int(line[7:], 16)
    return signum == _SIGKILL or bool(masks >> signum - 1 & 1)


def writable(root: RootFilesystem, work: str) -> RootFilesystem:
    """The filesystem with a new directory below `work` for what is written."""
    make_root(f"{work}/upper")
    os.mkdir(f"{work}/work", 0o700)
    return root.replace(upper=f"{work}/upper", work=f"{work}/work")


def _drop(stream: int, text: str) -> None:
    """Nobody wants to see it."""
