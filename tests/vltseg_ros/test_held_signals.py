# SPDX-License-Identifier: Apache-2.0
"""Signals wait for a block's end, none is lost, and handlers are afterwards what they were before."""

from __future__ import annotations

import signal
import threading

import pytest

from vltseg_ros.held_signals import signals_held

INTERRUPTED, TERMINATED = KeyboardInterrupt, SystemExit
KIND_OF = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


@pytest.fixture(autouse=True)
def _handlers_left_alone(_handlers):
    """As a program has them at its start; the test must leave them so."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    assert [signal.getsignal(number) for number in KIND_OF] == [signal.default_int_handler, signal.SIG_DFL]


@pytest.mark.parametrize("number", KIND_OF)
def test_the_first_one_waits_for_the_end(number):
    done = []
    with pytest.raises(KIND_OF[number]), signals_held():
        signal.raise_signal(number)
        done.append("the rest")
    assert done == ["the rest"]


@pytest.mark.parametrize("first", KIND_OF)
@pytest.mark.parametrize("second", KIND_OF)
def test_the_second_one_counts_at_once(first, second):
    done = []
    with pytest.raises(KIND_OF[second]), signals_held():
        signal.raise_signal(first)
        signal.raise_signal(second)
        done.append("the rest")
    assert not done


@pytest.mark.parametrize("number", KIND_OF)
def test_one_that_was_obeyed_is_not_sent_on(number):
    with signals_held() as held:
        signal.raise_signal(number)
        assert held.obey() == number and held.obey() == 0


def test_an_inner_block_passes_its_signal_to_the_outer_one():
    with signals_held() as outer:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
        assert outer.obey() == signal.SIGINT


@pytest.mark.parametrize("first", KIND_OF)
@pytest.mark.parametrize("second", KIND_OF)
def test_two_in_an_inner_block_are_two_for_the_outer_one(first, second):
    done = []
    with pytest.raises(KIND_OF[second]), signals_held(), signals_held():
        signal.raise_signal(first)
        signal.raise_signal(second)
        done.append("the rest")
    assert not done


def test_an_exception_does_not_swallow_the_signal():
    with pytest.raises(KeyboardInterrupt) as interrupted, signals_held():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("of the block")
    assert isinstance(interrupted.value.__context__, ValueError)


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals_held() as held:
        signal.raise_signal(signal.SIGINT)
        assert held.number == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_may_use_it():
    failures = []

    def use():
        try:
            with signals_held():
                pass
        except ValueError as error:
            failures.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert not failures
