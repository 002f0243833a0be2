"""Every setting, with its unit, default and limits: frozen sections that know no other keys."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jasper.types import Location, location

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Range = tuple[float, float]


def _place(value: object) -> object:
    return location(value) if isinstance(value, str) else value


ManifestPlace = Annotated[Location, BeforeValidator(_place)]  # a URL such as s3://bucket/index.jsonl too

ENGLISH_LABELS: tuple[str, ...] = (" ", *"abcdefghijklmnopqrstuvwxyz", "'")


class Section(BaseModel):
    """Base of every section: frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class FeatureConfig(Section):
    """The front end (reference values: Li et al. 2019 as NVIDIA's and NeMo's code have it)."""

    # Four times what recorders have, and spectra of seconds: more is damage, or a file that wants all memory.
    sample_rate: Annotated[int, Field(ge=1, le=768_000)] = 16000  # Hz
    window_ms: Positive = 20.0
    hop_ms: Positive = 10.0
    n_fft: Annotated[int, Field(ge=1, le=1 << 18)] = 512
    num_mels: PositiveInt = 64
    fmin: NonNegative = 0.0  # Hz
    fmax: Positive | None = None  # Hz; half the sample rate when not given
    preemphasis: NonNegative = 0.97
    window: Literal["hann", "hamming", "blackman", "bartlett", "rectangular"] = "hann"
    power: Positive = 2.0  # of the spectrum's magnitude
    mel_norm: Literal["slaney", "none"] = "slaney"  # filters of unit area, or of unit height
    dither: NonNegative = 1e-5  # standard deviation of the noise added to the wave, in training alone
    # Added to the mel power before the logarithm: 2^-24 in NeMo, 1e-20 in NVIDIA's code. The larger one
    # keeps digital silence from dragging the mean of a whole utterance down.
    log_offset: Positive = 2.0**-24
    # Whether `log_offset` is added, or is the least value that the logarithm sees.
    log_guard: Literal["add", "clamp"] = "add"
    log: bool = True  # features are logarithms of energies, not the energies
    # Valid frames of N samples: ceil(N / hop) in NVIDIA's code, floor(N / hop) in NeMo.
    frame_count: Literal["ceil", "floor"] = "ceil"
    # What stands beyond both ends of the wave: its reflection in NVIDIA's code, zeros in NeMo.
    edges: Literal["reflect", "zeros"] = "reflect"
    # NeMo's frames for vocoders: half a hop later than those around multiples of the hop, and one less.
    exact_pad: bool = False
    frame_splicing: PositiveInt = 1  # how often all features of a frame are repeated, as NeMo splices frames
    # By the utterance's own mean and standard deviation, those given for all utterances, or not at all.
    normalize: Literal["per_feature", "all_features", "fixed", "none"] = "per_feature"
    std_offset: Positive = 1e-5
    fixed_mean: tuple[float, ...] | None = None  # of each feature
    fixed_std: tuple[Positive, ...] | None = None

    @property
    def num_features(self) -> int:
        """Features of a frame, with their repetitions."""
        return self.num_mels * self.frame_splicing

    @property
    def hop_length(self) -> int:
        """Samples between two frames."""
        return round(self.sample_rate * self.hop_ms / 1000)

    @property
    def window_length(self) -> int:
        """Samples under the window."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def margin(self) -> int:
        """Samples before the wave with which the first frame's transform begins."""
        return (self.n_fft - self.hop_length) // 2 if self.exact_pad else self.n_fft // 2

    @property
    def num_silenced(self) -> int:
        """Samples at the wave's end that are taken for zeros.

        Of a wave padded by `exact_pad` NeMo's pre-emphasis leaves as many as there were without the padding.
        """
        return self.margin if self.exact_pad and self.preemphasis else 0

    @model_validator(mode="after")
    def _window_fits(self) -> FeatureConfig:
        if self.window_length > self.n_fft:
            raise ValueError(f"window of {self.window_length} samples is longer than n_fft = {self.n_fft}")
        highest = self.sample_rate / 2 if self.fmax is None else self.fmax
        if not self.fmin < highest <= self.sample_rate / 2:
            raise ValueError(
                f"fmin {self.fmin} and fmax {highest} Hz are not a band below half of {self.sample_rate} Hz"
            )
        return self

    @model_validator(mode="after")
    def _exact(self) -> FeatureConfig:
        hop = self.hop_length
        even = hop % 2 == self.n_fft % 2 == 0 and hop <= self.n_fft
        if self.exact_pad and not (even and self.frame_count == "floor" and self.edges == "zeros"):
            raise ValueError(
                "exact_pad needs frame_count floor, edges zeros, an even n_fft, and an even hop up to that"
            )
        return self

    @model_validator(mode="after")
    def _fixed(self) -> FeatureConfig:
        for name in ("fixed_mean", "fixed_std"):
            given = getattr(self, name)
            if (given is not None) != (self.normalize == "fixed"):
                raise ValueError(f"{name} and normalize fixed need each other")
            if given is not None and len(given) != self.num_features:
                raise ValueError(f"{name} has {len(given)} numbers for {self.num_features} features")
        return self


