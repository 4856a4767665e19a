"""Items that threads do in batches."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from flag_pipeline.stores.batch_executor import BatchExecutor, for_each
from flag_pipeline.workers import Failed


@pytest.fixture
async def executor() -> AsyncIterator[ThreadPoolExecutor]:
    """One thread."""
    executor = ThreadPoolExecutor(1)
    yield executor
    await asyncio.to_thread(executor.shutdown)


@pytest.fixture
async def two_threads() -> AsyncIterator[ThreadPoolExecutor]:
    """Two threads."""
    executor = ThreadPoolExecutor(2)
    yield executor
    await asyncio.to_thread(executor.shutdown)


class Workshop:
    """Work that notes its batches, and does not end before the event `limiter` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.is_busy = threading.Event()
        self.limiter = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int | Failed]:
        """Double each item."""
        self.batches.append(list(items))
        self.is_busy.set()
        self.limiter.wait()
        return for_each(double)(items)


def double(number: int) -> int:
    """Do some work."""
    return 2 * number


def double_unless(hung: int, may_end: threading.Event) -> Callable[[int], int]:
    """Work that hangs at one number until it may end."""

    def work(number: int) -> int:
        if number == hung:
            may_end.wait()
        return double(number)

    return work


def six_by(divisor: int) -> int:
    """Divide, or fail."""
    return 6 // divisor


async def started(batch_executor: BatchExecutor[int, int], *given: int) -> list[asyncio.Task[int]]:
    """Tasks that wait for the results of the items, all of which have been handed over."""
    tasks = [asyncio.create_task(batch_executor.do(number)) for number in given]
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_a_thread_is_busy_is_done_together(executor: ThreadPoolExecutor) -> None:
    """Each caller gets its own result."""
    workshop = Workshop()
    batch_executor = BatchExecutor(workshop, executor, size=3)
    first = await started(batch_executor, 1)
    await asyncio.to_thread(workshop.is_busy.wait)
    rest = await started(batch_executor, 2, 3, 4, 5)

    workshop.limiter.set()

    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8, 10]
    assert workshop.batches == [[1], [2, 3, 4], [5]]


async def test_threads_share_what_waits(two_threads: ThreadPoolExecutor) -> None:
    """The first free thread takes half of the items, and the next half of the rest."""
    workshop = Workshop()
    for _ in range(2):
        two_threads.submit(workshop.limiter.wait)
    batch_executor = BatchExecutor(workshop, two_threads, threads=2, size=5)
    tasks = await started(batch_executor, 1, 2, 3, 4, 5)

    workshop.limiter.set()

    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert sorted(workshop.batches) == [[1, 2, 3], [4], [5]]


async def test_patient_executor_leaves_all_to_one_thread(two_threads: ThreadPoolExecutor) -> None:
    """The others would only compete with it."""
    workshop = Workshop()
    batch_executor = BatchExecutor(workshop, two_threads, threads=2, size=3, patience_s=60)
    tasks = await started(batch_executor, 1)
    await asyncio.to_thread(workshop.is_busy.wait)
    tasks += await started(batch_executor, 2, 3, 4)

    workshop.limiter.set()

    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert workshop.batches == [[1], [2, 3, 4]]


async def test_item_that_hangs_delays_no_other(two_threads: ThreadPoolExecutor) -> None:
    """Another thread helps once an item has waited, although nothing more is submitted."""
    may_end = threading.Event()
    work = for_each(double_unless(0, may_end))
    batch_executor: BatchExecutor[int, int] = BatchExecutor(work, two_threads, threads=2, turn_s=60, patience_s=0.01)
    hung, *others = await started(batch_executor, 0, *range(1, 100))

    async with asyncio.timeout(30):
        assert await asyncio.gather(*others) == [2 * number for number in range(1, 100)]
    assert not hung.done()
    may_end.set()
    assert await hung == 0


async def test_results_do_not_wait_for_an_item_that_hangs(executor: ThreadPoolExecutor) -> None:
    """They were made in the same turn, before it."""
    may_end = threading.Event()
    work = for_each(double_unless(3, may_end))
    batch_executor: BatchExecutor[int, int] = BatchExecutor(work, executor, turn_s=60, patience_s=0.01)
    *before, hung = await started(batch_executor, 1, 2, 3)

    async with asyncio.timeout(30):
        assert await asyncio.gather(*before) == [2, 4]
    may_end.set()
    assert await hung == 6


