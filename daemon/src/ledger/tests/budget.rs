//! What the next process learns of the budget.

use picket_core::{
    escalation::budget::{Budget, Cost, Limits},
    time::Moment,
};

use super::*;
use crate::ledger::{line::Booked, open::last_budget};

/// A budget after so many calls of three nanos.
fn booked(calls: u64) -> Booked {
    let mut budget = Budget::new(Limits::NONE, Moment::ZERO, None);
    for _ in 0..calls {
        let cost = Cost { money: Money::from_nanos(3), bytes: 1 };
        let _reserved_for_ever = budget.reserve(cost).unwrap();
    }
    Booked { spent: budget.spent(Moment::ZERO), boot: "00".repeat(16), up_us: calls }
}

fn call(book: &mut Book, calls: u64) {
    write(book, What::Leaves(Box::new(Leaving { budget: Some(booked(calls)), ..leaving(calls) })));
}

#[test]
fn the_last_line_knows_of_every_call_in_whatever_order_they_came() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(last_budget(folder.path()), Ok(None));
    let mut book = book(folder.path());
    for calls in [1, 3, 2] {
        call(&mut book, calls);
    }
    write(&mut book, What::Settled(settled(3)));
    let last = last_budget(folder.path()).unwrap().unwrap();
    assert_eq!(last, booked(3));
    assert_eq!(last.spent.money, Money::from_nanos(9));
}

#[test]
fn a_damaged_ledger_does_not_say_what_was_spent_and_neither_does_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    call(&mut book(folder.path()), 1);
    let text = fs::read_to_string(current(folder.path())).unwrap().replacen("press-4", "press-5", 1);
    fs::write(current(folder.path()), text).unwrap();
    assert!(last_budget(folder.path()).is_err());
    let mut next = book(folder.path());
    next.open().unwrap();
    assert!(last_budget(folder.path()).is_err(), "the chain begins anew, and the period does not");
    call(&mut next, 5);
    assert_eq!(last_budget(folder.path()), Ok(Some(booked(5))));
}
