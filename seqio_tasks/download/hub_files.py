"""Files of Hugging Face repositories, through huggingface_hub: its login, mirrors, retries and resume.

    hf://datasets/<owner>/<repository>[@<revision>]/<path>      (without "datasets/": a model repository)
    https://huggingface.co/datasets/<owner>/<repository>/resolve/<revision>/<path>

HF_ENDPOINT names a mirror; HF_TOKEN or ``hf auth login`` gives access to gated repositories.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from huggingface_hub import HfUri, constants, errors, hf_hub_download, parse_hf_uri

from seqio_tasks.base import DataError


class NeedsPerson(DataError):
    """Only a person can continue: terms to accept, a login."""


def parse(url: str) -> HfUri | None:
    """The repository file that a URL names, or None when it names something else.

    >>> parse("https://huggingface.co/datasets/a/b/resolve/main/x%20y.csv")
    HfUri(type='dataset', id='a/b', revision='main', path_in_repo='x y.csv')
    >>> parse("https://example.org/x.csv") is None
    True
    """
    try:
        uri = parse_hf_uri(url)
    except ValueError:
        return None
    return uri if uri.is_repo and uri.path_in_repo else None


def fetch(uri: HfUri, target: Path, folder: Path) -> Path:
    """Download into `folder`, which keeps unfinished parts.

    Returns:
      Where the file lies in `folder`.

    Raises:
      NeedsPerson: the repository is gated.
      DataError: the file cannot be fetched; the message names `target`.
    """
    if constants.HF_HUB_OFFLINE:
        raise DataError("HF_HUB_OFFLINE is set", path=target, todo="unset it, or put the file there by hand")
    page = uri.to_url("https://huggingface.co")
    try:
        return Path(
            hf_hub_download(
                uri.id,
                uri.path_in_repo,
                repo_type=uri.type,
                revision=uri.revision,
                local_dir=folder,
                endpoint=os.environ.get("HF_ENDPOINT") or None,
            )
        )
    except (errors.GatedRepoError, errors.LocalTokenNotFoundError) as error:
        what = f"{uri.id} asks for agreement to its terms ({_line(error)})"
        todo = f"accept them at {page}, log in with `hf auth login`, and run the same command again"
        raise NeedsPerson(what, path=target, todo=todo) from None
    except (OSError, ValueError, errors.XetDownloadError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        what = f"cannot fetch {uri.path_in_repo!r} of {uri.type} {uri.id} ({_line(error)})"
        todo = f"run the same command again later; if that fails, look at {page} and put the file at {target}"
        if isinstance(error, errors.RepositoryNotFoundError):
            todo = f"look at {page}; log in with `hf auth login` if it is private"
        elif isinstance(error, errors.RevisionNotFoundError | errors.RemoteEntryNotFoundError):
            todo = f"look for the file at {page} and put it at {target}"
        raise DataError(what, path=target, todo=todo) from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
