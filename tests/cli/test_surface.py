"""The frozen surface: names, options and exit statuses that people type."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import sumi
from sumi import cli
from sumi.cli import COMMANDS

MODEL = {"--model", "--device", "--dtype", "--lora", "--tokenizer", "--prior-model", "--prediction", "--model-flags"}
"""What chooses the model of a command that draws."""
HELP = {
    "generate": {
        "-n", "--size", "--seed", "--steps", "--guidance", "--negative", "--sampler", "--prior", "--background",
        "--best-of", "--out", "--sign", "--json", "--frames", "--layers", "--whole", "--balance", "--anyway",
    } | MODEL,
    "vary": {
        "-n", "--eta", "--size", "--seed", "--steps", "--guidance", "--background", "--out", "--sign", "--json",
    } | MODEL,
    "edit": {
        "--mask", "--expand", "-n", "--rounds", "--seed", "--steps", "--guidance", "--negative", "--sampler", "--prior",
        "--anyway", "--out", "--sign", "--json",
    } | MODEL,
    "blend": {
        "--frames", "--amount", "--noise", "--size", "--seed", "--steps", "--background", "--out", "--sign", "--json",
    } | MODEL,
    "restyle": {
        "--from", "--to", "--amount", "--size", "--seed", "--steps", "--guidance", "--background", "--anyway",
        "--out", "--sign", "--json",
    } | MODEL,
    "explore": {
        "--dims", "--size", "--seed", "--steps", "--guidance", "--background", "--out", "--sign", "--json",
    } | MODEL,
    "img2img": {
        "--strength", "-n", "--size", "--seed", "--steps", "--guidance", "--negative", "--sampler", "--prior",
        "--background", "--anyway", "--out", "--sign", "--json",
    } | MODEL,
    "upscale": {"--seed", "--steps", "--background", "--out", "--sign", "--json"} | MODEL,
    "rank": {"--prompt", "--model", "--json"},
    "classify": {"--labels", "--model", "--json"},
    "show": {"--json"},
    "replay": {"--out", "--sign", "--json"} | MODEL,
    "verify": {"--data", "--json"},
    "explain": {"--prompt", "--seed", "--model", "--out", "--json"},
    "nearest": {"-k", "--model", "--out", "--json"},
    "words": {"--model", "--json"},
    "teach": {
        "--as", "--minutes", "--steps", "--name", "--rank", "--alpha", "--lr", "--own", "--seed", "--fresh", "--finish",
        "--model", "--json", "--allow-unlicensed", "--opt-out", "--licence", "--license", "--author",
    },
    "synthesize": {
        "--classes", "--per-class", "--out", "--beside", "--seed", "--steps", "--agree", "--least-score", "--sign",
        "--json",
    },
    "systems": {"--json"},
    "inspect": {"--json"},
    "doctor": {"--out", "--quick", "--json"} | MODEL,
    "report": {"--out", "-n", "--json"},
    "export": {"--format"} | MODEL,
    "import": {"--section"},
    "pull": {"--to", "--variant", "--include", "--offline", "--json"},
    "lineage": {
        "--minutes", "--size", "--seeds", "-n", "--only", "--run", "--out", "--resume", "--redraw", "--artwork",
    },
}  # fmt: skip
for drawing in ("generate", "vary", "edit", "blend", "restyle", "explore", "img2img"):
    HELP[drawing].add("--with")


def test_python_surface_is_frozen() -> None:
    assert sumi.__all__ == [
        "Artist", "Blend", "ContentPolicyError", "Edit", "Event", "Explanation", "Explore", "Img2img", "Neighbor",
        "Picture", "Pictures", "Progress", "Recipe", "Request", "Restyle", "Sumi", "SumiError", "Task",
        "UnknownPromptError", "Upscale", "Vary", "__version__", "load", "read_recipe",
    ]  # fmt: skip
    assert dir(sumi) == sorted(sumi.__all__)
    for name in sumi.__all__:
        assert getattr(sumi, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        sumi.paint  # noqa: B018


def test_lazy_exports_all_exist() -> None:
    from sumi import bundles, pipelines

    for room in (bundles, pipelines):
        assert room.__all__ == sorted(room.__all__)
        for name in room.__all__:
            assert getattr(room, name) is not None
    with pytest.raises(AttributeError):
        pipelines.paint  # noqa: B018


@pytest.mark.parametrize("name", HELP)
def test_command_options_are_frozen(name: str) -> None:
    command = cli.sumi.get_command(click.Context(cli.sumi), name)
    assert command is not None and command.help
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("-")}
    assert options == HELP[name]
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_train_command_options_are_frozen() -> None:
    train = cli.sumi.get_command(click.Context(cli.sumi), "train")
    assert isinstance(train, click.Group)
    named = train.list_commands(click.Context(train))
    assert named[0] == "sticker" and len(named) == len(set(named)) > 15
    command = train.get_command(click.Context(train), named[-1])
    assert command is not None and command.help
    options = {option for parameter in command.params for option in parameter.opts}
    assert options == {
        "--data",
        "--size",
        "--steps",
        "--minutes",
        "--run",
        "--max-broken",
        "--allow-unlicensed",
        "--opt-out",
        "--licence",
        "--license",
        "--author",
        "--device",
        "--resume",
        "--artwork",
    }


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(cli.sumi, [])
    assert result.exit_code == 0 and result.output == CliRunner().invoke(cli.sumi, ["--help"]).output
    for name in HELP:
        assert f"  {name} " in result.output and COMMANDS[name] in result.output
    assert "Error" in CliRunner().invoke(cli.sumi, ["paint"]).output


def test_help_and_version_import_no_torch() -> None:
    code = (
        "import sys; from sumi.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert not {'torch', 'numpy', 'PIL', 'rich'} & set(sys.modules), sorted(sys.modules)"
    )
    for arguments in (
        ["--help"],
        ["--version"],
        ["generate", "--help"],
        ["generate", ""],
        ["train", "--help"],
        ["train", "ddpm", "--help"],
        ["systems", "--help"],
        ["lineage", "--help"],
        ["lineage", "--only", "nobody"],
        ["vary", "a", "--eta", "2"],
        ["rank"],
        ["paint"],
    ):
        ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
        assert "AssertionError" not in ran.stderr, arguments
        assert ran.returncode == (0 if arguments[-1].startswith("--") else 2), ran.stderr


def test_version_is_the_packages() -> None:
    assert CliRunner().invoke(cli.sumi, ["--version"]).output == f"sumi, version {sumi.__version__}\n"
