//! `TCP_INQ`: reads that come with the number of bytes behind them.

mod common;

use common::Lab;

const PROGRAM: &str = "
import select, socket, struct
TCP, INQ = socket.IPPROTO_TCP, 36
listener = socket.create_server(('127.0.0.1', 0))
listener.setsockopt(TCP, INQ, 1)
client = socket.create_connection(listener.getsockname())
peer, _ = listener.accept()
print('inherited', peer.getsockopt(TCP, INQ))
peer.setblocking(False)
def read(size, flags=0):
    select.select([peer], [], [], 5)
    data, control, _, _ = peer.recvmsg(size, 64, flags)
    [(level, kind, behind)] = control
    return data, (level, kind) == (TCP, INQ) and struct.unpack('i', behind)[0]
client.sendall(b'hello, world')
print(read(5), read(3, socket.MSG_PEEK), read(100))
try: peer.recvmsg(1, 64)
except BlockingIOError: print('nothing')
client.sendall(b'x' * 100)
client.shutdown(socket.SHUT_WR)
# The end that is still on its way counts as nothing yet.
def is_all_there():
    select.select([peer], [], [], 5)
    return len(peer.recv(100, socket.MSG_PEEK)) == 100
while not is_all_there(): pass
poll = select.poll(); poll.register(peer, select.POLLRDHUP); poll.poll(5000)
print(read(40)[1], read(100)[1], read(10)[0])
peer.setsockopt(TCP, INQ, 0)
print(peer.recvmsg(1, 64)[:2])
";

#[test]
fn reads_tell_how_much_is_behind_them() {
    let mut lab = Lab::new();
    let program = lab.python("a", PROGRAM);
    let expected = "inherited 1\n(b'hello', 7) (b', w', 7) (b', world', 0)\nnothing\n60 1 b''\n(b'', [])\n";
    assert_eq!(lab.output(program), expected);
}
