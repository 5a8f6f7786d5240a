"""Scene-graph metrics: CPU against one argsort, masks against boolean arrays, files at scale, --compare.

Prints one JSON line. `--small` leaves the 100,000-image files out of it (2,000 instead). `--only many-predicates` is
the CPU of an evaluation of rankings over 6,820 predicates, checked, saved and scored as a pipeline does, against that
of the same rankings cut to 50; `--only dense` that of full distributions through `score`.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import numpy as np
import orjson

from sgforge.columns import GraphColumns
from sgforge.engine.barriers.evaluation import saved_relations
from sgforge.engine.executors.check_answer import check_ranking
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph
from sgforge.jsonl import dump_sample
from sgforge.masks import MaskTable, from_arrays, to_coco
from sgforge.matching import MaskLocalizer
from sgforge.stages import Judged, Ranking
from sgforge.statekey import KEY_BYTES
from sgforge_eval.compare import compare
from sgforge_eval.config import RecallOptions
from sgforge_eval.evaluate import Settings, evaluate_graphs, score
from sgforge_eval.intake.dense import DenseGraphs
from sgforge_eval.pipeline.evaluators import SgdetEvaluator

OBJECTS, PREDICATES, LABELS, TRUTH = 30, 50, 150, 20


def cpu_of(work: Callable[[], object], repeats: int = 5) -> float:
    """The least CPU seconds of `repeats` runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


@attrs.frozen(eq=False)
class Scenes:
    """Truth as columns, and predictions as arrays of all images."""

    truth: GraphColumns
    predictions: DenseGraphs


def random_scenes(images: int, pairs: int, seed: int = 0) -> Scenes:
    """Images of 30 objects with a table of 50 predicates for each pair, and 20 true relations."""
    rng = np.random.default_rng(seed)
    corner = rng.random((images, OBJECTS, 2)) * 400
    boxes = np.concatenate([corner, corner + rng.random((images, OBJECTS, 2)) * 200 + 10], axis=2).astype(np.float32)
    labels = rng.integers(0, LABELS, (images, OBJECTS))
    samples = []
    for image in range(images):
        told = zip(labels[image].tolist(), boxes[image].tolist(), strict=True)
        found = [Region(f"label {code}", tuple(box)) for code, box in told]
        subject = rng.integers(0, OBJECTS, TRUTH)
        target = (subject + rng.integers(1, OBJECTS, TRUTH)) % OBJECTS
        verbs = rng.integers(0, PREDICATES, TRUTH)
        rows = dict.fromkeys(zip(subject.tolist(), verbs.tolist(), target.tolist(), strict=True))
        relations = [Relation(s, f"predicate {p}", o) for s, p, o in rows]
        samples.append(Sample(str(image), SceneGraph(640, 640, found, relations)))
    # Of 10,000 pairs of 30 objects many stand twice, as in a list that a detector makes.
    subject = rng.integers(0, OBJECTS, images * pairs)
    predictions = DenseGraphs(
        ids=tuple(map(str, range(images))),
        object_offsets=np.arange(images + 1) * OBJECTS,
        boxes=(boxes + rng.normal(0, 2, boxes.shape)).astype(np.float32).reshape(-1, 4),
        labels=np.where(rng.random(labels.shape) < 0.8, labels, (labels + 1) % LABELS).astype(np.int32).reshape(-1),
        label_names=tuple(f"label {code}" for code in range(LABELS)),
        pair_offsets=np.arange(images + 1) * pairs,
        pairs=np.stack([subject, (subject + rng.integers(1, OBJECTS, images * pairs)) % OBJECTS], axis=1),
        scores=rng.random((images * pairs, PREDICATES), np.float32) ** 8,
        predicates=tuple(f"predicate {code}" for code in range(PREDICATES)),
        object_scores=rng.random(images * OBJECTS, np.float32),
        sizes=np.full((images, 2), 640),
    )
    return Scenes(GraphColumns.from_samples(samples), predictions)


