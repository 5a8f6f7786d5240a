"""The loop that all refiners share: draw answers, score them, learn from them, keep the state, tell how it goes."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch

from sgforge.dataset import Snapshot
from sgforge.durable import write_text
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.stages import Checkpoint, Credit, Resources, Selection, asked_to_stop
from sgforge.stages.policies import Policy, Rollout
from sgforge_grpo.config import RefineOptions
from sgforge_grpo.refining.drawing import Critic, Group, asked_of, draw, is_final, spreads
from sgforge_grpo.refining.life import States
from sgforge_grpo.refining.methods import Lesson, Method
from sgforge_grpo.refining.ranks import Ranks
from sgforge_grpo.refining.rollout_file import RolloutFile, rows_of
from sgforge_grpo.refining.shares import as_number, go_back_from_nothing

__all__ = ["Refinement"]

_WEIGHTS: Final = "weights"
_DONE: Final = "refined.json"
_SILENT: Final = 3
"""Steps in a row without an answer after which it stops."""


class Refinement:
    """One call of `refine`."""

    def __init__(self, options: RefineOptions, method: Method, out_dir: Path, resources: Resources) -> None:
        self._options = options
        self._method = method
        self._out = out_dir
        self._resources = resources
        self._ranks = Ranks(resources.worker)
        self._critic = Critic(resources, options.warm_rewards)
        self._silent = 0
        self._outside = 0.0

    def run(self, snapshot_path: Path, selection: Selection) -> Checkpoint:
        """Refine, or go on; one that is done already is found as it was left."""
        snapshot = Snapshot.open(snapshot_path)
        rows = np.asarray(snapshot.rows(selection), np.int64)
        if not len(rows):
            raise StepError("no image is selected to refine with: say on = {split = ...}")
        plan = self._plan(snapshot, rows)
        weights = self._out / _WEIGHTS
        if self._is_done(plan):
            return self._checkpoint(weights)
        assert self._resources.student is not None
        self._asked = asked_of(self._resources.student)
        policy = self._resources.student.policy(self._resources)
        # Before a state is taken up: the distance is from where the refinement began.
        reference = policy.reference() if self._method.needs_reference else None
        on_cuda = self._resources.device.startswith("cuda")
        optimizer = torch.optim.AdamW(policy.parameters(), lr=self._options.rate, weight_decay=0.0, fused=on_cuda)
        states = States(folder=self._out, plan=plan, ranks=self._ranks)
        begin, written = states.load(policy, optimizer, self._resources.device)
        self._file = RolloutFile(self._out, written) if self._ranks.rank == 0 else None
        with asked_to_stop() as stopped:
            for step in range(begin, self._options.steps):
                try:
                    self._step(step, snapshot, rows, policy, reference, optimizer)
                except Exception as error:
                    # Of several processes one may fail alone, and a state is written by all.
                    if isinstance(error, StepError) or (is_final(error) and self._ranks.world == 1):
                        states.save(step, policy, optimizer, self._written(begin=step))
                    raise
                self._keep(step + 1, states, policy, optimizer, any(self._ranks.gather(stopped.is_set())))
        weights.mkdir(exist_ok=True)
        policy.save(weights)
        self._ranks.gather(None)
        if self._ranks.rank == 0:
            states.clear()
            write_text(self._out / _DONE, plan)
        return self._checkpoint(weights)

    def _checkpoint(self, weights: Path) -> Checkpoint:
        return Checkpoint.of(weights) if self._ranks.rank == 0 else Checkpoint(weights, "")

    def _is_done(self, plan: str) -> bool:
        path = self._out / _DONE
        return path.exists() and path.read_text() == plan

    def _plan(self, snapshot: Snapshot, rows: np.ndarray[Any, Any]) -> str:
        """What must be equal for a refinement to be gone on with."""
        options = {
            field.name: str(getattr(self._options, field.name))
            for field in attrs.fields(type(self._options))
            if field.name not in ("save_every", "pass_size")
        }
        base = self._resources.checkpoint
        parts = {
            "options": options,
            "seed": self._resources.seed,
            "start": None if base is None else base.sha256,
            "images": hashlib.sha256(np.asarray(snapshot.keys)[rows].tobytes()).hexdigest(),
        }
        return json.dumps(parts, sort_keys=True)

    def _keep(
        self, done: int, states: States, policy: Policy, optimizer: torch.optim.Optimizer, is_stopped: bool
    ) -> None:
        if is_stopped or (done % self._options.save_every == 0 and done < self._options.steps):
            states.save(done, policy, optimizer, self._written())
        if is_stopped:
            raise StepError(
                f"asked to stop after step {done} of {self._options.steps}: run it again to go on from there"
            )

    def _written(self, begin: int | None = None) -> int:
        return self._file.size if self._file is not None else 0

    def _step(
        self,
        step: int,
        snapshot: Snapshot,
        rows: np.ndarray[Any, Any],
        policy: Policy,
        reference: Policy | None,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        started, self._outside = time.perf_counter(), 0.0
        with self._counted():
            samples, mine = self._samples(step, snapshot, rows)
        shown = [self._asked(sample) for sample in samples]
        rollouts = draw(policy, shown, self._options.group, _seed_of(self._resources.seed, step))
        with self._counted():
            counted = {sample.image_id for sample in samples[:mine]}
            own = [one for one in rollouts if one.sample.image_id in counted]
            weights = self._critic.weights(step)
            groups = self._critic.groups(own, {sample.image_id: sample for sample in samples}, step)
            self._check_answers(groups, step)
            kept = self._kept(groups)
            lessons = self._method.lessons(kept, weights)
        figures = self._learn(step, lessons, rollouts, policy, reference, optimizer)
        with self._counted():
            self._write(step, groups, lessons)
            figures |= self._told(groups, kept, lessons)
        figures["seconds"] = time.perf_counter() - started
        figures["outside_model"] = self._outside / figures["seconds"]
        for name, value in figures.items():
            self._resources.report(name, value, step)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Time that is not the model's."""
        begin = time.perf_counter()
        yield
        self._outside += time.perf_counter() - begin

    def _samples(self, step: int, snapshot: Snapshot, rows: np.ndarray[Any, Any]) -> tuple[list[Sample], int]:
        """This rank's images of a step, and how many of them count."""
        batch = self._options.batch * max(1, round(getattr(self._options, "oversample", 1.0)))
        batch = min(batch, len(rows))
        places = range(step * batch, (step + 1) * batch)
        chosen = [int(rows[_shuffled(len(rows), self._resources.seed, place)]) for place in places]
        mine, count = self._ranks.share(list(dict.fromkeys(chosen)))
        return [snapshot.sample(row, self._resources.roots) for row in mine], count

    def _check_answers(self, groups: Sequence[Group], step: int) -> None:
        """Stop where nothing is said, or rewards fail on too much; all ranks together."""
        answers = sum(len(group.answers) for group in groups)
        failed = sum(self._critic.failures.values())
        told = self._ranks.gather((answers, failed, self._critic.said))
        answers, failed = sum(one[0] for one in told), sum(one[1] for one in told)
        self._silent = 0 if answers else self._silent + 1
        if self._silent >= _SILENT:
            raise StepError(
                f"the policy gave no answer in {_SILENT} steps: can its images be read, and do they have two regions?"
            )
        if failed > self._options.max_failed * answers:
            why = next((one[2] for one in told if one[2]), "no reason given")
            raise StepError(
                f"step {step}: rewards failed on {failed} of {answers} answers, more than max_failed = "
                f"{self._options.max_failed:g} allows: {why}"
            )

    def _kept(self, groups: Sequence[Group]) -> list[Group]:
        """Groups to learn from: of all ranks together those of the highest spread, as many as the method keeps."""
        spread = [(-group.spread, self._ranks.rank, place) for place, group in enumerate(groups)]
        every = sorted(one for own in self._ranks.gather(spread) for one in own)
        taken = {place for _, rank, place in every[: self._method.keeps(len(every))] if rank == self._ranks.rank}
        return [group for place, group in enumerate(groups) if place in taken]

    def _learn(
        self,
        step: int,
        lessons: Sequence[Lesson],
        rollouts: Sequence[Rollout],
        policy: Policy,
        reference: Policy | None,
        optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Updates on these lessons, as many passes on every rank; nothing where no rank has any."""
        size = self._options.pass_size or max(1, len(lessons))
        told = self._ranks.gather((len(lessons), self._method.size(lessons), -(-len(lessons) // size)))
        total = sum(one[1] for one in told)
        if not any(one[0] for one in told):
            return {}
        passes = max(one[2] for one in told)
        for group in optimizer.param_groups:
            group["lr"] = self._options.rate * min(1.0, (step + 1) / max(1, self._options.warmup))
        figures: dict[str, float] = {}
        for iteration in range(self._options.iterations):
            optimizer.zero_grad(set_to_none=True)
            sums: dict[str, float] = {}
            for number in range(passes):
                chunk = list(lessons[number * size : (number + 1) * size]) or _filler(lessons, rollouts)
                for name, value in self._pass(chunk, total, policy, reference).items():
                    sums[name] = sums.get(name, 0.0) + value
            sums = self._ranks.sums(sums)
            figures = self._checked(step, iteration, sums, total, figures)
            norm = torch.nn.utils.clip_grad_norm_(list(policy.parameters()), self._options.clip)
            figures["gradient_norm"] = as_number(norm)
            optimizer.step()
        return figures

    def _pass(
        self, chunk: Sequence[Lesson], total: float, policy: Policy, reference: Policy | None
    ) -> dict[str, float]:
        """One pass forward and back; gradients are the mean over the ranks, the loss is the sum."""
        rollouts = [one for lesson in chunk for one in lesson.rollouts]
        before = None
        if reference is not None:
            with torch.no_grad():
                before = reference.logprobs(rollouts)
        now = policy.logprobs(rollouts)
        if not now:  # this rank has no answer at all
            go_back_from_nothing(policy)
            return {}
        loss, found = self._method.loss(chunk, now, before)
        (loss * (self._ranks.world / total)).backward()
        counts = [lesson.counts for lesson in chunk for _ in lesson.rollouts]
        off = [
            (row.detach() - row.new_tensor(one.logprobs)).abs().sum().item()
            for row, one, counted in zip(now, rollouts, counts, strict=True)
            if counted
        ]
        tokens = sum(len(one.tokens) for one, counted in zip(rollouts, counts, strict=True) if counted)
        return {**found, "loss": float(loss.detach()), "off": sum(off), "tokens": float(tokens)}

    def _checked(
        self, step: int, iteration: int, sums: dict[str, float], total: float, before: dict[str, float]
    ) -> dict[str, float]:
        """Figures of an update; one that must not be made stops, with the state as it was."""
        tokens = max(1.0, sums.get("tokens", 0.0))
        loss, off = sums.get("loss", 0.0) / total, sums.get("off", 0.0) / tokens
        if not math.isfinite(loss):
            raise StepError(
                f"step {step}: the loss is {loss}; the state before it is kept. Lower rate or clip, or look at "
                "rollouts.jsonl.zst for rewards out of proportion"
            )
        if iteration == 0 and not off <= self._options.mismatch:
            raise StepError(
                f"step {step}: the same tokens have log-probabilities that differ by {off:.4g} in the mean between "
                f"sampling and learning, more than mismatch = {self._options.mismatch:g}: something that the model "
                "sees when it samples, such as a mask, does not reach the loss"
            )
        found = {"loss": loss, "mismatch": off if iteration == 0 else before["mismatch"]}
        for name in ("clipped", "kl"):
            if name in sums:
                found[name] = sums[name] / tokens
        if "preferred" in sums:
            found["preferred"] = sums["preferred"] / total
        return found

    def _write(self, step: int, groups: Sequence[Group], lessons: Sequence[Lesson]) -> None:
        own = {id(r): a for one in lessons for r, a in zip(one.rollouts, one.advantages, strict=True)}
        for rows in self._ranks.gather(rows_of(step, groups, own)):
            if self._file is not None and rows:
                self._file.add(rows)

    def _told(self, groups: Sequence[Group], kept: Sequence[Group], lessons: Sequence[Lesson]) -> dict[str, float]:
        """Means over the answers of all ranks."""
        answers = [one for group in groups for one in group.answers]
        scored = [one for one in answers if one.total is not None]
        sums: dict[str, float] = {
            "answers": len(answers),
            "scored": len(scored),
            "groups": len(groups),
            "lessons": len(lessons),
            "reward": sum(one.total or 0.0 for one in scored),
            "malformed": sum(one.is_malformed for one in answers),
            "tokens": sum(len(one.rollout.tokens) for one in answers),
            "entropy": -sum(sum(one.rollout.logprobs) for one in answers),
            "same": sum(group.spread <= 1e-9 for group in groups),
            "spread": sum(group.spread for group in groups),
            "left": len(groups) - len(kept),
            "without_truth": sum(not group.has_truth for group in groups),
        }
        names = self._critic.names
        for name in names:
            sums[f"reward.{name}"] = sum(one.credit.parts[name] for one in scored if isinstance(one.credit, Credit))
        deviations = spreads(groups, names)
        sums |= {f"spread.{name}": value * len(groups) for name, value in deviations.items()}
        found = self._ranks.sums(sums)
        return _means(found, names)


def _means(found: dict[str, float], names: Sequence[str]) -> dict[str, float]:
    answers, scored = max(1.0, found["answers"]), max(1.0, found["scored"])
    groups, tokens = max(1.0, found["groups"]), max(1.0, found["tokens"])
    told = {
        "reward": found["reward"] / scored,
        "malformed": found["malformed"] / answers,
        "length": found["tokens"] / answers,
        "entropy": found["entropy"] / tokens,
        "spread": found["spread"] / groups,
        "same_reward_groups": found["same"] / groups,
        "reward_failed": found["answers"] - found["scored"],
        "left_out_groups": found["left"],
        "groups_without_truth": found["without_truth"],
        "lessons": found["lessons"],
    }
    for name in names:
        told[f"reward.{name}"] = found[f"reward.{name}"] / scored
        told[f"spread.{name}"] = found[f"spread.{name}"] / groups
    return told


def _filler(lessons: Sequence[Lesson], rollouts: Sequence[Rollout]) -> list[Lesson]:
    """What fills a pass of a rank that has nothing more to learn: one answer that does not count."""
    if lessons:
        return [attrs.evolve(lessons[0], counts=False)]
    return [Lesson(rollouts=(one,), advantages=(0.0,), counts=False) for one in rollouts[:1]]


def _seed_of(seed: int, step: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:6], "little")


def _shuffled(count: int, seed: int, place: int) -> int:
    """Which row comes at a place of an endless order, each epoch in an order of its own."""
    epoch, within = divmod(place, count)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return int(order[within])
