"""Generate Any Scene: graphs drawn from structures and words, captions, questions, judges, renderers, rewards."""

from __future__ import annotations

import sgforge
from sgforge.columns import Column
from sgforge.hookspecs import Register
from sgforge.stages import Needs
from sgforge_gas.config import (
    CaptionerOptions,
    ClipScoreOptions,
    DiffusersOptions,
    DrawnJudgeOptions,
    GasOptions,
    JudgeOptions,
    ParaphraseOptions,
    PickScoreOptions,
    ProceduralOptions,
    QuestionerOptions,
    SceneQuestionsOptions,
    TokensOptions,
    VqaScoreOptions,
)

sgforge_api = 1

_ASKS_A_MODEL = Needs(model=True, deterministic=False)
_SPANS = Column("image", "gas.spans", "json")


@sgforge.hookimpl
def sgforge_register_sources(register: Register) -> None:
    """gas: graphs without images."""
    register("gas", "sgforge_gas.source:GasSource", config=GasOptions)


@sgforge.hookimpl
def sgforge_register_captioners(register: Register) -> None:
    """gas: captions written from graphs; gas-paraphrase: reworded by a model, and checked."""
    register(
        "gas", "sgforge_gas.captions.captioner:GasCaptioner", config=CaptionerOptions, columns=(_SPANS,), revision=2
    )
    register(
        "gas-paraphrase",
        "sgforge_gas.captions.captioner:ParaphrasingCaptioner",
        config=ParaphraseOptions,
        needs=_ASKS_A_MODEL,
        columns=(_SPANS,),
        revision=2,
    )


@sgforge.hookimpl
def sgforge_register_questioners(register: Register) -> None:
    """gas: all questions that a graph answers."""
    register("gas", "sgforge_gas.questions.questioner:GasQuestioner", config=QuestionerOptions, revision=2)


@sgforge.hookimpl
def sgforge_register_judges(register: Register) -> None:
    """gas: a model answers questions; vqascore: whether the caption fits; drawn: from what procedural noted."""
    register("gas", "sgforge_gas.judging.model_judge:GasJudge", config=JudgeOptions, needs=_ASKS_A_MODEL)
    register("vqascore", "sgforge_gas.judging.vqascore:VqaScoreJudge", config=VqaScoreOptions, needs=_ASKS_A_MODEL)
    register("drawn", "sgforge_gas.judging.drawn:DrawnJudge", config=DrawnJudgeOptions)


@sgforge.hookimpl
def sgforge_register_renderers(register: Register) -> None:
    """procedural: pictures without a model; diffusers: any text-to-image pipeline; tokens: a tiny model that learns."""
    register("procedural", "sgforge_gas.rendering.procedural:ProceduralRenderer", config=ProceduralOptions)
    register(
        "diffusers",
        "sgforge_gas.rendering.diffusion:DiffusersRenderer",
        config=DiffusersOptions,
        needs=Needs(modules=("diffusers", "torch", "transformers"), extra="gas-images", gpu="optional", untrained=True),
        offers=("train",),
    )
    register(
        "tokens",
        "sgforge_gas.rendering.tokens:TokensRenderer",
        config=TokensOptions,
        needs=Needs(modules=("torch", "safetensors"), extra="gas-images", gpu="optional", checkpoint=True),
        offers=("train", "policy"),
        revision=2,
    )


@sgforge.hookimpl
def sgforge_register_rewards(register: Register) -> None:
    """scene-questions: how much of its graph a picture shows; clipscore, pickscore: how alike it and its text are."""
    register("scene-questions", "sgforge_gas.judging.reward:SceneQuestionsReward", config=SceneQuestionsOptions)
    clip = Needs(modules=("torch", "transformers"), extra="transformers", gpu="optional")
    place = "sgforge_gas.judging.clip_rewards"
    register("clipscore", f"{place}:ClipScoreReward", config=ClipScoreOptions, needs=clip)
    register("pickscore", f"{place}:PickScoreReward", config=PickScoreOptions, needs=clip)


@sgforge.hookimpl
def sgforge_register_commands(register: Register) -> None:
    """`sgforge gas`."""
    register("gas", "sgforge_gas.cli:GasCommand")
