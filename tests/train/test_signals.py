"""The first Ctrl-C asks, the second one ends."""

import os
import signal
import threading

import pytest

from jasper.train.signals import stop_request


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_ends(number):
    before = signal.getsignal(number)
    with stop_request() as request:
        assert not request.requested
        os.kill(os.getpid(), number)
        assert request.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone():
    def enter():
        with stop_request() as request:
            seen.append(request.requested)

    seen, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is before
