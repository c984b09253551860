//! smoltcp: two interfaces in one thread, joined by queues of recycled buffers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant as Clock};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

/// The link between the interfaces.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) mtu: usize,
    pub(crate) checksums: bool,
}

impl Link {
    /// Without checksums.
    pub(crate) const MEMORY: Link = Link { mtu: 1500, checksums: false };
}

/// Buffer of a socket in each direction: the fastest; larger ones leave the cache, smaller ones don't hold two writes.
const BUFFER: usize = 128 * 1024;
/// The server's port.
const SERVER: u16 = 999;
/// Bytes of one call of the application.
pub(super) const WRITE: usize = 64 * 1024;

/// Two interfaces with one connection between them.
pub(crate) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
    origin: Clock,
}

pub(super) struct End {
    interface: Interface,
    pub(super) device: Queue,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

impl Pair {
    /// A connected pair.
    pub(crate) fn connected(link: Link) -> Pair {
        let mut pair = Pair { client: End::new(link, 1), server: End::new(link, 2), origin: Clock::now() };
        for end in [&mut pair.client, &mut pair.server] {
            end.socket = end.sockets.add(new_socket(BUFFER));
        }
        pair.connect(1);
        pair
    }

    /// Sends `bytes` from the client to the server and returns how long it took.
    pub(crate) fn transfer(&mut self, bytes: usize) -> Duration {
        let data = vec![0x55; WRITE];
        let mut sink = vec![0; WRITE];
        let (mut sent, mut received) = (0, 0);
        let start = Clock::now();
        while received < bytes {
            sent += self.client.write(&data[..WRITE.min(bytes - sent)]);
            // As few polls as can be: the client takes in acknowledgments when it sends what was written.
            self.client.poll(self.now());
            self.server_gets(self.now());
            received += self.server.read(&mut sink);
            self.deliver();
        }
        start.elapsed()
    }

    /// One byte there and back, `rounds` times.
    pub(crate) fn round_trips(&mut self, rounds: u32) -> Duration {
        let start = Clock::now();
        for _ in 0..rounds {
            // As few polls as can be: each sends what was written, or takes in what has arrived.
            self.client.send_byte();
            self.client.poll(self.now());
            let now = self.now();
            self.server_gets(now);
            assert!(self.server.receive_byte());
            self.server.send_byte();
            self.server.poll(now);
            self.client_gets(self.now());
            assert!(self.client.receive_byte());
        }
        start.elapsed()
    }

    /// Opens a connection and closes it, the client first, `count` times. The sockets are used again.
    pub(crate) fn connections(&mut self, count: u32) -> Duration {
        let start = Clock::now();
        for number in 0..count {
            self.client.close();
            self.client.poll(self.now());
            self.server_gets(self.now());
            self.server.close();
            self.server.poll(self.now());
            self.client_gets(self.now());
            self.server_gets(self.now());
            self.connect(2 + (number % 60_000) as u16);
        }
        start.elapsed()
    }

    /// Opens a connection of the client's socket, which comes from a port, and the server's.
    fn connect(&mut self, port: u16) {
        let socket = self.server.sockets.get_mut::<Socket<'_>>(self.server.socket);
        socket.listen(SERVER).expect("a closed socket");
        let socket = self.client.sockets.get_mut::<Socket<'_>>(self.client.socket);
        let remote = (IpAddress::v4(10, 0, 0, 2), SERVER);
        socket.connect(self.client.interface.context(), remote, port).expect("a route");
        self.client.poll(self.now());
        self.server_gets(self.now());
        self.client_gets(self.now());
        self.server_gets(self.now());
        assert!(
            self.server.sockets.get::<Socket<'_>>(self.server.socket).may_send(),
            "the connection is open"
        );
    }

    /// Brings what is under way to the server, which answers.
    fn server_gets(&mut self, now: Instant) {
        self.deliver();
        self.server.poll(now);
    }

    /// Brings what is under way to the client, which answers.
    fn client_gets(&mut self, now: Instant) {
        self.deliver();
        self.client.poll(now);
    }

    fn now(&self) -> Instant {
        since(self.origin)
    }

