"""A run as a whole: it learns, keeps the best, refuses what CTC cannot align, and writes down what it did."""

import json

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tones import (
    SAMPLE_RATE,
    everything_random,
    log_rows,
    make_step,
    recipe,
    run_jasper,
    temporary_files,
    tones,
    write_corpus,
)

from jasper.bundle import read_weights
from jasper.data.selection import read_training
from jasper.engines.torch import TorchEngine
from jasper.errors import AudioError, ConfigError
from jasper.model import load
from jasper.nn.weights import build_network, load_weights
from jasper.train import train
from jasper.train.checkpoint import list_checkpoints
from jasper.train.ranks import Ranks
from jasper.train.run import Run
from jasper.train.signals import StopRequest
from jasper.train.validate import DevScore, validate
from jasper.types import Utterance

ALONE = Ranks(torch.device("cpu"))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory, corpus):
    """A run that has learnt its 12 utterances by heart."""
    return train(
        recipe(
            corpus,
            tmp_path_factory.mktemp("learnt") / "run",
            data={"dev": [str(corpus)], "batch_size": 4},
            optimizer={"learning_rate": 0.02},
            train={"epochs": 40, "eval_epochs": 10, "samples": 2},
        )
    )


def test_a_small_network_learns_its_utterances_by_heart(learnt):
    losses = [row["loss"] for row in log_rows(learnt.directory, "loss")]
    assert len(losses) == learnt.step == 120
    assert losses[0] > 10
    assert sum(losses[-3:]) / 3 < 1
    assert (learnt.best.wer, learnt.best.cer) == (0.0, 0.0)


def test_what_it_learnt_it_transcribes(learnt):
    model = load(learnt.directory)
    assert model.transcribe(tones("bd ebe ade", seed=2).astype("float32")).text == "bd ebe ade"


def test_dev_is_scored_on_schedule_with_samples_to_read(learnt):
    """The model zoo had no dev evaluation: "choose the lowest training loss"."""
    assert [row["step"] for row in log_rows(learnt.directory, "dev_wer")] == [30, 60, 90, 120]
    samples = log_rows(learnt.directory, "hypothesis")
    assert [row["id"] for row in samples] == ["train-00", "train-01"] * 4
    assert all(row["reference"] for row in samples)
    assert samples[-1]["hypothesis"] == samples[-1]["reference"]


def test_every_row_has_its_step_epoch_loss_rate_and_gradient(learnt):
    rows = log_rows(learnt.directory, "loss")
    assert [row["step"] for row in rows] == list(range(1, 121))
    assert rows[2]["epoch"] == 1
    assert rows[-1]["epoch"] == 40
    assert all(row["grad_norm"] > 0 and row["time"] > 0 for row in rows)


def test_the_first_rate_is_above_zero_and_below_the_peak(learnt):
    """NVIDIA's first step ran at the peak learning rate: its warm-up began one step too late."""
    rates = [row["learning_rate"] for row in log_rows(learnt.directory, "loss")]
    assert rates[:3] == pytest.approx([0.02 / 3, 0.04 / 3, 0.02])
    assert max(rates) == 0.02
    assert rates[-1] == pytest.approx(1e-5)


def test_tensorboard_has_the_same_numbers(learnt):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(learnt.directory / "tensorboard")).Reload()
    shown = {event.step: event.value for event in events.Scalars("dev_loss")}
    assert shown == pytest.approx(
        {row["step"]: row["dev_loss"] for row in log_rows(learnt.directory, "dev_loss")}
    )
    assert len(events.Scalars("loss")) == 120
    assert "hypothesis/text_summary" in events.Tags()["tensors"]


def test_the_run_keeps_its_configuration_the_last_checkpoints_and_nothing_temporary(learnt):
    kept = yaml.safe_load((learnt.directory / "config.yaml").read_text())
    assert kept["train"]["epochs"] == 40
    names = [path.name for path in list_checkpoints(learnt.directory / "checkpoints")]
    assert names == [f"step-{step:09d}.pt" for step in (120, 90, 60)]
    assert not temporary_files(learnt.directory)


def test_the_dev_wer_is_what_jasper_eval_finds_for_the_best_model(tmp_path, corpus, dev):
    """NVIDIA's best checkpoint stored the previous best WER."""
    run = tmp_path / "run"
    sections = {"data": {"dev": [str(dev)], "batch_size": 4}}
    result = train(recipe(corpus, run, **sections, train={"epochs": 12, "eval_epochs": 2}))
    found = json.loads(run_jasper("eval", run / "best", dev, "--json").stdout)
    rates = [row["dev_wer"] for row in log_rows(run, "dev_wer")]
    assert len(rates) == 6
    assert 0 < result.best.wer < 1  # or the test would tell little
    assert found["wer"] == result.best.wer == min(rates)
    assert found["cer"] == result.best.cer


