"""The scheduler of engine `ray` in simulated time: nothing lost, nothing endless."""

import heapq
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxwd.lab.engines.remote.queues import Queue, Rules
from jaxwd.lab.engines.remote.scheduler import Scheduler

EPOCHS = 4


class World:
    """Workers with a clock of their own: they train, die by chance or by a member."""

    def __init__(
        self,
        scheduler,
        workers,
        *,
        lanes=4,
        cost=1.0,
        compile_seconds=5.0,
        idle_is_free=True,
        deaths=0.0,
        node=0.0,
        deadly=(),
        hang=(),
        hosts=("",),
        broken=(),
        seed=0,
    ):
        self.scheduler, self.lanes, self.free = scheduler, lanes, idle_is_free
        self.cost, self.compile_seconds = cost, compile_seconds
        self.deaths, self.node, self.deadly, self.hang = deaths, node, deadly, hang
        self.hosts, self.broken, self.on = hosts, broken, {}
        self.losses = 0
        self.draw, self.now = random.Random(seed), 0.0
        self.names, self.events, self.count = itertools.count(), [], itertools.count()
        self.workers, self.ended, self.given_up = workers, [], []
        self.attempts, self.chunks, self.worked = {}, [], {}

    def at(self, when, what, *about):
        heapq.heappush(self.events, (when, next(self.count), what, about))

    def hire(self, host=None):
        name = next(self.names)
        self.on[name] = self.hosts[name % len(self.hosts)] if host is None else host
        self.scheduler.joined(name, self.on[name])
        self.give(name)

    def give(self, name):
        chunk = self.scheduler.next(name, self.now)
        if chunk is None:
            return
        self.chunks.append((self.now, name, chunk))
        if self.on[name] in self.broken:
            self.at(self.now + 0.5, "die", name)
            return
        if not chunk.places:
            dies = self.draw.random() < self.deaths
            self.at(self.now + self.compile_seconds, "die" if dies else "ready", name)
            return
        when = self.now
        waves = [
            chunk.places[i : i + self.lanes]
            for i in range(0, len(chunk.places), self.lanes)
        ]
        for wave in waves:
            for place in wave:
                self.attempts[place] = self.attempts.get(place, 0) + 1
            if set(wave) & set(self.hang):
                return  # nothing more is heard of it
            took = self.cost * (len(wave) if self.free else self.lanes)
            if set(wave) & set(self.deadly) or self.draw.random() < self.deaths:
                self.at(when + took * self.draw.random(), "die", name)
                return
            when += took
            self.worked[name] = self.worked.get(name, 0) + took
            self.at(when, "trained", name, wave, took)
        self.at(when, "done", name)

    def run(self, most=100_000):
        for _ in range(self.workers):
            self.hire()
        for _ in range(most):
            if self.scheduler.over:
                return self
            late = self.scheduler.overdue(self.now)
            if not self.events and not late:
                self.now += 10.0
                continue
            if late:
                name, what, about = late[0], "die", (late[0],)
            else:
                self.now, _, what, about = heapq.heappop(self.events)
                name, *about = about
            if name not in self.scheduler.chunks:
                continue
            if what == "ready":
                self.scheduler.ready(name, self.lanes, self.free)
                self.scheduler.heard(name, self.now)
                self.scheduler.done(name)
            elif what == "trained":
                wave, took = about
                self.scheduler.heard(name, self.now, EPOCHS * len(wave), took, wave)
                self.ended += wave
            elif what == "done":
                self.scheduler.done(name)
            elif what == "die":
                node = self.draw.random() < self.node
                loss = self.scheduler.lost(name, self.now, node=node)
                self.given_up += loss.given_up
                self.losses += 1
                if self.scheduler.hopeless:
                    return self
                self.hire(self.on[name])  # in the same place
            for idle in [w for w, c in self.scheduler.chunks.items() if c is None]:
                self.give(idle)
        raise AssertionError("it goes on for ever")


def scheduler(sizes, **rules):
    places, groups = itertools.count(), {}
    for number, size in enumerate(sizes):
        groups[number] = list(itertools.islice(places, size))
    return Scheduler(groups, dict.fromkeys(groups, EPOCHS), Rules(**rules))


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.integers(1, 6),
    st.integers(1, 16),
    st.booleans(),
    st.floats(0.0, 0.4),
    st.integers(0, 10_000),
)
def test_every_member_ends_once_whoever_dies(sizes, workers, lanes, free, deaths, seed):
    made = scheduler(sizes, losses=50, node_losses=50, fruitless=10**6)
    world = World(made, workers, lanes=lanes, idle_is_free=free, deaths=deaths,
                  node=0.5, seed=seed).run()  # fmt: skip
    assert sorted(world.ended) == list(range(sum(sizes)))
    assert not world.given_up


