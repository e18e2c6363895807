from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.config import Config, RegistryConfig, TrustConfig, config_file, load, store_root
from buildkit_py.errors import UsageError


@pytest.mark.parametrize(
    ("env", "root"),
    [
        ({"PYBUILD_HOME": "/here/../there", "XDG_CACHE_HOME": "/x", "HOME": "/home/a"}, "/there"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/home/a"}, "/x/pybuild"),
        ({"PYBUILD_HOME": "", "XDG_CACHE_HOME": "relative", "HOME": "/home/a"}, "/home/a/.cache/pybuild"),
        ({"HOME": "/home/a"}, "/home/a/.cache/pybuild"),
    ],
)
def test_where_the_store_is(env: dict[str, str], root: str) -> None:
    assert store_root(env) == root


def test_a_relative_home_is_below_the_current_directory() -> None:
    assert store_root({"PYBUILD_HOME": "store"}) == os.path.join(os.getcwd(), "store")


def write(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "pybuild").mkdir(exist_ok=True)
    (tmp_path / "pybuild" / "config.toml").write_text(text)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_without_a_file_nothing_is_set(tmp_path: Path) -> None:
    assert load({"XDG_CONFIG_HOME": str(tmp_path)}) == Config()
    assert load({"HOME": str(tmp_path)}) == Config()
    assert load({}).registry("docker.io") == RegistryConfig("docker.io")
    assert config_file({"HOME": "/home/a"}) == "/home/a/.config/pybuild/config.toml"


def test_everything_set(tmp_path: Path) -> None:
    env = write(
        tmp_path,
        """
        ca_bundle = "company.pem"
        [build]
        jobs = 4
        network = "none"
        compression = "gzip"
        [run]
        network = "isolated"
        [cache]
        max = "20g"
        [registries."docker.io"]
        mirrors = ["http://localhost:5000/", "https://mirror.example/path"]
        [registries."localhost:5001"]
        insecure = true
        """,
    )
    config = load(env)
    assert config == Config(
        registries=(
            RegistryConfig("docker.io", ("http://localhost:5000", "https://mirror.example/path")),
            RegistryConfig("localhost:5001", insecure=True),
        ),
        jobs=4,
        network="none",
        run_network="isolated",
        compression="gzip",
        ca_bundle=str(tmp_path / "pybuild" / "company.pem"),
        cache_max=20 << 30,
        file=str(tmp_path / "pybuild" / "config.toml"),
    )
    assert config.registry("localhost:5001").insecure


@pytest.mark.parametrize(
    ("key", "field", "variable"),
    [("max", "cache_max", "PYBUILD_CACHE_MAX"), ("mounts_max", "mounts_max", "PYBUILD_CACHE_MOUNTS_MAX")],
)
def test_a_size_from_the_environment_comes_first(tmp_path: Path, key: str, field: str, variable: str) -> None:
    env = write(tmp_path, f'[cache]\n{key} = "20g"')
    assert getattr(load(env), field) == 20 << 30
    assert getattr(load({**env, variable: "512m"}), field) == 512 << 20
    with pytest.raises(UsageError, match=f"{variable}: `much` is no size"):
        load({variable: "much"})
    with pytest.raises(UsageError, match=rf"cache\.{key}: `much` is no size"):
        load(write(tmp_path, f'[cache]\n{key} = "much"'))


def test_the_network_from_the_environment_is_that_of_builds_and_runs(tmp_path: Path) -> None:
    env = {**write(tmp_path, '[build]\nnetwork = "none"'), "PYBUILD_NETWORK": "host"}
    assert (load(env).network, load(env).run_network) == ("host", "host")
    with pytest.raises(UsageError, match="PYBUILD_NETWORK is 'bridge'"):
        load({"PYBUILD_NETWORK": "bridge"})


def test_mirrors_from_the_environment_come_first(tmp_path: Path) -> None:
    env = write(tmp_path, '[registries."docker.io"]\nmirrors = ["http://a", "http://b"]\ninsecure = true')
    env["PYBUILD_REGISTRY_MIRRORS"] = "docker.io=http://b, quay.io=https://c ,docker.io=http://d,"
    assert load(env).registries == (
        RegistryConfig("docker.io", ("http://b", "http://d", "http://a"), True),
        RegistryConfig("quay.io", ("https://c",)),
    )
    assert load({"HOME": "/nowhere", "PYBUILD_REGISTRY_MIRRORS": " "}) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "unknown key 'x'"),
        ("[build]\nthreads = 1", "unknown key 'build.threads'"),
        ('[registries."a"]\nmirror = "x"', "unknown key 'registries.\"a\".mirror'"),
        ("[build]\njobs = -1", "build.jobs must be a whole number"),
        ("[build]\njobs = true", "build.jobs must be a whole number"),
        ('[build]\nnetwork = "bridge"', "build.network is 'bridge'"),
        ('[run]\nnetwork = "bridge"', "run.network is 'bridge'"),
        ("[build]\ncompression = 3", "build.compression must be a string"),
        ("build = 1", "build must be a table"),
        ("ca_bundle = 1", "ca_bundle must be a string"),
        ("registries.a = 1", "registries.a must be a table"),
        ('registries.a.mirrors = "http://x"', "mirrors must be a list"),
        ('registries.a.mirrors = ["x:5000"]', "'x:5000' of registries.\"a\".mirrors is no URL"),
        ('registries.a.insecure = "yes"', "insecure must be true or false"),
        ("x = ", "not valid TOML"),
        ("x = 'ü", "not valid TOML"),
    ],
)
def test_mistakes_in_the_file_name_it_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(write(tmp_path, text))
    assert message in caught.value.message
    assert caught.value.at == str(tmp_path / "pybuild" / "config.toml")


