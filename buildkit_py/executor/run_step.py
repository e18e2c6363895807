"""A Run, performed: its mounts and variables, its sandbox, and the command in it until that has ended."""

from __future__ import annotations

import os

from buildkit_py.errors import BuildfileError, PybuildError, SandboxError, StepFailed
from buildkit_py.executor.deadline import Deadline, duration
from buildkit_py.executor.output import Pump
from buildkit_py.graph.op import NO_POLICY
from buildkit_py.sandbox.resolv import hosts_file
from buildkit_py.sandbox.spec import RootFilesystem, SandboxMount, SandboxSpec
from buildkit_py.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.executor.cache_mounts import CacheMounts
    from buildkit_py.executor.materialize import Trees
    from buildkit_py.executor.ssh_forward import AgentMounts
    from buildkit_py.graph.op import Mount, Policy, Run
    from buildkit_py.graph.step import Step
    from buildkit_py.sandbox.launch import Launcher, Sandbox
    from buildkit_py.sandbox.limits import Limits

PIPES = "/dev/pipes"
# With less than this left on the disk, that is taken for what a command failed of.
_FULL = 256 << 10
# What timeout(1) ends with, too.
TIMED_OUT = 124
# What tells ssh where its agent is.
AGENT_VARIABLE = "SSH_AUTH_SOCK"
# Where a step finds the certificates that its machine trusts, and what tells the usual programs of it.
CA_BUNDLE = "/run/pybuild/ca-certificates.crt"
CA_VARIABLES = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
)


def sandbox_spec(
    op: Run,
    root: RootFilesystem,
    mounts: tuple[SandboxMount, ...],
    env: tuple[tuple[str, str], ...],
    network: str,
    resolv_conf: bytes,
) -> SandboxSpec:
    """The sandbox of a build step, as docker's build gives it (BuildKit `executor/oci/spec.go`)."""
    spec = SandboxSpec(
        root=root,
        argv=op.argv,
        env=(*op.env, *op.proxy_env, *env),
        cwd=op.cwd,
        user=op.user,
        hostname=op.hostname,
        network=network,
        mounts=mounts,
        hosts=hosts_file(op.hostname, op.hosts),
        resolv_conf=resolv_conf,
    )
    if op.security != "insecure":
        return spec
    from buildkit_py.sandbox.capabilities import ALL

    return spec.replace(capabilities=ALL, seccomp=False, insecure=True)


def trusted(bundle: bytes, env: tuple[tuple[str, str], ...]) -> tuple[SandboxMount, tuple[tuple[str, str], ...]]:
    """The mount and the variables that make a step trust a bundle of certificates, as behind a company's proxy.

    Like a proxy's address it belongs to the machine: it is in no key, no
    layer and no image. A variable that the step sets itself stays.
    """
    own = {name for name, _ in env}
    variables = tuple((name, CA_BUNDLE) for name in CA_VARIABLES if name not in own)
    return SandboxMount("file", CA_BUNDLE, data=bundle, mode=0o644), variables


