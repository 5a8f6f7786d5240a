"""The renderer `diffusers`: any text-to-image pipeline of diffusers, by folder or hub id."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import DiffusionPipeline

from sgforge.dataset import Snapshot
from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Caption, Sample
from sgforge.selection import Selection
from sgforge.stages import Answer, Checkpoint, Failure, Resources
from sgforge_gas.config import DiffusersOptions

__all__ = ["DiffusersRenderer", "seed_of"]

_DTYPES: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def seed_of(image_id: str, seed: int) -> int:
    """The seed of one picture: of its id, so that copies of a graph differ and nothing else changes it."""
    data = f"{seed}\0{image_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 1


class DiffusersRenderer:
    """Makes a picture of each caption. A batch gives the pictures that each image alone would get.

    Reasons of failures: no-caption (put a caption step before), unsafe (the pipeline's safety checker blanked it; one
    without a checker blanks nothing).
    """

    def __init__(self, options: DiffusersOptions) -> None:
        self.options = options
        self._pipeline: Any = None
        self._files: Any = None

    def setup(self, resources: Resources) -> None:
        """Load the pipeline: weights in safetensors form, no code from the folder or the hub."""
        if resources.files is None:  # as of a training, which makes no pictures, and loads for itself
            return
        self._pipeline = self._loaded(resources)
        self._files = resources.files

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """LoRA weights for the pipeline, learnt from the images with a caption and a picture.

        They go on from those of an earlier training, else of the option `lora`. Errors: none of the images has both,
        peft is missing, the pipeline is of a family that is not trained here.
        """
        if find_spec("peft") is None:
            raise StepError('LoRA needs peft: pip install "sgforge[gas-images]"')
        from sgforge_gas.rendering.lora import examples_of, learn

        pipeline = self._loaded(resources)
        snapshot = Snapshot.open(snapshot_path)
        samples = [snapshot.sample(row, resources.roots) for row in snapshot.rows(selection).tolist()]
        examples = examples_of(samples, self.options.size or _size_of(pipeline))
        if not examples:
            raise StepError("there is nothing to learn from: no image has a caption and a picture")
        folder = out_dir / "weights"
        loss = learn(pipeline, examples, self.options, resources, folder)
        return Checkpoint.of(folder, {"loss": loss})

    def _loaded(self, resources: Resources) -> Any:
        """The pipeline, with the LoRA weights of a training, else of the option `lora`."""
        options = self.options
        dtype = _DTYPES["float32" if resources.device == "cpu" and options.dtype == "auto" else _name(options.dtype)]
        lora = options.lora if resources.checkpoint is None else resources.checkpoint.path
        try:
            pipeline = DiffusionPipeline.from_pretrained(  # type: ignore[no-untyped-call]
                options.checkpoint, torch_dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
            if lora is not None:
                pipeline.load_lora_weights(str(lora), use_safetensors=True)
        except (OSError, ValueError, ImportError) as error:
            what = " ".join(str(error).split())[:300]
            raise StepError(f"checkpoint {options.checkpoint} cannot be loaded as a pipeline: {what}") from error
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(resources.device)

    def render(self, samples: Sequence[Sample]) -> list[Answer]:
        """A picture of each sample's caption."""
        if self._files is None:
            raise StepError("the renderer diffusers needs Resources.files: run it through a pipeline")
        texts = [_text_of(sample) for sample in samples]
        shown = [place for place, text in enumerate(texts) if text is not None]
        answers: list[Answer] = [
            Failure("no-caption", f"image {sample.image_id} has no caption: put a caption step before")
            for sample in samples
        ]
        if shown:
            made = self._make([texts[place] or "" for place in shown], [samples[place].image_id for place in shown])
            for place, answer in zip(shown, made, strict=True):
                answers[place] = answer
        return answers

    def close(self) -> None:
        """Let the weights go."""
        self._pipeline = None

    def _make(self, texts: list[str], image_ids: list[str]) -> list[Answer]:
        options = self.options
        # Noise is drawn on the CPU, so that a seed means one picture on every device.
        generators = [torch.Generator("cpu").manual_seed(seed_of(one, options.seed)) for one in image_ids]
        size = {} if options.size is None else {"height": options.size, "width": options.size}
        with torch.inference_mode():
            made = self._pipeline(
                prompt=texts,
                generator=generators,
                num_inference_steps=options.steps,
                guidance_scale=options.guidance,
                **size,
            )
        unsafe = getattr(made, "nsfw_content_detected", None) or [False] * len(texts)
        return [
            Failure("unsafe", f"image {image_id}: the pipeline's safety checker blanked the picture")
            if flag
            else Edit(image=self._files.put(_png(picture), ".png"))
            for picture, flag, image_id in zip(made.images, unsafe, image_ids, strict=True)
        ]


def _size_of(pipeline: Any) -> int:
    """The side of the pipeline's own pictures, in pixels."""
    network = getattr(pipeline, "unet", None) or pipeline.transformer
    side: int = network.config.sample_size * pipeline.vae_scale_factor
    return side


def _name(dtype: str) -> str:
    return "float16" if dtype == "auto" else dtype


def _text_of(sample: Sample) -> str | None:
    caption = sample.values.get("caption")
    return caption.text if isinstance(caption, Caption) else None


def _png(picture: Any) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "PNG")
    return stream.getvalue()
