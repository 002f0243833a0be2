"""What the tables for those who move over say of this project is there."""

import re
import shlex
from pathlib import Path

import pytest
from test_docs import check_command

from jasper.config import Config, Section
from jasper.recipe import load_config

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "migrating.md"
LAST_SECTION = "## What is different on purpose"  # whose right column is no answer but an effect

ZOO_KEYS = """
epochs loss_scale Data_dir train_manifest test_manifest mindrecord_format mindrecord_files batch_size
accumulation_step labels_path sample_rate window_size window_stride window speed_volume_perturb spec_augment
noise_dir noise_prob noise_min noise_max learning_rate learning_anneal weight_decay momentum eps betas epsilon
ckpt_file_name_prefix ckpt_path keep_checkpoint_max save_output verbose
decoder_type lm_path top_paths alpha beta cutoff_top_n cutoff_prob beam_width lm_workers
batch_size_infer result_path result_dir post_out
"""
NVIDIA_OPTIONS = """
epochs warmup_epochs hold_epochs epochs_this_job cudnn_benchmark amp fp16 seed local_rank pre_allocate_range
gpu_batch_size lr min_lr lr_policy lr_exp_gamma weight_decay grad_accumulation update-freq optimizer ema
grad_accumulation_steps
multi_tensor_ema dali_device resume ckpt save_frequency keep_milestones save_best_from eval_frequency
log_frequency prediction_frequency model_config train_manifests val_manifests dataset_dir output_dir log_file
benchmark_epochs_num override_config
batch_size steps warmup_steps cpu save_predictions save_logits transcribe_wav transcribe_filelist torchscript
torchscript_export
"""

NVIDIA_KEYS = """
name labels sample_rate min_duration max_duration pad_to_max_duration max_utts normalize_transcripts
sort_by_duration trim_silence speed_perturbation gain_perturbation shift_perturbation discrete
ignore_offline_speed_perturbation min_rate max_rate p
window_size window_stride window normalize n_fft preemph n_filt lowfreq highfreq log dither pad_align
frame_splicing spec_augment cutout_augment freq_masks min_freq max_freq time_masks min_time max_time
in_feats activation use_conv_masks init blocks filters repeat kernel_size stride dilation dropout residual
residual_dense separable
"""


def rows() -> list[tuple[str, str]]:
    """Left and right cell of every row that says what does something here."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(LAST_SECTION)[0]
    found = re.findall(r"^\| (.*?) \| (.*) \|$", text, re.MULTILINE)
    return [(left, right) for left, right in found if right != "here"]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def key_exists(path: str) -> bool:
    """Whether `section.key` is a setting."""
    kind: type[Section] | None = Config
    for name in path.split("."):
        if kind is None or name not in kind.model_fields:
            return False
        inner = kind.model_fields[name].annotation
        kinds = (inner, *getattr(inner, "__args__", ()))
        kind = next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)
    return True


@pytest.mark.parametrize(("theirs", "ours"), rows())
def test_the_right_hand_column_works(theirs, ours):
    checked = 0
    for word in words(ours):
        command = re.match(r"(?:torchrun --nproc-per-node \d+ -m )?jasper (.*)", word)
        if command:
            check_command("migrating.md", shlex.split(command[1]))
        elif re.fullmatch(r"[a-z]+\.[a-z_]+=.*", word):
            load_config("tiny", [word])
        elif re.fullmatch(r"[a-z]+\.[a-z_]+", word) and word.partition(".")[0] in Config.model_fields:
            assert key_exists(word), f"{theirs}: there is no {word}"
        elif word == "init_from":
            assert key_exists(word)
        else:
            continue
        checked += 1
    assert checked or re.search(r"not there yet|not needed|`benchmarks/`", ours), f"{theirs}: says nothing"


def test_what_is_not_there_yet_is_not_there():
    """A row is to be mended when its command comes."""
    import jasper.cli.app as cli

    names = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert not names & {"serve"}


def test_every_key_of_the_zoos_configuration_has_a_row():
    """Those of its src/config.py."""
    left = " ".join(cell for cell, _ in rows())
    assert [key for key in ZOO_KEYS.split() if not re.search(rf"\b{key}\b", left)] == []


def test_every_option_of_nvidias_scripts_has_a_row():
    """Those of train.py and inference.py, QuartzNet's and Jasper's."""
    left = " ".join(cell for cell, _ in rows())
    assert [key for key in NVIDIA_OPTIONS.split() if not re.search(rf"`--{key}\b", left)] == []


def test_every_key_of_nvidias_yaml_has_a_row():
    """Those of its AudioDataset, FilterbankFeatures, SpecAugment, encoder, blocks and decoder."""
    left = " ".join(cell for cell, _ in rows())
    assert [key for key in NVIDIA_KEYS.split() if not re.search(rf"[`.]{key}[`.]", left)] == []
