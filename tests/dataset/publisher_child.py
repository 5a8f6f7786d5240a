"""A process that puts and publishes until it is done or killed; says on stdout what was acknowledged to it.

    python publisher_child.py DATASET ROUNDS

Round r adds to every image the relation "r" from region 0 to region 1. Keys are known beforehand, so a new process
goes on where the last one was killed.
"""

from __future__ import annotations

import hashlib
import sys

from sgforge.dataset import DatasetWriter, JournalRow, RunRecord, StepRecord
from sgforge.edits import Edit, apply_edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.packed import pack_edit
from sgforge.statekey import KEY_BYTES

IMAGES = 12


def key_of(image: int, round_number: int) -> bytes:
    return hashlib.sha256(f"{image} {round_number}".encode()).digest()[:KEY_BYTES]


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def edit_of(round_number: int) -> Edit:
    return Edit.add(Relation(0, f"r{round_number:02}", 1)) + Edit.keep(0, None, round_number / 100, target="region")


def main(folder: str, rounds: int) -> None:
    graph = SceneGraph(10, 10, [Region("a", (0, 0, 5, 5)), Region("b", (1, 1, 9, 9))])
    samples = [Sample(f"im{image:02}", graph) for image in range(IMAGES)]
    with DatasetWriter.open(folder) as writer:
        writer.begin_run(RunRecord(f"run-{rounds}"))
        snapshot = writer.publish_source(samples, [key_of(image, 0) for image in range(IMAGES)])
        first = 1
        if "main" in writer.branches():
            snapshot = writer.snapshot("main")
            first = int(snapshot.meta.step.name.removeprefix("round-")) + 1
        for number in range(first, rounds + 1):
            keys = [key_of(image, number) for image in range(IMAGES)]
            known = writer.journal.has(keys)
            refs = writer.states().find(keys)
            for image in range(IMAGES):
                if keys[image] in known or refs[image] is not None:
                    continue
                done = apply_edit(snapshot.graph(image), edit_of(number), f"round-{number}")
                row = JournalRow(keys[image], f"im{image:02}", f"round-{number}", pack_edit(done.edit), (), "run")
                writer.journal.put([row])
                say("put", keys[image].hex())
            say("publishing")
            step = StepRecord(f"round-{number}", "complete", "child", f"fp{number}")
            snapshot = writer.publish(step, snapshot, keys)
            say("published", snapshot.id)
            say("moving")
            writer.move_branch("main", snapshot)
            say("moved", number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
