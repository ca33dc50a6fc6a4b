"""Package metadata of inters-jax.

Version bounds are those that were installed and tested together (``constraints.txt`` on Python 3.11,
``constraints-3.12.txt`` on newer ones). Not every flax works with every jax: flax 0.12.8 cannot be
imported with jax 0.11 and newer, flax 0.12.9 not with jax 0.11.2 and newer; flax 0.12.10 and newer need
jax 0.11.1. The first two do not say so, and pip cannot bound one package by the version of another. The
version of Python can: jax 0.11 and newer, and flax 0.12.9 and newer, need Python 3.12.
seqio 0.0.20 is the newest release and brings TensorFlow with it, which only preparing and judging import.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "inters_jax" / "__init__.py").read_text("utf-8"))
assert VERSION is not None, "inters_jax/__init__.py defines no __version__"

setup(
    name="inters-jax",
    version=VERSION.group(1),
    description="Instruction-tune language models for search in JAX: INTERS as SeqIO tasks, IR evaluation",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.14",  # tensorflow-text has no wheel for 3.14
    packages=[*find_packages(include=["inters_jax*", "seqio_tasks*"]), "inters_jax.gin_configs"],
    # gin/ at the top must stay a plain folder (an importable "gin" would shadow gin-config), so the
    # wheel carries it under another name; inters_jax.config looks it up there.
    package_dir={"inters_jax.gin_configs": "gin"},
    package_data={
        "inters_jax.gin_configs": ["*.gin", "experiments/*.yaml"],
        "seqio_tasks": ["templates/**/*.yaml", "sample/**/*"],
        "inters_jax": ["py.typed"],
        "inters_jax.reports": ["templates/*"],
    },
    install_requires=[
        'jax>=0.10,<0.11; python_version < "3.12"',
        'flax>=0.12.8,<0.12.9; python_version < "3.12"',
        'jax>=0.11.1,<0.13; python_version >= "3.12"',
        'flax>=0.12.10,<0.13; python_version >= "3.12"',
        "optax>=0.2.8,<0.3",
        "qwix>=0.1.8,<0.2",
        "orbax-checkpoint>=0.12.8,<0.13",
        "transformers>=5.20,<6",
        "tokenizers>=0.22",
        "huggingface_hub>=2.4",
        "safetensors>=0.6",
        "seqio>=0.0.20",
        "tensorflow-datasets>=4.9.9",
        "tensorflow-text>=2.20",
        "gin-config>=0.5.0",
        "tensorboardX>=2.6",
        "tensorboard>=2.20",
        "numpy>=2.0",
        "packaging>=23",
        "ml_dtypes>=0.5",
        "PyYAML>=6.0",
        "tqdm>=4.66",
        "requests>=2.32",
        "urllib3>=2.2",
        "jinja2>=3.1,<4",
        "wrapt>=1.16",
        "bm25s[stem]>=0.2.13",
        "sacrebleu>=2.4",
        "rouge-score>=0.1.2",
    ],
    extras_require={
        # Accelerators: jax as bounded above.
        "tpu": ["jax[tpu]"],
        "cuda": ["jax[cuda12]"],
        # Checkpoints at gs:// paths: Orbax asks Google's client what kind of bucket it is.
        "gcs": ["google-cloud-storage>=2.19,<4"],
        # SeqIO's offline caching, in an environment of its own: Beam 2.77 refuses protobuf 7, which newer
        # sentencepiece needs, and writes TFRecord files only with google-crc32c (it does not ask for it).
        "beam": [
            "apache-beam>=2.77,<3",
            "protobuf>=6.33,<7",
            "sentencepiece==0.2.1",
            "google-crc32c>=1.5",
        ],
        # Collections of ir_datasets as BEIR folders: python -m seqio_tasks.download irds:ID
        "irds": ["ir-datasets>=0.5.9"],
        # scripts/suggest_templates.py with an endpoint
        "suggest": ["openai>=3.57"],
        # python -m inters_jax.serve
        "serve": ["fastapi>=0.115", "uvicorn>=0.30"],
        # scripts/baselines.py
        "baselines": ["scikit-learn>=1.6"],
        # inters_jax.ranking.pyterrier: our rerankers in PyTerrier pipelines
        "pyterrier": ["python-terrier>=1.0"],
        # scripts/bench_train.py and bench_inference.py: those that are measured against
        "bench": ["torch>=2.9", "accelerate>=1.10", "datasets>=4.0", "trl>=1.0"],
        "test": [
            "fastapi>=0.115",
            "uvicorn>=0.30",
            "httpx>=0.27",
            "openai>=3.57",
            "python-terrier>=1.0",
            "pytest>=8",
            "pytest-xdist>=3",
            "hypothesis>=6",
            "ruff>=0.12",
            "mypy>=1.17",
            "types-PyYAML",
            "types-tqdm",
            "torch>=2.9",
            "peft>=0.17",
            "accelerate>=1.10",
            "ir-datasets>=0.5.9",
            "ir-measures>=0.4.3",
            "pytrec-eval-terrier>=0.5.10",
            "scikit-learn>=1.6",
        ],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
