"""The data-quality report, by hand-counted graphs."""

from __future__ import annotations

import json

import pytest
from eval.graphs import line, region, relation, write

from sgforge_eval.quality import quality, read_judgements, wilson_interval
from sgforge_eval.tasks.base import TaskFileError

LEFT, RIGHT, BARE = region("cup", [0, 0, 10, 10]), region("cup", [50, 0, 60, 10]), region("cup", None)


def _report(tmp_path, *lines, judgements=()):
    return quality(write(tmp_path / "g.jsonl", *lines), judgements)


def test_density_shares_and_long_tail(tmp_path) -> None:
    rows = [
        relation(0, "left of", 1, category="spatial"),
        relation(0, "holding", 1, category="interactional"),
        relation(1, "right of", 0, category="spatial"),
        relation(1, "left of", 0, category="spatial", status="rejected", reason="x"),
    ]
    report = _report(tmp_path, line("a", [LEFT, RIGHT], rows), line("b", [LEFT, RIGHT], rows[:1]))
    values = report.values
    assert values["triplets_per_image"] == 2.0
    assert values["regions_per_image"] == 2.0
    assert values["predicates_per_region"] == pytest.approx(4 / 4)  # left of, holding | right of | left of
    assert values["rejected_share"] == pytest.approx(1 / 5)
    assert values["category/spatial"] == pytest.approx(3 / 4)
    assert values["predicate_entropy_bits"] == pytest.approx(1.5)  # shares 1/2, 1/4, 1/4
    assert values["predicates_for_50%"] == 1.0
    assert values["predicates_for_90%"] == 3.0
    assert [row["covered"] for row in report.tables["long_tail"]] == [0.5, 0.75, 1.0]


def test_contradictions_by_the_boxes(tmp_path) -> None:
    rows = [
        relation(0, "left of", 1),
        relation(1, "to the left of", 0),
        relation(0, "left of", 2),
        relation(0, "holding", 1),
    ]
    report = _report(tmp_path, line("a", [LEFT, RIGHT, BARE], rows))
    assert report.values["contradiction_rate"] == 0.5
    assert report.values["spatial_untold"] == 1.0
    assert report.tables["contradictions"] == [{"predicate": "left of", "count": 2, "contradicted": 0.5}]


def test_duplicates(tmp_path) -> None:
    digest = "ab" * 32
    first = line(
        "a", [LEFT, LEFT, RIGHT], [relation(0, "on", 1), relation(0, "on", 1), relation(0, "on", 2)], sha256=digest
    )
    report = _report(tmp_path, first, line("b", [LEFT], [], sha256=digest), line("c", [LEFT], []))
    assert report.values["duplicate_relations"] == 1.0
    assert report.values["duplicate_regions"] == 1.0
    assert report.values["duplicate_photos"] == 1.0


def test_agreement_of_steps(tmp_path) -> None:
    rows = [
        relation(0, "left of", 1, made_by="teacher"),
        relation(0, "to the left of", 1, made_by="student"),  # the same in other words
        relation(1, "holding", 0, made_by="teacher"),
        relation(1, "eating", 0, made_by="student"),
        relation(0, "near", 2, made_by="teacher"),
        relation(0, "far from", 2, made_by="teacher"),  # one step alone
    ]
    report = _report(tmp_path, line("a", [LEFT, RIGHT, LEFT], rows))
    assert report.values["agreement_of_steps"] == 0.5
    steps = {row["step"]: row for row in report.tables["steps"]}
    assert steps["teacher"] == {"step": "teacher", "count": 4, "kept": 1.0}


def test_agreement_of_sources(tmp_path) -> None:
    regions = [region("cup", [0, 0, 9, 9]), region("table", [50, 0, 60, 9])]
    first = [relation(0, "left of", 1), relation(0, "on", 1)]
    second = [relation(0, "to the left of", 1), relation(1, "under", 0)]
    lines = [line("a", regions, first, sha256="ab" * 32), line("b", regions, second, sha256="ab" * 32)]
    report = _report(tmp_path, *lines, line("c", regions, first, sha256="cd" * 32))
    assert report.values["agreement_of_sources"] == pytest.approx(1 / 3)
    assert "agreement_of_sources" not in _report(tmp_path, lines[0]).values


def test_precision_of_a_labelled_sample(tmp_path) -> None:
    lines = [line(str(number), [LEFT, RIGHT], [relation(0, "on", 1), relation(1, "near", 0)]) for number in range(10)]
    judged = [{"image_id": str(number), "relation": 0, "correct": number < 8} for number in range(10)]
    judged.append({"image_id": "gone", "relation": 0, "correct": True})
    sample = tmp_path / "sample.jsonl"
    sample.write_text("".join(json.dumps(row) + "\n" for row in judged))
    report = _report(tmp_path, *lines, judgements=read_judgements(sample))
    assert report.values["precision"] == 0.8
    assert report.values["precision_low"] == pytest.approx(0.4901625, abs=1e-6)
    assert report.values["precision_high"] == pytest.approx(0.9433178, abs=1e-6)
    assert report.tables["precision"][0]["predicate"] == "on"
    assert any("judgement of an image that is not there" in note for note in report.notes)
    sample.write_text('{"image_id": "0", "relation": 5, "correct": true}')
    with pytest.raises(TaskFileError, match="has no relation 5"):
        _report(tmp_path, *lines, judgements=read_judgements(sample))


def test_precision_is_of_kept_relations_judged_once(tmp_path) -> None:
    rows = [relation(0, "on", 1), relation(1, "near", 0, status="rejected", reason="vqa")]
    judged = [("a", 0, True), ("a", 1, False), ("a", 0, False)]
    sample = tmp_path / "sample.jsonl"
    lines = [json.dumps({"image_id": name, "relation": row, "correct": right}) + "\n" for name, row, right in judged]
    sample.write_text("".join(lines))
    report = _report(tmp_path, line("a", [LEFT, RIGHT], rows), judgements=read_judgements(sample))
    assert report.values["precision"] == 1.0
    assert report.tables["precision"][0]["judged"] == 1
    assert "1 x judgement of a relation that is rejected (first: a)" in report.notes
    assert "1 x judgement of a relation that was judged before (first: a)" in report.notes


def test_images_that_failed_are_left_out(tmp_path) -> None:
    good = line("a", [LEFT, RIGHT], [relation(0, "on", 1)])
    report = _report(tmp_path, good, line("b", [LEFT, RIGHT], [relation(0, "near", 1)], failed="refused"))
    assert report.values["triplets_per_image"] == 1.0
    assert [row["predicate"] for row in report.tables["long_tail"]] == ["on"]
    assert (report.images_used, report.images_skipped) == (1, {"failed at a step": 1})


def test_wilson_interval() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(50, 100)
    assert (low, high) == pytest.approx((0.4038315, 0.5961685), abs=1e-6)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == pytest.approx(1.0)


def test_nothing_at_all(tmp_path) -> None:
    assert _report(tmp_path).values["triplets_per_image"] == 0.0