@given(
    st.integers(2, 80),
    st.sets(st.integers(0, 79), max_size=4),
    st.integers(1, 16),
    st.integers(2, 5),
    st.integers(0, 10_000),
)
def test_who_kills_every_worker_is_given_up_alone(members, deadly, lanes, losses, seed):
    deadly = {place for place in deadly if place < members}
    made = scheduler([members], losses=losses, fruitless=10**6)
    world = World(made, 3, lanes=lanes, deadly=deadly, seed=seed).run()
    assert set(world.given_up) == deadly
    assert sorted(world.ended) == sorted(set(range(members)) - deadly)
    for place in deadly:
        last = [chunk for *_, chunk in world.chunks if place in chunk.places][-1]
        assert last.places == [place]


def test_a_worker_that_hangs_is_found_by_its_silence_and_its_member_given_up():
    made = scheduler([40])
    world = World(made, 2, hang={7}, cost=2.0).run()
    assert world.given_up == [7]
    assert len(world.ended) == 39
    assert made.rules.before < world.now < 4 * made.rules.before
    # Measured: 20 times the longest silence, after the chunk's first epoch.
    made = scheduler([40], least=1.0)
    made.joined(0)
    made.next(0, 0.0)
    made.ready(0, 4, True)
    made.done(0)
    chunk = made.next(0, 0.0)
    made.heard(0, 50.0, 4, 50.0)
    assert not made.overdue(50.0 + 1.0)
    made.heard(0, 53.0, 4, 3.0)
    assert made.patience(chunk) == 20 * 50.0  # the first epochs tell it too
    assert not made.overdue(53.0 + 999.0)
    assert made.overdue(53.0 + 1001.0) == [0]
    assert scheduler([40], patience=5.0).patience(chunk) == 5.0


def test_epochs_longer_than_the_least_patience_are_waited_for():
    made = scheduler([2], scouts=False)
    made.joined(0)
    made.next(0, 0.0)
    for epoch in range(1, 4):
        now = 30.0 + 100.0 * epoch  # 30 s of compiling, then 100 s an epoch
        assert not made.overdue(now)
        made.heard(0, now, 1, 100.0)


def test_nodes_that_go_away_are_not_blamed_on_members_until_the_tenth_time():
    made = scheduler([1], scouts=False, fruitless=10**6)
    for worker in range(10):
        made.joined(worker)
        assert made.next(worker, 0.0).places == [0]
        loss = made.lost(worker, 0.0, node=True)
        assert loss == (([0], []) if worker < 9 else ([], [0]))
    assert made.over


def test_only_who_may_have_been_in_a_lane_is_blamed():
    made = scheduler([12], scouts=False)
    made.joined(0)
    made.queues[0].lanes = 3
    made.queues[0].measured(1.0, 1.0)
    chunk = made.next(0, 0.0)
    assert len(chunk.places) > 5
    made.heard(0, 1.0, EPOCHS, 1.0, chunk.places[1:2])
    loss = made.lost(0, 0.0)
    assert loss.again == [p for p in chunk.places if p != 1]
    assert set(made.losses) == {0, 2, 3}
    made.joined(1)
    got = [made.next(1, 0.0)]
    while made.left:
        made.heard(1, 1.0, EPOCHS, 1.0, got[-1].places)
        made.done(1)
        got.append(made.next(1, 0.0))
    assert got[0].places == [0, 2]
    assert got[1].places == [3]
    assert sorted(p for c in got for p in c.places) == [0, *range(2, 12)]


@pytest.mark.parametrize("scouts", [True, False])
@pytest.mark.parametrize("broken", [["h0"], ["h3"], ["h1", "h4"]])
def test_a_broken_host_takes_no_member_with_it(broken, scouts):
    """Its workers die at once and are hired again at once: it would take them all."""
    made = scheduler([1000], scouts=scouts)
    hosts = [f"h{i}" for i in range(6)]
    world = World(made, 12, cost=2.0, hosts=hosts, broken=broken).run()
    assert world.given_up == []
    assert sorted(world.ended) == list(range(1000))
    assert world.losses <= 10 * len(broken)  # 2 000 s of work for 8 to 10 workers
    ideal = 1000 * 2.0 / (12 - 2 * len(broken))
    assert world.now < 1.3 * ideal + 10


def test_a_member_that_kills_its_workers_is_given_up_on_two_hosts():
    made = scheduler([60])
    world = World(made, 4, cost=2.0, deadly={7}, hosts=["a", "b"]).run()
    assert world.given_up == [7]
    assert set(made.losses[7].worker) == {"a", "b"}
    assert len(world.ended) == 59


