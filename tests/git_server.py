"""Git repositories of a test, served over http by git's own `http-backend`, behind `tests/web_server.py`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.web_server import Handler, Request, Web

TIME = "1600000000 +0000"


class Repository:
    """A repository with a work tree below `top`; `bare` is what is served."""

    def __init__(self, top: Path, name: str) -> None:
        self.tree = top / name
        self.bare = top / "served" / f"{name}.git"
        self.tree.mkdir(parents=True)
        self("init", "-q", "-b", "main")
        self.bare.parent.mkdir(exist_ok=True)
        self("init", "-q", "--bare", "-b", "main", str(self.bare))
        self("remote", "add", "origin", str(self.bare))

    def __call__(self, *arguments: str) -> str:
        """`git …` in the work tree; its output."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.invalid",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.invalid",
            "GIT_AUTHOR_DATE": TIME,
            "GIT_COMMITTER_DATE": TIME,
        }
        command = ["git", "-c", "protocol.file.allow=always", *arguments]
        done = subprocess.run(command, cwd=self.tree, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: dict[str, str], message: str = "change", branch: str = "main") -> str:
        """Write files, commit and publish; the id."""
        for name, text in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self("add", "-A")
        self("commit", "-q", "--allow-empty", "-m", message)
        self("push", "-q", "origin", f"HEAD:refs/heads/{branch}")
        return self("rev-parse", "HEAD")

    def tag(self, name: str, *, annotated: bool = False) -> None:
        """Tag the current commit and publish it."""
        self("tag", *(("-a", "-m", name) if annotated else ()), name)
        self("push", "-q", "origin", f"refs/tags/{name}")

    def config(self, key: str, value: str) -> None:
        """A setting of what is served."""
        self("--git-dir", str(self.bare), "config", key, value)


def serve(web: Web, directory: Path) -> None:
    """Let a web server answer for all repositories of a directory, below `/git/`."""

    def page(handler: Handler, request: Request) -> None:
        path, _, query = request.path.partition("?")
        body = handler.rfile.read(int(request.headers.get("content-length", "0")))
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path.removeprefix("/git"),
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "HTTP_GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200 OK").split()[0])
        kept = {name.replace("-", "_"): value for name, value in headers.items() if name != "Content-Length"}
        handler.answer(status, answer, Last_Modified="", **kept)

    web.below["/git/"] = page
