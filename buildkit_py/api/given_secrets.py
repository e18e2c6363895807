"""The secrets that a person gave to a build: their values, and that what is built holds none of them."""

from __future__ import annotations

import os
import stat
from _thread import allocate_lock

from buildkit_py.graph.step import in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.api.request import BuildRequest, Secret
    from buildkit_py.events import Emit
    from buildkit_py.executor.secret_gate import SecretGate
    from buildkit_py.frontend.target import Target
    from buildkit_py.graph.step import Step


# What a pipe or a device gave, by its path: it gives that once, and steps and builds ask for a value several times.
_from_pipes: dict[str, bytes] = {}
_reading = allocate_lock()


def _from_pipe(path: str) -> bytes:
    from buildkit_py.whole_file import read_whole

    with _reading:
        if path not in _from_pipes:
            _from_pipes[path] = read_whole(path)
        return _from_pipes[path]


class GivenSecrets:
    """Those of one request. `gate` looks for them in what is built; None where none is to be looked for."""

    def __init__(self, request: BuildRequest, emit: Emit) -> None:
        self._request = request
        self._known: dict[str, Secret] = {secret.id: secret for secret in request.secrets}
        self.gate: SecretGate | None = None
        wanted = [secret.id for secret in request.secrets if secret.scan and request.secret_scan]
        if wanted:
            from buildkit_py.executor.secret_gate import SecretGate

            self.gate = SecretGate(self._read, wanted, emit)

    def value(self, id: str) -> bytes | None:
        """The value of a secret, for a step; None where it was not given. Raises `SourceError`."""
        return self.gate.secret(id) if self.gate is not None else self._read(id)

    def look_at_options(self, roots: Iterable[Step]) -> None:
        """Look at what was said besides the Buildfile. `roots` are all steps that are wanted. Raises `SecretLeaked`."""
        if self.gate is None:
            return
        self.gate.learn(in_order(roots))
        for name, value in self._request.build_args:
            self.gate.look(value, f"the build argument `{name}`")
        self.gate.look(self._request.labels, "a label of --label")

    def look_at_images(self, targets: Iterable[Target]) -> None:
        """Look at what targets are besides files; the secrets of their steps are known. Raises `SecretLeaked`."""
        if self.gate is None:
            return
        for target in targets:
            self.gate.look(target.config, f"the configuration of `{target.name}`", target.position)
            self.gate.look(target.history[target.inherited :], f"the history of `{target.name}`", target.position)
            self.gate.look((target.tags, target.author), f"a name of `{target.name}`", target.position)

    def _read(self, id: str) -> bytes | None:
        from buildkit_py.errors import SourceError

        secret = self._known.get(id)
        if secret is None:
            return None
        if secret.data is not None:
            return os.fsencode(secret.data)
        if secret.env:
            text = os.environ.get(secret.env)
            return None if text is None else os.fsencode(text)
        try:
            if not stat.S_ISREG(os.stat(secret.file).st_mode):
                return _from_pipe(secret.file)
            with open(secret.file, "rb") as file:
                return file.read()
        except OSError as problem:
            raise SourceError(f"the secret `{id}` cannot be read: {problem.strerror}", at=secret.file) from problem
