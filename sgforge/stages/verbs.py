"""The one table of kinds and verbs: what a component must be able to do, and what a step of each verb means.

Hooks, methods, roles, the Python verbs, default splits, weights and messages follow from it; a new verb is a new row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

__all__ = ["KINDS", "VERBS", "Answers", "Kind", "Mode", "Role", "Verb", "weight_givers"]

Mode: TypeAlias = Literal["predcls", "sgcls", "sgdet"]
Answers: TypeAlias = Literal["edit", "checkpoint", "report"]


@attrs.frozen(kw_only=True)
class Kind:
    """One kind of component. Its hook is `sgforge_register_<plural>`.

    `does`: what its components do, as the hook's docstring says it. `methods`: those that a target must have besides
    the methods of its verbs. `reserved`: option names that belong to whoever names the component. `may_be_module`:
    whether a target may be a whole module. `in_steps`: whether it works within steps, so that it may be a part in the
    options of another component and may have parts of its own. `may_offer`: further methods that a target may have, if
    its registration says so.
    """

    name: str
    does: str
    methods: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    may_be_module: bool = False
    in_steps: bool = True
    may_offer: tuple[str, ...] = ()

    @property
    def plural(self) -> str:
        """The name for several of them."""
        return f"{self.name}s"

    @property
    def verbs(self) -> tuple[Verb, ...]:
        """The verbs whose steps name a component of this kind."""
        return tuple(verb for verb in VERBS.values() if verb.kind == self.name)

    @property
    def all_methods(self) -> tuple[str, ...]:
        """Every method that the target of a component must have."""
        return (*(verb.method for verb in self.verbs), *self.methods)


@attrs.frozen(kw_only=True)
class Role:
    """What the edits of one verb may hold: rows, verdicts, and fields set on rows that are there.

    `begins`: rows that may be added where the graph has none that is kept. `region_blanks`: fields of regions that may
    be set where they are null; `own_region_fields`: further ones of regions that the same edit adds. `columns`: the
    core's columns of the image that it fills. `makes_image`: whether it may set the image of a sample that has none.
    """

    adds: frozenset[str] = frozenset()
    judges: frozenset[str] = frozenset()
    region_fields: frozenset[str] = frozenset()
    begins: frozenset[str] = frozenset()
    region_blanks: frozenset[str] = frozenset()
    own_region_fields: frozenset[str] = frozenset()
    relation_fields: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()
    makes_image: bool = False

    def fields(self, target: str) -> frozenset[str]:
        """The fields that may be set on rows of `target`, "region" or "relation"."""
        return self.region_fields if target == "region" else self.relation_fields


@attrs.frozen(kw_only=True)
class Verb:
    """What a step of one verb means.

    `kind` and `method`: the component it names and what it calls. `does`: its docstring. `answers`: what comes back.
    `is_item`: it answers image by image and streams; else it is a barrier, which waits for a published snapshot.
    `role`: what its edits may hold, None for anything. `may_restore`: whether a verdict of its edits may bring back a
    row that was rejected. `weights`: where they come from if the step does not name them: nowhere ("named"), the
    nearest training of the same component, if it can be trained ("own"), the nearest training ("nearest"). `student`:
    whose weights those are: of no student, of the step's own component, of the one that was trained. `splits`: which
    images it works on where `on` does not say: the first of these splits that there is, all images if there is none
    here. `images`: what it works on, in messages. `finders`: the verb whose earlier steps find regions on the images
    that it shows bare. `student_offers`: what the student must offer, which the component is then given. `also`: other
    kinds whose components it names too, those that offer its method. `trained`: the kinds that the one that was
    trained may be of.
    """

    name: str
    kind: str
    does: str
    answers: Answers = "edit"
    is_item: bool = True
    role: Role | None = None
    may_restore: bool = False
    weights: Literal["named", "own", "nearest"] = "named"
    student: Literal["none", "itself", "trained"] = "none"
    splits: tuple[str, ...] = ()
    images: str = "images"
    finders: str | None = None
    student_offers: str | None = None
    also: tuple[str, ...] = ()
    trained: tuple[str, ...] = ("student",)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that the component it names may be of."""
        return (self.kind, *self.also)

    @property
    def method(self) -> str:
        """The method of the component that a step calls: it has the verb's name."""
        return self.name

    @property
    def gives_weights(self) -> bool:
        """Whether later steps may take the checkpoint that it leaves."""
        return self.answers == "checkpoint"

    def takes_weights(self, *, is_trained: bool) -> bool:
        """Whether a component, one that can be trained or not, is given weights in a step of this verb."""
        return self.weights == "nearest" or (self.weights == "own" and is_trained)

    def default_splits(self, present: Iterable[str | None]) -> tuple[str, ...] | None:
        """The splits it works on where `on` names none, given those of the images; None for all."""
        if not self.splits:
            return None
        there = set(present)
        return (next((split for split in self.splits if split in there), self.splits[-1]),)


