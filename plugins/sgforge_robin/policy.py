"""A Robin as a policy: answers about subjects, sampled, and the log-probabilities of exactly these with gradient."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import attrs
import torch
from torch import Tensor

from sgforge.errors import ImageError, StepError
from sgforge.graph import Relation, Sample, SceneGraph
from sgforge.stages import Resources
from sgforge.stages.policies import Policy, Rollout
from sgforge.stages.rewards import Outcome
from sgforge_robin.answers import sampling_of
from sgforge_robin.config import RobinOptions
from sgforge_robin.decoding.decode import Ask, Said, decode
from sgforge_robin.decoding.spoken import spoken_scores
from sgforge_robin.encoding import Branch, Example, ask_ids, prefix_ids
from sgforge_robin.holding import Held, InShares, Whole
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.looking import look_at, prefix_text, see_sample
from sgforge_robin.model.attention import Prefix
from sgforge_robin.model.lora import add_adapters
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import IGNORED
from sgforge_robin.pixels import image_tensor
from sgforge_robin.regions import masks_of, salient
from sgforge_robin.text.graphs import parse_graph, parse_relations
from sgforge_robin.text.tasks import ask_graph, ask_relations
from sgforge_robin.training.forward import See, in_pieces, learnt_states, logprobs_of
from sgforge_robin.training.optimizer import freeze
from sgforge_robin.training.packing import pack
from sgforge_robin.training.ranks import Ranks, join, share_gradients
from sgforge_robin.training.stages import STAGES, Stage

__all__ = ["RobinPolicy"]

_ROWS: Final = 512
"""Answers that are decoded at once, or those about one image where these are more."""


@attrs.frozen(eq=False)
class _Question:
    """One question of an image: `sample` the image's place in the call, `number` of the region, 0 for the whole."""

    sample: int
    number: int
    ids: list[int]


_Row: TypeAlias = list[tuple[Example, list[int]]]
"""A packed row: its examples, each with the places of its rollouts."""


