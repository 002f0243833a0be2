"""The store that torchrun keeps in, a part of it out that this start of the ranks alone writes to.

torchrun keeps one store over its restarts, and a process group looks its peers up there under fixed names. So
a rank may find the address of a peer that is dead, and wait for it until the group's timeout. Only names that
have just been made tell the living apart.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

from torch.distributed import DistStoreError
from torch.distributed.distributed_c10d import PrefixStore, Store

_POLL_SECONDS = 0.02


def fresh_store(store: Store, rank: int, world_size: int, timeout: timedelta) -> Store:
    """Meet the other ranks that live; returns a store that is empty and the same for all of them.

    A rank greets under a name of its own, and rank 0 answers every greeting that it finds, old ones too, with
    the name of the part; then it waits until that was read. Raises DistStoreError for a rank that is missing.
    """
    own = uuid.uuid4().hex
    if rank == 0:
        _welcome(store, own, set(range(1, world_size)), time.monotonic() + timeout.total_seconds())
        return PrefixStore(own, store)
    store.set(f"greeting/{rank}", own)
    store.wait([f"answer/{own}"], timeout)
    part = store.get(f"answer/{own}").decode()
    store.set(f"{part}/{rank}", "read")
    return PrefixStore(part, store)


def _welcome(store: Store, own: str, expected: set[int], until: float) -> None:
    while expected:
        if time.monotonic() > until:
            raise DistStoreError(f"these ranks did not come: {sorted(expected)}")
        for rank in expected:
            if store.check([f"greeting/{rank}"]):
                store.set(f"answer/{store.get(f'greeting/{rank}').decode()}", own)
        expected = {rank for rank in expected if not store.check([f"{own}/{rank}"])}
        time.sleep(_POLL_SECONDS)
