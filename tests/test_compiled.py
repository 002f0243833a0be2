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


COMPILING = """
import gc, sys
import numba
from jasper.compiled import compiled

@compiled
def first(value):  # loads the compiler
    return value

@compiled
def grows(value):
    return [value] * 3

@compiled
def fails(value):
    return value.no_such_thing

if sys.argv[1] == "off":
    gc.disable()
first(1)
gc.set_threshold(50)
collected = []
gc.callbacks.append(lambda phase, info: collected.append(phase))
assert grows(2) == [2, 2, 2]
print(len(collected) < 10, gc.isenabled())
try:
    fails(2)
except numba.TypingError:
    print(gc.isenabled())
"""


@pytest.mark.parametrize("collects", [True, False])
def test_compiling_does_without_the_collection_of_garbage_and_leaves_it_as_it_was(tmp_path, collects):
    pytest.importorskip("numba")
    (tmp_path / "compiling.py").write_text(COMPILING)
    done = subprocess.run(
        [sys.executable, tmp_path / "compiling.py", "on" if collects else "off"],
        env={**os.environ, "PYTHONPATH": str(Path(jasper.__file__).parents[1])},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["True", str(collects), str(collects)], done.stderr
