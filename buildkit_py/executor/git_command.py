"""The machine's `git`, run so that neither its settings nor a repository can make it do more than it is asked.

No configuration of the user or the system is read, no hook and no helper runs,
nobody is asked for a password, and only http, https, ssh and git's own
protocol are spoken, by submodules too. Addresses and tokens reach git by its
environment and by a private file, never as arguments: those could be taken
for options, and every process of the machine can read them. What git says in
its own words becomes a note of the error.
"""

from __future__ import annotations

import os

from buildkit_py.errors import SourceError, StepFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SETTINGS = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.autocrlf", "false"),
    ("core.symlinks", "true"),
    ("core.fileMode", "true"),
    ("credential.helper", ""),
    ("init.defaultBranch", "master"),
    ("init.templateDir", ""),
    ("advice.detachedHead", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.file.allow", "never"),
    ("protocol.ext.allow", "never"),
    # A server that brings less than this in a minute is given up.
    ("http.lowSpeedLimit", "300"),
    ("http.lowSpeedTime", "60"),
)
_PROTOCOLS = "http:https:ssh:git"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_KEPT_LINES = 20
_UMASK = 0o022
_WAKES = 0.1


class Git:
    """`git` for the repository at `url`. `env` is this process's; `cancelled` is asked while git runs.

    `home` is an existing private directory for git's settings, outside of
    which it looks for no repository. `agent` is the socket of an ssh agent,
    "" for none. `settings` come on top of those that are always made.
    """

    def __init__(
        self,
        url: str,
        home: str,
        env: Mapping[str, str],
        cancelled: Callable[[], bool],
        *,
        agent: str = "",
        settings: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._cancelled = cancelled
        path = f"{home}/gitconfig"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.writelines(_setting(name, value) for name, value in (*_SETTINGS, *settings))
        self._env = _environment(env, url, home, path, agent)

    def run(self, *arguments: str, cwd: str, at: object, doing: str) -> str:
        """Standard output of `git …` in `cwd`. Raises `SourceError`: "git could not `doing`", with git's last lines."""
        code, out, err = self.try_(*arguments, cwd=cwd)
        if code != 0:
            lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
            notes = tuple(f"git: {line}" for line in lines[-_KEPT_LINES:])
            raise SourceError(f"git could not {doing}", at=at, notes=notes, hint=_hint(err))
        return out.decode("utf-8", "surrogateescape")

    def try_(self, *arguments: str, cwd: str) -> tuple[int, bytes, bytes]:
        """Exit code, output and errors of `git …`. Raises `SourceError` where there is no git."""
        import subprocess

        try:
            process = subprocess.Popen(
                ["git", *arguments],
                cwd=cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                umask=_UMASK,
                start_new_session=True,  # so that its helpers end with it, and no terminal can be asked
            )
        except FileNotFoundError as problem:
            raise SourceError("there is no `git` on this machine", hint="install git") from problem
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=_WAKES)
                    return process.returncode, out, err
                except subprocess.TimeoutExpired:
                    if self._cancelled():
                        raise StepFailed("the build was interrupted", code=130) from None
        except BaseException:
            _end(process.pid)
            process.wait()
            raise


def _end(pid: int) -> None:
    from signal import SIGKILL

    try:
        os.killpg(pid, SIGKILL)
    except ProcessLookupError:
        pass  # ended by itself


def _setting(name: str, value: str) -> str:
    """A setting as lines of a configuration file. `name` is `section.key` or `section.anything.key`."""
    section, _, rest = name.partition(".")
    between, _, key = rest.rpartition(".")
    head = f'[{section} "{_quoted(between)}"]' if between else f"[{section}]"
    return f'{head}\n\t{key} = "{_quoted(value)}"\n'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _environment(env: Mapping[str, str], url: str, home: str, config: str, agent: str) -> dict[str, str]:
    made = {
        "PATH": env.get("PATH", os.defpath),
        "LC_ALL": "C",
        "HOME": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": config,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": home,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
        "GIT_SSH_COMMAND": _ssh(env),
        "GIT_SSH_VARIANT": "ssh",
        # Unlike those of the file, git keeps this from submodules, whose origin is another.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "remote.origin.url",
        "GIT_CONFIG_VALUE_0": url,
    }
    if agent:
        made["SSH_AUTH_SOCK"] = agent
    for name, value in env.items():
        if name.lower() in _PROXIES:
            made[name] = value
    return made


def _ssh(env: Mapping[str, str]) -> str:
    """A host that is not known yet is believed, as docker has it; one that was known and has another key is not."""
    home = env.get("HOME", "")
    plain = home.startswith("/") and all(ch.isalnum() or ch in "/._-" for ch in home)
    known = f"{home}/.ssh/known_hosts" if plain else "/dev/null"
    options = ("BatchMode=yes", "IdentityFile=none", "StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={known}")
    return "ssh -F /dev/null" + "".join(f" -o {option}" for option in options)


def _hint(err: bytes) -> str:
    if b"Permission denied (publickey" in err or b"Host key verification failed" in err:
        return "give an ssh agent with `--ssh default`, and see that the host's key is in ~/.ssh/known_hosts"
    if b"could not read Username" in err or b"Authentication failed" in err or b"terminal prompts disabled" in err:
        return "a private repository needs --secret id=GIT_AUTH_TOKEN,env=VARIABLE"
    return ""
