"""A student with a categorical policy, and a refiner that climbs towards a word: for tests of both contracts.

The policy says two predicates of the first region of an image, the second one not the first: a mask that depends on
what was said, a temperature, a nucleus and dropout are all there. The module is a plugin beside `engine_toys`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from engine_toys import PREDICATES, install, log

import sgforge
from sgforge.durable import write_text
from sgforge.edits import Edit, apply_edit
from sgforge.graph import Relation, Sample
from sgforge.images import Roots
from sgforge.stages import Checkpoint, Failure, Needs, Ranking, Resources, Selection, Use, parts
from sgforge.stages.policies import Policy, Rollout
from sgforge.stages.rewards import Credit, Outcome

WORDS = 2
"""Words of an answer: about the first region with the second and, where there is one, the third."""
_WEIGHTS = "weights.json"


@attrs.frozen
class CategoricalOptions:
    """`fault` breaks the contract of the policy in one way, for tests of the contract."""

    temperature: float = 0.7
    top_p: float = 0.95
    dropout: float = 0.5
    fault: str = ""
    checkpoint: Path | None = None


class CategoricalStudent:
    """Two rows of logits over the predicates, begun from how often each occurs."""

    def __init__(self, options: CategoricalOptions = CategoricalOptions()) -> None:
        self.options = options
        self.logits = np.zeros((WORDS, len(PREDICATES)), np.float32)

    def setup(self, resources: Resources) -> None:
        if resources.checkpoint is not None:
            self.logits = read_logits(resources.checkpoint.path)

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        from sgforge.dataset import Snapshot

        snapshot = Snapshot.open(snapshot_path)
        counts = np.ones(len(PREDICATES))
        for row in snapshot.rows(selection).tolist():
            for relation in snapshot.graph(row).relations.values():
                if relation.predicate in PREDICATES:
                    counts[PREDICATES.index(relation.predicate)] += 1
        write_logits(out_dir, np.tile(np.log(counts), (WORDS, 1)))
        return Checkpoint.of(out_dir)

    def generate(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        word = PREDICATES[int(self.logits[0].argmax())]
        return [Edit.add(Relation(0, word, 1, score=0.5)) if is_asked(sample) else Edit() for sample in samples]

    def rank(self, samples: Sequence[Sample]) -> list[Ranking | Failure]:
        share = np.exp(self.logits[0]) / np.exp(self.logits[0]).sum()
        return [self._rank(sample, share.astype(np.float32)) for sample in samples]

    def _rank(self, sample: Sample, share: np.ndarray) -> Ranking:
        count = len(sample.graph.regions)
        pairs = np.array([(a, b) for a in range(count) for b in range(count) if a != b], np.int32).reshape(-1, 2)
        regions = tuple(sample.graph.regions.values())
        return Ranking(regions, pairs, PREDICATES, np.tile(share, (len(pairs), 1)))

    def policy(self, resources: Resources) -> Policy:
        """Of the weights in `resources.checkpoint`; with several ranks they share gradients."""
        return CategoricalPolicy(self.options, shared_logits(resources, self.options), resources.worker.rank)


def shared_logits(resources: Resources, options: CategoricalOptions) -> Any:
    """The logits of a checkpoint, of which all ranks have the same gradients."""
    import torch
    from torch import distributed

    if resources.worker.world > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo")
    assert resources.checkpoint is not None
    logits = torch.nn.Parameter(torch.from_numpy(read_logits(resources.checkpoint.path)))
    if resources.worker.world > 1 and options.fault != "apart":
        logits.register_post_accumulate_grad_hook(_share)
    return logits


def _share(logits: Any) -> None:
    from torch import distributed

    distributed.all_reduce(logits.grad)
    logits.grad /= distributed.get_world_size()


def is_asked(sample: Sample) -> bool:
    """Whether there is a question about an image: it has a pair of regions, none of them rejected."""
    return len(sample.graph.regions) > 1 and len(sample.graph.regions) == len(sample.graph.all.regions)


def read_logits(folder: Path) -> np.ndarray:
    return np.array(json.loads((folder / _WEIGHTS).read_text()), np.float32)


def write_logits(folder: Path, logits: Any) -> None:
    write_text(folder / _WEIGHTS, json.dumps(np.asarray(logits, np.float32).tolist()))


class CategoricalPolicy:
    """`Rollout.memo` holds, for each word, which could be drawn."""

    part: int | None = 0

    def __init__(self, options: CategoricalOptions, logits: Any, rank: int = 0) -> None:
        import torch

        self._options = options
        self._logits = logits
        self._rank = rank
        self._dropout = torch.nn.Dropout(options.dropout)
        self._dropout.train(options.fault == "dropout")

    def rollouts(self, samples: Sequence[Sample], /, group: int, seed: int) -> list[Rollout]:
        import torch

        with torch.no_grad():
            return [
                self._say(sample, number, _dice(seed, sample.image_id, one))
                for number, sample in enumerate(filter(self.is_asked, samples))
                for one in range(group)
            ]

    def is_asked(self, sample: Sample) -> bool:
        return is_asked(sample)

    def words(self, sample: Sample) -> int:
        """How many words an answer about a sample has."""
        return min(WORDS, len(sample.graph.regions) - 1)

    def outcome(self, sample: Sample, words: Sequence[str]) -> Outcome:
        """What an answer makes of the sample."""
        said = Edit(relations=[Relation(0, word, place + 1, score=0.5) for place, word in enumerate(words)])
        return Outcome(graph=apply_edit(sample.graph, said, "said").graph, text=" ".join(words))

    def _say(self, sample: Sample, group: int, dice: Any) -> Rollout:
        import torch

        tokens: list[int] = []
        logprobs: list[float] = []
        memo: list[tuple[bool, ...]] = []
        for place in range(self.words(sample)):
            scaled = self._scaled(place)
            open_to = self._nucleus(scaled, tokens)
            chances = torch.log_softmax(scaled.masked_fill(~open_to, -torch.inf), 0)
            tokens.append(int(torch.multinomial(chances.exp(), 1, generator=dice)))
            logprobs.append(float(chances[tokens[-1]]))
            memo.append(tuple(open_to.tolist()))
        return Rollout(
            sample=sample,
            part=self.part,
            tokens=tuple(tokens),
            logprobs=tuple(logprobs),
            outcome=self.outcome(sample, [PREDICATES[token] for token in tokens]),
            group=group,
            memo=tuple(memo),
        )

    def _scaled(self, place: int) -> Any:
        return self._dropout(self._logits[place]) / self._options.temperature

    def _nucleus(self, scaled: Any, said: Sequence[int]) -> Any:
        """The likeliest words that make up `top_p`, of those that were not said."""
        import torch

        allowed = torch.ones(len(PREDICATES), dtype=torch.bool)
        allowed[list(said)] = False
        chances = torch.softmax(scaled.masked_fill(~allowed, -torch.inf), 0)
        ordered, order = chances.sort(descending=True, stable=True)
        kept = ordered.cumsum(0) - ordered < self._options.top_p
        return torch.zeros_like(allowed).scatter(0, order, kept) & allowed

    def logprobs(self, rollouts: Sequence[Rollout], /) -> list[Any]:
        import torch

        found = []
        for rollout in rollouts:
            rows = []
            for place, (token, open_to) in enumerate(zip(rollout.tokens, rollout.memo, strict=True)):
                scaled = self._scaled(place)
                if self._options.fault == "temperature" or (self._options.fault == "second rank" and self._rank):
                    scaled = scaled * self._options.temperature
                if self._options.fault != "nucleus":
                    scaled = scaled.masked_fill(~torch.tensor(open_to), -torch.inf)
                rows.append(torch.log_softmax(scaled, 0)[token])
            found.append(torch.stack(rows))
        return found

    def parameters(self) -> Iterator[Any]:
        yield self._logits

    def reference(self) -> Policy:
        if self._options.fault == "reference":
            return self
        return type(self)(self._options, copy.deepcopy(self._logits.detach()), self._rank)

    def state_dict(self) -> Mapping[str, Any]:
        return {"logits": self._logits.detach()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._logits.data.copy_(state["logits"])

    def save(self, folder: Path, /) -> None:
        if self._rank == 0:
            scale = 2.0 if self._options.fault == "save" else 1.0
            write_logits(folder, scale * self._logits.detach().numpy())


class ShadePolicy(CategoricalPolicy):
    """Draws the shades of a picture's stripes, named as the predicates are."""

    part = None
    folder = Path()

    def is_asked(self, sample: Sample) -> bool:
        return True

    def words(self, sample: Sample) -> int:
        return WORDS

    def outcome(self, sample: Sample, words: Sequence[str]) -> Outcome:
        data = stripes(sample, words)
        name = f"{hashlib.sha256(data).hexdigest()}.png"
        (self.folder / name).write_bytes(data)
        return Outcome(image=Roots({"drawn": self.folder}).image(f"drawn:{name}"), text=" ".join(words))

    def reference(self) -> Policy:
        found = super().reference()
        found.folder = self.folder
        return found


