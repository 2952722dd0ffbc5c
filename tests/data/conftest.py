from pathlib import Path

import pytest
from drawings import write_artwork


@pytest.fixture
def artwork_folder(tmp_path: Path) -> Path:
    """Our own few drawings, in a folder that a test may damage."""
    return write_artwork(tmp_path)
