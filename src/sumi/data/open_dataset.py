"""Opens the pictures that people own, whichever way they are stored."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from sumi.data.image_folder import list_files, read_image_folder
from sumi.data.picture_dataset import PictureDataset
from sumi.data.storage import expand_pattern, is_url
from sumi.data.tables import is_datasets_directory, read_datasets_directory, read_parquet
from sumi.data.tar_shards import read_tar_shards
from sumi.errors import SumiError

__all__ = ["open_dataset"]

TAR, PARQUET = ".tar", ".parquet"


def open_dataset(place: str | Path) -> PictureDataset:
    """Return the pictures in a place.

    Args:
        place: a folder of pictures, of tar shards or of parquet files; a directory that Hugging Face `datasets` saved;
            a tar or parquet file, or several by a pattern or a range ("shards/{00000..00099}.tar"), also as a URL that
            fsspec opens.

    Raises:
        SumiError: when there are no pictures, or what describes them is damaged.
    """
    place = str(place)
    try:
        folder = not is_url(place) and Path(place).is_dir()
    except (OSError, ValueError) as error:
        raise SumiError(f"cannot look into {place!r}: {getattr(error, 'strerror', None) or error}") from None
    if folder:
        return _read_folder(Path(place))
    suffix = PurePosixPath(place).suffix.lower()
    if suffix in (TAR, PARQUET) or place.lower().endswith((".tar.gz", ".tgz")):
        files = expand_pattern(place)
        return read_parquet(place, files) if suffix == PARQUET else read_tar_shards(place, files)
    if is_url(place):
        raise SumiError(f"{place!r} should name tar or parquet files: a URL that ends in *.tar or *.parquet")
    kinds = "pictures, tar shards (*.tar), parquet files, or what `datasets` saved to disk"
    raise SumiError(f"there is no folder {place!r}: it should be a folder with {kinds}")


def _read_folder(root: Path) -> PictureDataset:
    """Return the pictures of a folder by what it holds: pictures first, then tar shards, then parquet files."""
    if is_datasets_directory(root):
        return read_datasets_directory(root)
    pictures, files, _ = list_files(root)
    for suffix in () if pictures else (TAR, PARQUET):
        shards = [str(root / name) for name in files if PurePosixPath(name).suffix.lower() == suffix]
        if shards:
            return read_tar_shards(str(root), shards) if suffix == TAR else read_parquet(str(root), shards)
    return read_image_folder(root)
