"""What torchrun, Slurm and Kubernetes start trains together, and goes on when a worker dies."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from together import free_port, train_on
from tones import assert_same_run, log_rows, recipe

from jasper.recipe import dump_yaml, load_config
from jasper.train.checkpoint import list_checkpoints

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


@pytest.fixture
def written(tmp_path, corpus, dev):
    """A function to write a recipe for the run `name`; returns the configuration and its file."""

    def write(name, **settings):
        config = recipe(corpus, tmp_path / name, data={"dev": [str(dev)]}, train=settings)
        path = tmp_path / f"{name}.yaml"
        path.write_text(dump_yaml(config))
        return config, path

    return write


@contextmanager
def started(command, **options):
    """The process of a launcher, which is gone with its workers at the end, however that comes."""
    launcher = subprocess.Popen(command, text=True, **options)
    try:
        yield launcher
    finally:
        if launcher.poll() is None:
            launcher.terminate()  # it ends its workers, after half a minute by force
            try:
                launcher.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                launcher.kill()


def workers_of(launcher):
    """Process ids of the ranks that a torchrun has started, in their order."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    ranks = {}
    for child in children:
        environment = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
        variables = dict(line.partition("=")[::2] for line in environment)
        if "RANK" in variables:
            ranks[int(variables["RANK"])] = int(child)
    return [ranks[rank] for rank in sorted(ranks)]


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_only_the_steps_since_the_last_checkpoint(tmp_path, written):
    _, path = written("run", epochs=60, checkpoint_steps=5)
    whole, _ = written("whole", epochs=60, checkpoint_steps=5)
    command = [
        *TORCHRUN,
        "--standalone",
        "--nproc-per-node=2",
        "--max-restarts=2",
        "-m",
        "jasper",
        "train",
        path,
    ]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as launcher:
        until = time.monotonic() + 120
        while len(list_checkpoints(tmp_path / "run" / "checkpoints")) < 3:
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(workers_of(launcher.pid)[1], signal.SIGKILL)
        stdout, stderr = launcher.communicate(timeout=200)
    assert launcher.returncode == 0, stderr
    assert stderr.count("; going on after step ") == 1
    assert stdout.count("dev WER") == 1  # said once, not by every rank
    assert [row["step"] for row in log_rows(tmp_path / "run", "loss")] == list(range(1, 181))
    train_on(2, whole)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_the_command_of_the_slurm_recipe_trains(tmp_path, written):
    """With a Slurm that is played: one node with two devices, which are CPUs here."""
    _, path = written("run", epochs=2)
    faked = tmp_path / "bin"
    faked.mkdir()
    for name, line in (
        ("srun", 'while [[ "$1" == --* ]]; do shift; done; exec "$@"'),
        ("scontrol", '[[ "$*" == "show hostnames node[1-2]" ]] && printf "127.0.0.1\\nnode2\\n"'),
        ("torchrun", f'exec "{sys.executable}" -m torch.distributed.run "$@"'),
    ):
        (faked / name).write_text(f"#!/bin/bash\n{line}\n")
        (faked / name).chmod(0o755)
    variables = {
        "PATH": f"{faked}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
        "SLURM_JOB_ID": str(os.getpid()),
    }
    command = ["bash", LAUNCH / "slurm.sbatch", path, "train.device=cpu"]
    finished = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    # 12 utterances in batches of 2, and two ranks: 3 steps an epoch.
    assert [row["step"] for row in log_rows(tmp_path / "run", "loss")] == list(range(1, 7))


def test_the_slurm_recipe_is_bash():
    subprocess.run(["bash", "-n", LAUNCH / "slurm.sbatch"], check=True)


def kubernetes_command():
    """The service and the command of each pod."""
    service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return service, job, [*container["command"], *container["args"]]


def test_the_kubernetes_recipe_agrees_with_itself():
    service, job, command = kubernetes_command()
    pod, name = job["spec"]["template"]["spec"], service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == name
    assert f"--rdzv-endpoint={job['metadata']['name']}-0.{name}:29400" in command
    assert f"--nnodes={job['spec']['completions']}" in command
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    (container,) = pod["containers"]
    assert f"--nproc-per-node={container['resources']['limits']['nvidia.com/gpu']}" in command
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    config, overrides = command[command.index("train") + 1], command[command.index("train") + 2 :]
    assert str(load_config(config, overrides).train.out) == "/runs/big"


@pytest.mark.slow
def test_the_command_of_the_kubernetes_recipe_trains_on_two_machines(tmp_path, written):
    """Two launchers that meet at the first one's port, one rank each; sizes, names and recipe are ours."""
    _, path = written("run", epochs=2)
    _, _, command = kubernetes_command()
    ours = {"--nproc-per-node=8": "--nproc-per-node=1"}
    ours["--rdzv-endpoint=jasper-0.jasper:29400"] = f"--rdzv-endpoint=127.0.0.1:{free_port()}"
    options = [ours.pop(word, word) for word in command[1 : command.index("train") + 1]]
    assert not ours
    pod = [*TORCHRUN, *options, path]
    with started(pod, stderr=subprocess.PIPE) as first, started(pod, stderr=subprocess.PIPE) as second:
        pods = [first, second]
        errors = [pod.communicate(timeout=120)[1] for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0], errors
    assert [row["step"] for row in log_rows(tmp_path / "run", "loss")] == list(range(1, 7))