def against_argsort(folder: Path, images: int, pairs: int, bar: float) -> dict[str, float]:
    """CPU of `score` on arrays in memory, whole set at once, all metrics, over that of one argsort of all scores."""
    scenes = random_scenes(images, pairs)
    rng = np.random.default_rng(1)
    zero = folder / "zero_shot.json"
    triplets = [
        [f"label {s}", f"predicate {p}", f"label {o}"] for s, p, o in rng.integers(0, PREDICATES, (6000, 3)).tolist()
    ]
    zero.write_text(json.dumps(triplets))
    flat = scenes.predictions.scores.reshape(-1)
    peer = cpu_of(lambda: np.argsort(flat))
    own = cpu_of(lambda: score(scenes.predictions, scenes.truth, convention="sgb", zero_shot=zero))
    return {"argsort_s": round(peer, 4), "score_s": round(own, 4), "ratio": round(own / peer, 3), "bar_ratio": bar}


def from_distributions(folder: Path, images: int, pairs: int) -> dict[str, float]:
    """CPU of `score` on a JSONL with 50 predicates a pair over that of `orjson.loads` on its lines."""
    truth, predicted = folder / "full_truth.jsonl", folder / "full_predicted.jsonl"
    write_distributions(truth, predicted, images, pairs)

    def decoded() -> None:
        with predicted.open("rb") as stream:
            for line in stream:
                orjson.loads(line)

    peer, own = cpu_of(decoded), cpu_of(lambda: score(predicted, truth, convention="sgb"))
    return {"orjson_s": round(peer, 3), "score_s": round(own, 3), "ratio": round(own / peer, 2), "bar_ratio": 3}


def write_distributions(truth: Path, predicted: Path, images: int, pairs: int) -> None:
    """Two graph JSONL files; each of `pairs` pairs of an image has a score for each of 50 predicates."""
    scenes = random_scenes(images, pairs)
    data = scenes.predictions
    rng = np.random.default_rng(2)
    every = [(s, o) for s in range(OBJECTS) for o in range(OBJECTS) if s != o]
    with truth.open("wb") as one, predicted.open("w", encoding="utf-8") as two:
        for image in range(images):
            one.write(dump_sample(scenes.truth.sample(image)))
            own = slice(image * OBJECTS, (image + 1) * OBJECTS)
            regions = [
                {"label": data.label_names[code], "box": box}
                for code, box in zip(data.labels[own].tolist(), data.boxes[own].round(1).tolist(), strict=True)
            ]
            rows = [
                {"subject": every[k][0], "object": every[k][1], "predicate": name, "score": value}
                for k in rng.permutation(len(every))[:pairs].tolist()
                for name, value in zip(data.predicates, (rng.random(PREDICATES) ** 8).round(6).tolist(), strict=True)
            ]
            head = {"image_id": str(image), "width": 640, "height": 640}
            two.write(json.dumps({**head, "regions": regions, "relations": rows}) + "\n")


def masks_against_arrays(regions: int = 30, asked: int = 100, images: int = 8) -> dict[str, float]:
    """Matching `asked` pairs of masks an image, 480x640, against decoding both sides to boolean arrays first."""
    from pycocotools import mask as coco

    rng = np.random.default_rng(0)
    sides = [[_blobs(rng, regions) for _ in range(images)] for _ in range(2)]
    tables = [MaskTable.of([mask for image in side for mask in image]) for side in sides]
    strings = [[[{"size": [480, 640], "counts": to_coco(mask)} for mask in image] for image in side] for side in sides]
    first = np.concatenate([rng.integers(0, regions, asked) + image * regions for image in range(images)])
    second = np.where(
        rng.random(len(first)) < 0.3, first, first // regions * regions + rng.integers(0, regions, len(first))
    )

    def decoded() -> list[bool]:
        found = []
        for image in range(images):
            one, two = (np.ascontiguousarray(coco.decode(side[image]).transpose(2, 0, 1)) > 0 for side in strings)
            for pair in range(image * asked, (image + 1) * asked):
                mine, theirs = one[first[pair] % regions], two[second[pair] % regions]
                both = np.logical_and(mine, theirs).sum()
                found.append(bool(both) and both / np.logical_or(mine, theirs).sum() >= 0.5)
        return found

    def own() -> np.ndarray:
        return MaskLocalizer(*tables).regions(first, second)

    assert own().tolist() == decoded()
    peer, fast = cpu_of(decoded, 3), cpu_of(own, 5)
    return {"arrays_s": round(peer, 4), "runs_s": round(fast, 4), "times_faster": round(peer / fast, 1)}


