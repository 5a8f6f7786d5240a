"""The options of the components, with their defaults; light to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import attrs
from attrs import validators

from sgforge.stages import Use, parts

__all__ = [
    "LOSSES",
    "MAX_PIXELS",
    "MIN_PIXELS",
    "PATCH",
    "UNITS",
    "DpoOptions",
    "Family",
    "FamilyOptions",
    "GateOptions",
    "GraphRewardOptions",
    "GrpoOptions",
    "HallucinationOptions",
    "LengthOptions",
    "Loss",
    "Mode",
    "PresetOptions",
    "RaftOptions",
    "RarityOptions",
    "RefineOptions",
    "RowsOptions",
    "Scaling",
    "Unit",
    "VlmOptions",
]

Mode = Literal["robust", "upstream", "upstream-head"]
Family = Literal["hard", "relax", "soft"]
Unit: TypeAlias = Literal["pixels", "thousand", "unit", "processed"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)

Loss: TypeAlias = Literal["grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "luspo"]
LOSSES: Final[tuple[Loss, ...]] = get_args(Loss)
Scaling: TypeAlias = Literal["group", "none", "split"]

PATCH: Final = 28
"""Sides of a processed picture are multiples of this, in pixels (Qwen2-VL and Qwen2.5-VL: 14 times 2)."""
MAX_PIXELS: Final = 512 * PATCH * PATCH
"""Most pixels of a processed picture in R1-SGG's reinforcement runs."""
MIN_PIXELS: Final = 4 * PATCH * PATCH

_UNIT = validators.and_(validators.ge(0.0), validators.le(1.0))
_SHARE = validators.and_(validators.gt(0.0), validators.le(1.0))
_POSITIVE = validators.ge(1)


@attrs.frozen(kw_only=True)
class GraphRewardOptions:
    """A reward that compares a graph with the truth, 0 to 1.

    `mode`: "robust" reads an answer once, leaves out what is broken and nothing else, and compares normalised names;
    "upstream" gives the values of R1-SGG's released code before its regression of the format reward, by its own
    weights' fractions; "upstream-head" those of the released commit. `similarity` of names: exact, normal, lemma,
    minilm (extra `minilm`), or module:callable of an encoder. `iou`: from which a box stands for another (0.5 in the
    paper). `wrong`: how much a thing that is not in the truth counts against those that are, from 0 (recall alone, as
    the paper) to 1, where the total rises if and only if F1 does. `boxes`: what the numbers of a text's boxes are:
    pixels, thousand (0 to 1000), unit (0 to 1), or processed (pixels of the picture as a Qwen processor makes it, of at
    most `processed_pixels`); graphs are always in pixels. `tags`: whether form asks for think and answer tags too.
    """

    mode: Mode = "robust"
    similarity: str = "lemma"
    iou: float = attrs.field(default=0.5, validator=_SHARE)
    wrong: float = attrs.field(default=1.0, validator=_UNIT)
    boxes: Unit = "thousand"
    processed_pixels: int = attrs.field(default=MAX_PIXELS, validator=validators.ge(784))
    tags: bool = False


@attrs.frozen(kw_only=True)
class PresetOptions(GraphRewardOptions):
    """Several graph rewards as one, by the weights of R1-SGG's released code: form 1, nodes 2, edges 5.

    `form`, `nodes`, `edges`: those weights.
    """

    form: float = attrs.field(default=1.0, validator=validators.ge(0.0))
    nodes: float = attrs.field(default=2.0, validator=validators.ge(0.0))
    edges: float = attrs.field(default=5.0, validator=validators.ge(0.0))


@attrs.frozen(kw_only=True)
class FamilyOptions(GraphRewardOptions):
    """A graph reward over what `family` says is met: hard (names and boxes), relax (likeness), soft (by the match)."""

    family: Family = "hard"


@attrs.frozen(kw_only=True)
class RarityOptions(GraphRewardOptions):
    """Recall in which a rare predicate counts for more.

    `counts`: how often each predicate occurs, by name; `counts_file`: the same as a JSON file. One that is not in them
    counts as if it were seen once; without any, all weigh the same. `power`: a predicate weighs count to the minus
    power.
    """

    counts: Mapping[str, int] = attrs.field(factory=dict)
    counts_file: Path | None = None
    power: float = attrs.field(default=0.5, validator=validators.ge(0.0))