class Mounts:
    """The mounts of one Run while it runs: what the sandbox gets, and what is to be released after."""

    def __init__(
        self,
        step: Step,
        op: Run,
        trees: Sequence[Trees | None],
        secret: Callable[[str], bytes | None],
        caches: CacheMounts,
        agents: Callable[[], AgentMounts],
        ca_bundle: bytes = b"",
    ) -> None:
        self._step = step
        self._agents: AgentMounts | None = None
        self._new_agents = agents
        self._secret = secret
        self._caches = caches
        self.env: list[tuple[str, str]] = []
        self.specs: list[SandboxMount] = []
        try:
            caches.take(op)
            for mount in op.mounts:
                self._add(mount, trees[mount.source] if mount.source >= 0 else None, op)
        except BaseException:
            self.release()
            raise
        for pipe in op.pipes:
            self.specs.append(
                SandboxMount("file", f"{PIPES}/{pipe.name}", data=pipe.content, mode=pipe.mode, read_only=True)
            )
        if ca_bundle:
            bundle, variables = trusted(ca_bundle, op.env)
            self.specs.append(bundle)
            self.env.extend(variables)

    def release(self) -> None:
        """Give the cache mounts and the agents back."""
        self._caches.release()
        if self._agents is not None:
            self._agents.release()

    def _add(self, mount: Mount, tree: Trees | None, op: Run) -> None:
        target = absolute(mount.target, op)
        match mount.kind:
            case "bind":
                if tree is not None and tree.host:
                    raise BuildfileError(
                        f"`{target}` cannot show a stage that stands on this machine's own root filesystem",
                        at=self._step.position,
                        hint="COPY what it made into a stage that starts FROM scratch, and mount that",
                    )
                layers = tree.directories if tree is not None else ()
                self.specs.append(
                    SandboxMount("tree", target, layers=layers, path=mount.path, read_only=mount.read_only)
                )
            case "cache":
                path = self._caches.path(mount, op)
                self.specs.append(SandboxMount("bind", target, source=path, read_only=mount.read_only))
            case "tmpfs":
                self.specs.append(SandboxMount("tmpfs", target, size=mount.size, mode=0o1777, read_only=False))
            case "secret":
                self._add_secret(mount, target)
            case "ssh":
                if self._agents is None:  # what forwards them is loaded for those who want it
                    self._agents = self._new_agents()
                if (spec := self._agents.take(mount, target)) is not None:
                    self.specs.append(spec)
                if not any(name == AGENT_VARIABLE for name, _ in (*op.env, *self.env)):
                    # Also where there is none: which variables a command has does not hang on what a person gives.
                    self.env.append((AGENT_VARIABLE, target))
            case _:
                raise BuildfileError(f"mounts of type `{mount.kind}` are not supported", at=self._step.position)

    def _add_secret(self, mount: Mount, target: str) -> None:
        value = self._secret(mount.id)
        if value is None:
            if mount.required:
                raise BuildfileError(
                    f"the secret `{mount.id}` is required and was not given",
                    at=self._step.position,
                    hint=f"give it with --secret id={mount.id},src=FILE",
                )
            return
        if mount.env:
            if b"\0" in value:
                raise BuildfileError(
                    f"the secret `{mount.id}` has a NUL byte in it, which no variable can have",
                    at=self._step.position,
                    hint="mount it as a file: --mount=type=secret without env=",
                )
            self.env.append((mount.env, value.decode("utf-8", "surrogateescape")))
        if mount.target:
            mode = mount.mode if mount.mode >= 0 else 0o400
            self.specs.append(
                SandboxMount("file", target, data=value, mode=mode, uid=mount.uid, gid=mount.gid, read_only=True)
            )


def absolute(path: str, op: Run) -> str:
    """A path as a command sees it: a relative one is below the directory that it runs in."""
    return path if path.startswith("/") else f"{op.cwd.rstrip('/')}/{path}"


class Running:
    """The sandboxes that run now, so that all can be ended at once.

    `coming` are the Runs whose sandboxes are still to come, `at_once` of them at the same time at most; a retry makes
    one that nobody foresaw.
    """

    def __init__(self) -> None:
        self.coming: set[Step] = set()
        self.at_once = 1
        self._sandboxes: set[Sandbox] = set()
        self.cancelled = False

    def add(self, sandbox: Sandbox) -> None:
        """A sandbox began; it is ended at once if everything was cancelled meanwhile."""
        self._sandboxes.add(sandbox)
        if self.cancelled:
            sandbox.destroy()

    def remove(self, sandbox: Sandbox) -> None:
        self._sandboxes.discard(sandbox)

    def cancel(self) -> None:
        """End every sandbox, and those still to come."""
        self.cancelled = True
        for sandbox in list(self._sandboxes):
            sandbox.destroy()


def _abandon(sandbox: Sandbox) -> None:
    """End a sandbox whose output nobody reads any more; it is gone before its directory is."""
    sandbox.destroy()
    try:
        sandbox.wait()
    except SandboxError:
        pass  # what came first is the one to report


def limits_of(policy: Policy, step: Step) -> Limits | None:
    """The limits that a policy sets, None for none. Raises `SandboxError` where they cannot be enforced."""
    if not (policy.memory or policy.cpus):
        return None
    from buildkit_py.sandbox.limits import Limits, hierarchies

    try:
        return Limits.make(hierarchies(), memory=policy.memory, cpus=policy.cpus)
    except SandboxError as problem:
        problem.place(step.position)
        raise


