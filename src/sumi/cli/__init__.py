"""The `sumi` command. Each subcommand lives in a small module beside this one, imported only when it is called.

So `sumi --help` and a mistyped option answer at once, without torch. A user's mistake and a full disk end in one line,
`error: ...`, and status 2; an interruption in status 130; anything else is a bug and keeps its traceback. With --json
the line is on stdout too, as an object with `error`.
"""

from __future__ import annotations

import importlib
import keyword
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Final, NoReturn

import click

from sumi import SumiError, __version__
from sumi.cli.streams import DEVICE_ERRORS, discard_stdout, open_streams, print_error
from sumi.cli.suggestions import SuggestingGroup, join_command_line, suggest_prompt
from sumi.hardware import use_threads
from sumi.pipelines.tasks import TASKS

COMMANDS: Final = {
    **{name: kind.summary for name, kind in TASKS.items()},
    "rank": "Order pictures by how well they fit a prompt.",
    "classify": "Say which of some labels a picture shows.",
    "show": "Print what a picture was made from.",
    "replay": "Draw a picture again from its own metadata, and compare.",
    "verify": "Say what is known of where a picture comes from.",
    "explain": "Say which word drew which part of a picture.",
    "nearest": "Show the training drawings nearest to a picture.",
    "words": "List what a model knows.",
    "synthesize": "Draw labelled pictures for classes of which there are too few.",
    "teach": "Teach a model something new from a few pictures.",
    "adapters": "List, show, add and remove what was taught.",
    "systems": "List the published systems that can be trained.",
    "inspect": "Say what a file or folder of weights is.",
    "doctor": "Say whether a model is whole, or a training run works.",
    "import": "Convert weights to safetensors.",
    "export": "Write a published model as a folder of diffusers.",
    "pull": "Fetch a published model from a model hub.",
    "serve": "Serve a model over HTTP, with OpenAI's API.",
    "studio": "Draw in a browser.",
    "keys": "Make, list and revoke the keys of a server.",
    "store": "Check, back up and restore a server's store.",
    "train": "Train a system on pictures.",
    "report": "Write a page about a training run.",
    "lineage": "Train every system on the same pictures, and compare.",
    "data": "Look at what a model is trained on.",
    "rights": "Ask which models were trained on a picture.",
    "exam": "Measure a model.",
}
"""The commands with their summaries. Those of `TASKS` are in `operations`, every other in the module of its name.

A name that Python reserves has an underscore after it in the module: `import_`.
"""

LIGHT: Final = {"adapters", "import", "inspect", "keys", "pull", "systems"}
"""Commands that compute nothing."""

THREADS: Final = "It uses as many threads as cores are free when it starts. SUMI_THREADS=2 sets another number."


def python_name(name: str) -> str:
    """Return the name of a command in Python."""
    return f"{name}_" if keyword.iskeyword(name) else name


class LazyGroup(SuggestingGroup):
    """A group that imports a command when it is called, and lists all without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in TASKS:
            from sumi.cli.operations import make_command

            command = make_command(TASKS[cmd_name])
        else:
            name = python_name(cmd_name)
            command = vars(importlib.import_module(f"{__name__}.{name}"))[name]
        assert isinstance(command, click.Command)
        if cmd_name not in LIGHT:
            command.epilog = THREADS
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what comes before the command; a usage error for an option that belongs after it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            example = 'options follow the command, as in: sumi generate "a red fox" --seed 7'
            raise click.UsageError(f"No such option {error.option_name} before a command: {example}", ctx) from None

    def suggest(self, ctx: click.Context, args: list[str]) -> str:
        """Return the command line that was probably meant; a name like no command is taken for a prompt."""
        if args[0] == "help":
            return join_command_line([ctx.command_path, *args[1:2], "--help"])
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
    """Run the command and exit with its status."""
    open_streams()
    given = list(sys.argv[1:] if args is None else args)
    as_json = "--json" in takewhile(lambda word: word != "--", given)
    try:
        status = sumi.main(given, prog_name="sumi", standalone_mode=False)
        sys.stdout.flush()
    except SumiError as error:
        _exit_with_error(str(error), as_json)
    except click.ClickException as error:
        _exit_with_error(error.format_message(), as_json)
    except (click.Abort, KeyboardInterrupt):
        print_error("stopped", "", as_json)
        sys.exit(130)
    except BrokenPipeError:  # such as `head`
        discard_stdout()
        sys.exit(0)
    except OSError as error:
        if error.errno not in DEVICE_ERRORS:
            raise
        _exit_with_error(f"cannot write {error.filename or 'the output'}: {error.strerror}", as_json)
    sys.exit(status if isinstance(status, int) else 0)


def _exit_with_error(message: str, as_json: bool) -> NoReturn:
    print_error(message, "error: ", as_json)
    sys.exit(2)
