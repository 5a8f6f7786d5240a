"""The renderer `tokens`: a tiny autoregressive model that says a scene in codes, which the procedural codec draws.

It stands where a model such as SimpleAR stands in the paper (Generate Any Scene, section 5): its answer is a row of
picture codes, so it can be trained on selected pictures and refined by rewards. The codec is `sgforge.testing.scenes`
with the note of what was drawn: each thing is four codes, kind, colour, column and row.
"""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from sgforge.edits import Edit
from sgforge.errors import ImageError, StepError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.selection import Selection
from sgforge.stages import Answer, Checkpoint, Failure, Outcome, Resources
from sgforge.stages.policies import Rollout
from sgforge.testing.scenes import STAGED_KINDS
from sgforge_gas.config import TokensOptions
from sgforge_gas.judging.drawn import noted
from sgforge_gas.rendering.layout import COLOURS, PLACES, Drawn, laid_out
from sgforge_gas.rendering.procedural import png_of

__all__ = ["TokensPolicy", "TokensRenderer", "codes_of", "prompt_of", "things_of"]

_KINDS: Final = tuple(STAGED_KINDS)
_COLUMNS: Final = 7
_ROWS: Final = 3
_MOST_THINGS: Final = 7
_SLOTS: Final = 4
_WORDS: Final = (
    "<pad>", "<begin>", "<end>", "<thing>", "<relation>", "<other>",
    *_KINDS, *COLOURS, *PLACES,
    *(f"column {number}" for number in range(_COLUMNS)), *(f"row {number}" for number in range(_ROWS)),
    *(f"place {number}" for number in range(_MOST_THINGS)),
)  # fmt: skip
_CODE: Final = {word: number for number, word in enumerate(_WORDS)}
_LONGEST: Final = 160
_WEIGHTS: Final = "tokens.safetensors"
_ALLOWED: Final = (
    [_CODE[word] for word in _KINDS],
    [_CODE[word] for word in COLOURS],
    [_CODE[f"column {number}"] for number in range(_COLUMNS)],
    [_CODE[f"row {number}"] for number in range(_ROWS)],
)


def prompt_of(graph: SceneGraph) -> list[int]:
    """A graph as codes: its things with their colours, then its relations; what has no code is <other>."""
    place = {index: number for number, index in enumerate(graph.regions)}
    found: list[int] = []
    for region in list(graph.regions.values())[:_MOST_THINGS]:
        colour = next((word for word in region.attributes if word in COLOURS), None)
        found += [_CODE["<thing>"], _code(region.label or ""), _code(colour or "")]
    for row in graph.relations.values():
        ends = [place[row.subject], place[row.object]]
        if max(ends) < _MOST_THINGS and len(found) < _LONGEST - 4 * _MOST_THINGS - 8:
            found += [_CODE["<relation>"], _code(row.predicate), *(_CODE[f"place {end}"] for end in ends)]
    return [*found, _CODE["<begin>"]]


def _code(word: str) -> int:
    return _CODE.get(word, _CODE["<other>"])


def codes_of(things: Sequence[Drawn]) -> list[int]:
    """What was drawn as codes, the end behind it."""
    found: list[int] = []
    for thing in things[:_MOST_THINGS]:
        words = (thing.label, thing.colour or "grey", f"column {thing.column}", f"row {min(thing.row, _ROWS - 1)}")
        found += [_CODE[word] for word in words]
    return [*found, _CODE["<end>"]]


def things_of(codes: Sequence[int]) -> list[Drawn]:
    """The things that codes say."""
    found = []
    for start in range(0, len(codes) - len(codes) % _SLOTS, _SLOTS):
        kind, colour, column, row = (_WORDS[code] for code in codes[start : start + _SLOTS])
        found.append(Drawn(label=kind, colour=colour, column=int(column.split()[1]), row=int(row.split()[1])))
    return found


