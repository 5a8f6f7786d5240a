"""A plain evaluator, image by image and triplet by triplet: slow, short, and what the fast one is held against."""

from __future__ import annotations

from dataclasses import dataclass, field

Box = tuple[float, float, float, float]


@dataclass
class Scene:
    """One image; a truth row is (subject, object, predicate), a pair has one score per predicate."""

    true_boxes: list[Box]
    true_labels: list[int]
    truth: list[tuple[int, int, int]]
    boxes: list[Box]
    labels: list[int]
    scores: list[float]
    pairs: list[tuple[int, int]]
    table: list[list[float]]


@dataclass
class Rules:
    """The public conventions, spelt out."""

    inner: int = 0  # what is added to the sides of an intersection
    outer: int = 0  # what is added to the sides of a box
    strict: bool = False
    unique_truth: bool = False
    zero_unanswered: bool = False
    pooled: bool = False
    skip_absent: bool = False
    ranked: bool = True
    pair_limit: int | None = 1
    least: float = 0.0
    pairs_after_cut: bool = False
    weighted: bool = False
    whole: bool = False


RULES = {
    "sgforge": Rules(unique_truth=True, zero_unanswered=True),
    "sgb": Rules(inner=1, outer=1),
    "egtr": Rules(inner=1, outer=1, zero_unanswered=True),
    "openpsg": Rules(unique_truth=True),
    "maelic": Rules(inner=1, zero_unanswered=True, pairs_after_cut=True, weighted=True),
    "svg": Rules(strict=True, unique_truth=True, zero_unanswered=True, pair_limit=None),
    "asmv2": Rules(zero_unanswered=True, pooled=True, skip_absent=True, ranked=False, pair_limit=None),
    "r1": Rules(zero_unanswered=True, skip_absent=True, ranked=False, pair_limit=None, whole=True),
    "oi": Rules(inner=1, outer=1, zero_unanswered=True, pooled=True, pair_limit=2, least=1e-5),
}


def overlap(first: Box, second: Box, rules: Rules) -> float:
    """IoU of two boxes; 0 without an overlap."""
    width = min(first[2], second[2]) - max(first[0], second[0]) + rules.inner
    height = min(first[3], second[3]) - max(first[1], second[1]) + rules.inner
    if width <= 0 or height <= 0:
        return 0.0
    total = sum((box[2] - box[0] + rules.outer) * (box[3] - box[1] + rules.outer) for box in (first, second))
    union = total - width * height
    return width * height / union if union != 0 else 0.0


def matches(first: Box, second: Box, rules: Rules) -> bool:
    """Whether two boxes overlap enough."""
    value = overlap(first, second, rules)
    return value > 0.5 if rules.strict else value >= 0.5


def around(first: Box, second: Box) -> Box:
    """The smallest box around two."""
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def ranked(scene: Scene, mode: str, limit: int | None, least: float = 0.0) -> list[tuple[int, int, int, float]]:
    """(subject, predicate, object, score), best first, `limit` predicates a pair; ties keep the order given."""
    rows = []
    for (subject, target), scores in zip(scene.pairs, scene.table, strict=True):
        weight = 1.0 if mode == "predcls" else scene.scores[subject] * scene.scores[target]
        best = sorted(range(len(scores)), key=lambda column: -scores[column])
        allowed = set(best if limit is None else best[:limit])
        rows += [
            (subject, column, target, scores[column] * weight)
            for column in range(len(scores))
            if column in allowed and scores[column] * weight > least
        ]
    return sorted(rows, key=lambda row: -row[3])


def first_ranks(scene: Scene, mode: str, rows: list, truth: list, rules: Rules, phrase: bool = False) -> list[float]:
    """For each truth row, the rank of the first listed triplet that finds it; infinity if none does."""
    boxes, labels = (scene.boxes, scene.labels) if mode == "sgdet" else (scene.true_boxes, scene.labels)
    if mode == "predcls":
        labels = scene.true_labels
    found = []
    for subject, target, predicate in truth:
        true = scene.true_boxes[subject], scene.true_boxes[target]
        rank = float("inf")
        for place, (s, p, o, _) in enumerate(rows):
            if (labels[s], p, labels[o]) != (scene.true_labels[subject], predicate, scene.true_labels[target]):
                continue
            if phrase:
                hit = matches(around(*true), around(boxes[s], boxes[o]), rules)
            else:
                hit = matches(true[0], boxes[s], rules) and matches(true[1], boxes[o], rules)
            if hit:
                rank = place
                break
        found.append(rank)
    return found


def weighted(scene: Scene, mode: str, rows: list, truth: list, rules: Rules, cut: int) -> float:
    """The weights of the listed triplets before the cut that find anything, over the number of truth rows."""
    total, right = 0.0, 0
    for rank, row in enumerate(rows[:cut]):
        alone = first_ranks(scene, mode, [row], truth, rules)
        if min(alone) == 0:
            total += (cut - (rank - right)) / cut
            right += 1
    return total / len(truth)


