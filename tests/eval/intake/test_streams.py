"""Two files of graphs: meeting by id, faulty rows counted by reason, modes, names, masks."""

from __future__ import annotations

import random

import numpy as np
import pytest
from eval.graphs import CUP, FAR, TABLE, line, region, relation, write

from sgforge.errors import ConfigError, GraphError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.jsonl import write_jsonl
from sgforge.masks import from_arrays
from sgforge_eval import score

ON = [relation(0, "on", 1), relation(2, "near", 1)]


def test_a_right_half(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON), line("b", None, ON))
    said = write(tmp_path / "p", line("a", None, ON), line("b", None, [relation(0, "under", 1), ON[1]]))
    report = score(said, truth)
    assert report.values["R@20"] == pytest.approx((1 + 1 / 2) / 2)
    # on: 1 of image a, 0 of b; near: 1; under is the prediction's alone.
    assert report.values["mR@20"] == pytest.approx((1 / 2 + 1) / 2)
    assert report.images_used == 2
    assert "mean recall over 2 predicates: near, on" in report.notes
    assert report.tables["counted"] == [
        {"reason": "prediction: predicate name that the truth does not have, which no mean divides by", "count": 1}
    ]
    only = score(said, truth, predicates=["on", "near"])
    assert only.values["mR@20"] == pytest.approx((1 / 2 + 1) / 2)
    assert any("predicate outside the vocabulary" in note for note in only.notes)


@pytest.mark.parametrize("side", ["truth", "prediction"])
def test_what_takes_no_part_gives_mean_recall_no_predicate(tmp_path, side) -> None:
    """Rejected, failed, repeated and faulty rows are left out: their names must not swell the vocabulary."""
    absent = [
        line("a", None, [ON[0], relation(0, "rejected", 1, status="rejected"), relation(0, "faulty", 7)]),
        line("a", None, [relation(0, "repeated", 1)]),
        line("b", None, [relation(0, "failed", 1)], failed="refused"),
    ]
    plain = [line("a", None, ON[:1]), line("b", None, ON[:1])]
    truth, said = (absent, plain) if side == "truth" else (plain, absent)
    report = score(write(tmp_path / "p", *said), write(tmp_path / "t", *truth))
    assert "mean recall over 1 predicate: on" in report.notes
    mapped = score(write(tmp_path / "p", *said), write(tmp_path / "t", *truth), matching="exact")
    assert "mean recall over 1 predicate: on" in mapped.notes
    # Names that are matched to the truth's make a closed vocabulary, of which a name can be invalid: here none is.
    invalid = {name for name in mapped.values if "invalid_rate" in name}
    assert {mapped.values[name] for name in invalid} == {0.0}
    assert {name: value for name, value in mapped.values.items() if name not in invalid} == report.values


@pytest.mark.parametrize("side", ["truth", "prediction"])
def test_rejected_regions_are_no_detections(tmp_path, side) -> None:
    plain = line("a", None, ON)
    more = line("a", [*plain["regions"], region("cup", [70, 0, 90, 9], status="rejected", score=1.0)], ON)
    truth, said = (more, plain) if side == "truth" else (plain, more)
    report = score(write(tmp_path / "p", said), write(tmp_path / "t", truth))
    assert report.values["detection_mAP50"] == 1.0
    assert (report.values["node_P"], report.values["node_R"]) == (1.0, 1.0)


def test_labels_outside_of_a_closed_set_are_counted(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON))
    said = write(tmp_path / "p", line("a", None, ON))
    report = score(said, truth, labels=["cup", "table"])
    assert report.values["R@20"] == 1.0  # near is about a chair, which is no label here
    for note in (
        "1 x truth: region with a label outside the vocabulary",
        "1 x truth: relation of a region with a label outside the vocabulary",
        "1 x prediction: region with a label outside the vocabulary",
    ):
        assert note in report.notes


def test_regions_that_lie_nowhere_are_counted(tmp_path) -> None:
    nowhere = line("a", [region("cup", None), region("table", TABLE), region(None, FAR)], ON)
    here = line("a", None, ON)
    report = score(write(tmp_path / "p", nowhere), write(tmp_path / "t", here))
    assert "1 x prediction: region without a box, which matches nothing" in report.notes
    report = score(write(tmp_path / "p", here), write(tmp_path / "t", nowhere))
    assert "1 x truth: region without a box, which matches nothing" in report.notes
    assert "1 x truth: region without a label, which only predcls can find" in report.notes
    report = score(write(tmp_path / "p", nowhere), write(tmp_path / "t", here), metric="predcls")
    assert not any("matches nothing" in note for note in report.notes)  # places are the truth's


