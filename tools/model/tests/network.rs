//! Whole threaded networks, in orders of their threads that shuttle picks: nobody sleeps while there is
//! something for it, and all threads end.

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};
use sockeye_model::{Host, HostConfig, Network};
use std::io::{Read, Write};

/// Runs a model in many orders of its threads, half of them with few changes of thread, which finds rare
/// orders, half at random.
fn check(iterations: usize, model: impl Fn() + Send + Sync + Clone + 'static) {
    let config = || {
        let mut config = Config::new();
        config.stack_size = 256 * 1024;
        config.silence_warnings = true;
        config
    };
    Runner::new(RandomScheduler::new(iterations), config()).run(model.clone());
    Runner::new(PctScheduler::new(3, iterations), config()).run(model);
}

fn hosts() -> (Network, Host, Host) {
    let network = Network::builder()
        .seed(1)
        .host("a", HostConfig::default())
        .host("b", HostConfig::default())
        .build()
        .unwrap();
    let (a, b) = (network.host("a").unwrap(), network.host("b").unwrap());
    (network, a, b)
}

#[test]
fn a_datagram_ends_its_readers_sleep() {
    check(2_000, || {
        let (_network, a, b) = hosts();
        let receiver = b.udp_bind((b.ipv4(), 9)).unwrap();
        let to = receiver.local_addr().unwrap();
        let reader = thread::spawn(move || receiver.recv(&mut [0; 8]).unwrap());
        let sender = a.udp_bind((a.ipv4(), 0)).unwrap();
        assert_eq!(sender.send_to(b"ping", to).unwrap(), 4);
        assert_eq!(reader.join().unwrap(), 4);
    });
}

#[test]
fn a_connection_opens_echoes_and_closes() {
    check(1_000, || {
        let (_network, a, b) = hosts();
        let listener = b.tcp_listen((b.ipv4(), 7)).unwrap();
        let to = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut data = Vec::new();
            stream.read_to_end(&mut data).unwrap();
            stream.write_all(&data).unwrap();
        });
        let mut client = a.tcp_connect(to).unwrap();
        client.write_all(b"ping").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"ping");
        server.join().unwrap();
    });
}
