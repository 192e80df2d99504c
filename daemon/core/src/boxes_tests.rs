use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::*;

const fn of(class: usize, x: f32, y: f32, w: f32, h: f32) -> Found {
    Found { class, score: 0.9, x, y, w, h }
}

const A: Found = of(0, 10.0, 10.0, 20.0, 10.0);

fn agree(ours: &[Found], theirs: &[Found]) -> bool {
    same(ours, theirs, 0.5, &Listed::ALL)
}

#[test]
fn the_overlap_is_that_of_the_textbook() {
    assert_eq!(A.iou(&A), 1.0);
    // Half of each: 100 / (200 + 200 - 100).
    assert!((A.iou(&of(0, 20.0, 10.0, 20.0, 10.0)) - 1.0 / 3.0).abs() < 1e-12);
    // A quarter inside of it.
    assert_eq!(A.iou(&of(0, 15.0, 12.0, 10.0, 5.0)), 0.25);
    assert_eq!(A.iou(&of(0, 30.0, 10.0, 20.0, 10.0)), 0.0, "side by side");
    assert_eq!(A.iou(&of(0, -500.0, 10.0, 20.0, 10.0)), 0.0);
    let far = of(0, 1e30, -1e30, 1.0, 1.0);
    assert_eq!(far.iou(&far), 1.0, "far from the origin a box is still itself");
}

#[test]
fn one_missed_or_spurious_box_makes_two_answers_differ() {
    let b = of(1, 100.0, 10.0, 20.0, 10.0);
    let near = of(0, 11.0, 10.0, 20.0, 10.0);
    assert!(agree(&[], &[]));
    assert!(agree(&[A, b], &[b, near]), "in any order");
    assert!(!agree(&[A], &[]) && !agree(&[], &[A]));
    assert!(!agree(&[A, b], &[A]) && !agree(&[A], &[A, b]));
    assert!(!agree(&[A], &[of(1, 10.0, 10.0, 20.0, 10.0)]), "another class");
    assert!(!agree(&[A], &[of(0, 20.0, 10.0, 20.0, 10.0)]), "an IoU of a third");
    assert!(!agree(&[A, A], &[A, b]), "one box is no counterpart of two");
    assert!(agree(&[A, A], &[A, near]));
}

#[test]
fn only_listed_classes_count() {
    let (other, listed) = (of(7, 0.0, 0.0, 5.0, 5.0), Listed::of([0, 3]));
    assert!(same(&[A, other], &[A], 0.5, &listed) && same(&[other], &[], 0.5, &listed));
    assert!(!same(&[A], &[other], 0.5, &listed));
    assert!(listed.contains(3) && !listed.contains(1) && !listed.contains(255));
    assert!(listed.contains(256) && listed.contains(usize::MAX), "what cannot be listed always counts");
    assert!(Listed::ALL.contains(0) && Listed::ALL.contains(255));
    assert_eq!(Listed::of([3, 0, 900]), listed);
}

#[test]
fn what_cannot_be_compared_is_never_the_same() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
        for broken in [Found { w: odd, ..A }, Found { h: odd, ..A }, Found { score: odd, ..A }] {
            assert!(!broken.is_sound() && !agree(&[broken], &[broken]), "{broken:?}");
        }
    }
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for broken in [Found { x: odd, ..A }, Found { y: odd, ..A }] {
            assert!(!broken.is_sound() && !agree(&[broken], &[broken]) && broken.iou(&A) == 0.0, "{broken:?}");
        }
    }
    let flat = Found { h: 0.0, ..A };
    assert!(flat.is_sound() && !agree(&[flat], &[flat]), "without an area");
    for iou in [0.0, -0.5, 1.01, f64::NAN, f64::INFINITY] {
        assert!(!same(&[A], &[A], iou, &Listed::ALL) && !same(&[], &[], iou, &Listed::ALL), "{iou}");
    }
    let crowd: Vec<Found> = (0..=limits::BOXES).map(|at| Found { x: at as f32 * 100.0, ..A }).collect();
    assert!(agree(&crowd[1..], &crowd[1..]) && !agree(&crowd, &crowd));
}

fn any(dice: &mut StdRng) -> Found {
    let odd =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, -3.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45];
    let mut number = |usual: f32| match dice.random_range(0..40) {
        at if at < odd.len() => odd[at],
        _ => usual * dice.random_range(0.0..1.0_f32),
    };
    let (score, x, y, w, h) = (number(1.0), number(50.0), number(50.0), number(20.0), number(20.0));
    Found { class: *[0, 1, 255, 256, usize::MAX].get(dice.random_range(0..5)).unwrap(), score, x, y, w, h }
}

/// Whatever the numbers: no panic, an IoU between 0 and 1, the same in both directions, as is the agreement.
#[test]
fn whatever_the_boxes_there_is_an_answer_and_the_order_does_not_matter() {
    let seed = 17;
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut agreed = 0;
    for _ in 0..20_000 {
        let ours: Vec<Found> = (0..dice.random_range(0..6)).map(|_| any(&mut dice)).collect();
        let mut theirs = ours.clone();
        theirs.shuffle(&mut dice);
        for found in &mut theirs {
            found.x += dice.random_range(-1.0..1.0);
        }
        if dice.random_bool(0.2) {
            theirs.push(any(&mut dice));
        }
        for (a, b) in ours.iter().zip(&theirs) {
            let iou = a.iou(b);
            assert!((0.0..=1.0).contains(&iou) && iou.to_bits() == b.iou(a).to_bits(), "{a:?} {b:?}");
        }
        let (iou, listed) = (dice.random_range(0.05..1.0), Listed::of([0, 255]));
        for listed in [listed, Listed::ALL] {
            let found = same(&ours, &theirs, iou, &listed);
            assert_eq!(found, same(&theirs, &ours, iou, &listed), "{ours:?} {theirs:?}");
            agreed += u32::from(found && !ours.is_empty());
        }
        let fine: Vec<Found> = ours.iter().copied().filter(|a| a.is_sound() && a.w > 0.0 && a.h > 0.0).collect();
        assert!(same(&fine, &fine, 1.0, &Listed::ALL), "{fine:?} agrees with itself");
    }
    assert!(agreed > 1_000, "{agreed}: too few to say anything");
}
