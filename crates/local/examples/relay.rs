//! Stands between the clients and the server of any local socket: `relay HERE THERE` listens at one path and connects each
//! client to the other.
//!
//! Both sides may be ordinary programs, as `ci/local-programs.sh` shows with those of postgres, redis and X11:
//! `relay /tmp/here /run/redis/redis.sock`, and then `redis-cli -s /tmp/here`. Descriptors that are sent along are passed on;
//! who is connected, as the kernel tells it, is the relay.

use sockeye_local::{LocalListener, LocalStream};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::process::exit;
use std::thread;
use std::time::Duration;

fn main() -> io::Result<()> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let [here, there] = &paths[..] else {
        eprintln!("usage: relay HERE THERE");
        exit(2);
    };
    let listener = LocalListener::bind(here)?;
    println!("ready");
    for client in listener.incoming() {
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                // Too many open files, say, until some are closed.
                eprintln!("{}: {error}", here.display());
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        // A client whose server isn't there is closed at once.
        match LocalStream::connect(there) {
            Ok(server) => {
                if let Err(error) = join(client, server) {
                    eprintln!("a connection is given up: {error}");
                }
            }
            Err(error) => eprintln!("{}: {error}", there.display()),
        }
    }
    Ok(())
}

/// Passes on what either says, until both have ended.
fn join(client: LocalStream, server: LocalStream) -> io::Result<()> {
    client.set_passrights(true)?;
    server.set_passrights(true)?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pass(&from, &to));
    thread::spawn(move || pass(&server, &client));
    Ok(())
}

/// Passes on one direction with its end. Where one of the two doesn't listen any more, it is over for both.
fn pass(from: &LocalStream, mut to: &LocalStream) {
    let mut buffer = vec![0; 64 << 10];
    let mut copy = || loop {
        let (count, with) = from.recv_with(&mut buffer)?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        let descriptors: Vec<_> = with.descriptors.iter().map(AsFd::as_fd).collect();
        let sent = if descriptors.is_empty() { 0 } else { to.send_with(&buffer[..count], &descriptors[..])? };
        to.write_all(&buffer[sent..count])?;
    };
    let result: io::Result<()> = copy();
    if result.is_err() {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