class BlockConfig(Section):
    """One row of the paper's table: `repeat` sub-blocks, the whole block `count` times over.

    The last sub-block has the stride, and so has the residual's convolution (Citrinet, Majumdar et al. 2021).
    """

    filters: PositiveInt
    kernel: PositiveInt
    repeat: PositiveInt = 1
    stride: PositiveInt = 1
    dilation: PositiveInt = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    residual: Literal["none", "plain", "dense"] = "none"
    separable: bool = False
    # Squeeze-and-excitation (Hu et al. 2018) at the block's end, its bottleneck this many times narrower.
    squeeze: PositiveInt | None = None
    # Steps after its own that each kernel sees, as NeMo's streaming Citrinets have it; default: half of it.
    future_context: Count | None = None
    count: PositiveInt = 1

    @model_validator(mode="after")
    def _possible(self) -> BlockConfig:
        if self.kernel % 2 == 0:
            raise ValueError(
                f"kernel {self.kernel} must be odd, or the output does not line up with the input"
            )
        if self.stride > 1 and not (self.dilation == self.count == 1 and self.residual != "dense"):
            raise ValueError("a block with a stride has no dilation, no dense residual and count 1")
        if self.squeeze and self.squeeze > self.filters:
            raise ValueError(f"squeeze {self.squeeze} leaves nothing of {self.filters} filters")
        if self.future_context is not None and (self.future_context >= self.kernel or self.dilation > 1):
            raise ValueError(
                f"future_context {self.future_context} must be less than the kernel, without dilation"
            )
        return self

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros before and after what each kernel runs over, so that it keeps the number of steps."""
        whole = self.dilation * (self.kernel - 1)
        after = whole // 2 if self.future_context is None else self.future_context
        return whole - after, after

    def num_steps(self, length: Any) -> Any:
        """Steps after the block, of an int or of any array; the convolution with the stride changes them."""
        return (length - 1) // self.stride + 1


def expand(blocks: Sequence[BlockConfig]) -> list[BlockConfig]:
    """The blocks one by one, each `count` times."""
    return [block for block in blocks for _ in range(block.count)]


def wired(blocks: Sequence[BlockConfig]) -> Iterator[tuple[BlockConfig, tuple[int, ...]]]:
    """Each block with the sources of its residual: 0 are the features, i the output of block i - 1."""
    dense: list[int] = []
    for index, block in enumerate(expand(blocks)):
        if block.residual == "dense":
            dense.append(index)
        yield block, {"none": (), "plain": (index,), "dense": tuple(dense)}[block.residual]


class NetworkConfig(Section):
    """The encoder's blocks, in order. The head and the input width follow from labels and features."""

    blocks: Annotated[tuple[BlockConfig, ...], Field(min_length=1)]
    norm_eps: Positive = 1e-3
    # Share of the new batch in the running statistics.
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _dense_inputs_align(self) -> NetworkConfig:
        strides = [block.stride for block in self.blocks]
        dense = [index for index, block in enumerate(self.blocks) if block.residual == "dense"]
        if dense and max(strides[dense[0] : dense[-1]], default=1) > 1:
            raise ValueError(
                "a block with a stride stands between dense blocks, so their inputs differ in length"
            )
        return self

    @property
    def stride(self) -> int:
        """Feature frames per output step."""
        return math.prod(block.stride for block in self.blocks)

    def num_steps(self, num_frames: Any) -> Any:
        """Output steps of a number of feature frames, an int or any array of them (0 stays 0)."""
        for block in self.blocks:
            num_frames = block.num_steps(num_frames)
        return num_frames