def _blobs(rng: np.random.Generator, count: int) -> list[Mask]:
    """Ellipses with ragged borders, both sides of one image drawn from the same places."""
    y, x = np.mgrid[:480, :640]
    shapes = np.zeros((count, 480, 640), bool)
    for index in range(count):
        cy, cx = 60 + 60 * (index // 6), 60 + 100 * (index % 6)
        ry, rx = rng.uniform(20, 70, 2)
        wave = 1 + 0.1 * np.sin(np.arctan2(y - cy, x - cx) * rng.integers(3, 15))
        shapes[index] = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < wave
    return from_arrays(shapes)


def write_graphs(path: Path, images: int, relations: int, *, truth: bool) -> None:
    """A graph JSONL of `images` images with 30 regions and `relations` relations each."""
    rng = np.random.default_rng(0)
    other = np.random.default_rng(1)
    with path.open("w", encoding="utf-8") as stream:
        for image in range(images):
            corner = rng.random((OBJECTS, 2)) * 400
            boxes = np.concatenate([corner, corner + rng.random((OBJECTS, 2)) * 200 + 10], axis=1)
            labels = rng.integers(0, LABELS, OBJECTS)
            subject = rng.integers(0, OBJECTS, relations)
            target = (subject + rng.integers(1, OBJECTS, relations)) % OBJECTS
            predicate = rng.integers(0, PREDICATES, relations)
            if not truth:
                boxes = boxes + other.uniform(-3, 3, boxes.shape)
                predicate = np.where(other.random(relations) < 0.5, predicate, other.integers(0, PREDICATES, relations))
            scores = other.random(relations)
            regions = [
                {"label": f"label {label}", "box": [round(side, 2) for side in box]}
                for label, box in zip(labels.tolist(), boxes.tolist(), strict=True)
            ]
            rows = [
                {"subject": s, "predicate": f"predicate {p}", "object": o, "score": round(score, 4)}
                if not truth
                else {"subject": s, "predicate": f"predicate {p}", "object": o}
                for s, p, o, score in zip(
                    subject.tolist(), predicate.tolist(), target.tolist(), scores.tolist(), strict=True
                )
            ]
            line = {"image_id": f"{image:07d}", "width": 640, "height": 640, "regions": regions, "relations": rows}
            stream.write(json.dumps(line) + "\n")


def from_files(folder: Path, images: int) -> dict[str, float]:
    """Wall and CPU seconds of a whole evaluation from two JSONL files, and the peak of the process."""
    truth, predicted = folder / "truth.jsonl", folder / "predicted.jsonl"
    write_graphs(truth, images, 100, truth=True)
    write_graphs(predicted, images, 100, truth=False)
    start, cpu = time.perf_counter(), time.process_time()
    evaluate_graphs(predicted, truth, Settings()).metrics().values()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"images": images, "jsonl_s": round(wall, 1), "jsonl_cpu_s": round(cpu, 1), "peak_gb": round(peak, 2)}


def comparison_overhead(folder: Path, images: int) -> dict[str, float]:
    """CPU share that 1,000 resamples add to a comparison of two files."""
    truth, predicted = folder / "small_truth.jsonl", folder / "small_predicted.jsonl"
    write_graphs(truth, images, 100, truth=True)
    write_graphs(predicted, images, 100, truth=False)
    start = time.process_time()
    compare(predicted, predicted, truth, draws=1)
    middle = time.process_time()
    compare(predicted, predicted, truth, draws=1000)
    plain, drawn = middle - start, time.process_time() - middle
    return {"compare_images": images, "compare_s": round(plain, 2), "resamples_add": round(drawn / plain - 1, 3)}


def from_dataset(folder: Path, images: int) -> dict[str, float]:
    """Wall seconds of the same evaluation with both sides published as datasets."""
    from sgforge.dataset import DatasetWriter
    from sgforge.jsonl import read_columns

    paths = []
    for name in ("truth", "predicted"):
        path = folder / f"{name}_dataset"
        columns = GraphColumns.concat(list(read_columns(folder / f"{name}.jsonl")))
        with DatasetWriter.open(path) as writer:
            keys = np.random.default_rng(0).integers(0, 256, (len(columns), KEY_BYTES), np.uint8)
            writer.move_branch("main", writer.publish_source(columns, keys))
        paths.append(path)
    start = time.perf_counter()
    evaluate_graphs(paths[1], paths[0], Settings()).metrics().values()
    return {"dataset_s": round(time.perf_counter() - start, 1)}


