"""Student `robin`: a language model that sees an image and its regions, and says how they relate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, cast

import attrs
import numpy as np

from sgforge.edits import Edit
from sgforge.errors import ImageError, StepError
from sgforge.graph import Category, Region, Relation, Sample
from sgforge.stages import Answer, Checkpoint, Failure, Ranking, Resources, Selection
from sgforge.stages.policies import Policy
from sgforge.text.wording import counted
from sgforge_robin.answers import Told, answers_about, sampling_of
from sgforge_robin.config import RobinOptions
from sgforge_robin.decoding.grammar import Spellings
from sgforge_robin.detection import Found, find_objects
from sgforge_robin.learnt import TrainedRobin, read_lines
from sgforge_robin.looking import (
    Look,
    Seen,
    candidate_pairs,
    judged_pairs,
    look_at,
    pair_probabilities,
    score_labels,
    see_sample,
)
from sgforge_robin.questions import Prompted, answer_prompts
from sgforge_robin.regions import MOST_REGIONS

__all__ = ["RobinStudent"]

_NOT_SHOWN: Final = "region-not-shown"
_NOTHING_SAID: Final = "no-relation"


class CannotRankError(StepError):
    """A checkpoint lacks what ranking needs: so it does for every image, and none more is asked about."""

    stops_run = True


class RobinStudent:
    """Trains on a snapshot; generates relations in words; ranks a closed vocabulary by the words' probabilities.

    It is shown at most 99 regions of an image, the largest. Regions without a label get one in its own words.
    """

    def __init__(self, options: RobinOptions) -> None:
        self.options = options
        self._robin: TrainedRobin | None = None
        self._spellings: Spellings | None = None
        self._seed = 0

    def setup(self, resources: Resources) -> None:
        """Load the weights: the step's, else those of the option `checkpoint`."""
        folder = resources.checkpoint.path if resources.checkpoint is not None else self.options.checkpoint
        self._seed = resources.seed
        if folder is None:
            return
        robin = TrainedRobin.load(Path(folder), resources.dtype, self.options.parity)
        robin.model.to(resources.device)
        given = {
            name: read_lines(path)
            for name, path in (("labels", self.options.labels), ("predicates", self.options.predicates))
            if path is not None
        }
        if given and self.options.ranker == "pair-head":
            raise StepError("a pair head ranks the vocabulary of its training: leave out predicates and labels")
        self._robin = attrs.evolve(robin, known=attrs.evolve(robin.known, **given))
        self._spellings = Spellings(robin.tokenizer, robin.model.table.num_embeddings)

    @staticmethod
    def notes(counts: Mapping[str, int]) -> list[str]:
        """Remarks on regions that were not shown, and on images of which no relation was said."""
        hidden, silent = counts.get(_NOT_SHOWN, 0), counts.get(_NOTHING_SAID, 0)
        told = []
        if hidden:
            told.append(f"{counted(hidden, 'region')} not shown: of an image the largest {MOST_REGIONS} are")
        if silent:
            told.append(f"no relation was said of {counted(silent, 'image')}; a Robin that has learnt little says few")
        return told

    def close(self) -> None:
        """Let go of the weights."""
        self._robin = self._spellings = None

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """Learn from the kept rows of the selected images; one without any relation is a `StepError`."""
        from sgforge_robin.training.session import TrainingSession

        return TrainingSession(self.options, out_dir, resources).run(snapshot_path, selection)

    def policy(self, resources: Resources, /) -> Policy:
        """Samples answers about subjects, without a grammar, and learns from them; see `RobinPolicy`."""
        from sgforge_robin.policy import RobinPolicy

        return RobinPolicy.of(self.options, resources)

    def generate(self, samples: Sequence[Sample], /) -> list[Answer]:
        """At most `relations_per_subject` new relations of each region, the likeliest first; labels where none were.

        All subjects of all these images are asked as one batch, each image encoded once. With `mode = "detect"` images
        without regions get some, with boxes, labels, attributes, and relations between them.
        """
        robin, spellings = self._ready()
        if self.options.mode == "detect":
            bare = [place for place, sample in enumerate(samples) if not sample.graph.regions]
            if bare:
                return self._mixed(samples, set(bare))
        looks: list[Look | Failure] = [
            _attempt(lambda one: look_at(robin, see_sample(robin, one)), sample) for sample in samples
        ]
        seen = [look for look in looks if isinstance(look, Look) and look.indices]
        said = iter(answers_about(robin, spellings, seen, self.options, self._seed))
        return [
            look if isinstance(look, Failure) else self._edit(look, next(said)) if look.indices else Edit()
            for look in looks
        ]

    def _mixed(self, samples: Sequence[Sample], bare: set[int]) -> list[Answer]:
        """Answers where some images have no region: these first, then the others as ever."""
        found = iter(self._found([sample for place, sample in enumerate(samples) if place in bare]))
        others = [sample for place, sample in enumerate(samples) if place not in bare]
        told = iter(self.generate(others) if others else [])
        answers: list[Answer] = []
        for place, sample in enumerate(samples):
            one = next(found if place in bare else told)
            answers.append(self._added(sample, one) if isinstance(one, Found) else one)
        return answers

    def _found(self, samples: Sequence[Sample]) -> list[Found | Failure]:
        """What is found in images without regions, those that can be read as one batch."""
        robin, _ = self._ready()
        read = [_attempt(_opened, sample) for sample in samples]
        sampling = sampling_of(robin, self.options, self._seed, whole=True)
        found = iter(find_objects(robin, [one for one in read if isinstance(one, Sample)], sampling))
        return [next(found) if isinstance(one, Sample) else one for one in read]

    def _added(self, sample: Sample, found: Found) -> Edit:
        """What was found as an edit; its regions come after those that were rejected before."""
        first = len(sample.graph.all.regions)
        relations = [
            self._relation(first + a, word, first + b, score)
            for (a, word, b), score in sorted(found.relations.items(), key=lambda item: -item[1])
            if score >= self.options.min_score
        ]
        faults = {**found.faults, **_silence(len(found.regions), found.relations)}
        return Edit(regions=found.regions, relations=relations, faults=faults)

    def answer(self, prompts: Sequence[Prompted], /) -> list[str | Failure]:
        """Answers to free questions about whole pictures, as evaluations of question answering ask them."""
        robin, _ = self._ready()
        return answer_prompts(robin, prompts, sampling_of(robin, self.options, self._seed, whole=False))

    def rank(self, samples: Sequence[Sample], /) -> list[Ranking | Failure]:
        """Every candidate pair of the regions shown, with the probability of every predicate of the vocabulary.

        A checkpoint that brings no vocabulary, or not the ranker that is asked for, is an error that ends the run.
        """
        self._check_ranker()
        return [_attempt(self._rank, sample) for sample in samples]

    def _check_ranker(self) -> None:
        robin, _ = self._ready()
        if self.options.ranker == "pair-head":
            if robin.model.pair_head is None:
                raise CannotRankError(
                    'this checkpoint has no pair head: train with pair_head = true, or say ranker = "language"'
                )
        elif not robin.known.predicates:
            raise CannotRankError(
                "this checkpoint brings no closed vocabulary to rank (no robin.json): say predicates = FILE, one a line"
            )

    def _rank(self, sample: Sample) -> Ranking:
        robin, _ = self._ready()
        predicates = robin.known.predicates
        if self.options.mode == "detect" and not sample.graph.regions:
            (found,) = self._found([sample])
            if isinstance(found, Failure):
                raise ImageError(found.detail, found.reason)
            sample = found.within(sample)
        regions = dict(sample.graph.regions)
        places = {index: place for place, index in enumerate(regions)}
        seen = see_sample(robin, sample)
        regions.update(self._labelled(seen))
        shown = [regions[index] for index in seen.indices]
        pairs = candidate_pairs(shown, self.options.max_pairs)
        numbers = [(a + 1, b + 1) for a, b in pairs]
        if self.options.ranker == "pair-head":
            scores = judged_pairs(robin, seen, numbers, [region.label for region in shown])
        else:
            look = look_at(robin, seen, [region.label or "" for region in shown])
            scores = pair_probabilities(robin, look, numbers, predicates)
        rows = [(places[seen.indices[a]], places[seen.indices[b]]) for a, b in pairs]
        return Ranking(
            tuple(regions.values()),
            np.array(rows, np.int32).reshape(-1, 2),
            predicates,
            scores.clip(0, 1).astype(np.float32),
        )

    def _labelled(self, seen: Seen) -> dict[int, Region]:
        """Where no region shown has a label: each with the likeliest of the vocabulary, and that one's probability."""
        robin, _ = self._ready()
        if not seen.indices or not robin.known.labels or any(region.label for region in seen.rows):
            return {}
        found = score_labels(robin, look_at(robin, seen), range(len(seen.indices)), robin.known.labels)
        labelled = {}
        for place, (index, region) in enumerate(zip(seen.indices, seen.rows, strict=True)):
            best = int(found[place].argmax())
            score = min(float(found[place, best]), 1.0) * (1.0 if region.score is None else region.score)
            labelled[index] = attrs.evolve(region, label=robin.known.labels[best], score=score)
        return labelled

    def _edit(self, look: Look, said: Told) -> Edit:
        """The answers about one image as an edit: what the graph has already, rejected or not, is not said again."""
        had = {relation.triplet for relation in look.sample.graph.all.relations}
        left = dict.fromkeys(look.indices, self.options.relations_per_subject)
        added: list[Relation] = []
        for one in sorted(said.relations, key=lambda one: -one.score):
            subject, object_ = look.indices[one.subject - 1], look.indices[one.object - 1]
            if (subject, one.predicate, object_) in had or not left[subject]:
                continue
            if one.score < self.options.min_score:
                continue
            added.append(self._relation(subject, one.predicate, object_, one.score))
            left[subject] -= 1
        labels = [
            Edit.set("region", look.indices[number - 1], label=one.label, score=one.score)
            for number, one in said.labels.items()
        ]
        hidden = len(look.sample.graph.regions) - len(look.indices)
        faults = {**said.faults, **_silence(len(look.indices), said.relations)}
        if hidden:
            faults[_NOT_SHOWN] = hidden
        return Edit.sum([Edit(relations=added, faults=faults), *labels])

    def _relation(self, subject: int, predicate: str, object_: int, score: float) -> Relation:
        """A relation with the category that its predicate had in the training."""
        robin, _ = self._ready()
        categories = dict(zip(robin.known.predicates, robin.known.categories, strict=False))
        category = cast(Category, categories.get(predicate, "unknown"))
        return Relation(subject=subject, predicate=predicate, object=object_, category=category, score=score)

    def _ready(self) -> tuple[TrainedRobin, Spellings]:
        if self._robin is None or self._spellings is None:
            raise StepError("robin has no weights: put a train step before it, or give it a checkpoint = PATH")
        return self._robin, self._spellings


_T = TypeVar("_T")


def _silence(regions: int, relations: Collection[object]) -> dict[str, int]:
    """One image counted, where regions could relate and nothing was said of it."""
    return {_NOTHING_SAID: 1} if regions > 1 and not relations else {}


def _opened(sample: Sample) -> Sample:
    """The sample, if its picture can be read."""
    if sample.image is None:
        raise ImageError(f"{sample.image_id} has no image: a Robin looks at pixels", "image-missing")
    sample.image.array()
    return sample


def _attempt(answer: Callable[[Sample], _T], sample: Sample) -> _T | Failure:
    """The answer, or the failure of an image that cannot be read."""
    try:
        return answer(sample)
    except ImageError as error:
        return Failure(error.code, str(error))
