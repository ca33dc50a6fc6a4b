"""Files of Hugging Face repositories, through huggingface_hub: its login, its mirrors, its own resume.

    hf://datasets/<owner>/<repository>[@<revision>]/<path>      (without "datasets/": a model repository)
    https://huggingface.co/datasets/<owner>/<repository>/resolve/<revision>/<path>

The environment variable HF_ENDPOINT names a mirror, HF_TOKEN or ``hf auth login`` the person.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from seqio_tasks.base import DataError
from seqio_tasks.download.transfers import BUSY, Temporary

_KINDS = {"datasets/": "dataset", "spaces/": "space", "": "model"}
_HUB = re.compile(r"hf://(datasets/|spaces/|)([^/@]+/[^/@]+)(?:@([^/]+))?/(.+)")
_WEB = re.compile(
    r"https?://huggingface\.co/(datasets/|spaces/|)([^/]+/[^/]+)/resolve/([^/]+)/([^?#]+)(?:[?#].*)?"
)


class NeedsPerson(DataError):
    """Only a person can go on: terms to accept, a login."""


@dataclass(frozen=True)
class HubFile:
    """One file of one revision (a branch, tag or commit) of a repository."""

    repository: str
    kind: str
    revision: str
    path: str

    @property
    def page(self) -> str:
        """The repository's page, where its terms are."""
        folder = {"dataset": "datasets/", "space": "spaces/", "model": ""}[self.kind]
        return f"https://huggingface.co/{folder}{self.repository}"


def parse(url: str) -> HubFile | None:
    """The hub file an address names, or None when it is no hub address.

    >>> parse("hf://datasets/a/b@v1/data/x.jsonl")
    HubFile(repository='a/b', kind='dataset', revision='v1', path='data/x.jsonl')
    >>> parse("https://huggingface.co/datasets/a/b/resolve/main/x%20y.csv").path
    'x y.csv'
    >>> parse("https://example.org/x.csv") is None
    True
    """
    match = _HUB.fullmatch(url) or _WEB.fullmatch(url)
    if match is None:
        return None
    # A revision such as refs/convert/parquet has its slashes quoted, as in the addresses of the hub itself.
    return HubFile(match[2], _KINDS[match[1]], unquote(match[3] or "main"), unquote(match[4]))


def fetch(file: HubFile, target: Path, folder: Path) -> Path:
    """Download into ``folder`` (which keeps unfinished parts) and return where the file lies there."""
    from huggingface_hub import constants, errors, hf_hub_download

    if constants.HF_HUB_OFFLINE:
        raise DataError("HF_HUB_OFFLINE is set", path=target, todo="unset it, or put the file there by hand")
    try:
        return Path(
            hf_hub_download(
                file.repository,
                file.path,
                repo_type=file.kind,
                revision=file.revision,
                local_dir=folder,
                endpoint=os.environ.get("HF_ENDPOINT") or None,
            )
        )
    except (errors.GatedRepoError, errors.LocalTokenNotFoundError) as error:
        raise NeedsPerson(
            f"{file.repository} asks for agreement to its terms ({_first_line(error)})",
            path=target,
            todo=f"accept them at {file.page}, log in with `hf auth login`, and run the same command again",
        ) from None
    except (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise DataError(
            f"{file.repository} has no {file.path!r} in revision {file.revision!r} ({_first_line(error)})",
            path=target,
            todo=f"look for the file at {file.page} and put it at {target}",
        ) from None
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"no public {file.kind} repository {file.repository} ({_first_line(error)})",
            path=target,
            todo=f"look at {file.page}; log in with `hf auth login` if it is private",
        ) from None
    except errors.HFValidationError as error:
        raise DataError(
            f"not a file of the hub: {file} ({error})", path=target, todo="correct the url"
        ) from None
    except errors.HfHubHTTPError as error:
        if error.response.status_code in BUSY:
            raise Temporary(_first_line(error)) from None
        raise DataError(
            _first_line(error), path=target, todo=f"look at {file.page} and put the file at {target}"
        ) from None
    except (OSError, getattr(errors, "XetDownloadError", OSError)) as error:  # among them "no connection"
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise Temporary(_first_line(error), answered=False) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
