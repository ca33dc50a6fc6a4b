"""Load on a running `inters_jax.serve` from this machine: requests/s, latencies, requests per batch.

    python -m inters_jax.serve --gin.MODEL_DIR=runs/quickstart --gin.PORT=8080 &
    python scripts/bench_server.py --url http://127.0.0.1:8080 --clients 1 8 --requests 40

Every client sends its next request when the last one is answered, so the load is bounded by their number.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

WORDS = ("river", "tower", "mill", "harbour", "wheat", "stone", "bridge", "market", "winter", "garden")


def documents(seed: int, count: int, words: int) -> list[str]:
    """Texts without meaning, all different."""
    return [
        " ".join(WORDS[(seed * 7 + number * 3 + place * place) % len(WORDS)] for place in range(words))
        + f" {number}"
        for number in range(count)
    ]


def ask(url: str, seed: int, count: int, words: int) -> float:
    """Seconds of one request."""
    body = {"query": f"{WORDS[seed % len(WORDS)]} number {seed}", "documents": documents(seed, count, words)}
    request = urllib.request.Request(
        url + "/v1/rerank", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    started = time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as response:
        assert len(json.load(response)["results"]) == count
    return time.perf_counter() - started


def counters(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url + "/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return {
        line.split()[0]: float(line.split()[1])
        for line in lines
        if line.startswith("inters_") and "{" not in line
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--requests", type=int, default=40, help="for each number of clients")
    parser.add_argument("--documents", type=int, default=20, help="of a request")
    parser.add_argument("--words", type=int, default=60, help="of a document")
    options = parser.parse_args()
    for seed in range(4):
        ask(options.url, seed, options.documents, options.words)
    print("clients  requests/s  documents/s   p50 s   p95 s  requests per batch")
    for clients in options.clients:
        before, started = counters(options.url), time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            seconds = list(
                pool.map(
                    lambda seed: ask(options.url, seed, options.documents, options.words),
                    range(options.requests),
                )
            )
        took = time.perf_counter() - started
        after = counters(options.url)
        batches = after["inters_batches_total"] - before["inters_batches_total"]
        print(
            f"{clients:7}  {len(seconds) / took:10.2f}  {len(seconds) * options.documents / took:11.1f}  "
            f"{statistics.median(seconds):6.3f}  {sorted(seconds)[int(0.95 * len(seconds))]:6.3f}  "
            f"{len(seconds) / batches:18.2f}"
        )


if __name__ == "__main__":
    main()
