use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

/// What the tests do to a wheel.
#[derive(Clone, Debug)]
enum Step {
    Set(u64),
    Cancel(usize),
    Reset(usize, u64),
    Advance(u64),
    ToNext,
}

fn span() -> impl Strategy<Value = u64> {
    // Every order of magnitude alike, from nanoseconds to years.
    (0_u32..56, any::<u64>()).prop_map(|(bits, value)| value & ((1_u64 << bits) - 1))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => span().prop_map(Step::Set),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => (any::<usize>(), span()).prop_map(|(which, after)| Step::Reset(which, after)),
        2 => span().prop_map(Step::Advance),
        2 => Just(Step::ToNext),
    ]
}

/// Takes all that is due and compares with the sorted list.
fn fire(wheel: &mut Wheel<usize>, list: &mut Vec<(u64, usize, TimerId)>, now: u64) {
    list.sort_by_key(|(at, ..)| *at);
    let split = list.partition_point(|(at, ..)| *at <= now);
    let mut due: Vec<(u64, usize)> = list.drain(..split).map(|(at, token, _)| (at, token)).collect();
    let mut fired = Vec::new();
    while let Some(token) = wheel.pop(Instant::from_nanos(now)) {
        let at = due.iter().find(|(_, other)| *other == token).expect("nothing fires early").0;
        fired.push((at, token));
    }
    assert!(fired.is_sorted_by_key(|(at, _)| *at), "out of order: {fired:?}");
    fired.sort_unstable();
    due.sort_unstable();
    assert_eq!(fired, due);
}

proptest! {
    #[test]
    fn behaves_as_a_sorted_list(steps in proptest::collection::vec(step(), 0..120)) {
        let (mut wheel, mut list, mut now) = (Wheel::new(), Vec::new(), 0_u64);
        for (token, step) in steps.into_iter().enumerate() {
            match step {
                Step::Set(after) => {
                    let at = now + after;
                    list.push((at, token, wheel.set(Instant::from_nanos(at), token)));
                }
                Step::Cancel(which) if !list.is_empty() => {
                    let (.., id) = list.remove(which % list.len());
                    wheel.cancel(id);
                }
                Step::Reset(which, after) if !list.is_empty() => {
                    let which = which % list.len();
                    list[which].0 = now + after;
                    wheel.reset(list[which].2, Instant::from_nanos(now + after));
                    prop_assert_eq!(wheel.deadline(list[which].2), Instant::from_nanos(now + after));
                }
                Step::Advance(by) => {
                    now += by;
                    fire(&mut wheel, &mut list, now);
                }
                Step::ToNext => {
                    if let Some((at, _)) = wheel.next() {
                        now = now.max(at.as_nanos());
                        let before = list.len();
                        fire(&mut wheel, &mut list, now);
                        prop_assert!(list.len() < before, "a wake-up for nothing");
                    }
                }
                Step::Cancel(_) | Step::Reset(..) => {}
            }
            let earliest = list.iter().map(|(at, ..)| Instant::from_nanos(*at)).min();
            prop_assert_eq!(wheel.next().map(|(at, _)| at), earliest);
        }
    }
}

#[test]
fn timers_of_one_deadline_fire_in_the_order_they_were_set() {
    let mut wheel = Wheel::new();
    let at = Instant::from_millis(900);
    for token in 0..1000 {
        wheel.set(at, token);
    }
    let (mut now, mut wakes) = (Instant::ZERO, 0);
    let mut fired = Vec::new();
    while let Some((next, _)) = wheel.next() {
        assert!(next <= at && next > now, "{next} after {now}");
        now = next;
        wakes += 1;
        while let Some(token) = wheel.pop(now) {
            fired.push(token);
        }
    }
    assert!(fired.is_sorted() && fired.len() == 1000);
    assert!(wakes <= LEVELS, "{wakes} wake-ups");
}

#[test]
fn entries_are_reused() {
    let mut wheel = Wheel::new();
    for round in 0..10_000_u64 {
        let id = wheel.set(Instant::from_micros(round * 7 + 100_000), round);
        if round % 3 == 0 {
            wheel.cancel(id);
        }
        while wheel.pop(Instant::from_micros(round * 7)).is_some() {}
    }
    assert!(wheel.entries.len() < 20_000);
}

/// Whoever sleeps until the next deadline gets there in a few steps, however many timers share a slot.
#[test]
fn many_timers_of_one_moment_are_reached_in_few_steps() {
    for at in [1, 1 << 16, (1 << 28) + 40_000, (1 << 40) + (1 << 20) + 40_000] {
        let mut wheel = Wheel::new();
        let first = wheel.set(Instant::ZERO, 0);
        for token in 0..3 * EXACT {
            wheel.set(Instant::from_nanos(at), token);
        }
        // Which one is the earliest is not known any more.
        wheel.cancel(first);
        let (mut steps, mut now) = (0, 0);
        while now < at {
            let (next, _) = wheel.next().unwrap();
            assert!(next.as_nanos() > now && next.as_nanos() <= at, "{next:?} is told at {now}, not {at}");
            now = next.as_nanos();
            assert_eq!(wheel.pop(next).is_some(), now == at, "at {now}");
            steps += 1;
        }
        assert!(steps <= LEVELS, "{steps} steps to {at}");
    }
}

/// Asking again costs nothing, whether the timers are too many to look at or have been looked at.
#[test]
fn the_earliest_of_many_is_looked_for_once() {
    const MANY: u32 = 10_000;
    for ahead in [true, false] {
        let mut wheel = Wheel::new();
        let base = if ahead { 1 << 40 } else { 0 };
        let at = |token: u32| Instant::from_nanos(base + u64::from((token * 7919) % MANY));
        let timers: Vec<_> = (0..MANY).map(|token| wheel.set(at(token), token)).collect();
        assert_eq!(wheel.next(), Some((at(0), 0)));
        wheel.cancel(timers[0]);
        let asked: Vec<_> = (0..100).map(|_| wheel.next().unwrap().0).collect();
        let (told, looks) = if ahead {
            (Instant::from_nanos(base), EXACT as u32)
        } else {
            (Instant::from_nanos(1), MANY - 1)
        };
        assert!(asked.iter().all(|at| *at == told), "{asked:?}");
        assert_eq!(*wheel.looks.get_mut(), looks);
    }
}
