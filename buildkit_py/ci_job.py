"""The CI job that a command runs in, as the environment tells it: GitHub's, GitLab's, or none that is known.

Names of variables: docs.github.com, "Variables reference"; docs.gitlab.com,
"Predefined CI/CD variables reference".
"""

from __future__ import annotations

from buildkit_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_GITHUB = ("GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB", "RUNNER_NAME")
_GITLAB = ("CI_SERVER_URL", "CI_JOB_ID")
_GITHUB_PULLS = ("pull_request", "pull_request_target")


class CiJob(Record):
    """`name` tells the job from others on the same machine. `project` is where the sources are, "" where that is not
    said. `pulls`: it builds what somebody proposes, a pull or merge request.
    """

    name: str
    project: str = ""
    pulls: bool = False


def ci_job(env: Mapping[str, str]) -> CiJob:
    """The job of this environment. Outside of a CI system that is known, all commands of a store are one job."""
    if env.get("GITHUB_ACTIONS") == "true":
        pulls = env.get("GITHUB_EVENT_NAME") in _GITHUB_PULLS
        return CiJob(_named("github", _GITHUB, env), env.get("GITHUB_WORKSPACE", ""), pulls)
    if env.get("GITLAB_CI") == "true":
        pulls = bool(env.get("CI_MERGE_REQUEST_IID"))
        return CiJob(_named("gitlab", _GITLAB, env), env.get("CI_PROJECT_DIR", ""), pulls)
    return CiJob("")


def _named(system: str, variables: tuple[str, ...], env: Mapping[str, str]) -> str:
    return "\n".join([system, *(env.get(variable, "") for variable in variables)])
