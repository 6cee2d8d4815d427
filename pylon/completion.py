"""Completion for bash, zsh and fish: each shell asks `pylon __complete WORD...` what the last word may be.

Where the answer is empty, the shell completes file names.
"""

import argparse
from collections.abc import Sequence

from pylon.command import COMMANDS, COMPLETE, parser_of

SCRIPTS = {
    "bash": f"""\
_pylon() {{
    mapfile -t COMPREPLY < <("$1" {COMPLETE} "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null)
}}
complete -o default -F _pylon pylon""",
    "zsh": f"""\
_pylon() {{
    local -a found
    found=(${{(f)"$($words[1] {COMPLETE} "${{(@)words[2,CURRENT]}}" 2>/dev/null)"}})
    if (( $#found )); then compadd -- $found; else _files; fi
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}
compdef _pylon pylon""",
    "fish": f"""\
function __pylon_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] {COMPLETE} $words[2..-1] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c pylon -f -a '(__pylon_complete)'""",
}


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of `words`, which follow `pylon`, may become; empty where it may be a file's name."""
    *before, current = words or [""]
    if not before:
        offered = ["--help", "--version", "--completion"] if current.startswith("-") else list(COMMANDS)
    elif before[0] == "--completion":
        offered = list(SCRIPTS)
    elif before[0] in COMMANDS:
        offered = _within(parser_of(before[0]), before[1:], current)
    else:
        offered = []
    return [word for word in offered if word.startswith(current)]


def _within(parser: argparse.ArgumentParser, before: list[str], current: str) -> list[str]:
    """What a command's parser accepts after the words `before`."""
    # argparse has no public list of what was added to a parser.
    options = {
        name: action
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for name in action.option_strings
    }
    given = next((word for word in reversed(before) if word in options), None)
    if given is not None and not current.startswith("-") and _takes_a_value(options[given], before, given):
        return [str(choice) for choice in options[given].choices or ()]
    return [name for name in options if name.startswith("--")]


def _takes_a_value(action: argparse.Action, before: list[str], given: str) -> bool:
    """Whether the word after `before`, whose last option is `given`, is a value of it."""
    if action.nargs in {"+", "*"}:
        return True
    return action.nargs is None and before[-1] == given
