"""Settings of the commands that run a model: `evaluate`, `rerank` and `serve`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inters_jax.settings.fields import SettingError, group, setting
from inters_jax.settings.training import COMPUTE_TYPES, DATASETS
from seqio_tasks.metrics.trec_files import RUN_FORMATS


@group
class InferenceSettings:
    """Which model answers, and how it is run."""

    model_dir: str = setting(
        "run folder of train, Hugging Face folder or ORG/NAME@REVISION of the hub", path=True
    )
    step: int | str | None = setting(
        "checkpoint of a run folder; None: the newest; 'best': by KEEP_BEST", default=None, at_least=0
    )
    tokenizer: str | None = setting(
        "tokenizer.json, its folder or hub name; None: the model's own", default=None, path=True
    )
    chat_template: str | None = setting(
        "None: as in training; 'none': plain prompts; 'tokenizer': the tokenizer's; or a file",
        default=None,
        path=True,
    )
    max_length: int | None = setting(
        "tokens of the longest prompt; None: 2048, or the model's own limit if that is less",
        default=None,
        at_least=1,
    )
    dtype: str = setting(
        "compute type; logits are float32 in any case; 'auto': the fastest here (models/precision.py)",
        default="float32",
        choices=COMPUTE_TYPES,
    )
    mesh: str | None = setting("devices by axis, such as 'fsdp=-1'; None: the first device", default=None)
    batch_tokens: int | None = setting(
        "tokens that the model sees at once; None: on a CPU 2,048, generating 8,192; 16,384 elsewhere",
        default=None,
        at_least=1,
    )

    def __post_init__(self) -> None:
        if isinstance(self.step, str) and self.step != "best":
            raise SettingError("STEP", f"STEP={self.step!r} must be the number of a checkpoint, or 'best'")


@group
class GenerationSettings:
    """How answers are generated."""

    max_new_tokens: int = setting("longest answer, in tokens", default=256, at_least=1)
    temperature: float = setting("0: the most probable token", default=0.0, at_least=0)
    top_k: int | None = setting("sample among this many most probable tokens", default=None, at_least=1)
    top_p: float | None = setting(
        "sample among the most probable tokens that make up this probability",
        default=None,
        above=0,
        at_most=1,
    )
    beams: int = setting("width of the beam search; 1: none", default=1, at_least=1)
    length_penalty: float = setting("of the beam search: log-probability / length ** this", default=1.0)
    stop_strings: tuple[str, ...] = setting("texts that end an answer and are not part of it", default=())


@group
class EvaluationSettings:
    """What is judged, and where the results go."""

    tasks: tuple[str, ...] = setting("tasks or mixtures; (): everything whose files are there", default=())
    split: str = setting("split to judge on", default="test")
    raw_dir: str | None = setting(
        "folder of the official files; None: the packaged synthetic sample", default=None, path=True
    )
    datasets: tuple[str, ...] = setting(DATASETS, default=(), path=True)
    output_dir: str | None = setting("None: evaluation/ in MODEL_DIR", default=None, path=True)
    max_examples: int | None = setting("questions per task; None: all", default=None, at_least=1)
    max_queries: int | None = setting(
        "queries per task that ranks documents; None: MAX_EXAMPLES", default=None, at_least=1
    )
    seed: int = setting("draws the demonstrations of few-shot tasks", default=0)
    compare_with: str | None = setting(
        "results.json of another evaluation, for a before/after table", default=None, path=True
    )
    target_loss: bool = setting("also measure how probable the right answers are", default=False)


@group
class CollectionSettings:
    """What is reranked."""

    collection: str | None = setting(
        "BEIR or MS MARCO folder, irds:ID, JSON file of candidates, or a dataset of DATASETS",
        default=None,
        path=True,
    )
    topics: str | None = setting("topic file, in place of the collection's queries", default=None, path=True)
    topic_field: str = setting(
        "of TREC topics: title, description, narrative, or several joined by +", default="title"
    )
    documents: str | None = setting(
        "document file (tsv or JSON lines), in place of the collection's corpus", default=None, path=True
    )
    qrels: str | None = setting("judgment file, in place of the collection's", default=None, path=True)
    run: str | None = setting(
        "run of a first stage; None: the collection's own, or BM25", default=None, path=True
    )
    run_format: str = setting(
        "third column of a run with three: 'ranks', 'scores' or 'auto', which tells them apart and says so",
        default="auto",
        choices=RUN_FORMATS,
    )
    split: str | None = setting(
        "whose judged queries are reranked; None: every query, and nothing is measured", default="test"
    )
    depth: int = setting("candidates per query", default=100, at_least=1)
    max_queries: int | None = setting("rerank only the first queries, for a trial", default=None, at_least=1)
    drop_identical_ids: bool | None = setting(
        "drop a candidate that has the id of its query; None: where the queries are documents", default=None
    )


@group
class RankingSettings:
    """The ranking method and its prompts."""

    method: str = setting(
        "how documents are ranked",
        default="pointwise",
        choices=(
            *("pointwise", "query_likelihood", "pairwise", "setwise", "listwise"),
            *("first_token", "self_consistency"),
        ),
    )
    pair: str | None = setting(
        "pair whose wording, measures and grades hold; None: the collection's own (serve: ms_marco's)",
        default=None,
    )
    datasets: tuple[str, ...] = setting(DATASETS, default=(), path=True)
    template: int = setting("which of the two wordings of the method", default=0, at_least=0)
    description: bool = setting("begin with the task description, as in training", default=True)
    identifiers: str = setting(
        "how documents are named; 'auto': letters where the tokenizer cannot tell numbers apart",
        default="auto",
        choices=("auto", "numbers", "letters"),
    )
    marker: str = setting("how a document is marked in a list", default="[1]")
    joiner: str = setting("how an order of documents is written", default=" > ")


# Two options have another name than in the methods, where it would be taken for a setting of training.
_METHOD_FIELDS = {"window_passes": "passes", "shuffle_seed": "seed"}


def option_names(fields: Iterable[str]) -> list[str]:
    """The settings for some fields of a method, as they are typed.

    >>> option_names(["passes", "top_k"])
    ['WINDOW_PASSES', 'TOP_K']
    """
    names = {field: name for name, field in _METHOD_FIELDS.items()}
    return [names.get(field, field).upper() for field in fields]


@group
class MethodOptions:
    """Options of ranking methods; None is the method's own default, and no method has all of them."""

    sort: str | None = setting(
        "pairwise: allpairs, heapsort, bubble; setwise: heapsort, bubble", default=None
    )
    top_k: int | None = setting(
        "ranks that sorting and windows put in order; None: 10", default=None, at_least=1
    )
    num_child: int | None = setting("setwise: documents compared with one; None: 3", default=None, at_least=1)
    window: int | None = setting("listwise methods: documents per prompt; None: 20", default=None, at_least=2)
    stride: int | None = setting("ranks between two windows; None: half a window", default=None, at_least=1)
    window_passes: int | None = setting(
        "passes of the windows over all documents; None: enough for TOP_K", default=None, at_least=1
    )
    shuffles: int | None = setting(
        "listwise methods: answers per window; 0: one; None: the method's own", default=None, at_least=0
    )
    shuffle_seed: int | None = setting("self_consistency: draws the shuffles; None: 0", default=None)
    aggregate: str | None = setting("self_consistency: kemeny or borda; None: kemeny", default=None)
    whole: bool | None = setting("listwise: order the whole window; None: as the method does", default=None)
    per_token: bool | None = setting(
        "query_likelihood: mean over tokens; None: as the method does", default=None
    )
    question: str | None = setting(
        "pairwise: which is better, or is this one better; None: choice",
        default=None,
        choices=("choice", "check"),
    )

    def chosen(self) -> dict[str, Any]:
        """The options that are set, under the names of the methods' fields.

        >>> MethodOptions(window=4, window_passes=2).chosen()
        {'window': 4, 'passes': 2}
        """
        return {
            _METHOD_FIELDS.get(name, name): value for name, value in vars(self).items() if value is not None
        }


