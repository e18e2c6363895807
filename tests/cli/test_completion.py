"""Completion scripts: shells accept them, and bash's answers."""

from __future__ import annotations

import subprocess

import pytest

from buildkit_py.cli.completion import SHELLS, script
from buildkit_py.cli.main import COMMANDS
from tests.needs import need


def answers_with_images(path):
    """The scripts ask pybuild for the images; make one that answers."""
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho debian\necho alpine\necho foo:1\necho foo:2x\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_parses_it(tmp_path, shell):
    path = tmp_path / "script"
    path.write_text(script(shell))
    for name in COMMANDS:
        assert name in path.read_text()
    need(shell)
    done = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["pybuild", "im"], {"images"}, {"run"}),
        (["pybuild", "build", "--no-"], {"--no-cache", "--no-cache-filter"}, {"--tag"}),
        (["pybuild", "build", "--progress", ""], {"auto", "plain", "json"}, {"images"}),
        (["pybuild", "build", "--progress", "=", "p"], {"plain"}, {"auto"}),
        (["pybuild", "cache", ""], {"du", "prune", "verify"}, set()),
        (["pybuild", "Buildfile.py", "--dry"], {"--dry-run"}, set()),
        (["pybuild", "build", "-f", "Buil"], {"Buildfile"}, {"other"}),
        (["pybuild", "run", "--net"], {"--network"}, set()),
        (["pybuild", "run", "de"], {"debian"}, {"alpine"}),
        (["pybuild", "build", "--jobs", ""], set(), {"auto", "--jobs"}),
        (["pybuild", "build", "m"], {"my file"}, {"my", "file"}),
        (["pybuild", "my"], {"my file"}, {"my", "file"}),
        (["pybuild", "rmi", "fo"], {"foo:1", "foo:2x"}, {"debian"}),
        (["pybuild", "rmi", "foo", ":"], {"1", "2x"}, {"foo:1", "debian"}),
        (["pybuild", "rmi", "foo", ":", "2"], {"2x"}, {"1", "foo:2x"}),
    ],
)
def test_bash_offers(tmp_path, words, some, none):
    need("bash")
    for name in ("Buildfile", "other", "my file"):
        (tmp_path / name).write_text("")
    stand_in = answers_with_images(tmp_path / "bin/pybuild")
    quoted = " ".join(f"'{word}'" for word in words)
    asked = (
        f"PATH={stand_in.parent}:$PATH; COMP_WORDBREAKS=' :='\n{script('bash')}\n"
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
        '_pybuild; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, cwd=tmp_path, check=True)
    offered = set(done.stdout.splitlines())
    assert some <= offered
    assert not none & offered
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("pybuild im", {"images"}, {"run"}),
        ("pybuild build --no-", {"--no-cache", "--no-cache-filter"}, {"--tag"}),
        ("pybuild build --progress ", {"auto", "plain", "json"}, {"images"}),
        ("pybuild cache ", {"du", "prune", "verify"}, set()),
        ("pybuild Buildfile.py --dry", {"--dry-run"}, set()),
        ("pybuild build -f Buil", {"Buildfile"}, {"other"}),
        ("pybuild run --net", {"--network"}, set()),
        ("pybuild run de", {"debian"}, {"alpine"}),
    ],
)
def test_fish_offers(tmp_path, line, some, none):
    need("fish")
    for name in ("Buildfile", "other"):
        (tmp_path / name).write_text("")
    answers_with_images(tmp_path / "bin/pybuild")
    (tmp_path / "script").write_text(script("fish"))
    asked = f"source script; complete -C '{line}'"
    env = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "TERM": "dumb",
    }
    done = subprocess.run(
        ["fish", "--no-config", "-c", asked], capture_output=True, text=True, cwd=tmp_path, env=env, check=True
    )
    assert done.stderr == ""
    offered = {row.partition("\t")[0] for row in done.stdout.splitlines()}
    assert some <= offered
    assert not none & offered


def test_zsh_takes_it_over(tmp_path):
    """It is loaded by the completion system of zsh, and completes `pybuild`."""
    need("zsh")
    (tmp_path / "_pybuild").write_text(script("zsh"))
    asked = (
        'autoload -Uz compinit; compinit -u -d dump; source ./_pybuild; print -- "$_comps[pybuild]"; whence -w _pybuild'
    )
    done = subprocess.run(["zsh", "-f", "-c", asked], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert (done.stdout.split("\n")[:2], done.stderr) == (["_pybuild", "_pybuild: function"], "")