@dataclass
class _Sums:
    hits: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)

    def add(self, key, hit: float, count: float) -> None:
        self.hits[key] = self.hits.get(key, 0.0) + hit
        self.counts[key] = self.counts.get(key, 0.0) + count


def evaluate(
    scenes: list[Scene],
    name: str,
    mode: str,
    ks: tuple[int, ...],
    predicates: int,
    zero_shot: set[tuple[int, int, int]] = frozenset(),
) -> dict[str, float]:
    """All recalls of the convention `name`; zero_shot holds (subject label, predicate, object label)."""
    rules = RULES[name]
    cuts = {f"@{k}": k for k in ks} if rules.ranked else {"": float("inf")}
    sums, means, pooled = _Sums(), _Sums(), _Sums()
    for scene in scenes:
        truth = list(dict.fromkeys(scene.truth)) if rules.unique_truth else scene.truth
        lists = {"R": ranked(scene, mode, rules.pair_limit, rules.least)}
        if rules.ranked:
            lists["ngR"] = ranked(scene, mode, None)
        answered = bool(scene.pairs)
        if not truth or (not answered and not rules.zero_unanswered):
            continue
        ranks = {key: first_ranks(scene, mode, rows, truth, rules) for key, rows in lists.items()}
        if mode == "sgdet":
            ranks["phrR"] = first_ranks(scene, mode, lists["R"], truth, rules, phrase=True)
        unseen = [(scene.true_labels[s], p, scene.true_labels[o]) in zero_shot for s, o, p in truth]
        if rules.ranked:
            _add(sums, "relR", [rank < len(truth) for rank in ranks["R"]], rules.pooled)
        for suffix, cut in cuts.items():
            for key, first in ranks.items():
                hits = [rank < cut for rank in first]
                _add(sums, key + suffix, hits, rules.pooled)
                for predicate in {p for *_, p in truth}:
                    own = [hit for hit, (*_, p) in zip(hits, truth, strict=True) if p == predicate]
                    _add(means, (key + suffix, predicate), own, rules.pooled)
                if key == "R" and not rules.pooled:
                    _add(pooled, "pooledR" + suffix, hits, True)
                    for hit, (*_, predicate) in zip(hits, truth, strict=True):
                        _add(means, ("pooledR" + suffix, predicate), [hit], True)
            if rules.weighted:
                sums.add("wR" + suffix, weighted(scene, mode, lists["R"], truth, rules, cut), 1)
                found = [row for row, rank in zip(truth, ranks["R"], strict=True) if rank < cut]
                for predicate in {p for *_, p in truth}:
                    weights = [(cut - place) / cut for place, (*_, p) in enumerate(found) if p == predicate]
                    sums_of = sum(p == predicate for *_, p in truth)
                    means.add(("wR" + suffix, predicate), sum(weights) / sums_of, 1)
            for key, zero in (("R", "zR"), ("ngR", "ngzR")):
                if key in ranks and any(unseen):
                    own = [rank < cut for rank, new in zip(ranks[key], unseen, strict=True) if new]
                    _add(sums, zero + suffix, own, rules.pooled)
            if mode != "sgdet":
                related = {(s, o) for s, o, _ in truth}
                rows = ranked(scene, mode, 1)
                if rules.pairs_after_cut:  # the others keep their ranks, as predicates that nothing has
                    rows = [row if (row[0], row[2]) in related else (row[0], -1, *row[2:]) for row in rows]
                else:
                    rows = [row for row in rows if (row[0], row[2]) in related]
                first = first_ranks(scene, mode, rows, truth, rules)
                _add(pooled, "A" + suffix, [rank < cut for rank in first], True)
    values = {key: sums.hits[key] / sums.counts[key] for key in sums.hits}
    values |= {key: pooled.hits[key] / pooled.counts[key] for key in pooled.hits}
    for key in [key for key in values if key.partition("@")[0] in _with_means(rules)]:
        own = {p: means.hits[k, p] / means.counts[k, p] for k, p in means.hits if k == key}
        mean = key.replace("R", "mR", 1)
        values[mean] = sum(own.values()) / (len(own) if rules.skip_absent else predicates)
    for suffix in cuts:
        if "R" + suffix in values:
            plain, mean = values["R" + suffix], values["mR" + suffix]
            values["F1" + suffix] = 2 * plain * mean / (plain + mean) if plain + mean else 0.0
    return values


def _with_means(rules: Rules) -> tuple[str, ...]:
    """Recalls whose mean over predicates is a value too."""
    return ("R", "ngR", "phrR", "wR", *(("pooledR",) if rules.whole else ()))


def _add(sums: _Sums, key, hits: list[bool], pooled: bool) -> None:
    if pooled:
        sums.add(key, sum(hits), len(hits))
    else:
        sums.add(key, sum(hits) / len(hits), 1)
