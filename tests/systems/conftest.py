from pathlib import Path

import pytest
from drawings import write_artwork


@pytest.fixture(scope="session")
def artwork_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own few drawings, for the whole session."""
    return write_artwork(tmp_path_factory.mktemp("artwork"))
