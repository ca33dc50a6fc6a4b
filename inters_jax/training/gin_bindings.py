"""What gin calls by name until `train` and `plan` take these settings as groups."""

import gin

from inters_jax.training.optimizer import OptimizerSettings

gin.external_configurable(OptimizerSettings, module="inters_jax")
