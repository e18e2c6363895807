"""Our own rules, about what costs time, space or secrets: run by `pybuild check`, and by a build that names them."""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks import leftovers, packages, reach, secrets
from buildkit_py.frontend.buildfile.checks.rule import OWN, Rule

RULES = (
    Rule(
        "SecretCopied",
        OWN,
        "Files that hold secrets should not get into an image",
        "leave it out with the ignore file, and give it to the step with `RUN --mount=type=secret`",
        secrets.secret_copied,
    ),
    Rule(
        "AptUpdateAlone",
        OWN,
        "`apt-get update` should stand in the RUN that installs",
        "write `RUN apt-get update && apt-get install …`",
        packages.apt_update_alone,
    ),
    Rule(
        "PackageCacheKept",
        OWN,
        "What a package manager downloads should not stay in the image",
        "mount its cache with `RUN --mount=type=cache,target=…`, or empty it in the same RUN",
        packages.package_cache_kept,
    ),
    Rule(
        "UnpinnedBaseImage",
        OWN,
        "A base image should be named with a version",
        "name a tag other than `latest`, or a digest",
        reach.unpinned_base_image,
    ),
    Rule(
        "CopyBeforeInstall",
        OWN,
        "Dependencies should be installed before the whole context is copied",
        "copy the files that list the dependencies first, install, then copy the rest",
        packages.copy_before_install,
    ),
    Rule(
        "UnusedStage",
        OWN,
        "A stage should be used by another one or be described as a target",
        "remove it, or describe it in a comment directly above: `# NAME what it is for`",
        reach.unused_stage,
    ),
    Rule(
        "UnusedService",
        OWN,
        "A service should be asked for by a step",
        "ask for it with `RUN --with=NAME` or `TEST --with=NAME`, remove it, or describe it in a comment directly "
        "above: `# NAME what it is for`",
        reach.unused_service,
    ),
    Rule(
        "UnusedArg",
        OWN,
        "An ARG should be used",
        "remove it",
        leftovers.unused_arg,
    ),
    Rule(
        "ShadowedEnv",
        OWN,
        "ARG and ENV of one name should not hide each other",
        "give one of them another name, or let the ENV take the ARG's value: `ENV NAME=$NAME`",
        leftovers.shadowed_env,
    ),
    Rule(
        "UnreachableTarget",
        OWN,
        "Every stage should be reachable",
        "give the stage a name of its own, use it, or remove it",
        reach.unreachable_target,
    ),
)
