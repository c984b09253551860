//! In steady state a transfer allocates nothing per packet: an allocator that counts says so.

use sockeye_packet::{Batch, Chunk, Instant, NicId, Pool};
use sockeye_stack::{
    Config, Counter, Domain, Error, NicConfig, Owner, RecvFlags, SendFlags, SockAddr, SocketId, SocketType,
    Stack,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps what `dealloc` asks for, and `System` allocated it.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps what `realloc` asks for, and `System` allocated it.
        unsafe { System.realloc(memory, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WRITE: usize = 64 * 1024;
const WRITES: usize = 200;
const NIC: NicId = NicId(1);

struct End {
    stack: Stack,
    socket: SocketId,
}

impl End {
    fn new(host: u8, checksums: bool) -> End {
        let mut stack = Stack::new(Config::default(), [host; 32]);
        let nic = NicConfig { checksums, max_segment: 0, ..NicConfig::memory("cable", 1500) };
        assert_eq!(stack.add_nic(nic), Ok(NIC));
        stack.add_address(NIC, Ipv4Addr::new(10, 0, 0, host).into(), 24).unwrap();
        let socket = stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).unwrap();
        End { stack, socket }
    }
}

struct Transfer {
    client: End,
    server: End,
    now: Instant,
    packets: Batch,
    chunks: VecDeque<Chunk>,
    pool: Pool,
}

impl Transfer {
    fn new(checksums: bool) -> Transfer {
        let (client, mut server) = (End::new(1, checksums), End::new(2, checksums));
        let address = SockAddr::new(Ipv4Addr::new(10, 0, 0, 2).into(), 80);
        server.stack.bind(server.socket, address).unwrap();
        server.stack.listen(Instant::ZERO, server.socket, 1).unwrap();
        let (packets, chunks, pool) = (Batch::new(), VecDeque::new(), Pool::default());
        let mut transfer = Transfer { client, server, now: Instant::from_millis(1), packets, chunks, pool };
        let Transfer { client, now, .. } = &mut transfer;
        assert_eq!(client.stack.connect(*now, client.socket, address), Err(Error::InProgress));
        transfer.exchange();
        let server = &mut transfer.server;
        server.socket = server.stack.accept(transfer.now, server.socket).unwrap().0;
        transfer
    }

    fn exchange(&mut self) {
        let Transfer { client, server, now, packets, .. } = self;
        for _ in 0..1000 {
            *now += core::time::Duration::from_micros(10);
            client.stack.poll_transmit(*now, NIC, packets);
            let quiet = packets.is_empty();
            server.stack.handle_packets(*now, NIC, packets);
            server.stack.poll_transmit(*now, NIC, packets);
            if quiet && packets.is_empty() {
                return;
            }
            client.stack.handle_packets(*now, NIC, packets);
        }
        panic!("the hosts never fall silent");
    }

    /// Moves so many writes from one application to the other.
    fn run(&mut self, data: &[u8], writes: usize) {
        for _ in 0..writes {
            let client = &mut self.client;
            let space = client.stack.send_space(client.socket).min(WRITE);
            self.pool.copy(&data[..space], |chunk| self.chunks.push_back(chunk));
            let sent = client.stack.send(self.now, client.socket, &mut self.chunks, SendFlags::default());
            assert_eq!(sent, Ok(space));
            self.exchange();
            let server = &mut self.server;
            while server.stack.recv_queued(server.socket) > 0 {
                server.stack.recv(self.now, server.socket, WRITE, RecvFlags::default()).unwrap();
            }
            self.exchange();
        }
    }
}

#[test]
fn a_transfer_allocates_nothing_per_packet() {
    let data = vec![0x55; WRITE];
    for checksums in [false, true] {
        let mut transfer = Transfer::new(checksums);
        transfer.run(&data, WRITES);
        let counts = |transfer: &Transfer| {
            (transfer.server.stack.counters()[Counter::IpInReceives], ALLOCATIONS.load(Ordering::Relaxed))
        };
        let before = counts(&transfer);
        transfer.run(&data, WRITES);
        let after = counts(&transfer);
        let (packets, allocations) = (after.0 - before.0, after.1 - before.1);
        assert!(packets > 9_000, "{packets} packets");
        // Nor one for each write: what an idle connection does without, it hands to whom is next.
        assert!(allocations <= WRITES as u64 / 10, "{allocations} allocations for {packets} packets");
    }
}
