"""Shares of questions: every question is in one of them, whatever their number; what cannot be a share."""

import pytest

from inters_jax.shards import Shard, parse_shard
from inters_jax.shared_work import share_of_process
from seqio_tasks.base import UserError


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_question_is_in_one_share_and_shares_are_about_equal(count):
    shards = [Shard(number, count) for number in range(1, count + 1)]
    sizes = [0] * count
    for question in map(str, range(2000)):
        (owner,) = [place for place, shard in enumerate(shards) if shard.has(question)]
        sizes[owner] += 1
    assert max(sizes) < 1.25 * 2000 / count and min(sizes) > 0.75 * 2000 / count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "SHARD='3': write the number of the share and of all shares, such as '3/8'"),
        ("a/b", "SHARD='a/b': write"),
        ("0/2", "SHARD='0/2': shares are numbered from 1 to 2"),
        ("3/2", "SHARD='3/2': shares are numbered from 1 to 2"),
    ],
)
def test_what_is_no_share_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_shard(text)


def test_a_single_process_has_the_share_it_is_given(monkeypatch):
    assert share_of_process(None) is None and share_of_process("2/3") == Shard(2, 3)
    monkeypatch.setattr("inters_jax.hosts.join_hosts", lambda: 4)
    with pytest.raises(UserError, match="leave it out: this run has 4 hosts"):
        share_of_process("2/3")
    assert share_of_process(None) == Shard(1, 4)
