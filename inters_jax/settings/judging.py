"""Settings of the commands that run a model: `evaluate`, `rerank` and `serve`."""

from __future__ import annotations

from typing import Any

from inters_jax.settings.fields import SettingError, group, setting
from inters_jax.settings.training import DTYPES

# Settings of RankingSettings that are options of single methods.
METHOD_OPTIONS = (
    *("sort", "top_k", "num_child", "window", "stride", "shuffles", "aggregate", "whole", "per_token"),
)


@group
class InferenceSettings:
    """Which model answers, and how it is run."""

    model_dir: str = setting(help="run folder of train, Hugging Face folder or hub name", path=True)
    step: int | str | None = setting(
        None, "checkpoint of a run folder; None: the newest; 'best': by KEEP_BEST", at_least=0
    )
    tokenizer: str | None = setting(None, "tokenizer.json or its folder; None: the model's own", path=True)
    chat_template: str | None = setting(
        None,
        "None: as in training; 'none': plain prompts; 'tokenizer': the tokenizer's; or a file",
        path=True,
    )
    max_length: int | None = setting(
        None, "tokens of the longest prompt; None: 2048, or the model's own limit if that is less", at_least=1
    )
    dtype: str = setting("float32", "compute type; logits are float32 in any case", choices=DTYPES)
    mesh: str | None = setting(None, "devices by axis, such as 'fsdp=-1'; None: the first device")
    batch_tokens: int | None = setting(
        None, "tokens that the model sees at once; None: 2,048 on a CPU, 16,384 elsewhere", at_least=1
    )

    def __post_init__(self) -> None:
        if isinstance(self.step, str) and self.step != "best":
            raise SettingError("STEP", f"STEP={self.step!r} must be the number of a checkpoint, or 'best'")


@group
class GenerationSettings:
    """How answers are generated."""

    max_new_tokens: int = setting(256, "longest answer, in tokens", at_least=1)
    temperature: float = setting(0.0, "0: the most probable token", at_least=0)
    top_k: int | None = setting(None, "sample among this many most probable tokens", at_least=1)
    top_p: float | None = setting(
        None, "sample among the most probable tokens that make up this probability", above=0, at_most=1
    )
    beams: int = setting(1, "width of the beam search; 1: none", at_least=1)
    length_penalty: float = setting(1.0, "of the beam search: log-probability / length ** this")
    stop_strings: tuple[str, ...] = setting((), "texts that end an answer and are not part of it")


@group
class EvaluationSettings:
    """What is judged, and where the results go."""

    tasks: tuple[str, ...] = setting((), "tasks or mixtures; (): everything whose files are there")
    split: str = setting("test", "split to judge on")
    raw_dir: str | None = setting(
        None, "folder of the official files; None: the packaged synthetic sample", path=True
    )
    output_dir: str | None = setting(None, "None: evaluation/ in MODEL_DIR", path=True)
    max_examples: int | None = setting(None, "questions per task; None: all", at_least=1)
    seed: int = setting(0, "draws the demonstrations of few-shot tasks")
    compare_with: str | None = setting(
        None, "results.json of another evaluation, for a before/after table", path=True
    )
    target_loss: bool = setting(False, "also measure how probable the right answers are")


@group
class CollectionSettings:
    """What is reranked."""

    collection: str | None = setting(
        None, "BEIR or MS MARCO folder, irds:ID, or JSON file of candidates", path=True
    )
    topics: str | None = setting(None, "topic file, in place of the collection's queries", path=True)
    topic_field: str = setting(
        "title", "of TREC topics: title, description, narrative, or several joined by +"
    )
    documents: str | None = setting(
        None, "document file (tsv or JSON lines), in place of the collection's corpus", path=True
    )
    qrels: str | None = setting(None, "judgment file, in place of the collection's", path=True)
    run: str | None = setting(None, "run of a first stage; None: the collection's own, or BM25", path=True)
    split: str | None = setting(
        "test", "whose judged queries are reranked; None: every query, and nothing is measured"
    )
    depth: int = setting(100, "candidates per query", at_least=1)
    max_queries: int | None = setting(None, "rerank only the first queries, for a trial", at_least=1)
    drop_identical_ids: bool | None = setting(
        None, "drop a candidate that has the id of its query; None: where the queries are documents"
    )


