"""The configuration: what holds for every build on this machine, from one TOML file and the environment.

`$XDG_CONFIG_HOME/pybuild/config.toml` (`~/.config/pybuild/config.toml`), all of it optional:

    ca_bundle = "/etc/ssl/company.pem"      # trusted besides the system's, by steps and for registries

    [build]
    jobs = 4
    network = "isolated"                    # isolated, host, none
    compression = "zstd"                    # zstd, gzip, uncompressed
    normalize = true                        # files of a context that git tracks have git's modes

    [run]
    network = "isolated"                    # the same, for `pybuild run`

    [cache]
    max = "50g"                             # what the store may take of the disk
    mounts_max = "2g"                       # what may travel of one cache mount

    [registries."docker.io"]
    mirrors = ["http://localhost:5000"]
    insecure = true                         # plain http, or a certificate that nobody vouches for

    [trust.main]
    keys = ["ed25519:…"]                    # whose records of portable caches `trust=main` believes

`PYBUILD_REGISTRY_MIRRORS="docker.io=http://localhost:5000,quay.io=…"` puts
mirrors before those of the file; a registry may stand in it several times.
`PYBUILD_CA_BUNDLE` stands before `ca_bundle`, `PYBUILD_NETWORK` before both networks, `PYBUILD_CACHE_MAX` before
`cache.max`, and `PYBUILD_CACHE_MOUNTS_MAX` before `cache.mounts_max`. `PYBUILD_TRUST="main=ed25519:…"` adds keys to
those of the file.
"""

from __future__ import annotations

import os

from buildkit_py.errors import UsageError
from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MIRRORS_VARIABLE = "PYBUILD_REGISTRY_MIRRORS"
CA_BUNDLE_VARIABLE = "PYBUILD_CA_BUNDLE"
NETWORK_VARIABLE = "PYBUILD_NETWORK"
CACHE_MAX_VARIABLE = "PYBUILD_CACHE_MAX"
MOUNTS_MAX_VARIABLE = "PYBUILD_CACHE_MOUNTS_MAX"
TRUST_VARIABLE = "PYBUILD_TRUST"
_NETWORKS = ("isolated", "host", "none")
_COMPRESSIONS = ("zstd", "gzip", "uncompressed")


class RegistryConfig(Record):
    """How to reach the registry of that name. `mirrors` are base URLs, tried in order before the registry itself."""

    name: str
    mirrors: tuple[str, ...] = ()
    insecure: bool = False


class TrustConfig(Record):
    """The public keys, as `public_key` has them, that one name stands for."""

    name: str
    keys: tuple[str, ...] = ()


class Config(Record):
    """`jobs`, `cache_max` and `mounts_max` (bytes) 0, and "" elsewhere, mean that nothing was set.
    `file` is where it was read from, "" if there is none."""

    registries: tuple[RegistryConfig, ...] = ()
    jobs: int = 0
    network: str = ""
    run_network: str = ""
    compression: str = ""
    ca_bundle: str = ""
    cache_max: int = 0
    mounts_max: int = 0
    normalize: bool = False
    trust: tuple[TrustConfig, ...] = ()
    file: str = ""

    def registry(self, name: str) -> RegistryConfig:
        """What is set for a registry; the defaults if nothing is."""
        for registry in self.registries:
            if registry.name == name:
                return registry
        return RegistryConfig(name)


def store_root(env: Mapping[str, str]) -> str:
    """The absolute path of the store: `$PYBUILD_HOME`, `$XDG_CACHE_HOME/pybuild` or `~/.cache/pybuild`."""
    if chosen := env.get("PYBUILD_HOME"):
        return os.path.abspath(chosen)
    return _base(env, "XDG_CACHE_HOME", ".cache") + "/pybuild"


def config_file(env: Mapping[str, str]) -> str:
    """The absolute path of the configuration file, which need not exist."""
    return _base(env, "XDG_CONFIG_HOME", ".config") + "/pybuild/config.toml"


