//! Stands between the clients and the server of any local socket: `relay HERE THERE` listens at one path and connects each
//! client to the other.
//!
//! Both sides may be ordinary programs, as `ci/local-programs.sh` shows with those of postgres, redis and X11:
//! `relay /tmp/here /run/redis/redis.sock`, and then `redis-cli -s /tmp/here`. It passes bytes only: who is connected there
//! is the relay, and descriptors that are sent along are lost.

use sockeye_local::{LocalListener, LocalStream};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::process::exit;
use std::thread;

fn main() -> io::Result<()> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let [here, there] = &paths[..] else {
        eprintln!("usage: relay HERE THERE");
        exit(2);
    };
    let listener = LocalListener::bind(here)?;
    println!("ready");
    for client in listener.incoming() {
        // A client whose server isn't there is closed at once.
        match client.and_then(|client| Ok((client, LocalStream::connect(there)?))) {
            Ok((client, server)) => join(client, server)?,
            Err(error) => eprintln!("{}: {error}", there.display()),
        }
    }
    Ok(())
}

/// Passes on what either says, until both have ended.
fn join(client: LocalStream, server: LocalStream) -> io::Result<()> {
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pass(&from, &to));
    thread::spawn(move || pass(&server, &client));
    Ok(())
}

/// Passes on one direction with its end. Where one of the two doesn't listen any more, it is over for both.
fn pass(mut from: &LocalStream, mut to: &LocalStream) {
    let mut buffer = vec![0; 64 << 10];
    let mut copy = || loop {
        match from.read(&mut buffer)? {
            0 => return to.shutdown(Shutdown::Write),
            count => to.write_all(&buffer[..count])?,
        }
    };
    let result: io::Result<()> = copy();
    if result.is_err() {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