@pytest.mark.parametrize("value", ["docker.io", "=http://x", "docker.io=", "docker.io=ftp://x", "docker.io=http://"])
def test_mistakes_in_the_variable_name_it(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"HOME": "/nowhere", "PYBUILD_REGISTRY_MIRRORS": value})
    assert caught.value.at == "PYBUILD_REGISTRY_MIRRORS"


def test_a_file_that_cannot_be_read_or_decoded(tmp_path: Path) -> None:
    (tmp_path / "pybuild" / "config.toml").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot read"):
        load({"XDG_CONFIG_HOME": str(tmp_path)})
    (tmp_path / "pybuild" / "config.toml").rmdir()
    (tmp_path / "pybuild" / "config.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not valid TOML"):
        load({"XDG_CONFIG_HOME": str(tmp_path)})


def test_without_a_file_the_toml_reader_is_not_loaded(tmp_path: Path) -> None:
    script = (
        "import sys; from buildkit_py.config import load; load({'HOME': '/nowhere'}); print('tomllib' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


MAIN, OTHER = ("ed25519:" + letter * 43 + "=" for letter in ("A", "E"))


def test_keys_of_the_file_and_of_the_environment(tmp_path: Path) -> None:
    env = write(tmp_path, f'[trust.main]\nkeys = ["{MAIN}"]\n[trust."team-1"]\nkeys = ["{MAIN}", "{OTHER}"]\n')
    known = (TrustConfig("main", (MAIN,)), TrustConfig("team-1", (MAIN, OTHER)))
    assert load(env).trust == known
    more = load({**env, "PYBUILD_TRUST": f" main = {OTHER} ,new={OTHER},main={MAIN},"}).trust
    assert more == (TrustConfig("main", (MAIN, OTHER)), known[1], TrustConfig("new", (OTHER,)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trust = 1", "trust must be a table"),
        ("[trust]\nmain = 1", "trust.main must be a table"),
        ("[trust.main]\nkey = []", "unknown key"),
        ("[trust.main]\nkeys = []", "must be a list of public keys"),
        ("[trust.main]\nkeys = [1]", "must be a list of public keys"),
        ('[trust.main]\nkeys = ["ed25519:UNIQUE=="]', 'the key 1 of trust."main".keys is no ed25519 key'),
        ('[trust.main]\nkeys = ["-----BEGIN PRIVATE KEY-----UNIQUE"]', "is a private key"),
        (f'[trust."a+b"]\nkeys = ["{MAIN}"]', "`a+b` cannot be whom to trust"),
    ],
)
def test_mistakes_about_keys_are_told_and_no_key_is_shown(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(write(tmp_path, text))
    assert message in caught.value.message
    assert str(caught.value.at).endswith("config.toml")
    assert "UNIQUE" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("UNIQUE", "the entry 1 is not NAME=KEY"),
        (f"main={MAIN},UNIQUE", "the entry 2 is not NAME=KEY"),
        ("main=rsa:UNIQUE", "the key 1 is no ed25519 key"),
        (f"={MAIN}", "cannot be whom to trust"),
        (f"a b={MAIN}", "cannot be whom to trust"),
    ],
)
def test_mistakes_in_the_keys_of_the_environment(value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({"PYBUILD_TRUST": value})
    assert message in caught.value.message
    assert caught.value.at == "PYBUILD_TRUST"
    assert "UNIQUE" not in str(caught.value)
