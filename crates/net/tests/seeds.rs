//! `simulate`: which seeds are played, and what becomes of one that fails.

use sockeye::packet::Rng;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

#[test]
fn every_seed_is_played_with_numbers_of_its_own() {
    let drawn = RefCell::new(Vec::new());
    for _ in 0..2 {
        sockeye::simulate(3..6, |sim| drawn.borrow_mut().push(sim.rng().next_u64()));
    }
    let drawn = drawn.into_inner();
    assert_eq!(drawn[..3], drawn[3..]);
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2]);
}

#[test]
fn a_seed_that_fails_is_captured_and_its_panic_passed_on() {
    let path = std::env::temp_dir()
        .join("sockeye-a-seed-that-fails-is-captured-and-its-panic-passed-on-seed-4.pcapng");
    drop(std::fs::remove_file(&path));
    let wanted = RefCell::new(Vec::new());
    sockeye::simulate([4], |sim| wanted.borrow_mut().push(sim.rng()));
    let wanted = wanted.into_inner().pop().map(|mut rng: Rng| rng.next_u64());
    let played = RefCell::new(0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        sockeye::simulate(0..9, |sim| {
            *played.borrow_mut() += 1;
            assert!(Some(sim.rng().next_u64()) != wanted, "the unlucky number");
        });
    }));
    let message = *result.unwrap_err().downcast::<&str>().unwrap();
    assert_eq!(message, "the unlucky number");
    assert_eq!(played.into_inner(), 6, "five seeds, and the last once more");
    let capture = std::fs::read(&path).unwrap();
    assert_eq!(capture[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a section header of pcapng");
    std::fs::remove_file(path).unwrap();
}

#[test]
#[should_panic(expected = "seed 2 failed: not today")]
fn an_error_fails_its_seed() {
    sockeye::simulate([2], |_| Err::<(), _>("not today"));
}

#[test]
fn an_error_is_one_of_the_place_that_called() {
    let this = std::thread::current().id();
    let place = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&place);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == this {
            *noted.lock().unwrap() = info.location().map(|place| (place.file().to_owned(), place.line()));
        }
        before(info);
    }));
    let line = line!() + 1;
    let result = catch_unwind(|| sockeye::simulate([1], |_| Err::<(), _>("here")));
    drop(std::panic::take_hook());
    assert!(result.is_err());
    assert_eq!(place.lock().unwrap().take(), Some((file!().to_owned(), line)));
}