def run_command(
    launcher: Launcher,
    running: Running,
    spec: SandboxSpec,
    pump: Pump,
    step: Step,
    step_id: str,
    policy: Policy = NO_POLICY,
    limits: Limits | None = None,
    inside: int = -1,
    ahead: Callable[[], object] | None = None,
) -> None:
    """Run the command, in a sandbox of its own or in the one that the pidfd `inside` is of, and wait for it.

    `ahead` is what there is time for while it runs, and may be left out. Raises `StepFailed` if its status is not zero,
    or its time or memory is over.
    """
    timeout = policy.timeout

    def start(stdout: int, stderr: int) -> Sandbox:
        if inside < 0:
            return launcher.spawn(spec, stdout=stdout, stderr=stderr)
        return launcher.join(inside, spec, stdout=stdout, stderr=stderr)

    from buildkit_py.sandbox.launch import piped

    sandbox, out_read, err_read = piped(start)
    running.add(sandbox)
    running.coming.discard(step)
    deadline = Deadline(timeout, sandbox.destroy) if timeout else None
    try:
        wanted = (running.coming or ahead is not None) and spec.usual and inside < 0
        # Not before this one is set up: all mounts of a machine are made one after another, and some wait for all
        # processors.
        if wanted and sandbox.gets_ready():
            if running.coming:
                launcher.prepare(spec.network, min(running.at_once, len(running.coming)))
            if ahead is not None:
                Thread(ahead)
        pump.run(out_read, err_read, sandbox.started() if inside >= 0 else -1)
        ended = sandbox.wait()
        if not running.coming:
            launcher.rest()
    except BaseException:
        _abandon(sandbox)
        raise
    finally:
        running.remove(sandbox)
        if deadline is not None:
            deadline.end()
    if running.cancelled:
        raise StepFailed("the build was interrupted", code=130, step_id=step_id, at=step.position)
    if ended.code != 0 and limits is not None and limits.out_of_memory():
        raise StepFailed(
            f"`{step.name}` needed more than the {in_units(policy.memory)} that its --memory allows",
            code=ended.code,
            step_id=step_id,
            tail=tuple(pump.tail[-20:]),
            at=step.position,
            reason=f"out of memory, with {in_units(policy.memory)}",
        )
    if ended.code != 0 and deadline is not None and deadline.passed:
        raise StepFailed(
            f"`{step.name}` was ended after the {duration(timeout)} that its --timeout allows",
            code=TIMED_OUT,
            step_id=step_id,
            tail=tuple(pump.tail[-20:]),
            at=step.position,
            reason=f"timed out after {duration(timeout)}",
        )
    if ended.code != 0:
        raise StepFailed(
            f"`{step.name}` ended with exit code {ended.code}",
            code=ended.code,
            step_id=step_id,
            tail=tuple(pump.tail[-20:]),
            at=step.position,
            hint=_hint_of_full_disk(spec.root.upper),
        )


def save_always(
    policy: Policy,
    step: Step,
    roots: tuple[str, ...],
    save: Callable[[tuple[str, ...], str, str], None] | None,
    failed: StepFailed | None = None,
) -> None:
    """Copy out of a step's filesystem what `--save-always` names, by the `save` of `Settings`.

    What cannot be is a note of the step's failure, if it has one. Raises what `save` raises, else.
    """
    for source, dest in policy.save_always:
        assert save is not None
        try:
            save(roots, source, dest)
        except PybuildError as problem:
            if failed is None:
                problem.place(step.position)
                raise
            failed.notes = (*failed.notes, f"`{source}` was not saved: {problem.message}")


def in_units(size: int) -> str:
    """Bytes as a person would write them behind `--memory=`: `512m`, `1536k`."""
    for shift, unit in ((30, "g"), (20, "m"), (10, "k")):
        if size % (1 << shift) == 0:
            return f"{size >> shift}{unit}"
    return f"{size} bytes"


def is_full(path: str) -> bool:
    """Whether the disk of a path has no space left."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize < _FULL or (disk.f_favail <= 0 and disk.f_files != 0)


def _hint_of_full_disk(path: str) -> str:
    """The hint for a command that failed while the disk below it has no space left, which its own words may not say."""
    if not is_full(path):
        return ""
    return "the disk of the store is full; free some with `pybuild cache prune`, or set PYBUILD_HOME to a larger one"
