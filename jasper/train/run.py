"""A configuration in, a `Run` out: network, optimizer, data and files of one training, fresh or restored."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from jasper.bundle import atomic_file, find_bundle, read_weights, write_bundle
from jasper.config import Config
from jasper.data.dataset import Batch, TrainingSet
from jasper.data.selection import Selection, check_files, read_dev, read_training, with_labels
from jasper.errors import CheckpointError, ConfigError, TrainingError
from jasper.features import num_frames
from jasper.nn import TorchFeatures
from jasper.nn.device import feature_precision, pick_device, pick_precision
from jasper.nn.spec_augment import hide_spans
from jasper.nn.weights import build_network, load_weights, network_weights
from jasper.recipe import dump_yaml
from jasper.train.average import MovingAverage
from jasper.train.checkpoint import State, load_checkpoint, save_checkpoint
from jasper.train.log import RunLog, say
from jasper.train.loss import ctc_losses
from jasper.train.optimizers import build_optimizer
from jasper.train.place import Place
from jasper.train.validate import DevScore, validate


class Run:
    """Everything that a training holds. What changes from step to step is in `state()` and nowhere else.

    Random numbers are no part of it: augmentation is a function of (seed, epoch, utterance), the order of
    (seed, epoch), dropout and dither of (seed, step).
    """

    def __init__(self, config: Config, resume: bool) -> None:
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.config = config = with_labels(config)
        self.directory = config.train.out
        self.device = pick_device(config.train.device)
        self.selection = read_training(config)
        if not self.selection.utterances:
            raise ConfigError(f"data.train: nothing to train on ({self.selection.summary()})")
        self.dev = read_dev(config)
        check_files(self.dev)
        self.training_set = TrainingSet(config, with_features=self.device.type == "cpu")
        torch.manual_seed(config.train.seed % 2**63)
        self.network = build_network(config.model).to(self.device).train()
        self.features = TorchFeatures(config.features, feature_precision(self.device)).to(self.device).train()
        restored = load_checkpoint(self.directory / "checkpoints", say) if resume else None
        if restored is None and config.train.init is not None:
            load_weights(self.network, read_weights(find_bundle(config.train.init)), str(config.train.init))
        self.average = MovingAverage(self.network, config.train.ema)
        self.optimizer = build_optimizer(self.network, config.optimizer)
        self.precision = pick_precision(config.train.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.step = self.epoch = self.group = 0  # optimizer steps in all; place in the order of training
        self.loss = math.nan  # of the last step
        self.skipped = 0  # steps in a row that moved nothing
        self.num_faults = 0  # utterances left out because they could not be used
        self._buffers: list[Tensor] = []  # the network's, as they were before the step
        self.best: DevScore | None = None
        if restored is not None:
            self.restore(restored)
        _prepare_directory(self.directory, config, self.selection, resume)
        self.log = RunLog(self.directory, self.step)
        self.restart_clock()

    @property
    def finished(self) -> bool:
        """Whether the last epoch or `max_steps` is reached."""
        limit = self.config.train.max_steps
        return self.epoch >= self.config.train.epochs or (limit is not None and self.step >= limit)

    def forward(self, batch: Batch) -> Tensor:
        """The CTC losses (B,) of a batch, augmented on the device."""
        lengths = torch.from_numpy(batch.lengths).to(self.device)
        if batch.features is None:
            features, lengths = self.features(torch.from_numpy(batch.waves).to(self.device), lengths)
        else:
            features, lengths = torch.from_numpy(batch.features), num_frames(self.config.features, lengths)
        freq_spans, time_spans = torch.from_numpy(batch.freq_spans), torch.from_numpy(batch.time_spans)
        features = hide_spans(features, freq_spans.to(self.device), time_spans.to(self.device))
        mixed = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=mixed):
            log_probs, out_lengths = self.network(features, lengths)
        tokens = torch.from_numpy(batch.tokens).to(self.device)
        token_lengths = torch.from_numpy(batch.token_lengths).to(self.device)
        return ctc_losses(log_probs, out_lengths, tokens, token_lengths, self.training_set.tokenizer.blank)

    def begin_step(self, rate: float) -> None:
        """Set the rate, make the random numbers a function of (seed, step), note what `skip_step` undoes."""
        torch.manual_seed((self.config.train.seed * 1_000_000_007 + self.step) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        self._buffers = [buffer.clone() for buffer in self.network.buffers()]

    def advance(self, place: Place, loss: float) -> None:
        """Count a step."""
        self.step += 1
        self.loss = loss
        last = place.group + 1 == place.num_groups
        self.epoch, self.group = (place.epoch + 1, 0) if last else (place.epoch, place.group + 1)

    def report_fault(self, fault: str) -> None:
        """Log an utterance that could not be used in this step; TrainingError where `data.on_error` is stop."""
        self.num_faults += 1
        self.log.row(self.step + 1, fault=fault)
        if self.config.data.on_error == "stop":
            raise TrainingError(f"step {self.step + 1}: {fault}; data.on_error=skip would go on without it")
        say(f"left out of step {self.step + 1}: {fault}")

    def skip_step(self, reason: str, ids: Sequence[str] = ()) -> None:
        """Log a step that moves nothing; too many in a row end the run, the last checkpoint untouched."""
        self.skipped += 1
        # The forward pass has moved batch norm's statistics, and NaN would never leave them again.
        for buffer, before in zip(self.network.buffers(), self._buffers, strict=True):
            buffer.copy_(before)
        why = f"{reason} ({', '.join(ids)})" if ids else reason
        say(f"step {self.step + 1} skipped: {why}")
        self.log.row(self.step + 1, skipped=list(ids), reason=reason)
        if self.skipped > self.config.train.max_skipped:
            raise TrainingError(
                f"{self.skipped} steps in a row were skipped, the last because {why}; the checkpoint before "
                f"them, in {self.directory}, is good: lower optimizer.learning_rate or look at the data"
            )

    def count_audio(self, batches: Sequence[Batch]) -> None:
        """Count the audio of a step, for `speed`."""
        self._audio += sum(float(batch.lengths.sum()) for batch in batches) / self.config.features.sample_rate

    def restart_clock(self) -> None:
        """Begin to measure `speed` anew."""
        self._audio, self._since = 0.0, time.monotonic()

    def speed(self) -> float:
        """Seconds of audio a second of training since the clock was restarted."""
        return self._audio / max(time.monotonic() - self._since, 1e-9)

    def evaluate(self) -> DevScore | None:
        """Score the averaged network on dev, log it, keep it in `best/` if its WER is the lowest so far."""
        if not self.dev:
            return None
        score = validate(self.config, self.average.network, self.dev)
        self.log.row(self.step, epoch=self.epoch, dev_loss=score.loss, dev_wer=score.wer, dev_cer=score.cer)
        for sample in score.samples:
            self.log.row(self.step, id=sample.id, reference=sample.reference, hypothesis=sample.hypothesis)
        if score.better_than(self.best):
            self.best = score
            self.save_model("best")
        return score

    def save_model(self, name: str) -> Path:
        """Write the averaged network as a model directory of the run."""
        weights = network_weights(self.average.network)
        return write_bundle(self.directory / name, self.config.model, weights)

    def save(self) -> None:
        """Write a checkpoint, unless steps are being skipped: it would push out those that are good."""
        if not self.skipped:
            directory = self.directory / "checkpoints"
            save_checkpoint(directory, self.state(), self.step, self.config.train.keep)

    def state(self) -> State:
        """All that `restore` needs for the next step to be the one that would have come."""
        return {
            "epoch": self.epoch,
            "group": self.group,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": None if self.best is None else [self.best.loss, self.best.wer, self.best.cer],
        }

    def restore(self, state: State) -> None:
        """Go on where a checkpoint was written."""
        try:
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            settings = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
            self.optimizer.load_state_dict(state["optimizer"])
            # Betas and weight decay are the configuration's, not those that the checkpoint was made with.
            for group, own in zip(self.optimizer.param_groups, settings, strict=True):
                group.update(own)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{self.directory}: its checkpoints are of another network or optimizer; "
                f"choose another train.out or remove it ({reason})"
            ) from None
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.epoch, self.group = state["step"], state["epoch"], state["group"]
        self.best = None if state["best"] is None else DevScore(*state["best"])


def _prepare_directory(directory: Path, config: Config, selection: Selection, resume: bool) -> None:
    """Write the resolved configuration and the refused utterances; without resume, clear older results."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for folder in (directory, directory / "checkpoints"):
            for left in folder.glob(".*.tmp"):  # by a process that was killed while it wrote
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        if not resume:
            (directory / "log.jsonl").unlink(missing_ok=True)
            for old in ("checkpoints", "best", "last", "tensorboard"):
                shutil.rmtree(directory / old, ignore_errors=True)
        with atomic_file(directory / "config.yaml") as path:
            path.write_text(dump_yaml(config), encoding="utf-8")
        with atomic_file(directory / "refused.jsonl") as path, path.open("w", encoding="utf-8") as file:
            for refused in selection.refused:
                row = {"id": refused.utterance.id, "kind": refused.kind, "reason": refused.reason}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise CheckpointError(f"{directory}: the run directory cannot be written: {error}") from None
