"""`sam-text` on tiny detectors with random weights: their own processor's boxes and phrases, SAM's own masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sam.tiny import picture, saved_sam, text_options, tiny_grounding, tiny_owl

from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.masks import PackedMasks
from sgforge.stages import Resources
from sgforge_sam.config import SamTextOptions
from sgforge_sam.detector import Detector, _phrase, load_detector
from sgforge_sam.sam import masks_of_boxes
from sgforge_sam.sam_text import SamTextSegmenter

CPU = torch.device("cpu")
PHRASES = ("cat", "red car")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("detectors")
    return {"grounding": tiny_grounding(folder / "grounding"), "owl": tiny_owl(folder / "owl")}


def opened(folder: Path, box: float = 0.1, text: float = 0.1) -> Detector:
    return load_detector(folder, CPU, box_threshold=box, text_threshold=text)


def direct(kind: str, folder: Path, pixels: np.ndarray) -> list[tuple[float, list[float]]]:
    """(score, box) of every query, by one call of the model and plain arithmetic."""
    import transformers as tf

    height, width = pixels.shape[:2]
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    images = tf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    given = images(images=Image.fromarray(pixels), return_tensors="pt")
    text = ["cat. red car."] if kind == "grounding" else list(PHRASES)
    full = {} if kind == "grounding" else {"padding": "max_length", "max_length": 16}
    words = tokenizer(text, return_tensors="pt", **full)
    model = tf.AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(**given, **words)
    scores = output.logits[0].sigmoid().max(dim=-1).values
    centres = output.pred_boxes[0].numpy()
    corners = np.concatenate([centres[:, :2] - centres[:, 2:] / 2, centres[:, :2] + centres[:, 2:] / 2], axis=1)
    side = max(height, width)
    corners *= [width, height, width, height] if kind == "grounding" else [side] * 4  # OWLv2 pads to a square
    corners = corners.clip(0, [width, height, width, height])
    return [(float(score), box.tolist()) for score, box in zip(scores, corners, strict=True)]


@pytest.mark.parametrize("kind", ["grounding", "owl"])
def test_boxes_are_those_of_the_model(kind: str, folders: dict[str, Path]) -> None:
    pixels = picture(60, 80)
    found = opened(folders[kind]).detect(pixels, PHRASES)
    assert found
    sure = [one for one in direct(kind, folders[kind], pixels) if one[0] > 0.1]
    wanted = sorted((one for one in sure if one[1][0] < one[1][2] and one[1][1] < one[1][3]), key=lambda one: -one[0])
    assert len(found) == len(wanted)
    for ours, (score, box) in zip(found, wanted, strict=True):
        assert ours.score == pytest.approx(score, abs=1e-4)
        assert ours.box == pytest.approx(box, abs=0.05)
        assert ours.phrase in (*PHRASES, *([None] if kind == "grounding" else []))
    assert any(one.phrase for one in found)
    strict = opened(folders[kind], box=1.0).detect(pixels, PHRASES)
    assert strict == []
    assert opened(folders[kind]).detect(pixels, ()) == []


def test_regions_have_labels_and_the_masks_of_their_boxes(folders: dict[str, Path], tmp_path: Path) -> None:
    pixels = picture(60, 80)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    given = Sample("a", SceneGraph(80, 60), image=Roots({"r": tmp_path}).image("r:a.png"))
    options = SamTextOptions(
        checkpoint=saved_sam(tmp_path), detector=folders["grounding"], phrases=PHRASES, text_threshold=0.1
    )
    segmenter = SamTextSegmenter(options)
    segmenter.setup(Resources())
    (edit,) = segmenter.segment([given])
    assert isinstance(edit, Edit)
    detected = opened(folders["grounding"], box=0.15).detect(pixels, PHRASES)
    detections = [one for one in detected if one.phrase is not None]
    assert len(detections) > 2
    assert edit.faults.get("no-phrase", 0) == len(detected) - len(detections)
    masks = masks_of_boxes(segmenter.encoder, pixels, np.array([one.box for one in detections]), 3)
    overlaps = PackedMasks.from_masks(masks).iou()
    kept: list[int] = []
    for place in range(len(masks)):
        if all(overlaps[place, other] <= 0.7 for other in kept):
            kept.append(place)
    assert [(row.label, row.mask, row.source) for row in edit.regions] == [
        (detections[place].phrase, masks[place], "sam-text") for place in kept if masks[place].box is not None
    ]
    scores = [row.score for row in edit.regions]
    assert scores == sorted(scores, key=lambda score: -(score or 0))
    assert edit.faults.get("duplicate-mask", 0) == len(masks) - len(kept)
    segmenter.close()


def test_faults_of_detectors_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(StepError, match="cannot be loaded"):
        opened(tmp_path / "none")
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(StepError, match="type 'bert', not one of owlv2"):
        opened(tmp_path / "bert")


def test_options_need_phrases(tmp_path: Path) -> None:
    options: dict[str, Any] = text_options(tmp_path)
    with pytest.raises(ValueError, match="nothing names what to look for"):
        SamTextOptions(**{**options, "phrases": ()})


def test_matched_words_name_a_phrase() -> None:
    phrases = ("red car", "car", "cat on grass")
    given = {"red car": "red car", "car": "car", "grass": "cat on grass", "cat car": "car", ". [SEP]": None, "": None}
    assert {words: _phrase(words, phrases) for words in given} == given


def test_more_phrases_than_a_text_holds_are_asked_in_several(folders: dict[str, Path]) -> None:
    """Grounding DINO reads 16 tokens here, two of them around the text: the first five phrases have 3+3+3+2+2 of 14."""
    pixels = picture(60, 80)
    detector = opened(folders["grounding"])
    many = ["red car", "red dog", "red cat", "grass", "cat", "dog", "car grass"]
    first = detector.detect(pixels, many[:5])
    alone = [*first, *detector.detect(pixels, many[5:])]
    assert len(alone) > len(first) > 0
    found = detector.detect(pixels, many)
    assert found == sorted(alone, key=lambda one: -one.score)
    assert {one.phrase for one in found} - {None} <= set(many)


@pytest.mark.parametrize("kind", ["grounding", "owl"])
def test_a_phrase_of_more_words_than_a_model_reads_is_cut(kind: str, folders: dict[str, Path]) -> None:
    word = "cat " if kind == "grounding" else "abcdef "
    found = opened(folders[kind]).detect(picture(60, 80), ["dog", (word * 30).strip(), "red"])
    assert found
    assert {one.phrase for one in found} - {None} <= {"dog", (word * 30).strip(), "red"}
