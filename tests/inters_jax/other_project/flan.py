"""Another project's instructions: the mixture `flan` that gin/experiments/flan_control.yaml trains on."""

import seqio
import tensorflow as tf

from seqio_tasks.vocabularies import HuggingFaceVocabulary

QUESTIONS = {"sums": "What is {} plus one?", "products": "What is {} times two?"}
ANSWERS = {"sums": lambda number: number + 1, "products": lambda number: 2 * number}
ROWS = 40


def _add(name: str) -> None:
    def dataset(split, shuffle_files=False, seed=None):
        texts = {
            "inputs": [QUESTIONS[name].format(number) + "\n" for number in range(ROWS)],
            "targets": [str(ANSWERS[name](number)) for number in range(ROWS)],
        }
        return tf.data.Dataset.from_tensor_slices(texts)

    vocabulary = HuggingFaceVocabulary()  # that of the run
    seqio.TaskRegistry.add(
        f"flan_{name}",
        source=seqio.FunctionDataSource(dataset, splits=["train"], num_input_examples={"train": ROWS}),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={
            "inputs": seqio.Feature(vocabulary, add_eos=False),
            "targets": seqio.Feature(vocabulary, add_eos=True),
        },
    )


for _name in QUESTIONS:
    _add(_name)
seqio.MixtureRegistry.add("flan", [f"flan_{name}" for name in QUESTIONS], default_rate=1.0)
