"""A network and a manifest's durations in, the speed of its training step beside a plain one and NeMo's out.

    python benchmarks/train.py [--network small] [--nemo PYTHON] [--device cuda] [--json]

Every measurement is a process of its own, so memory is each one's own; the rounds are interleaved, so what
else the machine does meets all alike. The reference and NeMo pad random batches, ours its buckets.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from summary import as_text, summarize
from timing import matmul_peak, time_steps
from workload import Work, workload

from jasper.recipe import load_config

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT.parent / "shared" / "data" / "librispeech-train-clean-5" / "train.jsonl"


def main() -> None:
    """Measure and print."""
    options = parse_options()
    if options.worker:
        print(json.dumps(run_worker(options.worker, json.load(sys.stdin))))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("train.py: no CUDA device here; run it where there is one, or with --device cpu")
    work = workload(options)
    # NeMo comes last, so that the others are measured even if its Python turns out not to have it.
    names = ["reference", "ours", *(["nemo"] if options.nemo else [])]
    pythons = {"nemo": options.nemo}
    rounds = []
    for _ in range(options.rounds):
        rounds.append(
            {name: start_worker(name, work, pythons.get(name) or sys.executable) for name in ("peak", *names)}
        )
    result = summarize(rounds, names, work)
    print(json.dumps(result, indent=2) if options.json else as_text(result))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="jasper10x5dr", help="preset; jasper10x5dr, small or another")
    parser.add_argument("--manifest", type=Path, default=MANIFEST, help="where durations come from")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--batch-seconds", type=float, help="padded audio in a batch; default 64, on cuda 800"
    )
    parser.add_argument("--steps", type=int, default=1, help="measured steps a round")
    parser.add_argument("--threads", type=int, help="of the CPU; with 1, times are the thread's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nemo", metavar="PYTHON", help="a Python that has NeMo")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of ours")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def start_worker(name: str, work: Work, python: str) -> Work:
    """Measure one way to train, in a process of its own."""
    command = [
        python,
        __file__ if name != "nemo" else str(Path(__file__).with_name("nemo_step.py")),
        "--worker",
        name,
    ]
    done = subprocess.run(command, input=json.dumps(work), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"train.py: the worker {name} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_worker(name: str, work: Work) -> Work:
    """What a worker prints: times and memory of its steps; `peak` the machine's FLOP a second."""
    device = work["device"]
    torch.set_num_threads(work["threads"])
    if name == "peak":
        return {
            "fp32": matmul_peak(torch.float32, device),
            "bf16": matmul_peak(torch.bfloat16, device) if work["bf16"] else None,
        }
    if name == "reference":
        from reference_step import ReferenceStep

        reference = ReferenceStep(work["blocks"], work["num_labels"], device)
        return time_steps(reference, work["random"], device)
    from our_step import OurStep

    with tempfile.TemporaryDirectory() as out:
        config = load_config(work["network"], [*work["settings"], f"train.out={out}"])
        step = OurStep(config)
        try:
            return time_steps(step, work["buckets"], device)
        finally:
            step.close()


if __name__ == "__main__":
    main()
