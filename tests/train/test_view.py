"""The one-screen view of a run: what the log says, within a terminal's size, while the log grows."""

import io
import os
import pty
import re
import signal
import subprocess
import time
from contextlib import suppress

import pytest
import yaml
from rich.console import Console
from tones import JASPER, assert_fault, log_rows, raw_recipe, recipe, run_jasper

from jasper.train import train
from jasper.train.log import read_log
from jasper.train.view import RunView, sparkline


@pytest.fixture(scope="module")
def run(tmp_path_factory, corpus, dev):
    """A finished run of six epochs, each scored."""
    out = tmp_path_factory.mktemp("view") / "run"
    train(recipe(corpus, out, data={"dev": [str(dev)]}, train={"epochs": 6}))
    return out


def heed_ctrl_c():
    """As at a prompt: who starts the tests in the background has them ignore it, and their children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read_to_the_end(terminal):
    """What is still written to a terminal; unread, it would hold up the one who writes."""
    seen = b""
    with suppress(OSError):  # what a closed terminal gives
        while piece := os.read(terminal, 65536):
            seen += piece
    os.close(terminal)
    return seen


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_in_a_terminal_and_says_what_the_log_says(run, width):
    view = RunView("run", 6)
    for row in read_log(run / "log.jsonl"):
        view.take(row)
    view.take({"step": 36, "skipped": ["a"], "reason": "why"})
    console = Console(file=io.StringIO(), width=width, height=24, record=True)
    console.print(view.render(width))
    lines = console.export_text().rstrip("\n").split("\n")
    assert len(lines) <= 24
    assert {len(line) for line in lines} == {width}
    text = "\n".join(lines)
    assert "step 36   epoch 6.00 of 6" in text
    assert f"loss {log_rows(run, 'loss')[-1]['loss']:.3f}" in text
    score, best = log_rows(run, "dev_wer")[-1], min(row["dev_wer"] for row in log_rows(run, "dev_wer"))
    assert f"{score['dev_wer']:.2%}" in text
    assert f"{best:.2%}" in text
    assert f"said  {log_rows(run, 'hypothesis')[-3]['reference']}" in text
    assert "skipped steps 1" in text
    assert "audio s/s" in text


def test_time_left_is_that_of_the_pace():
    view = RunView("run", 10)
    assert view.seconds_left() is None
    for step in range(5):
        view.take({"step": step, "time": 100.0 + 3 * step, "epoch": 0.5 * step, "loss": 1.0})
    assert view.seconds_left() == pytest.approx(8 / 0.5 * 3)


def test_a_sparkline_shows_the_course():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([7.0, 7.0, 0.0, 0.0, float("nan")], 2) == "█▁"
    assert sparkline([1.0, 1.0], 5) == "▁▁"
    assert sparkline([], 5) == ""


def test_what_training_takes_is_logged(run):
    rows = log_rows(run, "memory_gib")
    assert 1 <= len(rows) <= len(log_rows(run, "loss"))
    assert all(0.05 < row["memory_gib"] < 20 for row in rows)
    assert all(row["audio_per_second"] > row["utterances_per_second"] * 0.3 > 0 for row in rows)
    assert all(0 <= row["padding"] < 0.5 for row in rows)
    assert any(row["padding"] > 0 for row in rows)
    assert all(0 <= row["waiting"] <= 1 for row in rows)
    assert any(row["waiting"] > 0 for row in rows)


def test_the_command_prints_an_ended_run_and_refuses_what_is_none(run, tmp_path):
    finished = run_jasper("watch", run, "--once")
    assert finished.code == 0
    assert "epoch 6.00 of 6" in finished.stdout
    (tmp_path / "config.yaml").write_text("train: {epochs: 3}")
    assert_fault(run_jasper("watch", tmp_path), tmp_path, "has no log.jsonl")


def test_on_a_terminal_it_follows_and_gives_the_terminal_back(run):
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [JASPER, "watch", str(run)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        preexec_fn=heed_ctrl_c,
    )
    os.close(terminal)
    seen = b""
    while b"epoch 6.00 of 6" not in seen:
        seen += os.read(main, 65536)
    assert b"\x1b[?1049h" in seen  # a screen of its own
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    seen += read_to_the_end(main)
    assert process.wait(30) == 0
    assert b"\x1b[?1049l" in seen
    assert b"\x1b[?25h" in seen  # the cursor is back
    assert b"Traceback" not in seen


def test_a_training_shows_itself_and_leaves_its_last_screen(corpus, dev, tmp_path):
    """Lines that the training prints stand above the screen, and no progress bar runs into it."""
    out = tmp_path / "run"
    raw = raw_recipe(corpus, out, data={"dev": [str(dev)]}, train={"epochs": 4})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(raw))
    main, terminal = pty.openpty()
    command = [JASPER, "train", str(tmp_path / "recipe.yaml"), "--live"]
    size = {"COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env={**os.environ, **size}
    )
    os.close(terminal)
    seen = read_to_the_end(main)
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert "epoch 4.00 of 4" in text[text.rindex("╭") :]
    assert f"loss {log_rows(out, 'loss')[-1]['loss']:.3f}" in text
    assert text.count("training on 12 utterances") == text.count("epoch 4, step 24") == 1
    assert "\x1b[?25h" in seen.decode()  # the cursor is back
    assert "Traceback" not in text


def test_a_screen_is_of_one_run(corpus, tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(raw_recipe(corpus, tmp_path / "run")))
    finished = run_jasper("train", tmp_path / "recipe.yaml", "--live", "--seeds", "2")
    assert_fault(finished, "--live shows one run")