def _open(place: int, device: Any) -> torch.Tensor:
    """Which codes may stand at a place of the answer, as added to logits: 0, or -inf."""
    allowed = list(_ALLOWED[place % _SLOTS])
    if place % _SLOTS == 0:
        allowed = [_CODE["<end>"]] if place >= _SLOTS * _MOST_THINGS else allowed + [_CODE["<end>"]] * (place > 0)
    mask = torch.full((len(_WORDS),), -torch.inf, device=device)
    mask[allowed] = 0.0
    return mask


class _Model(nn.Module):
    """A causal transformer over prompt and answer."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(len(_WORDS), width)
        self.places = nn.Embedding(_LONGEST, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, len(_WORDS))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, T) codes to (B, T, words) logits of the next one."""
        size = codes.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(size, device=codes.device)
        seen = self.words(codes) + self.places(torch.arange(size, device=codes.device))
        logits: torch.Tensor = self.head(self.layers(seen, mask=mask, is_causal=True))
        return logits


class TokensRenderer:
    """Draws what its model says. Learns from pictures that note what was drawn, or from graphs that can be drawn."""

    def __init__(self, options: TokensOptions) -> None:
        self.options = options
        self._model: _Model | None = None
        self._files: Any = None

    def setup(self, resources: Resources) -> None:
        """Load the weights."""
        self._model = self._load(resources)
        self._files = resources.files
        self._device = resources.device

    def render(self, samples: Sequence[Sample]) -> list[Answer]:
        """A picture of each graph, of the likeliest codes; a graph with a layout is a failure, cannot-draw."""
        return [self._answer(sample) for sample in samples]

    def _answer(self, sample: Sample) -> Answer:
        if sample.graph.width or not sample.graph.regions:
            return Failure("cannot-draw", f"image {sample.image_id} has a layout or no object, which is not drawn")
        assert self._model is not None, "setup() comes first"
        with torch.no_grad():
            codes, _ = _say(self._model, sample.graph, None, 1.0)
        return Edit(image=self._files.put(png_of(things_of(codes), self.options.size, "room"), ".png"))

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """Teach the model the codes of pictures; the last 10 % of the steps are told as their loss."""
        from sgforge.dataset import Snapshot

        snapshot = Snapshot.open(snapshot_path)
        rows = [snapshot.sample(row, resources.roots) for row in snapshot.rows(selection).tolist()]
        pairs = [pair for pair in map(_pair_of, rows) if pair is not None]
        if not pairs:
            raise StepError("there is nothing to learn from: no picture notes what was drawn, no graph can be drawn")
        model = self._load(resources)
        loss = _teach(model, pairs, self.options, resources)
        folder = out_dir / "weights"
        folder.mkdir(parents=True, exist_ok=True)
        _save(model, folder)
        return Checkpoint.of(folder, {"loss": loss})

    def policy(self, resources: Resources) -> TokensPolicy:
        """The policy of its weights; of several processes all have the mean gradient."""
        model = self._load(resources)
        if resources.worker.world > 1:
            _share_gradients(model, resources.device)
        return TokensPolicy(model, self.options, resources.worker.rank)

    def _load(self, resources: Resources) -> _Model:
        from safetensors.torch import load_file

        torch.manual_seed(resources.seed)
        model = _Model(self.options.width, self.options.layers)
        folder = resources.checkpoint.path if resources.checkpoint is not None else self.options.checkpoint
        if folder is not None:
            try:
                model.load_state_dict(load_file(str(folder / _WEIGHTS)))
            except (OSError, RuntimeError) as error:
                what = " ".join(str(error).split())[:200]
                raise StepError(f"checkpoint {folder} is none of the renderer tokens: {what}") from error
        return model.to(resources.device).eval()


def _share_gradients(model: _Model, device: str) -> None:
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


def _pair_of(sample: Sample) -> tuple[list[int], list[int]] | None:
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
    kept = [thing for thing in things if thing.column < _COLUMNS]
    return (prompt_of(sample.graph), codes_of(kept)) if kept else None


