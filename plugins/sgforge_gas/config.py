"""Options of what this plugin registers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from sgforge.stages import Use, part
from sgforge.weights import path_or_hub_id

__all__ = [
    "CaptionerOptions",
    "ClipScoreOptions",
    "DiffusersOptions",
    "DrawnJudgeOptions",
    "Draws",
    "GasOptions",
    "JudgeOptions",
    "Over",
    "ParaphraseOptions",
    "PickScoreOptions",
    "Plausibility",
    "ProceduralOptions",
    "QuestionerOptions",
    "SceneQuestionsOptions",
    "Style",
    "TokensOptions",
    "VqaScoreOptions",
]

Over: TypeAlias = Literal["structures", "complexity", "sizes", "histogram"]
Plausibility: TypeAlias = Literal["none", "types", "seen"]
Figure: TypeAlias = Literal["balanced", "gated", "plain", "combined", "arithmetic", "geometric"]
Style: TypeAlias = Literal["sentence", "list", "dense"]


def _span(instance: object, attribute: attrs.Attribute[Any], value: tuple[float, ...]) -> None:
    if len(value) > 2 or any(one < 0 for one in value) or (value and value[0] > value[-1]):
        raise ValueError(f"must be one number from 0 or two, the lesser first, not {list(value)}")


def _from_0(instance: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 0:
        raise ValueError(f"must be 0 or more, not {value}")


def _bound() -> Any:
    return attrs.field(default=(), converter=tuple, validator=_span)


@attrs.frozen
class Draws:
    """What graphs are drawn; bounds are `[n]` or `[least, most]`, none without it.

    `complexity`: objects + relations + attributes, [3, 9] where neither it nor `objects` is bounded. `components`:
    weakly connected ones. `average_degree`: of 2 relations / objects. `max_degree`: relations of one object, at most.
    `cycles`: relations may lead back to where they began. `parallel`: a pair may have several predicates.
    `prior`: what is equally likely, "complexity" (each of these, then each structure of it), "structures", "sizes"
    (each number of objects, relations and attributes, then each structure of it), or "histogram", by the weights of
    sizes in `histogram` (JSON, `[[objects, relations, attributes, weight], ...]`) or, without it, those of the graphs
    that the vocabulary was mined from. `vocabulary`: a JSON or TOML file; our starter without it. `plausibility`:
    "types" draws attributes and relations that fit the types of objects, "seen" by how often they were seen together
    in the graphs that the vocabulary was mined from, "none" any. `scene_attributes`: how many of the whole scene.
    `seed`: of all that is random.
    """

    complexity: tuple[int, ...] = _bound()
    objects: tuple[int, ...] = _bound()
    relations: tuple[int, ...] = _bound()
    attributes: tuple[int, ...] = _bound()
    components: tuple[int, ...] = _bound()
    average_degree: tuple[float, ...] = _bound()
    max_degree: int | None = attrs.field(default=None, validator=_from_0)
    cycles: bool = False
    parallel: bool = False
    prior: Over = "complexity"
    histogram: Path | None = None
    vocabulary: Path | None = None
    plausibility: Plausibility = "types"
    scene_attributes: tuple[int, ...] = attrs.field(default=(0, 2), converter=tuple, validator=_span)
    seed: int = attrs.field(default=0, validator=_from_0)


@attrs.frozen(kw_only=True)
class GasOptions(Draws):
    """Graphs drawn from a vocabulary, without images; see `Draws` for what is drawn.

    `count`: how many; `start`: the number of the first. Graph i is the same in any range and with any other options of
    the run. `split`: of all of them; without it some are held out by their ids.
    """

    count: int = attrs.field(default=1000, validator=_from_0)
    start: int = attrs.field(default=0, validator=_from_0)
    split: str | None = None


@attrs.frozen(kw_only=True)
class CaptionerOptions:
    """Captions written from graphs.

    `style`: "sentence" (clauses, each attribute at the first mention), "list" (the objects first, then a sentence for
    each subject) or "dense" (a paragraph, attributes in sentences of their own). `vocabulary`: how words are said; our
    starter and rules without it. `spans`: fill the column gas.spans with the span of every element.
    """

    style: Style = "sentence"
    vocabulary: Path | None = None
    spans: bool = True


@attrs.frozen(kw_only=True)
class ParaphraseOptions:
    """Captions reworded by a model, and checked.

    `model`: "provider/model". `tries`: how often it is asked before our own caption stands. `style`, `vocabulary`: of
    the caption that is reworded.
    """

    model: str
    tries: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    temperature: float | None = None
    style: Style = "sentence"
    vocabulary: Path | None = None


@attrs.frozen(kw_only=True)
class QuestionerOptions:
    """Questions that a graph answers.

    `counts`: how many there are of each label. `negatives`: questions whose answer is no for sure. `choices`: questions
    with several choices beside those with yes and no. `vocabulary`: how words are said and what excludes what; our
    starter without it. `seed`: of the wrong words that are chosen.
    """

    counts: bool = True
    negatives: bool = True
    choices: bool = False
    vocabulary: Path | None = None
    seed: int = attrs.field(default=0, validator=_from_0)


@attrs.frozen(kw_only=True)
class JudgeOptions:
    """Questions answered by a model that sees the picture.

    `model`: "provider/model". `probabilities`: ask a model that gives token probabilities one question a request, and
    read P(yes) from its first token; without them up to `questions_per_request` share a request, and yes or no counts
    as 1 or 0. `gate`: do not ask what depends on something answered with no. `score`: which figure over the answers the
    total is. `max_side`: longest side of the picture sent, in pixels.
    """

    model: str
    probabilities: bool = True
    questions_per_request: int = attrs.field(default=20, validator=attrs.validators.ge(1))
    gate: bool = True
    score: Figure = "balanced"
    max_side: int = attrs.field(default=1024, validator=attrs.validators.ge(16))


@attrs.frozen(kw_only=True)
class SceneQuestionsOptions:
    """How much of its graph a picture shows, asked question by question.

    `judge`: who answers; without it the answers that stand with the sample. `score`: which figure is the total:
    "balanced" (gated by dependencies, questions with the answer no weigh as much as the others), "gated", "plain" (as
    the paper), "combined" (as its code), "arithmetic" or "geometric" (of P(right) over all questions). `counts`,
    `negatives`, `vocabulary`: of the questions, where the sample has none.
    """

    judge: Use | None = part("judge", None)
    score: Figure = "balanced"
    counts: bool = True
    negatives: bool = True
    vocabulary: Path | None = None


@attrs.frozen(kw_only=True)
class DrawnJudgeOptions:
    """Questions answered from what the renderer `procedural` noted. `score`: as of the judge `gas`."""

    score: Figure = "balanced"


def _share(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"must be in [0, 1], not {value}")


@attrs.frozen(kw_only=True)
class ProceduralOptions:
    """Graphs drawn without a model.

    `size`: of the square picture, in pixels, from 64. `setting`: room, meadow, beach or snow. `fault_rate`: the
    probability, in [0, 1], that a thing is left out, has another colour or another's place. `seed`: of the faults.
    """

    size: int = attrs.field(default=256, validator=attrs.validators.ge(64))
    setting: Literal["room", "meadow", "beach", "snow"] = "room"
    fault_rate: float = attrs.field(default=0.0, validator=_share)
    seed: int = attrs.field(default=0, validator=_from_0)


@attrs.frozen(kw_only=True)
class DiffusersOptions:
    """Captions rendered by a text-to-image pipeline of diffusers.

    `checkpoint`: its folder, or a hub id. `lora`: a folder or file of LoRA weights for it. `steps`, `guidance`: of the
    pipeline's scheduler. `size`: of the square picture, in pixels; the pipeline's own without it. `dtype`: "auto" is
    float32 on a CPU, else float16. `seed`: of the noise, which each picture has its own of by its id.

    Of a training: `rank`: of the LoRA matrices (8; Hu et al. 2021, table 6, finds little gain above it). `train_steps`,
    `batch`, `rate`: updates in all, pictures in each, and the rate of AdamW.
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    lora: Path | None = None
    steps: int = attrs.field(default=30, validator=attrs.validators.ge(1))
    guidance: float = attrs.field(default=7.5, validator=attrs.validators.ge(0.0))
    size: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(8)))
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    seed: int = attrs.field(default=0, validator=_from_0)
    rank: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    train_steps: int = attrs.field(default=1000, validator=attrs.validators.ge(1))
    batch: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    rate: float = attrs.field(default=1e-4, validator=attrs.validators.gt(0.0))