def test_dev_is_not_trimmed_for_jasper_eval_does_not_trim_it_either(tmp_path, corpus, learnt):
    """With data.trim_silence the dev WER was one that nobody who used the model could get."""
    silence = np.zeros(SAMPLE_RATE)
    soundfile.write(tmp_path / "a.wav", np.concatenate([silence, tones("abc de"), silence]), SAMPLE_RATE)
    utterances = [Utterance("a", tmp_path / "a.wav", "abc de", 2.48)]
    network = build_network(recipe(corpus, tmp_path).model)
    load_weights(network, read_weights(learnt.directory / "best"), "best")
    settings = [recipe(corpus, tmp_path, data={"trim_silence": trim}) for trim in (False, True)]
    plain, trimmed = (
        validate(config, TorchEngine(network, torch.device("cpu")), utterances, ALONE, StopRequest())
        for config in settings
    )
    assert plain == trimmed


def test_the_best_is_the_lowest_wer_not_the_last(learnt, tmp_path, corpus):
    """A model that knows everything and is then taught that every word is "a" gets worse and worse."""
    manifest = corpus.with_name("wrong.jsonl")
    lines = [{**json.loads(line), "text": "a"} for line in corpus.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = train(
        recipe(
            manifest,
            tmp_path / "run",
            data={"dev": [str(corpus)], "batch_size": 4},
            schedule={"warmup_epochs": 4},
            train={"epochs": 6, "eval_epochs": 0.3, "ema": 0.0},
            init_from=str(learnt.directory),
        )
    )
    rates = [row["dev_wer"] for row in log_rows(tmp_path / "run", "dev_wer")]
    assert rates[-1] > min(rates)
    assert result.best.wer == min(rates)
    for name, wer in (("best", min(rates)), ("last", rates[-1])):
        found = json.loads(run_jasper("eval", tmp_path / "run" / name, corpus, "--json").stdout)
        assert found["wer"] == wer


def test_scores_are_ordered_by_wer_then_cer_then_loss():
    score = DevScore(loss=2.0, wer=0.5, cer=0.2)
    assert score.better_than(None)
    assert not score.better_than(score)
    assert score.better_than(DevScore(loss=0.1, wer=0.6, cer=0.1))
    assert score.better_than(DevScore(loss=0.1, wer=0.5, cer=0.3))
    assert score.better_than(DevScore(loss=2.1, wer=0.5, cer=0.2))


def test_utterances_that_ctc_cannot_align_are_refused_before_training(tmp_path, corpus, capsys):
    """A transcript longer than the output gave an infinite loss, which poisoned the mean of its batch."""
    lines = corpus.read_text().splitlines()
    first = {**json.loads(lines[0]), "audio_filepath": str(corpus.with_name("train-00.wav"))}
    entries = [
        {**first, "id": "dense", "text": "abcde" * 20},
        {**first, "id": "strange", "text": "abx"},
        {**first, "id": "short", "duration": 0.01},
        {**first, "id": "long", "duration": 60.0},
        {**first, "id": "good"},
    ]
    manifest = tmp_path / "train.jsonl"
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    train(recipe(manifest, tmp_path / "run", data={"train": [str(corpus), str(manifest)]}))
    refused = [json.loads(line) for line in (tmp_path / "run" / "refused.jsonl").read_text().splitlines()]
    assert {row["id"]: row["kind"] for row in refused} == {
        "dense": "too dense",
        "strange": "with unknown characters",
        "short": "too short",
        "long": "too long",
    }
    summary = capsys.readouterr().err.splitlines()[0]
    assert "training on 13 utterances" in summary
    assert "1 too dense, 1 too long, 1 too short, 1 with unknown characters" in summary
    assert all(isinstance(row["loss"], float) for row in log_rows(tmp_path / "run", "loss"))
    assert not log_rows(tmp_path / "run", "skipped")


def test_feasibility_is_judged_at_the_highest_speed(tmp_path):
    # 0.8 s are 80 frames and 40 steps, enough for 36 letters; at twice the speed there are 20 steps.
    manifest = write_corpus(tmp_path, ["abcdeabcde"])
    manifest.write_text(manifest.read_text().replace("abcdeabcde", "abcde" * 7 + "a"))
    for speed, number in (([0.5, 1.0], 1), ([1.0, 2.0], 0)):
        selection = read_training(recipe(manifest, tmp_path / "run", augment={"speed": speed}))
        assert len(selection.utterances) == number


def test_nothing_to_train_on_is_said_with_the_reasons(tmp_path, corpus):
    with pytest.raises(ConfigError, match=r"nothing to train on .*12 too short"):
        train(recipe(corpus, tmp_path / "run", data={"min_duration": 5.0}))


def test_a_missing_recording_is_named_and_counted_and_training_goes_on(tmp_path, capsys):
    manifest = write_corpus(tmp_path, ["abc", "bcd", "cde", "dea"])
    (tmp_path / "train-01.wav").unlink()
    (tmp_path / "train-02.wav").write_bytes(b"not audio")
    result = train(recipe(manifest, tmp_path / "run", train={"epochs": 2}))
    assert result.step == 4
    said = capsys.readouterr().err
    for name in ("train-01: ", "train-02: "):
        assert said.count(name) == 2  # once an epoch
    assert f"{tmp_path / 'train-01.wav'}: no such file" in said
    assert "4 times an utterance was left out" in said
    assert len(log_rows(tmp_path / "run", "fault")) == 4


def test_a_missing_dev_recording_ends_the_run_with_its_name(tmp_path, corpus):
    dev = write_corpus(tmp_path, ["abc", "bcd"], "dev")
    (tmp_path / "dev-01.wav").unlink()
    with pytest.raises(AudioError, match=r"dev-01\.wav"):
        train(recipe(corpus, tmp_path / "run", data={"dev": [str(dev)]}))


def test_without_dev_there_is_a_last_model_and_no_best(tmp_path, corpus):
    result = train(recipe(corpus, tmp_path / "run", train={"epochs": 1}))
    assert result.best is None
    assert not (tmp_path / "run" / "best").exists()
    assert load(tmp_path / "run").config.text.labels[1] == "a"


def test_a_fresh_start_forgets_the_earlier_run(tmp_path, corpus):
    config = recipe(corpus, tmp_path / "run", train={"epochs": 1})
    train(config)
    first = (tmp_path / "run" / "last" / "model.safetensors").read_bytes()
    train(config, resume=False)
    assert (tmp_path / "run" / "last" / "model.safetensors").read_bytes() == first
    assert [row["step"] for row in log_rows(tmp_path / "run", "loss")] == [1, 2, 3, 4, 5, 6]


def test_the_seed_alone_decides(tmp_path, corpus, noise):
    for name, seed in (("one", 10**12), ("same", 10**12), ("other", 1)):
        config = recipe(
            corpus, tmp_path / name, **everything_random(noise), train={"epochs": 1, "seed": seed}
        )
        train(config)
    one, same, other = (
        (tmp_path / name / "last" / "model.safetensors").read_bytes() for name in ("one", "same", "other")
    )
    assert one == same != other


def gradients(run, groups):
    """Gradients and loss of one step over `groups` of utterances, batch norm and dropout at rest."""
    run.learner.network.eval()
    run.learner.features.eval()
    with run.log:
        batches = [run.training_set.batch(utterances, 0) for utterances in groups]
        loss, norm = make_step(run, batches, 0.0)
    return loss, norm, {name: p.grad.clone() for name, p in run.learner.network.named_parameters()}


def test_two_batches_accumulated_are_one_of_twice_the_size(tmp_path, corpus):
    """The mean is over the utterances of the step, not of each batch: groups of 5 and 1 weigh 5 to 1."""
    together, apart = (Run(recipe(corpus, tmp_path / name), resume=False) for name in ("one", "two"))
    utterances = together.selection.utterances[:6]
    loss, norm, whole = gradients(together, [utterances])
    loss_2, norm_2, summed = gradients(apart, [utterances[:5], utterances[5:]])
    assert loss_2 == pytest.approx(loss, rel=1e-5)
    assert norm_2 == pytest.approx(norm, rel=1e-4)
    for name, gradient in whole.items():
        assert torch.allclose(summed[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), (
            name
        )


@pytest.mark.parametrize("clip", [0.5, 1e6])
def test_the_gradient_is_clipped_by_its_whole_norm(tmp_path, corpus, clip):
    free = Run(recipe(corpus, tmp_path / "free"), resume=False)
    clipped = Run(recipe(corpus, tmp_path / "clipped", optimizer={"clip_norm": clip}), resume=False)
    _, norm, whole = gradients(free, [free.selection.utterances])
    _, reported, held = gradients(clipped, [free.selection.utterances])
    assert reported == pytest.approx(norm)  # what is logged is the norm before
    assert norm > 0.5
    for name, gradient in whole.items():
        assert torch.allclose(held[name], gradient * min(1, clip / norm), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bits_give_losses_close_to_single_precision(tmp_path, learnt, dev, precision):
    losses = {}
    for name in ("fp32", precision):
        settings = {"train": {"precision": name}, "init_from": str(learnt.directory)}
        run = Run(recipe(dev, tmp_path / name, **settings), resume=False)
        with run.log:
            losses[name] = run.learner.forward(run.training_set.batch(run.selection.utterances, 0)).detach()
    assert losses[precision].dtype == torch.float32
    assert losses[precision].isfinite().all()
    # 8 bits of mantissa: log-probabilities of some nats, over some 40 steps.
    assert torch.allclose(losses[precision], losses["fp32"], rtol=0.1, atol=0.3)


def test_every_precision_trains(tmp_path, corpus):
    ends = []
    for precision in ("fp32", "bf16", "fp16"):
        run = tmp_path / precision
        train(recipe(corpus, run, train={"epochs": 4, "precision": precision}))
        losses = [float(row["loss"]) for row in log_rows(run, "loss")]
        assert losses[-1] < losses[0] / 2
        ends.append(losses[-1])
        assert {str(array.dtype) for array in read_weights(run / "last").values()} == {"float32"}
    assert ends == pytest.approx([ends[0]] * 3, rel=0.5)
