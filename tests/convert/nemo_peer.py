"""Run with NeMo's Python: makes a random Citrinet, restores `.nemo` files, and writes what NeMo computes.

python nemo_peer.py FOLDER      reads FOLDER/{waves.npz,*.nemo}, writes FOLDER/NAME.npz and citrinet.nemo
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from nemo.collections.asr.models import ASRModel, EncDecCTCModelBPE
from omegaconf import OmegaConf

SENTENCE = "the quick brown fox jumps over a lazy dog while seven wizards box with jade gypsum"
TEXTS = ("the quick brown fox", "seven dog dogs", "wizards while over a box")


def train_tokenizer(folder: Path, algorithm: str) -> Path:
    """A SentencePiece model of a few dozen pieces, in the form that NeMo's scripts leave it in."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    lines = [" ".join(generator.choice(SENTENCE.split(), 8)) for _ in range(500)]
    (folder / "text").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(folder / "tokenizer"), vocab_size=44,
        model_type=algorithm, bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    (folder / "vocab.txt").write_text("\n".join(pieces.id_to_piece(i) for i in range(len(pieces))))
    return folder


def citrinet(folder: Path, algorithm: str, **front_end: object) -> EncDecCTCModelBPE:
    """A Citrinet of five blocks with random weights and statistics."""

    def block(filters: int, kernel: int, **settings: object) -> dict[str, object]:
        base = {"repeat": 1, "stride": [1], "dilation": [1], "dropout": 0.0, "residual": False}
        return {**base, "filters": filters, "kernel": [kernel], "separable": True, "se": True, **settings}

    strided = {"stride": [2], "stride_last": True, "residual": True, "residual_mode": "stride_add"}
    modules = "nemo.collections.asr.modules."
    config = {
        "sample_rate": 16000,
        "tokenizer": {"dir": str(train_tokenizer(folder, algorithm)), "type": "bpe"},
        "preprocessor": {
            "_target_": f"{modules}AudioToMelSpectrogramPreprocessor",
            "window_size": 0.025,
            "features": 80,
            "n_fft": 512,
            "pad_to": 16,
            "stft_conv": False,
            **front_end,
        },
        "encoder": {
            "_target_": f"{modules}ConvASREncoder",
            "feat_in": 80,
            "frame_splicing": front_end.get("frame_splicing", 1),
            "activation": "relu",
            "conv_mask": True,
            "jasper": [
                block(24, 5, future_context=1),
                block(24, 11, repeat=3, kernel_size_factor=0.5, **strided),
                block(24, 13, repeat=3, residual=True, se_reduction_ratio=4),
                block(32, 15, repeat=2, **strided),
                block(40, 9),
            ],
        },
        "decoder": {
            "_target_": f"{modules}ConvASRDecoder", "feat_in": 40, "num_classes": -1, "vocabulary": [],
        },
    }  # fmt: skip
    torch.manual_seed(0)
    model = EncDecCTCModelBPE(cfg=OmegaConf.create(config))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            for parameter, low, high in (
                ("weight", 0.7, 1.3),
                ("bias", -0.3, 0.3),
                ("running_mean", -0.3, 0.3),
            ):
                getattr(module, parameter).data.uniform_(low, high)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, torch.nn.Linear):
            module.weight.data.mul_(3)
    model.decoder.decoder_layers[0].weight.data.mul_(3)
    return model


@torch.inference_mode()
def compute(model: ASRModel, waves: list[np.ndarray]) -> dict[str, object]:
    """Log-probabilities of each wave alone, the best path's text, and how texts are cut into tokens."""
    model.eval()
    model.preprocessor.featurizer.dither = 0.0
    found: dict[str, object] = {"vocabulary": list(model.decoder.vocabulary)}
    for index, wave in enumerate(waves):
        features, lengths = model.preprocessor(
            input_signal=torch.from_numpy(wave)[None], length=torch.tensor([len(wave)])
        )
        encoded, lengths = model.encoder(audio_signal=features, length=lengths)
        log_probs = model.decoder(encoder_output=encoded)[0, : lengths[0]]
        found[f"alone{index}"] = log_probs.numpy()
        if isinstance(model, EncDecCTCModelBPE):
            blank = log_probs.shape[1] - 1
            path = [token for token, _ in itertools.groupby(log_probs.argmax(1).tolist()) if token != blank]
            found[f"text{index}"] = model.tokenizer.ids_to_text(path)
            for number, text in enumerate(TEXTS):
                found[f"tokens{number}"] = model.tokenizer.text_to_ids(text)
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with np.load(folder / "waves.npz") as content:
        waves = [content[name] for name in sorted(content)]
    odd = {
        "window": "hamming", "log_zero_guard_type": "clamp", "log_zero_guard_value": "eps", "mel_norm": None,
        "preemph": 0.9, "lowfreq": 60, "highfreq": 7000, "mag_power": 1.0,
    }  # fmt: skip
    fixed = {
        "fixed_mean": [-6.0 - 0.01 * place for place in range(160)],
        "fixed_std": [2.0 + 0.01 * place for place in range(160)],
    }
    spliced = {"exact_pad": True, "frame_splicing": 2, "normalize": fixed, "preemph": None}
    silenced = {"exact_pad": True, "frame_splicing": 2, "normalize": "all_features"}
    models = {
        path.stem: ASRModel.restore_from(str(path), map_location="cpu") for path in folder.glob("*.nemo")
    }
    for name, algorithm, front_end in (
        ("unigram", "unigram", {}),
        ("bpe", "bpe", odd),
        ("spliced", "unigram", spliced),
        ("silenced", "unigram", silenced),
    ):
        models[name] = citrinet(folder / f"{name}_tokenizer", algorithm, **front_end)
        models[name].save_to(str(folder / f"{name}.nemo"))
    for name, model in models.items():
        np.savez(folder / f"{name}.npz", **compute(model, waves))
