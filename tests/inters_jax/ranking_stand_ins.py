"""The plain reference for the engine: one query, one request after the other."""

import time

from inters_jax.ranking.engine import Cost


def run_one(backend, ranking):
    """(its ranking, its cost)."""
    cost = Cost()
    started = time.perf_counter()
    answers = None
    while True:
        try:
            requests = next(ranking) if answers is None else ranking.send(answers)
        except StopIteration as end:
            cost.seconds = cost.latency = time.perf_counter() - started
            return end.value, cost
        answers = []
        for request in requests:
            prepared = backend.prepare([request])
            answers += backend.answer(prepared)
            [usage] = backend.usage(prepared)
            cost.calls += 1
            cost.prompt_tokens += usage.prompt
            cost.generated_tokens += usage.generated
