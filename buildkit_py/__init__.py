"""pybuild: container images built like make builds programs.

The names below are what a Buildfile.py imports; each is loaded when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.frontend.python import git as git
    from buildkit_py.frontend.python.ambient import env as env
    from buildkit_py.frontend.python.ambient import platform_arg as platform_arg
    from buildkit_py.frontend.python.ambient import read as read
    from buildkit_py.frontend.python.check import check as check
    from buildkit_py.frontend.python.file import File as File
    from buildkit_py.frontend.python.file import file as file
    from buildkit_py.frontend.python.image import Image as Image
    from buildkit_py.frontend.python.image import host as host
    from buildkit_py.frontend.python.image import scratch as scratch
    from buildkit_py.frontend.python.mounts import bind as bind
    from buildkit_py.frontend.python.mounts import cache as cache
    from buildkit_py.frontend.python.mounts import secret as secret
    from buildkit_py.frontend.python.mounts import ssh as ssh
    from buildkit_py.frontend.python.mounts import tmpfs as tmpfs
    from buildkit_py.frontend.python.remote import remote as remote
    from buildkit_py.frontend.python.service import Service as Service
    from buildkit_py.frontend.python.service import service as service
    from buildkit_py.frontend.python.target import target as target
    from buildkit_py.frontend.python.template import Template as Template
    from buildkit_py.frontend.python.template import expand as expand
    from buildkit_py.frontend.python.text import Text as Text
    from buildkit_py.frontend.python.text import fmt as fmt
    from buildkit_py.frontend.python.tree import Tree as Tree
    from buildkit_py.frontend.python.tree import context as context

_PUBLIC = {
    "File": "file",
    "Image": "image",
    "Service": "service",
    "Template": "template",
    "Text": "text",
    "Tree": "tree",
    "bind": "mounts",
    "cache": "mounts",
    "check": "check",
    "context": "tree",
    "env": "ambient",
    "expand": "template",
    "file": "file",
    "fmt": "text",
    "git": "",
    "host": "image",
    "platform_arg": "ambient",
    "read": "ambient",
    "remote": "remote",
    "scratch": "image",
    "secret": "mounts",
    "service": "service",
    "ssh": "mounts",
    "target": "target",
    "tmpfs": "mounts",
}

# Not only documentation: `from buildkit_py import *` asks for these by name, and so loads them.
__all__ = [
    "File",
    "Image",
    "Service",
    "Template",
    "Text",
    "Tree",
    "bind",
    "cache",
    "check",
    "context",
    "env",
    "expand",
    "file",
    "fmt",
    "git",
    "host",
    "platform_arg",
    "read",
    "remote",
    "scratch",
    "secret",
    "service",
    "ssh",
    "target",
    "tmpfs",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'buildkit_py' has no attribute {name!r}")
    from importlib import import_module

    if not _PUBLIC[name]:
        return import_module(f"buildkit_py.frontend.python.{name}")
    return getattr(import_module(f"buildkit_py.frontend.python.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *_PUBLIC))
