"""`sumi pull`: a published model, by its name on a model hub, through `huggingface_hub`.

The hub's library resumes what was broken off, keeps what it has in its cache and pins a revision to a commit. What is
fetched is chosen here: one set of weights a part, safetensors before pickles, and never code.
"""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from sumi.errors import SumiError

NAME: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
TEXTS: Final = frozenset({".json", ".txt", ".md"})
SAFE: Final = ".safetensors"
PICKLES: Final = frozenset({".bin", ".ckpt", ".pt", ".pth", ".th", ".pkl"})
VARIANT: Final = re.compile(r"\.(fp16|bf16|non_ema|fp32)(?=[.-])")


@dataclass(frozen=True)
class Pulled:
    """A model that was fetched: where it lies, and the commit that it is."""

    folder: Path
    commit: str
    files: int


def pull(
    name: str, to: Path | None = None, variant: str | None = None, include: Iterable[str] = (), offline: bool = False
) -> Pulled:
    """Fetch a model from the hub, or find it in the cache.

    Args:
        name: OWNER/NAME, or OWNER/NAME@REVISION, where the revision is a branch, tag or commit.
        to: a folder for plain files; default the hub's cache, where models share what they have in common.
        variant: of the weights, as "fp16"; default those without a variant.
        include: further files, as "v1-5-pruned.ckpt"; patterns with * match any.
        offline: ask nobody, and take what the cache has.

    Raises:
        SumiError: one line for a name that is not there, one that needs a login, and a hub that does not answer.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise SumiError(f"{name[:100]!r} is no model's name: expected OWNER/NAME or OWNER/NAME@REVISION")
    repo, revision = match["repo"], match["revision"]
    try:
        from huggingface_hub import constants, errors
    except ImportError:
        raise SumiError("sumi pull needs the package huggingface_hub: pip install 'sumi[hub]'") from None
    if offline or constants.HF_HUB_OFFLINE:
        if to is not None:
            raise SumiError("without the hub only its cache can be read: leave --to out")
        return find_cached(repo, revision or constants.DEFAULT_REVISION)
    try:
        return fetch(repo, revision, to, variant, include)
    except errors.GatedRepoError:
        raise SumiError(f"{repo} needs its terms accepted on the hub and a token in HF_TOKEN") from None
    except errors.RepositoryNotFoundError:
        raise SumiError(f"the hub has no model {repo}, or it is private: check the name, or set HF_TOKEN") from None
    except errors.RevisionNotFoundError:
        raise SumiError(f"{repo} has no revision {revision!r}") from None
    except errors.RemoteEntryNotFoundError as error:
        raise SumiError(f"{repo} lists a file that it does not have: {first_line(error)}") from None
    except (errors.HTTPError, errors.LocalEntryNotFoundError) as error:  # type: ignore[attr-defined]
        raise SumiError(f"the hub does not answer for {name}: {first_line(error)}; the next pull resumes") from None
    except OSError as error:
        raise SumiError(f"cannot keep {name}: {error.strerror or first_line(error)}") from None


def fetch(repo: str, revision: str | None, to: Path | None, variant: str | None, include: Iterable[str]) -> Pulled:
    """Ask the hub for the commit and the files of a revision, and fetch those that are chosen."""
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().model_info(repo, revision=revision)
    names, commit = [sibling.rfilename for sibling in info.siblings or ()], str(info.sha)
    chosen = choose_files(names, variant, include)
    if not chosen:
        raise SumiError(f"{repo} has no weights that can be read; its files: {', '.join(names[:8]) or 'none'}")
    patterns = [glob.escape(file) for file in chosen]
    folder = snapshot_download(repo, revision=commit, allow_patterns=patterns, local_dir=to)
    return Pulled(Path(folder), commit, len(chosen))


def find_cached(repo: str, revision: str) -> Pulled:
    """Find a revision of a model in the hub's cache; whether its files are all there, `inspect` finds out."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cached = [found for found in scan_cache_dir().repos if found.repo_id == repo and found.repo_type == "model"]
    except CacheNotFound:
        cached = []
    for found in (kept for model in cached for kept in model.revisions):
        if revision in found.refs or found.commit_hash == revision:
            return Pulled(found.snapshot_path, found.commit_hash, len(found.files))
    raise SumiError(f"{repo}@{revision} is not in the cache: pull it once without --offline")


def choose_files(names: Iterable[str], variant: str | None = None, include: Iterable[str] = ()) -> list[str]:
    """Choose what to fetch of a model's files: texts, and one set of weights a folder.

    Of a folder with a model_index.json, weights outside of its parts are other copies of the same and are left.
    """
    paths = [PurePosixPath(name) for name in names if not PurePosixPath(name).is_absolute() and ".." not in name]
    has_index = PurePosixPath("model_index.json") in paths
    chosen = [path for path in paths if path.suffix in TEXTS and len(path.parts) <= 2 and not is_index(path)]
    folders = defaultdict(list)
    for path in paths:
        if len(path.parts) <= 2 and (path.suffix == SAFE or path.suffix in PICKLES or is_index(path)):
            folders[path.parent].append(path)
    for folder, files in folders.items():
        if not (has_index and folder == PurePosixPath(".")):
            chosen += choose_weights(files, variant)
    chosen += [path for path in paths if any(path.match(pattern) for pattern in include)]
    weights = [path for path in chosen if path.suffix not in TEXTS]
    return sorted({str(path) for path in chosen}) if weights else []


def choose_weights(files: list[PurePosixPath], variant: str | None) -> list[PurePosixPath]:
    """Choose one set of weights: safetensors if there are any, of the variant if it is there, else of none."""
    safe = [path for path in files if path.suffix == SAFE or path.name.endswith(f"{SAFE}.index.json")]
    files = safe if any(path.suffix == SAFE for path in safe) else [path for path in files if path not in safe]
    of = {path: match.group(1) if (match := VARIANT.search(path.name)) else None for path in files}
    wanted = variant if variant in of.values() else None
    kept = [path for path in files if of[path] == wanted]
    return kept or files


def is_index(path: PurePosixPath) -> bool:
    """Whether a file divides weights into shards."""
    return path.name.endswith(".index.json")


def first_line(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
