//! TCP out of the network.

use super::*;

/// What a host's socket receives before its connection is broken, and by what.
fn until_error(rig: &mut Rig, id: SocketId) -> (Error, Vec<u8>) {
    let mut got = Vec::new();
    loop {
        match rig.received(id) {
            Ok(data) if data.is_empty() => panic!("an end of file instead of a reset"),
            Ok(data) => got.extend(data),
            Err(error) => return (error, got),
        }
    }
}

#[test]
fn an_echo_comes_back_over_both_families() {
    for v4 in [true, false] {
        let mut rig = Rig::new();
        let (id, mut stream) = rig.through(v4);
        assert_eq!(rig.send(id, b"hello"), Ok(5));
        assert_eq!(rig.read(&mut stream).unwrap(), b"hello");
        stream.write_all(b"hello yourself").unwrap();
        assert_eq!(rig.received(id).unwrap(), b"hello yourself");
        assert_eq!(rig.gateway.flow_count(), 1);
        drop(stream);
        assert_eq!(rig.received(id).unwrap(), b"");
        rig.on_host(|stack, now| stack.close(now, id)).unwrap();
        rig.until_idle();
    }
}

#[test]
fn eight_mebibytes_cross_each_way_at_once() {
    let mut rig = Rig::new();
    let (id, stream) = rig.through(true);
    stream.set_nonblocking(false).unwrap();
    let data = pattern(8 << 20);
    let machine = {
        let mut reading = stream.try_clone().unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            reading.read_to_end(&mut got).unwrap();
            got
        });
        let (mut writing, data) = (stream, data.clone());
        std::thread::spawn(move || {
            writing.write_all(&data).unwrap();
            writing.shutdown(std::net::Shutdown::Write).unwrap();
            reader.join().unwrap()
        })
    };
    let mut unsent: VecDeque<Chunk> = data.chunks(100_000).map(Chunk::copy_from).collect();
    let (mut got, mut ended, mut shut) = (Vec::new(), false, false);
    rig.until("the transfer", |rig| {
        if !unsent.is_empty() {
            let _ = rig.on_host(|stack, now| stack.send(now, id, &mut unsent, SendFlags::default()));
        } else if !shut {
            shut = true;
            rig.on_host(|stack, now| stack.shutdown(now, id, Shutdown::Write)).unwrap();
        }
        match rig.recv(id) {
            Ok(more) if more.is_empty() => ended = true,
            Ok(more) => got.extend(more),
            Err(error) => assert_eq!(error, Error::WouldBlock),
        }
        (ended && shut).then_some(())
    });
    assert!(got == data, "what came in differs");
    rig.until("the machine's end", |_| machine.is_finished().then_some(()));
    assert!(machine.join().unwrap() == data, "what went out differs");
    rig.on_host(|stack, now| stack.close(now, id)).unwrap();
    rig.until_idle();
}

#[test]
fn a_refusal_is_a_refusal() {
    for v4 in [true, false] {
        let mut rig = Rig::new();
        let unused = TcpListener::bind(loopback(v4)).unwrap().local_addr().unwrap();
        let to = rig.outside(unused);
        let id = rig.connect(SocketType::Stream, to);
        assert_eq!(rig.connected(id, to), Err(Error::ConnectionRefused));
        rig.until_idle();
    }
}

#[test]
fn each_side_may_end_its_half_first() {
    let mut rig = Rig::new();
    let (id, mut stream) = rig.through(true);
    rig.send(id, b"request").unwrap();
    rig.on_host(|stack, now| stack.shutdown(now, id, Shutdown::Write)).unwrap();
    assert_eq!(rig.read(&mut stream).unwrap(), b"request");
    assert_eq!(rig.read(&mut stream).unwrap(), b"");
    stream.write_all(b"answer").unwrap();
    assert_eq!(rig.received(id).unwrap(), b"answer");
    drop(stream);
    assert_eq!(rig.received(id).unwrap(), b"");
    rig.until_idle();

    let (id, mut stream) = rig.through(false);
    stream.write_all(b"greeting").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rig.received(id).unwrap(), b"greeting");
    assert_eq!(rig.received(id).unwrap(), b"");
    rig.send(id, b"still here").unwrap();
    assert_eq!(rig.read(&mut stream).unwrap(), b"still here");
    rig.on_host(|stack, now| stack.close(now, id)).unwrap();
    assert_eq!(rig.read(&mut stream).unwrap(), b"");
    rig.until_idle();
}