@attrs.frozen(kw_only=True)
class LengthOptions(GraphRewardOptions):
    """How far the number of relations said is from that of the truth: the lesser by the greater.

    `slack`: up to so many times more than the truth has, and as many times fewer, is as good as equal.
    """

    slack: float = attrs.field(default=1.0, validator=validators.ge(1.0))


@attrs.frozen(kw_only=True)
class HallucinationOptions(GraphRewardOptions):
    """Recall and precision of regions and of relations, less what the image does not support.

    `penalty`: what is taken away for an answer of which nothing is supported; in proportion for less.
    """

    penalty: float = attrs.field(default=0.5, validator=_UNIT)


@attrs.frozen(kw_only=True)
class GateOptions:
    """Rewards in an order: each counts only if all before it pass.

    `rewards`: by weight. `least`: the fraction of its range that a reward must reach for the next to count.
    """

    rewards: tuple[Use, ...] = parts("reward", some=True)
    least: float = attrs.field(default=0.5, validator=_UNIT)


def _check_group(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 2:
        raise ValueError(f"a group of {value} has no mean to be better than: let group be at least 2")


@attrs.frozen(kw_only=True)
class RefineOptions:
    """What all refiners have in common.

    `rewards`: their credits are weighed and added. `steps`: updates in all. `batch`: images of one step, of all
    processes together. `group`: answers to each question (8 in R1-SGG). `rate`: of AdamW (1e-4 suits small models that
    learn all their weights; R1-SGG's script: 6e-7 for 2 to 7 billion). `warmup`: steps over which the rate rises.
    `clip`: most norm of a gradient. `iterations`: updates on the same answers. `pass_size`: answers that go through the
    model at once while learning, 0 for all. `warm_rewards`: steps over which the weights of all rewards but the first
    rise from 0. `mismatch`: most mean difference of the log-probabilities of the same tokens between sampling and
    learning; above it the two are different models, and it stops. `max_failed`: share of answers that rewards may fail
    on before it stops. `save_every`: steps between states to go on from. How answers are drawn (temperature, top-p,
    length) are options of the student.
    """

    rewards: tuple[Use, ...] = parts("reward", some=True)
    steps: int = attrs.field(default=100, validator=_POSITIVE)
    batch: int = attrs.field(default=4, validator=_POSITIVE)
    group: int = attrs.field(default=8, validator=_check_group)
    rate: float = attrs.field(default=1e-4, validator=validators.gt(0.0))
    warmup: int = attrs.field(default=0, validator=validators.ge(0))
    clip: float = attrs.field(default=1.0, validator=validators.gt(0.0))
    iterations: int = attrs.field(default=1, validator=_POSITIVE)
    pass_size: int = attrs.field(default=0, validator=validators.ge(0))
    warm_rewards: int = attrs.field(default=0, validator=validators.ge(0))
    mismatch: float = attrs.field(default=0.05, validator=validators.gt(0.0))
    max_failed: float = attrs.field(default=0.5, validator=_UNIT)
    save_every: int = attrs.field(default=10, validator=_POSITIVE)


@attrs.frozen(kw_only=True)
class GrpoOptions(RefineOptions):
    """`grpo`: a policy gradient in which each answer is measured by its group.

    `loss`, `epsilon_low`, `epsilon_high` (None: as low), `beta`: see `sgforge_grpo.policy_loss`; with `beta` above 0
    the policy as it was is kept in memory. `scaling`: see `sgforge_grpo.advantages`. `longest`: what `dr_grpo` divides
    by, in tokens. `oversample`: so many times more groups are sampled than learnt from; those of the highest spread
    are kept (R1-SGG's keep_top_group_ratio is 1 / `oversample`). Groups of equal rewards are skipped, and counted.
    """

    loss: Loss = "dapo"
    beta: float = attrs.field(default=0.0, validator=validators.ge(0.0))
    epsilon_low: float = attrs.field(default=0.2, validator=validators.gt(0.0))
    epsilon_high: float | None = None
    scaling: Scaling = "group"
    longest: int = attrs.field(default=512, validator=_POSITIVE)
    oversample: float = attrs.field(default=1.0, validator=validators.ge(1.0))


@attrs.frozen(kw_only=True)
class RaftOptions(RefineOptions):
    """`raft`: the best answer of each group is learnt as if it were the truth (Dong et al. 2023), where it beats the
    mean of its group.
    """


@attrs.frozen(kw_only=True)
class DpoOptions(RefineOptions):
    """`dpo`: the best answer of each group is preferred to the worst (Rafailov et al. 2023, equation 7), with pairs
    sampled anew in each step.

    `beta`: how far the policy may go from where it began. `margin`: least difference of their rewards.
    """

    beta: float = attrs.field(default=0.1, validator=validators.gt(0.0))
    margin: float = attrs.field(default=0.0, validator=validators.ge(0.0))


@attrs.frozen(kw_only=True)
class VlmOptions:
    """`vlm`: a vision-language model that says graphs as JSON.

    `base`: a folder or hub id that AutoModelForImageTextToText loads, to train from; `checkpoint`: a folder with
    trained weights, where no training runs before. `task`: "relations" asks how the given regions relate, "graph" for
    the whole graph, boxes included. `regions`: given ones are told as boxes in the text, or as numbered marks drawn on
    the picture; at most `max_regions`, the largest. `boxes`: what numbers of boxes are, by default as the model's
    family writes them. `labels`, `predicates`: files with one name a line, a closed vocabulary to be told.

    `steps`: of training, 0 for `epochs`; `batch`: images a step; `rate`: of AdamW, falling to 0, after `warmup` steps
    (1e-5 in R1-SGG's training on truth); `clip`: most norm of a gradient; `longest`: tokens of an answer that are
    learnt. `lora`: rank of adapters (needs peft; R1-SGG: 16), 0 learns all weights. `save_every`: steps between states.
    `sharding`: of several processes (`run = {processes = N}`) each holds the whole model ("replicated"), or a share of
    its weights, gradients and moments ("sharded"), while it is trained as while it is refined; both learn the same, up
    to rounding, so that it is in no key.

    `temperature`: 0 takes the likeliest token; a policy draws at 1 then. `top_p`: of the likeliest tokens that make up
    so much; probabilities are those after that. `max_tokens`: of an answer. `answers_at_once`: answers to one image
    that go through the model together. `relations_per_subject`: `generate` adds at most so many (R).
    """

    base: str | None = None
    checkpoint: Path | None = None
    task: Literal["relations", "graph"] = "relations"
    regions: Literal["boxes", "marks"] = "boxes"
    max_regions: int = attrs.field(default=50, validator=_POSITIVE)
    boxes: Literal["auto", "pixels", "thousand", "unit", "processed"] = "auto"
    labels: Path | None = None
    predicates: Path | None = None
    steps: int = attrs.field(default=0, validator=validators.ge(0))
    epochs: int = attrs.field(default=1, validator=_POSITIVE)
    batch: int = attrs.field(default=8, validator=_POSITIVE)
    rate: float = attrs.field(default=1e-5, validator=validators.gt(0.0))
    warmup: int = attrs.field(default=0, validator=validators.ge(0))
    clip: float = attrs.field(default=1.0, validator=validators.gt(0.0))
    longest: int = attrs.field(default=2048, validator=_POSITIVE)
    lora: int = attrs.field(default=0, validator=validators.ge(0))
    save_every: int = attrs.field(default=100, validator=_POSITIVE)
    sharding: Literal["replicated", "sharded"] = attrs.field(default="replicated", eq=False)
    temperature: float = attrs.field(default=0.0, validator=validators.ge(0.0))
    top_p: float = attrs.field(default=1.0, validator=_SHARE)
    max_tokens: int = attrs.field(default=1024, validator=_POSITIVE)
    answers_at_once: int = attrs.field(default=8, validator=_POSITIVE)
    relations_per_subject: int = attrs.field(default=5, validator=_POSITIVE)


@attrs.frozen(kw_only=True)
class RowsOptions:
    """Rows for another trainer: a question for the whole graph, the picture, and the truth.

    `images`: the folder that the root of the pictures stands for, put before their paths. `boxes`: what the model that
    will be trained writes boxes in; the reward must be told the same. `labels`, `predicates`: files with one name a
    line, a closed vocabulary to be told.
    """

    images: Path | None = None
    boxes: Unit = "thousand"
    labels: Path | None = None
    predicates: Path | None = None
