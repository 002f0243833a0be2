"""The first signal asks, in a wait it ends the wait, the second one ends everything."""

import os
import signal
import threading

import pytest

from jasper.errors import Interrupted
from jasper.train import signals
from jasper.train.signals import STOP_SIGNALS, Stopped, stop_request


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_the_first_signal_is_noted_and_the_second_ends(number, monkeypatch):
    monkeypatch.setattr(signals, "_ECHO_S", 0.0)
    before = signal.getsignal(number)
    with stop_request() as request:
        os.kill(os.getpid(), number)
        assert request.number == number
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), number)
        assert not isinstance(caught.value, Stopped)
        assert caught.value.number == number
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before


def test_a_signal_that_comes_twice_is_one_request():
    """torchrun passes on what the scheduler had sent to every process: the checkpoint was cut off by it."""
    with stop_request() as request:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGTERM


def test_a_signal_ends_a_wait_at_once_and_one_that_came_before_does_not_let_it_begin():
    with stop_request() as request:
        with pytest.raises(Stopped), request.wait():
            os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(Stopped), request.wait():
            pytest.fail("the wait began")


def test_after_a_wait_a_signal_is_only_noted():
    with stop_request() as request:
        with request.wait():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGTERM


def test_outside_the_main_thread_signals_are_left_alone():
    def enter():
        with stop_request() as request:
            seen.append(request.number)

    seen, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [None]
    assert signal.getsignal(signal.SIGINT) is before