#[test]
fn a_reset_passes_after_the_bytes_before_it() {
    let mut rig = Rig::new();
    // Of the machine: closed with a linger time of zero.
    let (id, mut stream) = rig.through(true);
    stream.write_all(&pattern(300_000)).unwrap();
    rig.until("the bytes", |rig| {
        let queued = rig.on_host(|stack, _| stack.recv_queued(id));
        (queued > 0).then_some(())
    });
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    let (error, got) = until_error(&mut rig, id);
    assert_eq!(error, Error::ConnectionReset);
    assert_eq!(got, pattern(300_000)[..got.len()]);
    assert!(got.len() >= 65_536, "{} bytes", got.len());
    rig.until_idle();
    // Of the program.
    let (id, mut stream) = rig.through(true);
    rig.send(id, &pattern(50_000)).unwrap();
    rig.until("the bytes' way out", |rig| rig.on_host(|stack, _| stack.send_queued(id) == 0).then_some(()));
    rig.on_host(|stack, now| stack.abort(now, id)).unwrap();
    let mut got = Vec::new();
    let error = loop {
        match rig.read(&mut stream) {
            Ok(data) if data.is_empty() => panic!("an end of file instead of a reset"),
            Ok(data) => got.extend(data),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), got), (io::ErrorKind::ConnectionReset, pattern(50_000)));
    rig.until_idle();
}

#[test]
fn a_reader_that_is_slow_holds_up_its_writer_only() {
    let mut rig = Rig::new();
    let (slow, stream) = rig.through(true);
    let (quick, mut other) = rig.through(true);
    let data = pattern(1 << 20);
    let mut sent = 0;
    // The machine doesn't read: all buffers fill, and then nothing moves any more.
    let mut quiet = 0;
    rig.until("full buffers", |rig| {
        match rig.send(slow, &data) {
            Ok(more) => (sent, quiet) = (sent + more, 0),
            Err(error) => {
                assert_eq!(error, Error::WouldBlock);
                quiet += 1;
            }
        }
        (quiet > 100).then_some(())
    });
    assert!(sent < 64 << 20, "{sent} bytes found room");
    assert!(rig.gateway.tasks.unfinished() == 0, "nothing to do until somebody reads");
    rig.send(quick, b"quick").unwrap();
    assert_eq!(rig.read(&mut other).unwrap(), b"quick");
    drop(stream);
    assert!(matches!(
        rig.until("the failure", |rig| rig.send(slow, b"x").err().filter(|e| *e != Error::WouldBlock)),
        Error::ConnectionReset | Error::BrokenPipe
    ));
}

