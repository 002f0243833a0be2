"""A configuration in, a trained model directory out."""

from jasper.train.loop import TrainResult, train

__all__ = ["TrainResult", "train"]
