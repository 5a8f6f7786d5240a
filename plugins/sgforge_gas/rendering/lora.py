"""LoRA training of a diffusers pipeline on pairs of caption and picture: `train` of the renderer `diffusers`.

Low-rank matrices beside the attention's projections of the denoiser are learnt (Hu et al. 2021, section 4), the rest
stands still. Two families: a UNet that predicts noise or velocity (Ho et al. 2020, equation 14; Salimans and Ho 2022),
and the diffusion transformer of Stable Diffusion 3, whose flow is straight (Esser et al. 2024, equations 1 and 13, and
section 3.1 for how times are drawn).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch
from diffusers import DDPMScheduler, StableDiffusion3Pipeline, StableDiffusionPipeline
from torch.nn.functional import mse_loss

from sgforge.errors import StepError
from sgforge.graph import Caption, Sample
from sgforge.stages import Resources
from sgforge_gas.config import DiffusersOptions

__all__ = ["LORA_FILE", "Example", "examples_of", "learn"]

LORA_FILE: Final = "pytorch_lora_weights.safetensors"
"""The file that diffusers keeps LoRA weights in."""
_ADAPTER: Final = "default_0"
"""What diffusers calls the first weights that it loads, so that new and loaded ones have one name."""
_PROJECTIONS: Final = ["to_q", "to_k", "to_v", "to_out.0"]


@attrs.frozen(kw_only=True, eq=False)
class Example:
    """A caption and its picture, a float32 tensor of (3, size, size) in [-1, 1]."""

    text: str
    pixels: torch.Tensor


def examples_of(samples: Sequence[Sample], size: int) -> list[Example]:
    """Those of the samples with a caption and a picture: its middle square, at `size` pixels."""
    found = []
    for sample in samples:
        caption = sample.values.get("caption")
        if isinstance(caption, Caption) and sample.image is not None:
            picture = sample.image.pil().convert("RGB")
            side = min(picture.size)
            left, top = ((length - side) // 2 for length in picture.size)
            square = picture.crop((left, top, left + side, top + side)).resize((size, size))
            pixels = torch.from_numpy(np.asarray(square, np.float32) / 127.5 - 1).permute(2, 0, 1)
            found.append(Example(text=caption.text, pixels=pixels))
    return found


def learn(
    pipeline: Any, examples: Sequence[Example], options: DiffusersOptions, resources: Resources, folder: Path
) -> float:
    """Learn the examples, write the LoRA weights into `folder`; the mean loss of the last 10 % of the steps."""
    family = _family_of(pipeline)
    network = _with_adapter(family.network, options)
    weights = [one for one in network.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=options.rate)
    dice = torch.Generator("cpu").manual_seed(options.seed)
    network.train()
    last: list[float] = []
    for step in range(options.train_steps):
        chosen = torch.randint(len(examples), (options.batch,), generator=dice).tolist()
        loss = family.loss([examples[place] for place in chosen], dice)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        resources.report("loss", float(loss.detach()), step)
        if step >= options.train_steps * 9 // 10:
            last.append(float(loss.detach()))
    network.eval()
    family.save(folder)
    return sum(last) / len(last)


def _with_adapter(network: torch.nn.Module, options: DiffusersOptions) -> torch.nn.Module:
    """The network with low-rank weights that learn, by the seed unless some were loaded; all else stands still."""
    from peft import LoraConfig

    network.requires_grad_(False)
    if not hasattr(network, "peft_config"):
        rank = options.rank
        config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=_PROJECTIONS)
        # New weights are drawn on the CPU by the one generator of the process, which is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            network.add_adapter(config, _ADAPTER)  # type: ignore[operator]
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(True)
            # Steps of 1e-4 are lost in the rounding of half precision.
            parameter.data = parameter.data.float()
    return network


def _family_of(pipeline: Any) -> _Family:
    if isinstance(pipeline, StableDiffusion3Pipeline):
        return _Flow(pipeline, pipeline.transformer)
    if isinstance(pipeline, StableDiffusionPipeline) and not hasattr(pipeline, "text_encoder_2"):
        return _Noise(pipeline, pipeline.unet)
    raise StepError(
        f"a {type(pipeline).__name__} is not trained here: StableDiffusionPipeline (a UNet) and "
        "StableDiffusion3Pipeline (a transformer) are"
    )


class _Family:
    """What differs between families: how the denoiser is asked, and what it should say."""

    def __init__(self, pipeline: Any, network: torch.nn.Module) -> None:
        self.pipeline = pipeline
        self.network = network
        self.device = pipeline.device
        for part in (pipeline.vae, pipeline.text_encoder):
            part.requires_grad_(False)

    def loss(self, examples: Sequence[Example], dice: torch.Generator) -> torch.Tensor:
        """The mean square of the denoiser's error."""
        texts = [one.text for one in examples]
        with torch.no_grad():
            latents = self._latents(torch.stack([one.pixels for one in examples]), dice)
            told = self._told(texts)
        noise = torch.randn(latents.shape, generator=dice).to(latents)
        with torch.autocast(self.device.type, latents.dtype, enabled=latents.dtype != torch.float32):
            return self._error(latents, noise, told, dice)

    def _latents(self, pixels: torch.Tensor, dice: torch.Generator) -> torch.Tensor:
        vae = self.pipeline.vae
        drawn = vae.encode(pixels.to(self.device, vae.dtype)).latent_dist.sample(generator=dice)
        latents: torch.Tensor = (drawn - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor
        return latents

    def _told(self, texts: list[str]) -> Any:
        raise NotImplementedError

    def _error(self, latents: torch.Tensor, noise: torch.Tensor, told: Any, dice: torch.Generator) -> torch.Tensor:
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write the LoRA weights as diffusers reads them."""
        raise NotImplementedError

    def _state(self) -> Any:
        from peft import get_peft_model_state_dict

        return get_peft_model_state_dict(self.network, adapter_name=_ADAPTER)


class _Noise(_Family):
    """A UNet that says which noise was added, or the velocity, as its scheduler is configured."""

    def _told(self, texts: list[str]) -> Any:
        return self.pipeline.encode_prompt(texts, self.device, 1, False)[0]

    def _error(self, latents: torch.Tensor, noise: torch.Tensor, told: Any, dice: torch.Generator) -> torch.Tensor:
        schedule = DDPMScheduler.from_config(self.pipeline.scheduler.config)
        times = torch.randint(schedule.config.num_train_timesteps, (len(latents),), generator=dice).to(self.device)
        noisy = schedule.add_noise(latents, noise, times)
        said = self.network(noisy, times, encoder_hidden_states=told).sample
        is_velocity = schedule.config.prediction_type == "v_prediction"
        wanted = schedule.get_velocity(latents, noise, times) if is_velocity else noise
        return mse_loss(said.float(), wanted.float())

    def save(self, folder: Path) -> None:
        from diffusers.utils import convert_state_dict_to_diffusers

        StableDiffusionPipeline.save_lora_weights(folder, convert_state_dict_to_diffusers(self._state()))


class _Flow(_Family):
    """A transformer that says the way from picture to noise, along a straight line between them."""

    def _told(self, texts: list[str]) -> Any:
        told, _, pooled, _ = self.pipeline.encode_prompt(
            texts, texts, texts, device=self.device, do_classifier_free_guidance=False
        )
        return told, pooled

    def _error(self, latents: torch.Tensor, noise: torch.Tensor, told: Any, dice: torch.Generator) -> torch.Tensor:
        share = torch.sigmoid(torch.randn(len(latents), generator=dice)).to(latents)
        part = share[:, None, None, None]
        said = self.network(
            hidden_states=(1 - part) * latents + part * noise,
            timestep=share * self.pipeline.scheduler.config.num_train_timesteps,
            encoder_hidden_states=told[0],
            pooled_projections=told[1],
        ).sample
        return mse_loss(said.float(), (noise - latents).float())

    def save(self, folder: Path) -> None:
        StableDiffusion3Pipeline.save_lora_weights(folder, transformer_lora_layers=self._state())