#[test]
fn two_hundred_connections_at_once_all_get_their_own_answer() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = rig.outside(listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let workers: Vec<_> = (0..200)
            .map(|_| {
                let (mut stream, _) = listener.accept().unwrap();
                std::thread::spawn(move || {
                    let mut data = Vec::new();
                    stream.read_to_end(&mut data).unwrap();
                    stream.write_all(&data).unwrap();
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let mut clients: Vec<(SocketId, Vec<u8>, bool, Vec<u8>)> = (0..200_usize)
        .map(|number| (rig.connect(SocketType::Stream, to), pattern(1000 + 37 * number), false, Vec::new()))
        .collect();
    rig.until("all answers", |rig| {
        let mut done = 0;
        for (id, data, sent, got) in &mut clients {
            if !*sent && rig.send(*id, data).is_ok() {
                *sent = true;
                rig.on_host(|stack, now| stack.shutdown(now, *id, Shutdown::Write)).unwrap();
            }
            match rig.recv(*id) {
                Ok(more) if more.is_empty() && *sent => done += 1,
                Ok(more) => got.extend(more),
                Err(error) => assert_eq!(error, Error::WouldBlock),
            }
        }
        (done == 200).then_some(())
    });
    for (id, data, _, got) in clients {
        assert!(got == data);
        rig.on_host(|stack, now| stack.close(now, id)).unwrap();
    }
    server.join().unwrap();
    rig.until_idle();
}

#[test]
fn a_failure_behind_an_end_of_file_passes_too() {
    let mut rig = Rig::new();
    // The machine has ended its half, and then resets.
    let (id, stream) = rig.through(true);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rig.received(id).unwrap(), b"");
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    rig.until("the reset", |rig| rig.send(id, b"?").err().filter(|error| *error != Error::WouldBlock));
    rig.until_idle();
    // The program has, and is gone before it has read all.
    let (id, mut stream) = rig.through(true);
    rig.on_host(|stack, now| stack.shutdown(now, id, Shutdown::Write)).unwrap();
    assert_eq!(rig.read(&mut stream).unwrap(), b"");
    rig.on_host(|stack, now| stack.abort(now, id)).unwrap();
    rig.until("the reset", |_| stream.write_all(b"?").err());
    rig.until_idle();
}

#[test]
fn all_bytes_arrive_before_a_reset_however_slow_the_link() {
    let mut rig = Rig::new();
    let (id, mut stream) = rig.through(true);
    let slow: sockeye::NetemConfig = "delay 30ms rate 20mbit".parse().unwrap();
    rig.world.network().set_link(&rig.host, sockeye::Direction::Down, slow);
    let data = pattern(200_000);
    let mut sent = 0;
    rig.until("writing", |_| {
        sent += stream.write(&data[sent..]).unwrap_or(0);
        let all = sent == data.len();
        // What the gateway's kernel has acknowledged is no more the sender's to discard.
        (all && unacknowledged(&stream) == 0).then_some(())
    });
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    let (error, got) = until_error(&mut rig, id);
    assert_eq!((error, got.len()), (Error::ConnectionReset, data.len()));
    assert!(got == data);
    rig.until_idle();
}

/// Bytes that a stream has sent and its peer has not acknowledged.
fn unacknowledged(stream: &TcpStream) -> usize {
    crate::sys::unread_by_peer(stream).unwrap()
}

/// Bytes into a stream of the host until nothing moves any more.
fn fill_outward(rig: &mut Rig, id: SocketId) {
    let data = pattern(1 << 20);
    let mut quiet = 0;
    rig.until("full buffers", |rig| {
        quiet = if rig.send(id, &data).is_ok() { 0 } else { quiet + 1 };
        (quiet > 50).then_some(())
    });
}

#[test]
fn a_failure_passes_also_to_a_side_that_takes_nothing() {
    let mut rig = Rig::new();
    // The program is gone, the machine doesn't read.
    let (id, mut stream) = rig.through(true);
    fill_outward(&mut rig, id);
    rig.on_host(|stack, now| stack.abort(now, id)).unwrap();
    rig.until("the failure", |rig| {
        rig.gateway
            .tasks
            .iter()
            .any(|(_, task)| matches!(task, Task::Relay(Relay { last: Some(_), .. })))
            .then_some(())
    });
    assert!(rig.gateway.owes_the_machine(&rig.world));
    rig.skipped += Duration::from_secs(6);
    rig.until_idle();
    let error = rig.until("the reset", |_| match stream.read(&mut [0; 16384]) {
        Ok(0) => panic!("an end of file instead of a reset"),
        Ok(_) => None,
        Err(error) => Some(error),
    });
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    // The machine is gone, the program doesn't read.
    let (id, mut stream) = rig.through(true);
    let (data, mut quiet) = (pattern(1 << 20), 0);
    rig.until("full buffers", |_| {
        quiet = if stream.write(&data).is_ok() { 0 } else { quiet + 1 };
        (quiet > 50).then_some(())
    });
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    rig.turn();
    rig.turn();
    rig.skipped += Duration::from_secs(6);
    rig.until_idle();
    let error = rig.until("the reset", |rig| match rig.recv(id) {
        Ok(data) => (data.is_empty()).then(|| panic!("an end of file instead of a reset")),
        Err(error) => Some(error),
    });
    assert_eq!(error, Error::ConnectionReset);
}

#[test]
fn what_breaks_off_with_the_process_is_a_reset_and_what_was_complete_is_not() {
    let mut rig = Rig::new();
    let (id, mut broken) = rig.through(true);
    rig.send(id, b"half of").unwrap();
    assert_eq!(rig.read(&mut broken).unwrap(), b"half of");
    let (id, mut complete) = rig.through(true);
    let data = pattern(100_000);
    let sent = rig.send(id, &data).unwrap();
    rig.on_host(|stack, now| stack.shutdown(now, id, Shutdown::Write)).unwrap();
    rig.until("the end's way out", |rig| {
        let ended = |task: &Task| matches!(task, Task::Relay(relay) if relay.stack_ended);
        rig.gateway.tasks.iter().any(|(_, task)| ended(task)).then_some(())
    });
    drop(rig);
    broken.set_nonblocking(false).unwrap();
    assert_eq!(broken.read(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    complete.set_nonblocking(false).unwrap();
    let mut got = Vec::new();
    complete.read_to_end(&mut got).unwrap();
    assert!(got == data[..sent]);
}

#[test]
fn a_vanished_client_frees_its_place() {
    let mut rig = Rig::new();
    let (id, mut stream) = rig.through(true);
    rig.on_host(|stack, now| stack.shutdown(now, id, Shutdown::Write)).unwrap();
    assert_eq!(rig.read(&mut stream).unwrap(), b"");
    // The server never closes, and from now on nothing comes from the host.
    let gateway = rig.world.network().gateway();
    rig.world.network().partition(&rig.host, &gateway);
    for _ in 0..20 {
        rig.skipped += Duration::from_secs(15);
        rig.turn();
    }
    rig.until_idle();
}
