"""The rules of BuildKit's linter, under its names and with its texts, in its order.

Conditions and messages are those of moby/buildkit (frontend/dockerfile/linter
and dockerfile2llb), so that a build tells what docker would tell.
"""

from __future__ import annotations

from buildkit_py.frontend.buildfile.checks import casing, forms, names, paths, platforms, ports, variables
from buildkit_py.frontend.buildfile.checks.rule import BUILDKIT, EXPERIMENTAL, Rule

RULES = (
    Rule(
        "StageNameCasing",
        BUILDKIT,
        "Stage names should be lowercase",
        "write the name in lower case",
        casing.stage_name_casing,
        fixes=True,
    ),
    Rule(
        "FromAsCasing",
        BUILDKIT,
        "The 'as' keyword should match the case of the 'from' keyword",
        "write `FROM` and `AS` in the same case",
        casing.from_as_casing,
        fixes=True,
    ),
    Rule(
        "NoEmptyContinuation",
        BUILDKIT,
        "Empty continuation lines will become errors in a future release",
        "remove the empty line",
        forms.no_empty_continuation,
        fixes=True,
    ),
    Rule(
        "ConsistentInstructionCasing",
        BUILDKIT,
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
        "write all instructions in the same case",
        casing.consistent_instruction_casing,
        fixes=True,
    ),
    Rule(
        "DuplicateStageName",
        BUILDKIT,
        "Stage names should be unique",
        "give one of the stages another name: only the last of a name can be asked for",
        names.duplicate_stage_name,
    ),
    Rule(
        "ReservedStageName",
        BUILDKIT,
        "Reserved words should not be used as stage names",
        "give the stage another name",
        names.reserved_stage_name,
    ),
    Rule(
        "JSONArgsRecommended",
        BUILDKIT,
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        'write `["program", "argument"]`, or say with SHELL which shell is meant',
        forms.json_args_recommended,
    ),
    Rule(
        "MaintainerDeprecated",
        BUILDKIT,
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        "write `LABEL org.opencontainers.image.authors=…`",
        forms.maintainer_deprecated,
    ),
    Rule(
        "UndefinedArgInFrom",
        BUILDKIT,
        "FROM command must use declared ARGs",
        "declare it with ARG above the first FROM",
        variables.undefined_arg_in_from,
    ),
    Rule(
        "WorkdirRelativePath",
        BUILDKIT,
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the "
        "base image changes",
        "write an absolute path",
        paths.workdir_relative_path,
    ),
    Rule(
        "UndefinedVar",
        BUILDKIT,
        "Variables should be defined before their use",
        "define it with ARG or ENV before this line",
        variables.undefined_var,
    ),
    Rule(
        "MultipleInstructionsDisallowed",
        BUILDKIT,
        "Multiple instructions of the same type should not be used in the same stage",
        "remove this one: a later one in this stage takes its place",
        forms.multiple_instructions_disallowed,
    ),
    Rule(
        "LegacyKeyValueFormat",
        BUILDKIT,
        "Legacy key/value format with whitespace separator should not be used",
        "write `NAME=value`",
        forms.legacy_key_value_format,
        fixes=True,
    ),
    Rule(
        "InvalidBaseImagePlatform",
        BUILDKIT,
        "Base image platform does not match expected target platform",
        "build for the image's platform, or start from an image that has the one you want",
        platforms.invalid_base_image_platform,
    ),
    Rule(
        "RedundantTargetPlatform",
        BUILDKIT,
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        "remove the flag",
        platforms.redundant_target_platform,
        fixes=True,
    ),
    Rule(
        "SecretsUsedInArgOrEnv",
        BUILDKIT,
        "Sensitive data should not be used in the ARG or ENV commands",
        "take it from `RUN --mount=type=secret`: ARG and ENV stay in the image's history and configuration",
        variables.secrets_used_in_arg_or_env,
    ),
    Rule(
        "InvalidDefaultArgInFrom",
        BUILDKIT,
        "Default value for global ARG results in an empty or invalid base image name",
        "give the ARG a default with which FROM names an image",
        variables.invalid_default_arg_in_from,
    ),
    Rule(
        "FromPlatformFlagConstDisallowed",
        BUILDKIT,
        "FROM --platform flag should not use a constant value",
        "use $BUILDPLATFORM or an ARG, or name the platform in the stage's name",
        platforms.from_platform_flag_const_disallowed,
    ),
    Rule(
        "CopyIgnoredFile",
        BUILDKIT,
        "Attempting to Copy file that is excluded by .dockerignore",
        "take the pattern out of the ignore file, or do not copy this",
        paths.copy_ignored_file,
    ),
    Rule(
        "InvalidDefinitionDescription",
        EXPERIMENTAL,
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is "
        "not intended to be a description comment, add an empty line or comment between the instruction and the "
        "comment.",
        "begin the comment with the name, or put an empty line below it",
        forms.invalid_definition_description,
    ),
    Rule(
        "ExposeProtoCasing",
        BUILDKIT,
        "Protocol in EXPOSE instruction should be lowercase",
        "write `tcp`, `udp` or `sctp`",
        ports.expose_proto_casing,
        fixes=True,
    ),
    Rule(
        "ExposeInvalidFormat",
        BUILDKIT,
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a "
        "future release",
        "name the container's port alone",
        ports.expose_invalid_format,
        fixes=True,
    ),
)