class SubwordConfig(Section):
    """How text is cut into labels of several characters, as SentencePiece does it."""

    algorithm: Literal["unigram", "bpe"]
    scores: tuple[float, ...]  # of each label; the higher, the sooner it is chosen


class TextConfig(Section):
    """What the network spells. The blank comes after the last label and is not one of them."""

    labels: Annotated[tuple[str, ...], Field(min_length=1)] = ENGLISH_LABELS
    normalizer: str = "english"
    subwords: SubwordConfig | None = None  # when not given every label is one character

    @model_validator(mode="after")
    def _distinct(self) -> TextConfig:
        repeated = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if repeated:
            raise ValueError(f"labels are given twice: {repeated}")
        long = next((label for label in self.labels if len(label) != 1), None)
        if self.subwords is None and long is not None:
            raise ValueError(f"label {long!r} is not one character, and there are no subwords")
        if self.subwords and len(self.subwords.scores) != len(self.labels):
            raise ValueError(f"{len(self.subwords.scores)} scores for {len(self.labels)} labels")
        return self


class JoinConfig(Section):
    """Short clips of one speaker joined into longer utterances, drawn anew in every epoch."""

    min_clips: PositiveInt = 1
    max_clips: PositiveInt = 7
    pause: Range = (0.05, 0.4)  # s between clips
    utterances: PositiveInt | None = None  # an epoch; default: as many as use every clip about once

    @model_validator(mode="after")
    def _ordered(self) -> JoinConfig:
        if self.min_clips > self.max_clips:
            raise ValueError(f"min_clips {self.min_clips} is more than max_clips {self.max_clips}")
        return self


class DataConfig(Section):
    """What is read, what is left out, and how it is batched. Evaluation never leaves anything out."""

    train: tuple[ManifestPlace, ...] = ()
    dev: tuple[ManifestPlace, ...] = ()
    # Where text.labels come from, if not from the recipe: a file of one label a line, or "manifest" for the
    # characters of the normalised training transcripts.
    labels: str | None = None
    min_duration: NonNegative = 0.1  # s
    max_duration: Positive = 16.7  # s
    max_utterances: PositiveInt | None = None
    exclude_speakers: tuple[str, ...] = ()  # in training and dev alike
    trim_silence: bool = False
    channel: Count | None = None  # of multi-channel files; default: the mean of all
    join: JoinConfig | None = None
    batch_size: PositiveInt = 32  # utterances, at most
    batch_seconds: Positive = 400.0  # s of audio in a batch, padding included, at most
    num_workers: Count = 2
    # What training does about an utterance that cannot be used: a file that vanished or is damaged, a
    # transcript that its audio cannot hold. skip: name it in the log and go on without it; stop: end the run.
    on_error: Literal["skip", "stop"] = "skip"


class AugmentConfig(Section):
    """Online augmentation, a function of (seed, epoch, utterance). Zero and null switch a kind off."""

    speed: Range = (1.0, 1.0)  # factor
    speed_probability: Probability = 1.0
    gain_db: Range = (0.0, 0.0)
    noise: tuple[ManifestPlace, ...] = ()  # manifests of noise clips
    noise_probability: Probability = 0.4
    noise_snr_db: Range = (5.0, 30.0)
    # How often an utterance's speech is left out and noise alone, with an empty transcript, stands for it.
    noise_only_probability: Probability = 0.0
    freq_masks: Count = 2  # SpecAugment (Park et al. 2019)
    freq_width: Count = 20  # mel bins, at most
    time_masks: Count = 2
    time_width: Count = 75  # frames, at most
    time_fraction: Probability = 0.2  # of the utterance's frames that one time mask may cover, at most

    @model_validator(mode="after")
    def _ranges(self) -> AugmentConfig:
        for name in ("speed", "gain_db", "noise_snr_db"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the range [{low}, {high}] is upside down")
        if self.speed[0] <= 0:
            raise ValueError("speed must be above 0")
        if self.noise_only_probability and not self.noise:
            raise ValueError(
                "noise_only_probability: there is no noise; name manifests of it in augment.noise"
            )
        return self


class OptimizerConfig(Section):
    """`betas` default to each optimizer's own: NovoGrad 0.95, 0 (NVIDIA's recipe), AdamW 0.9, 0.98."""

    name: Literal["novograd", "adamw"] = "novograd"
    learning_rate: Positive = 0.01
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] | None = None
    eps: Positive = 1e-8
    weight_decay: NonNegative = 1e-3
    clip_norm: Positive | None = None  # of the gradient, before the step