class ShadeRenderer:
    """Draws stripes in the likeliest shades; learns how often each predicate occurs."""

    train = CategoricalStudent.train

    def __init__(self, options: CategoricalOptions = CategoricalOptions()) -> None:
        self.options = options

    def setup(self, resources: Resources) -> None:
        self.files = resources.files
        self.logits = None if resources.checkpoint is None else read_logits(resources.checkpoint.path)

    def render(self, samples: Sequence[Sample]) -> list[Edit]:
        words = [PREDICATES[int(row.argmax())] for row in self.logits]
        return [Edit(image=self.files.put(stripes(sample, words), ".png")) for sample in samples]

    def policy(self, resources: Resources) -> Policy:
        policy = ShadePolicy(self.options, shared_logits(resources, self.options), resources.worker.rank)
        policy.folder = resources.scratch
        return policy


def stripes(sample: Sample, words: Sequence[str]) -> bytes:
    """A PNG of the layout's size with a stripe for each word, the darker the earlier its place in the list."""
    import io

    from PIL import Image

    shades = np.array([60 * PREDICATES.index(word) for word in words], np.uint8)
    width, height = sample.graph.width or 8, sample.graph.height or 8
    pixels = np.repeat(shades, -(-height // len(words)))[:height, None]
    stream = io.BytesIO()
    Image.fromarray(np.broadcast_to(pixels, (height, width)).copy()).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


def _dice(*seeds: object) -> Any:
    """Random numbers of one rollout, whatever is sampled beside it."""
    import torch

    digest = hashlib.sha256(repr(seeds).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


@attrs.frozen
class ClimbOptions:
    """`word` is worth a point; `batch`: images of one step, of all ranks together."""

    word: str = "on"
    steps: int = 12
    batch: int = 5
    group: int = 4
    rate: float = 1.0
    uneven: bool = False
    log: str = attrs.field(default="", eq=False)


class ClimbRefiner:
    """Policy gradient with the mean of a group as its baseline; knows nothing of the student it refines."""

    def __init__(self, options: ClimbOptions = ClimbOptions()) -> None:
        self.options = options

    def refine(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        import torch

        from sgforge.dataset import Snapshot

        assert resources.student is not None
        options, worker = self.options, resources.worker
        policy = resources.student.policy(resources)
        snapshot = Snapshot.open(snapshot_path)
        rows = snapshot.rows(selection).tolist()
        state = out_dir / "state.pt"
        begin = 0
        if state.exists():
            saved = torch.load(state, weights_only=True)
            begin = saved["step"]
            policy.load_state_dict(saved["policy"])
        for step in range(begin, options.steps):
            log(options.log, "step", step, "rank", worker.rank, "is", os.getpid())
            batch = [rows[(step * options.batch + place) % len(rows)] for place in range(options.batch)]
            shares = -(-options.batch // worker.world)
            mine = batch[worker.rank :: worker.world]
            # A rank that has one less repeats one, which counts for nothing: every rank makes the same calls.
            padded = [*mine, *batch[: shares - len(mine)]]
            samples = [snapshot.sample(row, resources.roots) for row in padded]
            rollouts = policy.rollouts(samples, options.group, seed=step + resources.seed)
            weights = self._advantages(rollouts, {sample.image_id for sample in samples[: len(mine)]})
            if options.uneven and worker.rank:
                policy.logprobs(rollouts)
            loss = 0.0 * sum(one.sum() for one in policy.parameters())
            for weight, now in zip(weights, policy.logprobs(rollouts), strict=True):
                loss = loss - weight * now.sum()
            (loss * worker.world / (options.batch * options.group)).backward()
            _descend(policy.parameters(), options.rate)
            resources.report("points", sum(map(self.points, rollouts)) / max(len(rollouts), 1), step)
            now = {"step": step + 1, "policy": dict(policy.state_dict())}
            if worker.rank == 0:
                part = state.with_suffix(".part")
                torch.save(now, part)
                part.replace(state)
        weights_folder = out_dir / "weights"
        weights_folder.mkdir(exist_ok=True)
        policy.save(weights_folder)
        return Checkpoint.of(weights_folder) if worker.rank == 0 else Checkpoint(weights_folder, "")

    def points(self, rollout: Rollout) -> float:
        """How much of an answer is the word."""
        words = (rollout.outcome.text or "").split()
        return words.count(self.options.word) / len(words)

    def _advantages(self, rollouts: Sequence[Rollout], counted: set[str]) -> list[float]:
        found: list[float] = []
        for _, members in groupby(rollouts, key=lambda rollout: rollout.group):
            points = [(self.points(one), one.sample.image_id in counted) for one in members]
            mean = sum(point for point, _ in points) / len(points)
            found += [(point - mean) if counts else 0.0 for point, counts in points]
        return found


def _descend(parameters: Iterator[Any], rate: float) -> None:
    """A step down the gradient, and none is left; the first optimizer of torch in a process takes seconds to import."""
    for one in parameters:
        one.data.sub_(one.grad, alpha=rate)
        one.grad = None


@sgforge.hookimpl
def sgforge_register_students(register) -> None:
    needs = Needs(modules=("torch",), checkpoint=True)
    register("categorical", CategoricalStudent, config=CategoricalOptions, needs=needs, offers=("policy",))
    register("coached", CoachedStudent, config=CoachedOptions, needs=needs, offers=("policy",))
    register("mute", CategoricalStudent, config=CategoricalOptions, needs=needs)


@attrs.frozen
class CoachedOptions(CategoricalOptions):
    coach: tuple[Use, ...] = parts("reward", ())


class CoachedStudent(CategoricalStudent):
    """Its policy begins with as much of the first predicate as its coach says."""

    def policy(self, resources: Resources) -> Policy:
        policy = super().policy(resources)
        (coach,) = resources.parts["coach"]
        [[credit]] = coach.component.score([Sample("any")], [[Outcome()]])
        policy.load_state_dict({"logits": policy.state_dict()["logits"] + coach.weight * credit.total})
        return policy


@attrs.frozen
class FixedOptions:
    total: float = 1.0


class Fixed:
    """Every outcome is worth the same; it says when it is closed."""

    range = (0.0, 100.0)

    def __init__(self, options: FixedOptions = FixedOptions()) -> None:
        self.options = options

    def setup(self, resources: Resources) -> None:
        self.is_set_up = True

    def score(self, samples: Sequence[Sample], outcomes: Any) -> list[list[Credit]]:
        assert self.is_set_up
        return [[Credit(self.options.total) for _ in group] for group in outcomes]


@sgforge.hookimpl
def sgforge_register_rewards(register) -> None:
    register("fixed", Fixed, config=FixedOptions)


@sgforge.hookimpl
def sgforge_register_renderers(register) -> None:
    needs = Needs(modules=("torch",), checkpoint=True)
    register("shades", ShadeRenderer, config=CategoricalOptions, needs=needs, offers=("train", "policy"))
    register("untaught", ShadeRenderer, config=CategoricalOptions, needs=needs)


@sgforge.hookimpl
def sgforge_register_refiners(register) -> None:
    register("climb", ClimbRefiner, config=ClimbOptions)


def policy_environment(folder: Path) -> dict[str, str]:
    """The environment of a process in which these toys and those of `engine_toys`, and no others, are found."""
    install(folder)
    info = folder / "policy_toys-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: policy-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sgforge]\npolicies = policy_toys\n")
    path = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    return {**os.environ, "PYTHONPATH": path, "SGFORGE_PLUGINS": "toys,policies"}
