"""Self-improvement rounds: captions, N pictures each, judge, the top fraction, train on it, again.

    python examples/gas/improve.py [--rounds 2] [--small]
    python examples/gas/improve.py --checkpoint FOLDER --judge PROVIDER/MODEL [--base-url URL]

Generate Any Scene, section 3, with the questions of the graph in place of the paper's score. As it stands the renderer
is a tiny one that was taught on faulty pictures, and the judge knows what was drawn. With `--checkpoint` a pipeline of
diffusers learns by LoRA. Prints the mean score on held-out captions after each round, and its gain over the start on
the same captions, with 95 % intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from loops import Loop, gain, said, score

import sgforge as sg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--copies", type=int, default=8, help="pictures of each caption")
    parser.add_argument("--fraction", type=float, default=0.5, help="captions to learn from, by their best picture")
    parser.add_argument("--checkpoint", help="a pipeline of diffusers: its folder or hub id")
    parser.add_argument("--judge", help="provider/model, with --checkpoint")
    parser.add_argument("--base-url", help="of the judge, where it is a server of yours (compat/NAME)")
    parser.add_argument("--small", action="store_true", help="few graphs and steps, to see that it runs")
    parser.add_argument("--folder", type=Path, default=Path("runs/improve"))
    args = parser.parse_args()
    if bool(args.checkpoint) != bool(args.judge):
        parser.error("--checkpoint and --judge go together: who draws such pictures cannot say what is on them")
    count, steps = (12, 5) if args.small else (300, 200)
    loop = Loop(folder=args.folder, steps=steps, checkpoint=args.checkpoint, judge=args.judge, base_url=args.base_url)
    held_out = loop.graphs(1000, count, split="val")
    weights = None if args.checkpoint else start(loop, count)
    before = loop.scored("held-out-0", held_out, loop.rendered(weights))
    print(f"{'round':<8}{'held-out score':<26}gain over the start")
    print(f"{'start':<8}{said(score(before))}")
    for number in range(1, args.rounds + 1):
        candidates = loop.graphs(number, count, copies=args.copies)
        weights = loop.learnt(f"round-{number}", candidates, steps_of(loop, weights, args.fraction))
        after = loop.scored(f"held-out-{number}", held_out, loop.rendered(weights))
        print(f"{number:<8}{said(score(after)):<26}{said(gain(after, before))}", flush=True)


def start(loop: Loop, count: int) -> Path:
    """A renderer that was taught on pictures of which a third of the things are wrong."""
    faulty = sg.render("procedural", size=64, fault_rate=0.35)
    return loop.learnt("start", loop.graphs(0, count), [*loop.said(), faulty, loop.taught(None)])


def steps_of(loop: Loop, weights: Path | None, fraction: float) -> list:
    """One round: candidates, the best of each caption, the best of all captions, a training on these."""
    return [
        *loop.said(),
        loop.rendered(weights, sampled=True),
        loop.judged(),
        sg.select("best-of", rewards=["scene-questions"]),
        sg.select("top-fraction", rewards=["scene-questions"], fraction=fraction),
        loop.taught(weights),
    ]


if __name__ == "__main__":
    main()
