use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const HOUR_S: f64 = 3_600.0;

fn backlog(items: usize, bytes: u64) -> Backlog<u32> {
    Backlog::new(HOUR_S, Bounds { items, bytes, audits: 4, audit_bytes: 1_000 })
}

fn push(backlog: &mut Backlog<u32>, id: u32, gain: f64, bytes: u64, t_s: f64) -> Vec<Dropped<u32>> {
    let key = backlog.key(gain, bytes, t_s);
    backlog.push(id, bytes, key)
}

fn no_room(id: u32) -> Vec<Dropped<u32>> {
    vec![Dropped { id, why: Why::NoRoom }]
}

#[test]
fn the_most_valuable_leaves_first_and_age_halves_it() {
    let mut queue = backlog(10, 1_000);
    for (id, gain, bytes, hours) in [(0, 0.8, 10, 0.0), (1, 0.3, 10, 1.0), (2, 0.5, 10, 1.0), (3, 0.5, 40, 1.0)] {
        assert_eq!(push(&mut queue, id, gain, bytes, hours * HOUR_S), []);
    }
    let order: Vec<u32> = std::iter::from_fn(|| queue.pop()).map(|(id, _)| id).collect();
    assert_eq!(order, [2, 0, 1, 3], "0.5, 0.8 of an hour ago, 0.3, and 0.5 for four times the bytes");
    assert_eq!(queue.bytes(), (0, 0));
}

