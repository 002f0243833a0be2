"""An exported `model.onnx` with its `tokens.txt`, run by sherpa-onnx on a manifest: WER and CER.

For an environment with sherpa-onnx, soundfile and jiwer:
python benchmarks/sherpa.py FOLDER MANIFEST --mels 64
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jiwer
import sherpa_onnx
import soundfile


def main() -> None:
    """Transcribe every utterance of the manifest alone, greedily, and score the lower-cased transcripts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--mels", type=int, default=64)
    arguments = parser.parse_args()
    recognizer = sherpa_onnx.OfflineRecognizer.from_nemo_ctc(
        model=str(arguments.folder / "model.onnx"),
        tokens=str(arguments.folder / "tokens.txt"),
        feature_dim=arguments.mels,
    )
    references, hypotheses = [], []
    for line in arguments.manifest.read_text(encoding="utf-8").splitlines():
        utterance = json.loads(line)
        wave, rate = soundfile.read(arguments.manifest.parent / utterance["audio_filepath"], dtype="float32")
        stream = recognizer.create_stream()
        stream.accept_waveform(rate, wave)
        recognizer.decode_stream(stream)
        references.append(utterance["text"].lower())
        hypotheses.append(stream.result.text.strip())
    print(f"WER {jiwer.wer(references, hypotheses):.2%}, CER {jiwer.cer(references, hypotheses):.2%}")


if __name__ == "__main__":
    main()