    /// Moves what is under way to where it goes.
    fn deliver(&mut self) {
        let (client, server) = (&mut self.client.device, &mut self.server.device);
        for (from, to) in
            [(&mut client.outgoing, &mut server.incoming), (&mut server.outgoing, &mut client.incoming)]
        {
            if to.is_empty() {
                std::mem::swap(from, to);
            } else {
                to.append(from);
            }
        }
        // Most packets go one way: their buffers go back.
        let (client, server) = (client.spare.get_mut(), server.spare.get_mut());
        if client.is_empty() {
            std::mem::swap(client, server);
        }
    }
}

impl End {
    fn new(link: Link, host: u8) -> End {
        let mut device =
            Queue { link, incoming: VecDeque::new(), outgoing: VecDeque::new(), spare: RefCell::default() };
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, Instant::ZERO);
        let address = IpCidr::new(IpAddress::v4(10, 0, 0, host), 24);
        interface.update_ip_addrs(|addresses| addresses.push(address).expect("room for an address"));
        End { interface, device, sockets: SocketSet::new(Vec::new()), socket: SocketHandle::default() }
    }

    /// Writes what there is room for.
    pub(super) fn write(&mut self, data: &[u8]) -> usize {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.socket);
        if socket.can_send() { socket.send_slice(data).unwrap_or(0) } else { 0 }
    }

    /// Reads all there is, in pieces of the sink's length.
    pub(super) fn read(&mut self, sink: &mut [u8]) -> usize {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.socket);
        let mut received = 0;
        while socket.can_recv() {
            received += socket.recv_slice(sink).unwrap_or(0);
        }
        received
    }

    pub(super) fn poll(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }

    fn close(&mut self) {
        self.sockets.get_mut::<Socket<'_>>(self.socket).close();
    }

    fn send_byte(&mut self) {
        self.sockets.get_mut::<Socket<'_>>(self.socket).send_slice(b"x").expect("an open connection");
    }

    fn receive_byte(&mut self) -> bool {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.socket);
        socket.can_recv() && socket.recv_slice(&mut [0; 1]).is_ok_and(|n| n == 1)
    }
}

/// The time that has gone by.
pub(super) fn since(origin: Clock) -> Instant {
    Instant::from_micros(origin.elapsed().as_micros() as i64)
}

fn new_socket(buffer: usize) -> Socket<'static> {
    let mut socket = Socket::new(SocketBuffer::new(vec![0; buffer]), SocketBuffer::new(vec![0; buffer]));
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(None);
    socket
}

/// A device whose packets wait in queues; their memory is used again.
pub(super) struct Queue {
    link: Link,
    pub(super) incoming: VecDeque<Packet>,
    pub(super) outgoing: VecDeque<Packet>,
    pub(super) spare: RefCell<Vec<Box<[u8]>>>,
}

/// A buffer as long as the longest packet, and how much of it is one.
pub(super) struct Packet {
    buffer: Box<[u8]>,
    len: usize,
}

impl Device for Queue {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.link.mtu;
        if !self.link.checksums {
            capabilities.checksum = ChecksumCapabilities::ignored();
            capabilities.checksum.tcp = Checksum::None;
        }
        capabilities
    }

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        let packet = self.incoming.pop_front()?;
        let Queue { link, outgoing, spare, .. } = self;
        Some((RxToken { packet, spare }, TxToken { mtu: link.mtu, outgoing, spare }))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        let Queue { link, outgoing, spare, .. } = self;
        Some(TxToken { mtu: link.mtu, outgoing, spare })
    }
}

pub(super) struct RxToken<'a> {
    packet: Packet,
    spare: &'a RefCell<Vec<Box<[u8]>>>,
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let Packet { buffer, len } = self.packet;
        let result = read(&buffer[..len]);
        self.spare.borrow_mut().push(buffer);
        result
    }
}

pub(super) struct TxToken<'a> {
    mtu: usize,
    outgoing: &'a mut VecDeque<Packet>,
    spare: &'a RefCell<Vec<Box<[u8]>>>,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let spare = self.spare.borrow_mut().pop();
        let mut buffer = spare.unwrap_or_else(|| vec![0; self.mtu].into());
        let result = write(&mut buffer[..len]);
        self.outgoing.push_back(Packet { buffer, len });
        result
    }
}
