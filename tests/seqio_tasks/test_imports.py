"""What may be imported without SeqIO and TensorFlow, and when tasks are registered."""

import subprocess
import sys

import pytest

# Everything but the SeqIO side: the tasks, their mixtures, the pipeline and the vocabularies.
LIGHT = (
    *("base", "seeded", "settings", "catalog", "catalog.page", "sources.beir", "sources.trec_topics"),
    *(
        "templates",
        "templates.linter",
        "prompts.render",
        "prompts.ranking",
        "prompts.encoding",
        "prompts.filling",
    ),
    *("prompts.chat", "metrics", "metrics.seqio_metrics", "metrics.protocols", "tokenizer_files"),
    *("ranking_rows", "row_source", "variants", "released", "first_stage", "download.command", "tokenizer"),
)
ORDERS = {
    "seqio first": "import seqio, seqio_tasks",
    "seqio_tasks first": "import seqio_tasks, seqio",
    "tasks alone": "import seqio_tasks.tasks",
    "vocabularies alone": "import seqio_tasks.vocabularies",
    "mixtures alone": "from seqio_tasks import mixtures",
}


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_light_modules_load_neither_seqio_nor_tensorflow_nor_jax():
    imports = "; ".join(f"import seqio_tasks.{name}" for name in LIGHT)
    found = output_of(f"import sys; {imports}; print({{'tensorflow', 'seqio', 'jax'}} & set(sys.modules))")
    assert found == "set()"


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_every_task_is_registered_whatever_is_imported_first(order):
    program = f"{ORDERS[order]}\nimport seqio\nprint('inters' in seqio.MixtureRegistry.names(), end=' ')"
    program += "\nprint('inters_ood_trec_dl_2019_rerank' in seqio.TaskRegistry.names())"
    assert output_of(program).splitlines()[-1] == "True True"
