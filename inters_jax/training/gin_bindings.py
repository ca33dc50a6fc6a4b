"""What gin calls by name until `train` and `plan` take these settings as groups."""

import gin

from inters_jax import hosts
from inters_jax.training.optimizer import OptimizerSettings

gin.external_configurable(OptimizerSettings, module="inters_jax")
join_hosts = gin.external_configurable(hosts.join_hosts, module="inters_jax")
