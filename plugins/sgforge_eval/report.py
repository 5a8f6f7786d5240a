"""From hits to a Report: values, tables, intervals, images used and skipped, and the convention in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from sgforge.graph import CATEGORIES
from sgforge.stages import Report
from sgforge.text.wording import counted
from sgforge_eval.intake.arrays import Flags, Floats
from sgforge_eval.intake.batch import Codebook
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.pairing import Meeting
from sgforge_eval.measures.average_precision import (
    coco_average_precision,
    envelope_average_precision,
    triplet_average_precision,
)
from sgforge_eval.measures.bootstrap import Resamples, few_units, interval
from sgforge_eval.measures.groups import DISTANCES, NOVELTIES, SIZES
from sgforge_eval.measures.recall import (
    GroupedFamily,
    Metrics,
    detection_values,
    measure_table,
    open_images_values,
    precision_values,
)
from sgforge_eval.measures.scorer import HitTable, Measure, Scorer

__all__ = ["Outcome", "recall_report", "report_json"]

Row = Mapping[str, Any]
_SHOWN = 100
_INVENTED = "prediction: predicate name that the truth does not have, which no mean divides by"
_GAIN = 0.01  # by which an open protocol may be higher before it is said


@attrs.frozen(eq=False)
class Outcome:
    """A finished scoring: its scorer, the vocabulary of predicates, dropped rows and failed images by reason.

    `meeting` tells which images one side lacks, where two streams of graphs were met; `remarks` how names were mapped.
    `labels`: the vocabulary of regions. `invented`: `book` may have names that only predictions have; they are counted,
    and no mean divides by them.
    """

    scorer: Scorer
    book: Codebook
    dropped: Dropped
    failures: Counter[str]
    localization: str = "box"
    meeting: Meeting | None = None
    remarks: tuple[str, ...] = ()
    invented: bool = False
    labels: Codebook | None = None

    @property
    def predicates(self) -> tuple[str, ...]:
        """The vocabulary of predicates, what mean recall divides by."""
        names = self.book.names
        if not self.invented:
            return names
        said = self.scorer.table().predicate
        return tuple(names[code] for code in np.unique(said[said >= 0]).tolist())

    def says(self, value: str) -> bool:
        """Whether a value means anything: in an open vocabulary every name has a code, and none is invalid."""
        labels = self.labels is not None and self.labels.closed
        if value.startswith("node_invalid_rate"):
            return labels
        return not value.startswith("invalid_rate") or labels or self.book.closed

    @property
    def measure(self) -> Measure:
        """What was measured."""
        return self.scorer.measure

    def metrics(self) -> Metrics:
        """All metrics of the scored batches."""
        return measure_table(self.scorer.table(), self.measure, len(self.book), len(self.predicates))


def skipped_images(table: HitTable, used: Flags, meeting: Meeting | None = None) -> dict[str, int]:
    """Images left out, by reason."""
    no_truth = table.truth_count == 0
    left = ~used & ~no_truth
    counts = {
        "no truth relation": int(no_truth.sum()),
        "failed prediction": int((left & table.failed).sum()),
        "no predicted relation": int((left & ~table.failed).sum()),
        "prediction of an image the truth does not have": meeting.unknown if meeting is not None else 0,
    }
    return {reason: count for reason, count in counts.items() if count}


def per_group(families: tuple[GroupedFamily, ...], names: tuple[str, ...], key: str) -> list[Row]:
    """One row per group with truth: its name, the images it occurs in, its value at every K."""
    tables = [(family, family.table()) for family in families]
    images = np.bincount(families[0].group, minlength=families[0].size)
    rows: list[Row] = []
    for group in np.flatnonzero(images).tolist():
        values = {
            metric: value
            for family, table in tables
            for metric, value in zip(family.members, table[group].tolist(), strict=True)
            if value == value
        }
        if values:
            rows.append({key: names[group], "images": int(images[group]), **values})
    return rows


def _listed(predicates: tuple[str, ...]) -> str:
    """The vocabulary in words: mean recall divides by it."""
    more = ", ..." if len(predicates) > _SHOWN else ""
    return f"mean recall over {counted(len(predicates), 'predicate')}: {', '.join(sorted(predicates)[:_SHOWN])}{more}"


def _unmet(meeting: Meeting) -> Iterator[str]:
    """What to say about images that only one side has."""
    for count, named, what in (
        (meeting.missing, meeting.named_missing, "truth images have no prediction"),
        (meeting.unknown, meeting.named_unknown, "predictions are of images the truth does not have, and are left out"),
    ):
        if count:
            more = ", ..." if count > len(named) else ""
            yield f"{count} {what}: {', '.join(named)}{more}"


def _counted(outcome: Outcome) -> Iterator[Row]:
    """What was not as it should be, by reason."""
    counts = dict(outcome.dropped.counts)
    counts |= {f"failed prediction: {reason}": count for reason, count in outcome.failures.items()}
    if outcome.invented:
        own = set(outcome.predicates)
        counts[_INVENTED] = sum(name not in own for name in outcome.book.names)
    if outcome.meeting is not None:
        counts["truth: image without a prediction"] = outcome.meeting.missing
        counts["prediction: image that the truth does not have"] = outcome.meeting.unknown
    return ({"reason": reason, "count": count} for reason, count in sorted(counts.items()) if count)


def intervals_by_name(draws: Mapping[str, Floats]) -> dict[str, Floats]:
    """The 95 % interval (2,) of every resampled metric."""
    bounds = interval(np.stack(list(draws.values()), axis=1))
    return dict(zip(draws, bounds.T, strict=True))


def _per_place(metrics: Metrics) -> dict[str, list[Row]]:
    """Recall by distance, by size ratio and by names seen in training, one table each."""
    kinds = (("distance", DISTANCES), ("size", SIZES), ("seen", NOVELTIES))
    return {
        f"per_{kind}": per_group((family,), names, kind)
        for family, (kind, names) in zip(metrics.places, kinds, strict=False)
    }


def _per_class(outcome: Outcome) -> dict[str, list[Row]]:
    """Average precision of each label with truth, at 0.5 and over all thresholds, where several were asked for."""
    boxes = outcome.scorer.boxes
    if len(boxes) < 2 or outcome.labels is None:
        return {}
    precisions = [coco_average_precision(found) for found in boxes]
    names = outcome.labels.names
    return {
        "per_class": [
            {
                "label": names[code],
                "AP50": float(precisions[0][code]),
                "AP50_95": float(np.mean([p[code] for p in precisions])),
            }
            for code in np.flatnonzero(boxes[0].truth[: len(names)] > 0).tolist()
        ]
    }


def _precisions(outcome: Outcome) -> Mapping[str, float]:
    """Average precision of each predicate with truth, by name; of a convention with its own, that of relations."""
    relations, triplets = outcome.scorer.relations, outcome.scorer.triplets
    found = relations[0] if relations is not None else triplets
    if found is None:
        return {}
    values = envelope_average_precision(found) if relations is not None else triplet_average_precision(found)
    names = outcome.book.names
    return {names[code]: float(values[code]) for code in np.flatnonzero(found.truth > 0).tolist()}


def _opened(values: Mapping[str, float]) -> Iterator[str]:
    """What to say of a model that gains by listing objects several times."""
    gains = {name: value - values[name[4:]] for name, value in values.items() if name.startswith("openR@")}
    if gains and max(gains.values()) > _GAIN:
        name, gain = max(gains.items(), key=lambda item: item[1])
        yield (
            f"warning: where objects may be listed several times, {name[4:]} is {100 * gain:.1f} points higher: "
            "compare such a model by this convention alone"
        )


def _cut_boxes(scorer: Scorer) -> Iterator[str]:
    """What to say of regions that detection does not look at."""
    boxes = scorer.boxes
    if boxes and boxes[0].cut:
        cut = counted(boxes[0].cut, "box", "boxes")
        yield f"{cut} beyond the 100 best of a class and image are not counted in detection mAP"


def recall_report(outcome: Outcome, *, draws: int = 0) -> Report:
    """The report of an evaluation; `draws` resamples give 95 % intervals (table "interval"), 0 none."""
    table, metrics = outcome.scorer.table(), outcome.metrics()
    convention = outcome.measure.convention
    values = {name: value for name, value in metrics.values().items() if outcome.says(name)}
    values.update(detection_values(outcome.scorer.boxes))
    values.update(precision_values(outcome.scorer.triplets, len(outcome.predicates)))
    recall = values.get("R@50", 0.0)
    values.update(open_images_values(outcome.scorer.relations, recall, len(outcome.predicates)))
    tables: dict[str, list[Row]] = {
        "predicates": [{"predicate": name} for name in sorted(outcome.predicates)],
        "per_predicate": per_group(metrics.grouped, outcome.book.names, "predicate"),
        "per_category": per_group((metrics.categories,), CATEGORIES, "category"),
        **_per_place(metrics),
        "counted": list(_counted(outcome)),
        **_per_class(outcome),
    }
    precisions = _precisions(outcome)
    tables["per_predicate"] = [
        {**row, "AP": precisions[row["predicate"]]} if row["predicate"] in precisions else row
        for row in tables["per_predicate"]
    ]
    used = int(metrics.used.sum())
    if draws and used:
        resampled = Resamples.of(len(metrics.used), draws).values(metrics)
        tables["interval"] = [
            {"metric": name, "value": values[name], "low": float(low), "high": float(high)}
            for name, (low, high) in intervals_by_name(resampled).items()
            if name in values
        ]
    notes = [
        f"convention {convention.name}: {convention.summary}",
        f"localization by {outcome.localization}; values are fractions: 0.25 is 25 %",
        _listed(outcome.predicates),
        *outcome.remarks,
        *(_unmet(outcome.meeting) if outcome.meeting is not None else ()),
        *_opened(values),
        *_cut_boxes(outcome.scorer),
        *([few] if draws and (few := few_units(used, "image")) else []),
        *outcome.dropped.lines(),
        *(f"{count} failed predictions: {reason}" for reason, count in sorted(outcome.failures.items())),
    ]
    return Report(
        metric=outcome.measure.mode,
        values=values,
        convention=convention.name,
        tables=tables,
        images_used=used,
        images_skipped=skipped_images(table, metrics.used, outcome.meeting),
        notes=tuple(notes),
    )


def report_json(report: Report, localization: str) -> dict[str, Any]:
    """The object that `--json` prints; values are fractions.

    Tables of scene-graph recall become objects by name: `per_predicate`, `per_category`, `per_distance`, `per_size` and
    `per_seen` of values, `interval` of [low, high], `counted` of numbers by reason, `predicates` the vocabulary. Other
    tables are lists of their rows.
    """
    found: dict[str, Any] = {
        "metric": report.metric,
        "convention": report.convention,
        "localization": localization,
        "values": dict(report.values),
        "images": {"used": report.images_used, "skipped": dict(report.images_skipped)},
        "notes": list(report.notes),
    }
    for name, rows in report.tables.items():
        found[name] = _by_name(name, rows)
    return found


_NAMED = ("per_predicate", "per_category", "per_distance", "per_size", "per_seen")


def _by_name(table: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    if table == "predicates":
        return [row["predicate"] for row in rows]
    if table == "counted":
        return {row["reason"]: row["count"] for row in rows}
    if table == "interval":
        return {row["metric"]: [row["low"], row["high"]] for row in rows}
    if table in _NAMED and all(table[4:] in row for row in rows):
        return {row[table[4:]]: {key: value for key, value in row.items() if key != table[4:]} for row in rows}
    return list(rows)
