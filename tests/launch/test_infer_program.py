"""`launch/ascend/infer.cc` compiled against MindSpore Lite's headers and run, on a CPU, by its libraries.

The graph that it runs is a log-softmax of the features: MindSpore Lite 2.0, the last one that is a package,
reads no MINDIR of today's MindSpore.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("JASPER_LITE_PYTHON", ROOT.parent / "lite" / "venv" / "bin" / "python"))
SHAPES = ((2, 8, 13), (2, 8, 7), (1, 8, 20))
CONVERT = """
import sys, mindspore_lite
converter = mindspore_lite.Converter()
converter.save_type = mindspore_lite.ModelType.MINDIR
converter.convert(fmk_type=mindspore_lite.FmkType.ONNX, model_file=sys.argv[1], output_file=sys.argv[2])
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.is_file(), reason=f"{PYTHON} is not there: a Python 3.7 with mindspore-lite"
    ),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]


def run(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program, every warning in it an error."""
    (home,) = PYTHON.parents[1].glob("lib/python3*/site-packages/mindspore_lite")
    path, source = tmp_path_factory.mktemp("program") / "infer", ROOT / "launch" / "ascend" / "infer.cc"
    compiler = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-D_GLIBCXX_USE_CXX11_ABI=0"]
    libraries = ["-lmindspore-extendrt_python", "-lmindspore_core", "-l:libmindspore_glog.so.0"]
    linker = ["-Wl,--allow-shlib-undefined", f"-Wl,-rpath,{home / 'lib'},--disable-new-dtags"]
    done = run(*compiler, "-isystem", home, source, "-L", home / "lib", *libraries, *linker, "-o", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def files(tmp_path):
    """What `jasper ascend preprocess` writes, of noise."""
    rng, lines = np.random.default_rng(0), []
    for index, shape in enumerate(SHAPES):
        lengths = rng.integers(1, shape[2] + 1, shape[0])
        rng.standard_normal(shape, dtype=np.float32).tofile(tmp_path / f"{index:05d}.features.bin")
        lengths.astype("<i4").tofile(tmp_path / f"{index:05d}.lengths.bin")
        row = {"name": f"{index:05d}", "shape": shape, "lengths": lengths.tolist(), "ids": []}
        lines.append(json.dumps(row) + "\n")
    (tmp_path / "index.jsonl").write_text("".join(lines))
    return tmp_path


@pytest.fixture(params=[TensorProto.INT32, TensorProto.INT64], ids=["int32", "int64"])
def model(request, tmp_path_factory):
    """A graph with the inputs and outputs of an exported model, its lengths of either type."""
    kind, folder = request.param, tmp_path_factory.mktemp("model")
    nodes = [
        helper.make_node("Transpose", ["features"], ["x"], perm=[0, 2, 1]),
        helper.make_node("LogSoftmax", ["x"], ["log_probs"], axis=-1),
        helper.make_node("Add", ["lengths", "zero"], ["steps"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 8, "frames"]),
            helper.make_tensor_value_info("lengths", kind, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("log_probs", TensorProto.FLOAT, ["batch", "frames", 8]),
            helper.make_tensor_value_info("steps", kind, ["batch"]),
        ],
        [helper.make_tensor("zero", kind, [1], [0])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), folder / "x.onnx")
    done = run(PYTHON, "-c", CONVERT, folder / "x.onnx", folder / "x")
    assert (folder / "x.mindir").is_file(), done.stdout + done.stderr
    return folder / "x.mindir"


def test_every_batch_is_run_in_its_own_shape(program, files, model):
    done = run(program, model, files, "cpu")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 batches in" in done.stdout
    for row in map(json.loads, (files / "index.jsonl").read_text().splitlines()):
        x = np.fromfile(files / f"{row['name']}.features.bin", "<f4").reshape(row["shape"]).swapaxes(1, 2)
        found = np.fromfile(files / f"{row['name']}.log_probs.bin", "<f4").reshape(x.shape)
        np.testing.assert_allclose(found, x - np.log(np.exp(x).sum(-1, keepdims=True)), atol=1e-5)
        assert np.fromfile(files / f"{row['name']}.steps.bin", "<i4").tolist() == row["lengths"]


def test_a_batch_that_fails_is_named_and_the_others_are_run(program, files, model):
    lengths = files / "00001.lengths.bin"
    lengths.write_bytes(lengths.read_bytes()[:-1])
    results = [files / f"00001.{kind}.bin" for kind in ("log_probs", "steps")]
    for path in results:  # of an earlier run, which the next step would score
        path.write_bytes(b"old")
    done = run(program, model, files, "cpu")
    assert done.returncode == 1
    assert not any(path.exists() for path in results)
    assert "00001.lengths.bin: has" in done.stderr
    assert "2 of 3 batches in" in done.stdout


def test_what_cannot_be_begun_is_said(program, files):
    assert run(program).returncode == 2
    done = run(program, files / "missing.mindir", files, "cpu")
    assert done.returncode == 2
    assert "missing.mindir: cannot be loaded on device cpu" in done.stderr