def load(env: Mapping[str, str]) -> Config:
    """The configuration as file and environment give it.

    Raises `UsageError` for a file that cannot be read or parsed, an unknown
    key, a value of the wrong type, or a malformed variable.
    """
    path = config_file(env)
    config = Config()
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as problem:
        raise UsageError(f"cannot read the configuration: {problem.strerror}", at=path) from problem
    else:
        config = _from_toml(data, path)
    if bundle := env.get(CA_BUNDLE_VARIABLE):
        config = config.replace(ca_bundle=os.path.abspath(bundle))
    if network := env.get(NETWORK_VARIABLE):
        if network not in _NETWORKS:
            raise UsageError(f"{NETWORK_VARIABLE} is {network!r}", hint=f"one of {', '.join(_NETWORKS)}")
        config = config.replace(network=network, run_network=network)
    if limit := env.get(CACHE_MAX_VARIABLE):
        config = config.replace(cache_max=_size(limit, CACHE_MAX_VARIABLE, ""))
    if limit := env.get(MOUNTS_MAX_VARIABLE):
        config = config.replace(mounts_max=_size(limit, MOUNTS_MAX_VARIABLE, ""))
    if (keys := env.get(TRUST_VARIABLE, "")).strip():
        config = config.replace(trust=_with_keys(config.trust, keys))
    variable = env.get(MIRRORS_VARIABLE, "")
    return _with_mirrors(config, variable) if variable.strip() else config


def _base(env: Mapping[str, str], variable: str, below_home: str) -> str:
    # The XDG base directory specification wants relative paths ignored.
    chosen = env.get(variable, "")
    if chosen.startswith("/"):
        return os.path.abspath(chosen)
    home = env.get("HOME", "")
    return os.path.abspath(f"{home or os.path.expanduser('~')}/{below_home}")


def _from_toml(data: bytes, path: str) -> Config:
    import tomllib

    try:
        table = tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UsageError(f"the configuration is not valid TOML: {problem}", at=path) from problem
    except RecursionError:
        raise UsageError("the configuration is nested too deeply", at=path) from None
    _only(table, ("ca_bundle", "build", "run", "cache", "registries", "trust"), "", path)
    build = _table(table, "build", "", path)
    _only(build, ("jobs", "network", "compression", "normalize"), "build.", path)
    _only(run := _table(table, "run", "", path), ("network",), "run.", path)
    normalize = build.get("normalize", False)
    if type(normalize) is not bool:
        raise UsageError("build.normalize must be true or false", at=path)
    jobs = build.get("jobs", 0)
    if type(jobs) is not int or jobs < 0:
        raise UsageError("build.jobs must be a whole number, 0 or more", at=path)
    _only(cache := _table(table, "cache", "", path), ("max", "mounts_max"), "cache.", path)
    limit, travels = (_text(cache, key, "cache.", path) for key in ("max", "mounts_max"))
    bundle = _text(table, "ca_bundle", "", path)
    if bundle:
        bundle = os.path.join(os.path.dirname(path), os.path.expanduser(bundle))
    registries = []
    for name in (named := _table(table, "registries", "", path)):
        where = f'registries."{name}".'
        one = _table(named, name, "registries.", path)
        _only(one, ("mirrors", "insecure"), where, path)
        mirrors = one.get("mirrors", [])
        if type(mirrors) is not list or not all(type(m) is str for m in mirrors):
            raise UsageError(f"{where}mirrors must be a list of URLs", at=path)
        insecure = one.get("insecure", False)
        if type(insecure) is not bool:
            raise UsageError(f"{where}insecure must be true or false", at=path)
        urls = tuple(_mirror(m, f"{where}mirrors", path) for m in mirrors)
        registries.append(RegistryConfig(name, urls, insecure))
    return Config(
        registries=tuple(registries),
        jobs=jobs,
        network=_choice(build, "build.", "network", _NETWORKS, path),
        run_network=_choice(run, "run.", "network", _NETWORKS, path),
        compression=_choice(build, "build.", "compression", _COMPRESSIONS, path),
        ca_bundle=bundle,
        cache_max=_size(limit, "cache.max", path) if limit else 0,
        mounts_max=_size(travels, "cache.mounts_max", path) if travels else 0,
        normalize=normalize,
        trust=_trust(table, path),
        file=path,
    )


def _trust(table: dict[str, Any], path: str) -> tuple[TrustConfig, ...]:
    found = []
    for name in (named := _table(table, "trust", "", path)):
        where = f'trust."{name}".'
        one = _table(named, name, "trust.", path)
        _only(one, ("keys",), where, path)
        keys = one.get("keys", [])
        if type(keys) is not list or not keys or not all(type(key) is str for key in keys):
            raise UsageError(f"{where}keys must be a list of public keys", at=path)
        for number, key in enumerate(keys, 1):
            _check_key(key, f"the key {number} of {where}keys", path)
        found.append(TrustConfig(_trusted_name(name, path), tuple(keys)))
    return tuple(found)