def test_a_truth_without_any_mask_cannot_be_found_by_mask(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON))
    with pytest.raises(GraphError, match="no region of the truth has a mask"):
        score(truth, truth, localization="mask")


def test_order_of_the_images_does_not_matter(tmp_path) -> None:
    rng = random.Random(1)
    rows = []
    for number in range(3000):
        shift = rng.random() * 8
        boxes = [[x + shift if place < 2 else x for place, x in enumerate(box)] for box in (CUP, TABLE)]
        regions = [region("cup", boxes[0]), region("table", boxes[1])]
        rows.append(line(f"i{number}", regions, [relation(0, rng.choice(["on", "near"]), 1, score=rng.random())]))
    truth = write(tmp_path / "t", *(line(row["image_id"], None, ON[:1]) for row in rows))
    ordered = score(write(tmp_path / "p", *rows), truth)
    rng.shuffle(rows)
    shuffled = score(write(tmp_path / "q", *rows), truth)
    assert shuffled.values == ordered.values
    assert shuffled.values["R@20"] > 0
    assert shuffled.images_used == 3000


def test_images_of_one_side_only_are_counted_and_named(tmp_path) -> None:
    truth = write(tmp_path / "t", line("both", None, ON), line("missing", None, ON), line("bare"))
    said = write(tmp_path / "p", line("both", None, ON), line("unknown", None, ON), line("bare", None, ON))
    report = score(said, truth)
    assert report.values["R@20"] == 0.5  # the missing one counts 0
    assert report.images_skipped == {
        "no truth relation": 1,
        "prediction of an image the truth does not have": 1,
    }
    assert "1 truth images have no prediction: missing" in report.notes
    assert any(note.endswith("left out: unknown") for note in report.notes)
    skipping = score(said, truth, convention="sgb")
    assert skipping.values["R@20"] == 1.0
    assert skipping.images_skipped["no predicted relation"] == 1
    assert skipping.images_used == 1


def test_failed_predictions_are_a_rate_beside_recall(tmp_path) -> None:
    truth = write(tmp_path / "t", *(line(name, None, ON) for name in "abcd"))
    lines = [line("a", None, ON), line("b", None, ON, failed="no json"), line("c", [], [], failed="no json")]
    said = write(tmp_path / "p", *lines, line("d", None, ON))
    report = score(said, truth)
    assert report.values["failure_rate"] == 0.5
    assert report.values["R@20"] == 0.5  # what a failed line holds is no answer
    assert "2 failed predictions: no json" in report.notes
    assert score(said, truth, convention="sgb").images_skipped == {"failed prediction": 2}


def test_each_fault_is_counted_and_the_rest_is_scored(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON), line("b", None, ON))
    nan = '{"image_id": "b", "width": 100, "height": 100, "regions": [{"label": "cup", "box": [0, 0, NaN, 10]}, '
    nan += '{"label": "table", "box": [0, 10, 60, 60]}, {"label": "chair", "box": [80, 80, 90, 90]}], "relations": '
    nan += '[{"subject": 0, "predicate": "on", "object": 1, "score": NaN}, '
    nan += '{"subject": 2, "predicate": "near", "object": 1}]}'
    said = write(tmp_path / "p", line("a", None, [*ON, relation(0, "on", 9)]), nan, line("a"), "{not json")
    report = score(said, truth)
    assert report.values["R@20"] == pytest.approx((1 + 1 / 2) / 2)
    text = "\n".join(report.notes)
    assert "1 x prediction: relation with a region index out of range" in text
    assert "2 x prediction: value outside its range, or not finite" in text
    assert "1 x prediction: image id that occurred before" in text
    assert "1 x prediction: line that is no JSON" in text
    assert "line 4" in text  # each reason says where the first one stands


def test_zero_area_boxes_are_read_as_the_convention_says(tmp_path) -> None:
    rows = [line("a", [region("cup", [5, 5, 5, 5]), region("table", TABLE)], ON[:1])]
    path = write(tmp_path / "t", *rows)
    assert score(path, path, convention="sgb").values["R@20"] == 1.0
    assert score(path, path, convention="openpsg").values["R@20"] == 0.0


