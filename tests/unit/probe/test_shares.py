"""Slots are shared among namespaces whatever one of them does."""

from vllm_operator.probe.shares import Shares


def fill(shares: Shares[str], namespace: str, count: int, *, first: bool = False) -> None:
    for number in range(count):
        shares.put(namespace, f"{namespace}-{number}", first=first)


def take_all(shares: Shares[str], *, firsts: bool = True) -> list[str]:
    taken = []
    while (item := shares.take(firsts=firsts)) is not None:
        taken.append(item)
    return taken


def test_namespaces_take_turns() -> None:
    shares: Shares[str] = Shares(4)
    fill(shares, "a", 10)
    fill(shares, "b", 2)
    assert sorted(take_all(shares)) == ["a-0", "a-1", "b-0", "b-1"]


def test_one_namespace_alone_uses_all_slots_in_order() -> None:
    shares: Shares[str] = Shares(3)
    fill(shares, "a", 5)
    assert take_all(shares) == ["a-0", "a-1", "a-2"]
    shares.release("a", waited=False)
    assert take_all(shares) == ["a-3"]


def test_the_namespace_with_the_fewest_at_work_is_next() -> None:
    shares: Shares[str] = Shares(3)
    fill(shares, "a", 5)
    take_all(shares)
    fill(shares, "b", 1)
    shares.release("a", waited=False)
    assert take_all(shares) == ["b-0"]


def test_attempts_that_wait_keep_no_slot_and_leave_places_for_others() -> None:
    shares: Shares[str] = Shares(2)
    fill(shares, "hangs", 100)
    held = 0
    while taken := take_all(shares):
        for _ in taken:
            shares.wait("hangs")
        held += len(taken)
    assert 2 <= held <= 2 * 16 / 2 + 1, "no more than are free"
    fill(shares, "well", 1)
    assert take_all(shares) == ["well-0"]


def test_even_many_namespaces_that_hang_leave_a_place() -> None:
    shares: Shares[str] = Shares(4)
    tenants = [f"tenant-{number}" for number in range(20)]
    for namespace in tenants:
        fill(shares, namespace, 100)
    while taken := take_all(shares):
        for item in taken:
            shares.wait(item.rpartition("-")[0])
    fill(shares, "well", 1)
    assert take_all(shares) == ["well-0"]


def test_an_attempt_that_ends_gives_its_place_back_whether_it_waited_or_not() -> None:
    shares: Shares[str] = Shares(1)
    for _ in range(50):
        fill(shares, "a", 2)
        assert take_all(shares) == ["a-0"]
        shares.wait("a")
        assert take_all(shares) == ["a-1"]
        shares.release("a", waited=False)
        shares.release("a", waited=True)
    assert shares.heads() == []


def test_pods_never_probed_wait_until_they_may_and_then_take_turns_with_the_others() -> None:
    shares: Shares[str] = Shares(10)
    fill(shares, "new", 1, first=True)
    fill(shares, "old", 1)
    assert take_all(shares, firsts=False) == ["old-0"]
    assert shares.first_waiting
    assert take_all(shares) == ["new-0"]
    assert not shares.first_waiting
    for number in range(3):
        shares.put("both", f"due-{number}", first=False)
        shares.put("both", f"first-{number}", first=True)
    assert take_all(shares) == ["due-0", "first-0", "due-1", "first-1", "due-2", "first-2"]
