"""A training from a snapshot to a checkpoint: what it starts from, what it reads, how it ends."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from sgforge.dataset import Snapshot
from sgforge.durable import write_text
from sgforge.errors import ImageError, StepError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.stages import Checkpoint, Resources, Selection, asked_to_stop
from sgforge_robin.calibration import Calibration, fit_temperature
from sgforge_robin.config import RobinOptions
from sgforge_robin.learnt import Known, TrainedRobin
from sgforge_robin.looking import candidate_pairs, look_at, raw_pair_scores, see_sample
from sgforge_robin.model.checkpoint import build, load_language, load_tower
from sgforge_robin.model.lora import add_adapters
from sgforge_robin.model.shape import ComparingShape, PairShape
from sgforge_robin.sizes import SIZES, Size
from sgforge_robin.text.tasks import Task
from sgforge_robin.tokens import RobinTokenizer
from sgforge_robin.training.examples import ExampleMaker
from sgforge_robin.training.loop import Life, train
from sgforge_robin.training.progress import Progress
from sgforge_robin.training.ranks import Ranks, join
from sgforge_robin.training.stages import STAGES, Stage
from sgforge_robin.training.state import clear
from sgforge_robin.training.stream import PackedStream
from sgforge_robin.training.vocabulary import Vocabulary, learn_vocabulary, sentences

__all__ = ["TrainingSession"]

_DONE: Final = "training.json"
_ASIDE: Final = 20
"""One image in so many is kept aside for the calibration, of a training that has as many; at most `_ASIDE_MOST`."""
_ASIDE_MOST: Final = 32
_ASIDE_PAIRS: Final = 200


@attrs.frozen(eq=False)
class _Images:
    """Images of a snapshot, read one at a time."""

    snapshot: Snapshot
    rows: NDArray[np.int64]
    roots: Roots | None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Sample:
        return self.snapshot.sample(int(self.rows[place]), self.roots)

    def weights(self, by_source: Mapping[str, float]) -> list[float] | None:
        """Each image's weight by its source; None where none is said. A name of no source is a mistake."""
        if not by_source:
            return None
        names, column = self.snapshot.vocabularies.of("source"), np.asarray(self.snapshot.column("image/source"))
        sources = [names[place] if place >= 0 else "" for place in column[self.rows].tolist()]
        if missing := sorted(set(by_source) - set(sources)):
            raise StepError(
                f"source_weights name {', '.join(missing)}; the images are of {', '.join(sorted(set(sources)))}"
            )
        found = [by_source.get(name, 1.0) for name in sources]
        if not any(found):
            raise StepError("source_weights are 0 for all selected images: nothing is left to learn from")
        return found


