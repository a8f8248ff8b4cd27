# SPDX-License-Identifier: Apache-2.0
"""What is done after which fault, told by a clock of the test's own."""

from __future__ import annotations

import pytest

from vltseg_core.errors import DeviceError, DeviceLostError, DeviceMemoryError, InputError, NonFiniteScoresError
from vltseg_ros.recovery import Action, Fault, RecoveryLimits, RecoveryPolicy, Remedy, fault_of

LIMITS = RecoveryLimits()


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (DeviceMemoryError(""), Fault.OUT_OF_MEMORY),
        (DeviceLostError(""), Fault.DEVICE_LOST),
        (NonFiniteScoresError(""), Fault.NON_FINITE),
        (DeviceError("this segmenter is closed"), Fault.ERROR),
        (RuntimeError(""), Fault.ERROR),
        (InputError("no image"), None),
    ],
)
def test_an_exception_stands_for_a_fault(error: Exception, fault: Fault | None) -> None:
    assert fault_of(error) is fault


@pytest.mark.parametrize("fault", [Fault.OUT_OF_MEMORY, Fault.ERROR])
def test_batches_are_halved_for_a_while(fault: Fault) -> None:
    policy = RecoveryPolicy(6)
    assert policy.batch_size(0) == 6
    for now_s, size in ((1, 3), (2, 1)):
        assert policy.after(fault, now_s) == Remedy(Action.GO_ON)
        assert policy.batch_size(now_s) == size
    assert policy.batch_size(2 + LIMITS.smaller_batch_s - 0.1) == 1
    assert policy.batch_size(2 + LIMITS.smaller_batch_s) == 6


def test_a_reload_is_tried_with_no_more_frames_than_fit_last() -> None:
    policy = RecoveryPolicy(8)
    assert policy.after(Fault.OUT_OF_MEMORY, 0).action is Action.GO_ON
    assert policy.after(Fault.DEVICE_LOST, 1).batch_size == 4
    assert [policy.after(Fault.LOAD_FAILED, now_s).batch_size for now_s in (2, 3, 4)] == [2, 1, 1]
    slow = RecoveryPolicy(8)  # loads that take longer than batches stay smaller
    assert [slow.after(Fault.LOAD_FAILED, now_s).batch_size for now_s in (0, 40, 80)] == [4, 2, 1]


def test_memory_that_runs_out_for_single_frames_is_a_reason_to_reload() -> None:
    policy = RecoveryPolicy(2)
    assert [policy.after(Fault.OUT_OF_MEMORY, t).action for t in range(4)] == [Action.GO_ON] * 3 + [Action.RELOAD]


def test_an_answer_ends_a_series() -> None:
    policy = RecoveryPolicy(1)
    for now_s in range(20):
        assert policy.after(Fault.NON_FINITE, now_s).action is Action.GO_ON
        policy.note_answer()


def test_errors_of_unknown_kind_are_checked_before_a_reload() -> None:
    policy = RecoveryPolicy(1)
    assert [policy.after(Fault.ERROR, t).action for t in range(3)] == [Action.GO_ON, Action.GO_ON, Action.CHECK]
    assert policy.after(Fault.CHECK_FAILED, 3).action is Action.RELOAD


@pytest.mark.parametrize("fault", [Fault.DEVICE_LOST, Fault.LOAD_FAILED, Fault.CHECK_FAILED])
def test_some_faults_need_a_reload_at_once_and_each_try_waits_longer(fault: Fault) -> None:
    policy = RecoveryPolicy(1)
    remedies = [policy.after(fault, now_s) for now_s in range(LIMITS.reloads + 1)]
    assert remedies == [Remedy(Action.RELOAD, pause_s) for pause_s in (0, 1, 2, 4)] + [Remedy(Action.GIVE_UP)]


def test_reloads_long_ago_do_not_count() -> None:
    policy = RecoveryPolicy(1)
    for now_s in range(0, 3600, int(LIMITS.window_s) + 1):
        assert policy.after(Fault.DEVICE_LOST, now_s) == Remedy(Action.RELOAD)
        policy.note_answer()


@pytest.mark.parametrize("load_s", [1, 40, 300])
def test_reloads_without_an_answer_come_to_an_end_however_long_they_take(load_s: int) -> None:
    policy = RecoveryPolicy(1)
    actions = [policy.after(Fault.LOAD_FAILED, now_s).action for now_s in range(0, load_s * (LIMITS.reloads + 1), load_s)]
    assert actions == [Action.RELOAD] * LIMITS.reloads + [Action.GIVE_UP]
    policy = RecoveryPolicy(1)
    assert [policy.after(Fault.HANG, now_s).action for now_s in (0, load_s)] == [Action.RELOAD, Action.GIVE_UP]


def test_scores_that_stay_bad_after_a_reload_are_tried_in_fp32() -> None:
    policy = RecoveryPolicy(1)
    remedies = [policy.after(Fault.NON_FINITE, t) for t in range(9)]
    assert [r for r in remedies if r.action is Action.RELOAD] == [
        Remedy(Action.RELOAD),
        Remedy(Action.RELOAD, 1.0, in_fp32=True),
        Remedy(Action.RELOAD, 2.0, in_fp32=True),
    ]


def test_a_second_hang_is_given_up_unless_the_first_was_long_ago() -> None:
    policy = RecoveryPolicy(1)
    assert policy.after(Fault.HANG, 0).action is Action.RELOAD
    policy.note_answer()
    assert policy.after(Fault.HANG, LIMITS.window_s + 1).action is Action.RELOAD
    assert policy.after(Fault.HANG, LIMITS.window_s + 2).action is Action.GIVE_UP


def test_a_worker_that_keeps_dying_takes_the_network_with_it() -> None:
    policy = RecoveryPolicy(1)
    actions = [policy.after(Fault.WORKER_DIED, t).action for t in range(3)]
    assert actions == [Action.NEW_WORKER, Action.NEW_WORKER, Action.RELOAD]
