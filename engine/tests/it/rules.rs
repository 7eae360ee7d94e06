//! One test per rule. `UPDATE_EXPECT=1` rewrites the events; the diff is the review.

use expect_test::expect;

use crate::script::{check, check_levels, hash_after};

#[test]
fn price_then_time() {
    check(
        "a#1 sell 5 @ 101 | b#2 sell 5 @ 100 | c#3 sell 5 @ 100 | d#4 buy 12 @ 101",
        expect![[r#"
            1 accepted a#1 sell 5 @ 101
            2 accepted b#2 sell 5 @ 100
            3 accepted c#3 sell 5 @ 100
            4 accepted d#4 buy 12 @ 101
            4 trade    b#2 d#4 5 @ 100 buy open 0 7
            4 trade    c#3 d#4 5 @ 100 buy open 0 2
            4 trade    a#1 d#4 2 @ 101 buy open 3 0
            = bids asks 101x3(1)
        "#]],
    );
}

#[test]
fn a_market_order_takes_what_there_is_and_its_rest_is_canceled() {
    check(
        "a#1 sell 5 @ 101 | b#2 buy 8 market | c#3 buy 1 market fok",
        expect![[r#"
            1 accepted a#1 sell 5 @ 101
            2 accepted b#2 buy 8 @ 0
            2 trade    a#1 b#2 5 @ 101 buy open 0 3
            2 canceled b#2 open 3 filled 5 no_liquidity
            3 accepted c#3 buy 1 @ 0
            3 canceled c#3 open 1 filled 0 fok
        "#]],
    );
}

#[test]
fn immediate_or_cancel_and_fill_or_kill() {
    check(
        "a#1 sell 5 @ 101 | b#2 buy 8 @ 101 ioc | a#3 sell 5 @ 101 | b#4 buy 6 @ 101 fok | b#5 buy 5 @ 101 fok",
        expect![[r#"
            1 accepted a#1 sell 5 @ 101
            2 accepted b#2 buy 8 @ 101
            2 trade    a#1 b#2 5 @ 101 buy open 0 3
            2 canceled b#2 open 3 filled 5 ioc
            3 accepted a#3 sell 5 @ 101
            4 accepted b#4 buy 6 @ 101
            4 canceled b#4 open 6 filled 0 fok
            5 accepted b#5 buy 5 @ 101
            5 trade    a#3 b#5 5 @ 101 buy open 0 0
        "#]],
    );
}

#[test]
fn fill_or_kill_counts_hidden_quantity_and_changes_nothing_else() {
    check(
        "a#1 sell 9 @ 101 iceberg=2 | b#2 buy 10 @ 101 fok | b#3 buy 9 @ 101 fok",
        expect![[r#"
            1 accepted a#1 sell 9 @ 101
            2 accepted b#2 buy 10 @ 101
            2 canceled b#2 open 10 filled 0 fok
            3 accepted b#3 buy 9 @ 101
            3 trade    a#1 b#3 2 @ 101 buy open 7 7
            3 trade    a#1 b#3 2 @ 101 buy open 5 5
            3 trade    a#1 b#3 2 @ 101 buy open 3 3
            3 trade    a#1 b#3 2 @ 101 buy open 1 1
            3 trade    a#1 b#3 1 @ 101 buy open 0 0
        "#]],
    );
}

#[test]
fn post_only_is_rejected_when_it_would_trade() {
    check(
        "a#1 sell 5 @ 101 | b#2 buy 5 @ 101 post | b#3 buy 5 @ 100 post | b#3 replace price 101 | b#3 replace qty 7 | b#3 replace qty 3",
        expect![[r#"
            1 accepted a#1 sell 5 @ 101
            2 rejected new #2 post_only
            3 accepted b#3 buy 5 @ 100
            4 rejected replace #3 post_only
            5 replaced b#3 (was #3) 7 @ 100 open 7
            6 replaced b#3 (was #3) 3 @ 100 open 3
            = bids 100x3(1) asks 101x5(1)
        "#]],
    );
}

#[test]
fn cancel_and_reduce() {
    check(
        "a#1 sell 5 @ 101 | b#1 cancel | a#1 reduce by 2 | a#1 reduce by 3 | a#1 cancel | a#2 sell 5 @ 101 | a#2 cancel",
        expect![[r#"
            1 accepted a#1 sell 5 @ 101
            2 rejected cancel #1 unknown_order
            3 reduced  a#1 open 3
            4 canceled a#1 open 3 filled 0 user
            5 rejected cancel #1 unknown_order
            6 accepted a#2 sell 5 @ 101
            7 canceled a#2 open 5 filled 0 user
        "#]],
    );
}

#[test]
fn reduce_keeps_the_place() {
    check(
        "a#1 sell 5 @ 210 | b#2 sell 5 @ 210 | a#1 reduce by 2 | c#3 buy 4 @ 210",
        expect![[r#"
            1 accepted a#1 sell 5 @ 210
            2 accepted b#2 sell 5 @ 210
            3 reduced  a#1 open 3
            4 accepted c#3 buy 4 @ 210
            4 trade    a#1 c#3 3 @ 210 buy open 0 1
            4 trade    b#2 c#3 1 @ 210 buy open 4 0
            = bids asks 210x4(1)
        "#]],
    );
}

#[test]
fn replace_keeps_the_place_only_when_nothing_grows() {
    check(
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | a#1 replace qty 4 | c#3 buy 4 @ 100 | b#2 replace qty 6 | a#4 sell 1 @ 100 | b#2 replace qty 7 id 9 | c#5 buy 2 @ 100",
        expect![[r#"
            1 accepted a#1 sell 5 @ 100
            2 accepted b#2 sell 5 @ 100
            3 replaced a#1 (was #1) 4 @ 100 open 4
            4 accepted c#3 buy 4 @ 100
            4 trade    a#1 c#3 4 @ 100 buy open 0 0
            5 replaced b#2 (was #2) 6 @ 100 open 6
            6 accepted a#4 sell 1 @ 100
            7 replaced b#9 (was #2) 7 @ 100 open 7
            8 accepted c#5 buy 2 @ 100
            8 trade    a#4 c#5 1 @ 100 buy open 0 1
            8 trade    b#9 c#5 1 @ 100 buy open 6 0
            = bids asks 100x6(1)
        "#]],
    );
}

#[test]
fn replace_trades_like_a_new_order_and_counts_what_was_filled() {
    check(
        "a#1 sell 5 @ 100 | b#2 buy 2 @ 100 | b#3 buy 5 @ 98 | a#1 replace price 98 qty 6 | a#1 replace qty 6 | a#4 sell 5 @ 100 | b#5 buy 3 @ 100 | a#4 replace qty 3",
        expect![[r#"
            1 accepted a#1 sell 5 @ 100
            2 accepted b#2 buy 2 @ 100
            2 trade    a#1 b#2 2 @ 100 buy open 3 0
            3 accepted b#3 buy 5 @ 98
            4 replaced a#1 (was #1) 6 @ 98 open 4
            4 trade    b#3 a#1 4 @ 98 sell open 1 0
            5 rejected replace #1 unknown_order
            6 accepted a#4 sell 5 @ 100
            7 accepted b#5 buy 3 @ 100
            7 trade    a#4 b#5 3 @ 100 buy open 2 0
            8 canceled a#4 open 2 filled 3 replaced
            = bids 98x1(1) asks
        "#]],
    );
}

#[test]
fn an_id_is_free_again_when_its_order_has_ended() {
    check(
        "a#1 sell 5 @ 100 | b#1 buy 5 @ 99 | a#1 cancel | b#1 buy 5 @ 99 | b#2 buy 5 @ 99 | b#2 replace id 1 | b#2 replace id 3 | b#2 cancel",
        expect![[r#"
            1 accepted a#1 sell 5 @ 100
            2 rejected new #1 duplicate_id
            3 canceled a#1 open 5 filled 0 user
            4 accepted b#1 buy 5 @ 99
            5 accepted b#2 buy 5 @ 99
            6 rejected replace #2 duplicate_id
            7 replaced b#3 (was #2) 5 @ 99 open 5
            8 rejected cancel #2 unknown_order
            = bids 99x10(2) asks
        "#]],
    );
}

#[test]
fn mass_cancel_ends_in_order_of_acceptance() {
    check(
        "a#1 sell 5 @ 103 | b#2 sell 5 @ 102 | a#3 buy 5 @ 99 | a#1 replace price 104 | mass_cancel a sell | mass_cancel buy here | mass_cancel",
        expect![[r#"
            1 accepted a#1 sell 5 @ 103
            2 accepted b#2 sell 5 @ 102
            3 accepted a#3 buy 5 @ 99
            4 replaced a#1 (was #1) 5 @ 104 open 5
            5 canceled a#1 open 5 filled 0 mass_cancel
            5 mass cancel of 1
            6 canceled a#3 open 5 filled 0 mass_cancel
            6 mass cancel of 1
            7 canceled b#2 open 5 filled 0 mass_cancel
            7 mass cancel of 1
        "#]],
    );
}

#[test]
fn an_iceberg_shows_a_slice_and_joins_the_back_when_it_is_gone() {
    check_levels(
        "a#1 sell 7 @ 100 iceberg=3 | b#2 sell 4 @ 100 | c#3 buy 8 @ 100 | a#1 reduce by 1 | a#1 replace qty 9",
        expect![[r#"
            1 accepted a#1 sell 7 @ 100
            1 level    sell 100 3 (1)
            2 accepted b#2 sell 4 @ 100
            2 level    sell 100 7 (2)
            3 accepted c#3 buy 8 @ 100
            3 trade    a#1 c#3 3 @ 100 buy open 4 5
            3 trade    b#2 c#3 4 @ 100 buy open 0 1
            3 trade    a#1 c#3 1 @ 100 buy open 3 0
            3 level    sell 100 2 (1)
            4 reduced  a#1 open 2
            5 replaced a#1 (was #1) 9 @ 100 open 5
            5 level    sell 100 3 (1)
            = bids asks 100x3(1)
        "#]],
    );
}

#[test]
fn an_incoming_iceberg_trades_with_all_of_it() {
    check(
        "a#1 sell 7 @ 100 | b#2 buy 9 @ 100 iceberg=2",
        expect![[r#"
            1 accepted a#1 sell 7 @ 100
            2 accepted b#2 buy 9 @ 100
            2 trade    a#1 b#2 7 @ 100 buy open 0 2
            = bids 100x2(1) asks
        "#]],
    );
}

#[test]
fn a_smaller_iceberg_loses_hidden_quantity_first() {
    check(
        "a#1 sell 9 @ 100 iceberg=3 | a#1 reduce by 5 | a#1 reduce by 2 | a#1 replace qty 1",
        expect![[r#"
            1 accepted a#1 sell 9 @ 100
            2 reduced  a#1 open 4
            3 reduced  a#1 open 2
            4 replaced a#1 (was #1) 1 @ 100 open 1
            = bids asks 100x1(1)
        "#]],
    );
}

#[test]
fn min_qty_must_trade_on_entry() {
    check(
        "a#1 sell 5 @ 100 | b#2 buy 9 @ 100 min=6 | b#3 buy 9 @ 100 min=5 | a#4 sell 1 @ 100",
        expect![[r#"
            1 accepted a#1 sell 5 @ 100
            2 accepted b#2 buy 9 @ 100
            2 canceled b#2 open 9 filled 0 min_qty
            3 accepted b#3 buy 9 @ 100
            3 trade    a#1 b#3 5 @ 100 buy open 0 4
            4 accepted a#4 sell 1 @ 100
            4 trade    b#3 a#4 1 @ 100 sell open 3 0
            = bids 100x3(1) asks
        "#]],
    );
}

#[test]
fn budget_bounds_the_cost_of_the_whole() {
    check(
        "a#1 sell 5 @ 100 | a#2 sell 5 @ 102 | b#3 buy 10 @ 110 fok budget=1009 | b#4 buy 10 @ 110 fok budget=1010 | a#5 buy 5 @ 90 | b#6 sell 5 @ 80 fok budget=451 | b#7 sell 5 @ 80 fok budget=450",
        expect![[r#"
            1 accepted a#1 sell 5 @ 100
            2 accepted a#2 sell 5 @ 102
            3 accepted b#3 buy 10 @ 110
            3 canceled b#3 open 10 filled 0 fok
            4 accepted b#4 buy 10 @ 110
            4 trade    a#1 b#4 5 @ 100 buy open 0 5
            4 trade    a#2 b#4 5 @ 102 buy open 0 0
            5 accepted a#5 buy 5 @ 90
            6 accepted b#6 sell 5 @ 80
            6 canceled b#6 open 5 filled 0 fok
            7 accepted b#7 sell 5 @ 80
            7 trade    a#5 b#7 5 @ 90 sell open 0 0
        "#]],
    );
}

#[test]
fn self_trade_cancel_new() {
    check(
        "a#1 sell 2 @ 99 | b#2 sell 5 @ 100 | a#3 sell 5 @ 101 | b#4 buy 9 @ 101 stp=cancel_new",
        expect![[r#"
            1 accepted a#1 sell 2 @ 99
            2 accepted b#2 sell 5 @ 100
            3 accepted a#3 sell 5 @ 101
            4 accepted b#4 buy 9 @ 101
            4 trade    a#1 b#4 2 @ 99 buy open 0 7
            4 canceled b#4 open 7 filled 2 stp
            = bids asks 100x5(1) 101x5(1)
        "#]],
    );
}

#[test]
fn self_trade_cancel_old() {
    check(
        "b#1 sell 5 @ 100 | a#2 sell 5 @ 101 | b#3 buy 9 @ 101 stp=cancel_old",
        expect![[r#"
            1 accepted b#1 sell 5 @ 100
            2 accepted a#2 sell 5 @ 101
            3 accepted b#3 buy 9 @ 101
            3 canceled b#1 open 5 filled 0 stp
            3 trade    a#2 b#3 5 @ 101 buy open 0 4
            = bids 101x4(1) asks
        "#]],
    );
}

#[test]
fn self_trade_cancel_both() {
    check(
        "b#1 sell 5 @ 100 | a#2 sell 5 @ 101 | b#3 buy 9 @ 101 stp=cancel_both",
        expect![[r#"
            1 accepted b#1 sell 5 @ 100
            2 accepted a#2 sell 5 @ 101
            3 accepted b#3 buy 9 @ 101
            3 canceled b#1 open 5 filled 0 stp
            3 canceled b#3 open 9 filled 0 stp
            = bids asks 101x5(1)
        "#]],
    );
}

#[test]
fn self_trade_decrement() {
    check(
        "b#1 sell 4 @ 100 | a#2 sell 2 @ 100 | b#3 sell 9 @ 100 iceberg=3 | b#4 buy 9 @ 101 stp=decrement",
        expect![[r#"
            1 accepted b#1 sell 4 @ 100
            2 accepted a#2 sell 2 @ 100
            3 accepted b#3 sell 9 @ 100
            4 accepted b#4 buy 9 @ 101
            4 canceled b#1 open 0 filled 0 stp
            4 reduced  b#4 open 5 stp
            4 trade    a#2 b#4 2 @ 100 buy open 0 3
            4 reduced  b#3 open 6 stp
            4 canceled b#4 open 0 filled 2 stp
            = bids asks 100x3(1)
        "#]],
    );
}

#[test]
fn a_test_counts_only_what_could_really_trade() {
    check(
        "a#1 sell 4 @ 100 | b#2 sell 5 @ 100 | a#3 sell 4 @ 100 | b#4 buy 8 @ 100 fok stp=cancel_new | b#5 buy 8 @ 100 min=5 stp=decrement | b#6 buy 8 @ 100 fok stp=cancel_old",
        expect![[r#"
            1 accepted a#1 sell 4 @ 100
            2 accepted b#2 sell 5 @ 100
            3 accepted a#3 sell 4 @ 100
            4 accepted b#4 buy 8 @ 100
            4 canceled b#4 open 8 filled 0 fok
            5 accepted b#5 buy 8 @ 100
            5 canceled b#5 open 8 filled 0 min_qty
            6 accepted b#6 buy 8 @ 100
            6 trade    a#1 b#6 4 @ 100 buy open 0 4
            6 canceled b#2 open 5 filled 0 stp
            6 trade    a#3 b#6 4 @ 100 buy open 0 0
        "#]],
    );
}

#[test]
fn stops_wait_for_a_trade_price_and_enter_oldest_first() {
    check(
        "a#1 buy 10 @ 100 | a#2 buy 10 @ 99 | a#3 buy 10 @ 98 | b#4 sell 10 stop=99 | b#5 sell 10 stop=100 | c#6 sell 10 @ 100",
        expect![[r#"
            1 accepted a#1 buy 10 @ 100
            2 accepted a#2 buy 10 @ 99
            3 accepted a#3 buy 10 @ 98
            4 accepted b#4 sell 10 @ 0
            5 accepted b#5 sell 10 @ 0
            6 accepted c#6 sell 10 @ 100
            6 trade    a#1 c#6 10 @ 100 sell open 0 0
            6 trigger  b#5 at 100
            6 trade    a#2 b#5 10 @ 99 sell open 0 0
            6 trigger  b#4 at 99
            6 trade    a#3 b#4 10 @ 98 sell open 0 0
        "#]],
    );
}

#[test]
fn a_stop_that_the_last_trade_reached_enters_at_once() {
    check(
        "a#1 buy 1 @ 100 | b#2 sell 1 @ 100 | a#3 buy 5 @ 98 | b#4 sell 2 stop=100 | b#5 sell 2 @ 99 stop=101 | b#6 buy 2 stop=99 gtc",
        expect![[r#"
            1 accepted a#1 buy 1 @ 100
            2 accepted b#2 sell 1 @ 100
            2 trade    a#1 b#2 1 @ 100 sell open 0 0
            3 accepted a#3 buy 5 @ 98
            4 accepted b#4 sell 2 @ 0
            4 trigger  b#4 at 100
            4 trade    a#3 b#4 2 @ 98 sell open 3 0
            5 accepted b#5 sell 2 @ 99
            5 trigger  b#5 at 101
            6 accepted b#6 buy 2 @ 0
            = bids 98x3(1) asks 99x2(1)
            = stop #6 at 99
        "#]],
    );
}

#[test]
fn stops_elected_by_one_command_enter_by_age() {
    check(
        "m#1 sell 1 @ 101 | m#2 sell 1 @ 102 | m#3 sell 5 @ 103 | a#4 buy 1 stop=102 | b#5 buy 1 stop=101 | c#6 buy 2 @ 102",
        expect![[r#"
            1 accepted m#1 sell 1 @ 101
            2 accepted m#2 sell 1 @ 102
            3 accepted m#3 sell 5 @ 103
            4 accepted a#4 buy 1 @ 0
            5 accepted b#5 buy 1 @ 0
            6 accepted c#6 buy 2 @ 102
            6 trade    m#1 c#6 1 @ 101 buy open 0 1
            6 trade    m#2 c#6 1 @ 102 buy open 0 0
            6 trigger  a#4 at 102
            6 trade    m#3 a#4 1 @ 103 buy open 4 0
            6 trigger  b#5 at 101
            6 trade    m#3 b#5 1 @ 103 buy open 3 0
            = bids asks 103x3(1)
        "#]],
    );
}

#[test]
fn a_trailing_stop_follows_in_its_favour_only() {
    check(
        "a#1 sell 4 trail=3 | m#2 buy 1 @ 100 | t#3 sell 1 @ 100 | m#4 buy 1 @ 105 | t#5 sell 1 @ 105 | m#6 buy 1 @ 103 | t#7 sell 1 @ 103 | m#8 buy 3 @ 102 | t#9 sell 1 @ 102",
        expect![[r#"
            1 accepted a#1 sell 4 @ 0
            2 accepted m#2 buy 1 @ 100
            3 accepted t#3 sell 1 @ 100
            3 trade    m#2 t#3 1 @ 100 sell open 0 0
            4 accepted m#4 buy 1 @ 105
            5 accepted t#5 sell 1 @ 105
            5 trade    m#4 t#5 1 @ 105 sell open 0 0
            6 accepted m#6 buy 1 @ 103
            7 accepted t#7 sell 1 @ 103
            7 trade    m#6 t#7 1 @ 103 sell open 0 0
            8 accepted m#8 buy 3 @ 102
            9 accepted t#9 sell 1 @ 102
            9 trade    m#8 t#9 1 @ 102 sell open 2 0
            9 trigger  a#1 at 102
            9 trade    m#8 a#1 2 @ 102 sell open 0 2
            9 canceled a#1 open 2 filled 2 no_liquidity
        "#]],
    );
}

#[test]
fn a_stop_may_be_changed_before_its_trigger_only() {
    check(
        "a#1 sell 4 @ 90 stop=95 | a#1 replace stop 96 price 91 qty 3 | m#2 buy 5 @ 96 | t#3 sell 1 @ 96 | a#1 replace stop 90 | m#4 buy 1 stop=99 | m#4 replace price 5",
        expect![[r#"
            1 accepted a#1 sell 4 @ 90
            2 replaced a#1 (was #1) 3 @ 91 open 3
            3 accepted m#2 buy 5 @ 96
            4 accepted t#3 sell 1 @ 96
            4 trade    m#2 t#3 1 @ 96 sell open 4 0
            4 trigger  a#1 at 96
            4 trade    m#2 a#1 3 @ 96 sell open 1 0
            5 rejected replace #1 unknown_order
            6 accepted m#4 buy 1 @ 0
            7 rejected replace #4 bad_field
            = bids 96x1(1) asks
            = stop #4 at 99
        "#]],
    );
}

#[test]
fn gtd_orders_expire_by_time_then_age() {
    check(
        "a#1 buy 5 @ 100 gtd=50 | b#2 buy 5 @ 101 gtd=40 | c#3 sell 5 @ 110 gtd=50 | d#4 buy 1 @ 90 gtd=0 | time 49 | time 50",
        expect![[r#"
            1 accepted a#1 buy 5 @ 100
            2 accepted b#2 buy 5 @ 101
            3 accepted c#3 sell 5 @ 110
            4 rejected new #4 expired
            5 expired  b#2 open 5 gtd
            6 expired  a#1 open 5 gtd
            6 expired  c#3 open 5 gtd
        "#]],
    );
}

#[test]
fn a_limit_protects_market_orders() {
    check(
        "list P protect=2 | a#1 sell 1 @ 100 | a#2 sell 1 @ 102 | a#3 sell 1 @ 103 | b#4 buy 9 market",
        expect![[r#"
            1 listed   1
            2 accepted a#1 sell 1 @ 100
            3 accepted a#2 sell 1 @ 102
            4 accepted a#3 sell 1 @ 103
            5 accepted b#4 buy 9 @ 0
            5 trade    a#1 b#4 1 @ 100 buy open 0 8
            5 trade    a#2 b#4 1 @ 102 buy open 0 7
            5 canceled b#4 open 7 filled 2 no_liquidity
            = bids asks 103x1(1)
        "#]],
    );
}

#[test]
fn halt_and_closed() {
    check(
        "a#1 buy 5 @ 100 day | b#2 buy 5 @ 101 | c#5 sell 1 stop=50 day | phase halt | a#3 buy 1 @ 100 | b#2 replace qty 3 | b#2 reduce by 1 | phase closed | a#3 buy 1 @ 100 | b#2 cancel",
        expect![[r#"
            1 accepted a#1 buy 5 @ 100
            2 accepted b#2 buy 5 @ 101
            3 accepted c#5 sell 1 @ 0
            4 phase    halt
            5 rejected new #3 halted
            6 rejected replace #2 halted
            7 reduced  b#2 open 4
            8 phase    closed
            8 expired  a#1 open 5 day
            8 expired  c#5 open 1 day
            9 rejected new #3 closed
            10 canceled b#2 open 4 filled 0 user
        "#]],
    );
}

#[test]
fn an_auction_collects_and_uncrosses_at_one_price() {
    check(
        "phase auction | a#1 buy 5 @ 102 | b#2 sell 3 @ 99 | c#3 sell 4 @ 101 | d#4 buy 2 market | e#5 buy 1 @ 100 ioc | e#6 buy 1 market fok | f#7 sell 9 @ 105 post | phase continuous",
        expect![[r#"
            1 phase    auction
            2 accepted a#1 buy 5 @ 102
            3 accepted b#2 sell 3 @ 99
            4 accepted c#3 sell 4 @ 101
            5 accepted d#4 buy 2 @ 0
            6 rejected new #5 wrong_phase
            7 rejected new #6 wrong_phase
            8 accepted f#7 sell 9 @ 105
            9 phase    continuous
            9 auction  7 @ 101 surplus 0
            9 trade    b#2 d#4 2 @ 101 none open 1 0
            9 trade    a#1 b#2 1 @ 101 none open 4 0
            9 trade    a#1 c#3 4 @ 101 none open 0 0
            = bids asks 105x9(1)
        "#]],
    );
}

#[test]
fn an_auction_without_surplus_goes_to_the_reference() {
    check(
        "phase auction | a#1 buy 5 @ 202 | b#2 sell 5 @ 198 | phase continuous ref 200",
        expect![[r#"
            1 phase    auction
            2 accepted a#1 buy 5 @ 202
            3 accepted b#2 sell 5 @ 198
            4 phase    continuous
            4 auction  5 @ 200 surplus 0
            4 trade    a#1 b#2 5 @ 200 none open 0 0
        "#]],
    );
}

#[test]
fn an_auction_without_reference_goes_to_the_middle() {
    check(
        "phase auction | a#1 buy 5 @ 202 | b#2 sell 5 @ 198 | phase continuous",
        expect![[r#"
            1 phase    auction
            2 accepted a#1 buy 5 @ 202
            3 accepted b#2 sell 5 @ 198
            4 phase    continuous
            4 auction  5 @ 201 surplus 0
            4 trade    a#1 b#2 5 @ 201 none open 0 0
        "#]],
    );
}

#[test]
fn market_orders_alone_need_a_reference() {
    check(
        "phase auction | a#1 buy 5 market | b#2 sell 5 @ 198 | phase continuous | phase auction | a#3 buy 5 market | phase continuous ref 199",
        expect![[r#"
            1 phase    auction
            2 accepted a#1 buy 5 @ 0
            3 accepted b#2 sell 5 @ 198
            4 phase    continuous
            4 canceled a#1 open 5 filled 0 no_liquidity
            5 phase    auction
            6 accepted a#3 buy 5 @ 0
            7 phase    continuous
            7 auction  5 @ 199 surplus 0
            7 trade    b#2 a#3 5 @ 199 none open 0 0
        "#]],
    );
}

#[test]
fn waiting_market_orders_expire_at_the_close() {
    check(
        "phase auction | a#1 buy 5 market | b#2 sell 5 @ 198 | phase closed",
        expect![[r#"
            1 phase    auction
            2 accepted a#1 buy 5 @ 0
            3 accepted b#2 sell 5 @ 198
            4 phase    closed
            4 expired  a#1 open 5 day
            = bids asks 198x5(1)
        "#]],
    );
}

#[test]
fn an_auction_elects_stops_and_icebergs_trade_whole() {
    check(
        "s#1 buy 2 stop=100 | phase auction | a#2 sell 9 @ 100 iceberg=2 | b#3 buy 6 @ 101 | c#4 sell 5 @ 100 | d#5 buy 2 @ 100 | phase continuous",
        expect![[r#"
            1 accepted s#1 buy 2 @ 0
            2 phase    auction
            3 accepted a#2 sell 9 @ 100
            4 accepted b#3 buy 6 @ 101
            5 accepted c#4 sell 5 @ 100
            6 accepted d#5 buy 2 @ 100
            7 phase    continuous
            7 auction  8 @ 100 surplus -6
            7 trade    a#2 b#3 6 @ 100 none open 3 0
            7 trade    c#4 d#5 2 @ 100 none open 3 0
            7 trigger  s#1 at 100
            7 trade    c#4 s#1 2 @ 100 buy open 1 0
            = bids asks 100x3(2)
        "#]],
    );
}

#[test]
fn a_trade_beyond_the_band_begins_an_auction_that_the_clock_ends() {
    check(
        "list X vi=5/100 ref_price=100 | a#1 sell 2 @ 104 | b#2 sell 3 @ 107 | s#3 buy 1 stop=104 | time 50 | c#4 buy 4 @ 110 | d#5 buy 1 market | e#6 buy 1 @ 107 ioc | time 149 | time 150",
        expect![[r#"
            1 listed   1
            2 accepted a#1 sell 2 @ 104
            3 accepted b#2 sell 3 @ 107
            4 accepted s#3 buy 1 @ 0
            6 accepted c#4 buy 4 @ 110
            6 trade    a#1 c#4 2 @ 104 buy open 0 2
            6 phase    auction until 150
            6 trigger  s#3 at 104
            7 accepted d#5 buy 1 @ 0
            8 rejected new #6 wrong_phase
            10 phase    continuous
            10 auction  3 @ 110 surplus 1
            10 trade    b#2 s#3 1 @ 110 none open 2 0
            10 trade    b#2 d#5 1 @ 110 none open 1 0
            10 trade    b#2 c#4 1 @ 110 none open 0 1
            = bids 110x1(1) asks
        "#]],
    );
}

#[test]
fn an_interruption_counts_from_the_reference_before_the_command() {
    check(
        "list X vi=5/100 ref_price=100 | a#1 sell 1 @ 105 | a#2 sell 1 @ 110 | a#3 sell 1 @ 111 | s#4 buy 1 stop=105 | c#5 buy 1 @ 105 | c#6 buy 1 @ 110 | time 100 | c#7 buy 2 @ 116 | phase continuous ref 90 | b#8 sell 1 @ 95 | b#9 buy 1 @ 95 | b#10 sell 1 @ 84 | b#11 buy 1 @ 84",
        expect![[r#"
            1 listed   1
            2 accepted a#1 sell 1 @ 105
            3 accepted a#2 sell 1 @ 110
            4 accepted a#3 sell 1 @ 111
            5 accepted s#4 buy 1 @ 0
            6 accepted c#5 buy 1 @ 105
            6 trade    a#1 c#5 1 @ 105 buy open 0 0
            6 trigger  s#4 at 105
            6 phase    auction until 100
            7 accepted c#6 buy 1 @ 110
            8 phase    continuous
            8 auction  1 @ 110 surplus 1
            8 trade    a#2 s#4 1 @ 110 none open 0 0
            9 accepted c#7 buy 2 @ 116
            9 trade    a#3 c#7 1 @ 111 buy open 0 1
            10 phase    continuous
            11 accepted b#8 sell 1 @ 95
            11 phase    auction until 200
            12 accepted b#9 buy 1 @ 95
            13 accepted b#10 sell 1 @ 84
            14 accepted b#11 buy 1 @ 84
            = bids 116x1(1) 110x1(1) 95x1(1) 84x1(1) asks 84x1(1) 95x1(1)
        "#]],
    );
}

#[test]
fn tests_on_entry_count_what_lies_inside_the_band() {
    check(
        "list X vi=5/100 ref_price=100 | a#1 sell 2 @ 104 | a#2 sell 3 @ 106 | b#3 buy 3 @ 110 fok | b#4 buy 3 @ 110 min=3 | b#5 buy 3 @ 104 aon | b#6 buy 3 market fok | b#7 buy 3 @ 110 ioc | phase halt | time 500 | phase continuous | b#8 buy 1 @ 110 aon | b#9 buy 1 @ 103",
        expect![[r#"
            1 listed   1
            2 accepted a#1 sell 2 @ 104
            3 accepted a#2 sell 3 @ 106
            4 accepted b#3 buy 3 @ 110
            4 canceled b#3 open 3 filled 0 fok
            5 accepted b#4 buy 3 @ 110
            5 canceled b#4 open 3 filled 0 min_qty
            6 accepted b#5 buy 3 @ 104
            7 accepted b#6 buy 3 @ 0
            7 canceled b#6 open 3 filled 0 fok
            8 accepted b#7 buy 3 @ 110
            8 trade    a#1 b#7 2 @ 104 buy open 0 1
            8 phase    auction until 100
            8 canceled b#7 open 1 filled 2 ioc
            9 phase    halt
            11 phase    continuous
            12 accepted b#8 buy 1 @ 110
            12 trade    a#2 b#8 1 @ 106 buy open 2 0
            13 accepted b#9 buy 1 @ 103
            = bids 104x3(1) 103x1(1) asks 106x2(1)
        "#]],
    );
}

#[test]
fn an_auction_tells_its_outcome_while_it_collects() {
    check(
        "list X indicative=yes | phase auction | a#1 buy 5 @ 102 | b#2 sell 3 @ 99 | b#3 sell 1 @ 120 | c#4 sell 4 market | d#5 buy 9 market | d#5 cancel | c#4 reduce by 3 | a#1 cancel | phase auction ref 100 | b#6 buy 1 market | phase halt | b#2 cancel | phase auction",
        expect![[r#"
            1 listed   1
            2 phase    auction
            3 accepted a#1 buy 5 @ 102
            4 accepted b#2 sell 3 @ 99
            4 indicate 3 @ 102 surplus 2
            5 accepted b#3 sell 1 @ 120
            6 accepted c#4 sell 4 @ 0
            6 indicate 5 @ 99 surplus -2
            7 accepted d#5 buy 9 @ 0
            7 indicate 8 @ 121 surplus 1
            8 canceled d#5 open 9 filled 0 user
            8 indicate 5 @ 99 surplus -2
            9 reduced  c#4 open 1
            9 indicate 4 @ 102 surplus 1
            10 canceled a#1 open 5 filled 0 user
            10 indicate 0
            11 phase    auction
            12 accepted b#6 buy 1 @ 0
            12 indicate 1 @ 98 surplus 0
            13 phase    halt
            14 canceled b#2 open 3 filled 0 user
            15 phase    auction
            15 indicate 1 @ 100 surplus 0
            = bids asks 120x1(1)
        "#]],
    );
}

#[test]
fn mass_quote_replaces_the_earlier_quote_of_each_named_side() {
    check(
        "m quote 1:5@99 2:5@101 | m quote 3:5@98 4:0@101 | m quote - 5:5@102 | m quote 6:5@103 7:5@103 | m quote 8:5@102 -  post",
        expect![[r#"
            1 accepted m#1 buy 5 @ 99
            1 accepted m#2 sell 5 @ 101
            2 canceled m#1 open 5 filled 0 requote
            2 canceled m#2 open 5 filled 0 requote
            2 accepted m#3 buy 5 @ 98
            3 accepted m#5 sell 5 @ 102
            4 rejected mass_quote #0 crossed_quote
            5 canceled m#3 open 5 filled 0 requote
            5 rejected mass_quote #8 post_only
            = bids asks 102x5(1)
        "#]],
    );
}

#[test]
fn a_kept_quote_keeps_its_place() {
    check(
        "m quote 1:5@99 2:5@101 | b#9 buy 5 @ 99 | c#10 sell 1 @ 99 | m quote 3:4@99 4:6@101 keep | m quote 3:5@99 4:6@101 keep | c#11 sell 3 @ 99",
        expect![[r#"
            1 accepted m#1 buy 5 @ 99
            1 accepted m#2 sell 5 @ 101
            2 accepted b#9 buy 5 @ 99
            3 accepted c#10 sell 1 @ 99
            3 trade    m#1 c#10 1 @ 99 sell open 4 0
            4 replaced m#3 (was #1) 4 @ 99 open 4
            4 canceled m#2 open 5 filled 0 requote
            4 accepted m#4 sell 6 @ 101
            5 canceled m#3 open 4 filled 0 requote
            5 replaced m#4 (was #4) 6 @ 101 open 6
            5 accepted m#3 buy 5 @ 99
            6 accepted c#11 sell 3 @ 99
            6 trade    b#9 c#11 3 @ 99 sell open 2 0
            = bids 99x7(2) asks 101x6(1)
        "#]],
    );
}

#[test]
fn sharing_pro_rata() {
    check(
        "list X algo=pro_rata min_alloc=2 | a#1 buy 50 @ 10 | b#2 buy 30 @ 10 | c#3 buy 20 @ 10 | t#9 sell 10 @ 10 ioc | t#8 sell 5 @ 10 ioc | t#7 sell 85 @ 10 ioc",
        expect![[r#"
            1 listed   1
            2 accepted a#1 buy 50 @ 10
            3 accepted b#2 buy 30 @ 10
            4 accepted c#3 buy 20 @ 10
            5 accepted t#9 sell 10 @ 10
            5 trade    a#1 t#9 5 @ 10 sell open 45 5
            5 trade    b#2 t#9 3 @ 10 sell open 27 2
            5 trade    c#3 t#9 2 @ 10 sell open 18 0
            6 accepted t#8 sell 5 @ 10
            6 trade    a#1 t#8 2 @ 10 sell open 43 3
            6 trade    a#1 t#8 3 @ 10 sell open 40 0
            7 accepted t#7 sell 85 @ 10
            7 trade    a#1 t#7 40 @ 10 sell open 0 45
            7 trade    b#2 t#7 27 @ 10 sell open 0 18
            7 trade    c#3 t#7 18 @ 10 sell open 0 0
        "#]],
    );
}

#[test]
fn sharing_with_a_top_order() {
    check(
        "list X algo=top_pro_rata top_max=4 | z#4 buy 1 @ 9 | a#1 buy 10 @ 10 | b#2 buy 30 @ 10 | t#9 sell 10 @ 10 ioc | a#1 replace qty 50 | t#8 sell 10 @ 10 ioc",
        expect![[r#"
            1 listed   1
            2 accepted z#4 buy 1 @ 9
            3 accepted a#1 buy 10 @ 10
            4 accepted b#2 buy 30 @ 10
            5 accepted t#9 sell 10 @ 10
            5 trade    a#1 t#9 4 @ 10 sell open 6 6
            5 trade    a#1 t#9 1 @ 10 sell open 5 5
            5 trade    b#2 t#9 5 @ 10 sell open 25 0
            6 replaced a#1 (was #1) 50 @ 10 open 45
            7 accepted t#8 sell 10 @ 10
            7 trade    a#1 t#8 4 @ 10 sell open 41 6
            7 trade    b#2 t#8 2 @ 10 sell open 23 4
            7 trade    a#1 t#8 3 @ 10 sell open 38 1
            7 trade    b#2 t#8 1 @ 10 sell open 22 0
            = bids 10x60(2) 9x1(1) asks
        "#]],
    );
}

#[test]
fn sharing_split() {
    check(
        "list X algo=split fifo_pct=40 | a#1 buy 10 @ 10 | b#2 buy 30 @ 10 iceberg=5 | t#9 sell 20 @ 10 ioc",
        expect![[r#"
            1 listed   1
            2 accepted a#1 buy 10 @ 10
            3 accepted b#2 buy 30 @ 10
            4 accepted t#9 sell 20 @ 10
            4 trade    a#1 t#9 8 @ 10 sell open 2 12
            4 trade    b#2 t#9 5 @ 10 sell open 25 7
            4 trade    b#2 t#9 5 @ 10 sell open 20 2
            4 trade    b#2 t#9 1 @ 10 sell open 19 1
            4 trade    a#1 t#9 1 @ 10 sell open 1 0
            = bids 10x5(2) asks
        "#]],
    );
}

#[test]
fn all_or_none() {
    check(
        "a#1 buy 30 @ 20 aon | b#2 buy 10 @ 20 | c#3 sell 15 @ 20 | d#4 sell 40 @ 20 aon | e#5 sell 25 @ 19 | f#6 buy 9 @ 21",
        expect![[r#"
            1 accepted a#1 buy 30 @ 20
            2 accepted b#2 buy 10 @ 20
            3 accepted c#3 sell 15 @ 20
            3 trade    b#2 c#3 10 @ 20 sell open 0 5
            4 accepted d#4 sell 40 @ 20
            5 accepted e#5 sell 25 @ 19
            5 trade    e#5 a#1 25 @ 19 buy open 0 5
            5 trade    c#3 a#1 5 @ 20 buy open 0 0
            6 accepted f#6 buy 9 @ 21
            = bids 21x9(1) asks 20x40(1)
        "#]],
    );
}

#[test]
fn ticks_lots_and_bounds() {
    check(
        "list X tick=5 lot=10 min_price=10 max_price=100 min_qty=20 max_qty=50 | a#1 buy 20 @ 12 | a#1 buy 20 @ 5 | a#1 buy 20 @ 105 | a#1 buy 15 @ 10 | a#1 buy 10 @ 10 | a#1 buy 60 @ 10 | a#1 buy 50 @ 10 iceberg=5 | a#1 buy 20 @ 10 | a#1 reduce by 5 | a#1 replace price 11 | a#1 replace qty 25",
        expect![[r#"
            1 listed   1
            2 rejected new #1 bad_price
            3 rejected new #1 bad_price
            4 rejected new #1 bad_price
            5 rejected new #1 bad_qty
            6 rejected new #1 bad_qty
            7 rejected new #1 bad_qty
            8 rejected new #1 bad_qty
            9 accepted a#1 buy 20 @ 10
            10 rejected reduce #1 bad_qty
            11 rejected replace #1 bad_price
            12 rejected replace #1 bad_qty
            = bids 10x20(1) asks
        "#]],
    );
}

#[test]
fn the_first_of_several_faults_counts() {
    check(
        "phase halt | a#1 buy 1 @ 0 ioc post | a#1 buy 1 @ 0 | phase continuous | a#1 sell 1 @ 5 | a#1 buy 0 @ 0 | a#2 buy 0 @ 0 | a#2 buy 0 @ 5 gtd=0 | a#2 buy 1 @ 5 gtd=0 post | a#2 buy 1 @ 5 post",
        expect![[r#"
            1 phase    halt
            2 rejected new #1 bad_field
            3 rejected new #1 halted
            4 phase    continuous
            5 accepted a#1 sell 1 @ 5
            6 rejected new #1 duplicate_id
            7 rejected new #2 bad_price
            8 rejected new #2 bad_qty
            9 rejected new #2 expired
            10 rejected new #2 post_only
            = bids asks 5x1(1)
        "#]],
    );
}

#[test]
fn levels_tell_every_change_once() {
    check_levels(
        "a#1 sell 5 @ 101 | a#2 sell 5 @ 102 | b#3 buy 7 @ 103 | a#2 replace price 101 | a#4 buy 9 @ 90 | a#4 replace price 91 | a#4 replace id 7 | b#8 buy 3 @ 101 | a#9 sell 3 @ 200 iceberg=1",
        expect![[r#"
            1 accepted a#1 sell 5 @ 101
            1 level    sell 101 5 (1)
            2 accepted a#2 sell 5 @ 102
            2 level    sell 102 5 (1)
            3 accepted b#3 buy 7 @ 103
            3 trade    a#1 b#3 5 @ 101 buy open 0 2
            3 trade    a#2 b#3 2 @ 102 buy open 3 0
            3 level    sell 101 0 (0)
            3 level    sell 102 3 (1)
            4 replaced a#2 (was #2) 5 @ 101 open 3
            4 level    sell 101 3 (1)
            4 level    sell 102 0 (0)
            5 accepted a#4 buy 9 @ 90
            5 level    buy 90 9 (1)
            6 replaced a#4 (was #4) 9 @ 91 open 9
            6 level    buy 90 0 (0)
            6 level    buy 91 9 (1)
            7 replaced a#7 (was #4) 9 @ 91 open 9
            8 accepted b#8 buy 3 @ 101
            8 trade    a#2 b#8 3 @ 101 buy open 0 0
            8 level    sell 101 0 (0)
            9 accepted a#9 sell 3 @ 200
            9 level    sell 200 1 (1)
            = bids 91x9(1) asks 200x1(1)
        "#]],
    );
}

#[test]
fn books_do_not_touch_each_other() {
    check_levels(
        "list X | list X | a#1 sell 5 @ 100 | in SIM | b#2 buy 5 @ 100 | b#1 buy 5 @ 100",
        expect![[r#"
            1 listed   1
            2 rejected instrument #0 duplicate_instrument
            3 accepted a#1 sell 5 @ 100
            3 level    sell 100 5 (1)
            5 accepted b#2 buy 5 @ 100
            5 level    buy 100 5 (1)
            6 rejected new #1 duplicate_id
            = bids 100x5(1) asks
            = bids asks 100x5(1)
        "#]],
    );
}

#[test]
fn a_session_has_a_mark_that_only_rises() {
    check(
        "logon s | s/a#5 buy 1 @ 9 | s/a#5 buy 1 @ 9 | s/a#4 cancel 5 | s/a#6 buy 0 @ 9 | s/a#6 buy 1 @ 9 | s/a#7 cancel 5 | logon s | logon t | x/a#1 buy 1 @ 9",
        expect![[r#"
            1 session  1 life 1 last id 0 next message 1
            2 accepted [1:1] a#5 buy 1 @ 9
            3 rejected [1:2] new #5 duplicate_id
            4 rejected [1:3] cancel #5 duplicate_id
            5 rejected [1:4] new #6 bad_qty
            6 rejected [1:5] new #6 duplicate_id
            7 canceled [1:6] a#5 open 1 filled 0 user
            8 session  1 life 2 last id 7 next message 7
            9 session  2 life 1 last id 0 next message 1
            10 rejected [99:0] new #1 unknown_session
        "#]],
    );
}

#[test]
fn a_session_reaches_its_own_orders_only() {
    check(
        "logon s | logon t | s/a#1 buy 1 @ 9 | t/a#1 cancel order 1 | t/a#2 cancel 1 | s/b#2 cancel 1 | s/a#3 replace of 1 qty 2 id 3 | a#0 cancel order 1 | a#0 cancel order 1",
        expect![[r#"
            1 session  1 life 1 last id 0 next message 1
            2 session  2 life 1 last id 0 next message 1
            3 accepted [1:1] a#1 buy 1 @ 9
            4 rejected [2:1] cancel #1 unknown_order
            5 rejected [2:2] cancel #1 unknown_order
            6 rejected [1:2] cancel #1 unknown_order
            7 replaced [1:3] a#3 (was #1) 2 @ 9 open 2
            8 canceled [1:4] a#3 open 2 filled 0 user
            9 rejected cancel #0 unknown_order
        "#]],
    );
}

#[test]
fn no_order_rests_after_its_fence() {
    check(
        "logon s | s/a#1 buy 1 @ 9 | s/a#2 buy 1 @ 8 stay | s/a#3 sell 1 stop=5 | a#4 buy 2 @ 9 | fence s 1 disconnect | s/a#4 buy 1 @ 9 | fence s 1 kill | logon s | fence s 3 kill",
        expect![[r#"
            1 session  1 life 1 last id 0 next message 1
            2 accepted [1:1] a#1 buy 1 @ 9
            3 accepted [1:2] a#2 buy 1 @ 8
            4 accepted [1:3] a#3 sell 1 @ 0
            5 accepted a#4 buy 2 @ 9
            6 canceled [1:4] a#1 open 1 filled 0 disconnect
            6 canceled [1:5] a#3 open 1 filled 0 disconnect
            6 fenced   1 life 2 canceled 2
            7 rejected [1:6] new #4 stale_session
            9 session  1 life 3 last id 3 next message 7
            10 canceled [1:7] a#2 open 1 filled 0 kill
            10 fenced   1 life 4 canceled 1
            = bids 9x2(1) asks
        "#]],
    );
}

#[test]
fn each_party_of_a_trade_gets_its_own_number() {
    check(
        "logon s | logon t | s/a#1 sell 5 @ 10 | t/b#1 buy 2 @ 10 | s/c#2 buy 1 @ 10 | b#7 buy 1 @ 10",
        expect![[r#"
            1 session  1 life 1 last id 0 next message 1
            2 session  2 life 1 last id 0 next message 1
            3 accepted [1:1] a#1 sell 5 @ 10
            4 accepted [2:1] b#1 buy 2 @ 10
            4 trade    [1:2] a#1 [2:2] b#1 2 @ 10 buy open 3 0
            5 accepted [1:3] c#2 buy 1 @ 10
            5 trade    [1:4] a#1 [1:5] c#2 1 @ 10 buy open 2 0
            6 accepted b#7 buy 1 @ 10
            6 trade    [1:6] a#1 b#7 1 @ 10 buy open 1 0
            = bids asks 10x1(1)
        "#]],
    );
}

#[test]
fn a_total_at_or_below_what_was_filled_cancels_whatever_the_bounds_are() {
    check(
        "list X min_qty=5 lot=2 | a#1 sell 8 @ 100 | b#2 buy 6 @ 100 | a#1 replace qty 3 | a#1 replace qty 4 | a#2 sell 6 @ 100 | a#2 replace qty 4 | a#2 replace qty 0",
        expect![[r#"
            1 listed   1
            2 accepted a#1 sell 8 @ 100
            3 accepted b#2 buy 6 @ 100
            3 trade    a#1 b#2 6 @ 100 buy open 2 0
            4 rejected replace #1 bad_qty
            5 canceled a#1 open 2 filled 6 replaced
            6 accepted a#2 sell 6 @ 100
            7 rejected replace #2 bad_qty
            8 canceled a#2 open 6 filled 0 replaced
        "#]],
    );
}

#[test]
fn what_a_session_cannot_do_changes_nothing_but_its_mark() {
    check(
        "logon s | s/a#3 cancel 9 | s/a#2 buy 1 @ 1 | s/a~9#5 buy 1 @ 1 | s/a#5 replace of 9 qty 0 | logon s",
        expect![[r#"
            1 session  1 life 1 last id 0 next message 1
            2 rejected [1:1] cancel #9 unknown_order
            3 rejected [1:2] new #2 duplicate_id
            4 rejected [1:3] new #5 stale_session
            5 rejected [1:4] replace #9 unknown_order
            6 session  1 life 2 last id 5 next message 5
        "#]],
    );
}

#[test]
fn an_all_or_none_order_has_no_part_in_a_shared_level() {
    check(
        "list X algo=pro_rata | a#1 sell 3 @ 95 aon | b#2 sell 8 @ 95 | a#3 buy 3 @ 97 stp=cancel_new | a#4 buy 4 @ 97 fok stp=cancel_new",
        expect![[r#"
            1 listed   1
            2 accepted a#1 sell 3 @ 95
            3 accepted b#2 sell 8 @ 95
            4 accepted a#3 buy 3 @ 97
            4 trade    b#2 a#3 3 @ 95 buy open 5 0
            5 accepted a#4 buy 4 @ 97
            5 trade    b#2 a#4 4 @ 95 buy open 1 0
            = bids asks 95x4(2)
        "#]],
    );
}

#[test]
fn a_shared_level_deals_with_its_own_party_first() {
    check(
        "list X algo=pro_rata | b#1 sell 6 @ 95 | a#2 sell 4 @ 95 | c#3 sell 2 @ 95 | a#4 buy 6 @ 95 fok stp=cancel_new | a#5 buy 6 @ 95 fok stp=decrement | a#6 buy 6 @ 95 stp=cancel_old",
        expect![[r#"
            1 listed   1
            2 accepted b#1 sell 6 @ 95
            3 accepted a#2 sell 4 @ 95
            4 accepted c#3 sell 2 @ 95
            5 accepted a#4 buy 6 @ 95
            5 canceled a#4 open 6 filled 0 fok
            6 accepted a#5 buy 6 @ 95
            6 canceled a#5 open 6 filled 0 fok
            7 accepted a#6 buy 6 @ 95
            7 canceled a#2 open 4 filled 0 stp
            7 trade    b#1 a#6 4 @ 95 buy open 2 2
            7 trade    c#3 a#6 1 @ 95 buy open 1 1
            7 trade    b#1 a#6 1 @ 95 buy open 1 0
            = bids asks 95x2(2)
        "#]],
    );
}

#[test]
fn the_state_hash_knows_what_matters_and_nothing_else() {
    let base = hash_after("a#1 sell 5 @ 100 | b#2 sell 5 @ 100");
    for same in [
        "a#1 sell 5 @ 101 | b#2 sell 5 @ 100 | a#1 replace price 100 | b#2 replace price 99 | b#2 replace price 100",
        "a#1 sell 5 @ 100 | b#2 sell 9 @ 100 | b#2 reduce by 4 | c#3 cancel",
        "a#1 sell 5 @ 100 | b#7 sell 5 @ 100 | b#7 replace id 2",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | phase halt | phase auction | phase continuous",
    ] {
        assert_eq!(hash_after(same), base, "{same}");
    }
    for other in [
        "a#1 sell 5 @ 100",
        "a#1 sell 5 @ 100 | a#2 sell 5 @ 100",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 101",
        "a#1 sell 5 @ 100 | b#2 sell 4 @ 100",
        "a#1 sell 5 @ 100 | b#3 sell 5 @ 100",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 day",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 gtd=7",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 post",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 stp=cancel_old",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 iceberg=2",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 iceberg=3",
        "a#1 sell 5 @ 100 | b#2 sell 5 stop=100",
        "a#1 sell 5 @ 100 | b#2 sell 5 trail=100",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | a#1 replace qty 6 | a#1 replace qty 5",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | a#3 buy 1 market fok budget=0",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | phase halt",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | phase continuous ref 9",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | list X",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | logon s",
        "a#1 sell 5 @ 100 | b#2 sell 5 @ 100 | time 5",
        "a#1 sell 6 @ 100 | b#2 sell 5 @ 100 | c#3 buy 1 @ 100",
    ] {
        assert_ne!(hash_after(other), base, "{other}");
    }
    assert_eq!(
        hash_after("a#1 sell 5 stop=9 | b#2 sell 5 stop=9"),
        hash_after(
            "a#1 sell 5 stop=9 | b#2 sell 5 stop=9 | a#1 replace stop 8 | a#1 replace stop 9"
        ),
        "stops are elected by age, so their place in a queue means nothing"
    );
}

#[test]
fn the_clock_may_reach_its_end() {
    check(
        "a#1 buy 1 @ 9 gtd=18446744073709551615 | time 18446744073709551615 | a#2 buy 1 @ 9 gtd=18446744073709551615 | a#3 buy 1 @ 9",
        expect![[r#"
            1 accepted a#1 buy 1 @ 9
            2 expired  a#1 open 1 gtd
            3 rejected new #2 expired
            4 accepted a#3 buy 1 @ 9
            = bids 9x1(1) asks
        "#]],
    );
}

#[test]
fn quantities_and_prices_at_their_ends() {
    check(
        "list X min_price=-9223372036854775808 | a#1 sell 9223372036854775807 @ 9223372036854775807 | b#2 sell 9223372036854775807 @ 9223372036854775807 | c#3 sell 9223372036854775807 @ 9223372036854775807 | d#4 buy 9223372036854775807 @ 9223372036854775807 fok budget=1 | e#5 buy 1 @ -9223372036854775808 | d#6 buy 9223372036854775807 market | f#7 sell 9223372036854775808 @ 1",
        expect![[r#"
            1 listed   1
            2 accepted a#1 sell 9223372036854775807 @ 9223372036854775807
            3 accepted b#2 sell 9223372036854775807 @ 9223372036854775807
            4 accepted c#3 sell 9223372036854775807 @ 9223372036854775807
            5 accepted d#4 buy 9223372036854775807 @ 9223372036854775807
            5 canceled d#4 open 9223372036854775807 filled 0 fok
            6 accepted e#5 buy 1 @ -9223372036854775808
            7 accepted d#6 buy 9223372036854775807 @ 0
            7 trade    a#1 d#6 9223372036854775807 @ 9223372036854775807 buy open 0 0
            8 rejected new #7 bad_qty
            = bids -9223372036854775808x1(1) asks 9223372036854775807x18446744073709551614(2)
        "#]],
    );
}

#[test]
fn a_mass_quote_tries_all_or_none_orders_again() {
    check(
        "a#1 buy 30 @ 20 aon | b#2 sell 25 @ 19 | a#1 reduce by 5 | m quote 3:5@21 4:5@20 | m quote - 4:5@25",
        expect![[r#"
            1 accepted a#1 buy 30 @ 20
            2 accepted b#2 sell 25 @ 19
            3 reduced  a#1 open 25
            4 rejected mass_quote #0 crossed_quote
            5 accepted m#4 sell 5 @ 25
            5 trade    b#2 a#1 25 @ 19 buy open 0 0
            = bids asks 25x5(1)
        "#]],
    );
}

#[test]
fn an_all_or_none_maker_may_leave_too_little_for_the_level_behind_it() {
    // From a random script: the taker is larger than the orders that share, trades with the
    // all-or-none order first, and is smaller than them afterwards.
    check(
        "list X algo=top_pro_rata | a#1 buy 15 @ 100 aon | c#2 buy 10 @ 100 | b#3 buy 8 @ 100 | b#4 sell 22 @ 99 aon stp=cancel_both | b#5 sell 22 @ 99 fok stp=decrement | b#6 sell 22 @ 99 fok stp=cancel_old",
        expect![[r#"
            1 listed   1
            2 accepted a#1 buy 15 @ 100
            3 accepted c#2 buy 10 @ 100
            4 accepted b#3 buy 8 @ 100
            5 accepted b#4 sell 22 @ 99
            6 accepted b#5 sell 22 @ 99
            6 canceled b#5 open 22 filled 0 fok
            7 accepted b#6 sell 22 @ 99
            7 trade    a#1 b#6 15 @ 100 sell open 0 7
            7 canceled b#3 open 8 filled 0 stp
            7 trade    c#2 b#6 7 @ 100 sell open 3 0
            = bids 100x3(1) asks 99x22(1)
        "#]],
    );
}
