import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jasper

CODE = """
import numpy as np
from jasper.decode.align import text_log_prob
print(text_log_prob(np.log(np.full((3, 2), 0.5, np.float32)), np.array([0]), 1))
"""


def test_a_change_of_a_called_function_is_compiled_anew(tmp_path):
    """After an upgrade code was kept where its own file was the same, and called what was there before."""
    pytest.importorskip("numba")
    shutil.copytree(Path(jasper.__file__).parent, tmp_path / "jasper", ignore=shutil.ignore_patterns("*.nb*"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run():
        command = [sys.executable, "-c", CODE]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return float(done.stdout), len(list((tmp_path / "cache").rglob("*.nbi")))

    value, kept = run()
    assert kept == 1
    assert run() == (value, 1)  # from the cache
    called = tmp_path / "jasper/decode/prefixes.py"
    source = called.read_text()
    called.write_text(
        source.replace("return a if b == -math.inf else", "return a if b == -math.inf else 100 +")
    )
    assert called.read_text() != source
    changed, kept = run()
    assert changed > value + 100
    assert kept == 2