def _with_keys(known: tuple[TrustConfig, ...], variable: str) -> tuple[TrustConfig, ...]:
    keys = {trust.name: trust.keys for trust in known}
    for number, item in enumerate(variable.split(","), 1):
        name, equals, key = (word.strip() for word in item.partition("="))
        if not equals and not name:
            continue
        if not equals:
            # What stands there may be a secret that was put into the wrong variable.
            raise UsageError(
                f"the entry {number} is not NAME=KEY",
                at=TRUST_VARIABLE,
                hint=f'write it like {TRUST_VARIABLE}="main=ed25519:…"',
            )
        _check_key(key, f"the key {number}", TRUST_VARIABLE)
        old = keys.get(_trusted_name(name, TRUST_VARIABLE), ())
        keys[name] = old if key in old else (*old, key)
    return tuple(TrustConfig(*one) for one in keys.items())


def _trusted_name(name: str, at: str) -> str:
    if not name or not name.isascii() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise UsageError(f"`{name}` cannot be whom to trust", at=at, hint="use letters, digits, `-`, `_` and `.`")
    return name


def _check_key(key: str, what: str, at: str) -> None:
    from buildkit_py.public_key import public_key

    try:
        public_key(key)
    except ValueError as problem:
        raise UsageError(
            f"{what} {problem}", at=at, hint="`pybuild cache keygen FILE` prints the public key of a new pair"
        ) from problem


def _size(text: str, what: str, path: str) -> int:
    from buildkit_py.byte_size import byte_size

    try:
        return byte_size(text)
    except ValueError as problem:
        raise UsageError(f"{what}: {problem}", at=path or None) from problem


def _with_mirrors(config: Config, variable: str) -> Config:
    known = {registry.name: registry for registry in config.registries}
    added: dict[str, list[str]] = {}
    for item in variable.split(","):
        name, equals, url = item.strip().partition("=")
        if not item.strip():
            continue
        if not name or not equals:
            raise UsageError(
                f"{item.strip()!r} is not REGISTRY=URL",
                at=MIRRORS_VARIABLE,
                hint=f'write it like {MIRRORS_VARIABLE}="docker.io=http://localhost:5000"',
            )
        added.setdefault(name, []).append(_mirror(url, name, MIRRORS_VARIABLE))
    for name, urls in added.items():
        old = known.get(name, RegistryConfig(name))
        known[name] = old.replace(mirrors=(*urls, *(m for m in old.mirrors if m not in urls)))
    return config.replace(registries=tuple(known.values()))


def _mirror(url: str, where: str, at: str) -> str:
    scheme, separator, rest = url.strip().partition("://")
    if scheme not in ("http", "https") or not separator or not rest.strip("/"):
        raise UsageError(
            f"the mirror {url!r} of {where} is no URL",
            at=at,
            hint="it begins with http:// or https:// and names a host",
        )
    return f"{scheme}://{rest.rstrip('/')}"


def _only(table: dict[str, Any], known: tuple[str, ...], where: str, path: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(
                f"unknown key {where + key!r} in the configuration", at=path, hint=f"known here: {', '.join(known)}"
            )


def _table(table: dict[str, Any], key: str, where: str, path: str) -> dict[str, Any]:
    value = table.get(key, {})
    if type(value) is not dict:
        raise UsageError(f"{where}{key} must be a table", at=path)
    return value


def _text(table: dict[str, Any], key: str, where: str, path: str) -> str:
    value = table.get(key, "")
    if type(value) is not str:
        raise UsageError(f"{where}{key} must be a string", at=path)
    if "\0" in value:
        raise UsageError(f"{where}{key} has a NUL character in it", at=path)
    return value


def _choice(table: dict[str, Any], where: str, key: str, choices: tuple[str, ...], path: str) -> str:
    value = _text(table, key, where, path)
    if key in table and value not in choices:
        raise UsageError(f"{where}{key} is {value!r}", at=path, hint=f"one of {', '.join(choices)}")
    return value
