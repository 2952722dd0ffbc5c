"""A command group that answers an unknown name with the command line that was probably meant."""

from __future__ import annotations

import difflib
import shlex
from itertools import takewhile

import click

SYNONYMS = {
    "draw": "generate", "paint": "generate", "create": "generate", "imagine": "generate", "txt2img": "generate",
    "variations": "vary", "inpaint": "edit", "outpaint": "edit", "interpolate": "blend", "info": "show",
    "inspect": "show", "metadata": "show", "evaluate": "exam", "eval": "exam", "web": "studio", "ui": "studio",
}  # fmt: skip
"""Names of the commands in other programs."""
MAX_LINE_CHARS = 160


class SuggestingGroup(click.Group):
    """A group that suggests a command for an unknown name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the named command; a usage error with a suggestion where there is none."""
        name = args[0]
        if name.startswith("-") or ctx.resilient_parsing or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        shown = name if len(name) <= 60 else f"{name[:57]}..."
        suggestion = self.suggest(ctx, args)
        hint = f"Did you mean: {suggestion}?" if suggestion else f"`{ctx.command_path} --help` lists the commands."
        raise click.UsageError(f"No such command {shown!r}. {hint}", ctx)

    def suggest(self, ctx: click.Context, args: list[str]) -> str | None:
        """Return the command line that was probably meant, or None."""
        known = self.list_commands(ctx)
        meant = SYNONYMS.get(args[0].casefold())
        close = [meant] if meant in known else difflib.get_close_matches(args[0].casefold(), known, 1)
        return join_command_line([ctx.command_path, *close, *map(quote_word, args[1:])]) if close else None


def suggest_prompt(program: str, args: list[str]) -> str:
    """Return the command line that draws the words that were given in place of a command."""
    words = list(takewhile(lambda word: not word.startswith("-"), args))
    return join_command_line(
        [program, "generate", quote_word(" ".join(words), always=True), *map(quote_word, args[len(words) :])]
    )


def join_command_line(words: list[str]) -> str:
    """Join words to a line, cut after the command where it is too long to read."""
    line = " ".join(words)
    return line if len(line) <= MAX_LINE_CHARS else f"{' '.join(words[:2])} ..."


def quote_word(word: str, always: bool = False) -> str:
    """Return a word as it is typed in a shell: in double quotes where those are enough, which every shell knows."""
    if any(sign in word for sign in '"$`\\!'):
        return shlex.quote(word)
    return f'"{word}"' if always or shlex.quote(word) != word else word
