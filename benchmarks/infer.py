"""A network in, the speed and memory of its inference beside PyTorch, NeMo, ONNX Runtime and OpenVINO out.

    python benchmarks/infer.py [--nemo PYTHON] [--nncf PYTHON] [--json]
    python benchmarks/infer.py --device cuda

Every row is measured in a process of its own, so memory is each one's own; the rounds are interleaved, so
what else the machine does meets all alike. The peers get a plain export of the same network, made by PyTorch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from infer_summary import as_text, summarize

HERE = Path(__file__).resolve().parent
MANIFEST = HERE.parent.parent / "shared" / "data" / "librispeech-test-clean-mini" / "test.jsonl"
PEERS = ("eager fp32", "eager bf16", "onnxruntime fp32", "onnxruntime int8")
PEERS += ("openvino fp32", "openvino bf16", "openvino int8")
OURS = ("jasper torch fp32", "jasper torch bf16", "jasper onnx fp32", "jasper onnx int8")
OURS += ("jasper openvino fp32", "jasper openvino bf16", "jasper openvino int8")


def main() -> None:
    """Measure and print."""
    options = parse_options()
    if options.device == "cuda":
        from infer_gpu import measure_gpu

        print(measure_gpu(options.network))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).absolute()
        run_script("infer_models.py", options.network, folder / "big")
        run_script("infer_models.py", options.small, folder / "small")
        run_script("nncf_export.py", folder / "big", python=options.nncf or sys.executable, may_fail=True)
        result = summarize(measure(options, folder / "big"), options)
        result["parts"] = measure_parts(options, folder)
    print(json.dumps(result, indent=2) if options.json else as_text(result))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="jasper10x5dr", help="preset")
    parser.add_argument(
        "--small", default="quartznet15x5", help="preset that start and shares are measured on"
    )
    parser.add_argument("--seconds", type=float, default=16.0, help="of the clip")
    parser.add_argument("--threads", type=int, default=2, help="with 1, times are the thread's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--manifest", type=Path, default=MANIFEST, help="where the queue's durations come from"
    )
    parser.add_argument("--clips", type=int, default=40, help="in the queue")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--nemo", metavar="PYTHON", help="a Python that has NeMo")
    parser.add_argument("--nncf", metavar="PYTHON", help="a Python that has NNCF, if this one has not")
    parser.add_argument("--only", nargs="*", default=[], help="rows whose name has one of these words")
    parser.add_argument("--folder", help="keep what is made for the rows there, and use it again")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Seconds and peak memory of every row that can run here, a list entry a round."""
    names = [*PEERS, *(["nemo fp32", "nemo bf16"] if options.nemo else []), *OURS]
    if not (folder / "plain.int8.xml").exists():
        names.remove("openvino int8")
    if options.only:
        names = [name for name in names if any(word in name for word in options.only)]
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            script = "infer_nemo.py" if name.startswith("nemo") else "infer_row.py"
            python = options.nemo if name.startswith("nemo") else sys.executable
            arguments = (folder, options.seconds, options.threads, name)
            rounds[name].append(run_script(script, *arguments, python=python))
    return rounds


def measure_parts(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The queue, the start of a process, and the share of what is not the network."""
    small, threads = folder / "small", options.threads
    queued = (folder / "big", options.manifest, options.clips, threads)
    queue = {
        way: [run_script("infer_queue.py", *queued, way, "openvino", "int8") for _ in range(options.rounds)]
        for way in ("one by one", "together")
    }
    return {
        "queue": queue,
        "start": {name: run_script("infer_start.py", small, name, 5) for name in ("fp32", "int8")},
        "share": run_script("infer_share.py", small, options.seconds, threads, "int8"),
    }


def run_script(
    script: str, *arguments: object, python: str = sys.executable, may_fail: bool = False
) -> dict[str, Any]:
    """The JSON that a script of this folder prints last; nothing where it `may_fail` and does."""
    command = [python, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    if may_fail:
        print(f"infer.py: {script}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return {}
    sys.exit(f"infer.py: {script} {arguments} failed:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
