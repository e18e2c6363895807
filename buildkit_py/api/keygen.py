"""Making a pair of keys: a private one in a file of its owner's, and the public one that others are told."""

from __future__ import annotations

import os

from buildkit_py.errors import ExportError, UsageError


def keygen(path: str) -> str:
    """Write a new private key to a file that is not there yet, mode 0600; the public key.

    Raises `UsageError` where the file is there, or `cryptography` is not, and `ExportError`.
    """
    from buildkit_py.portable.ed25519 import generate

    pem, public = generate()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(
            "a key is never written over another file", at=path, hint="name a file that is not there"
        ) from None
    except OSError as problem:
        raise _unwritten(problem, path) from problem
    try:
        with open(fd, "wb") as file:
            file.write(pem)
    except OSError as problem:
        os.unlink(path)
        raise _unwritten(problem, path) from problem
    return public


def _unwritten(problem: OSError, path: str) -> ExportError:
    return ExportError(f"the key could not be written: {problem.strerror}", at=path)
