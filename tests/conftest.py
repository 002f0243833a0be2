"""Where the shared material lies, and small corpora that several tests train on."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"{path} is not there: this test needs the shared {name}, which a user's machine lacks")
    return path


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of what other implementations computed."""
    return _shared("golden")


@pytest.fixture(scope="session")
def speech() -> Path:
    """Folder of the real recordings."""
    return _shared("data")
