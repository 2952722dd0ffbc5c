"""`sumi inspect`, `sumi import` and `sumi pull`, the last against a hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from hub_server import COMMIT, Hub, hub_server
from published_weights import FILES, stable_diffusion_folder

from sumi import cli
from sumi.bundles.published.hub import choose_files, pull
from sumi.errors import SumiError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.sumi, arguments)


def test_inspect_command_prints_a_table_or_one_object(tmp_path: Path) -> None:
    folder = stable_diffusion_folder(tmp_path / "model")
    shown = run("inspect", str(folder))
    assert shown.exit_code == 0 and "Stable Diffusion 1.x or 2.x" in shown.output and "total" in shown.output
    found = json.loads(run("inspect", str(folder), "--json").output)
    assert found["layout"] == "stable-diffusion" and {part["name"] for part in found["parts"]} > {"unet", "vae"}


def test_import_command_writes_safetensors(tmp_path: Path) -> None:
    torch.save({"state_dict": FILES["clip"]}, tmp_path / "clip.ckpt")
    made = run("import", str(tmp_path / "clip.ckpt"), str(tmp_path / "clip.safetensors"))
    assert made.exit_code == 0 and json.loads(run("inspect", made.output.strip(), "--json").output)["layout"] == "clip"


def test_commands_refuse_bad_weights_in_one_line_on_stderr(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    for arguments in (["inspect", "module.pt"], ["import", "module.pt", "made.safetensors"]):
        ran = subprocess.run(
            [sys.executable, "-m", "sumi", *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=300
        )
        assert ran.returncode == 2 and ran.stdout == "" and ran.stderr.count("\n") == 1
        assert ran.stderr.startswith("error: module.pt is refused: its pickle names the global 'torch.nn")


# The hub. It is asked by a process of its own, since `huggingface_hub` reads its environment once. --------------------


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pulled(hub: Hub, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `sumi pull` against a hub, with a cache of its own."""
    quiet = {
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "sumi", "pull", *arguments], capture_output=True, text=True, cwd=home, timeout=300,
        env=os.environ | quiet | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home)},
    )  # fmt: skip


def test_pull_fetches_a_model_pins_its_commit_and_works_offline_afterwards(tmp_path: Path) -> None:
    files = files_of(stable_diffusion_folder(tmp_path / "model"))
    unwanted = {"v1-5.ckpt": b"pickle", "run.py": b"raise SystemExit", "unet/diffusion_pytorch_model.bin": b"pickle"}
    with hub_server(Hub(files | unwanted)) as hub:
        ran = pulled(hub, tmp_path, "owner/tiny@v1", "--json")
        assert ran.returncode == 0, ran.stderr
        found = json.loads(ran.stdout)
        assert found["layout"] == "stable-diffusion" and found["commit"] == COMMIT
        assert files_of(Path(found["path"])) == files
        assert not [line for line in hub.requests if any(name in line for name in unwanted)]
        again = pulled(hub, tmp_path, f"owner/tiny@{COMMIT}", "--json")
        assert json.loads(again.stdout) == found
        hub.requests.clear()
        offline = pulled(hub, tmp_path, f"owner/tiny@{COMMIT}", "--offline", "--json")
        assert json.loads(offline.stdout) == found and hub.requests == []
        absent = pulled(hub, tmp_path, "owner/other", "--offline")
        assert absent.returncode == 2 and "is not in the cache" in absent.stderr


def test_pull_resumes_where_the_line_broke(tmp_path: Path) -> None:
    big = b"\x00" * (12 * 2**20)
    with hub_server(Hub({"model.safetensors": big}, break_after={"model.safetensors": 11 * 2**20})) as hub:
        pulled(hub, tmp_path, "owner/tiny", "--to", "made")
        assert (tmp_path / "made" / "model.safetensors").read_bytes() == big
        assert len(hub.ranges) == 1 and int(hub.ranges[0].split()[-1]) >= 10 * 2**20


def refused(hub: Hub, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Run `sumi pull` in this process against a hub that has nothing for it; returns the error."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    ran = run("pull", *arguments)
    assert isinstance(ran.exception, SumiError) and "\n" not in str(ran.exception)
    return str(ran.exception)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("owner/none", "the hub has no model owner/none"),
        ("owner/tiny@v9", "owner/tiny has no revision 'v9'"),
        ("owner/tiny", "no weights that can be read; its files: readme.txt, flax_model.msgpack"),
        ("owner/empty/model", "is no model's name"),
        ("tiny", "expected OWNER/NAME"),
    ],
)
def test_pull_refuses_what_the_hub_does_not_have(name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server(Hub({"readme.txt": b"", "flax_model.msgpack": b""})) as hub:
        assert says in refused(hub, monkeypatch, name)


def test_pull_says_that_terms_must_be_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server(Hub({}, gated=True)) as hub:
        assert "terms accepted" in refused(hub, monkeypatch, "owner/tiny")


def test_pull_from_a_hub_that_does_not_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server(Hub()) as hub:
        pass
    assert "the hub does not answer for owner/tiny" in refused(hub, monkeypatch, "owner/tiny")


def test_pull_offline_into_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="leave --to out"):
        pull("owner/tiny", to=tmp_path, offline=True)


FOLDER = [
    "model_index.json", "README.md", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_flax_model.msgpack", "vae/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.fp16.bin",
    "v1-5-pruned.ckpt", "v1-5-pruned.safetensors", "setup.py", "a/b/c.safetensors", "../up.safetensors",
]  # fmt: skip


def test_choose_files_takes_one_set_of_weights_a_part_and_no_code() -> None:
    assert choose_files(FOLDER) == [
        "README.md", "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.bin",
    ]  # fmt: skip


def test_choose_files_takes_the_variant_where_it_is_there() -> None:
    chosen = choose_files(FOLDER, "fp16")
    assert [name for name in chosen if "diffusion" in name] == [
        "unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.fp16.bin",
    ]  # fmt: skip
    assert choose_files(FOLDER, "bf16") == choose_files(FOLDER)


def test_choose_files_adds_what_is_included_by_name() -> None:
    assert "v1-5-pruned.ckpt" in choose_files(FOLDER, include=("*.ckpt",))


def test_choose_files_keeps_shards_with_their_index() -> None:
    names = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    names += ["model.safetensors.index.json", "pytorch_model.bin"]
    assert choose_files(names) == sorted(names[:-1])


def test_choose_files_of_code_alone_is_nothing() -> None:
    assert choose_files(["README.md", "run.py", "config.json"]) == []