@group
class RankingSettings:
    """The ranking method and its prompts; an option that a method does not have is refused."""

    method: str = setting(
        "pointwise",
        "how documents are ranked",
        choices=(
            *("pointwise", "query_likelihood", "pairwise", "setwise", "listwise"),
            *("first_token", "self_consistency"),
        ),
    )
    pair: str | None = setting(
        None, "task-dataset pair whose wording is used; None: the collection's, else general retrieval"
    )
    template: int = setting(0, "which of the two wordings of the method", at_least=0)
    description: bool = setting(True, "begin with the task description, as in training")
    identifiers: str = setting(
        "auto",
        "how documents are named; 'auto': letters where the tokenizer cannot tell numbers apart",
        choices=("auto", "numbers", "letters"),
    )
    marker: str = setting("[1]", "how a document is marked in a list")
    joiner: str = setting(" > ", "how an order of documents is written")
    sort: str | None = setting(None, "pairwise: allpairs, heapsort, bubble; setwise: heapsort, bubble")
    top_k: int | None = setting(None, "ranks that sorting and windows put in order; None: 10", at_least=1)
    num_child: int | None = setting(None, "setwise: documents compared with one; None: 3", at_least=1)
    window: int | None = setting(None, "listwise methods: documents per prompt; None: 20", at_least=2)
    stride: int | None = setting(None, "ranks between two windows; None: half a window", at_least=1)
    window_passes: int | None = setting(
        None, "passes of the windows over all documents; None: enough for TOP_K", at_least=1
    )
    shuffles: int | None = setting(None, "self_consistency: answers per window; None: 8", at_least=1)
    shuffle_seed: int | None = setting(None, "self_consistency: draws the shuffles; None: 0")
    aggregate: str | None = setting(None, "self_consistency: kemeny or borda; None: kemeny")
    whole: bool | None = setting(None, "listwise: order the whole window; None: as the method does")
    per_token: bool | None = setting(None, "query_likelihood: mean over tokens; None: as the method does")

    def options(self) -> dict[str, Any]:
        """The options of the method that are given, under the names of its fields."""
        names = {name: name for name in METHOD_OPTIONS} | {
            "window_passes": "passes",
            "shuffle_seed": "seed",
        }
        given = {option: getattr(self, name) for name, option in names.items()}
        return {option: value for option, value in given.items() if value is not None}


@group
class RerankSettings:
    """What is measured of a reranking, and where it goes."""

    measures: str | tuple[str, ...] = setting("nDCG@10, RR@10, R@100, Judged@10", "computed of both runs")
    output_dir: str | None = setting(None, "None: rerank/<collection>/<method> in MODEL_DIR", path=True)
    batch: int = setting(1024, "requests that are tokenized and answered together", at_least=1)
    concurrent: int = setting(
        64, "queries under way at once; an interruption loses at most these", at_least=1
    )


@group
class ServerSettings:
    """The HTTP server and its limits."""

    host: str = setting("127.0.0.1", "address to listen on; the default is reached from this machine alone")
    port: int = setting(8080, "TCP port", at_least=0, at_most=65535)
    max_batch: int = setting(32, "requests that are ranked together", at_least=1)
    max_waiting: int = setting(256, "requests that may wait; more are answered with 503", at_least=1)
    max_documents: int = setting(1000, "documents of one request", at_least=1)
    max_body_bytes: int = setting(4_000_000, "bytes of one request", at_least=1)
    warm_up: bool = setting(True, "rank a few documents before listening, to compile")
