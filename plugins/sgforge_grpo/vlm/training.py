"""Training a vision-language model on graphs: the answer alone is learnt; a state to go on from is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch
from torch import Tensor

from sgforge.dataset import Snapshot
from sgforge.durable import write_text
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.stages import Checkpoint, Resources, Selection, asked_to_stop
from sgforge_grpo.config import VlmOptions
from sgforge_grpo.refining.drawing import bare
from sgforge_grpo.refining.life import States
from sgforge_grpo.refining.ranks import Ranks
from sgforge_grpo.refining.shares import go_back_from_nothing
from sgforge_grpo.vlm.asking import Prompt, answer_logits, logprobs_of
from sgforge_grpo.vlm.loading import Vlm
from sgforge_grpo.vlm.policy import VlmPolicy
from sgforge_grpo.vlm.prompts import answer_text

__all__ = ["train"]

_DONE: Final = "trained.json"
_WEIGHTS: Final = "weights"
_NOT_OF_TRAINING: Final = (
    *("temperature", "top_p", "max_tokens", "relations_per_subject", "save_every", "answers_at_once"),
    "sharding",
)


def train(
    options: VlmOptions,
    snapshot_path: Path,
    selection: Selection,
    out_dir: Path,
    resources: Resources,
    folder: Path | None,
) -> Checkpoint:
    """Train for the options' steps, or go on; a training that is done already is found as it was left."""
    snapshot = Snapshot.open(snapshot_path)
    rows = np.asarray(snapshot.rows(selection), np.int64)
    ranks = Ranks(resources.worker)
    plan = _plan(options, snapshot, rows, resources)
    weights = out_dir / _WEIGHTS
    if (out_dir / _DONE).exists() and (out_dir / _DONE).read_text() == plan:
        return _checkpoint(weights, ranks)
    if not len(rows):
        raise StepError("no image is selected to train on")
    policy = VlmPolicy.of(options, resources, folder)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=options.rate, weight_decay=0.0)
    states = States(folder=out_dir, plan=plan, ranks=ranks)
    begin, _ = states.load(policy, optimizer, resources.device)
    steps = options.steps or -(-len(rows) * options.epochs // options.batch)
    with asked_to_stop() as stopped:
        for step in range(begin, steps):
            loss = _step(
                step, steps, options, policy, optimizer, list(_batch(step, options, snapshot, rows, resources)), ranks
            )
            resources.report("loss", loss, step)
            is_stopped = any(ranks.gather(stopped.is_set()))
            if is_stopped or ((step + 1) % options.save_every == 0 and step + 1 < steps):
                states.save(step + 1, policy, optimizer, 0)
            if is_stopped:
                raise StepError(f"asked to stop after step {step + 1} of {steps}: run it again to go on from there")
    weights.mkdir(exist_ok=True)
    policy.save(weights)
    ranks.gather(None)
    if ranks.rank == 0:
        states.clear()
        write_text(out_dir / _DONE, plan)
    return _checkpoint(weights, ranks)


def _checkpoint(weights: Path, ranks: Ranks) -> Checkpoint:
    return Checkpoint.of(weights) if ranks.rank == 0 else Checkpoint(weights, "")


def _plan(options: VlmOptions, snapshot: Snapshot, rows: np.ndarray[Any, Any], resources: Resources) -> str:
    told = {
        field.name: str(getattr(options, field.name))
        for field in attrs.fields(VlmOptions)
        if field.name not in _NOT_OF_TRAINING
    }
    base = resources.checkpoint
    images = hashlib.sha256(np.asarray(snapshot.keys)[rows].tobytes()).hexdigest()
    parts = {"options": told, "seed": resources.seed, "start": base.sha256 if base else None, "images": images}
    return json.dumps(parts, sort_keys=True)


def _batch(
    step: int, options: VlmOptions, snapshot: Snapshot, rows: np.ndarray[Any, Any], resources: Resources
) -> Iterator[Sample]:
    """The images of a step, of all ranks; each epoch has an order of its own."""
    for place in range(step * options.batch, (step + 1) * options.batch):
        epoch, within = divmod(place, len(rows))
        order = np.random.default_rng([resources.seed, epoch]).permutation(len(rows))
        yield snapshot.sample(int(rows[order[within]]), resources.roots)


def _step(
    step: int,
    steps: int,
    options: VlmOptions,
    policy: VlmPolicy,
    optimizer: torch.optim.Optimizer,
    samples: list[Sample],
    ranks: Ranks,
) -> float:
    """One update: the mean over the tokens of all answers of the batch."""
    mine, counted = ranks.share(samples)
    lessons = [_lesson(policy, sample, options) for sample in mine]
    known = [len(one[1]) if one is not None and place < counted else 0 for place, one in enumerate(lessons)]
    total = ranks.sums({"tokens": float(sum(known))})["tokens"]
    for group in optimizer.param_groups:
        group["lr"] = options.rate * min(1.0, (step + 1) / max(1, options.warmup)) * (1 - step / steps)
    optimizer.zero_grad(set_to_none=True)
    found = 0.0
    for one, tokens in zip(lessons, known, strict=True):
        values = policy.learnt([] if one is None else [partial(_said, policy.vlm, *one)])
        if not values:
            go_back_from_nothing(policy)
            continue
        loss = -values[0].sum() * (float(tokens > 0) * ranks.world / max(1.0, total))
        loss.backward()  # type: ignore[no-untyped-call]
        found += float(loss.detach()) / ranks.world
    if total:
        torch.nn.utils.clip_grad_norm_(list(policy.parameters()), options.clip)
        optimizer.step()
    return ranks.sums({"loss": found})["loss"]


def _said(vlm: Vlm, prompt: Prompt, ids: list[int], model: Any) -> Tensor:
    """The log-probabilities of an answer."""
    own = attrs.evolve(vlm, model=model)
    return logprobs_of(own, answer_logits(own, prompt, [ids])[0], ids, None)[0]


def _lesson(policy: VlmPolicy, sample: Sample, options: VlmOptions) -> tuple[Any, list[int]] | None:
    """A prompt without the truth, and the truth's tokens with their end."""
    prompt = policy.prompt(bare(sample))
    if prompt is None:
        return None
    text = answer_text(sample, prompt.question, options)
    tokenizer = policy.vlm.processor.tokenizer
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"][: options.longest]
    return prompt, [*ids, policy.vlm.end]
