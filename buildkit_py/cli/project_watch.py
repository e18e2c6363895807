"""`pybuild up --watch`: a project's services are built and replaced whenever an input of theirs changes.

Inputs are the compose files, with all that they include and take variables from, and those of the builds. Another
process brings the project up again, so that what services write is shown meanwhile.
"""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.listener import Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.api.inputs import Inputs
    from buildkit_py.cli.job import Job
    from buildkit_py.cli.listener import Stop

# How long a build may take to end that is begun anew.
_GRACE = 2.0


class ProjectWatch:
    """`argv` is the command line of `pybuild up`, `inputs` those of the builds that brought the project up."""

    def __init__(self, argv: list[str], inputs: Inputs, cwd: str) -> None:
        self._argv = argv
        self._cwd = cwd
        self._job: Job | None = None
        self._listener = Listener("up --watch")
        self._begun = self._listener.after(inputs, ok=True)

    def step(self, stop: Stop, milliseconds: int) -> None:
        """Wait so long for a change, at most, and have the project brought up again where there is one."""
        from buildkit_py.cli.job import Job
        from buildkit_py.sandbox.userns import handed_on

        changed, self._begun = self._begun, ""
        if not changed and self._job is not None and self._job.over:
            changed = self._take(self._job)
        if not changed and self._listener.wait(stop, milliseconds):
            changed = self._listener.look()
        if changed:
            if self._job is not None:
                self._job.end(_GRACE)
            sys.stderr.write(f"{os.path.relpath(changed, self._cwd)} changed\n")
            sys.stderr.flush()
            # In the user namespace of this process, whose containers it is to replace.
            self._job = Job("up", (handed_on(), *self._argv))

    def close(self) -> None:
        """Have nothing brought up any more."""
        if self._job is not None:
            self._job.end(_GRACE)
            self._job = None
        self._listener.close()

    def _take(self, job: Job) -> str:
        """What has changed since a job began that is over now."""
        from buildkit_py.freeze import thaw

        frozen = job.answer()
        self._job = None
        answer = thaw(frozen) if frozen is not None else None
        inputs = answer.inputs if answer is not None else None
        inputs = inputs or self._listener.seen
        return self._listener.after(inputs, ok=answer is not None and answer.ok) if inputs is not None else ""
