"""Forwarding an ssh agent into a step: a socket of our own that lets it use the keys, and nothing else.

The agent itself would also let a step add keys, remove them and lock them.
The protocol is draft-ietf-sshm-ssh-agent: a message is its length in four
bytes, its type and the rest. A step may ask for the list of keys and for a
signature; all else is answered with a failure, as BuildKit does.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from buildkit_py.errors import BuildfileError, SandboxError
from buildkit_py.sandbox.spec import SandboxMount
from buildkit_py.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from buildkit_py.graph.op import Mount
    from buildkit_py.graph.step import Step
    from buildkit_py.store.store import Store
    from buildkit_py.store.work import WorkDir

_REQUEST_IDENTITIES = 11
_SIGN_REQUEST = 13
_FAILURE = b"\0\0\0\1\5"
_LONGEST = 256 << 10  # OpenSSH's own limit for a message
_MODE = 0o600


class AgentMounts:
    """The agents that one Run sees while it runs. `agent(id)` is the path of an agent's socket, None for none."""

    def __init__(self, store: Store, agent: Callable[[str], str | None], step: Step) -> None:
        self._store = store
        self._agent = agent
        self._step = step
        self._work: WorkDir | None = None
        self._forwards: list[Forward] = []

    def take(self, mount: Mount, target: str) -> SandboxMount | None:
        """What puts the agent of a mount at `target`; None where it was not given and need not be.

        Raises `BuildfileError` where it must be, `SandboxError` for an owner that cannot be set here.
        """
        agent = self._agent(mount.id)
        if agent is None:
            if mount.required:
                given = mount.id if mount.id == "default" else f"{mount.id}=SOCKET"
                raise BuildfileError(
                    f"the ssh agent `{mount.id}` is required and was not given",
                    at=self._step.position,
                    hint=f"give it with --ssh {given}",
                )
            return None
        if self._work is None:
            self._work = self._store.work_dir("ssh")
        path = f"{self._work.path}/{len(self._forwards)}"
        self._forwards.append(Forward(path, agent))
        try:
            os.chown(path, mount.uid, mount.gid)
        except OSError as problem:
            raise SandboxError(
                f"the ssh agent cannot belong to {mount.uid}:{mount.gid} here: {problem.strerror}",
                at=self._step.position,
                hint="`pybuild info` says which user ids there are",
            ) from problem
        os.chmod(path, mount.mode if mount.mode >= 0 else _MODE)
        return SandboxMount("bind", target, source=path, read_only=True)

    def release(self) -> None:
        """End all that was forwarded."""
        for forward in self._forwards:
            forward.close()
        self._forwards.clear()
        if self._work is not None:
            self._work.discard()
            self._work = None


class Forward:
    """A socket at `path`, whose clients talk to the agent at the socket `agent` until it is closed."""

    def __init__(self, path: str, agent: str) -> None:
        import socket  # most steps have no agent

        self._agent = agent
        self._lock = allocate_lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX)
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The path of a socket has room for 107 bytes, and that of a store may be longer.
            self._listener.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        finally:
            os.close(directory)
        self._listener.listen()
        Thread(self._accept)

    def close(self) -> None:
        """End it with all its connections."""
        with self._lock:
            self._closed = True
            for one in (self._listener, *self._open):
                _shut(one)
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            Thread(lambda client=client: self._serve(client))  # type: ignore[misc]

    def _serve(self, client: socket.socket) -> None:
        from socket import AF_UNIX
        from socket import socket as new_socket

        agent = new_socket(AF_UNIX)
        with client, agent:
            with self._lock:
                if self._closed:
                    return
                self._open |= {client, agent}
            try:
                agent.connect(self._agent)
                while (message := _message(client)) is not None:
                    if message[4] in (_REQUEST_IDENTITIES, _SIGN_REQUEST):
                        agent.sendall(message)
                        answer = _message(agent)
                        if answer is None:
                            return
                        client.sendall(answer)
                    else:
                        client.sendall(_FAILURE)
            except OSError:
                return  # one of them is gone: the other sees the end of its connection
            finally:
                with self._lock:
                    self._open -= {client, agent}


def _message(sock: socket.socket) -> bytes | None:
    """The next message with its length in front; None at the end and for one that is too long or has no type."""
    head = _exactly(sock, 4)
    size = int.from_bytes(head, "big") if head is not None else 0
    if head is None or not 0 < size <= _LONGEST:
        return None
    rest = _exactly(sock, size)
    return None if rest is None else head + rest


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    pieces = b""
    while len(pieces) < size:
        piece = sock.recv(size - len(pieces))
        if not piece:
            return None
        pieces += piece
    return pieces


def _shut(sock: socket.socket) -> None:
    from socket import SHUT_RDWR

    try:
        sock.shutdown(SHUT_RDWR)
    except OSError:
        pass  # it is not connected any more
