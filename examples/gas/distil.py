"""Targeted distillation: where is one renderer better than another? Teach the other one just that.

    python examples/gas/distil.py [--small]

Generate Any Scene, section 4. Both renderers draw the same graphs; their scores are compared by object, degree and
complexity; of new graphs those are taken where it is expected to be widest, the better renderer draws them, and the
other learns these pairs of caption and picture. Beside it as many graphs by chance: what choosing them is worth. As it
stands the better renderer draws without a model, and the other is a tiny one that has seen few pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs
from loops import Loop, gain, said, score

import sgforge as sg
from sgforge.jsonl import dump_sample
from sgforge_gas.judging.groups import gaps, targeted

TARGETS = ("object", "degree", "complexity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few graphs and steps, to see that it runs")
    parser.add_argument("--folder", type=Path, default=Path("runs/distil"))
    args = parser.parse_args()
    count, steps = (12, 5) if args.small else (300, 150)
    loop = Loop(folder=args.folder, steps=steps)
    teacher = sg.render("procedural", size=64)
    weights = loop.learnt("start", loop.graphs(0, count // 4), [*loop.said(), teacher, loop.taught(None)])
    compared = loop.graphs(1, count)
    found = gaps(loop.scored("teacher", compared, teacher), loop.scored("student", compared, loop.rendered(weights)))
    print("the widest gaps")
    for by in TARGETS:
        for row in [row for row in found if row.by == by][:3]:
            print(f"{row.by:<12}{row.name:<10}{said(row)}")
    held_out = loop.graphs(1000, count, split="val")
    before = loop.scored("held-out-start", held_out, loop.rendered(weights))
    print(f"\n{'learnt from':<14}{'held-out score':<26}gain over the start")
    print(f"{'start':<14}{said(score(before))}")
    for name, pairs in pairs_of(loop, found, count).items():
        learnt = loop.learnt(name, pairs, [*loop.said(), teacher, loop.taught(weights)])
        after = loop.scored(f"held-out-{name}", held_out, loop.rendered(learnt))
        print(f"{name:<14}{said(score(after)):<26}{said(gain(after, before))}", flush=True)


def pairs_of(loop: Loop, found: list, count: int) -> dict:
    """New graphs where the gap is widest, and as many by chance."""
    loop.run("pool", loop.graphs(2, 4 * count), loop.said())
    pool = list(sg.Dataset.open(loop.folder / "pool"))
    kept = {"targeted": targeted(pool, found, count, by=TARGETS), "by-chance": pool[:count]}
    sources = {}
    for name, samples in kept.items():
        path = loop.folder / f"{name}.jsonl"
        path.write_bytes(b"".join(dump_sample(attrs.evolve(one, values={})) for one in samples))
        sources[name] = sg.source("jsonl", graphs=str(path), split="train")
    return sources


if __name__ == "__main__":
    main()
