"""The faults that sessions are to survive, each with the tests that show it.

`docs/operations.md` tells operators of the same faults, under the same numbers.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A fault: what it is called, and which tests show its answer."""

    title: str
    tests: tuple[str, ...]


OUTAGE = "adversity/test_fault_outages.py::test_outage"
MOMENTS = "adversity/test_fault_moments.py::"
RECORDS = "adversity/test_fault_records.py::"
OTHERS = "adversity/test_fault_others.py::"
CLIENTS = "adversity/test_fault_clients.py::"
CLOCKS = "adversity/test_fault_clocks.py::"
HUNG = "adversity/test_fault_hung.py::"
REDIS = "adversity/test_fault_redis.py::"
POSTGRES = "adversity/test_fault_postgres.py::"
START = "adversity/test_fault_start.py::"
PROCESSES = "adversity/test_processes.py::"
CANCEL = "adversity/test_cancellation.py::"
LOST = "adversity/test_faults.py::"
ERRORS = "app/test_errors.py::"
SESSION = "app/test_session.py::"

TABLE: dict[str, Row] = {
    "F1": Row(
        "store down when a request comes",
        (
            OUTAGE,
            MOMENTS + "test_untouched_routes_never_ask",
            "adversity/test_fault_auth.py::test_logins_while_the_store_is_away",
            ERRORS + "test_a_store_that_refuses",
            "app/test_auth_guard.py::test_a_store_that_is_down_is_no_401",
            "app/test_auth_logout.py::test_a_logout_that_failed_is_not_claimed",
        ),
    ),
    "F2": Row(
        "store down when a block is saved",
        (MOMENTS + "test_moment", MOMENTS + "test_a_first_write_in_the_dark"),
    ),
    "F3": Row(
        "store away during a block",
        (
            MOMENTS + "test_away_during_a_hold",
            MOMENTS + "test_away_for_longer_than_the_lease",
        ),
    ),
    "F4": Row("store slow", (OUTAGE, LOST + "test_slow_store_only_slows")),
    "F5": Row(
        "store hangs",
        (
            OUTAGE,
            HUNG + "test_figures",
            HUNG + "test_a_crowd_is_answered_in_time",
            HUNG + "test_a_request_that_asks_often",
            HUNG + "test_two_sessions_of_a_request_share_its_time",
            MOMENTS + "test_half_open_connections",
            ERRORS + "test_a_frozen_redis",
        ),
    ),
    "F6": Row(
        "no connection to be had",
        (
            OUTAGE,
            POSTGRES + "test_a_pool_that_others_hold",
            CLIENTS + "test_more_requests_than_connections",
        ),
    ),
    "F7": Row("store emptied", (OUTAGE, MOMENTS + "test_emptied_during_a_hold")),
    "F8": Row(
        "scripts of Redis lost",
        (OUTAGE, "contract/test_redis.py::test_scripts_survive_a_lost_cache"),
    ),
    "F9": Row(
        "process stands still for longer than its lease",
        (
            PROCESSES + "test_stopped_holder_is_refused",
            PROCESSES + "test_late_release_frees_nobody_else",
        ),
    ),
    "F10": Row("block longer than its lease", (PROCESSES + "test_long_hold_is_renewed",)),
    "F11": Row("process killed in a block", (PROCESSES + "test_killed_holder_costs_its_lease",)),
    "F12": Row(
        "server stopped in a block",
        (
            PROCESSES + "test_a_server_that_stops_lets_its_holder_finish",
            START + "test_stopped_while_its_store_hangs",
        ),
    ),
    "F13": Row("exception in a block", (SESSION + "test_an_exception_rolls_back",)),
    "F14": Row(
        "client hangs up",
        (CLIENTS + "test_hang_ups", CLIENTS + "test_hang_up_inside_a_block"),
    ),
    "F15": Row(
        "request cancelled while it locks or saves",
        (
            CLIENTS + "test_hang_ups",
            CANCEL + "test_cancelled_block_is_all_or_nothing",
            CANCEL + "test_cancelled_waiter_is_passed_over",
            CANCEL + "test_cancellations_never_cross_sessions",
            CANCEL + "test_a_cancelled_write_that_others_followed_is_no_lost_lock",
        ),
    ),
    "F16": Row(
        "reply lost after the work was done",
        (
            CLIENTS + "test_lost_replies",
            LOST + "test_lost_reply_of_a_commit_is_one_write",
            LOST + "test_lost_reply_of_a_create_is_one_record",
            LOST + "test_cut_before_the_server_saw_it_is_repeated",
        ),
    ),
    "F17": Row(
        "added interface fails",
        (
            OTHERS + "test_added_interface",
            OTHERS + "test_logout_reaches_it_later",
            OTHERS + "test_raise_by_choice",
        ),
    ),
    "F18": Row(
        "master fails, added interface does not",
        (OTHERS + "test_master_away_leaves_the_other_alone", OTHERS + "test_both_away"),
    ),
    "F19": Row(
        "added interface hangs",
        (
            OTHERS + "test_added_interface",
            "contract/test_fan_out.py::test_hanging_other_costs_a_second_once",
        ),
    ),
    "F20": Row(
        "fail-over to a replica",
        (
            REDIS + "test_fail_over_by_hand",
            REDIS + "test_fail_over_that_loses_the_last_write",
            "adversity/test_redis_kinds.py::test_failover_to_an_empty_replica_refuses_the_writer",
        ),
    ),
    "F21": Row(
        "connections closed by the server",
        (
            OUTAGE,
            MOMENTS + "test_connections_ended_during_a_hold",
            MOMENTS + "test_many_idle_connections_are_cut",
        ),
    ),
    "F22": Row("store full, read-only, or rights taken away", (OUTAGE,)),
    "F23": Row(
        "Redis evicts sessions",
        (
            REDIS + "test_eviction_policy",
            REDIS + "test_a_server_that_tells_nothing",
            REDIS + "test_evicted",
        ),
    ),
    "F24": Row(
        "server's clock wrong",
        (CLOCKS + "test_a_server_with_a_wrong_clock", CLOCKS + "test_a_cookie_from_the_future"),
    ),
    "F25": Row("wall clock jumps", (CLOCKS + "test_a_jump_of_the_wall_clock",)),
    "F26": Row(
        "record corrupt",
        (
            RECORDS + "test_payload_in_redis",
            RECORDS + "test_payload_in_postgres",
            RECORDS + "test_field_in_redis",
            RECORDS + "test_key_of_another_type_in_redis",
            RECORDS + "test_row_in_postgres",
            RECORDS + "test_nobody_is_logged_in_by_a_spoilt_record",
        ),
    ),
    "F27": Row(
        "session too large",
        (
            ERRORS + "test_too_large",
            ERRORS + "test_too_large_for_a_new_session",
            ERRORS + "test_too_large_for_a_cookie",
        ),
    ),
    "F28": Row(
        "value that cannot be stored",
        (
            ERRORS + "test_a_value_that_json_does_not_give_back",
            "app/test_unlocked.py::test_a_value_that_cannot_be_stored",
        ),
    ),
    "F29": Row(
        "odd text, numbers and keys",
        (
            SESSION + "test_a_block_saves",
            ERRORS + "test_a_value_that_json_does_not_give_back",
            ERRORS + "test_a_tuple_comes_back_as_a_list",
        ),
    ),
    "F30": Row(
        "cookies that nobody issued",
        (
            REDIS + "test_a_lock_table_that_does_not_grow",
            "app/test_figures.py::test_an_anonymous_request_asks_nothing",
        ),
    ),
    "F31": Row(
        "block inside of a block",
        (
            SESSION + "test_a_request_may_enter_again",
            SESSION + "test_a_second_task_does_not_wait_for_ever",
        ),
    ),
    "F32": Row(
        "websocket that stays in its block",
        (
            CLOCKS + "test_a_socket_that_holds_on",
            "app/test_websocket.py::test_no_lock_outlives_its_block",
        ),
    ),
    "F33": Row(
        "cookie needed after the response has begun",
        (
            "app/test_streaming.py::test_a_session_cannot_begin",
            "app/test_streaming.py::test_a_session_cannot_be_rotated",
        ),
    ),
    "F34": Row(
        "clean-up of very many sessions",
        (
            CLOCKS + "test_a_clean_up_of_many",
            "unit/test_memory.py::test_a_clean_up_gives_way_after_each_slice",
        ),
    ),
    "F35": Row(
        "locks that pile up",
        (
            REDIS + "test_a_lock_table_that_does_not_grow",
            "unit/test_locks.py::test_ten_thousand_visits_with_cancellations",
        ),
    ),
    "F36": Row(
        "clean-up meets an error",
        (
            POSTGRES + "test_a_clean_up_that_fails_goes_on",
            "unit/test_memory.py::test_an_exception_does_not_stop_the_clean_up",
        ),
    ),
    "F37": Row("transaction pooler", (POSTGRES + "test_each_step_on_another_backend",)),
    "F38": Row(
        "idle transactions are ended",
        (POSTGRES + "test_no_transaction_waits_for_a_handler",),
    ),
    "F39": Row("store not there at start", (START + "test_started_before_its_store",)),
}
