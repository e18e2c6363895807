"""Which proxy a request goes through, by the environment variables that curl and docker read."""

from __future__ import annotations

from buildkit_py.http.authorization import basic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def choose(env: Mapping[str, str], scheme: str, host: str, port: int) -> str:
    """The proxy's URL by `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` (in either case), "" for none."""
    values = {name.lower(): value for name, value in env.items() if name.lower().endswith("_proxy") and value}
    if not values:
        return ""
    # A CGI program gets HTTP_PROXY from a request's header; only the lower-case name is safe there.
    if "REQUEST_METHOD" in env:
        values["http_proxy"] = env.get("http_proxy", "")
    chosen = values.get(f"{scheme}_proxy") or values.get("all_proxy") or ""
    if not chosen or _bypassed(host, port, values.get("no_proxy", "")):
        return ""
    return chosen if "://" in chosen else f"http://{chosen}"


def authorization(proxy: str) -> dict[str, str]:
    """The header that carries the user and password of a proxy's URL; empty where it has none."""
    login = basic(proxy)
    return {"Proxy-Authorization": login} if login else {}


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine's own: plain http to it tells nobody anything."""
    if host in {"localhost", "::1"}:
        return True
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isascii() and part.isdigit() for part in parts)


def _bypassed(host: str, port: int, no_proxy: str) -> bool:
    if is_loopback(host):
        return True
    for item in no_proxy.replace(",", " ").split():
        if item == "*":
            return True
        name, _, only = item.partition(":") if item.count(":") == 1 else (item, "", "")
        name = name.lower().removeprefix("*").removeprefix(".")
        if name and (not only or only == str(port)) and (host == name or host.endswith("." + name)):
            return True
    return False