@group
class RerankSettings:
    """What is done with a reranking: its interpolation, its measures, and where it goes."""

    interpolation: float | str | None = setting(
        "weight of the model against the first stage; or where the best one is chosen: OUTPUT_DIR of a "
        "reranking, or 'cross_validation', for each half of the queries on the other half",
        default=None,
        at_least=0,
        at_most=1,
        path=True,
    )

    measures: str | tuple[str, ...] | None = setting(
        "computed of the runs; None: those of the pair, and Judged@10", default=None
    )
    output_dir: str | None = setting(
        "None: rerank/<collection>/<method> in MODEL_DIR", default=None, path=True
    )
    batch: int = setting("most requests that are tokenized and answered together", default=1024, at_least=1)
    concurrent: int = setting(
        "queries under way at once; an interruption loses at most these", default=64, at_least=1
    )


@group
class ShareSettings:
    """What this process does where several answer the questions of a command (inters_jax/shards.py)."""

    shard: str | None = setting(
        "'K/N': answer the Kth of N shares; None: all that no share in OUTPUT_DIR has answered, and measure",
        default=None,
    )
    across_hosts: bool = setting(
        "one model over the devices of all hosts (MESH); False: each has the whole model and answers a share",
        default=False,
    )


@group
class ServerSettings:
    """The HTTP server and its limits."""

    host: str = setting(
        "address to listen on; the default is reached from this machine alone", default="127.0.0.1"
    )
    port: int = setting("TCP port", default=8080, at_least=0, at_most=65535)
    max_batch: int = setting("requests that are ranked together", default=32, at_least=1)
    max_waiting: int = setting("requests that may wait; more are answered with 503", default=256, at_least=1)
    max_documents: int = setting("documents of one request", default=1000, at_least=1)
    max_body_bytes: int = setting("bytes of one request", default=4_000_000, at_least=1)
    request_timeout: float = setting("seconds in which a request must arrive", default=30.0, above=0)
    max_connections: int = setting("open connections; more are answered with 503", default=512, at_least=1)
    shutdown_timeout: int = setting(
        "seconds that running requests have to finish after SIGTERM", default=30, at_least=0
    )
    drain_seconds: float = setting(
        "seconds after SIGTERM in which new requests get 503, so that a gateway notices",
        default=2.0,
        at_least=0,
    )
    cors_origins: tuple[str, ...] = setting(
        "origins of web pages that may ask from a browser, such as https://example.org, or *", default=()
    )
    warm_up: bool = setting("rank a few documents before the server is ready, to compile", default=True)