#[test]
fn equal_ones_leave_in_the_order_of_their_arrival() {
    let mut queue = backlog(10, 1_000);
    (0..3).for_each(|id| drop(queue.push(id, 1, 0.0)));
    assert_eq!(std::iter::from_fn(|| queue.pop()).map(|(id, _)| id).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn the_least_valuable_goes_when_there_is_no_room() {
    let mut queue = backlog(2, 100);
    push(&mut queue, 0, 0.5, 30, 0.0);
    push(&mut queue, 1, 0.9, 30, 0.0);
    assert_eq!(push(&mut queue, 2, 0.7, 30, 0.0), no_room(0));
    assert_eq!(push(&mut queue, 3, 0.1, 30, 0.0), no_room(3), "the new one itself");
    let gone = push(&mut queue, 4, 9.0, 95, 0.0);
    assert_eq!(gone.iter().map(|gone| gone.id).collect::<Vec<_>>(), [2, 1], "its bytes need the room of both");
    assert_eq!(push(&mut queue, 5, 9.0, 101, 0.0).last(), Some(&Dropped { id: 5, why: Why::NoRoom }));
    assert!(queue.bytes().0 <= 100);
}

#[test]
fn what_is_no_longer_worth_its_price_expires() {
    let mut queue = backlog(10, 1_000);
    push(&mut queue, 0, 0.8, 10, 0.0);
    push(&mut queue, 1, 0.8, 10, 2.0 * HOUR_S);
    queue.push_audit(2, 10, 0.0);
    assert_eq!(queue.expire(2.0 * HOUR_S, 0.019), [], "0.8 / 10 / 4 = 0.02");
    assert_eq!(queue.expire(2.0 * HOUR_S, 0.021), [Dropped { id: 0, why: Why::Expired }]);
    for price in [0.0, f64::NAN, -1.0] {
        assert_eq!(queue.expire(1e9, price), [], "without a price nothing expires");
    }
    assert_eq!(queue.expire(0.0, f64::INFINITY).len(), 1);
    assert_eq!(queue.pop_audit(), Some((2, 10)), "an audit has no price");
}

#[test]
fn audits_keep_their_order_and_are_dropped_by_chance_alone() {
    let mut queue = backlog(10, 1_000);
    (0..4).for_each(|id| assert_eq!(queue.push_audit(id, 10, 0.5), []));
    assert_eq!(queue.push_audit(4, 10, 0.5), no_room(2));
    assert_eq!(queue.push_audit(5, 10, 0.999), no_room(5));
    assert_eq!(queue.push_audit(6, 1_001, 0.0), no_room(6), "too large at all");
    assert_eq!(std::iter::from_fn(|| queue.pop_audit()).map(|(id, _)| id).collect::<Vec<_>>(), [0, 1, 3, 4]);

    let seed = 41;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut gone = [0_u32; 5];
    for _ in 0..10_000 {
        let mut queue = backlog(0, 0);
        for id in 0..5 {
            queue.push_audit(id, 10, dice.random()).iter().for_each(|dropped| gone[dropped.id as usize] += 1);
        }
    }
    assert!(gone.iter().all(|count| count.abs_diff(2_000) < 200), "each as likely as the others: {gone:?}");
}

/// Against a list that is sorted anew every time.
#[test]
fn the_queue_does_what_a_sorted_list_would() {
    for seed in 0..50 {
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        let mut queue = backlog(20, 2_000);
        let mut model: Vec<(f64, u32, u64)> = Vec::new();
        for id in 0..500 {
            if dice.random_bool(0.3) {
                assert_eq!(queue.pop(), model.pop().map(|(_, id, bytes)| (id, bytes)));
                continue;
            }
            let (gain, bytes) = (dice.random::<f64>(), dice.random_range(1..300));
            let t_s = f64::from(id) * 60.0;
            model.push((gain.log2() - (bytes as f64).log2() + t_s / HOUR_S, id, bytes));
            model.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut gone = Vec::new();
            while model.len() > 20 || model.iter().map(|item| item.2).sum::<u64>() > 2_000 {
                gone.push(model.remove(0).1);
            }
            let dropped = push(&mut queue, id, gain, bytes, t_s);
            assert_eq!(dropped.iter().map(|dropped| dropped.id).collect::<Vec<_>>(), gone);
            assert_eq!(queue.bytes().0, model.iter().map(|item| item.2).sum::<u64>());
        }
    }
}

#[test]
fn every_input_has_a_key() {
    let queue = backlog(1, 1);
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300];
    for (gain, t_s) in odd.into_iter().flat_map(|gain| odd.map(|t_s| (gain, t_s))) {
        assert!(queue.key(gain, 0, t_s).is_finite(), "{gain}, {t_s}");
    }
    assert!(Backlog::<u32>::new(f64::NAN, Bounds::default()).key(1.0, 1, 7_200.0) == 2.0);
}

#[test]
fn live_traffic_keeps_its_share_of_calls_and_bytes() {
    let seed = 43;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    for (live_size, old_size) in [(1_000, 1_000), (100, 50_000), (50_000, 100)] {
        let mut share = LiveShare::new(0.8);
        let (mut live, mut old) = ((0_u64, 0_u64), (0_u64, 0_u64));
        for _ in 0..20_000 {
            if share.backlog_may(true) {
                let bytes = dice.random_range(1..=old_size);
                share.backlog_sent(bytes, true);
                old = (old.0 + 1, old.1 + bytes);
            } else {
                let bytes = dice.random_range(1..=live_size);
                share.live_sent(bytes);
                live = (live.0 + 1, live.1 + bytes);
            }
        }
        let parts = [(live.0, old.0, 1), (live.1, old.1, old_size)];
        for (live, old, item) in parts {
            assert!(
                live as f64 >= 0.8 * (live + old - item) as f64,
                "live {live}, backlog {old} of {live_size}/{old_size}"
            );
        }
        assert!(old.0 > 0, "the backlog never starves");
    }
}

#[test]
fn a_free_link_is_the_backlogs() {
    let mut share = LiveShare::new(0.8);
    for _ in 0..1_000 {
        assert!(share.backlog_may(false));
        share.backlog_sent(1_000_000, false);
    }
    assert!(!share.backlog_may(true), "and is given up at once");
    (0..4).for_each(|_| share.live_sent(1_000));
    assert!(share.backlog_may(true), "after four live calls it is the backlog's turn");
    share.backlog_sent(500, true);
    (0..1_000_000).for_each(|_| share.live_sent(1_000_000));
    let mut flood = 0;
    while share.backlog_may(true) {
        share.backlog_sent(1, true);
        flood += 1;
    }
    assert!(flood <= 17, "{flood} calls in a row");
}
