"""Have a model propose instruction templates, for a person to review.

    python scripts/suggest_templates.py query_expansion --dataset gov2 \\
        --endpoint http://localhost:8000/v1 --model NAME --output review.yaml
    python scripts/suggest_templates.py query_expansion --dataset gov2 \\
        --model_dir RUN --output review.yaml

The model is behind an OpenAI-compatible endpoint (`pip install 'inters-jax[suggest]'`), or is a run or model
folder of inters_jax. It must follow free instructions, as a chat model with its chat template does; one that
was tuned on INTERS alone answers the tasks and writes no templates. Prompt, checks and review file are in
`template_proposals.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from template_proposals import Complete, check_target, propose, summary, wanted_pairs

from seqio_tasks.base import UserError


class EndpointError(UserError):
    """The endpoint gave no answer. The message never contains the key."""


class Endpoint:
    """A model behind an OpenAI-compatible endpoint: ``Endpoint("http://localhost:8000/v1", "name")(prompt)``.

    The client retries busy servers and failed connections, after Retry-After where the server sends it.
    Redirects are refused, so the key reaches no other host.

    Args:
      url: up to /v1, or the full URL of chat/completions.
      model: its name there.
      key_env: the environment variable that holds the key; "" sends none.
      timeout: seconds for one answer as a whole.
      retries: attempts after the first one.
      max_bytes: limit of an answer.
      temperature, max_tokens: of the answer.

    Raises:
      EndpointError: the URL or the key cannot be used.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key_env: str = "",
        *,
        timeout: float = 120.0,
        retries: int = 4,
        max_bytes: int = 1_000_000,
        temperature: float = 0.8,
        max_tokens: int = 4096,
    ) -> None:
        try:
            import openai  # optional, the extra "suggest"
        except ImportError as error:
            raise EndpointError(
                f"--endpoint needs openai ({error}); pip install 'inters-jax[suggest]'"
            ) from None

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EndpointError("the endpoint must be a URL that begins with http:// or https://")
        if parts.username or parts.password:
            raise EndpointError("no user or password in the URL; put the key into a variable (--key_env)")
        self._key = os.environ.get(key_env, "").strip() if key_env else ""
        if key_env and not self._key:
            raise EndpointError(f"the environment variable {key_env} is not set or empty")
        self.url = url.rstrip("/").removesuffix("/chat/completions")
        self._timeout, self._retries, self._max_bytes = timeout, retries, max_bytes
        self._request: dict[str, Any] = {
            "model": model,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "extra_headers": {} if self._key else {"Authorization": openai.omit},
        }
        self._client = openai.OpenAI(
            base_url=self.url,
            api_key=self._key or "none",
            timeout=timeout,
            max_retries=retries,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )

    def __call__(self, prompt: str) -> str:
        """The answer to one message.

        Raises:
          EndpointError: there is none.
        """
        import httpx2  # the HTTP library of openai: what breaks while a body is read
        import openai

        messages = [{"role": "user", "content": prompt}]
        completions = self._client.chat.completions.with_streaming_response
        try:
            with completions.create(messages=messages, **self._request) as response:
                body = self._read(response.iter_bytes())
        except (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError):
            raise self._error(f"no answer within {self._timeout:g} s") from None
        except openai.APIStatusError as error:
            hints = {401: "; is the key right?", 403: "; is the key right?", 404: "; is the URL right?"}
            raise self._error(f"{error.message[:200]}{hints.get(error.status_code, '')}") from None
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            raise self._error(f"no connection ({type(error.__cause__ or error).__name__})") from None
        try:
            content = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            content = None
        if not isinstance(content, str):
            said = body.decode("utf-8", "replace")[:1000]
            raise self._error(f"not the answer of a chat completion: {said!r}")
        return content

    def _read(self, pieces: Any) -> bytes:
        """The body, piece by piece: a server that drips gets no more time than a silent one."""
        body, end = b"", time.monotonic() + self._timeout
        for piece in pieces:
            body += piece
            if len(body) > self._max_bytes:
                raise self._error(f"the answer has more than {self._max_bytes:,} bytes")
            if time.monotonic() > end:
                raise TimeoutError
        return body

    def _error(self, what: str) -> EndpointError:
        what = what.replace(self._key, "***") if self._key else what  # a server may repeat it
        return EndpointError(f"{self.url}: {what}")


