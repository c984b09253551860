//! When a port is free again.
//!
//! Alone in its process: a launch forks, and until the child executes its program it holds copies of the
//! descriptors that a supervisor on another thread has borrowed, which keeps a closed socket open that long.
//! A supervisor on one thread never forks while it holds any.

mod common;

use common::Lab;

#[test]
fn a_port_is_free_as_soon_as_its_socket_is_closed() {
    let mut lab = Lab::new();
    let program = lab.python(
        "a",
        "
import os, socket, threading
def rebind(port):
    for _ in range(150):
        s = socket.socket(); s.bind(('127.0.0.1', port)); s.listen(); s.getsockname(); s.close()
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', port))
        u.connect(('127.0.0.1', port))
        for _ in range(20): u.send(b'x')
        u.getsockname(); u.close()
    done.append(port)
done = []
threads = [threading.Thread(target=rebind, args=(6000 + i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
for n in range(150):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    s.bind((0, 0)); assert s.getsockname()[0] == os.getpid(), n
    if n % 2: s.sendto(bytes([20, 0, 0, 0, 18, 0, 1, 3] + [0] * 12), (0, 0))
    s.close()
print(sorted(done))
",
    );
    let outcome = lab.finish(program);
    assert_eq!(outcome.stdout, "[6000, 6001, 6002, 6003]\n", "{}", outcome.stderr);
}