def test_self_relations_and_duplicate_truth_rows(tmp_path) -> None:
    own = relation(0, "on", 0)
    truth = write(tmp_path / "t", line("a", None, [own, ON[0], ON[0], ON[0]]))
    said = write(tmp_path / "p", line("a", None, [own]))
    assert score(said, truth, convention="sgb").values["R@20"] == pytest.approx(1 / 4)
    assert score(said, truth, convention="openpsg").values["R@20"] == pytest.approx(1 / 2)


def test_rejected_rows_do_not_take_part(tmp_path) -> None:
    gone = relation(0, "near", 1, status="rejected", reason="x")
    hidden = [region("cup", CUP), region("table", TABLE), region("chair", FAR, status="rejected", reason="x")]
    truth = write(tmp_path / "t", line("a", hidden, [ON[0], ON[1], gone]))
    report = score(write(tmp_path / "p", line("a", None, ON[:1])), truth)
    assert report.values["R@20"] == 1.0
    assert any(note.startswith("2 x truth: rejected relation") for note in report.notes)


def test_no_score_is_ever_hit_by_padding(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON))
    said = write(tmp_path / "p", line("a", None, [relation(0, "on", 1, score=0.0), relation(2, "near", 1, score=0.5)]))
    for name in ("sgforge", "sgb", "openpsg", "maelic", "asmv2", "oi", "svg"):
        values = score(said, truth, convention=name).values
        assert max(value for key, value in values.items() if key.startswith(("R", "ngR"))) == 0.5, name


def test_told_boxes_and_told_labels(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON))
    renamed = [region("mug", [90, 0, 95, 5]), region("table", TABLE), region("chair", FAR)]
    said = write(tmp_path / "p", line("a", renamed, [*ON, relation(0, "on", 7)]))
    # The mug lies elsewhere: it is none of the truth's regions.
    assert score(said, truth, metric="predcls").values["R@20"] == 0.5
    assert score(said, truth, metric="sgcls").values["R@20"] == 0.5
    assert score(said, truth, metric="sgdet").values["R@20"] == 0.5
    fewer = write(tmp_path / "f", line("a", renamed[:2], ON[:1]))
    assert score(fewer, truth, metric="predcls").values["A@20"] == 0.0
    mug = [region("mug", CUP), region("table", TABLE), region("chair", FAR)]
    named = write(tmp_path / "n", line("a", mug, ON))
    assert score(named, truth, metric="predcls").values["R@20"] == 1.0  # in its place, labels are told
    assert score(named, truth, metric="sgcls").values["R@20"] == 0.5  # the mug is named wrongly
    bare = [region(None, CUP), region(None, TABLE), region(None, FAR)]
    unnamed = write(tmp_path / "u", line("a", bare, ON))
    assert score(unnamed, unnamed, metric="predcls").values["R@20"] == 1.0
    assert score(unnamed, unnamed, metric="sgdet").values["R@20"] == 0.0


@pytest.mark.parametrize("mode", ["sgcls", "predcls"])
@pytest.mark.parametrize(("subject", "target"), [(3, 1), (1, 3)])
def test_regions_that_are_not_the_truth_s_are_counted(tmp_path, mode, subject, target) -> None:
    truth = write(tmp_path / "t", line("a", None, ON), line("b", None, ON))
    more = [*line("a")["regions"], region("dog", [40, 80, 50, 90])]
    said = write(tmp_path / "p", line("a", more, [*ON, relation(subject, "on", target)]), line("b", None, ON))
    notes = score(said, truth, metric=mode).notes
    assert "1 x prediction: relation of a region that is none of the truth's" in notes
    assert any("image with regions that are none of the truth's" in note and "first: a" in note for note in notes)
    assert any(note.startswith("1 x prediction: image with more or fewer regions than the truth") for note in notes)
    assert not any("more or fewer" in note for note in score(said, truth).notes)


def test_a_pair_is_listed_once_under_the_constraint(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, [relation(0, "on", 1), relation(0, "touching", 1)]))
    rows = [relation(0, "on", 1, score=0.9), relation(0, "touching", 1, score=0.8)]
    values = score(write(tmp_path / "p", line("a", None, rows)), truth).values
    assert values["R@20"] == 0.5
    assert values["ngR@20"] == 1.0


