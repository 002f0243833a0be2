"""A configuration in, a trained model directory out."""

from jasper.errors import MissingExtraError

try:
    from jasper.train.loop import TrainResult, train
except ModuleNotFoundError as error:
    if error.name not in ("torch", "threadpoolctl"):
        raise
    raise MissingExtraError(error.name, "train") from None

__all__ = ["TrainResult", "train"]