class LocalModel:
    """A run or model folder of inters_jax: ``LocalModel("runs/a")(prompt)``.

    Args:
      model_dir: a run or a model folder.
      step: the checkpoint of a run; None is the newest.
      dtype: of the weights.
      tokenizer: None is that of the model.
      chat_template: None as in training, "none", "tokenizer", or a file (see `seqio_tasks.prompts.chat`).
      temperature, top_p, max_new_tokens, seed: of the sampled answers.
    """

    def __init__(
        self,
        model_dir: str,
        *,
        step: int | None = None,
        dtype: str = "bfloat16",
        tokenizer: str | None = None,
        chat_template: str | None = None,
        temperature: float = 0.8,
        top_p: float | None = 0.95,
        max_new_tokens: int = 1024,
        seed: int = 0,
    ) -> None:
        # JAX and TensorFlow take seconds to load, which --endpoint does not need.
        from inters_jax.evaluation.manifest import tokenizer_of
        from inters_jax.inference.generate import Generator
        from inters_jax.inference.sampling import Sampling
        from inters_jax.models.loading import load_model
        from inters_jax.models.prompt_record import chat_template_of
        from seqio_tasks.prompts import chat
        from seqio_tasks.vocabularies import HuggingFaceVocabulary

        loaded = load_model(model_dir, dtype=dtype, step=step, tokenizer=tokenizer)
        template = chat_template_of(model_dir, chat_template, tokenizer)
        source = tokenizer_of(loaded)
        self._vocabulary = HuggingFaceVocabulary(source)
        self._chat = None if template is None else chat.in_force(source, template)
        self._tokenizer, self._bos = loaded.tokenizer, loaded.bos_id
        sampling = Sampling(temperature=temperature, top_p=top_p, seed=seed)
        self._generator = Generator(loaded, sampling=sampling, max_new_tokens=max_new_tokens)

    def __call__(self, prompt: str) -> str:
        """The sampled answer to a prompt."""
        (answer,) = self._generator.generate([self.tokens(prompt)])
        return str(self._tokenizer.decode(answer, skip_special_tokens=True))

    def tokens(self, prompt: str) -> list[int]:
        """The token ids of a prompt as in training: with the chat template, or with a newline at its end."""
        from inters_jax.data.conversion import plain_ids

        if self._chat is not None:
            encoded, bos = self._chat.encode_prompts([prompt])[0], self._chat.begins_with_bos
        else:
            encoded, bos = self._vocabulary.encode_batch([prompt + "\n"])[0], True
        start = [self._bos] if bos and self._bos is not None else []
        return [*start, *plain_ids(self._vocabulary, encoded).tolist()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("task", help="a task of the catalog")
    add("--dataset", default="", help="one dataset of the task (default: all)")
    add("--output", type=Path, help="the review file (default: TASK.review.yaml)")
    add("--overwrite", action="store_true", help="replace an existing review file")
    add("--number", type=int, default=12, help="templates per dataset (default 12)")
    add("--requests", type=int, default=4, help="limit of requests per dataset (default 4)")
    add("--temperature", type=float, default=0.8, help="of the answers (default 0.8)")
    add("--max_new_tokens", type=int, help="of an answer (default: 4096 of an endpoint, 1024 of a folder)")
    endpoint = parser.add_argument_group("a model behind an endpoint").add_argument
    endpoint("--endpoint", help="URL of an OpenAI-compatible server, up to /v1")
    endpoint("--model", help="name of the model there")
    endpoint("--key_env", default="", help="environment variable that holds the key, if one is needed")
    endpoint("--timeout", type=float, default=120.0, help="seconds for one answer (default 120)")
    folder = parser.add_argument_group("a run or model folder of inters_jax").add_argument
    folder("--model_dir", help="the folder")
    folder("--step", type=int, help="checkpoint of a run (default: the newest)")
    folder("--dtype", default="bfloat16", help="of the weights (default bfloat16)")
    folder("--tokenizer", help="default: that of the model")
    folder("--chat_template", help="none, tokenizer or a file (default: as in training)")
    folder("--top_p", type=float, default=0.95, help="of the answers (default 0.95)")
    folder("--seed", type=int, default=0, help="of the answers (default 0)")
    return parser


def _model(given: argparse.Namespace) -> Complete:
    if given.model_dir:
        return LocalModel(
            given.model_dir,
            step=given.step,
            dtype=given.dtype,
            tokenizer=given.tokenizer,
            chat_template=given.chat_template,
            temperature=given.temperature,
            top_p=given.top_p,
            max_new_tokens=given.max_new_tokens or 1024,
            seed=given.seed,
        )
    return Endpoint(
        given.endpoint,
        given.model,
        given.key_env,
        timeout=given.timeout,
        temperature=given.temperature,
        max_tokens=given.max_new_tokens or 4096,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
      0 when a template was accepted, 1 when none was or the model failed; wrong usage exits with 2.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if bool(given.endpoint) == bool(given.model_dir) or bool(given.endpoint) != bool(given.model):
        parser.error("name a model: either --endpoint and --model, or --model_dir")
    path = given.output or Path(f"{given.task}.review.yaml")
    try:
        pairs = wanted_pairs(given.task, given.dataset)
        check_target(path, overwrite=given.overwrite)
        reviews = propose(
            pairs,
            _model(given),
            path,
            given.model or Path(given.model_dir).name,
            number=given.number,
            requests=given.requests,
            overwrite=given.overwrite,
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(summary(reviews, path))
    return int(not any(review.accepted for review in reviews))


if __name__ == "__main__":
    sys.exit(main())
