"""Lists of experiments: read (`lists`), run (`runs`), put together (`collect`), for `inters_jax.sweep`."""