class TrainingSession:
    """One call of `train`: everything it needs, made once."""

    def __init__(self, options: RobinOptions, out_dir: Path, resources: Resources) -> None:
        self._options = options
        self._out = out_dir
        self._resources = resources
        self._stage = _stage(options)
        self._counts: Counter[str] = Counter()
        self._ranks = Ranks(resources.worker)
        self._is_sharded = options.sharding == "sharded" and resources.worker.world > 1

    def run(self, snapshot_path: Path, selection: Selection) -> Checkpoint:
        """Train, calibrate, save; a training that is done already is found as it was left."""
        snapshot = Snapshot.open(snapshot_path)
        rows = np.asarray(snapshot.rows(selection), np.int64)
        plan = self._plan(snapshot, rows)
        if (metrics := self._finished(plan)) is not None:
            return Checkpoint.of(self._out, metrics)
        join(self._resources.worker, self._resources.device)
        vocabulary = learn_vocabulary(snapshot, rows)
        if not vocabulary.relations:
            raise StepError(
                f"the {len(rows)} selected images hold no kept relation: complete them first, or select others"
            )
        learnt, aside = _divide(rows)
        robin, size = self._start(vocabulary)
        images = _Images(snapshot, learnt, self._resources.roots)
        robin, metrics = self._train(robin, size, images, plan)
        if self._resources.worker.rank:
            return Checkpoint(self._out, "")  # the first one leaves it
        robin.model.to(self._resources.device)
        metrics |= {"images": len(learnt), "relations": vocabulary.relations}
        robin, calibration = self._calibrate(robin, _Images(snapshot, aside, self._resources.roots))
        metrics |= {"temperature": calibration.temperature, "calibration_error": calibration.error_after}
        robin.save(self._out)
        clear(self._out)
        write_text(self._out / _DONE, json.dumps({"plan": plan, "metrics": metrics}, indent=1, sort_keys=True))
        return Checkpoint.of(self._out, metrics)

    def _finished(self, plan: str) -> dict[str, float] | None:
        """The figures of a training of this plan that is done already."""
        try:
            found = json.loads((self._out / _DONE).read_text())
        except (OSError, ValueError):
            return None
        return dict(found["metrics"]) if found["plan"] == plan else None

    def _start(self, vocabulary: Vocabulary) -> tuple[TrainedRobin, Size]:
        """The Robin that training starts from, and its size."""
        torch.manual_seed(self._resources.seed)
        options, base = self._options, self._resources.checkpoint
        size = SIZES[options.preset]
        known = Known(
            labels=vocabulary.labels,
            predicates=vocabulary.predicates,
            categories=vocabulary.categories,
            tasks=tuple(self._stage.tasks) if options.spoken or not options.pair_head else (),
            side=size.side,
            box_text=size.box_text,
        )
        folder = base.path if base is not None else options.checkpoint
        if folder is not None:
            robin = TrainedRobin.load(Path(folder), parity=options.parity)
            known = attrs.evolve(known, side=robin.known.side, box_text=robin.known.box_text)
            robin = self._with_pair_head(robin, known)
            size = attrs.evolve(size, side=robin.known.side, box_text=robin.known.box_text)
        else:
            robin = self._fresh(size, known, vocabulary)
        if self._options.comparing_layer and robin.model.comparing_layer is None:
            robin.model.add_comparing_layer(ComparingShape())
        if self._options.reference_layer and robin.model.reference_layer is None:
            robin.model.add_reference_layer(robin.tokenizer.names)
        if self._options.lora:
            add_adapters(robin.model.language.base_model.layers, self._options.lora)
        if not self._is_sharded:  # a device need not hold all of one that is
            robin.model.to(self._resources.device)
        return attrs.evolve(robin, known=known), size

    def _with_pair_head(self, robin: TrainedRobin, known: Known) -> TrainedRobin:
        """The Robin to go on from, its pair head made anew where the vocabulary is another, or none was there."""
        had = robin.known
        if not self._options.pair_head:
            robin.model.pair_head = None
        elif robin.model.pair_head is None or (had.labels, had.predicates) != (known.labels, known.predicates):
            robin.model.add_pair_head(PairShape(len(known.labels), len(known.predicates)))
        return robin

    def _fresh(self, size: Size, known: Known, vocabulary: Vocabulary) -> TrainedRobin:
        options = self._options
        if options.language is not None:
            tokenizer = RobinTokenizer.extended(options.language)
        elif size.rows:
            tokenizer = RobinTokenizer.trained(sentences(vocabulary), size.rows)
        else:
            raise StepError(
                f"preset {options.preset!r} needs a language model: say language = FOLDER (weights and tokenizer.json)"
                ", or checkpoint = FOLDER to go on from a trained Robin"
            )
        pair = PairShape(len(known.labels), len(known.predicates)) if options.pair_head else None
        model = build(size.shape(len(tokenizer), tokenizer.special, pair), parity=options.parity)
        if options.language is not None:
            load_language(model, options.language)
        if options.tower is not None:
            load_tower(model, options.tower)
        return TrainedRobin(model, tokenizer, known)

    def _train(
        self, robin: TrainedRobin, size: Size, images: _Images, plan: str
    ) -> tuple[TrainedRobin, dict[str, float]]:
        counts, stage = self._counts, self._stage
        maker = ExampleMaker(
            tokenizer=robin.tokenizer,
            size=size,
            stage=stage,
            seed=self._resources.seed,
            left_out=lambda number: counts.update({"branches-too-long": number}),
            vocabulary=None if robin.model.pair_head is None else robin.known.pair_vocabulary,
            spoken=self._options.spoken if robin.model.pair_head is not None else 1.0,
            aspect=robin.model.shape.aspect,
        )
        stream = PackedStream(images, maker, stage.batch, counts, images.weights(self._options.source_weights))
        steps = self._options.steps or stage.epochs * stream.steps_an_epoch()
        weights = sum(value.numel() for value in robin.model.parameters())
        progress = Progress(steps, stream, weights, self._resources)
        with asked_to_stop() as stopped:
            life = Life(
                folder=self._out,
                plan=plan,
                save_every=self._options.save_every,
                report=progress.report,
                is_stopped=stopped.is_set,
                mixed=self._resources.dtype == "bfloat16",
                recomputed=self._options.checkpointing,
                compiled=self._options.compile and self._resources.device.startswith("cuda"),
                sharded=self._is_sharded,
            )
            model = train(robin.model, stream, stage, steps, life, self._ranks)
        counts += self._ranks.counted(stream.unreadable)
        left = {f"left out: {reason}": float(number) for reason, number in sorted(counts.items()) if number}
        metrics = {"steps": steps, "loss": progress.loss, "packing_efficiency": stream.efficiency, **left}
        return attrs.evolve(robin, model=model), metrics

    def _calibrate(self, robin: TrainedRobin, images: _Images) -> tuple[TrainedRobin, Calibration]:
        """Fit the temperature on the images kept aside."""
        known = robin.known
        scores = [np.empty((0, len(known.predicates) + 1))]
        truth = [np.empty((0, len(known.predicates) + 1), np.bool_)]
        for place in range(len(images) if known.knows_pairs else 0):
            try:
                found = _told(robin, images[place])
            except ImageError as error:
                self._counts[error.code] += 1
                continue
            scores.append(found[0])
            truth.append(found[1])
        calibration = fit_temperature(np.concatenate(scores), np.concatenate(truth))
        fitted = attrs.evolve(known, temperature=calibration.temperature)
        return attrs.evolve(robin, known=fitted), calibration

    def _plan(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> str:
        """What must be equal for a training to be gone on with: options, seed, start, images."""
        options = {
            name: str(value) for name, value in attrs.asdict(self._options).items() if name not in _NOT_OF_TRAINING
        }
        for name in ("comparing_layer", "reference_layer"):
            if not getattr(self._options, name):
                del options[name]  # so that states from before there was one are gone on with
        base = self._resources.checkpoint
        parts: dict[str, Any] = {
            "options": options,
            "seed": self._resources.seed,
            "start": None if base is None else base.sha256,
            "images": hashlib.sha256(np.asarray(snapshot.keys)[rows].tobytes()).hexdigest(),
        }
        return json.dumps(parts, sort_keys=True)


_NOT_OF_TRAINING: Final = (
    *("save_every", "mode", "constrained", "temperature", "max_tokens", "relations_per_subject", "min_score"),
    *("max_pairs", "ranker", "predicates", "labels", "checkpointing", "compile", "sharding"),
)


def _stage(options: RobinOptions) -> Stage:
    """The stage with what the options change."""
    stage = STAGES[options.stage]
    return attrs.evolve(
        stage,
        rates={name: rate * options.rate for name, rate in stage.rates.items()},
        batch=options.images or stage.batch,
        capacity=options.capacity or stage.capacity,
        tasks=tuple(map(Task, options.tasks)) or stage.tasks,
    )


def _divide(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from, and rows kept aside for the calibration."""
    step = max(_ASIDE, len(rows) // _ASIDE_MOST)
    aside = np.zeros(len(rows), np.bool_)
    aside[step - 1 :: step] = True
    return rows[~aside], rows[aside][:_ASIDE_MOST]


def _told(robin: TrainedRobin, sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of some pairs of an image, and which predicates (or none of them, last) are true of each."""
    look = look_at(robin, see_sample(robin, sample))
    regions = [sample.graph.regions[index] for index in look.indices]
    pairs = candidate_pairs(regions, _ASIDE_PAIRS)
    column = {predicate: place for place, predicate in enumerate(robin.known.predicates)}
    row_of = {(look.indices[a], look.indices[b]): row for row, (a, b) in enumerate(pairs)}
    truth = np.zeros((len(pairs), len(column) + 1), np.bool_)
    for relation in sample.graph.relations.values():
        row = row_of.get((relation.subject, relation.object))
        if row is not None and relation.predicate in column:
            truth[row, column[relation.predicate]] = True
    truth[:, -1] = ~truth.any(axis=1)
    numbers = [(a + 1, b + 1) for a, b in pairs]
    return raw_pair_scores(robin, look, numbers, robin.known.predicates), truth