class RobinPolicy:
    """The policy of a Robin: one question a subject, or one an image with `mode = "full-graph"`; no grammar.

    It draws at the option `temperature`, at 1 where that is 0. What learns is what the option `stage` lets learn. With
    several ranks every one holds all of the model, or with `sharding = "sharded"` a share; gradients are the mean over
    them after each backward pass. `dtype` "bfloat16" computes in it over weights in float32, gathered ones too, since
    steps of a policy are small.
    """

    def __init__(
        self, robin: TrainedRobin, options: RobinOptions, resources: Resources, held: Held | None = None
    ) -> None:
        self._held = held or Whole(robin.model)
        self._held.model.eval()  # while it is in training mode, and activations are computed again, no cache is kept
        self._robin = attrs.evolve(robin, model=self._held.model)
        self._options = options
        self._device = torch.device(resources.device)
        self._mixed = resources.dtype == "bfloat16"
        self._rank = resources.worker.rank
        self._stage: Stage = STAGES[options.stage]
        self._temperature = options.temperature or 1.0
        self._banned = torch.tensor(robin.tokenizer.unspeakable, dtype=torch.long, device=self._device)
        self._learns = True

    @classmethod
    def of(cls, options: RobinOptions, resources: Resources) -> Self:
        """The policy of the weights in `resources.checkpoint`, else of the option `checkpoint`."""
        folder = resources.checkpoint.path if resources.checkpoint is not None else options.checkpoint
        if folder is None:
            raise StepError("robin has no weights: put a train step before the refine step, or say checkpoint = PATH")
        join(resources.worker, resources.device)
        robin = TrainedRobin.load(Path(folder), parity=options.parity)
        ranks = Ranks(resources.worker)
        is_sharded = options.sharding == "sharded" and ranks.worker.world > 1
        if not is_sharded:  # a device need not hold all of one that is
            robin.model.to(resources.device)
        if options.lora:
            torch.manual_seed(resources.seed)
            add_adapters(robin.model.language.base_model.layers, options.lora)
        _ready(robin.model, options)
        if is_sharded:
            return cls(robin, options, resources, InShares.of(robin.model, ranks, resources.device))
        policy = cls(robin, options, resources)
        if ranks.worker.world > 1:
            share_gradients(policy.parameters())
        return policy

    def parameters(self) -> Iterator[Tensor]:
        """What learns, in the model's order; in shares each is a DTensor."""
        return (value for _, value in self._held.learning())

    def rollouts(self, samples: Sequence[Sample], /, group: int, seed: int) -> list[Rollout]:
        """`group` answers to each question; images that cannot be read, and those of one region, have none."""
        asked: list[tuple[_Question, Said]] = []
        with torch.no_grad(), self._held.gathered() as model:
            for part in self._parts(samples, group):
                asked += self._answered(samples, part, group, seed)
            drawn = [
                self._rollout(samples[question.sample], question.number, said, place // group)
                for place, (question, said) in enumerate(asked)
            ]
            rows = self._rows(drawn)
            now = _in_order(drawn, rows, [self._row(drawn, row, model) for row in rows])
        # Decoding adds in another order; what counts is what the same weights give where they will be learnt from.
        return [
            attrs.evolve(one, logprobs=tuple(map(float, own.tolist()))) for one, own in zip(drawn, now, strict=True)
        ]

    def logprobs(self, rollouts: Sequence[Rollout], /) -> list[Tensor]:
        """One tensor (T,) float32 a rollout, under the temperature and without the tokens that are never drawn."""
        rows = self._rows(rollouts)
        if torch.is_grad_enabled() and self._learns:
            return _in_order(rollouts, rows, self._held.learnt([partial(self._row, rollouts, row) for row in rows]))
        with torch.no_grad(), self._held.gathered() as model:
            return _in_order(rollouts, rows, [self._row(rollouts, row, model) for row in rows])

    def reference(self) -> Policy:
        """A copy of what learns; it shares what does not, as no step changes that."""
        made = copy.copy(self)
        made._held = self._held.frozen()
        made._robin = attrs.evolve(self._robin, model=made._held.model)
        made._learns = False
        return made

    def state_dict(self) -> Mapping[str, Any]:
        """What learns, by name; the rest is the checkpoint's."""
        return {name: value.detach() for name, value in self._held.learning()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take up all that learns; a state of another model is a `StepError`."""
        own = dict(self.state_dict())
        if own.keys() != state.keys() or any(own[name].shape != value.shape for name, value in state.items()):
            raise StepError("the state is of another policy: delete it to refine again")
        for name, value in state.items():
            own[name].copy_(value)

    def save(self, folder: Path, /) -> None:
        """Write a checkpoint as a training does."""
        with self._held.gathered() as model:
            if self._rank == 0:
                attrs.evolve(self._robin, model=model).save(folder)

    def _parts(self, samples: Sequence[Sample], group: int) -> Iterator[list[int]]:
        """Places of samples that are decoded together."""
        part: list[int] = []
        rows = 0
        for place, sample in enumerate(samples):
            more = group * (1 if self._options.mode == "full-graph" else len(salient(sample)))
            if part and rows + more > _ROWS:
                yield part
                part, rows = [], 0
            part.append(place)
            rows += more
        if part:
            yield part

    @torch.no_grad()
    def _answered(
        self, samples: Sequence[Sample], places: Sequence[int], group: int, seed: int
    ) -> list[tuple[_Question, Said]]:
        """Every question about these samples with each of its answers."""
        asked: list[_Question] = []
        asks: list[Ask] = []
        prefixes: list[Prefix] = []
        for place in places:
            questions = self._questions(samples[place], place)
            try:
                with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
                    look = look_at(self._robin, see_sample(self._robin, samples[place])) if questions else None
            except ImageError:
                continue
            if look is None:
                continue
            for question in questions:
                key = f"{samples[place].image_id}/{question.number}"
                asks += [Ask(len(prefixes), question.ids, f"{key}/{one}") for one in range(group)]
                asked += [question] * group
            prefixes.append(look.prefix)
        options = attrs.evolve(self._options, temperature=self._temperature)
        sampling = sampling_of(self._robin, options, seed, whole=options.mode == "full-graph")
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
            said = decode(self._robin.model, prefixes, asks, sampling)
        return list(zip(asked, said, strict=True))

    def _questions(self, sample: Sample, place: int) -> list[_Question]:
        count = len(salient(sample))
        if count < 2 or sample.image is None:
            return []
        if self._options.mode == "full-graph":
            return [_Question(place, 0, self._question_ids(0))]
        return [_Question(place, number, self._question_ids(number)) for number in range(1, count + 1)]

    def _question_ids(self, number: int) -> list[int]:
        turn = ask_relations(number) if number else ask_graph()
        return ask_ids(self._robin.tokenizer, turn.question)

    def _rollout(self, sample: Sample, number: int, said: Said, group: int) -> Rollout:
        tokens = (*said.ids, *([self._robin.tokenizer.end] if said.ended else []))
        return Rollout(
            sample=sample,
            part=salient(sample)[number - 1] if number else None,
            tokens=tokens,
            logprobs=(0.0,) * len(tokens),
            outcome=_outcome(self._robin, sample, number, said),
            group=group,
        )

    def _rows(self, rollouts: Sequence[Rollout]) -> list[_Row]:
        """The rollouts as packed rows."""
        examples = [one for places in _by_sample(rollouts) for one in self._examples(rollouts, places)]
        if not examples:
            return []
        lengths = [example.total for example, _ in examples]
        return [[examples[place] for place in row] for row in pack(lengths, max([self._stage.capacity, *lengths]))]

    def _examples(self, rollouts: Sequence[Rollout], places: Sequence[int]) -> Iterator[tuple[Example, list[int]]]:
        """The rollouts at these places, all of one sample, as examples that fit a row, each with its places."""
        sample = rollouts[places[0]].sample
        assert sample.image is not None
        robin, shown = self._robin, salient(sample)
        rows = [sample.graph.regions[index] for index in shown]
        prefix = prefix_ids(robin.tokenizer, prefix_text(robin, sample, rows))
        whole = Example(
            image_id=sample.image_id,
            pixels=image_tensor(sample.image.array(), robin.known.side, robin.model.shape.aspect),
            masks=masks_of(sample, rows),
            prefix=prefix,
            length=len(prefix) - 1 + (robin.known.side // 16) ** 2,
            branches=(),
        )
        branches = [self._branch(rollouts[place], shown) for place in places]
        room = max([self._stage.capacity - whole.length, *(len(one.ids) for one in branches)])
        for part in pack([len(one.ids) for one in branches], room):
            kept = sorted(part)
            yield attrs.evolve(whole, branches=tuple(branches[one] for one in kept)), [places[one] for one in kept]

    def _branch(self, rollout: Rollout, shown: Sequence[int]) -> Branch:
        asked = self._question_ids(0 if rollout.part is None else shown.index(rollout.part) + 1)
        return Branch([*asked, *rollout.tokens], [IGNORED] * len(asked) + list(rollout.tokens))

    def _row(self, rollouts: Sequence[Rollout], row: _Row, model: RobinModel) -> Tensor:
        """Log-probabilities (K,) of the rollouts in a packed row, one behind another."""
        examples = [example for example, _ in row]
        # In training mode activations may be computed again, and a cache may not be used.
        model.language.train(self._options.checkpointing and torch.is_grad_enabled())
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
            learnt = learnt_states(model, examples, range(len(examples)), See(model, examples))
            assert learnt is not None
            pieces = in_pieces(
                model, learnt, lambda logits, aims: logprobs_of(logits, aims, self._temperature, self._banned)
            )
        model.language.eval()
        return torch.cat(pieces)


def _ready(model: RobinModel, options: RobinOptions) -> None:
    """Freeze what does not learn, and switch dropout off."""
    freeze(model, STAGES[options.stage])
    if model.pair_head is not None:
        model.pair_head.requires_grad_(False)  # no answer passes through it
    if options.checkpointing:
        model.recompute_activations()
    model.drop_nothing()
    model.eval()


def _in_order(rollouts: Sequence[Rollout], rows: Sequence[_Row], found: Sequence[Tensor]) -> list[Tensor]:
    """What was found of packed rows, rollout by rollout."""
    own: dict[int, Tensor] = {}
    for row, values in zip(rows, found, strict=True):
        places = [place for _, some in row for place in some]
        own.update(zip(places, values.split([len(rollouts[place].tokens) for place in places]), strict=True))
    return [own[place] for place in range(len(rollouts))]


def _by_sample(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """Places of rollouts, together where they are about one sample."""
    found: dict[int, list[int]] = {}
    for place, rollout in enumerate(rollouts):
        found.setdefault(id(rollout.sample), []).append(place)
    return list(found.values())


def _outcome(robin: TrainedRobin, sample: Sample, number: int, said: Said) -> Outcome:
    """What an answer says: all the regions of the sample, and those relations alone that were said."""
    text, shown, graph = robin.tokenizer.text(said.ids), salient(sample), sample.graph
    read = (
        parse_relations(text, number, len(shown), truncated=not said.ended)
        if number
        else parse_graph(text, truncated=not said.ended)
    )
    scores = spoken_scores(robin.tokenizer, said) if number else {}
    faults = Counter(read.dropped)
    relations = []
    for one in read.relations:
        if max(one.subject, one.object) > len(shown):
            faults["unknown-region"] += 1
            continue
        score = scores.get((one.object, one.predicate), said.probability)
        relations.append(Relation(shown[one.subject - 1], one.predicate, shown[one.object - 1], score=score))
    if not said.ended:
        faults["truncated"] = 1
    made = SceneGraph(graph.width, graph.height, graph.all.regions, relations, attributes=graph.attributes)
    return Outcome(graph=made, text=text, faults=tuple(sorted(faults.elements())))