@attrs.frozen(kw_only=True)
class TokensOptions:
    """A tiny autoregressive renderer of drawn scenes.

    `checkpoint`: a folder of its weights; random ones without it. `width`, `layers`: of the model. `size`: of the
    square picture, in pixels, from 64. `sampled`: draw pictures by chance, each by a noise of its image and `seed`,
    so that copies of a graph differ; without it they are the likeliest. `temperature`: of sampled pictures, those of a
    policy too. `steps`, `batch`, `rate`: of its training.
    """

    checkpoint: Path | None = None
    width: int = attrs.field(default=64, validator=attrs.validators.ge(8))
    layers: int = attrs.field(default=2, validator=attrs.validators.ge(1))
    size: int = attrs.field(default=64, validator=attrs.validators.ge(64))
    sampled: bool = False
    seed: int = attrs.field(default=0, validator=_from_0)
    temperature: float = attrs.field(default=1.0, validator=attrs.validators.gt(0.0))
    steps: int = attrs.field(default=400, validator=attrs.validators.ge(1))
    batch: int = attrs.field(default=32, validator=attrs.validators.ge(1))
    rate: float = attrs.field(default=3e-3, validator=attrs.validators.gt(0.0))


@attrs.frozen(kw_only=True)
class VqaScoreOptions:
    """Whether a picture shows its caption, asked of a model. `model`: "provider/model", best one with probabilities."""

    model: str


@attrs.frozen(kw_only=True)
class ClipScoreOptions:
    """CLIPScore of a picture and its caption (Hessel et al. 2021): 2.5 max(cosine, 0).

    `checkpoint`: a folder of a CLIP as transformers saves it, or a hub id. `processor`: the same of its tokenizer and
    its handling of pictures, where these lie elsewhere. `prompt`: what stands before the caption (the paper's).
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    processor: Path | str | None = attrs.field(default=None, converter=attrs.converters.optional(path_or_hub_id))
    prompt: str = "A photo depicts "


@attrs.frozen(kw_only=True)
class PickScoreOptions:
    """PickScore of a picture and its caption (Kirstain et al. 2023): the model's temperature times the cosine.

    `checkpoint`: a folder of a CLIP as transformers saves it, or a hub id, such as yuvalkirstain/PickScore_v1.
    `processor`: the same of its tokenizer and its handling of pictures, where these lie elsewhere: for that model
    laion/CLIP-ViT-H-14-laion2B-s32B-b79K.
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    processor: Path | str | None = attrs.field(default=None, converter=attrs.converters.optional(path_or_hub_id))