def _teach(model: _Model, pairs: Sequence[Any], options: TokensOptions, resources: Resources) -> float:
    dice = torch.Generator().manual_seed(resources.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate)
    model.train()
    last: list[float] = []
    for step in range(options.steps):
        batch = [pairs[int(one)] for one in torch.randint(len(pairs), (options.batch,), generator=dice)]
        longest = max(len(prompt) + len(codes) for prompt, codes in batch)
        inputs = torch.zeros(len(batch), longest, dtype=torch.long)
        targets = torch.full((len(batch), longest), -100)
        for row, (prompt, codes) in enumerate(batch):
            whole = [*prompt, *codes]
            inputs[row, : len(whole)] = torch.tensor(whole)
            targets[row, len(prompt) - 1 : len(whole) - 1] = torch.tensor(codes)
        logits = model(inputs.to(resources.device))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.to(resources.device).flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step >= options.steps * 9 // 10:
            last.append(float(loss.detach()))
        if step % 20 == 0:
            resources.report("loss", float(loss.detach()), step)
    model.eval()
    return sum(last) / len(last) if last else 0.0


def _say(
    model: _Model, graph: SceneGraph, dice: torch.Generator | None, temperature: float
) -> tuple[list[int], list[float]]:
    """Codes of a picture with their log-probabilities: the likeliest without dice."""
    device = model.head.weight.device
    prompt = prompt_of(graph)
    codes: list[int] = []
    logprobs: list[float] = []
    while not codes or codes[-1] != _CODE["<end>"]:
        logits = model(torch.tensor([prompt + codes], device=device))[0, -1]
        chances = torch.log_softmax(logits / temperature + _open(len(codes), device), 0)
        drawn = chances.argmax() if dice is None else torch.multinomial(chances.exp().cpu(), 1, generator=dice)[0]
        codes.append(int(drawn))
        logprobs.append(float(chances[codes[-1]]))
    return codes, logprobs


def _save(model: _Model, folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous().cpu() for name, value in model.state_dict().items()}, str(folder / _WEIGHTS))


class TokensPolicy:
    """Samples pictures of graphs, one question an image; see `sgforge.stages.policies`."""

    def __init__(self, model: _Model, options: TokensOptions, rank: int = 0) -> None:
        self._model = model
        self._options = options
        self._rank = rank
        self._folder = tempfile.TemporaryDirectory(prefix="sgforge-tokens-")
        self._roots = Roots({"drawn": Path(self._folder.name)})

    def rollouts(self, samples: Sequence[Sample], /, group: int, seed: int) -> list[Rollout]:
        """`group` pictures of each graph that has an object."""
        found = []
        asked = [sample for sample in samples if sample.graph.regions]
        with torch.no_grad():
            for number, sample in enumerate(asked):
                for one in range(group):
                    digest = hashlib.blake2b(f"{seed} {one} {sample.image_id}".encode(), digest_size=7).digest()
                    dice = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
                    codes, logprobs = _say(self._model, sample.graph, dice, self._options.temperature)
                    found.append(
                        Rollout(
                            sample=sample,
                            tokens=tuple(codes),
                            logprobs=tuple(logprobs),
                            outcome=self._outcome(codes),
                            group=number,
                        )
                    )
        return found

    def _outcome(self, codes: Sequence[int]) -> Outcome:
        data = png_of(things_of(codes), self._options.size, "room")
        name = f"{hashlib.sha256(data).hexdigest()}.png"
        path = Path(self._folder.name) / name
        if not path.exists():
            path.write_bytes(data)
        return Outcome(image=self._roots.image(f"drawn:{name}"))

    def logprobs(self, rollouts: Sequence[Rollout], /) -> list[torch.Tensor]:
        """Of exactly these codes, with gradient."""
        found = []
        device = self._model.head.weight.device
        for rollout in rollouts:
            prompt = prompt_of(rollout.sample.graph)
            codes = torch.tensor([*prompt, *rollout.tokens], device=device)
            logits = self._model(codes[None, :-1])[0, len(prompt) - 1 :]
            masks = torch.stack([_open(place, device) for place in range(len(rollout.tokens))])
            chances = torch.log_softmax(logits / self._options.temperature + masks, 1)
            found.append(chances.gather(1, codes[len(prompt) :, None])[:, 0])
        return found

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
            folder.mkdir(parents=True, exist_ok=True)
            _save(self._model, folder)
