//! A listener and the processes that are forked from its own.

#![cfg(target_os = "linux")]

use sockeye_local::{LocalListener, LocalStream};
use std::io::{ErrorKind, Read, Write};

/// A client that a forked process accepted would find its connection closed, where its offer is in this one's memory.
#[test]
fn a_forked_process_is_refused_before_it_takes_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let mut client = LocalStream::connect(&path).unwrap();
    // SAFETY: the child calls the listener, which takes no lock that another thread could have had, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_refused = listener.accept().is_err_and(|error| error.kind() == ErrorKind::Unsupported);
        // SAFETY: it ends the process, and nothing of it runs any more.
        unsafe { libc::_exit(if is_refused { 7 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: `status` is there to be written to.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert!(child > 0 && waited == child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status}");
    client.write_all(b"x").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert!(server.is_shared_memory());
    server.read_exact(&mut [0]).unwrap();
}