class ScheduleConfig(Section):
    """Learning rate: linear warm-up, hold, then exponential or cosine decay to `floor`."""

    name: Literal["exponential", "cosine"] = "exponential"
    warmup_epochs: NonNegative = 2.0
    hold_epochs: NonNegative = 0.0
    decay: Annotated[float, Field(gt=0, le=1)] = 0.981  # an epoch, exponential only
    floor: NonNegative = 1e-5


class AdaptConfig(Section):
    """What of the network may move, and how fast: for a training that begins with `init_from`.

    Blocks are counted one by one from 0, as the names of the weights have them; the head always learns.
    """

    # Weights that stay as they are: of no block, of all of them, or of a range such as [0, 5], half open.
    freeze: Literal["none", "encoder"] | tuple[Count, Count] = "none"
    # Batch norm keeps to the statistics that it has: true all, false none; default: those of frozen blocks.
    freeze_norm: bool | None = None
    encoder_rate: Positive = 1.0  # factor on the learning rate of the blocks; the head's is 1
    rate_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # a further factor for each block below the last

    def frozen_blocks(self, num_blocks: int) -> range:
        """Indices of the blocks whose weights stay."""
        if isinstance(self.freeze, tuple):
            return range(*self.freeze)
        return range(num_blocks if self.freeze == "encoder" else 0)

    def rate_factor(self, block: int, num_blocks: int) -> float:
        """Of a block, counted from 0: the factor on the learning rate."""
        return self.encoder_rate * self.rate_decay ** (num_blocks - 1 - block)


class LossConfig(Section):
    """What is added to the CTC loss of an utterance."""

    # Weight of consistency (CR-CTC, Yao et al. 2024, arXiv 2410.05101; 0.2 there): every utterance is seen
    # twice, under other masks of SpecAugment and other dropout, and each view learns the other's posteriors.
    # A step takes twice as long. The paper hides 2.5 times as much in time with it (augment.time_masks).
    consistency: NonNegative = 0.0

    @property
    def num_views(self) -> int:
        """How often an utterance is seen in a step."""
        return 2 if self.consistency else 1


class TrainConfig(Section):
    """The run itself."""

    out: Path = Path("runs/jasper")
    epochs: PositiveInt = 100
    max_steps: PositiveInt | None = None  # stop there, before the last epoch; a later run may go on
    accumulation: PositiveInt = 1  # batches a step
    # auto: bf16 where the processor multiplies it natively, else fp32. Weights and loss are fp32 always.
    # fp64 is for checks: everything is, and is slow.
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = "auto"
    # The framework that trains; mindspore, for Ascend cards, needs an environment of its own.
    engine: Literal["torch", "mindspore"] = "torch"
    device: str = "auto"  # cpu, cuda, npu or mps; of mindspore cpu or ascend
    threads: PositiveInt | None = None  # of the CPU; default: all
    seed: Count = 0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999  # 0 switches it off
    # Keep only what goes from block to block and compute the rest again in the backward pass: more
    # time, a fraction of the memory.
    activation_checkpointing: bool = False
    # Let PyTorch's compiler fuse norms, ReLU, dropout and masks: for a GPU; on a CPU it is slower. Takes a
    # minute at the start, and a C++ compiler.
    compile: bool = False
    max_skipped: Count = 10  # batches in a row whose loss is not finite, before training stops
    log_steps: PositiveInt = 10
    eval_epochs: Positive = 1.0
    checkpoint_steps: PositiveInt | None = None  # default: at every evaluation
    keep: PositiveInt = 3  # checkpoints
    samples: Count = 3  # hypotheses logged at each evaluation
    calibrate: bool = True  # the best model, on dev, when training has ended


