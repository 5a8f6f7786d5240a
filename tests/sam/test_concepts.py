"""`sam-concepts` on a tiny SAM 3 with random weights, against one call of the model and plain arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sam.tiny import picture, tiny_concepts
from torch.nn.functional import interpolate

from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.masks import to_array
from sgforge.stages import Resources
from sgforge_sam.concepts import ConceptSegmenter, load_concepts
from sgforge_sam.config import SamConceptsOptions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_concepts(tmp_path_factory.mktemp("concepts") / "sam3")


def direct(folder: Path, pixels: np.ndarray, phrase: str) -> list[tuple[float, np.ndarray]]:
    """(score, mask) of every query, by falling score."""
    import transformers as tf

    small = np.asarray(Image.fromarray(pixels).resize((112, 112), Image.Resampling.BILINEAR), np.float32)
    values = torch.from_numpy(small / 127.5 - 1).permute(2, 0, 1)[None]
    words = tf.AutoTokenizer.from_pretrained(folder)(phrase, padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        output = tf.Sam3Model.from_pretrained(folder).eval()(
            pixel_values=values, input_ids=words["input_ids"], attention_mask=words["attention_mask"]
        )
    scores = output.pred_logits[0].sigmoid() * output.presence_logits[0].sigmoid()
    shares = interpolate(output.pred_masks.sigmoid(), pixels.shape[:2], mode="bilinear", align_corners=False)[0]
    order = scores.argsort(descending=True)
    return [(float(scores[place]), (shares[place] > 0.5).numpy()) for place in order]


def test_instances_are_those_of_the_model(folder: Path) -> None:
    pixels = picture(60, 80)
    model = load_concepts(folder, CPU, torch.float32)
    wanted = {phrase: direct(folder, pixels, phrase) for phrase in ("cat", "red car")}
    found = model.find(pixels, list(wanted), threshold=0.0)
    assert [one.label for one in found] == ["cat"] * 7 + ["red car"] * 7
    for one, (score, mask) in zip(found, [*wanted["cat"], *wanted["red car"]], strict=True):
        assert one.score == pytest.approx(score, abs=1e-4)
        assert (to_array(one.mask) == mask).mean() > 0.999
    middle = wanted["cat"][3][0]
    assert len(model.find(pixels, ["cat"], threshold=middle - 1e-4)) >= 4
    assert len(model.find(pixels, ["cat"], threshold=middle + 1e-4)) <= 3


def test_an_image_is_encoded_once_for_all_phrases(folder: Path) -> None:
    model = load_concepts(folder, CPU, torch.float32)
    calls: list[int] = []
    hook = model._model.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    model.find(picture(60, 80), ["cat", "dog", "car"], threshold=0.0)
    hook.remove()
    assert calls == [1]


def test_regions_have_labels_and_scores(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(60, 80)).save(tmp_path / "a.png")
    given = Sample("a", SceneGraph(80, 60), image=Roots({"r": tmp_path}).image("r:a.png"))
    segmenter = ConceptSegmenter(SamConceptsOptions(checkpoint=folder, phrases=("cat",), threshold=0.0))
    segmenter.setup(Resources())
    (edit,) = segmenter.segment([given])
    assert isinstance(edit, Edit)
    wanted = [(score, mask) for score, mask in direct(folder, picture(60, 80), "cat") if mask.any()]
    assert [region.score for region in edit.regions] == pytest.approx([score for score, _ in wanted], abs=1e-4)
    assert {(region.label, region.source, region.level) for region in edit.regions} <= {("cat", "sam-concepts", None)}
    assert len(edit.regions) + edit.faults.get("empty-mask", 0) == 7


def test_faults_of_checkpoints_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="cannot be loaded"):
        load_concepts(tmp_path / "none", CPU, torch.float32)
    with pytest.raises(ValueError, match="nothing names what to look for"):
        SamConceptsOptions(checkpoint=folder, phrases=())
