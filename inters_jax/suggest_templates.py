"""New templates proposed by a model of ours, for a person to review.

    python -m inters_jax.suggest_templates --gin.MODEL_DIR=RUN --gin.SUGGEST_TASK=query_expansion \\
        --gin.SUGGEST_DATASET=gov2 --gin.OUTPUT=review.yaml

The same as `python -m seqio_tasks.templates --suggest`, with a model folder instead of an endpoint: what is
asked, checked and written is `seqio_tasks.templates.suggest`. It takes a model that follows free instructions
(a chat model with its chat template); one tuned on INTERS alone answers the tasks and writes no templates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inters_jax.data.conversion import plain_ids
from inters_jax.evaluation.manifest import tokenizer_of
from inters_jax.inference.generate import Generator
from inters_jax.inference.sampling import Sampling
from inters_jax.models.loading import load_model
from inters_jax.models.prompt_record import chat_template_of


class LocalModel:
    """A loaded model as `suggest.Complete`: a prompt in, its sampled answer out.

    chat_template: None or "none" for the plain prompt and a line end; "tokenizer", or a file (see
        `seqio_tasks.prompts.chat`).
    """

    def __init__(
        self,
        loaded: Any,
        *,
        sampling: Sampling | None = None,
        max_new_tokens: int = 1024,
        chat_template: str | None = None,
    ) -> None:
        from seqio_tasks.prompts import chat
        from seqio_tasks.vocabularies import HuggingFaceVocabulary

        tokenizer = tokenizer_of(loaded)
        self._vocabulary = HuggingFaceVocabulary(tokenizer)
        self._chat = None if chat_template is None else chat.in_force(tokenizer, chat_template)
        self._tokenizer = loaded.tokenizer
        self._bos = loaded.bos_id
        self._generator = Generator(loaded, sampling=sampling, max_new_tokens=max_new_tokens)

    def __call__(self, prompt: str) -> str:
        (answer,) = self._generator.generate([self.tokens(prompt)])
        return str(self._tokenizer.decode(answer, skip_special_tokens=True))

    def tokens(self, prompt: str) -> list[int]:
        """The ids of the model for a prompt, with all that stands around it."""
        if self._chat is not None:
            shifted, begins = self._chat.encode_prompts([prompt])[0], self._chat.begins_with_bos
        else:
            shifted, begins = self._vocabulary.encode_batch([prompt + "\n"])[0], True
        start = [self._bos] if begins and self._bos is not None else []
        return [*start, *plain_ids(self._vocabulary, shifted).tolist()]


def suggest_templates(
    model_dir: str,
    task: str,
    output: str,
    *,
    dataset: str | None = None,
    number: int = 12,
    requests: int = 4,
    overwrite: bool = False,
    step: int | str | None = None,
    dtype: str = "bfloat16",
    tokenizer: str | None = None,
    chat_template: str | None = None,
    temperature: float = 0.8,
    top_p: float | None = 0.95,
    max_new_tokens: int = 1024,
    seed: int = 0,
) -> list[Any]:
    """Has a model propose templates and writes a review file; gives the `suggest.Review` of every pair.

    Args:
      model_dir: a run of ours or a model folder.
      task, dataset: for which templates are wanted; without a dataset for all of the task.
      output: the review file; an existing one is replaced only with `overwrite`.
      number, requests: templates wanted per dataset, and how often the model is asked at most.
      step, dtype, tokenizer, chat_template: as in evaluate.
      temperature, top_p, max_new_tokens, seed: of the answers.
    """
    from seqio_tasks.templates import suggest

    path = Path(output)
    suggest.wanted_pairs(task, dataset or "")  # before a model is loaded
    suggest.check_target(path, overwrite=overwrite)
    loaded = load_model(model_dir, dtype=dtype, step=step, tokenizer=tokenizer)
    model = LocalModel(
        loaded,
        sampling=Sampling(temperature=temperature, top_p=top_p, seed=seed),
        max_new_tokens=max_new_tokens,
        chat_template=chat_template_of(model_dir, chat_template, tokenizer),
    )
    reviews = suggest.propose(
        task,
        model,
        path,
        Path(model_dir).name,
        dataset=dataset or "",
        number=number,
        requests=requests,
        overwrite=overwrite,
    )
    print(suggest.summary(reviews, path), flush=True)
    return reviews


if __name__ == "__main__":
    from inters_jax.config import run_command

    run_command(suggest_templates)
