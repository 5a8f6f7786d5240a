"""The renderer `tokens`: a tiny autoregressive model that says a scene in codes, which the procedural codec draws.

It stands where a model such as SimpleAR stands in the paper (Generate Any Scene, section 5): its answer is a row of
picture codes, so it can be trained on selected pictures and refined by rewards.
"""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from sgforge.edits import Edit
from sgforge.errors import ImageError, StepError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.selection import Selection
from sgforge.stages import Answer, Checkpoint, Failure, Outcome, Resources
from sgforge.stages.policies import Rollout
from sgforge_gas.config import TokensOptions
from sgforge_gas.judging.drawn import noted
from sgforge_gas.rendering.codes import can_say, codes_of, prompt_of, things_of
from sgforge_gas.rendering.layout import laid_out
from sgforge_gas.rendering.procedural import png_of
from sgforge_gas.rendering.token_model import (
    Pair,
    TokenModel,
    load,
    logprobs_of,
    noise_of,
    one_thread,
    save,
    say,
    teach,
)

__all__ = ["TokensPolicy", "TokensRenderer"]


class TokensRenderer:
    """Draws what its model says. Learns from pictures that note what was drawn, or from graphs that can be drawn."""

    def __init__(self, options: TokensOptions) -> None:
        self.options = options
        self._model: TokenModel | None = None
        self._files: Any = None

    def setup(self, resources: Resources) -> None:
        """Load the weights."""
        self._model = load(self.options, resources)
        self._files = resources.files

    def render(self, samples: Sequence[Sample]) -> list[Answer]:
        """A picture of each graph; one with a layout or without an object is a failure, cannot-draw."""
        assert self._model is not None, "setup() comes first"
        shown = [place for place, sample in enumerate(samples) if sample.graph.regions and not sample.graph.width]
        answers: list[Answer] = [
            Failure("cannot-draw", f"image {sample.image_id} has a layout or no object, which is not drawn")
            for sample in samples
        ]
        prompts = [prompt_of(samples[place].graph) for place in shown]
        options, noise = self.options, None
        if options.sampled:
            noise = [noise_of(_seed_of(str(options.seed), samples[place].image_id)) for place in shown]
        with one_thread():
            said = say(self._model, prompts, noise, options.temperature)
        for place, one in zip(shown, said, strict=True):
            picture = png_of(things_of(one.codes), self.options.size, "room")
            answers[place] = Edit(image=self._files.put(picture, ".png"))
        return answers

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """Teach the model the codes of pictures; the last 10 % of the steps are told as their loss."""
        from sgforge.dataset import Snapshot

        snapshot = Snapshot.open(snapshot_path)
        rows = [snapshot.sample(row, resources.roots) for row in snapshot.rows(selection).tolist()]
        pairs = [pair for pair in map(_pair_of, rows) if pair is not None]
        if not pairs:
            raise StepError("there is nothing to learn from: no picture notes what was drawn, no graph can be drawn")
        model = load(self.options, resources)
        with one_thread():
            loss = teach(model, pairs, self.options, resources)
        folder = out_dir / "weights"
        save(model, folder)
        return Checkpoint.of(folder, {"loss": loss})

    def policy(self, resources: Resources) -> TokensPolicy:
        """The policy of its weights; of several processes all have the mean gradient."""
        model = load(self.options, resources)
        # For the passes back too, which a refiner makes.
        torch.set_num_threads(1)
        if resources.worker.world > 1:
            _share_gradients(model, resources.device)
        return TokensPolicy(model, self.options, resources.worker.rank)


def _share_gradients(model: TokenModel, device: str) -> None:
    """Let every backward pass leave the mean over all processes; they hold one and the same model."""
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")

    def share(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        distributed.all_reduce(parameter.grad)
        parameter.grad /= distributed.get_world_size()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(share)  # type: ignore[no-untyped-call]


def _pair_of(sample: Sample) -> Pair | None:
    """Prompt and codes of one example."""
    things = None
    # A picture that is gone or broken says as little as one of another renderer.
    with suppress(ImageError):
        things = None if sample.image is None else noted(sample.image)
    if things is None:
        drawn = laid_out(sample.graph) if sample.graph.regions else Failure("no-objects")
        if isinstance(drawn, Failure):
            return None
        things = drawn
    kept = [thing for thing in things if can_say(thing)]
    return (prompt_of(sample.graph), codes_of(kept)) if kept else None


def _seed_of(*words: str) -> int:
    data = " ".join(words).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "big")


class TokensPolicy:
    """Samples pictures of graphs, one question an image; see `sgforge.stages.policies`."""

    def __init__(self, model: TokenModel, options: TokensOptions, rank: int = 0) -> None:
        self._model = model
        self._options = options
        self._rank = rank
        self._folder = tempfile.TemporaryDirectory(prefix="sgforge-tokens-")
        self._roots = Roots({"drawn": Path(self._folder.name)})

    def rollouts(self, samples: Sequence[Sample], /, group: int, seed: int) -> list[Rollout]:
        """`group` pictures of each graph that has an object."""
        asked = [sample for sample in samples if sample.graph.regions]
        prompts = [prompt_of(sample.graph) for sample in asked for _ in range(group)]
        noise = [noise_of(_seed_of(str(seed), str(one), sample.image_id)) for sample in asked for one in range(group)]
        with one_thread():
            said = say(self._model, prompts, noise, self._options.temperature)
        return [
            Rollout(
                sample=asked[number // group],
                tokens=one.codes,
                logprobs=one.logprobs,
                outcome=self._outcome(one.codes),
                group=number // group,
            )
            for number, one in enumerate(said)
        ]

    def _outcome(self, codes: Sequence[int]) -> Outcome:
        data = png_of(things_of(codes), self._options.size, "room")
        name = f"{hashlib.sha256(data).hexdigest()}.png"
        path = Path(self._folder.name) / name
        if not path.exists():
            path.write_bytes(data)
        return Outcome(image=self._roots.image(f"drawn:{name}"))

    def logprobs(self, rollouts: Sequence[Rollout], /) -> list[torch.Tensor]:
        """Of exactly these codes, with gradient."""
        pairs = [(prompt_of(one.sample.graph), one.tokens) for one in rollouts]
        with one_thread():
            return logprobs_of(self._model, pairs, self._options.temperature)

    def parameters(self) -> Iterator[torch.Tensor]:
        """All weights."""
        yield from self._model.parameters()

    def reference(self) -> TokensPolicy:
        """A copy that no step changes."""
        model = copy.deepcopy(self._model).requires_grad_(False)
        return TokensPolicy(model, self._options, self._rank)

    def state_dict(self) -> Mapping[str, Any]:
        """The weights."""
        return dict(self._model.state_dict())

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take up weights."""
        self._model.load_state_dict(dict(state))

    def save(self, folder: Path, /) -> None:
        """Write the checkpoint; rank 0 alone."""
        if self._rank == 0:
            save(self._model, folder)
