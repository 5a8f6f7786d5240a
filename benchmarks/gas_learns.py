"""Generate Any Scene, shown on drawn scenes: selection by questions, and a round of self-improvement.

`select`: of four pictures with faults planted in them, the one that `scene-questions` prefers (with the judge that
knows what was drawn) against a random one, and against that whose words are most like the caption's. How good a
picture is, is told by no question: the share of things that have their kind, colour, column and row.
`improve`: the renderer `tokens`, taught on faulty pictures, renders four candidates of new graphs; it is taught again
on those that the reward prefers; its score on held-out graphs before and after.

Scenes and seeds are those of the constants below, fixed before the first run. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SCENES = Path(__file__).parents[1] / "examples/gas/scenes.toml"
SEEDS = (1, 2, 3)
FAULTS = 0.35
CANDIDATES = 4
COMPLEXITY = (3, 5)


def drawable(seed: int, count: int) -> list:
    """Graphs that can be drawn, each with its things in their places."""
    from sgforge.stages import Failure
    from sgforge_gas.config import GasOptions
    from sgforge_gas.rendering.layout import laid_out
    from sgforge_gas.sampling import Sampler

    options = GasOptions(complexity=COMPLEXITY, vocabulary=SCENES, scene_attributes=(0,), seed=seed)
    found = []
    for sample in Sampler(options).samples(range(4 * count)):
        things = laid_out(sample.graph)
        if not isinstance(things, Failure) and all(thing.on < 0 for thing in things):
            found.append((sample, things))
    return found[:count]


def truth(meant: Sequence, drawn: Sequence) -> float:
    """The share of things that were drawn as they were meant."""
    left = [(one.label, one.colour or "grey", one.column, one.row) for one in drawn]
    right = 0
    for one in meant:
        key = (one.label, one.colour or "grey", one.column, one.row)
        if key in left:
            left.remove(key)
            right += 1
    return right / max(len(meant), len(drawn))


def interval(values: Sequence[float], draws: int = 2000) -> list[float]:
    """The 95 % bootstrap interval of a mean, over graphs."""
    rows = np.asarray(values)
    dice = np.random.default_rng(0)
    means = rows[dice.integers(len(rows), size=(draws, len(rows)))].mean(axis=1)
    return [round(float(end), 4) for end in np.quantile(means, [0.025, 0.975])]


def likeness(caption: str, drawn: Sequence) -> float:
    """How many words two texts share, of all that either has: what an image-text similarity sees of a scene."""
    words = set(caption.casefold().replace(";", "").replace(".", "").split())
    other = {word for one in drawn for word in (one.label, one.colour or "grey")}
    return len(words & other) / len(words | other)


def select(seeds: Sequence[int], count: int) -> dict[str, object]:
    """Gain in truth of the chosen picture over a random one and over the most alike one, in all and by seed."""
    gains = [gains_of(seed, count) for seed in seeds]
    found: dict[str, object] = {}
    for place, name in enumerate(("over_random", "over_similarity")):
        every = [value for one in gains for value in one[place]]
        found[name] = round(float(np.mean(every)), 4)
        found[f"{name}_95"] = interval(every)
        found[f"{name}_by_seed_95"] = [interval(one[place]) for one in gains]
    return found


def gains_of(seed: int, count: int) -> tuple[list[float], list[float]]:
    """Of each graph the gain over the mean of its pictures, and over the one whose words are most alike."""
    from PIL import Image

    from sgforge_gas.captions import Writer
    from sgforge_gas.judging.drawn import answers_of
    from sgforge_gas.questions import Asker, score_answers
    from sgforge_gas.rendering.layout import Drawn
    from sgforge_gas.rendering.procedural import NOTE, png_of, with_faults
    from sgforge_gas.structures.dice import dice_of
    from sgforge_gas.vocabulary import load_vocabulary

    words = load_vocabulary(SCENES)
    asker, writer = Asker(words), Writer(words)
    over_random, over_alike = [], []
    dice = iter(dice_of(seed, range(10 * count * CANDIDATES)))
    for sample, things in drawable(seed, count):
        pictures = []
        for _ in range(CANDIDATES):
            data = png_of(with_faults(things, FAULTS, next(dice)), 64, "room")
            rows = json.loads(Image.open(io.BytesIO(data)).info[NOTE])
            pictures.append([Drawn(**row) for row in rows])
        asked = asker.ask(sample.graph)
        caption = writer.write(sample.graph).text
        totals = [score_answers(asked, answers_of(one, asked)).balanced for one in pictures]
        alike = [likeness(caption, one) for one in pictures]
        found = [truth(things, one) for one in pictures]
        chosen = found[int(np.argmax(totals))]
        over_random.append(chosen - float(np.mean(found)))
        over_alike.append(chosen - found[int(np.argmax(alike))])
    return over_random, over_alike


def improve(seeds: Sequence[int], count: int, steps: int) -> dict[str, object]:
    """The mean balanced score on held-out graphs before and after a round, and the interval of the gain."""
    rounds = [round_of(seed, count, steps) for seed in seeds]
    before, after = (np.concatenate([one[place] for one in rounds]) for place in (0, 1))
    return {
        "before": round(float(before.mean()), 4),
        "after": round(float(after.mean()), 4),
        "gain_95": interval((after - before).tolist()),
        "gain_by_seed": [round(float((one[1] - one[0]).mean()), 4) for one in rounds],
    }


def round_of(seed: int, count: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The score of each held-out graph before and after one round."""
    import torch

    from sgforge.graph import Sample
    from sgforge.stages import Resources
    from sgforge_gas.config import TokensOptions
    from sgforge_gas.judging.drawn import answers_of
    from sgforge_gas.questions import Asker, score_answers
    from sgforge_gas.rendering import tokens
    from sgforge_gas.rendering.procedural import with_faults
    from sgforge_gas.structures.dice import dice_of
    from sgforge_gas.vocabulary import load_vocabulary

    torch.set_num_threads(1)
    asker = Asker(load_vocabulary(SCENES))
    options = TokensOptions(steps=steps)
    resources = Resources(seed=seed)
    renderer = tokens.TokensRenderer(options)
    model = renderer._load(resources)

    def score(sample: Sample, codes: Sequence[int]) -> float:
        asked = asker.ask(sample.graph)
        return score_answers(asked, answers_of(tokens.things_of(codes), asked)).balanced

    def held_out() -> np.ndarray:
        with torch.no_grad():
            return np.array([score(one, tokens._say(model, one.graph, None, 1.0)[0]) for one, _ in test])

    test = drawable(100 + seed, max(count // 4, 20))
    dice = iter(dice_of(seed, range(count)))
    taught = [
        (tokens.prompt_of(sample.graph), tokens.codes_of(with_faults(things, FAULTS, next(dice)) or things))
        for sample, things in drawable(seed, count)
    ]
    tokens._teach(model, taught, options, resources)
    before = held_out()
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for sample, _ in drawable(10 + seed, count):
        with torch.no_grad():
            candidates = [tokens._say(model, sample.graph, generator, 1.0)[0] for _ in range(CANDIDATES)]
        totals = [score(sample, codes) for codes in candidates]
        chosen.append((max(totals), tokens.prompt_of(sample.graph), candidates[int(np.argmax(totals))]))
    chosen.sort(key=lambda row: -row[0])
    tokens._teach(model, [row[1:] for row in chosen[: len(chosen) // 2]], options, resources)
    return before, held_out()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one seed, fewer graphs")
    parser.add_argument("--only", choices=("select", "improve"), help="one of the two")
    args = parser.parse_args()
    seeds = SEEDS[:1] if args.small else SEEDS
    started = time.perf_counter()
    found: dict[str, object] = {"benchmark": "gas_learns", "seeds": seeds}
    if args.only != "improve":
        found["select"] = select(seeds, 40 if args.small else 200)
    if args.only != "select":
        found["improve"] = improve(seeds, 120, 60)
    found["seconds"] = round(time.perf_counter() - started)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
