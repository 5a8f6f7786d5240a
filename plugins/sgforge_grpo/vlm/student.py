"""Student `vlm`: learns graph JSON, proposes relations, ranks what it said, and offers its policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from sgforge.edits import Edit
from sgforge.errors import ImageError, StepError
from sgforge.graph import Relation, Sample, SceneGraph
from sgforge.matching import match_regions
from sgforge.stages import Answer, Checkpoint, Failure, Outcome, Ranking, Resources, Selection
from sgforge.stages.policies import Policy
from sgforge_grpo.config import VlmOptions

__all__ = ["VlmStudent"]


class VlmStudent:
    """Any model that AutoModelForImageTextToText loads, asked for relations of given regions or for whole graphs."""

    def __init__(self, options: VlmOptions) -> None:
        self.options = options

    def setup(self, resources: Resources) -> None:
        """Load the weights: the step's, else those of `checkpoint`, else the base's."""
        from sgforge_grpo.vlm.loading import Vlm

        self._seed = resources.seed
        self._vlm = Vlm.load(self.options, self._folder(resources), resources.device, resources.dtype)

    def close(self) -> None:
        """Let go of the weights."""
        self._vlm = None  # type: ignore[assignment]

    def _folder(self, resources: Resources) -> Path | None:
        return resources.checkpoint.path if resources.checkpoint is not None else self.options.checkpoint

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """Learn to answer with the truth; prompts are not learnt."""
        from sgforge_grpo.vlm.training import train

        return train(self.options, snapshot_path, selection, out_dir, resources, self._folder(resources))

    def policy(self, resources: Resources, /) -> Policy:
        """Samples whole answers; see `VlmPolicy`."""
        from sgforge_grpo.vlm.policy import VlmPolicy

        return VlmPolicy.of(self.options, resources, self._folder(resources))

    def generate(self, samples: Sequence[Sample], /) -> list[Answer]:
        """At most `relations_per_subject` new relations of each region, in the order said.

        Of whole graphs those count whose two objects stand for given regions, by name and an IoU of 0.5.
        """
        return [self._edit(sample) for sample in samples]

    def _edit(self, sample: Sample) -> Answer:
        said = self._said(sample)
        if isinstance(said, Failure):
            return said
        graph = said.graph if self.options.task == "relations" else _among(sample.graph, said.graph)
        if graph is None:
            return Edit()
        known = {(row.subject, row.predicate, row.object) for row in sample.graph.all.relations}
        counts: dict[int, int] = {}
        kept: list[Relation] = []
        for row in graph.relations.values():
            of_subject = counts.get(row.subject, 0)
            if (
                row.subject,
                row.predicate,
                row.object,
            ) not in known and of_subject < self.options.relations_per_subject:
                counts[row.subject] = of_subject + 1
                kept.append(row)
        return Edit(relations=kept)

    def rank(self, samples: Sequence[Sample], /) -> list[Ranking | Failure]:
        """What was said, the earlier the higher; regions are those given, of whole graphs the model's own."""
        return [self._rank(sample) for sample in samples]

    def _rank(self, sample: Sample) -> Ranking | Failure:
        said = self._said(sample)
        if isinstance(said, Failure):
            return said
        graph = said.graph
        assert graph is not None
        if self.options.task == "graph" and len(sample.graph.regions):
            graph = _among(sample.graph, graph)
        places = {index: place for place, index in enumerate(graph.regions)}
        rows = list(graph.relations.values())
        predicates = tuple(dict.fromkeys(row.predicate for row in rows)) or ("related to",)
        pairs = list(dict.fromkeys((places[row.subject], places[row.object]) for row in rows))
        scores = np.zeros((len(pairs), len(predicates)), np.float32)
        for row in rows:
            pair = pairs.index((places[row.subject], places[row.object]))
            scores[pair, predicates.index(row.predicate)] = row.score or 0.0
        return Ranking(tuple(graph.regions.values()), np.array(pairs, np.int32).reshape(-1, 2), predicates, scores)

    def _said(self, sample: Sample) -> Outcome | Failure:
        """The likeliest answer about an image, or one drawn at the options' temperature."""
        from sgforge_grpo.vlm.asking import Sampling, ask, sampled
        from sgforge_grpo.vlm.policy import outcome_of

        vlm, options = self._ready(), self.options
        if sample.image is None:
            return Failure("no-image", f"image {sample.image_id} has no pixels")
        if options.task == "relations" and len(sample.graph.regions) < 2:
            graph = sample.graph
            return Outcome(SceneGraph(graph.width, graph.height, graph.all.regions))
        try:
            prompt = ask(vlm, sample, options)
        except ImageError as error:
            return Failure("bad-image", str(error))
        sampling = Sampling(limit=options.max_tokens, temperature=options.temperature, top_p=options.top_p)
        (ids,) = sampled(vlm, prompt, 1, self._seed, sampling)
        return outcome_of(vlm, sample, prompt, ids, options)

    def _ready(self):  # type: ignore[no-untyped-def]
        if getattr(self, "_vlm", None) is None:
            raise StepError("vlm is not set up")
        return self._vlm


def _among(given: SceneGraph, said: SceneGraph | None) -> SceneGraph:
    """What was said about regions of its own, about those given that they stand for."""
    regions, relations = given.all.regions, []
    if said is not None:
        place = {match.first: match.second for match in match_regions(said, given)}
        for row in said.relations.values():
            ends = place.get(row.subject), place.get(row.object)
            if ends[0] is not None and ends[1] is not None:
                relations.append(attrs.evolve(row, subject=ends[0], object=ends[1]))
    return SceneGraph(given.width, given.height, regions, relations)
