"""A study of detection: does a detector of generated pictures know those of other renderers, and do hard ones help?

    python examples/gas/detect.py [--small]
    python examples/gas/detect.py --photos FOLDER --checkpoint FOLDER --checkpoint FOLDER

Generate Any Scene, section 6. A small detector learns from real pictures and as many of the first renderer, of plain
graphs; again with as many more of its pictures by chance, and again with those of them that the first detector takes
for real (hard ones), all of large graphs. Each is tested on held-out pictures of every renderer. As it stands, without
weights, the renderers are the procedural one in three settings, and real pictures are drawn scenes seen by a camera
that blurs and adds noise, so its figures say that the study runs, and nothing of photos. With `--photos` these are
pictures of yours, with `--checkpoint` the renderers are pipelines of diffusers.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from loops import SCENES
from PIL import Image, ImageFilter

import sgforge as sg
from sgforge_gas.judging.detector import Detector, figures, hardest, separation

SIZE = 64
"""All pictures are compared at this size, and as JPEG: neither shall tell them apart."""
LEAST = 4
"""Real pictures without which nothing is learnt."""
DRAWN = {"vocabulary": SCENES, "scene_attributes": (0,)}
"""What can be drawn without a model."""
SETTINGS = {"room": ("room", 64), "meadow": ("meadow", 96), "snow": ("snow", 128)}


@attrs.frozen(kw_only=True)
class Study:
    """Renderers by name, and how many pictures of each kind; datasets lie in `folder`."""

    folder: Path
    count: int
    renderers: Mapping[str, Any]
    words: Mapping[str, Any]
    photos: Path | None = None

    def generated(self, renderer: str, kind: str, seed: int, complexity: tuple[int, int], count: int) -> np.ndarray:
        """(N, F) figures of pictures of graphs; one that cannot be drawn is left out."""
        source = sg.source("gas", count=count, complexity=complexity, seed=seed, split="train", **self.words)
        place = self.folder / f"{renderer}-{kind}"
        words = {name: value for name, value in self.words.items() if name == "vocabulary"}
        sg.Pipeline(sg.caption("gas", **words), self.renderers[renderer]).run(source, place, progress=False)
        pictures = [sample.image.pil() for sample in sg.Dataset.open(place) if sample.image is not None]
        if not pictures:
            raise SystemExit(f"renderer {renderer} made no picture: see `sgforge log {place}`")
        return np.stack([figures_of(picture, number) for number, picture in enumerate(pictures)])

    def real(self) -> tuple[np.ndarray, np.ndarray]:
        """(N, F) figures of real pictures to learn from and held-out ones."""
        if self.photos is not None:
            paths = sorted(path for path in self.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
            if len(paths) < LEAST:
                raise SystemExit(f"{self.photos} has {len(paths)} pictures (.jpg, .jpeg, .png); {LEAST} are needed")
            pictures = [Image.open(path) for path in paths[: 2 * self.count]]
        else:
            pictures = [seen_by_camera(one, number) for number, one in enumerate(self._scenes())]
        found = np.stack([figures_of(picture, number) for number, picture in enumerate(pictures)])
        return found[::2], found[1::2]

    def _scenes(self) -> list[Image.Image]:
        """Drawn scenes of all settings, so that their content tells nothing."""
        found: list[Image.Image] = []
        for number, (name, (setting, _)) in enumerate(SETTINGS.items()):
            source = sg.source("gas", count=self.count, complexity=(2, 8), seed=90 + number, split="train", **DRAWN)
            place = self.folder / f"scenes-{name}"
            sg.Pipeline(sg.render("procedural", size=192, setting=setting)).run(source, place, progress=False)
            found += [sample.image.pil() for sample in sg.Dataset.open(place) if sample.image is not None]
        order = np.random.default_rng(0).permutation(len(found))[: 2 * self.count]
        return [found[place] for place in order]


def seen_by_camera(scene: Image.Image, number: int) -> Image.Image:
    """A scene through a lens onto a sensor."""
    chance = np.random.default_rng([1, number])
    blurred = np.asarray(scene.convert("RGB").filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 1.2))), np.float64)
    noise = chance.normal(0, chance.uniform(0.5, 4.0), blurred.shape)
    return Image.fromarray(np.clip(blurred + noise, 0, 255).astype(np.uint8))


def figures_of(picture: Image.Image, number: int) -> np.ndarray:
    """Its figures at the size and in the form in which all are compared."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    stream = io.BytesIO()
    square.save(stream, "JPEG", quality=int(np.random.default_rng([2, number]).integers(70, 96)))
    return figures(np.asarray(Image.open(stream)))


def learnt(study: Study) -> tuple[dict[str, Detector], np.ndarray]:
    """The detectors by what they learnt from, and the figures of held-out real pictures."""
    first = next(iter(study.renderers))
    real, held_out = study.real()
    plain = study.generated(first, "plain", 1, (2, 3), study.count)
    pool = study.generated(first, "pool", 2, (5, 8), 3 * study.count)
    found = {"plain": Detector.learnt(real, plain)}
    hard = hardest(found["plain"].probabilities(pool), len(plain))
    by_chance = np.random.default_rng(3).permutation(len(pool))[: len(plain)]
    found["with others"] = Detector.learnt(real, np.concatenate([plain, pool[by_chance]]))
    found["with hard"] = Detector.learnt(real, np.concatenate([plain, pool[hard]]))
    return found, held_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint", action="append", default=[], help="a pipeline of diffusers; the first is learnt"
    )
    parser.add_argument("--photos", type=Path, help="a folder of real pictures")
    parser.add_argument("--small", action="store_true", help="few pictures, to see that it runs")
    parser.add_argument("--folder", type=Path, default=Path("runs/detect"))
    args = parser.parse_args()
    given = {f"{number}-{Path(one).name}"[:11]: one for number, one in enumerate(args.checkpoint, 1)}
    renderers = {name: sg.render("diffusers", checkpoint=one) for name, one in given.items()} or {
        name: sg.render("procedural", setting=setting, size=size) for name, (setting, size) in SETTINGS.items()
    }
    words = {} if args.checkpoint else DRAWN
    count = 16 if args.small else 120
    study = Study(folder=args.folder, count=count, renderers=renderers, words=words, photos=args.photos)
    detectors, photos = learnt(study)
    print(f"{'renderer':<12}{'learnt from':<14}{'AUROC':<24}accuracy")
    for name in renderers:
        pictures = study.generated(name, "held-out", 4, (2, 8), study.count)
        for arm, detector in detectors.items():
            found = separation(detector.probabilities(photos), detector.probabilities(pictures))
            interval = f"{found.auroc:.3f} [{found.low:.3f}, {found.high:.3f}]"
            print(f"{name:<12}{arm:<14}{interval:<24}{found.accuracy:.3f}", flush=True)


if __name__ == "__main__":
    main()