def test_losses_on_one_host_of_two_are_a_members_fault_at_twice_as_many():
    made = scheduler([1], scouts=False, fruitless=10**6, barren=10**6)
    made.joined(99, "well")
    for worker in range(6):
        made.joined(worker, "bad")
        assert made.next(worker, 0.0).places == [0]
        loss = made.lost(worker, 0.0)
        assert loss == (([0], []) if worker < 5 else ([], [0]))


def test_a_host_that_rests_works_again_one_chunk_at_a_time_and_then_as_all_do():
    made = scheduler([100], scouts=False, pause=100.0)
    for worker, host in enumerate(["bad"] * 4 + ["well"]):
        made.joined(worker, host)
    for worker in (0, 1):
        assert made.next(worker, 0.0) is not None
        made.lost(worker, 0.0)
    assert made.next(2, 99.0) is None
    assert made.next(4, 99.0) is not None
    assert made.next(2, 101.0) is not None
    assert made.next(3, 101.0) is None  # not before the first has shown that it works
    made.heard(2, 102.0, 1, 1.0)
    assert made.next(3, 102.0) is not None
    made.lost(2, 103.0)
    made.lost(3, 103.0)
    made.joined(5, "bad")
    assert made.next(5, 104.0) is None
    made.lost(4, 104.0)  # nobody else is left
    assert made.next(5, 104.0) is not None


def test_there_is_hope_while_one_works_that_began_before_the_losses():
    made = scheduler([1000], scouts=False, barren=10**6)
    made.joined(0, "well")
    made.next(0, 0.0)
    for worker in range(1, 40):
        made.joined(worker, "bad")
        made.next(worker, 1.0)
        made.lost(worker, 2.0)
    assert not made.hopeless
    made.lost(0, 3.0)
    assert made.hopeless


def test_a_node_where_all_are_silent_is_frozen():
    made = scheduler([100], scouts=False, before=100.0)
    for worker, host in enumerate(["a", "a", "b", "c", "c"]):
        made.joined(worker, host)
        made.next(worker, 0.0)
    made.heard(4, 90.0, 1, 1.0)
    assert [made.frozen(w, 101.0) for w in range(4)] == [True, True, False, False]


def test_a_group_that_cannot_be_compiled_is_given_up_and_the_others_train():
    made = scheduler([5, 5])

    class Deadly(World):
        def give(self, name):
            chunk = self.scheduler.next(name, self.now)
            if chunk is None:
                return
            bad = chunk.group == 0
            if not chunk.places:
                self.at(self.now + 5.0, "die" if bad else "ready", name)
            else:
                self.at(self.now + 5.0, "trained", name, chunk.places, 5.0)
                self.at(self.now + 5.0, "done", name)

    world = Deadly(made, 2).run()
    assert world.given_up == [0, 1, 2, 3, 4]
    assert sorted(world.ended) == [5, 6, 7, 8, 9]


def test_workers_that_are_lost_before_anybody_trains_end_the_sweep():
    made = scheduler([1000])
    world = World(made, 2, deaths=1.0)
    world.scheduler.queues[0].ready = True
    world.run()
    assert made.hopeless
    assert made.fruitless == made.rules.fruitless
    made = scheduler([1000], scouts=False, losses=10**6)
    for worker in range(3 * made.rules.fruitless):
        made.joined(worker)
        made.next(worker, 0.0)
        made.heard(worker, 1.0, 1, 1.0)  # but an epoch each
        made.lost(worker, 0.0)
    assert not made.hopeless


@pytest.mark.parametrize("workers", [2, 8, 64])
def test_chunks_are_long_at_first_and_workers_end_together(workers):
    made = scheduler([3000])
    world = World(made, workers, lanes=8, cost=0.5).run()
    training = [(when, c) for when, _, c in world.chunks if c.places]
    seconds = [0.5 * len(chunk.places) for _, chunk in training[workers:]]
    assert max(seconds) <= made.rules.longest
    assert seconds[0] == pytest.approx(min(60.0, 3000 * 0.5 / (2 * workers)), rel=0.3)
    ideal = 5.0 + 3000 * 0.5 / workers
    assert world.now < 1.05 * ideal + 2.0
    work = [world.worked.get(name, 0.0) for name in range(workers)]
    assert max(work) - min(work) < 0.1 * max(work) + 4.0


