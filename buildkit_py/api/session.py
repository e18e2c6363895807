"""A session: the open store, the process's identity and the sandbox launcher, for the life of one command."""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from buildkit_py.api.keep_small import KeepSmall
    from buildkit_py.config import Config
    from buildkit_py.executor.materialize import Materializer
    from buildkit_py.http.transport import Transport
    from buildkit_py.registry.client import Client
    from buildkit_py.registry.fetch import Fetcher
    from buildkit_py.registry.resolve import ImageResolver
    from buildkit_py.sandbox.launch import Launcher
    from buildkit_py.sandbox.userns import Identity
    from buildkit_py.store.layers import TreeLoss
    from buildkit_py.store.leases import Hold
    from buildkit_py.store.store import Store


def _ignore(loss: TreeLoss) -> None:
    pass


class Session:
    """A context manager. `sandboxes`: sandboxes may be wanted, so their fork server starts at once.
    `offline`: nobody elsewhere is asked for anything. `cache_max`: what the store may take, in bytes, 0 for what
    the configuration says. `config`: that, where it is loaded already.

    An ordinary user's process enters its user namespace here, before it has
    threads. Raises `SandboxError` where the machine does not allow that,
    `StoreError`, `UsageError` for a bad configuration.
    """

    def __init__(
        self,
        store: str = "",
        *,
        sandboxes: bool = False,
        offline: bool = False,
        cache_max: int = 0,
        config: Config | None = None,
    ) -> None:
        from buildkit_py.config import load
        from buildkit_py.sandbox.userns import enter
        from buildkit_py.store.store import Store

        self.began = time.monotonic()
        self.offline = offline
        self.config: Config = config if config is not None else load(os.environ)
        self.identity: Identity = enter()
        self.small: KeepSmall | None = None
        self._cache_max = cache_max or self.config.cache_max
        self._launcher: Launcher | None = None
        # What is one for all threads is asked for by any of them first. What speaks to servers takes 30 ms to load, for
        # which no step is to wait.
        self._launching = allocate_lock()
        self._connecting = allocate_lock()
        self._client: Client | None = None
        self._transport: Transport | None = None
        # Hears of trees that lack owners or devices, which this user could not give or make.
        self.on_loss: Callable[[TreeLoss], object] = _ignore
        launcher = self.launcher() if sandboxes else None
        try:
            self.store: Store = Store.open(store)
            self.store.bind(self.identity.owners)
            self.hold: Hold = self.store.hold()
        except BaseException:
            if launcher is not None:
                launcher.close()
            raise
        self.store.keep_synced()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._launcher is not None:
            self._launcher.close()
        if self._transport is not None:
            self._transport.close()
        self.hold.release()
        if self.small is not None:
            self.small.end()

    def grew(self, count: int) -> None:
        """So many bytes were added to the store."""
        if self.small is None:
            from buildkit_py.api.keep_small import KeepSmall

            self.small = KeepSmall(self.store, self._cache_max)
        self.small.grew(count)

    def ca_bundle(self) -> bytes:
        """The certificates that steps are to trust, b"" where the configuration names none. Raises `UsageError`."""
        path = self.config.ca_bundle
        if not path:
            return b""
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as problem:
            from buildkit_py.errors import UsageError

            raise UsageError(
                f"the certificates to trust cannot be read: {problem.strerror}", at=path, hint="see PYBUILD_CA_BUNDLE"
            ) from problem

    def clock(self) -> float:
        """Seconds since the session began."""
        return time.monotonic() - self.began

    def launcher(self) -> Launcher:
        """The launcher of sandboxes; its fork server is started when first asked for. One for all threads."""
        with self._launching:
            if self._launcher is not None and self._launcher.is_ending:  # there was more to run after all
                self._launcher.close()
                self._launcher = None
            if self._launcher is None:
                from buildkit_py.sandbox.launch import Launcher

                self._launcher = Launcher.start()
            return self._launcher

    def let_launcher_end(self) -> None:
        """No sandbox is foreseen any more: the fork server ends while the rest is done, and not at the very end."""
        if self._launcher is not None:
            self._launcher.end()

    def client(self) -> Client:
        """The client of registries, made when first asked for; one for all threads."""
        with self._connecting:
            if self._client is None:
                from buildkit_py.registry.client import Client

                self._client = Client(self.config, offline=self.offline)
            return self._client

    def transport(self) -> Transport:
        """What fetches files of the web for steps; one for all threads."""
        with self._connecting:
            if self._transport is None:
                from buildkit_py.http.transport import Transport

                self._transport = Transport(ca_bundle=self.config.ca_bundle, offline=self.offline)
            return self._transport

    def resolver(self) -> ImageResolver:
        """Finds images in the store and in registries."""
        from buildkit_py.registry.resolve import ImageResolver

        return ImageResolver(self.store, self.client)

    def fetcher(self) -> Fetcher:
        """Gets the blobs of layers that are not here."""
        from buildkit_py.registry.fetch import Fetcher

        return Fetcher(self.store, self.client, received=self.grew)

    def materializer(self) -> Materializer:
        """Gets layers as directories."""
        from buildkit_py.executor.materialize import Materializer

        return Materializer(self.store, self.identity, self.fetcher, self.on_loss)