def test_ranking_by_score_and_as_listed(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON[:1]))
    rows = [relation(2, "near", 1, score=0.1), relation(0, "on", 1, score=0.9)]
    said = write(tmp_path / "p", line("a", None, rows))
    assert score(said, truth, k=[1]).values["R@1"] == 1.0
    assert score(said, truth, k=[1], in_order=True).values["R@1"] == 0.0


def test_names_are_mapped_and_what_is_unknown_keeps_its_rank(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON[:1]))
    free = [region("Cups", CUP), region("the table", TABLE), region("thing", FAR)]
    said = write(
        tmp_path / "p", line("a", free, [relation(2, "xyz", 1, score=0.9), relation(0, "is on", 1, score=0.8)])
    )
    assert score(said, truth).values["R@20"] == 0.0
    assert score(said, truth, matching="lemma").values["R@20"] == 1.0
    assert score(said, truth, matching="lemma", k=[1]).values["R@1"] == 0.0  # "xyz" stands first


def test_zero_shot_rows_alone(tmp_path) -> None:
    (tmp_path / "z").write_text('[["chair", "near", "table"]]')
    truth = write(tmp_path / "t", line("a", None, ON), line("b", None, ON[:1]))
    said = write(tmp_path / "p", line("a", None, ON[:1]), line("b", None, ON[:1]))
    values = score(said, truth, zero_shot=tmp_path / "z").values
    assert values["zR@20"] == 0.0
    (tmp_path / "more").write_text("chair\tnear\ttable\ncup\tnever said\ttable\n")
    more = score(said, truth, zero_shot=tmp_path / "more")
    assert more.values["zR@20"] == 0.0
    assert more.values["mR@20"] == values["mR@20"]  # a name of the list alone is none of the vocabulary
    assert score(truth, truth, zero_shot=tmp_path / "z").values["zR@20"] == 1.0


def _sample(image_id: str, masks, boxes=None) -> Sample:
    regions = [
        Region(label, boxes[place] if boxes else None, mask)
        for place, (label, mask) in enumerate(zip("ab", masks, strict=True))
    ]
    return Sample(image_id, SceneGraph(32, 24, regions, [Relation(0, "on", 1)]))


def test_localization_by_mask_and_by_box_differ(tmp_path) -> None:
    shapes = np.zeros((3, 24, 32), bool)
    shapes[0, 2:20, 2:20] = True
    shapes[1, 2:20, 2:20] = np.eye(18, dtype=bool)  # the same box, hardly a pixel in common
    shapes[2, 5:9, 22:30] = True
    full, thin, other = from_arrays(shapes)
    truth, said = tmp_path / "t", tmp_path / "p"
    write_jsonl([_sample("1", (full, other))], truth)
    write_jsonl([_sample("1", (thin, other))], said)
    assert score(said, truth).values["R@20"] == 1.0
    assert score(said, truth, localization="mask").values["R@20"] == 0.0
    assert score(truth, truth, localization="mask").values["R@20"] == 1.0
    assert score(truth, truth, localization="mask").values["phrR@20"] == 1.0


def test_samples_in_memory_give_the_same_as_files(tmp_path) -> None:
    samples = [_sample(str(number), (None, None), [(0, 0, 9, 9), (20, 0, 30, 9)]) for number in range(3)]
    write_jsonl(samples, tmp_path / "t")
    assert score(samples, samples).values == score(tmp_path / "t", tmp_path / "t").values


def test_no_truth_at_all_and_no_such_file(tmp_path) -> None:
    with pytest.raises(GraphError, match="nothing to evaluate"):
        score(write(tmp_path / "p", line("a")), write(tmp_path / "t"))
    with pytest.raises(ConfigError, match="does not exist"):
        score(tmp_path / "p", tmp_path / "none")
    with pytest.raises(ConfigError, match="choose one of sgforge, sgb"):
        score(tmp_path / "p", tmp_path / "p", convention="sgbb")
    with pytest.raises(ConfigError, match="cuts of 1 or more"):
        score(tmp_path / "p", tmp_path / "p", k=[0])


def test_a_negative_number_of_resamples_is_refused(tmp_path) -> None:
    truth = write(tmp_path / "t", line("a", None, ON))
    with pytest.raises(ConfigError, match="bootstrap = -1"):
        score(truth, truth, bootstrap=-1)
