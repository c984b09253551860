use super::*;
use crate::dns::response::tests::{answer_to, asked, soa};

const AT: fn(u64) -> Instant = Instant::from_millis;

fn response(name: &str, addresses: u8, ttl: u32) -> Response {
    let message = answer_to(&asked(name).query(1), addresses, ttl).to_vec().unwrap();
    Response::parse(&message).unwrap()
}

#[test]
fn an_answer_is_known_until_it_ends() {
    let mut cache = Cache::default();
    let key = asked("Example.").key();
    assert!(cache.get(AT(0), &key).is_none());
    cache.insert(AT(5000), key.clone(), response("example.", 1, 10));
    let (known, age) = cache.get(AT(14_999), &asked("eXAMPLE.").key()).unwrap();
    assert_eq!((known.question(), age.as_secs()), (&*asked("example.").question, 9));
    assert!(cache.get(AT(15_000), &key).is_none());
    assert!(cache.get(AT(6000), &asked("example.org.").key()).is_none());
}

#[test]
fn that_there_is_nothing_is_known_as_long_as_the_soa_record_says() {
    let mut cache = Cache::default();
    let mut message = answer_to(&asked("example.").query(1), 0, 0);
    message.add_authority(soa(100, 7));
    let key = asked("example.").key();
    cache.insert(AT(0), key.clone(), Response::parse(&message.to_vec().unwrap()).unwrap());
    assert!(cache.get(AT(6999), &key).is_some() && cache.get(AT(7000), &key).is_none());
}

#[test]
fn a_new_answer_takes_the_place_of_the_former_one() {
    let mut cache = Cache::default();
    let key = asked("example.").key();
    cache.insert(AT(0), key.clone(), response("example.", 3, 100));
    cache.insert(AT(0), key.clone(), response("example.", 1, 50));
    assert_eq!((cache.entries.len(), cache.by_end.len()), (1, 1));
    assert!(cache.get(AT(60_000), &key).is_none());
    // One that may not be kept leaves nothing behind.
    cache.insert(AT(0), key, response("example.", 1, 0));
    assert_eq!((cache.entries.len(), cache.by_end.len(), cache.bytes), (0, 0, 0));
}

#[test]
fn what_ends_soonest_makes_room() {
    let mut cache = Cache::default();
    for number in 0..ENTRIES_MAX + 10 {
        let name = format!("n{number}.example.");
        // The first ones live longest, but for one.
        let ttl = if number == 3 { 1 } else { 3000 - number as u32 };
        cache.insert(AT(0), asked(&name).key(), response(&name, 1, ttl));
    }
    assert_eq!(cache.entries.len(), ENTRIES_MAX);
    let knows = |name: &str| cache.get(AT(0), &asked(name).key()).is_some();
    assert!(knows("n0.example.") && knows("n9.example.") && !knows("n3.example."));
    assert!(!knows(&format!("n{}.example.", ENTRIES_MAX + 9)));
}

#[test]
fn bytes_are_bounded() {
    let mut cache = Cache::default();
    for number in 0..1500 {
        let name = format!("n{number}.example.");
        cache.insert(AT(0), asked(&name).key(), response(&name, 250, 1 + number));
        assert!(cache.bytes <= BYTES_MAX);
    }
    assert!(cache.entries.len() < ENTRIES_MAX && cache.entries.len() == cache.by_end.len());
    assert!(cache.get(AT(0), &asked("n1499.example.").key()).is_some());
    cache.clear();
    assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
}