async def test_helper_that_cannot_start_changes_nothing(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The busy thread does the item later."""
    workshop, asked = Workshop(), asyncio.Event()
    batch_executor = BatchExecutor(workshop, executor, threads=2, patience_s=0.01)
    tasks = await started(batch_executor, 1)
    await asyncio.to_thread(workshop.is_busy.wait)
    loop = asyncio.get_running_loop()

    def refuse(*_work: object) -> None:
        loop.call_soon(asked.set)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(executor, "submit", refuse)
        tasks += await started(batch_executor, 2)
        await asked.wait()

    workshop.limiter.set()

    assert await asyncio.gather(*tasks) == [2, 4]


async def test_thread_first_waits_for_more(executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in the meantime is in the first batch."""
    workshop, waits, may_go_on = Workshop(), [], threading.Event()
    workshop.limiter.set()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        may_go_on.wait()

    monkeypatch.setattr(time, "sleep", wait)
    batch_executor = BatchExecutor(workshop, executor, size=3, gather_s=0.01)
    tasks = await started(batch_executor, 1, 2, 3)

    may_go_on.set()

    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert workshop.batches == [[1, 2, 3]]
    assert waits == [0.01]


async def test_other_work_has_its_turn_after_each_batch(executor: ThreadPoolExecutor) -> None:
    """Thousands of loads from a slow bucket do not keep a save waiting."""
    workshop = Workshop()
    loads, saves = BatchExecutor(workshop, executor), BatchExecutor(workshop, executor)
    tasks = [*await started(loads, 1, 2, 3), *await started(saves, 10)]

    workshop.limiter.set()

    assert await asyncio.gather(*tasks) == [2, 4, 6, 20]
    assert workshop.batches == [[1], [10], [2], [3]]


async def test_nothing_more_is_begun_after_a_shutdown(executor: ThreadPoolExecutor) -> None:
    """An interrupted run waits for the batch under way alone."""
    workshop = Workshop()
    tasks = await started(BatchExecutor(workshop, executor), 1, 2, 3)
    await asyncio.to_thread(workshop.is_busy.wait)
    for task in tasks:
        task.cancel()

    executor.shutdown(wait=False, cancel_futures=True)
    workshop.limiter.set()
    await asyncio.to_thread(executor.shutdown)

    assert workshop.batches == [[1]]


async def test_item_of_another_event_loop_has_its_result(executor: ThreadPoolExecutor) -> None:
    """The thread that one loop has started serves the other one too, and each gets its own result."""
    workshop = Workshop()
    batch_executor = BatchExecutor(workshop, executor, size=2)
    first = await started(batch_executor, 1)
    await asyncio.to_thread(workshop.is_busy.wait)

    async def ask() -> int:
        [task] = await started(batch_executor, 2)
        workshop.limiter.set()
        return await task

    second = await asyncio.to_thread(asyncio.run, ask())

    assert [*await asyncio.gather(*first), second] == [2, 4]


async def test_result_for_a_loop_that_is_closed_is_dropped(executor: ThreadPoolExecutor) -> None:
    """The other loop's item has its result."""
    workshop = Workshop()
    batch_executor = BatchExecutor(workshop, executor, size=2)

    async def give_up() -> None:
        await started(batch_executor, 1)

    await asyncio.to_thread(asyncio.run, give_up())
    await asyncio.to_thread(workshop.is_busy.wait)
    [task] = await started(batch_executor, 2)
    workshop.limiter.set()

    assert await task == 4


async def test_failure_of_an_item_is_its_own(executor: ThreadPoolExecutor) -> None:
    """The other items of the batch have their results."""
    batch_executor: BatchExecutor[int, int] = BatchExecutor(for_each(six_by), executor)

    results = await asyncio.gather(batch_executor.do(0), batch_executor.do(2), return_exceptions=True)

    assert isinstance(results[0], ZeroDivisionError)
    assert results[1] == 3


async def test_failure_of_a_batch_fails_all_its_items(executor: ThreadPoolExecutor) -> None:
    """The next batch is not affected."""
    is_broken = True

    def work(items: Sequence[int]) -> Sequence[int]:
        if is_broken:
            raise OSError("no disk")
        return items

    batch_executor = BatchExecutor(work, executor)

    failed = await asyncio.gather(batch_executor.do(1), batch_executor.do(2), return_exceptions=True)
    is_broken = False

    assert [str(error) for error in failed] == ["no disk", "no disk"]
    assert await batch_executor.do(3) == 3


async def test_item_of_a_cancelled_caller_is_done(executor: ThreadPoolExecutor) -> None:
    """A save cannot be interrupted, and the callers of the other items get their results."""
    workshop = Workshop()
    batch_executor = BatchExecutor(workshop, executor)
    given_up, kept = await started(batch_executor, 1, 2)

    given_up.cancel()
    workshop.limiter.set()

    assert await kept == 4
    assert given_up.cancelled()
    assert sorted(number for batch in workshop.batches for number in batch) == [1, 2]


async def test_thread_that_cannot_be_started_fails_one_item(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller gets the error. The next items get a thread, and the call that the executor kept has no item."""
    workshop = Workshop()
    workshop.limiter.set()
    batch_executor = BatchExecutor(workshop, executor)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await batch_executor.do(1)

    async with asyncio.timeout(5):
        assert await batch_executor.do(2) == 4
        assert await batch_executor.do(3) == 6
    await asyncio.to_thread(executor.shutdown)
    assert workshop.batches == [[2], [3]]
