"""Who one is to a registry: what `docker login` left in `config.json` and its credential helpers.

Nothing else is read, no netrc and no environment variable. A secret appears in
no `repr`, message or event.
"""

from __future__ import annotations

import os

from buildkit_py.errors import PybuildError, RegistryError
from buildkit_py.image import strict_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX_CONFIG = 4 << 20
HELPER_SECONDS = 60
_LONGEST_WORDS = 300
# Under this name docker files the login to its default registry.
_DEFAULT_KEY = "https://index.docker.io/v1/"


class Credential:
    """A user and password, or an identity token that buys tokens (then `user` is "")."""

    __slots__ = ("password", "token", "user")

    def __init__(self, user: str = "", password: str = "", token: str = "") -> None:
        self.user = user
        self.password = password
        self.token = token

    def __repr__(self) -> str:
        return "Credential(…)"

    def basic(self) -> str:
        """The value of an `Authorization` header."""
        from base64 import b64encode

        return "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()


class Credentials:
    """The logins of one `config.json`, read when the first is wanted."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = os.environ if env is None else env
        self._config: dict[str, Any] | None = None
        self._found: dict[str, Credential | None] = {}

    def of(self, host: str) -> Credential | None:
        """The credential for a registry (`docker.io`, `host`, `host:port`), None for an anonymous visit.

        Raises `RegistryError` where the file or a helper is broken.
        """
        if host not in self._found:
            self._found[host] = self._look_up(host)
        return self._found[host]

    def _path(self) -> str:
        directory = self._env.get("DOCKER_CONFIG") or os.path.join(self._env.get("HOME", ""), ".docker")
        return os.path.join(directory, "config.json")

    def _read(self) -> dict[str, Any]:
        if self._config is None:
            try:
                with open(self._path(), "rb") as file:
                    data = file.read(MAX_CONFIG + 1)
            except (FileNotFoundError, NotADirectoryError):
                data = b"{}"
            except OSError as problem:
                raise RegistryError(f"the logins cannot be read: {problem.strerror}", at=self._path()) from problem
            try:
                self._config = strict_json.parse_object(data or b"{}", limit=MAX_CONFIG, what="file of logins")
            except PybuildError as problem:
                raise RegistryError(problem.message, at=self._path()) from None
        return self._config

    def _look_up(self, host: str) -> Credential | None:
        config = self._read()
        names = _keys(host)
        try:
            helpers = strict_json.text_pairs(config, "credHelpers", "file of logins")
            store = strict_json.text(config, "credsStore", "file of logins")
            auths = strict_json.mapping(config, "auths", "file of logins") or {}
        except PybuildError as problem:
            raise RegistryError(problem.message, at=self._path()) from None
        for name in names:
            if helper := dict(helpers).get(name):
                return self._ask(helper, name)
        if store:
            found = self._ask(store, names[0])
            if found is not None:
                return found
        same = (name for name in auths if _host_of(name) == host)  # as older versions of docker wrote them
        for name in (*names, *same):
            entry = auths.get(name)
            if isinstance(entry, dict) and entry:
                return self._from_entry(entry, name)
        return None

    def _from_entry(self, entry: dict[str, Any], name: str) -> Credential | None:
        from base64 import b64decode

        fields = {key: value for key, value in entry.items() if isinstance(value, str)}
        user, password = fields.get("username", ""), fields.get("password", "")
        if fields.get("auth"):
            try:
                decoded = b64decode(fields["auth"], validate=True).decode()
            except ValueError as problem:
                raise RegistryError(f"the login for `{name}` is damaged", at=self._path()) from problem
            user, _, password = decoded.partition(":")
            password = password.rstrip("\0")
        if token := fields.get("identitytoken", ""):
            return Credential(token=token)
        return Credential(user, password) if user else None

    def _ask(self, helper: str, server: str) -> Credential | None:
        import subprocess

        if "/" in helper or not helper:
            raise RegistryError(f"`{helper}` is not the name of a credential helper", at=self._path())
        command = f"docker-credential-{helper}"
        try:
            status, out, err = _run([command, "get"], server.encode(), dict(self._env))
        except FileNotFoundError as problem:
            raise RegistryError(
                f"the credential helper `{command}` is not installed",
                at=self._path(),
                hint="install it, or take its name out of the file",
            ) from problem
        except subprocess.TimeoutExpired as problem:
            raise RegistryError(
                f"the credential helper `{command}` does not answer in {HELPER_SECONDS} seconds", at=self._path()
            ) from problem
        except OSError as problem:
            raise RegistryError(
                f"the credential helper `{command}` cannot be run: {problem.strerror}", at=self._path()
            ) from problem
        if status != 0:
            # It says so on standard output, and that is no failure: nobody logged in here.
            if b"credentials not found" in out.lower() + err.lower():
                return None
            # What it wrote to standard output may have a secret in it all the same.
            said = err.decode("utf-8", "replace").strip().splitlines()
            raise RegistryError(
                f"the credential helper `{command}` failed with status {status}",
                at=self._path(),
                notes=(f"it says: {said[-1][:_LONGEST_WORDS]}",) if said else (),
                hint=f"`echo {server} | {command} get` shows what is wrong",
            )
        try:
            answer = strict_json.parse_object(out, limit=MAX_CONFIG, what="answer of the credential helper")
            user = strict_json.text(answer, "Username", "answer of the credential helper")
            secret = strict_json.text(answer, "Secret", "answer of the credential helper")
        except PybuildError:
            # Not the parser's words: they may quote what the helper wrote.
            raise RegistryError(f"the credential helper `{command}` gave no proper answer", at=self._path()) from None
        if not user and not secret:  # how some say that they have none
            return None
        return Credential(token=secret) if user == "<token>" else Credential(user, secret)


def _run(command: list[str], given: bytes, env: dict[str, str]) -> tuple[int, bytes, bytes]:
    """A helper's exit code, output and errors. One that is not waited for to its end ends with all it started.

    Raises `OSError`, `subprocess.TimeoutExpired`.
    """
    import atexit
    import subprocess

    pipe = subprocess.PIPE
    # Of a session of its own, so that what it started can be ended with it.
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True)

    def end() -> None:
        from signal import SIGKILL

        try:
            os.killpg(process.pid, SIGKILL)
        except ProcessLookupError:
            pass  # ended by itself

    with process:
        atexit.register(end)  # where another thread waits for it, which hears of no signal
        try:
            out, err = process.communicate(given, HELPER_SECONDS)
        except BaseException:
            end()
            raise
        finally:
            atexit.unregister(end)
    return process.returncode, out, err


def _host_of(key: str) -> str:
    """The host under which docker looks a key of `auths` up (its `ConvertToHostname`)."""
    return key.removeprefix("http://").removeprefix("https://").partition("/")[0]


def _keys(host: str) -> tuple[str, ...]:
    """The names under which docker and its helpers file a registry."""
    if host == "docker.io":
        return (_DEFAULT_KEY, "docker.io", "index.docker.io", "https://docker.io")
    return (host, f"https://{host}", f"http://{host}", f"https://{host}/v1/", f"https://{host}/v2/", f"{host}/")
