"""The rules of the OCI runtime specification (config.md, config-linux.md, 1.0) that a config.json of ours can break."""

from __future__ import annotations

import re
from typing import Any

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup")
ACTIONS = ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO")
COMPARISONS = ("SCMP_CMP_EQ", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ")
_ID = 1 << 32


def broken(document: dict[str, Any]) -> list[str]:
    """What the specification forbids or lacks, one line each."""
    out = []

    def want(holds: object, rule: str) -> None:
        if not holds:
            out.append(rule)

    want(re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", document["ociVersion"]), "ociVersion is a SemVer 2.0.0 version")
    want(document["root"]["path"], "root.path is required on Linux")
    want(isinstance(document["root"]["readonly"], bool), "root.readonly is a bool")
    want(isinstance(document["hostname"], str), "hostname is a string")
    process = document["process"]
    want(process["cwd"].startswith("/"), "process.cwd is absolute")
    want(process["args"] and all(isinstance(word, str) for word in process["args"]), "process.args has an entry")
    want(all("=" in entry[1:] for entry in process["env"]), "process.env is NAME=value, as in environ(7)")
    user = process["user"]
    numbers = [user["uid"], user["gid"], *user.get("additionalGids", ())]
    want(all(isinstance(number, int) and 0 <= number < _ID for number in numbers), "process.user has uint32 numbers")
    want(isinstance(user["umask"], int), "process.user.umask is a number")
    for kind, names in process["capabilities"].items():
        want(kind in ("bounding", "effective", "permitted", "inheritable", "ambient"), f"{kind} is no capability set")
        want(all(re.fullmatch(r"CAP_[A-Z_]+", name) for name in names), "capabilities are as in capabilities(7)")
    for name in process["capabilities"]["effective"]:
        want(name in process["capabilities"]["permitted"], "what is effective is permitted")
    for mount in document["mounts"]:
        want(mount["destination"].startswith("/"), "mounts[].destination is absolute")
        want(all(isinstance(option, str) for option in mount["options"]), "mounts[].options are strings")
        if mount["type"] == "bind":
            want({"bind", "rbind"} & set(mount["options"]), "a bind mount says bind or rbind in its options")
    linux = document["linux"]
    kinds = [entry["type"] for entry in linux["namespaces"]]
    want(set(kinds) <= set(NAMESPACES), "linux.namespaces[].type is one of seven")
    want(len(kinds) == len(set(kinds)), "no namespace is given twice")
    want(("user" in kinds) == bool(linux.get("uidMappings")), "mappings go with a new user namespace")
    for line in (*linux.get("uidMappings", ()), *linux.get("gidMappings", ())):
        want(set(line) == {"containerID", "hostID", "size"}, "a mapping has its three numbers")
    want(linux["rootfsPropagation"] in ("slave", "private", "shared", "unbindable"), "rootfsPropagation is one of four")
    for path in (*linux["maskedPaths"], *linux["readonlyPaths"]):
        want(path.startswith("/"), "masked and read-only paths are absolute")
    out += _seccomp(linux["seccomp"])
    return out


def _seccomp(policy: dict[str, Any]) -> list[str]:
    out = []
    if policy["defaultAction"] not in ACTIONS or not all(a.startswith("SCMP_ARCH_") for a in policy["architectures"]):
        out.append("seccomp has a known default and known architectures")
    for entry in policy["syscalls"]:
        if not entry["names"] or entry["action"] not in ACTIONS:
            out.append("seccomp.syscalls[] has names and an action")
        for argument in entry.get("args", ()):
            if argument["op"] not in COMPARISONS or not 0 <= argument["index"] <= 5:
                out.append("seccomp.syscalls[].args[] has an operator and the index of an argument")
    return out
