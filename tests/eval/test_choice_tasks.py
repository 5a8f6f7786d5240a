"""Multiple choice: letters, circular scoring, and the loaders of CRPE, MMBench, SEED, SugarCrepe, What'sUp, VSR."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from eval.answers import said
from support.environment import ANNOTATIONS

from sgforge_eval.tasks.base import FileOptions, Predictions, TaskFileError
from sgforge_eval.tasks.captions import SugarCrepeTask, WhatsUpTask
from sgforge_eval.tasks.choice import (
    ChoiceQuestion,
    circular_accuracy,
    rotations,
    score_choices,
    shuffled,
)
from sgforge_eval.tasks.quizzes import CrpeTask, MMBenchOptions, MMBenchTask, SeedTask
from sgforge_eval.tasks.saying import chosen_letter, yes_or_no
from sgforge_eval.tasks.vsr import VsrTask


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        *(("B", 1), ("b", 1), (" B. ", 1), ("(B)", 1), ("B) a cat", 1), ("Answer: B", 1), ("The answer is B.", 1)),
        *(("Option B", 1), ("2", 1), ("a dog", 0), ("A dog.", 0), ("A", 0), ("a cat", 1)),
        *(("A bird", None), ("I see a dog", None), ("", None), ("E", None), ("9", None), ("Beautiful", None)),
    ],
)
def test_letters_in_answers(answer, index) -> None:
    assert chosen_letter(answer, ("A dog", "a cat", "a cow", "a hen")) == index


def test_a_strict_answer_is_one_letter() -> None:
    choices = ("x", "y")
    assert chosen_letter("A", choices, strict=True) == 0
    assert [chosen_letter(text, choices, strict=True) for text in ("A.", "a", "C", "(A)", "x")] == [None] * 5


def test_rotations_move_the_right_choice() -> None:
    question = ChoiceQuestion("7", "7", "?", ("hat", "bag", "cup"), 1)
    turned = rotations(question)
    assert [item.choices for item in turned] == [("hat", "bag", "cup"), ("bag", "cup", "hat"), ("cup", "hat", "bag")]
    assert [item.choices[item.correct] for item in turned] == ["bag"] * 3
    always_a = score_choices(turned, said({item.id: "A" for item in turned}))
    assert [item.right for item in always_a] == [False, True, False]
    assert circular_accuracy(always_a) == 0.0
    right = score_choices(turned, said({item.id: item.choices[item.correct] for item in turned}))
    assert circular_accuracy(right) == 1.0


def test_shuffling_depends_on_the_key_alone() -> None:
    orders = {key: shuffled(4, key) for key in map(str, range(50))}
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders.values())
    assert orders == {key: shuffled(4, key) for key in orders}
    assert len(set(orders.values())) > 10


def _crpe(path: Path, groups: int = 2) -> Path:
    rows = [
        {
            "question_id": f"{category}{group}{turn}",
            "image": "x.jpg",
            "text": "Which?\nA. ..",
            "category": category,
            "correct_option": "ABCD"[turn],
        }
        for category in ("exist", "subject", "predicate", "object")
        for group in range(groups)
        for turn in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_crpe_needs_all_four_rotations(tmp_path) -> None:
    task = CrpeTask(FileOptions(_crpe(tmp_path / "crpe.jsonl")))
    right = {question.id: "ABCD"[question.correct] for question in task.questions()}
    assert task.evaluate(said(right)).values["accuracy"] == 1.0
    # One wrong rotation of one subject question, and a wordy answer to an object question.
    report = task.evaluate(said(right | {"subject03": "A", "object10": "A."}))
    assert report.values["accuracy"] == pytest.approx(6 / 8)
    assert report.values["vanilla_accuracy"] == pytest.approx(30 / 32)
    assert report.values["relation"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert {row["category"]: row["accuracy"] for row in report.tables["per_category"]}["exist"] == 1.0
    assert report.images_skipped == {"answer that names no choice, counted as wrong": 1}


def test_crpe_files_come_in_fours(tmp_path) -> None:
    path = _crpe(tmp_path / "crpe.jsonl", 1)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(TaskFileError, match="not fours"):
        CrpeTask(FileOptions(path)).questions()


MMBENCH = "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\n5\tWhat?\tLook.\tone\ttwo\tthree\t\tB\tocr\n"


def test_mmbench_is_rotated_and_circular(tmp_path) -> None:
    (tmp_path / "m.tsv").write_text(MMBENCH)
    task = MMBenchTask(MMBenchOptions(tmp_path / "m.tsv"))
    questions = task.questions()
    assert [question.id for question in questions] == ["5#0", "5#1", "5#2"]
    assert "Look.\nWhat?\nA. one\nB. two\nC. three" in questions[0].prompt
    assert "A. two\nB. three\nC. one" in questions[1].prompt
    assert task.evaluate(said({"5#0": "B", "5#1": "A", "5#2": "C"})).values["accuracy"] == 1.0
    half = task.evaluate(said({"5#0": "B", "5#1": "A"}))
    assert half.values["accuracy"] == 0.0
    assert half.values["vanilla_accuracy"] == pytest.approx(2 / 3)
    assert half.images_skipped == {"question without a prediction, counted as wrong": 1}
    plain = MMBenchTask(MMBenchOptions(tmp_path / "m.tsv", circular=False))
    assert plain.evaluate(said({"5": "two"})).values["accuracy"] == 1.0
    (tmp_path / "m.tsv.gz").write_bytes(gzip.compress(MMBENCH.encode()))
    assert MMBenchTask(MMBenchOptions(tmp_path / "m.tsv.gz")).questions() == questions


def test_mmbench_files_with_rotations_of_their_own(tmp_path) -> None:
    rows = MMBENCH + "1000005\tWhat?\t\ttwo\tthree\tone\t\tA\tocr\n"
    (tmp_path / "m.tsv").write_text(rows)
    task = MMBenchTask(MMBenchOptions(tmp_path / "m.tsv"))
    assert task.evaluate(said({"5": "B", "1000005": "A"})).values["accuracy"] == 1.0
    assert task.evaluate(said({"5": "B", "1000005": "B"})).values["accuracy"] == 0.0


def test_seed_leaves_videos_out(tmp_path) -> None:
    row = {"question": "Which?", "choice_a": "x", "choice_b": "y", "choice_c": "z", "choice_d": "w", "data_id": "i"}
    data = {
        "question_type": {"Scene": 1},
        "questions": [
            row | {"question_id": "1", "answer": "C", "data_type": "image", "question_type_id": 1},
            row | {"question_id": "2", "answer": "A", "data_type": "video", "question_type_id": 1},
        ],
    }
    (tmp_path / "s.json").write_text(json.dumps(data))
    report = SeedTask(FileOptions(tmp_path / "s.json")).evaluate(said({"1": "C"}))
    assert report.values["accuracy"] == 1.0
    assert report.images_used == 1
    assert report.tables["per_category"] == [{"category": "Scene", "questions": 1, "accuracy": 1.0}]


def _crepe(path: Path) -> Path:
    rows = {
        str(key): {"filename": f"{key}.jpg", "caption": f"a {key}", "negative_caption": f"b {key}"} for key in range(4)
    }
    path.write_text(json.dumps(rows))
    return path


def test_sugarcrepe_averages_both_orders(tmp_path) -> None:
    path = _crepe(tmp_path / "s.json")
    task = SugarCrepeTask(FileOptions(path))
    assert [question.choices for question in task.questions()[:2]] == [("a 0", "b 0"), ("b 0", "a 0")]
    always = task.evaluate(said({f"{key}#{turn}": "A" for key in range(4) for turn in range(2)}))
    assert always.values == {"accuracy": 0.5, "both_orders": 0.0, "failure_rate": 0.0}
    scored = task.evaluate(said({str(key): [0.9, 0.1] if key else [0.1, 0.9] for key in range(4)}, "scores"))
    assert scored.values["accuracy"] == pytest.approx(3 / 4)
    assert task.evaluate(said({"0": "a 0", "1": "b 1"})).values["accuracy"] == pytest.approx(1 / 4)
    letter = task.evaluate(said({"0": "A", "1": "a 1"}))
    assert letter.values["accuracy"] == pytest.approx(1 / 4)
    assert letter.images_skipped == {
        "letter under an id of both orders: give it under id#0 and id#1": 1,
        "question without a prediction, counted as wrong": 6,
    }


def test_equal_scores_are_not_won(tmp_path) -> None:
    task = SugarCrepeTask(FileOptions(_crepe(tmp_path / "s.json")))
    report = task.evaluate(said({str(key): [0.5, 0.5] for key in range(4)}, "scores"))
    assert report.values["accuracy"] == 0.0
    assert report.images_skipped == {"tied scores, counted as wrong": 8}


@pytest.mark.parametrize("scores", [["a", 1], [float("nan"), 1], [1], 1, None, [1, 2, 3]])
def test_scores_that_are_no_numbers_are_counted(tmp_path, scores) -> None:
    task = SugarCrepeTask(FileOptions(_crepe(tmp_path / "s.json")))
    report = task.evaluate(said(dict.fromkeys("0123", scores), "scores"))
    assert report.values["accuracy"] == 0.0
    assert report.images_skipped == {"answer whose scores are not one number per choice, counted as wrong": 8}


def test_whatsup_pairs_and_sets(tmp_path) -> None:
    places = ["left_of", "right_of", "on", "under"]
    rows = [
        {
            "image_path": f"d/mug_{place}_knife.jpeg",
            "caption_options": [f"mug {other} knife" for other in _first(place, places)],
        }
        for place in places
    ]
    (tmp_path / "w.json").write_text(json.dumps([*rows, {"image_path": "d/odd.jpeg", "caption_options": list("xyzw")}]))
    task = WhatsUpTask(FileOptions(tmp_path / "w.json"))
    right = {row["image_path"]: row["caption_options"][0] for row in rows} | {"d/odd.jpeg": "x"}
    whole = task.evaluate(said(right)).values
    assert (whole["accuracy"], whole["pair_accuracy"], whole["set_accuracy"]) == (1.0, 1.0, 1.0)
    part = task.evaluate(said(right | {"d/mug_on_knife.jpeg": "mug under knife"})).values
    assert (part["accuracy"], part["pair_accuracy"], part["set_accuracy"]) == (4 / 5, 0.5, 0.0)
    letters = {item.id: "ABCD"[item.correct] for item in task.questions()}
    assert len(set(letters.values())) > 1  # the right caption is not always the first shown
    assert task.evaluate(said(letters)).values["accuracy"] == 1.0


def _first(place: str, places: list[str]) -> list[str]:
    return [place, *(other for other in places if other != place)]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("Yes", True),
        ("no.", False),
        ("True", True),
        (0, False),
        (True, True),
        ("Yes, it is", True),
        ("maybe", None),
        ("A", True),
        ([], None),
    ],
)
def test_yes_and_no(answer, value) -> None:
    assert yes_or_no(answer) is value


def test_vsr_counts_what_says_neither_as_wrong(tmp_path) -> None:
    rows = [
        {"image": "x.jpg", "caption": "c", "label": label, "relation": "on" if label else "under"}
        for label in (1, 1, 0, 0)
    ]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = VsrTask(FileOptions(tmp_path / "v.jsonl")).evaluate(said({"0": "yes", "1": "hm", "2": "yes", "3": "no"}))
    assert report.values["accuracy"] == 0.5
    assert report.values["precision"] == 0.5
    assert report.values["recall"] == 0.5
    assert report.images_skipped == {"answer that says neither yes nor no, counted as wrong": 1}


def test_predictions_that_fail_repeat_or_answer_nothing_asked(tmp_path) -> None:
    (tmp_path / "p").write_text(
        '{"id": "0", "answer": "yes"}\n{"id": "0", "answer": "no"}\n'
        '{"id": "9", "answer": "no"}\n{"id": "1", "failed": "refused"}\n'
    )
    row = {"image": "x.jpg", "caption": "c", "label": 1, "relation": "on"}
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for _ in range(3)))
    report = VsrTask(FileOptions(tmp_path / "v.jsonl")).evaluate(Predictions.read(tmp_path / "p"))
    assert report.values["accuracy"] == pytest.approx(1 / 3)
    assert report.values["failure_rate"] == pytest.approx(1 / 3)
    assert report.images_skipped == {
        "prediction of an id that occurred before": 1,
        "prediction of a question that does not exist": 1,
        "question without a prediction, counted as wrong": 1,
    }


def test_the_real_vsr_split_loads() -> None:
    task = VsrTask(FileOptions(ANNOTATIONS / "vsr_zeroshot_test.jsonl.gz"))
    statements = task.statements()
    assert len(statements) == 1222
    assert statements[0].caption == "The car is behind the suitcase."
    truth = {statement.id: "yes" if statement.label else "no" for statement in statements}
    assert task.evaluate(said(truth)).values["accuracy"] == 1.0


def test_the_real_sugarcrepe_file_loads() -> None:
    task = SugarCrepeTask(FileOptions(ANNOTATIONS / "sugarcrepe_replace_rel.json.gz"))
    questions = task.questions()
    assert len(questions) == 2 * 1406
    report = task.evaluate(said({question.id: "ABCD"[question.correct] for question in questions}))
    assert report.values["both_orders"] == 1.0