class CalibrationConfig(Section):
    """What a model directory may hold in `calibration.yaml`: measured on speech, at a training's end or by
    `jasper calibrate --save`.

    It is of the weights beside it, so it lies apart from the configuration, which other weights can share.
    """

    evidence: NonNegative = 0.0  # nats; as `DecodeConfig.evidence`
    confidence: tuple[float, float] = (1.0, 0.0)  # as `DecodeConfig.calibration`


class DecodeConfig(Section):
    """How log-probabilities become text; scores are in nats.

    All but `search`, `calibration` and `evidence` is beam search's.
    """

    search: Literal["greedy", "beam"] = "greedy"
    beam_width: PositiveInt = 64  # texts kept at each step
    nbest: PositiveInt = 1
    cutoff_top_n: PositiveInt = 40  # labels tried at each step, at most: the likeliest …
    cutoff_prob: Annotated[float, Field(gt=0, le=1)] = 0.999  # … until they have this probability together
    prune: Positive | None = 18.0  # texts so far below the best are dropped
    # Of texts after which all is worth the same, search on with the likeliest alone; default: where nbest=1.
    # With more, others come back at the end: better ones, and less alike, than a narrow beam has without it.
    recombine: bool | None = None
    lm: Path | None = None  # an n-gram model: ARPA or the binary of `jasper lm build`
    lm_unit: Literal["word", "character"] = "word"
    alpha: NonNegative = 0.5  # weight of the language model's natural log-probability
    beta: float | None = None  # added for each word (or character); default: 1 with a language model, else 0
    unknown: float = -8.0  # added for each word that the vocabulary lacks
    lexicon: Path | None = None  # a word a line: no other words
    # Scale and shift of the logit of a word's confidence; default: the model's own, as it keeps them.
    calibration: tuple[float, float] | None = None
    hotwords: dict[str, float] = {}  # word or phrase -> what it adds
    # A second language model, of whole texts: n-grams, or the folder of a causal model of `transformers`.
    rescore: Path | None = None
    rescore_weight: NonNegative = 0.5  # of its natural log-probability, beside all that the search has added
    rescore_nbest: PositiveInt = 50  # texts of an utterance that it orders
    # By which labels must be likelier than blanks in some 0.2 s of an utterance, or nothing is said in it;
    # default: the model's own.
    evidence: NonNegative | None = None
    threads: PositiveInt | None = None  # utterances at a time; default: the processor's cores

    def calibrated(self, own: CalibrationConfig) -> CalibrationConfig:
        """What these settings say of calibration and, where they leave it open, what a model's own says."""
        return CalibrationConfig(
            evidence=own.evidence if self.evidence is None else self.evidence,
            confidence=own.confidence if self.calibration is None else self.calibration,
        )


class EngineConfig(Section):
    """What runs a network, and how."""

    engine: str = "auto"  # a name of `jasper.engines.ENGINES`, or the fastest that is installed
    device: str = "auto"  # cpu, cuda, npu, mps
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32"
    threads: PositiveInt | None = None  # of the processor; default: as the engine decides, mostly all


class ModelConfig(Section):
    """What a model directory holds in `config.yaml`: all that is needed to run the weights beside it."""

    network: NetworkConfig
    features: FeatureConfig = FeatureConfig()
    text: TextConfig = TextConfig()


class Config(ModelConfig):
    """A recipe: a model and how to train it."""

    # A model directory, or a training run, to start from. What the recipe leaves open of network, features
    # and text is the model's; its network, if it says one, must be the model's too.
    init_from: Path | None = None
    adapt: AdaptConfig = AdaptConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _freezes_what_is_there(self) -> Config:
        frozen, num_blocks = self.adapt.freeze, sum(block.count for block in self.network.blocks)
        if frozen != "none" and self.init_from is None:
            raise ValueError("adapt.freeze without init_from would keep random weights")
        if isinstance(frozen, tuple) and not frozen[0] < frozen[1] <= num_blocks:
            raise ValueError(f"adapt.freeze: {list(frozen)} is no range of the {num_blocks} blocks")
        return self

    @property
    def model(self) -> ModelConfig:
        """The part that a model directory keeps."""
        return ModelConfig(network=self.network, features=self.features, text=self.text)
