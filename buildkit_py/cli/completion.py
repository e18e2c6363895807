"""`pybuild completion`: the completion script of a shell, made from the commands' tables of options."""

from __future__ import annotations

import sys

from buildkit_py.cli.options import Command, Option, parse, with_help

SHELLS = ("bash", "zsh", "fish")
_IMAGES = "pybuild images --format=short 2>/dev/null; pybuild images --format=name 2>/dev/null"
_CONTAINERS = "pybuild ps -a --format=name 2>/dev/null"


def parser() -> Command:
    """The command's table."""
    return Command(
        "completion",
        "print the completion script of a shell",
        ("pybuild completion bash|zsh|fish",),
        examples=(
            ('eval "$(pybuild completion bash)"', "in ~/.bashrc"),
            ('eval "$(pybuild completion zsh)"', "in ~/.zshrc, after compinit"),
            ("pybuild completion fish > ~/.config/fish/completions/pybuild.fish", "once"),
        ),
        least=1,
        most=1,
        words=SHELLS,
    )


def main(argv: list[str]) -> int:
    """Print the script."""
    parsed = parse(parser(), argv)
    sys.stdout.write(script(parsed.operands[0]))
    return 0


def script(shell: str) -> str:
    """The completion script of bash, zsh or fish."""
    commands = all_commands()
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def all_commands() -> list[Command]:
    """The table of every command, in the order of `pybuild --help`."""
    from buildkit_py.cli.main import COMMANDS

    tables = []
    for name in COMMANDS:
        module = __import__(f"buildkit_py.cli.{name}", fromlist=["parser"])
        tables.append(module.parser())
    return tables


def _bash(commands: list[Command]) -> str:
    names = " ".join(command.name for command in commands)
    cases = []
    for command in commands:
        cases.append(f"    {command.name})\n      options='{' '.join(n for o in with_help(command) for n in o.names)}'")
        cases.append(f"      operands='{' '.join(command.words)}' kind='{command.operands}'")
        cases.append('      case "$previous" in')
        for option in command.options:
            if option.value:
                words = " ".join(option.choices)
                kind = option.completes or ("none" if not words else "")
                cases.append(f"        {'|'.join(option.names)}) options='' operands='{words}' kind='{kind}' ;;")
        cases.append("      esac ;;")
    body = "\n".join(cases)
    return f"""\
# bash completion of pybuild
_pybuild() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="${{COMP_WORDS[1]}}"
  local options='' operands='' kind=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '{names} --help --version' -- "$word"; compgen -f -- "$word")
    return
  fi
  # An option and its value are three words where `=` breaks words.
  if [ "$previous" = = ]; then previous="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  if [ "$word" = = ]; then word=''; fi
  case " {names} " in *" $command "*) ;; *) command=build ;; esac
  case "$command" in
{body}
  esac
  case "$kind" in
    file) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    directory) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    image)
      # A name is several words where `:` breaks words, and what is offered takes the place of the last of them.
      local at=$COMP_CWORD whole="$word" before=''
      while [ "$at" -gt 1 ] && {{ [ "${{COMP_WORDS[at]}}" = : ] || [ "${{COMP_WORDS[at-1]}}" = : ]; }}; do
        at=$((at - 1)) whole="${{COMP_WORDS[at]}}$whole"
      done
      case "$COMP_WORDBREAKS" in *:*) before="${{whole%"${{whole##*:}}"}}" ;; esac
      mapfile -t COMPREPLY < <(compgen -W "$({_IMAGES})" -- "$whole")
      COMPREPLY=( "${{COMPREPLY[@]#"$before"}}" )
      compopt +o filenames 2>/dev/null ;;
    container) mapfile -t COMPREPLY < <(compgen -W "$({_CONTAINERS})" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$operands" -- "$word") ;;
  esac
  case "$word" in -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word") ;; esac
}}
complete -o filenames -F _pybuild pybuild
"""


def _zsh(commands: list[Command]) -> str:
    rows = "\n".join(f"    {_quoted(f'{command.name}:{command.summary}')}" for command in commands)
    cases = []
    for command in commands:
        specs = [_zsh_option(option) for option in with_help(command)]
        if command.words:
            specs.append(_quoted(f"1: :({' '.join(command.words)})"))
        elif command.operands:
            specs.append(_quoted(f"*: :{_zsh_action(command.operands)}"))
        cases.append(f"    {command.name}) _arguments -s " + " ".join(specs) + " ;;")
    body = "\n".join(cases)
    return f"""\
#compdef pybuild
_pybuild_images() {{ compadd -- ${{(f)"$({_IMAGES})"}} }}
_pybuild_containers() {{ compadd -- ${{(f)"$({_CONTAINERS})"}} }}
_pybuild() {{
  local -a commands=(
{rows}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    _files
    return
  fi
  local command="$words[2]"
  if (( ! ${{commands[(I)$command:*]}} )); then command=build; fi
  shift words
  (( CURRENT-- ))
  case "$command" in
{body}
  esac
}}
compdef _pybuild pybuild
"""


def _zsh_option(option: Option) -> str:
    text = option.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    specs = []
    for name in option.names:
        tail = ""
        if option.value:
            name += "=" if name.startswith("--") else "+"
            action = f"({' '.join(option.choices)})" if option.choices else _zsh_action(option.completes)
            tail = f":{option.value.lower().replace(':', ' ').replace('[', ' ').replace(']', ' ')}:{action}"
        specs.append(_quoted(f"{'*' if option.many else ''}{name}[{text}]{tail}"))
    return " ".join(specs)


def _zsh_action(kind: str) -> str:
    own = {"image": "_pybuild_images", "container": "_pybuild_containers"}
    return {"file": "_files", "directory": "_files -/", **own}.get(kind, "")


def _fish(commands: list[Command]) -> str:
    names = " ".join(command.name for command in commands)
    lines = ["# fish completion of pybuild", f"set -l commands {names}"]
    for command in commands:
        lines.append(
            f'complete -c pybuild -n "not __fish_seen_subcommand_from $commands" -a {command.name} '
            f"-d {_quoted(command.summary)}"
        )
    for command in commands:
        seen = f"__fish_seen_subcommand_from {command.name}"
        if command.name == "build":  # `pybuild FILE` has its options too
            seen += "; or not __fish_seen_subcommand_from $commands"
        when = f'complete -c pybuild -n "{seen}"'
        for option in with_help(command):
            flags = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            lines.append(f"{when} {flags}{_fish_value(option)} -d {_quoted(option.help)}")
        if command.words:
            lines.append(f"{when} -f -a {_quoted(' '.join(command.words))}")
        elif command.operands in ("image", "container"):
            lister = _IMAGES if command.operands == "image" else _CONTAINERS
            lines.append(f"{when} -f -a {_quoted(f'({lister})')}")
    return "\n".join(lines) + "\n"


def _fish_value(option: Option) -> str:
    if not option.value:
        return ""
    if option.choices:
        return f" -x -a {_quoted(' '.join(option.choices))}"
    if option.completes == "image":
        return f" -x -a {_quoted(f'({_IMAGES})')}"
    return " -r" if option.completes else " -x"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
