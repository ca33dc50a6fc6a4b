"""What documented commands need to run here: small sizes, and folders in place of data, models and machines.

The gin files and flags of a command stay as its page shows them. What `SMALL` says is appended, and paths and
hub names mean folders of a test. Commands that cannot run are in `NOT_RUN`, with the reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from documented_commands import ROOT, Command, program, read, split

SAMPLE = ROOT / "seqio_tasks" / "sample"
TIMEOUT = 900  # seconds for one command, on a busy machine
RAW = ("beir_scifact", "msrp", "xsum")  # a task with each kind of answer: a ranking, a label, text

NOT_RUN: dict[str, str] = {
    r"^bash scripts/test\.sh": "runs this test",
    r"pip install|^conda ": "installs packages; test_guarantees.py installs the wheel",
    r"^gcloud ": "needs an account",
    r"seqio_cache_tasks|^export INTERS": "needs Beam in its own environment; test_prepare_cached.py runs it",
    r"bin/dask |cache_on_dask": "needs a Dask cluster with Beam; test_cache_on_dask.py starts a small one",
    r"-m t5x\.train": "T5X is not installed; seqio_tasks/test_t5x_gin_file.py parses the gin file",
    r"--runner=DataflowRunner": "needs a cluster",
    r"suggest": "needs a model that writes templates; its own tests have a stand-in",
    r"oracle_ranking\.py": "needs the official files of three collections",
    r"scripts/first_result\.sh": "downloads a model and official files and trains for an hour",
    r"scripts/baselines\.py": "needs what first_result.sh leaves; test_baselines.py runs it",
    r"plan_search\.py": "compiles for TPUs, for hours",
    r"seqio_tasks\.catalog\.page": "writes docs/data.md",
    r"rerank/train": "needs scores of all training queries; seqio_tasks/test_negatives.py has a stand-in",
    r"compare sweeps/": "needs a sweep's evaluations; sweeps run with DRY_RUN here, test_compare.py has two",
    r"helpdesk": "test_own_data_page.py runs the page in one process",
    r"gin\.TEACHER=": "needs a teacher of all training queries; test_prepare_documents.py has a small one",
    r"inters_jax\.VERB|seqio_tasks\.download NAME|irds:ID": "names the form of a command",
    r"seqio_tasks\.download irds:": "downloads; test_ir_datasets_source.py has a stand-in",
}
# Python blocks by their first line.
PROGRAMS_NOT_RUN: dict[str, str] = {
    "from inters_jax.ranking.pyterrier import InstructionReranker": "needs an index of PyTerrier",
    'OfficialFile("data.zip", "https://...", 7_971_464, md5="...", members=("train.json", "qrels/*.tsv"))': (
        "rows of a table"
    ),
}
PAGES_TESTED_ELSEWHERE = (
    "docs/add_a_dataset.md",
    "docs/own_data.md",
    "docs/reuse.md",
)  # their programs: seqio_tasks/test_docs.py, test_own_data_page.py

# Arguments that make a command small, by the program and what it is asked.
SMALL: dict[str, str] = {
    r"inters_jax\.train ": (
        "--gin_file=tiny.gin --gin.TRAIN_STEPS=2 --gin.BATCH_SIZE=2 "
        "--gin.EVAL_EXAMPLES=1 --gin.EVAL_MAX_NEW_TOKENS=2"
    ),
    r"inters_jax\.train .*COORDINATOR_ADDRESS": "--gin.NUM_PROCESSES=1 --gin.COORDINATOR_ADDRESS={free_port}",
    r"inters_jax\.prepare ": "--gin_file=tiny.gin",
    r"inters_jax\.evaluate --gin": "--gin.MAX_EXAMPLES=1 --gin.MAX_NEW_TOKENS=4 --gin.MAX_LENGTH=512",
    r"inters_jax\.rerank ": "--gin.MAX_QUERIES=1 --gin.DEPTH=4",
    r"inters_jax\.rerank .*cross_validation": "--gin.MAX_QUERIES=2",
    r"inters_jax\.plan ": "--gin.METHOD=estimate",
    r"inters_jax\.sweep ": "--gin.DRY_RUN=True",
    r"gpu_result\.sh ": "--gin.DRY_RUN=True",
    r"inters_jax\.serve ": "--gin.PORT={port}",
    r"seqio_tasks\.download ": "--list",
    r"bench_inference\.py": "--size tiny --repeats 1 --scale 0.01 --threads 1",
    r"bench_lora\.py": "--hidden-size 64 --layers 1 --vocabulary 64 --rows 1 --length 32 --loss-positions 8",
}


def reason(command: Command) -> str:
    """Why a command is not run; "" for those that are."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command.text)), "")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Workshop:
    """Where the pages run: a folder for each that looks like the repository, and one run for all."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.trained = folder, folder / "store", folder / "trained"
        self.raw = folder / "raw"
        self.raw.mkdir()
        for name in RAW:
            (self.raw / name).symlink_to(SAMPLE / name)
        self.tokenizer = folder / "tokenizer"
        shutil.copytree(SAMPLE / "tokenizer", self.tokenizer)
        (self.tokenizer / "chat_template.jinja").write_text(
            "{% for message in messages %}<{{ message.role }}> {{ message.content }}\n"
            "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}<assistant> {% endif %}"
        )
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("INTERS_", "JAX_"))
        } | {
            "HF_HUB_OFFLINE": "1",
            "INTERS_CACHE_DIR": str(folder / "cache"),
            "INTERS_VENV": str(self._environment()),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PLATFORMS": "cpu",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def _environment(self) -> Path:
        """A virtual environment in which scripts/environment.sh finds everything installed."""
        venv = self.folder / "venv"
        (venv / "bin").mkdir(parents=True)
        python = venv / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        (venv / "bin" / "activate").write_text(f'PATH="{venv}/bin:$PATH"\n')
        stamp = subprocess.run(
            ["bash", "-c", f'. scripts/environment.sh; cat setup.py "$(constraints_for {python})" | cksum'],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        (venv / ".inters-jax-core").write_text(stamp.stdout)
        return venv

    def run(self, words: list[str], folder: Path) -> str:
        """Run a command in a process of its own and return what it printed."""
        with subprocess.Popen(
            words,
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # scripts have children of their own
                printed, _ = process.communicate()
                raise AssertionError(f"not finished after {TIMEOUT} s\n{printed[-3000:]}") from None
        if process.returncode:
            raise AssertionError(f"exit code {process.returncode}\n{printed[-3000:]}")
        return printed

    def train(self) -> None:
        """Make the run and the token store that commands share."""
        words = ["python", "-m", "inters_jax.train", f"--gin.MODEL_DIR={self.trained}"]
        self.run([*words, *self.small_training()], ROOT)

    def small_training(self) -> list[str]:
        small = SMALL[r"inters_jax\.train "].split()
        return [*small, f"--gin.RAW_DIR={self.raw}", f"--gin.STORE_DIR={self.store}"]


class Page:
    """Runs the commands of one page in a folder that looks like the repository."""

    def __init__(self, workshop: Workshop, name: str) -> None:
        self.workshop, self.name = workshop, name
        self.folder = workshop.folder / Path(name).stem
        self.folder.mkdir()
        for entry in ("gin", "inters_jax", "scripts", "seqio_tasks", "setup.py"):
            (self.folder / entry).symlink_to(ROOT / entry)
        for file in ROOT.glob("constraints*.txt"):
            (self.folder / file.name).symlink_to(file)
        self.bucket = self.folder / "buckets"

    def run(self, command: Command) -> None:
        """Run a command as the page shows it, with stand-ins."""
        words = [self._located(word) for word in command.words]
        words += ["--help"] if command.bare else self._small(command)
        if words[0].startswith("scripts/tpu/"):
            words = ["bash", *words[:3], "--dry-run", *(w for w in words[3:] if w != "--dry-run")]
            assert self.workshop.run(words, self.folder)
            return
        self._provide(words, command)
        if command.verb == "serve" and not command.bare:
            self._serve(words)
        else:
            self.workshop.run(self._in_bucket(words), self.folder)

    def run_program(self) -> int:
        """Run the Python blocks of the page as one program; returns how many there are."""
        blocks = [b for b in program(self.name) if b.text.splitlines()[0] not in PROGRAMS_NOT_RUN]
        if not blocks or self.name in PAGES_TESTED_ELSEWHERE:
            return 0
        text = self._located("\n".join(block.text for block in blocks))
        for run in re.findall(r'"(runs/\w+)"', text):
            self._provide_run(run)
        names = "queries, candidates, doc_ids = ['who'] * 2, [['a', 'b']] * 2, [['1', '2']] * 2"
        self.workshop.run(["python", "-c", f"{names}\n{text}"], self.folder)
        return len(blocks)

    def _small(self, command: Command) -> list[str]:
        text = " ".join(command.words)
        found: list[str] = []
        for pattern, arguments in SMALL.items():
            if re.search(pattern, text) and "--help" not in command.words:
                found += arguments.split()
        port = free_port()
        found = [word.format(free_port=f"127.0.0.1:{port}", port=port) for word in found]
        if command.verb in ("train", "evaluate", "prepare") and found:
            given = {word.partition("=")[0] for word in command.words}
            if "--gin.RAW_DIR" not in given:
                found.append(f"--gin.RAW_DIR={self.workshop.raw}")
            if command.verb == "train" and not given & {"--gin.STORE_DIR", "--gin.MIXTURE_OR_TASK_NAME"}:
                found.append(f"--gin.STORE_DIR={self.workshop.store}")
        return found

    def _located(self, text: str) -> str:
        """Absolute folders are in the page's folder, and models of the hub are the sample's tokenizer."""
        text = re.sub(r"(?<![\w/:.])/(data|runs)/", rf"{self.folder}/\1/", text)
        if "inters_jax.plan" not in text:
            text = re.sub(r"mistralai/Mistral-7B-[\w.-]+", str(self.workshop.tokenizer), text)
        return text

    def _in_bucket(self, words: list[str]) -> list[str]:
        if words[:2] != ["python", "-m"] or not any("=gs://" in word for word in words):
            return words
        return ["python", str(ROOT / "tests" / "bucket_launcher.py"), str(self.bucket), *words[2:]]

    def _provide(self, words: list[str], command: Command) -> None:
        """Make what a command reads and no command of the page has made."""
        values = dict(
            word.removeprefix("--gin.").partition("=")[::2] for word in words if word.startswith("--gin.")
        )
        if "my_riddles" in values.get(
            "MODULES", ""
        ):  # the program of the page, which makes its own raw files
            blocks = [block.text for block in program(self.name)]
            (self.folder / "my_riddles.py").write_text("\n".join(blocks[:-1]))
            (self.folder / "raw").mkdir()
        for name in ("RAW_DIR", "TOKENIZER"):
            if (value := values.get(name)) and not (self.folder / value).exists():
                self._link(value, self.workshop.raw if name == "RAW_DIR" else self.workshop.tokenizer)
        if (declared := values.get("DATASETS")) and not (self.folder / declared).exists():
            [shown] = [block.text for block in split(read(self.name))[0] if block.language == "yaml"]
            (self.folder / declared).write_text(shown)
        for value in values.get("CACHE_DIRS", "").split(","):
            (self.folder / value).mkdir(parents=True, exist_ok=True)
        if (run := values.get("MODEL_DIR")) and command.verb != "train":
            self._provide_run(run)
        collection = values.get("COLLECTION", "")
        if collection.endswith(".json"):
            self._provide_candidates(self.folder / collection, self.folder / values["QRELS"])
        elif collection and not (self.folder / collection).exists():
            if Path(collection).parent.name == "inters":
                self._link(str(Path(collection).parent), self.workshop.raw)
            else:
                self._link(collection, SAMPLE / Path(collection).name)
        if command.module == "seqio_tasks.negatives" and not (self.folder / "data").exists():
            for name in ("beir_scifact", "beir_nfcorpus"):  # copies: negatives are written into such a folder
                shutil.copytree(SAMPLE / name, self.folder / "data" / name)
        for word in words[1:]:
            self._provide_file(word)

    def _provide_file(self, word: str) -> None:
        """Files that a word names."""
        file = self.folder / word
        if word == "mine.yaml":
            file.write_text(
                "task: query_matching\ndatasets:\n  msrp:\n"
                "    - input: 'Same? {sentence1} / {sentence2}'\n      output: '{answer}'\n"
            )
        elif word in ("FOLDER", "OTHER", "corpus", "reference") and not file.exists():
            file.mkdir()
            (file / "text.txt").write_text("A query finds relevant documents by ranking.\n")
        elif word == "RESULTS.json":
            self._provide_candidates(file, self.folder / "QRELS")
        elif word in ("sample", "raw") and not (self.folder / "data" / "inters").exists():
            self._link("data/inters", self.workshop.raw)
        elif word.endswith("quickstart.sh"):
            # The script takes no settings: a small file of this name comes first in the search.
            (self.folder / "quickstart.gin").write_text(
                f"include '{ROOT}/gin/quickstart.gin'\ninclude 'tiny.gin'\nRAW_DIR = '{self.workshop.raw}'\n"
                "TRAIN_STEPS = 2\nMAX_EXAMPLES = 1\nMAX_NEW_TOKENS = 2\n"
            )

    def _link(self, place: str, target: Path) -> None:
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def _provide_run(self, place: str) -> None:
        if place.startswith("gs://"):
            if not (self.bucket / place.removeprefix("gs://")).exists():
                words = ["python", "-m", "inters_jax.train", f"--gin.MODEL_DIR={place}"]
                self.workshop.run(self._in_bucket([*words, *self.workshop.small_training()]), self.folder)
        elif not (self.folder / place).exists():
            shutil.copytree(self.workshop.trained, self.folder / place)

    def _provide_candidates(self, results: Path, judgments: Path) -> None:
        """Candidates in rank_llm's form, and judgments."""
        hits = [
            {"docid": f"d{n}", "qid": "1", "rank": n, "score": 9.0 - n, "content": f"text {n}"}
            for n in range(1, 6)
        ]
        results.write_text(json.dumps([{"query": "which text", "hits": hits}]))
        judgments.write_text("1 0 d2 1\n1 0 d3 0\n")

    def _serve(self, words: list[str]) -> None:
        """Start a server, ask it, stop it."""
        port = next(word for word in reversed(words) if word.startswith("--gin.PORT=")).partition("=")[2]
        with (
            (self.folder / f"server-{port}.log").open("w+") as log,
            subprocess.Popen(
                words, cwd=self.folder, env=self.workshop.environment, stdout=log, stderr=subprocess.STDOUT
            ) as server,
        ):
            try:
                answer = self._ask(server, f"http://127.0.0.1:{port}/v1/rerank")
                server.send_signal(signal.SIGINT)
                server.wait(30)
            except Exception as error:
                log.seek(0)
                raise AssertionError(f"{error}\n{log.read()[-3000:]}") from error
            finally:
                server.kill()
        assert [one["index"] for one in answer["results"]] in ([0, 1], [1, 0])

    @staticmethod
    def _ask(server: subprocess.Popen[bytes], url: str) -> dict[str, list[dict[str, int]]]:
        body = json.dumps({"query": "who", "documents": ["a text", "another"]}).encode()
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        until = time.monotonic() + 240
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return json.loads(response.read())
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.2)
