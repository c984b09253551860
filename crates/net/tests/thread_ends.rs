//! Sockets in a thread that is about to end, when what this crate keeps for the thread is gone already.

use sockeye::{HostConfig, Network, TcpStream};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::time::Duration;

/// Says something when the thread ends, and waits until it has arrived.
struct LastWords(TcpStream);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.write_all(b"the last words").unwrap();
        let mut answer = [0; 2];
        self.0.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ok");
    }
}

thread_local! {
    static LAST_WORDS: RefCell<Option<LastWords>> = const { RefCell::new(None) };
}

#[test]
fn what_a_thread_keeps_can_use_its_sockets_to_the_end() {
    let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
    let web = network.host("web").unwrap();
    let listener = web.tcp_listen("web:80").unwrap();
    let thread = std::thread::spawn(move || {
        // First, so that it goes last.
        LAST_WORDS.set(None);
        let stream = web.tcp_connect("web:80").unwrap();
        stream.set_linger(Some(Duration::from_secs(10))).unwrap();
        (&stream).write_all(b"hello, and ").unwrap();
        LAST_WORDS.set(Some(LastWords(stream)));
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut text = [0; 25];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello, and the last words");
    stream.write_all(b"ok").unwrap();
    thread.join().unwrap();
}
