//! Streams that go over from the kernel's socket to shared memory, at whatever moment.

use crate::carrier::Carrier;
use crate::rendezvous::{File, socket};
use crate::sys::Mapping;
use crate::watch::{Ready, Watched};
use crate::young::Young;
use crate::{Ancillary, LocalListener, LocalStream, SMALLEST_RING};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, SocketFlags, SocketType};
use rustix::time::ClockId;
use std::io::{BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

fn connected() -> (LocalListener, LocalStream, LocalStream) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let client = LocalStream::connect(&path).unwrap();
    let (server, _) = listener.accept().unwrap();
    assert!(!client.is_shared_memory() && !server.is_shared_memory());
    (listener, client, server)
}

fn young(stream: &LocalStream) -> &Young {
    let Carrier::Young(young) = stream.carrier() else { panic!("it isn't") };
    young
}

/// A byte goes there and back so often.
fn play(client: &mut LocalStream, server: &mut LocalStream, times: usize) {
    for _ in 0..times {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        server.write_all(b"y").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_stream_goes_over_once_that_pays_and_has_no_memory_before() {
    let (_listener, mut client, mut server) = connected();
    play(&mut client, &mut server, 4);
    assert!(!client.is_shared_memory() && !server.is_shared_memory());
    play(&mut client, &mut server, 20);
    assert!(client.is_shared_memory() && server.is_shared_memory());
    play(&mut client, &mut server, 100);
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(client.write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_stream_goes_over_when_its_listener_is_gone() {
    let (listener, mut client, mut server) = connected();
    drop(listener);
    play(&mut client, &mut server, 40);
    assert!(client.is_shared_memory() && server.is_shared_memory());
}

#[test]
fn a_plain_server_is_met_as_a_plain_client_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(LocalListener::bind(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = LocalStream::connect(&path).unwrap();
    let (mut server, name) = listener.accept().unwrap();
    assert!(name.is_unnamed());
    for _ in 0..50 {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    assert!(!client.is_shared_memory());
}

#[test]
fn what_is_half_shut_stays() {
    let (_listener, mut client, mut server) = connected();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut question = String::new();
    server.read_to_string(&mut question).unwrap();
    let answer = vec![7; 300_000];
    let writing = {
        let answer = answer.clone();
        thread::spawn(move || server.write_all(&answer).unwrap())
    };
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    writing.join().unwrap();
    assert!(heard == answer && question == "question" && !client.is_shared_memory());
}

/// Both may have half gone over.
#[test]
fn a_shutdown_at_any_moment_is_told() {
    for calls in 0..40 {
        for how in [Shutdown::Write, Shutdown::Read, Shutdown::Both] {
            let (_listener, mut client, mut server) = connected();
            for _ in 0..calls {
                client.write_all(b"x").unwrap();
                server.read_exact(&mut [0]).unwrap();
            }
            server.write_all(b"last").unwrap();
            server.shutdown(how).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            if how == Shutdown::Read {
                let broken = (0..2).find_map(|_| client.write(b"x").err());
                assert_eq!(broken.unwrap().kind(), ErrorKind::BrokenPipe, "{calls}");
                assert_eq!(server.read(&mut [0]).unwrap(), 0);
                assert_eq!(client.read(&mut [0; 8]).unwrap(), 4);
            } else {
                let mut heard = Vec::new();
                client.read_to_end(&mut heard).unwrap();
                assert_eq!(heard, b"last", "{calls} {how:?}");
            }
        }
    }
}

/// A thread that waits at the socket when the ring's turn comes.
#[test]
fn who_waits_is_woken_by_what_comes_by_the_ring() {
    let (_listener, mut client, mut server) = connected();
    let waiting = client.try_clone().unwrap();
    let waiting = thread::spawn(move || {
        let mut heard = [0; 3];
        (&waiting).read_exact(&mut heard).map(|()| heard)
    });
    for _ in 0..40 {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    assert!(young(&client).end().is_some() && young(&server).end().is_some());
    server.write_all(b"end").unwrap();
    assert_eq!(&waiting.join().unwrap().unwrap(), b"end");
}

#[test]
fn a_peer_that_says_nonsense_of_where_the_ring_begins_is_left() {
    for (begun, is_over) in [(1, true), (6, false), (u64::MAX, false)] {
        let (_listener, mut client, mut server) = connected();
        server.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        client.write_all(&[1; 15]).unwrap();
        for _ in 0..14 {
            client.write_all(b"x").unwrap();
        }
        for _ in 0..15 {
            server.read_exact(&mut [0]).unwrap();
        }
        assert!(young(&server).end().is_some() && young(&client).end().is_none());
        let lane = young(&client).memory().unwrap().lane(1);
        assert_eq!(lane.writer.begun.load(Ordering::Relaxed), 6, "five bytes by the socket");
        lane.writer.begun.store(begun, Ordering::Relaxed);
        client.set_nonblocking(true).unwrap();
        let kind = client.read(&mut [0; 8]).unwrap_err().kind();
        assert_eq!(kind, if is_over { ErrorKind::ConnectionReset } else { ErrorKind::WouldBlock });
    }
}

/// A small generator (xorshift) of what to do next.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    /// Mostly short, sometimes long.
    fn len(&mut self) -> usize {
        let most = [2, 40, 3_000, 70_000][self.roll(4)];
        1 + self.roll(most)
    }
}

/// The byte at a place of every stream.
fn byte(at: usize) -> u8 {
    (at * 7 + (at >> 8) * 31) as u8
}

fn bytes(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(byte).collect()
}

/// One end, with how far it has written and read.
struct Player {
    stream: LocalStream,
    written: usize,
    read: usize,
}

impl Player {
    fn new(stream: LocalStream) -> Player {
        stream.set_nonblocking(true).unwrap();
        Player { stream, written: 0, read: 0 }
    }

    fn act(&mut self, dice: &mut Dice) {
        let len = dice.len();
        let mut room = vec![0; len];
        let cut = dice.roll(len + 1);
        let stream = &mut &self.stream;
        match dice.roll(9) {
            0 | 1 => {
                let result = stream.write(&bytes(self.written, len));
                self.written += moved(result);
            }
            2 => {
                let all = bytes(self.written, len);
                let parts = [IoSlice::new(&all[..cut]), IoSlice::new(&all[cut..])];
                let result = stream.write_vectored(&parts);
                self.written += moved(result);
            }
            3 => {
                let from = self.written;
                let result = stream.write_in_place(|room| {
                    let len = room.len().min(len);
                    room.copy_from(0, &bytes(from, len));
                    len
                });
                self.written += moved(result);
            }
            4 | 5 => {
                let count = moved(stream.read(&mut room));
                self.check(&room[..count], count);
            }
            6 => {
                let (one, other) = room.split_at_mut(cut);
                let result = stream.read_vectored(&mut [IoSliceMut::new(one), IoSliceMut::new(other)]);
                let count = moved(result);
                self.check(&room[..count], count);
            }
            7 => {
                let count = moved(stream.peek(&mut room));
                self.check(&room[..count], 0);
                let watched = self.stream.watch().look(Ready::READABLE).unwrap();
                assert!(count == 0 || (watched.has(Ready::READABLE) && self.stream.is_readable().unwrap()));
            }
            _ => {
                let mut found = Vec::new();
                let result = stream.read_in_place(|bytes| {
                    found.resize(bytes.len(), 0);
                    bytes.copy_to(0, &mut found);
                    bytes.len().min(cut)
                });
                let count = moved(result);
                self.check(&found, count);
            }
        }
    }

    fn check(&mut self, found: &[u8], taken: usize) {
        assert!(found == bytes(self.read, found.len()), "at {}", self.read);
        self.read += taken;
    }
}

fn moved(result: std::io::Result<usize>) -> usize {
    match result {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn nothing_is_lost_whatever_is_called_when() {
    let mut gone_over = 0;
    for seed in 1..=150 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let (_listener, client, server) = connected();
        let mut players = [Player::new(client), Player::new(server)];
        // Sometimes one is busier, and mostly one direction is used.
        let bias = dice.roll(5);
        for _ in 0..20 + dice.roll(200) {
            let who = usize::from(dice.roll(6) > bias);
            players[who].act(&mut dice);
        }
        for at in 0..2 {
            let mut room = vec![0; 100_000];
            while players[at].read < players[1 - at].written {
                let count = players[at].stream.read(&mut room).unwrap();
                players[at].check(&room[..count], count);
            }
            assert_eq!(players[at].stream.read(&mut room).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        gone_over += usize::from(players[0].stream.is_shared_memory());
        let [mut first, second] = players.map(|player| player.stream);
        drop(second);
        assert_eq!(first.read(&mut [0; 8]).unwrap(), 0, "seed {seed}");
    }
    assert!((30..150).contains(&gone_over), "{gone_over}: the test is about both");
}

#[test]
fn bulk_goes_both_ways_while_it_goes_over() {
    const ALL: usize = 3 << 20;
    for seed in 1..=6 {
        let (_listener, client, server) = connected();
        let streams = [client, server];
        thread::scope(|scope| {
            for (at, stream) in streams.iter().enumerate() {
                scope.spawn(move || {
                    let (mut dice, mut done) = (Dice(seed * 77 + at as u64), 0);
                    while done < ALL {
                        let len = dice.len().min(ALL - done);
                        (&mut &*stream).write_all(&bytes(done, len)).unwrap();
                        done += len;
                    }
                });
                scope.spawn(move || {
                    let (mut dice, mut done) = (Dice(seed * 99 + at as u64), 0);
                    while done < ALL {
                        let mut room = vec![0; dice.len()];
                        let count = (&mut &*stream).read(&mut room).unwrap();
                        assert!(room[..count] == bytes(done, count), "at {done}");
                        done += count;
                    }
                });
            }
        });
        assert!(streams.iter().all(LocalStream::is_shared_memory));
    }
}

/// An end that goes while something lies unread is told, by whichever way that came.
#[test]
fn what_was_never_read_is_told_at_any_moment() {
    for calls in [0, 10, 40] {
        let (_listener, mut client, mut server) = connected();
        play(&mut client, &mut server, calls);
        client.write_all(b"unread").unwrap();
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{calls}");
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    }
}

/// The connection that a client that offered memory is gone from is as one that offered none.
#[test]
fn an_offer_of_who_is_gone_is_not_taken() {
    let (_listener, mut client, mut server) = connected();
    client.write_all(&[1; 30]).unwrap();
    for _ in 0..30 {
        client.write_all(b"x").unwrap();
    }
    assert!(young(&client).memory().is_some());
    drop(client);
    let mut heard = Vec::new();
    let mut room = [0; 1];
    while server.read(&mut room).unwrap() > 0 {
        heard.push(room[0]);
    }
    assert_eq!(heard.len(), 60);
    assert!(young(&server).end().is_none());
    assert_eq!(server.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn plain_clients_of_a_listener_are_not_young() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    assert!(matches!(listener.accept().unwrap().0.carrier(), Carrier::Kernel(_)));
}

/// A bell that comes while its reader is between two looks is not taken for a byte of the stream.
#[test]
fn a_bell_that_comes_at_any_moment_is_none_of_the_bytes() {
    for is_peek in [false, true] {
        let (_listener, mut client, mut server) = connected();
        // The client offers memory with its last call, and doesn't look since.
        for _ in 0..16 {
            client.write_all(b"x").unwrap();
        }
        for _ in 0..16 {
            server.read_exact(&mut [0]).unwrap();
        }
        assert!(young(&server).end().is_some() && young(&client).end().is_none());
        server.write_all(b"by the ring").unwrap();
        let mut room = [0; 16];
        let found = if is_peek {
            young(&client).peek_at_socket(&mut room)
        } else {
            young(&client).receive(&mut room, None)
        };
        assert!(found.is_none());
        assert_eq!(client.read(&mut room).unwrap(), 11);
    }
}

/// A bell that comes while another thread goes over is never taken for a byte of the stream.
#[test]
fn readers_of_their_own_see_bytes_only_while_others_go_over() {
    const CALLS: usize = 30;
    for _ in 0..300 {
        let (_listener, client, server) = connected();
        thread::scope(|scope| {
            for stream in [&client, &server] {
                scope.spawn(move || {
                    for call in 0..CALLS {
                        (&mut &*stream).write_all(&bytes(3 * call, 3)).unwrap();
                    }
                });
                scope.spawn(move || {
                    let (mut read, mut room) = (0, [0; 8]);
                    while read < 3 * CALLS {
                        let count = (&mut &*stream).read(&mut room).unwrap();
                        assert_eq!(room[..count], bytes(read, count));
                        read += count;
                    }
                });
            }
        });
    }
}

/// Gone over as far as can be while the client doesn't look: the server has taken the memory.
fn taken(client: &mut LocalStream, server: &mut LocalStream) {
    for _ in 0..16 {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    assert!(young(server).end().is_some());
}

/// Whether it is done soon.
fn is_soon_done(what: impl FnOnce() + Send + 'static) -> bool {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        what();
        let _ = done.send(());
    });
    is_done.recv_timeout(Duration::from_secs(20)).is_ok()
}

/// An edge-triggered poll of one socket.
struct Poll(OwnedFd);

impl Poll {
    fn new(stream: &LocalStream) -> Poll {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&poll, stream, epoll::EventData::new_u64(0), flags).unwrap();
        Poll(poll)
    }

    fn has_event(&self, limit: Duration) -> bool {
        let mut events = Vec::with_capacity(4);
        let limit = Timespec::try_from(limit).unwrap();
        epoll::wait(&self.0, spare_capacity(&mut events), Some(&limit)).unwrap() > 0
    }

    fn drain(&self) {
        while self.has_event(Duration::ZERO) {}
    }
}

/// Writes until there is no room; how much.
fn fill(mut stream: &LocalStream) -> usize {
    let mut sent = 0;
    loop {
        match stream.write(&[1; 4096]) {
            Ok(count) => sent += count,
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    sent
}

#[test]
fn who_only_writes_takes_the_bells_of_a_long_stream() {
    const ALL: usize = 90 << 20;
    for is_server in [false, true] {
        let (_listener, mut client, mut server) = connected();
        taken(&mut client, &mut server);
        let (writer, mut reader) = if is_server { (server, client) } else { (client, server) };
        writer.set_nonblocking(true).unwrap();
        let reading = thread::spawn(move || {
            let (mut left, mut room) = (ALL, vec![0; 1 << 20]);
            while left > 0 {
                left -= reader.read(&mut room).unwrap();
            }
            reader
        });
        let (poll, block, mut done) = (Poll::new(&writer), vec![1; 1 << 20], 0);
        while done < ALL {
            match (&writer).write(&block[..block.len().min(ALL - done)]) {
                Ok(count) => done += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert!(poll.has_event(Duration::from_secs(20)), "after {done} bytes");
                }
            }
        }
        reading.join().unwrap();
    }
}

#[test]
fn there_is_room_for_a_bell_where_the_socket_is_full_of_unread_bytes() {
    let (_listener, mut client, mut server) = connected();
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    let unread = fill(&server);
    for _ in 0..64 {
        client.write_all(b"x").unwrap();
    }
    let mut room = vec![0; 65_536];
    for _ in 0..64 {
        let _ = server.read(&mut room[..1]);
    }
    assert!(young(&server).end().is_some());
    let mut left = fill(&client);
    let poll = Poll::new(&client);
    poll.drain();
    assert_eq!(client.write(&[1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    while left > 0 {
        left -= server.read(&mut room).unwrap();
    }
    assert!(poll.has_event(Duration::from_secs(20)));
    let mut heard = 0;
    while heard < unread {
        heard += client.read(&mut room).unwrap();
    }
}

/// A server's end that has gone over while its socket is full of bytes that its client hasn't read; how many.
fn gone_over_with_a_full_socket() -> (LocalListener, LocalStream, LocalStream, usize) {
    let (listener, mut client, mut server) = connected();
    server.set_nonblocking(true).unwrap();
    let unread = fill(&server);
    for _ in 0..32 {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    assert!(young(&server).end().is_some());
    (listener, client, server, unread)
}

/// As at the kernel's sockets.
#[test]
fn descriptors_wait_for_room_at_the_socket() {
    let (_listener, mut client, server, unread) = gone_over_with_a_full_socket();
    client.set_passrights(true).unwrap();
    let poll = Poll::new(&server);
    let would_block = |stream: &LocalStream| {
        let error = stream.send_with(b"with it", &[stream.as_fd()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    };
    assert!(server.is_writable().unwrap(), "by the ring");
    would_block(&server);
    assert!(!server.is_writable().unwrap());
    assert!(!server.watch().look(Ready::WRITABLE).unwrap().has(Ready::WRITABLE));
    poll.drain();
    would_block(&server);
    assert!(!poll.has_event(Duration::ZERO));
    server.set_nonblocking(false).unwrap();
    server.set_write_timeout(Some(4 * crate::wait::TURN)).unwrap();
    let cpu = || rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    let start = cpu();
    would_block(&server);
    let used = Duration::try_from(cpu() - start).unwrap();
    assert!(used < crate::wait::TURN, "it sleeps, and doesn't look all the time: {used:?}");
    // Others still go by the ring.
    assert_eq!((&server).write(b"before").unwrap(), 6);

    server.set_write_timeout(None).unwrap();
    let sending = server.try_clone().unwrap();
    let sending = thread::spawn(move || sending.send_with(b"with it", &[sending.as_fd()]));
    client.read_exact(&mut vec![0; unread]).unwrap();
    assert!(poll.has_event(Duration::from_secs(20)));
    assert_eq!(sending.join().unwrap().unwrap(), 7);
    assert!(server.is_writable().unwrap());
    client.read_exact(&mut [0; 6]).unwrap();
    let (count, attached) = client.recv_with(&mut [0; 64]).unwrap();
    assert_eq!((count, attached.descriptors.len()), (7, 1));
}

#[test]
fn who_waits_for_room_at_the_socket_is_told_that_its_half_is_shut_or_its_peer_gone() {
    for way in 0..4 {
        let (_listener, client, server, _) = gone_over_with_a_full_socket();
        let poll = Poll::new(&server);
        assert!(server.send_with(b"x", &[server.as_fd()]).is_err());
        poll.drain();
        let other = server.try_clone().unwrap();
        assert!(is_soon_done(move || {
            server.set_nonblocking(false).unwrap();
            let sending = thread::spawn(move || server.send_with(b"x", &[server.as_fd()]));
            match way {
                0 => other.shutdown(Shutdown::Write).unwrap(),
                1 => other.shutdown(Shutdown::Both).unwrap(),
                2 => client.shutdown(Shutdown::Read).unwrap(),
                _ => drop(client),
            }
            match sending.join().unwrap().map_err(|error| error.kind()) {
                Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
                // Who goes receives what it never reads first.
                result => assert!(way == 3 && result.is_ok(), "{way}: {result:?}"),
            }
            assert!(way == 0 || poll.has_event(Duration::from_secs(20)), "{way}");
            assert!(other.is_writable().unwrap(), "{way}");
        }));
    }
}

#[test]
fn what_is_shut_for_reading_is_written_to() {
    let (_listener, mut client, mut server) = connected();
    taken(&mut client, &mut server);
    client.set_nonblocking(true).unwrap();
    client.shutdown(Shutdown::Read).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let sent = fill(&client);
    let poll = Poll::new(&client);
    poll.drain();
    assert_eq!(client.write(&[1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    server.read_exact(&mut vec![0; sent]).unwrap();
    assert!(poll.has_event(Duration::from_secs(20)));
}

/// At the socket, where nobody is to read any more, here or there.
#[test]
fn a_writer_that_waits_is_told_that_its_half_is_shut() {
    for is_own in [false, true] {
        let (_listener, client, server) = connected();
        let other = client.try_clone().unwrap();
        assert!(is_soon_done(move || {
            let writing = thread::spawn(move || (&client).write_all(&vec![1; 4 << 20]));
            thread::sleep(Duration::from_millis(50));
            if is_own {
                other.shutdown(Shutdown::Write).unwrap();
            } else {
                server.shutdown(Shutdown::Read).unwrap();
            }
            assert!(writing.join().unwrap().is_err());
            drop((server, other));
        }));
    }
}

#[test]
fn a_reader_that_waits_at_the_socket_is_told_that_its_half_is_shut() {
    let (_listener, mut client, mut server) = connected();
    let reading = client.try_clone().unwrap();
    assert!(is_soon_done(move || {
        let waiting = thread::spawn(move || (&reading).read(&mut [0]));
        thread::sleep(2 * crate::wait::TURN);
        taken(&mut client, &mut server);
        assert!(!client.is_readable().unwrap());
        client.shutdown(Shutdown::Read).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), 0);
        drop(server);
    }));
}

/// One of them may take the bell that was for the other.
#[test]
fn two_threads_that_read_one_end_get_all() {
    for _ in 0..200 {
        let (_listener, client, server) = connected();
        assert!(is_soon_done(move || {
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let (mut left, mut room) = (30, [0; 30]);
                        while left > 0 {
                            left -= (&client).read(&mut room[..left]).unwrap();
                        }
                    });
                }
                scope.spawn(|| (0..25).for_each(|_| (&client).write_all(b"q").unwrap()));
                scope.spawn(|| (0..25).for_each(|_| (&server).read_exact(&mut [0]).unwrap()));
                scope.spawn(|| (0..60).for_each(|_| (&server).write_all(b"a").unwrap()));
            });
        }));
    }
}

#[test]
fn a_reset_comes_after_what_was_read_in_parts() {
    let (_listener, mut client, mut server) = connected();
    client.write_all(b"unread").unwrap();
    server.write_all(b"last").unwrap();
    drop(server);
    let (mut one, mut other) = ([0; 4], [0; 4]);
    let count = client.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)]).unwrap();
    assert_eq!(count, 4);
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn bytes_left_at_the_socket_are_a_loss_and_a_bell_is_none() {
    let (_listener, mut client, mut server) = connected();
    for _ in 0..16 {
        client.write_all(b"x").unwrap();
    }
    client.write_all(b"unread").unwrap();
    server.read_exact(&mut [0; 16]).unwrap();
    for _ in 0..16 {
        let _ = server.peek(&mut [0]);
    }
    for _ in 0..16 {
        server.write_all(b"y").unwrap();
    }
    assert!(young(&server).end().is_some());
    drop(server);
    client.read_exact(&mut [0; 16]).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let (_listener, mut client, mut server) = connected();
    taken(&mut client, &mut server);
    client.write_all(b"by the ring").unwrap();
    server.read_exact(&mut [0; 11]).unwrap();
    drop(server);
    assert!(!client.watch().look(Ready::READABLE).unwrap().has(Ready::ERROR));
    assert!(client.take_error().unwrap().is_none());
}

#[test]
fn who_sent_a_byte_is_told_where_a_bell_came_with_it() {
    let (_listener, mut client, mut server) = connected();
    client.set_passcred(true).unwrap();
    for _ in 0..16 {
        client.write_all(b"x").unwrap();
    }
    server.write_all(b"y").unwrap();
    server.read_exact(&mut [0; 16]).unwrap();
    for _ in 0..16 {
        server.write_all(b"y").unwrap();
    }
    assert!(young(&server).end().is_some() && young(&client).end().is_none());
    let mut attached = Ancillary::default();
    assert!(young(&client).receive(&mut [0; 64], Some(&mut attached)).unwrap().unwrap() >= 1);
    assert!(attached.credentials.is_some());
}

/// Who has the companion's name and not the socket at the path is offered nothing.
#[test]
fn memory_is_offered_to_the_listeners_process_alone() {
    const PATH: &str = "SOCKEYE_LOCAL_TEST_STRANGER";
    if let Some(path) = std::env::var_os(PATH) {
        let file = File::at(Path::new(&path)).unwrap();
        let name = socket(SocketType::SEQPACKET, SocketFlags::empty()).unwrap();
        rustix::net::bind(&name, &file.companion_name().unwrap()).unwrap();
        rustix::net::listen(&name, 16).unwrap();
        println!("ready");
        loop {
            let caller = rustix::net::accept(&name).unwrap();
            let heard = rustix::net::recv(&caller, &mut [0; 64][..], RecvFlags::empty());
            println!("heard {:?}", heard.map_or(0, |(count, _)| count));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain");
    let listener = UnixListener::bind(&path).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "tests::young::memory_is_offered_to_the_listeners_process_alone",
        "--exact",
        "--nocapture",
    ]);
    let mut stranger = command.env(PATH, &path).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(stranger.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("ready")));
    let mut client = LocalStream::connect(&path).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for _ in 0..64 {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    assert!(young(&client).memory().is_none());
    // The client's look for a companion, and its call.
    assert!(lines.take(2).all(|line| line.ends_with("heard 0")));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn an_offer_that_nobody_takes_is_withdrawn() {
    let (_listener, mut client, mut server) = connected();
    server.shutdown(Shutdown::Write).unwrap();
    for _ in 0..400 {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    assert!(young(&client).memory().is_some() && young(&client).has_withdrawn());
}

#[test]
fn descriptors_that_a_writer_has_received_wait_for_who_asks_for_them() {
    let (_listener, mut client, mut server) = connected();
    client.set_passrights(true).unwrap();
    server.write_all(b"A").unwrap();
    server.send_with(b"B", &[server.as_fd()]).unwrap();
    for _ in 0..16 {
        client.write_all(b"x").unwrap();
    }
    server.read_exact(&mut [0; 16]).unwrap();
    (0..16).for_each(|_| server.write_all(b"y").unwrap());
    assert!(young(&server).end().is_some());
    client.set_nonblocking(true).unwrap();
    fill(&client);
    let mut room = [0; 8];
    assert_eq!(client.read(&mut room[..1]).unwrap(), 1);
    let (count, attached) = client.recv_with(&mut room).unwrap();
    assert_eq!((count, room[0], attached.descriptors.len()), (1, b'B', 1));
}

/// Its peer took the memory, and died before it had read what was written there.
#[test]
fn a_loss_is_told_before_the_end() {
    for is_peek in [false, true] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mapping = Arc::new(Mapping::create(SMALLEST_RING).unwrap().0);
        let mut victim = LocalStream::new(Carrier::Young(Box::new(Young::with(ours, mapping))));
        victim.write_all(b"answer").unwrap();
        drop(theirs);
        let result = if is_peek { victim.peek(&mut [0; 8]) } else { victim.read(&mut [0; 8]) };
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

/// A task that waits to read is woken when one that writes has taken its bytes, and their event, from the socket.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_reader_is_woken_for_what_a_writer_has_received() {
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let mut client = LocalStream::connect(&path).unwrap();
    let mut server = crate::tokio::LocalStream::new(listener.accept().unwrap().0).unwrap();
    let (mut reader, writer) = server.split();
    let mut room = [0; 64];
    let mut reading = std::pin::pin!(reader.read(&mut room));
    assert!(poll_fn(|context| std::task::Poll::Ready(reading.as_mut().poll(context).is_pending())).await);
    for _ in 0..16 {
        client.write_all(b"x").unwrap();
    }
    // Nobody looks for events meanwhile.
    while writer.try_write(&[1; 4096]).is_ok() {}
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert_eq!(read.expect("it is woken").unwrap(), 16);
}

/// Where its socket is full of bytes that its peer hasn't read.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_task_waits_for_room_at_the_socket() {
    use std::future::poll_fn;
    use tokio::io::Interest;
    let (_listener, mut client, server, unread) = gone_over_with_a_full_socket();
    client.set_passrights(true).unwrap();
    let server = crate::tokio::LocalStream::new(server).unwrap();
    let descriptors = [server.as_fd()];
    let mut sending = std::pin::pin!(server.send_with(b"with it", &descriptors));
    assert!(poll_fn(|context| std::task::Poll::Ready(sending.as_mut().poll(context).is_pending())).await);
    let mut ready = std::pin::pin!(server.ready(Interest::WRITABLE));
    assert!(poll_fn(|context| std::task::Poll::Ready(ready.as_mut().poll(context).is_pending())).await);
    client.read_exact(&mut vec![0; unread]).unwrap();
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, ready).await.expect("it is woken").unwrap();
    assert_eq!(tokio::time::timeout(limit, sending).await.expect("it is woken").unwrap(), 7);
    assert_eq!(client.recv_with(&mut [0; 64]).unwrap().1.descriptors.len(), 1);
}
