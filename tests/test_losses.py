"""The ledger's reading."""

from __future__ import annotations

from spile import Losses, ProbeLosses

ROWS = [
    {"probe": 0, "target": 0, "hits": 100, "filtered": 10, "delivered": 60, "ring_full": 20, "dropped": 10},
    {"probe": 1, "target": 0, "hits": 5, "delivered": 3, "missed": 2, "stack_failed": 1},
    {"probe": 1, "target": 1, "hits": 4, "delivered": 4, "late": 2},
]


def ledger() -> Losses:
    return Losses(ROWS, ["reads", "wakes"], targets=[["a:b"], ["c:d", "e:f"]], buffer=8 << 20, queue=100)


def test_a_mapping_of_probes_sums_the_members_of_a_group() -> None:
    losses = ledger()
    assert list(losses) == ["reads", "wakes"] and len(losses) == 2
    assert losses["wakes"] == ProbeLosses(hits=9, delivered=7, missed=2, stack_failed=1, late=2)
    assert losses.targets("wakes")["e:f"].delivered == 4
    assert losses["reads"].lost == 30
    assert losses.lost == 32 and losses.total.hits == 109


def test_balance_is_what_nothing_accounts_for() -> None:
    assert ledger().balance == 0
    assert Losses([{"probe": 0, "target": 0, "hits": 3, "delivered": 1}], ["x"])["x"].balance == 2


def test_remarks_are_no_losses() -> None:
    row = ProbeLosses(hits=1, delivered=1, stack_failed=1, late=1, stack_definition_lost=1)
    assert row.lost == 0 and row.balance == 0


def test_what_a_sample_leaves_out_is_no_loss_but_a_fate_that_says_its_scale() -> None:
    rows = [{"probe": 0, "target": 0, "hits": 50, "delivered": 20, "sampled_out": 30}]
    losses = Losses(rows, ["reads"])
    assert (losses.balance, losses.lost, losses["reads"].sampled_out) == (0, 0, 30)
    assert "reads: 30 were left out of the sample" in losses.explain() and "stands for 2.5" in losses.explain()
    assert losses.explain().startswith("no hit was lost, but:")


def test_a_span_accounts_for_its_starts_and_its_ends() -> None:
    starts = {"probe": 0, "target": 1, "hits": 20, "opened": 12, "already_open": 3, "open_full": 5, "left_open": 2}
    ends = {"probe": 0, "target": 0, "hits": 15, "unmatched": 6, "matched": 9, "delivered": 8, "ring_full": 1}
    losses = Losses([ends, starts | {"overwritten": 1}], ["wait"], targets=[["end", "start"]])
    row = losses["wait"]
    assert (row.balance, row.lost, losses.targets("wait")["start"].lost) == (0, 6, 5)
    assert row.opened == row.matched + row.overwritten + row.left_open
    assert "wait: 5 starts found as many spans open as there may be: raise max_open=" in losses.explain()


def test_what_tables_left_out_is_a_remark() -> None:
    losses = Losses(ROWS, ["reads", "wakes"], unkeyed=[0, 3])
    assert (losses["reads"].unkeyed, losses["wakes"].unkeyed, losses.total.unkeyed) == (0, 3, 3)
    assert losses.balance == 0 and losses.lost == 32
    assert "wakes: 3 are missing from tables: by= names a value" in losses.explain()


def test_the_text_names_the_limit_to_raise() -> None:
    text = ledger().explain()
    assert "32 of 109 (29 %) hits were lost" in text
    assert "reads: 20 found the ring buffer full: raise buffer=16 << 20 (now 8 << 20)" in text
    assert "raise queue=200 (now 100)" in text
    assert "wakes: 2 were skipped by the kernel" in text
    assert "wakes: 1 arrived without their stack" in text


def test_children_that_were_not_followed_are_told_of() -> None:
    rows = [{"probe": 0, "target": 0, "hits": 3, "delivered": 3}]
    losses = Losses(rows, ["x"], lost_children=1200)
    assert (losses.lost_children, losses.lost, losses.balance) == (1200, 0, 0)
    assert losses.explain().startswith("hits are missing:\n  1,200 children of the followed process were not followed")
    losses = Losses(ROWS, ["reads", "wakes"], lost_children=1)
    assert losses.explain().startswith("32 of 109 (29 %) hits were lost")
    assert losses.explain().endswith("or cgroup=")


def test_nothing_lost_says_nothing() -> None:
    losses = Losses([{"probe": 0, "target": 0, "hits": 3, "delivered": 3}], ["x"])
    assert losses.explain() == "" and str(losses) == "nothing lost of 3 hits"
    assert repr(losses) == "<Losses: 0 of 3 hits lost, balance 0>"


def test_what_tables_keep_is_a_fate_and_what_they_lost_a_remark() -> None:
    rows = [{"probe": 0, "target": 0, "hits": 9, "tabled": 6, "delivered": 2, "ring_full": 1, "table_lost": 3}]
    losses = Losses(rows, ["reads"], buffer=1 << 20)
    assert (losses["reads"].tabled, losses.balance, losses.lost) == (6, 0, 1)
    assert "reads: 3 are missing from tables, which were full: raise tables= or buffer=" in losses.explain()
