"""Single cases in which a number was not the public evaluator's, or was silent about what it left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from eval.answers import said
from eval.graphs import CUP, FAR, TABLE, line, region, relation, write

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge_eval import score
from sgforge_eval.compare import compare
from sgforge_eval.evaluate import Settings
from sgforge_eval.measures.conventions import CONVENTIONS, convention_named
from sgforge_eval.tasks.answers import AokvqaOptions, AokvqaTask
from sgforge_eval.tasks.vqa_text import soft_accuracy

CASES = Path(__file__).parents[1] / "data" / "evals" / "cases"
ON = [relation(0, "on", 1), relation(2, "near", 1)]


def _case(name: str) -> dict[str, Any]:
    return json.loads((CASES / f"{name}.json").read_text())


def _files(folder: Path, truth: list[dict[str, Any]], predictions: list[dict[str, Any]]) -> tuple[Path, Path]:
    return write(folder / "said.jsonl", *predictions), write(folder / "truth.jsonl", *truth)


def test_detection_precision_of_maelic_has_its_sides_and_its_lost_box(tmp_path) -> None:
    case = _case("maelic_detection_map")
    files = _files(tmp_path, case["truth"], case["predictions"])
    values = score(*files, convention="maelic").values
    assert values["detection_mAP50"] == pytest.approx(case["official"]["detection_mAP50"], abs=1e-9)
    assert score(*files).values["detection_mAP50"] == 1.0


def test_detection_precision_of_open_images_loses_the_first_box(tmp_path) -> None:
    # The same scene: one of three boxes of c1 is lost, so that 2/3 is the highest recall and precision is 1/2, 2/3.
    case = _case("maelic_detection_map")
    files = _files(tmp_path, case["truth"], case["predictions"])
    one, other = (score(*files, convention=name).values["detection_mAP50"] for name in ("oi", "sgb"))
    assert one == other < 1.0


def test_open_images_ranks_by_score_and_refuses_the_order(tmp_path) -> None:
    case = _case("oi_in_order")
    files = _files(tmp_path, case["truth"], case["predictions"])
    values = score(*files, convention="oi", predicates=case["predicates"]).values
    for name, official in case["official"].items():
        assert values[name] == pytest.approx(official, abs=1e-9), name
    with pytest.raises(ConfigError, match="always ranks by score"):
        score(*files, convention="oi", in_order=True)


@pytest.mark.parametrize(
    ("convention", "in_order"), [("sgb", False), ("openpsg", False), ("sgb", True), ("egtr", False)]
)
def test_an_image_whose_pairs_all_score_0_is_answered(tmp_path, convention, in_order) -> None:
    case = _case("zero_score_image_left_out")
    files = _files(tmp_path, case["truth"], case["predictions"])
    report = score(*files, convention=convention, in_order=in_order)
    assert report.values["R@50"] == 0.5
    assert report.images_used == 2


def test_a_name_that_only_a_prediction_has_is_in_no_mean(tmp_path) -> None:
    case = _case("stray_predicate_halves_mean_recall")
    files = _files(tmp_path, case["truth"], case["predictions"])
    report = score(*files)
    assert (report.values["mR@50"], report.values["F1@50"]) == (1.0, 1.0)
    assert [row["count"] for row in report.tables["counted"]] == [1]
    assert score(*files, predicates=["on", "under"]).values["mR@50"] == 0.5
    assert score(*files, convention="oi").values["mAP_rel"] == 1.0


@pytest.mark.parametrize("metric", ["predcls", "sgcls"])
def test_regions_in_another_order_are_matched_and_foreign_ones_said(tmp_path, metric) -> None:
    case = _case("predcls_other_regions_silent")
    moved, foreign = (item["prediction"] for item in case["cases"])
    report = score(*_files(tmp_path, case["truth"], [moved]), metric=metric)
    assert report.values["R@50"] == 1.0
    assert [row["reason"] for row in report.tables["counted"]] == [
        "prediction: image that lists the truth's regions otherwise, matched by box and label"
    ]
    report = score(*_files(tmp_path, case["truth"], [foreign]), metric=metric)
    assert report.values["R@50"] == 0.0
    assert "prediction: image with regions that are none of the truth's, whose relations are left out" in {
        row["reason"] for row in report.tables["counted"]
    }
    assert score(*_files(tmp_path, case["truth"], case["truth"]), metric=metric).tables["counted"] == []


def test_what_could_be_two_regions_is_not_guessed(tmp_path) -> None:
    twins = [region("cup", [0, 0, 10, 10]), region("cup", [0, 0, 10, 12]), region("table", TABLE)]
    truth = line("a", twins, [relation(0, "on", 2)])
    shown = line(
        "a", [region("table", TABLE), region("hat", FAR), region("cup", [0, 0, 10, 11])], [relation(2, "on", 0)]
    )
    report = score(*_files(tmp_path, [truth], [shown]), metric="predcls")
    assert report.values["R@20"] == 0.0
    assert any("could be several of the truth's" in row["reason"] for row in report.tables["counted"])
    # The box itself, to a rounding, is one of the two.
    shown["regions"][2]["box"] = [0, 0, 10, 10.01]
    assert score(*_files(tmp_path, [truth], [shown]), metric="predcls").values["R@20"] == 1.0


def _remark(report, start: str) -> list[str]:
    return [note for note in report.notes if note.startswith(f"hint: {start}")]


def test_boxes_in_other_units_give_a_hint(tmp_path) -> None:
    truth = line("a", None, ON) | {"width": 640, "height": 480}
    places = [[v / (640, 480)[i % 2] for i, v in enumerate(box)] for box in (CUP, TABLE, FAR)]
    for scale, start in ((1.0, "no predicted box reaches beyond 1"), (1000.0, "predicted boxes leave their images")):
        # In 1000ths the far box must leave the image to be told from pixels: it lies at the right border here.
        wide = [*places[:2], [0.8, 0.5, 0.999, 0.9]]
        boxes = [[value * scale for value in box] for box in wide]
        shown = line("a", [region(name, box) for name, box in zip("abc", boxes, strict=True)], ON)
        assert _remark(score(*_files(tmp_path, [truth], [shown])), start)
    assert not _remark(score(*_files(tmp_path, [truth], [truth])), "")


def test_names_that_differ_by_case_and_scores_in_per_cent_give_a_hint(tmp_path) -> None:
    truth = line("a", None, ON)
    shown = line("a", [region("Cup", CUP), region("table", TABLE), region("chair", FAR)], [relation(0, "ON", 1)])
    shown["relations"].append(relation(2, "near", 1, score=45.0))
    for closed in (None, ["on", "near"]):
        report = score(*_files(tmp_path, [truth], [shown]), predicates=closed)
        assert _remark(report, "1 predicted labels differ from the truth's by case alone (first: 'Cup', 'cup')")
        assert _remark(report, "there are scores like 45: they look like per cent")
        assert _remark(report, "1 predicted predicates differ from the truth's by case alone (first: 'ON', 'on')")


def test_intervals_over_few_images_carry_a_note(tmp_path) -> None:
    lines = [line(str(number), None, ON) for number in range(50)]
    many, few = (
        _files(tmp_path / name, part, part)
        for name, part in (("many", lines), ("few", lines[:49]))
        if (tmp_path / name).mkdir() is None
    )
    assert any("percentile intervals are too narrow" in note for note in score(*few, bootstrap=5).notes)
    assert not any("too narrow" in note for note in score(*many, bootstrap=5).notes)
    assert not any("too narrow" in note for note in score(*few).notes)
    assert any("too narrow" in note for note in compare(few[0], few[0], few[1], draws=3).notes)
    assert not any("too narrow" in note for note in compare(many[0], many[0], many[1], draws=3).notes)


def test_a_switched_convention_carries_its_switches(tmp_path, capsys) -> None:
    files = _files(tmp_path, [line("a", None, ON), line("b", None, ON)], [line("a", None, ON)])
    plain, zero = (score(*files, convention=name) for name in ("sgb", "sgb+unanswered=zero"))
    assert (plain.values["R@20"], zero.values["R@20"]) == (1.0, 0.5)
    assert zero.convention == "sgb+unanswered=zero"
    assert main(["eval", *map(str, files), "--convention", "sgb+unanswered=zero+predicates=3"]) == 0
    assert "convention sgb+unanswered=zero+predicates=3: " in capsys.readouterr().out
    for wrong, message in (
        ("sgb+unanswred=zero", "did you mean 'unanswered'"),
        ("sgb+unanswered=no", "unanswered must be skip or zero"),
        ("sgb+unanswered=skip", "changes nothing"),
        ("sgb+pixels=legacy+pixels=maelic", "changes nothing"),
        ("sgb+predicates=0", "predicates must be all or a number"),
    ):
        with pytest.raises(ConfigError, match=message):
            convention_named(wrong)
    assert compare(files[0], files[0], files[1], Settings(convention="sgb+duplicates=drop"), draws=2).convention == (
        "sgb+duplicates=drop"
    )


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("switch", ["pixels=continuous", "pixels=maelic", "duplicates=keep", "unanswered=zero"])
def test_a_switch_changes_its_field_or_is_refused(name, switch) -> None:
    field, _, value = switch.partition("=")
    plain = CONVENTIONS[name]
    if getattr(plain, field) == value:
        with pytest.raises(ConfigError, match="changes nothing"):
            convention_named(f"{name}+{switch}")
        return
    changed = attrs.asdict(convention_named(f"{name}+{switch}"))
    differing = {key for key, own in attrs.asdict(plain).items() if changed[key] != own}
    assert differing == {"name", "summary", field}


def test_the_whole_image_block_of_r1_counts_all_triplets_by_image_and_pooled(tmp_path) -> None:
    # Image a: "on" is found behind 150 wrong triplets, "near" is not; image b has "on" twice and no prediction.
    wrong = [relation(1, f"p{number}", 0, score=0.9) for number in range(150)]
    shown = line("a", None, [*wrong, relation(0, "on", 1, score=0.1)])
    files = _files(tmp_path, [line("a", None, ON), line("b", None, [ON[0], ON[0]])], [shown])
    values = score(*files, convention="r1", bootstrap=10).values
    assert (values["R"], values["pooledR"]) == (0.25, 0.25)  # (1/2 + 0) / 2; 1 of 4
    assert values["mR"] == pytest.approx(((1 + 0) / 2 + 0) / 2)
    assert values["pooledmR"] == pytest.approx((1 / 3 + 0) / 2)
    assert "pooledmR@20" not in score(*files).values


def test_recall_weighted_by_rank_charges_what_stands_before(tmp_path) -> None:
    wrong = relation(1, "on", 0, score=0.9)
    shown = line("a", None, [relation(0, "on", 1, score=1.0), wrong, relation(2, "near", 1, score=0.5)])
    truth = line("a", None, [*ON, relation(1, "under", 2)])
    values = score(*_files(tmp_path, [truth], [shown]), convention="maelic", k=(4,)).values
    # At rank 0 the first weighs 4/4; the second, at rank 2 behind one wrong triplet, 3/4.
    assert values["wR@4"] == pytest.approx((1 + 3 / 4) / 3)
    # Rows in the order of the truth: "on" weighs 4/4, "near" 3/4, "under" is not found.
    assert values["wmR@4"] == pytest.approx((1 + 3 / 4 + 0) / 3)
    assert "wR@20" not in score(*_files(tmp_path, [truth], [shown])).values


def test_invalid_regions_are_counted_against_a_closed_vocabulary(tmp_path) -> None:
    shown = line("a", [region("cup", CUP), region("cupp", TABLE), region(None, FAR)], [relation(0, "on", 1)])
    files = _files(tmp_path, [line("a", None, ON)], [shown])
    assert score(*files, labels=("cup", "table")).values["node_invalid_rate"] == pytest.approx(2 / 3)
    assert "node_invalid_rate" not in score(*files).values


def test_pair_accuracy_of_maelic_cuts_before_it_looks_at_pairs(tmp_path) -> None:
    wrong = [relation(2, "near", 0, score=0.9), relation(1, "on", 0, score=0.8)]
    shown = line("a", None, [*wrong, relation(0, "on", 1, score=0.5)])
    files = _files(tmp_path, [line("a", None, ON[:1])], [shown])
    for convention, expected in (("sgb", (1.0, 1.0)), ("maelic", (0.0, 1.0))):
        values = score(*files, metric="predcls", convention=convention, k=(2, 3)).values
        assert (values["A@2"], values["A@3"]) == expected, convention


def test_direct_answers_of_aokvqa_are_counted_by_its_own_rule(tmp_path) -> None:
    case = _case("aokvqa_direct")
    (tmp_path / "q.json").write_text(json.dumps(case["questions"]))
    task = AokvqaTask(AokvqaOptions(tmp_path / "q.json", direct=True))
    answers = {row["id"]: row["answer"] for row in case["predictions"]}
    assert task.evaluate(said(answers)).values["accuracy"] == pytest.approx(case["official"], abs=1e-9)
    assert task.evaluate(said({"q1": "Cat"})).values["accuracy"] == 0.0
    assert task.evaluate(said({"q1": "cat"})).values["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("answer", "given", "official"),
    [
        ("yes", ["yes"] * 10, 1.0),
        # Unanimous answers are compared as they stand, others without their signs; neither loses its number words.
        ("U.S.", ["U.S."] * 10, 0.0),
        ("us", ["u.s."] * 9 + ["usa"], 1.0),
        ("2", ["two"] * 9 + ["2"], 0.3),
        ("two", ["2"] * 10, 1.0),
    ],
)
def test_vqa_compares_as_its_evaluator_does(answer, given, official) -> None:
    assert soft_accuracy(answer, given) == pytest.approx(official)
