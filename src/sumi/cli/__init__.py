"""The `sumi` command. Each subcommand is a small file beside this one, imported only when it is called.

So `sumi --help` and a mistyped option answer at once, without torch. A person's mistake and a full disk end in one
line, `error: ...`, and status 2; an interruption in status 130; anything else is a bug and keeps its traceback. With
--json the line is on stdout too, as an object with `error`.
"""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import NoReturn

import click

from sumi import SumiError, __version__
from sumi.cli.streams import DEVICE_ERRORS, discard_stdout, open_streams, print_error
from sumi.cli.suggestions import SuggestingGroup, command_line, suggest_prompt
from sumi.hardware import use_threads

COMMANDS = {
    "generate": "Draw pictures from words.",
    "vary": "Draw other pictures of what a picture shows.",
    "edit": "Draw a part of a picture anew, or more of it.",
    "blend": "Draw the way from one picture to another.",
    "restyle": "Move a picture from one text towards another.",
    "explore": "Draw a picture from more and more of what it says.",
    "img2img": "Draw a prompt over a picture.",
    "upscale": "Draw a picture four times as large.",
    "rank": "Order pictures by how near they are to a prompt.",
    "classify": "Say which of some labels a picture shows.",
    "show": "Print what a picture was made from.",
    "replay": "Draw a picture again from its own metadata, and compare.",
    "explain": "Say which word drew which part of a picture.",
    "nearest": "Show the training drawings nearest to a picture.",
    "words": "List what a model knows.",
    "systems": "List the published systems that can be trained.",
    "inspect": "Say what a file or folder of weights is.",
    "import": "Convert weights to safetensors.",
    "pull": "Fetch a published model from a model hub.",
    "serve": "Answer requests for pictures over HTTP, as OpenAI's API does.",
    "studio": "Draw in a browser.",
    "keys": "Make, list and revoke the keys of a server.",
    "store": "Check, back up and restore what a server keeps.",
    "train": "Train a system on pictures.",
    "lineage": "Train every system on the same pictures, and compare.",
    "data": "Look at what a model is trained on.",
    "exam": "Measure a model.",
}
"""Each is the command of that name in the module of that name; one whose file is absent is not offered.

A name that Python reserves has an underscore after it in the module: `import_`.
"""

LIGHT = {"import", "inspect", "keys", "pull", "systems"}
"""Commands that compute nothing."""

THREADS = "It computes with as many threads as there are free cores when it starts. SUMI_THREADS=2 sets another number."


def identifier(name: str) -> str:
    """Return how a command is called in Python."""
    return f"{name}_" if keyword.iskeyword(name) else name


class LazyGroup(SuggestingGroup):
    """A group whose commands are imported when they are called, and listed without being imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands that there are."""
        return [name for name in COMMANDS if importlib.util.find_spec(f"{__name__}.{identifier(name)}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        name = identifier(cmd_name)
        command = getattr(importlib.import_module(f"{__name__}.{name}"), name)
        assert isinstance(command, click.Command)
        if cmd_name not in LIGHT:
            command.epilog = THREADS
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before the command; a usage error for an option of a command."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            example = 'options follow the command, as in: sumi generate "a red fox" --seed 7'
            raise click.UsageError(f"No such option {error.option_name} before a command: {example}", ctx) from None

    def suggest(self, ctx: click.Context, args: list[str]) -> str:
        """Return the command line that was probably meant; what is like no command is taken for a prompt."""
        if args[0] == "help":
            return command_line([ctx.command_path, *args[1:2], "--help"])
        return super().suggest(ctx, args) or suggest_prompt(ctx.command_path, args)


@click.group(
    cls=LazyGroup, invoke_without_command=True, epilog=THREADS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="sumi")
@click.pass_context
def sumi(ctx: click.Context) -> None:
    """Words in, pictures out, drawn on your own machine.

    Start with: sumi generate "a red fox"
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    elif ctx.invoked_subcommand not in LIGHT:
        use_threads()


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its status."""
    open_streams()
    given = list(sys.argv[1:] if args is None else args)
    as_json = "--json" in takewhile(lambda word: word != "--", given)
    try:
        status = sumi.main(given, prog_name="sumi", standalone_mode=False)
        sys.stdout.flush()
    except SumiError as error:
        _leave(str(error), as_json)
    except click.ClickException as error:
        _leave(error.format_message(), as_json)
    except (click.Abort, KeyboardInterrupt):
        print_error("stopped", "", as_json)
        sys.exit(130)
    except BrokenPipeError:  # the reader has read enough
        discard_stdout()
        sys.exit(0)
    except OSError as error:
        if error.errno not in DEVICE_ERRORS:
            raise
        _leave(f"cannot write {error.filename or 'what was asked for'}: {error.strerror}", as_json)
    sys.exit(status if isinstance(status, int) else 0)


def _leave(message: str, as_json: bool) -> NoReturn:
    print_error(message, "error: ", as_json)
    sys.exit(2)