def many_predicates(images: int, regions: int = 18, predicates: int = 6820) -> dict[str, float]:
    """CPU seconds of a pipeline's evaluation, 1,000 resamples, over that of the same rankings cut to 50 predicates."""
    names = tuple(f"predicate {code:04}" for code in range(predicates))
    seconds, peaks = [], []
    for columns in (50, predicates):
        folder = tempfile.TemporaryDirectory()
        spent = [0.0]
        judged = _saved(_rankings(images, regions, names, columns, spent), Path(folder.name) / "predictions.jsonl")
        start = time.process_time()
        SgdetEvaluator(RecallOptions()).evaluate(judged)
        seconds.append(time.process_time() - start - spent[0])
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
        folder.cleanup()
    return {
        "predicates_50_s": round(seconds[0], 2),
        "predicates_6820_s": round(seconds[1], 2),
        "ratio": round(seconds[1] / seconds[0], 2),
        "bar_ratio": 2,
        "peak_mb": round(peaks[1]),
    }


def _rankings(images: int, regions: int, names: tuple[str, ...], columns: int, spent: list[float]) -> Iterator[Judged]:
    """Rankings over the first `columns` names; `spent` sums the seconds of making them."""
    pairs = np.array([(s, o) for s in range(regions) for o in range(regions) if s != o], np.int32)
    for image in range(images):
        start = time.process_time()
        rng = np.random.default_rng(image)
        corner = rng.random((regions, 2)) * 400
        boxes = np.concatenate([corner, corner + rng.random((regions, 2)) * 200 + 10], axis=1)
        found = tuple(
            Region(f"label {label}", tuple(box))
            for label, box in zip(rng.integers(0, LABELS, regions).tolist(), boxes.tolist(), strict=True)
        )
        scores = rng.random((len(pairs), len(names)), np.float32) ** 8
        # Half of the truth is what the ranking says first; predicates follow a long tail.
        chosen = pairs[rng.permutation(len(pairs))[:40]]
        true = np.exp(rng.random(40) * np.log(len(names))).astype(np.int64) - 1
        rows = chosen[:, 0] * (regions - 1) + chosen[:, 1] - (chosen[:, 1] > chosen[:, 0])
        scores[rows[::2], true[::2]] = 1.0
        relations = [Relation(s, names[p], o) for (s, o), p in zip(chosen.tolist(), true.tolist(), strict=True)]
        ranking = Ranking(found, pairs, names[:columns], np.ascontiguousarray(scores[:, :columns]))
        judged = Judged(str(image), SceneGraph(640, 640, found, relations), ranking)
        spent[0] += time.process_time() - start
        yield judged


def _saved(rankings: Iterator[Judged], path: Path) -> Iterator[Judged]:
    """Each checked and saved, as a pipeline does before the evaluator sees it."""
    with path.open("wb") as stream:
        for judged in rankings:
            ranking = check_ranking(judged.prediction)
            assert isinstance(ranking, Ranking)
            graph = SceneGraph(640, 640, ranking.regions, saved_relations(ranking))
            stream.write(dump_sample(Sample(judged.image_id, graph)))
            yield judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="2,000 images in files instead of 100,000")
    parser.add_argument("--only", choices=["many-predicates", "dense"], help="one part alone")
    args = parser.parse_args()
    if args.only == "dense":
        with tempfile.TemporaryDirectory() as name:
            parts = {
                "pairs_100": against_argsort(Path(name), 200 if args.small else 1000, 100, 1.0),
                "pairs_10000": against_argsort(Path(name), 10 if args.small else 30, 10_000, 0.2),
                "distributions": from_distributions(Path(name), 20 if args.small else 200, 100),
            }
        print(json.dumps({"benchmark": "dense", **parts}))
        return
    if args.only:
        print(json.dumps({"benchmark": args.only, **many_predicates(40 if args.small else 197)}))
        return
    images = 2_000 if args.small else 100_000
    result: dict[str, object] = {
        "benchmark": "metrics",
        "masks": masks_against_arrays(),
        "many_predicates": many_predicates(40 if args.small else 197),
    }
    with tempfile.TemporaryDirectory() as name:
        result["pairs_100"] = against_argsort(Path(name), 1000, 100, 1.0)
        result["pairs_10000"] = against_argsort(Path(name), 30, 10_000, 0.2)
        result["distributions"] = from_distributions(Path(name), 40 if args.small else 200, 100)
        result |= comparison_overhead(Path(name), 1000 if args.small else 5000)
        result |= from_files(Path(name), images)
        result |= from_dataset(Path(name), images)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
