"""Which groups of settings each command reads; its function takes them in this order."""

from __future__ import annotations

from inters_jax.settings import judging, tools, training
from inters_jax.settings.fields import Setting, settings_of

COMMANDS: dict[str, tuple[type, ...]] = {
    "prepare": (training.DataSettings, training.LengthSettings, training.StoreSettings),
    "train": (
        training.RunSettings,
        training.ModelSettings,
        training.DataSettings,
        training.LengthSettings,
        training.StepSettings,
        training.OptimizerSettings,
        training.RankingLossSettings,
        training.RetentionSettings,
        training.InRunEvaluationSettings,
        training.HostSettings,
    ),
    "plan": (
        training.ModelSettings,
        training.LengthSettings,
        training.StepSettings,
        training.OptimizerSettings,
        training.PlanSettings,
    ),
    "evaluate": (
        judging.InferenceSettings,
        judging.EvaluationSettings,
        judging.GenerationSettings,
        judging.ShareSettings,
        training.HostSettings,
    ),
    "rerank": (
        judging.InferenceSettings,
        judging.CollectionSettings,
        judging.RankingSettings,
        judging.MethodOptions,
        judging.RerankSettings,
        judging.ShareSettings,
        training.HostSettings,
    ),
    "serve": (
        judging.InferenceSettings,
        judging.RankingSettings,
        judging.MethodOptions,
        judging.ServerSettings,
    ),
    "export": (tools.ExportSettings,),
    "compare": (tools.CompareSettings,),
    "inspect_data": (tools.InspectSettings,),
    "sweep": (tools.SweepSettings,),
}


def settings_of_command(command: str) -> dict[str, Setting]:
    """The settings that a command reads, by the name one types."""
    return {one.name: one for group in COMMANDS[command] for one in settings_of(group)}


def readers(name: str) -> list[str]:
    """The commands that read a setting.

    >>> readers("PORT"), readers("NO_SUCH")
    (['serve'], [])
    """
    return [command for command in COMMANDS if name in settings_of_command(command)]
