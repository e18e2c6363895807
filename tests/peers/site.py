"""The server of the cases that fetch: files and a git repository, the same bytes and commits each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.git_server import Repository, serve
from tests.peers.corpus.fetching import COMMITS, PAGES
from tests.web_server import redirect, web_server


@contextmanager
def site(top: Path) -> Iterator[str]:
    """Its address, without a slash at the end. The repository is made below `top`."""
    repository = Repository(top, "repo")
    for name, files in COMMITS.items():
        repository.commit(files, message=name)
        repository.tag(name)
    with web_server() as server:
        server.pages.update(PAGES)
        server.pages["/moved"] = redirect("/dir/file.txt")
        serve(server, repository.bare.parent)
        yield server.url