def test_one_worker_compiles_a_structure_and_the_others_wait_for_it_only():
    world = World(scheduler([100, 100]), 5).run()
    compiling = [(when, name) for when, name, c in world.chunks if not c.places]
    assert compiling == [(0.0, 0), (0.0, 1)]
    begun = {name: when for when, name, chunk in reversed(world.chunks) if chunk.places}
    assert set(begun.values()) == {5.0}


def test_workers_stay_with_a_structure_while_it_lasts():
    """Also where another one has more left, whose program they would have to make."""
    world = World(scheduler([400, 4000]), 2).run()
    groups = [c.group for _, who, c in world.chunks if who == 0 and c.places]
    first = sum(len(c.places) for _, who, c in world.chunks if who == 0 and not c.group)
    assert groups == sorted(groups)
    assert first == 400


def test_no_more_is_handed_out_than_may_be_in_flight():
    made = scheduler([10**5], in_flight=3)
    for worker in range(10):
        made.joined(worker)
    made.queues[0].ready = True
    got = [made.next(worker, 0.0) for worker in range(10)]
    assert sum(chunk is not None for chunk in got) == made.busy == made.wanted == 3
    assert scheduler([2]).wanted == 2


def test_members_that_run_elsewhere_are_passed_over():
    made = Scheduler({0: list(range(9))}, {0: EPOCHS}, Rules(scouts=False),
                     claim=lambda places: [p for p in places if p % 3 == 0])  # fmt: skip
    made.joined(0)
    got = []
    while chunk := made.next(0, 0.0):
        got += chunk.places
        made.heard(0, 1.0, 4, 1.0, chunk.places)
        made.done(0)
    assert got == [0, 3, 6]
    assert made.over


def test_a_chunk_that_ends_early_gives_back_what_it_left():
    """Where lanes were too many for the memory, say."""
    made = scheduler([12], scouts=False)
    made.joined(0)
    made.queues[0].measured(1.0, 1.0)
    chunk = made.next(0, 0.0)
    assert len(chunk.places) > 4
    made.heard(0, 1.0, EPOCHS, 1.0, chunk.places[:2])
    made.done(0)
    assert [*made.queues[0].fresh] == list(range(2, 12))


def test_a_member_is_claimed_once():
    """Not again behind a loss: it is ours, and nobody gives it twice."""
    asked = []

    def claim(places):
        asked.extend(places)
        return places

    made = Scheduler({0: [0, 1]}, {0: EPOCHS}, Rules(scouts=False), claim)
    for worker in range(2):
        made.joined(worker)
        made.next(worker, 0.0)
        made.lost(worker, 0.0)
    made.joined(2)
    while chunk := made.next(2, 0.0):
        made.heard(2, 1.0, EPOCHS, 1.0, chunk.places)
        made.done(2)
    assert sorted(asked) == [0, 1]


def test_only_ours_are_given_up_with_a_program_that_cannot_be_compiled():
    made = Scheduler({0: list(range(9))}, {0: EPOCHS}, Rules(),
                     claim=lambda places: [p for p in places if p % 3 == 0])  # fmt: skip
    for worker in range(3):
        made.joined(worker)
        assert made.next(worker, 0.0).places == []
        loss = made.lost(worker, 0.0)
    assert loss == ([], [0, 3, 6])
    assert made.over


def test_a_program_is_not_to_blame_for_nodes_that_go_away():
    made = scheduler([5], node_losses=10**6)
    for worker in range(9):
        made.joined(worker)
        assert made.next(worker, 0.0).places == []
        assert made.lost(worker, 0.0, node=True) == ([], [])


def test_each_of_many_workers_may_be_lost_twice_before_there_is_no_hope():
    made = scheduler([1000], scouts=False, losses=10**6)
    for worker in range(20):
        made.joined(worker)
    for worker in range(40):
        if worker >= 20:
            made.joined(worker)
        assert not made.hopeless
        made.next(worker, 0.0)
        made.lost(worker, 0.0)
    assert made.hopeless


def test_the_last_chunks_are_no_shorter_than_the_tail():
    queue = Queue(range(1000), ready=True)
    queue.measured(0.1, 1)  # a member takes 0.1 s, 20 s wait in all
    assert len(queue.take(20.0, 100, Rules(tail=1.0))) == 10
    assert len(queue.take(20.0, 100, Rules(tail=3.0))) == 30


def test_lanes_that_cost_time_without_a_member_are_filled():
    queue = Queue(range(1000), ready=True)
    queue.lanes = queue.quantum = 64
    assert len(queue.take(1000.0, 10, Rules())) == 64
    queue.measured(64.0, 64)
    assert len(queue.take(100.0, 10, Rules())) == 64
    assert len(queue.take(1e9, 10, Rules(longest=200.0))) == 192
