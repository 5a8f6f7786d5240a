"""A vision-language model as a policy: whole answers about an image, and their log-probabilities with gradient."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

import attrs
import torch
from torch import Tensor

from sgforge.errors import ImageError, StepError
from sgforge.graph import Sample, SceneGraph
from sgforge.stages import Outcome, Resources
from sgforge.stages.policies import Policy, Rollout
from sgforge_grpo.config import VlmOptions
from sgforge_grpo.refining.ranks import Ranks, share_gradients
from sgforge_grpo.vlm.asking import Prompt, Sampling, answer_logits, ask, logprobs_of, sampled
from sgforge_grpo.vlm.loading import Vlm
from sgforge_grpo.vlm.prompts import read_graph, read_relations
from sgforge_grpo.vlm.shares import Row, Shares

__all__ = ["VlmPolicy", "outcome_of"]


class VlmPolicy:
    """One question an image. Draws at the options' temperature (1 where that is 0) and top-p.

    With several ranks each holds all of the model, or with `sharding = "sharded"` a share; gradients are the mean over
    them after each backward pass. `shares`: where the model of `vlm` has its weights only while they are gathered.
    """

    def __init__(self, vlm: Vlm, options: VlmOptions, resources: Resources, shares: Shares | None = None) -> None:
        self._vlm = vlm
        self._shares = shares
        self._then: tuple[Tensor, ...] = ()
        self._options = options
        self._rank = resources.worker.rank
        self._sampling = Sampling(limit=options.max_tokens, temperature=options.temperature or 1.0, top_p=options.top_p)
        self._learns = True

    @classmethod
    def of(cls, options: VlmOptions, resources: Resources, folder: Path | None) -> Self:
        """The policy of weights, ready to learn."""
        join(resources)
        is_sharded = options.sharding == "sharded" and resources.worker.world > 1
        # A device need not hold all of one that is in shares.
        vlm = Vlm.load(options, folder, "cpu" if is_sharded else resources.device, resources.dtype)
        if options.lora:
            torch.manual_seed(resources.seed)
            vlm = vlm.with_adapters(options.lora)
        if is_sharded:
            shares = Shares(vlm.model, Ranks(resources.worker), vlm.end)
            shares.plain.to(resources.device)
            return cls(attrs.evolve(vlm, model=shares.plain), options, resources, shares)
        policy = cls(vlm, options, resources)
        if resources.worker.world > 1:
            share_gradients(policy.parameters())
        return policy

    @property
    def vlm(self) -> Vlm:
        """The model."""
        return self._vlm

    def parameters(self) -> Iterator[Tensor]:
        """What learns, in the model's order; in shares each is a DTensor."""
        return (value for _, value in self._learning())

    def rollouts(self, samples: Sequence[Sample], /, group: int, seed: int) -> list[Rollout]:
        """`group` answers about each image that can be read."""
        with self._gathered():
            return self._rollouts(samples, group, seed)

    def _rollouts(self, samples: Sequence[Sample], group: int, seed: int) -> list[Rollout]:
        found: list[Rollout] = []
        number = 0
        for sample in samples:
            prompt = self.prompt(sample)
            if prompt is None:
                continue
            answers = sampled(self._vlm, prompt, group, _dice(seed, sample.image_id), self._sampling)
            for ids, (values, nuclei) in zip(answers, self._drawn(prompt, answers), strict=True):
                found.append(
                    Rollout(
                        sample=sample,
                        tokens=tuple(ids),
                        logprobs=tuple(map(float, values.tolist())),
                        outcome=outcome_of(self._vlm, sample, prompt, ids, self._options),
                        group=number,
                        memo=nuclei,
                    )
                )
            number += 1
        return found

    def prompt(self, sample: Sample) -> Prompt | None:
        """The question about an image; None where there is nothing to ask or to see."""
        if sample.image is None or (self._options.task == "relations" and len(sample.graph.regions) < 2):
            return None
        try:
            return ask(self._vlm, sample, self._options)
        except ImageError:
            return None

    @torch.no_grad()
    def _drawn(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> Iterator[tuple[Tensor, Any]]:
        """Log-probabilities of answers as learning will compute them, and the tokens that could be drawn."""
        for part in _parts(answers, self._options.answers_at_once):
            logits = answer_logits(self._vlm, prompt, part)
            for row, ids in zip(logits, part, strict=True):
                yield logprobs_of(self._vlm, row, ids, self._sampling)

    def logprobs(self, rollouts: Sequence[Rollout], /) -> list[Tensor]:
        """One tensor (T,) float32 a rollout; those of one image go through the model together."""
        by_sample: dict[int, list[int]] = {}
        for place, one in enumerate(rollouts):
            by_sample.setdefault(id(one.sample), []).append(place)
        parts = [
            (prompt, part)
            for places in by_sample.values()
            for prompt in [ask(self._vlm, rollouts[places[0]].sample, self._options)]
            for part in _parts(places, self._options.answers_at_once)
        ]
        rows = [partial(self._part, prompt, [rollouts[place] for place in part]) for prompt, part in parts]
        if torch.is_grad_enabled() and self._learns:
            values = self.learnt(rows)
        else:
            with torch.no_grad(), self._gathered():
                values = [row(self._vlm.model) for row in rows]
        found: dict[int, Tensor] = {}
        for (_, part), own in zip(parts, values, strict=True):
            found.update(zip(part, own.split([len(rollouts[place].tokens) for place in part]), strict=True))
        return [found[place] for place in range(len(rollouts))]

    def _part(self, prompt: Prompt, rollouts: Sequence[Rollout], model: Any) -> Tensor:
        """Log-probabilities (K,) of answers to one prompt, one behind another."""
        vlm = attrs.evolve(self._vlm, model=model)
        logits = answer_logits(vlm, prompt, [one.tokens for one in rollouts])
        return torch.cat(
            [
                logprobs_of(vlm, row, one.tokens, self._sampling, one.memo or None)[0]
                for row, one in zip(logits, rollouts, strict=True)
            ]
        )

    def learnt(self, rows: Sequence[Row], /) -> list[Tensor]:
        """What each pass through the model finds, with gradient; all ranks call, each with passes of its own."""
        return [row(self._vlm.model) for row in rows] if self._shares is None else self._shares.learnt(rows)

    def _gathered(self) -> AbstractContextManager[Any]:
        """The model has all weights, for passes without gradient; all ranks enter together."""
        return nullcontext() if self._shares is None else self._shares.gathered(self._then)

    def _learning(self) -> Iterator[tuple[str, Tensor]]:
        named = self._vlm.model.named_parameters() if self._shares is None else self._shares.held()
        return ((name, value) for name, value in named if value.requires_grad)

    def reference(self) -> Policy:
        """A copy of what learns; it shares what does not, as no step changes that."""
        made = copy.copy(self)
        made._learns = False
        if self._shares is not None:
            made._then = self._shares.frozen()
            return made
        shared: dict[int, Any] = {id(one): one for one in self._vlm.model.parameters() if not one.requires_grad}
        model = copy.deepcopy(self._vlm.model, shared).requires_grad_(False)
        made._vlm = attrs.evolve(self._vlm, model=model)
        return made

    def state_dict(self) -> Mapping[str, Any]:
        """What learns, by name; the rest is the checkpoint's."""
        return {name: value.detach() for name, value in self._learning()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take up all that learns."""
        own = dict(self.state_dict())
        if own.keys() != state.keys():
            raise StepError("the state is of another policy: delete it to refine again")
        for name, value in state.items():
            own[name].copy_(value)

    def save(self, folder: Path, /) -> None:
        """Model and processor, as `from_pretrained` reads them."""
        with self._gathered():
            if self._rank == 0:
                self._vlm.save(folder)


def outcome_of(vlm: Vlm, sample: Sample, prompt: Prompt, ids: Sequence[int], options: VlmOptions) -> Outcome:
    """What an answer says: relations between the regions shown, or a graph with regions of its own."""
    text = vlm.processor.tokenizer.decode(ids, skip_special_tokens=True)
    ended = bool(ids) and ids[-1] == vlm.end
    if options.task == "graph":
        graph, faults = read_graph(text, prompt.question)
    else:
        relations, faults = read_relations(text, prompt.question)
        rows = sample.graph
        graph = SceneGraph(rows.width, rows.height, rows.all.regions, relations, attributes=rows.attributes)
    return Outcome(graph, text=text, faults=tuple(faults if ended else [*faults, "truncated"]))


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


def _dice(seed: int, image_id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{image_id}".encode()).digest()[:6], "little")


def join(resources: Resources) -> None:
    """Be one of the ranks of a process group; alone, do nothing."""
    from torch import distributed

    if resources.worker.world > 1 and not distributed.is_initialized():
        on_cuda = resources.device.startswith("cuda")
        if on_cuda:
            torch.cuda.set_device(resources.device)
        distributed.init_process_group("nccl" if on_cuda else "gloo")
