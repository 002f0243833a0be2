"""Ranks that are started again meet those that live, whatever the dead have left in the store."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import DistStoreError, TCPStore

from jasper.train.rendezvous import fresh_store

TIMEOUT = timedelta(seconds=20)


@pytest.fixture
def server():
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def meet(server, ranks, size):
    """The stores that the ranks get, which start in the order given, each with a connection of its own."""
    with ThreadPoolExecutor(len(ranks)) as pool:
        clients = [TCPStore("127.0.0.1", server.port, is_master=False, timeout=TIMEOUT) for _ in ranks]
        met = [
            pool.submit(fresh_store, client, rank, size, TIMEOUT)
            for client, rank in zip(clients, ranks, strict=True)
        ]
        return {rank: future.result() for rank, future in zip(ranks, met, strict=True)}


@pytest.mark.parametrize("ranks", [(0, 1, 2), (2, 1, 0)])
def test_every_start_has_an_empty_store_that_all_its_ranks_share(server, ranks):
    for start in ("first", "second", "third"):
        stores = meet(server, ranks, 3)
        assert not stores[1].check(["address"])
        stores[0].set("address", start)
        assert [stores[rank].get("address") for rank in ranks] == [start.encode()] * 3


def test_greetings_of_the_dead_are_not_waited_for(server):
    """They were there before the first rank looked, and nobody will read its answer."""
    for rank in (1, 2):
        server.set(f"greeting/{rank}", "dead")
    stores = meet(server, (0, 2, 1), 3)
    stores[2].set("address", "x")
    assert stores[1].get("address") == b"x"


def test_a_rank_that_does_not_come_is_named(server):
    with pytest.raises(DistStoreError, match=r"\[1\]"):
        fresh_store(server, 0, 2, timedelta(seconds=0.2))
    with pytest.raises(DistStoreError):
        fresh_store(server, 1, 2, timedelta(seconds=0.2))
