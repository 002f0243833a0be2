"""Where the shared material lies, and small corpora that several tests train on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"{path} is not there: this test needs the shared {name}, which a user's machine lacks")
    return path


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> None:
    """What engines keep of a model is kept apart from the user's own, for child processes too."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of what other implementations computed."""
    return _shared("golden")


@pytest.fixture(scope="session")
def nemo_python() -> Path:
    """The Python of an environment that has NeMo: $JASPER_NEMO_PYTHON, or the one beside this checkout."""
    path = Path(os.environ.get("JASPER_NEMO_PYTHON", ROOT.parent / "nemo" / "venv" / "bin" / "python"))
    if not path.is_file():
        pytest.skip(f"{path} is not there: this test compares with NeMo in an environment of its own")
    return path


@pytest.fixture(scope="session")
def speech() -> Path:
    """Folder of the real recordings."""
    return _shared("data")
