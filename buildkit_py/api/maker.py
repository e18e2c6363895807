"""The maker: by what name a record says where it was made, the run of a CI system or the machine."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 200
# Each holds the address of the present run: GitLab, Buildkite, CircleCI, Jenkins.
_RUNS = ("CI_JOB_URL", "BUILDKITE_BUILD_URL", "CIRCLE_BUILD_URL", "BUILD_URL")
# GitHub's are the parts of one.
_GITHUB = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")


def maker(env: Mapping[str, str]) -> str:
    """The address of the CI run that this process is part of, without any password in it; else the host's name."""
    server, repository, run = (env.get(name, "") for name in _GITHUB)
    address = f"{server}/{repository}/actions/runs/{run}" if server and repository and run else ""
    address = address or next((found for name in _RUNS if (found := env.get(name, ""))), "")
    scheme, separator, rest = address.partition("?")[0].partition("://")
    if separator:
        host, slash, path = rest.partition("/")
        address = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    text = address or os.uname().nodename
    return "".join(one for one in text if one.isprintable())[:_LONGEST]