def _fields(*names: str) -> frozenset[str]:
    return frozenset(names)


_VERBS: Final = (
    Verb(
        name="segment",
        kind="segmenter",
        does="Find regions in each image.",
        role=Role(
            adds=_fields("region"),
            judges=_fields("region"),
            region_blanks=_fields("mask", "depth", "parent", "level"),
            own_region_fields=_fields("box", "score"),
        ),
    ),
    Verb(
        name="complete",
        kind="teacher",
        does="Let a teacher complete the relations of each graph.",
        role=Role(adds=_fields("relation"), region_fields=_fields("descriptions", "attributes")),
    ),
    Verb(
        name="filter",
        kind="filter",
        does="Judge what is in each graph; rejected rows stay, with their reason.",
        role=Role(judges=_fields("region", "relation")),
    ),
    Verb(
        name="generate",
        kind="student",
        does="Let a trained student propose relations for each image.",
        role=Role(
            adds=_fields("relation"),
            begins=_fields("region"),
            region_fields=_fields("label", "score"),
            relation_fields=_fields("score"),
        ),
        weights="own",
        student="itself",
    ),
    Verb(name="edit", kind="editor", does="Let an editor correct each graph.", may_restore=True),
    Verb(
        name="render",
        kind="renderer",
        does="Let a renderer make the image of each graph that has none.",
        role=Role(makes_image=True),
        weights="own",
    ),
    Verb(
        name="caption",
        kind="captioner",
        does="Let a captioner write a caption of each image.",
        role=Role(columns=_fields("caption")),
    ),
    Verb(
        name="question",
        kind="questioner",
        does="Let a questioner ask about each image.",
        role=Role(columns=_fields("questions")),
    ),
    Verb(
        name="judge",
        kind="judge",
        does="Let a judge answer the questions about each image.",
        role=Role(columns=_fields("answers")),
    ),
    Verb(
        name="select",
        kind="selector",
        does="Let a selector choose among all images.",
        is_item=False,
        role=Role(columns=_fields("chosen")),
        images="images to choose from",
    ),
    Verb(
        name="train",
        kind="student",
        does="Train a student, or a renderer, on the graphs so far.",
        also=("renderer",),
        answers="checkpoint",
        is_item=False,
        student="itself",
        splits=("train",),
        images="images to train on",
    ),
    Verb(
        name="refine",
        kind="refiner",
        does="Refine a trained student, or a renderer, with rewards.",
        trained=("student", "renderer"),
        answers="checkpoint",
        is_item=False,
        weights="nearest",
        student="trained",
        student_offers="policy",
        splits=("train",),
        images="images to train on",
    ),
    Verb(
        name="evaluate",
        kind="evaluator",
        does="Measure the last trained student on held-out images.",
        answers="report",
        is_item=False,
        weights="nearest",
        student="trained",
        splits=("val", "test"),
        images="held-out images to evaluate on",
        finders="segment",
    ),
)
VERBS: Final[Mapping[str, Verb]] = {verb.name: verb for verb in _VERBS}

_KINDS: Final = (
    Kind(name="segmenter", does="they find the regions of an image"),
    Kind(name="teacher", does="they complete the relations of a graph"),
    Kind(name="filter", does="they judge regions and relations"),
    Kind(
        name="student",
        does="they are trained on a snapshot and propose relations",
        methods=("rank",),
        may_offer=("policy",),
    ),
    Kind(name="editor", does="they correct a graph"),
    Kind(name="renderer", does="they make an image of a graph", may_offer=("train", "policy")),
    Kind(name="captioner", does="they describe an image in a text"),
    Kind(name="questioner", does="they ask about an image"),
    Kind(name="judge", does="they answer questions about an image"),
    Kind(name="selector", does="they choose among all images"),
    Kind(name="evaluator", does="they measure a student on held-out images"),
    Kind(name="refiner", does="they refine a student's checkpoint with rewards"),
    Kind(name="reward", does="they score what was made of an image", methods=("score",)),
    Kind(name="model", does='the part of "provider/model" before the slash', in_steps=False),
    Kind(
        name="source",
        does="they read images and annotations into samples",
        methods=("samples",),
        reserved=("use", "copies"),
        in_steps=False,
    ),
    Kind(
        name="executor",
        does="they open components in other processes, on other machines",
        methods=("open",),
        reserved=("use",),
        in_steps=False,
    ),
    Kind(name="exporter", does="they write a snapshot in a public format", methods=("export",), in_steps=False),
    Kind(
        name="command",
        does="subcommands of `sgforge`: a class, or a module by its name, with `configure(parser)` and `run(args)`",
        methods=("configure", "run"),
        may_be_module=True,
        in_steps=False,
    ),
)
KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _KINDS}


def weight_givers() -> Sequence[str]:
    """The verbs whose steps leave a checkpoint, in the order of the table."""
    return [verb.name for verb in VERBS.values() if verb.gives_weights]
