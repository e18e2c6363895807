"""The mounts of /sys/fs/cgroup, handed from each sandbox that waits to the next that is begun.

All that one server forks for steps without limits are in the same control
groups, so they see the same: only the first has to mount it. What is handed on
is a detached clone, made before anything of an image is there, by way of the
server; who gets none makes its own.
"""

from __future__ import annotations

import _socket
import os

from buildkit_py.sandbox.request import receive, send

_TEXT = b"cgroups"


class Heirloom:
    """What the next sandbox inherits. In the server it is told of each that was given a spec (`follow`); in a sandbox
    that was forked with it, it is taken and handed on.
    """

    def __init__(self) -> None:
        self._tree = -1
        self._last: _socket.socket | None = None

    # -- in the server

    def follow(self, waiting: _socket.socket) -> None:
        """The next inherits from the sandbox that waited at the other end. The socket belongs to the heirloom then."""
        if self._last is not None:
            self._last.close()
        self._last = waiting

    def prepare(self) -> None:
        """Have what was handed on ready for a sandbox that is forked now; nothing if it is not there yet."""
        last, self._last = self._last, None
        if last is None:
            return
        last.setblocking(False)
        try:
            _, descriptors = receive(last)
        except BlockingIOError:
            descriptors = []
        last.close()
        if descriptors:
            self.let_go()
            self._tree = descriptors[0]

    def let_go(self) -> None:
        """What was prepared is another's now: a mount can be attached once."""
        tree, self._tree = self._tree, -1
        if tree >= 0:
            os.close(tree)

    # -- in the sandbox

    def inherit(self) -> int:
        """The descriptor of the mounts, -1 where there are none to be had."""
        tree, self._tree = self._tree, -1
        return tree

    def hand_on(self, requests: _socket.socket, tree: int) -> None:
        """Leave a clone of them to the next one."""
        if tree >= 0:
            try:
                send(requests, _TEXT, [tree])
            except OSError:
                pass  # the server has gone
            os.close(tree)
