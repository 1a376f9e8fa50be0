"""Completion of command lines: ``fastws completion bash`` prints what the shell must know; then the shell asks here.

Completed are options, their values where they are words of a list, files and directories, sub-commands, topics of
--help, and APP: modules and the names in them, which are read and not imported. click has the protocol with the shells;
for bash the script is ours, since click's knows no words with colons.
"""

from __future__ import annotations

import os
from typing import Any, Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
)

from fastws.cli.command import COMMANDS, NAME, command
from fastws.cli.help import topics
from fastws.config.app_names import applications, modules, names
from fastws.config.option import LOG_LEVELS, Option

COMPLETE_VARIABLE: Final = "_FASTWS_COMPLETE"
"""Of the environment, in which the script says what it wants."""
SHELLS: Final = ("bash", "zsh", "fish")
_DIRECTORIES: Final = ("app_dir", "reload_dirs", "metrics_dir")
_FILES: Final = ("path", "logging", "certificates")

_BASH: Final = """\
%(complete_func)s() {
    local response type value
    response=$(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null) || return
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames -o plusdirs ;;
            file) compopt -o default ;;
            more) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done <<< "$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Words(ShellComplete):
    """Completes what follows --help, too, and answers ``--name=val`` with the whole word."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        if args and args[-1] in ("--help", "-h", "help"):
            wanted = incomplete.lstrip("-")
            return [CompletionItem(each) for each in topics(COMMANDS) if each.startswith(wanted)]
        found = super().get_completions(args, incomplete)
        name, equals, _ = incomplete.partition("=") if incomplete.startswith("--") else ("", "", "")
        if not equals:
            return found
        return [
            CompletionItem(f"{name}={each.value}", each.type, each.help) if each.type == "plain" else each
            for each in found
        ]


class _Bash(_Words, BashComplete):
    """Gets the line up to the cursor as it is, and answers with what bash must put in the place of its own last word.

    That word begins behind the last colon or equals sign, where these are in COMP_WORDBREAKS.
    """

    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """Not now: the script may be written into an image without bash."""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = click.shell_completion.split_arg_string(line)
        last = words.pop() if line and not line[-1].isspace() else ""
        return words[1:], last

    def complete(self) -> str:
        args, incomplete = self.get_completion_args()
        breaks = [each for each in os.environ.get("COMP_BREAKS", ":=") if each in ":="]
        hidden = max((incomplete.rfind(each) + 1 for each in breaks), default=0)
        lines = []
        for item in self.get_completions(args, incomplete):
            kind = "more" if item.type == "plain" and item.value.endswith((":", ".")) else item.type
            lines.append(f"{kind},{item.value[hidden:] if kind in ('more', 'plain') else ''}")
        return "\n".join(lines)


class _Zsh(_Words, ZshComplete):
    pass


class _Fish(_Words, FishComplete):
    pass


for _shell in (_Bash, _Zsh, _Fish):
    add_completion_class(_shell)


@command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes command lines of fastws in SHELL.

    \b
    bash:  eval "$(fastws completion bash)"              in ~/.bashrc
    zsh:   eval "$(fastws completion zsh)"               in ~/.zshrc, behind compinit
    fish:  fastws completion fish | source               in ~/.config/fish/config.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    asked = click.get_current_context().command  # of which the script says nothing: it has the name alone
    click.echo(made(asked, {}, NAME, COMPLETE_VARIABLE).source(), nl=False)


def complete_value(
    option: Option, ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """What may stand for the value of an option."""
    if option.name in _DIRECTORIES:
        return [CompletionItem(incomplete, type="dir")]
    if option.kind in _FILES:
        return [CompletionItem(incomplete, type="file")]
    words = option.choices or (tuple(LOG_LEVELS) if option.kind == "level" else ())
    if option.kind == "boolean":
        words = ("true", "false")
    before, comma, last = incomplete.rpartition(",") if option.kind == "list" else ("", "", incomplete)
    return [CompletionItem(before + comma + each) for each in words if each.startswith(last.lower())]


def complete_app(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    """What may stand for APP: modules with what they have, and the sub-commands as the first word."""
    directory = str(ctx.params.get("app_dir") or ".")
    module, colon, begun = incomplete.partition(":")
    if colon:
        return [CompletionItem(f"{module}:{each}") for each in names(directory, module) if each.startswith(begun)]
    found: list[str] = []
    for each in modules(directory, module.rpartition(".")[0]):
        if each.startswith(module):
            likely = [f"{each}:{name}" for name in applications(directory, each)]
            inside = modules(directory, each) if module else []
            found += likely or ([each + ":"] if module and names(directory, each) else [])
            found += [each + "."] if inside else []
    first = ctx.command.name == NAME and not any(value not in (None, ()) for value in ctx.params.values())
    lines = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(module)]
    return [*map(CompletionItem, found), *(lines if first else [])]
