"""SentencePiece's models in and out: labels and scores, without the library.

A model is a protobuf: `ModelProto {repeated SentencePiece pieces = 1; TrainerSpec trainer_spec = 2;
NormalizerSpec normalizer_spec = 3}`, `SentencePiece {string piece = 1; float score = 2; Type type = 3}`,
`TrainerSpec {ModelType model_type = 3}` (sentencepiece_model.proto).
"""

from __future__ import annotations

import struct

from jasper.config import TextConfig
from jasper.convert.protobuf import field, fields
from jasper.convert.settings import normalizer_for
from jasper.errors import ModelError
from jasper.recipe import parse_config

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _NORMALIZER_NAME = 3, 1
_ALGORITHMS = {1: "unigram", 2: "bpe"}
_NORMAL, _UNKNOWN, _BYTE = 1, 2, 6

SPACE = "\u2581"  # stands for the space in pieces
UNKNOWN = " ⁇ "  # what SentencePiece writes for the piece of unknown text


def read_model(content: bytes, source: str) -> TextConfig:
    """Labels, in the order of the network's classes, and their scores. Raises ModelError."""
    labels: list[str] = []
    scores: list[float] = []
    algorithm = 1  # the format's default
    try:
        for number, value in fields(memoryview(content)):
            if number == _PIECES and not isinstance(value, int):
                label, score = _read_piece(value)
                labels.append(label)
                scores.append(score)
            elif number == _TRAINER and not isinstance(value, int):
                algorithm = int(dict(fields(value)).get(_MODEL_TYPE, algorithm))
    except (ValueError, TypeError, struct.error) as error:
        raise ModelError(f"{source}: not a SentencePiece model, or damaged: {error}") from None
    if algorithm not in _ALGORITHMS:
        raise ModelError(
            f"{source}: SentencePiece's type {algorithm} is unknown here; known are unigram and bpe"
        )
    raw = {
        "labels": labels,
        "normalizer": normalizer_for(labels),
        "subwords": {"algorithm": _ALGORITHMS[algorithm], "scores": scores},
    }
    return parse_config(TextConfig, raw, source)


def write_model(text: TextConfig) -> bytes:
    """The SentencePiece model that has these labels in this order."""
    assert text.subwords is not None
    message = b""
    for label, score in zip(text.labels, text.subwords.scores, strict=True):
        kind = field(_TYPE, _UNKNOWN if label == UNKNOWN else _NORMAL)
        message += field(_PIECES, field(_PIECE, piece_of(label).encode()) + field(_SCORE, score) + kind)
    numbers = {name: number for number, name in _ALGORITHMS.items()}
    message += field(_TRAINER, field(_MODEL_TYPE, numbers[text.subwords.algorithm]))
    return message + field(_NORMALIZER, field(_NORMALIZER_NAME, b"identity"))


def piece_of(label: str) -> str:
    """How SentencePiece spells a label."""
    return "<unk>" if label == UNKNOWN else label.replace(" ", SPACE)


def _read_piece(message: memoryview) -> tuple[str, float]:
    parts = dict(fields(message))
    piece, score, kind = parts.get(_PIECE, b""), parts.get(_SCORE, b"\0\0\0\0"), parts.get(_TYPE, _NORMAL)
    if isinstance(piece, int) or isinstance(score, int):
        raise ValueError("a piece has fields of another type")
    if kind == _BYTE:
        raise ValueError("pieces of single bytes are not supported")
    label = UNKNOWN if kind == _UNKNOWN else bytes(piece).decode().replace(SPACE, " ")
    return label, struct.unpack("<f", score)[0]
