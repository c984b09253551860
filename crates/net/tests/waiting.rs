//! Blocking calls in a simulation: on its own thread none waits, for nothing would happen meanwhile; other threads'
//! go on when it is turned.

use sockeye::poller::{Events, Interest, Mode, Poller};
use sockeye::{Host, HostConfig, Network, Simulation};
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

/// Longer than any test may take.
const NEVER: Duration = Duration::from_hours(1);

fn two_hosts() -> (Simulation, Host, Host) {
    let builder =
        Network::builder().seed(1).host("a", HostConfig::default()).host("b", HostConfig::default());
    let simulation = builder.simulate().unwrap();
    let (a, b) = (simulation.host("a").unwrap(), simulation.host("b").unwrap());
    (simulation, a, b)
}

fn assert_refused<T: Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("sockeye::tokio"), "{error}");
}

/// A connection, opened by turning the simulation.
fn connection(simulation: &mut Simulation, from: &Host, to: &Host) -> [sockeye::TcpStream; 2] {
    let listener = to.tcp_listen((to, 80)).unwrap();
    assert_refused(listener.accept());
    let connecting = thread::spawn({
        let (from, to) = (from.clone(), to.clone());
        move || from.tcp_connect((&to, 80)).unwrap()
    });
    while !connecting.is_finished() {
        simulation.run_for(Duration::from_millis(1));
    }
    [connecting.join().unwrap(), listener.accept().unwrap().0]
}

#[test]
fn what_would_wait_on_the_simulations_thread_fails_at_once() {
    let (mut simulation, a, b) = two_hosts();
    assert_refused(a.tcp_connect((&b, 80)));
    assert_refused(a.tcp_connect_timeout((&b, 80), NEVER));
    assert_refused(a.tcp_socket_v4().unwrap().connect((&b, 80)));
    let datagrams = a.udp_bind((&a, 7)).unwrap();
    assert_refused(datagrams.recv_from(&mut [0; 8]));
    datagrams.set_read_timeout(Some(NEVER)).unwrap();
    assert_refused(datagrams.peek_from(&mut [0; 8]));
    datagrams.set_nonblocking(true).unwrap();
    assert_eq!(datagrams.recv_from(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);

    let [mut near, mut far] = connection(&mut simulation, &a, &b);
    assert_refused(near.read(&mut [0; 8]));
    // A write takes what there is room for; the next one would have to wait.
    let much = vec![0; 64 << 20];
    let sent = near.write(&much).unwrap();
    assert!((1..much.len()).contains(&sent), "{sent}");
    assert_refused(near.write(&much));
    simulation.run_for(Duration::from_secs(1));
    assert!(far.read(&mut [0; 8]).is_ok(), "what needn't wait is as everywhere");
}

#[test]
fn a_poller_does_not_wait_on_the_simulations_thread() {
    let (mut simulation, a, b) = two_hosts();
    let (socket, poller, mut events) = (a.udp_bind((&a, 7)).unwrap(), Poller::new(), Events::new());
    poller.add(&socket, 1, Interest::READABLE, Mode::Level).unwrap();
    assert_refused(poller.wait(&mut events, None));
    assert_refused(poller.wait(&mut events, Some(NEVER)));
    assert_eq!(poller.wait(&mut events, Some(Duration::ZERO)).unwrap(), 0);
    b.udp_bind((&b, 7)).unwrap().send_to(b"news", (&a, 7)).unwrap();
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(poller.wait(&mut events, None).unwrap(), 1);
}

#[test]
fn another_thread_waits_until_the_simulation_is_turned() {
    let (mut simulation, a, b) = two_hosts();
    let socket = a.udp_bind((&a, 7)).unwrap();
    let waiting = thread::spawn(move || socket.recv(&mut [0; 8]));
    let sender = b.udp_bind((&b, 7)).unwrap();
    sender.send_to(b"news", (&a, 7)).unwrap();
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(waiting.join().unwrap().unwrap(), 4);
}

#[test]
fn another_networks_sockets_may_be_waited_for_in_a_simulation() {
    let (_simulation, ..) = two_hosts();
    let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
    let web = network.host("web").unwrap();
    let socket = web.udp_bind((&web, 7)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[cfg(feature = "simulation")]
#[test]
fn a_blocking_call_fails_the_program_that_makes_it() {
    let (mut simulation, a, b) = two_hosts();
    let program =
        simulation.spawn(&a, async move { sockeye::simulation::current_host()?.tcp_connect((&b, 80)) });
    assert_refused(simulation.block_on(program).unwrap().unwrap());
}
