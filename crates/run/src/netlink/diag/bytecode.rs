//! The filters that come with a request for sockets (`INET_DIAG_REQ_BYTECODE`): a little program of comparisons
//! with jumps forward, which takes a socket if it ends exactly behind its last operation.
//!
//! Programs are checked once, as by the kernel: every jump leads to the start of an operation, or to the end, or
//! just beyond it, which refuses. So running one always ends.

use super::super::work::Work;
use sockeye_posix::Errno;
use sockeye_posix::sock_diag::SocketIdentity;

/// Length of `struct inet_diag_bc_op`.
const OP: usize = 4;
/// Length of `struct inet_diag_hostcond`.
const HOST: usize = 8;

// `INET_DIAG_BC_*`.
const NOP: u8 = 0;
const JMP: u8 = 1;
const LOCAL_AT_LEAST: u8 = 2;
const LOCAL_AT_MOST: u8 = 3;
const PEER_AT_LEAST: u8 = 4;
const PEER_AT_MOST: u8 = 5;
const AUTO: u8 = 6;
const LOCAL_HOST: u8 = 7;
const PEER_HOST: u8 = 8;
const DEVICE: u8 = 9;
const MARK: u8 = 10;
const LOCAL_IS: u8 = 11;
const PEER_IS: u8 = 12;
const CGROUP: u8 = 13;

/// A program that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytecode(Vec<u8>);

/// What a program sees of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// `AF_INET` or `AF_INET6`.
    pub(super) family: u8,
    /// Its addresses, ports and interface.
    pub(super) id: &'a SocketIdentity,
    /// Whether its user named its port.
    pub(super) port_named: bool,
}

/// One operation, at the start of what is left of a program.
struct Operation<'a> {
    code: u8,
    yes: usize,
    no: usize,
    /// What is behind it.
    operand: &'a [u8],
}

impl Operation<'_> {
    fn at_start_of(rest: &[u8]) -> Option<Operation<'_>> {
        let &[code, yes, low, high, ref operand @ ..] = rest else { return None };
        Some(Operation { code, yes: yes.into(), no: u16::from_ne_bytes([low, high]).into(), operand })
    }

    /// The second operation that ports are in.
    fn port(&self) -> u16 {
        self.operand.get(2..4).and_then(<[u8]>::first_chunk).map_or(0, |port| u16::from_ne_bytes(*port))
    }

    fn word(&self) -> u32 {
        self.operand.first_chunk().map_or(0, |word| u32::from_ne_bytes(*word))
    }

    fn condition(&self) -> Option<Condition<'_>> {
        let (&[family, prefix, _, _, a, b, c, d], address) = self.operand.split_first_chunk::<HOST>()?;
        let port = i32::from_ne_bytes([a, b, c, d]);
        let (family, prefix) = (i32::from(family), prefix.into());
        let len = match family {
            libc::AF_UNSPEC => 0,
            libc::AF_INET => 4,
            libc::AF_INET6 => 16,
            _ => return None,
        };
        let address = address.get(..len).filter(|_| prefix <= 8 * len)?;
        Some(Condition { family, prefix, port, address })
    }

    /// The length with its operands; EINVAL where they are cut or out of bounds.
    fn len(&self) -> Result<usize, Errno> {
        let operand = match self.code {
            NOP | JMP | AUTO => 0,
            LOCAL_AT_LEAST | LOCAL_AT_MOST | PEER_AT_LEAST | PEER_AT_MOST | LOCAL_IS | PEER_IS | DEVICE => 4,
            LOCAL_HOST | PEER_HOST => HOST + self.condition().ok_or(Errno::EINVAL)?.address.len(),
            // Marks are told to administrators only.
            MARK => return Err(Errno::EPERM),
            CGROUP => 8,
            _ => return Err(Errno::EINVAL),
        };
        if self.operand.len() < operand { Err(Errno::EINVAL) } else { Ok(OP + operand) }
    }
}

/// A `struct inet_diag_hostcond`: the start of an address, and a port or -1.
struct Condition<'a> {
    family: i32,
    prefix: usize,
    port: i32,
    address: &'a [u8],
}

impl Condition<'_> {
    fn holds(&self, family: u8, address: &[u8; 16], port: u16) -> bool {
        if self.port != -1 && self.port != i32::from(port) {
            return false;
        }
        let family = i32::from(family);
        let mapped = || address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let address = match self.family {
            libc::AF_UNSPEC => &address[..],
            same if same == family => &address[..],
            libc::AF_INET if mapped() => &address[12..],
            _ => return false,
        };
        let (whole, bits) = (self.prefix / 8, self.prefix % 8);
        let differs = |at: usize| self.address[at] ^ address[at];
        self.address[..whole] == address[..whole] && (bits == 0 || differs(whole) >> (8 - bits) == 0)
    }
}

impl Bytecode {
    /// Checks a program.
    pub(super) fn new(bytes: &[u8], work: &mut Work) -> Result<Bytecode, Errno> {
        if bytes.len() < OP {
            return Err(Errno::EINVAL);
        }
        let starts = starts(bytes, work);
        let mut rest = bytes;
        while !rest.is_empty() {
            work.step();
            let operation = Operation::at_start_of(rest).ok_or(Errno::EINVAL)?;
            let least = operation.len()?;
            let leads = |by: usize| (least..=rest.len() + OP).contains(&by) && by.is_multiple_of(4);
            if operation.code != NOP {
                let at = bytes.len() - rest.len() + operation.no;
                let lands = operation.no >= rest.len() || starts[at / OP];
                if !leads(operation.no) || !lands {
                    return Err(Errno::EINVAL);
                }
            }
            if !leads(operation.yes) {
                return Err(Errno::EINVAL);
            }
            // Unlike a refusal, going on must not lead beyond the end.
            rest = rest.get(operation.yes..).ok_or(Errno::EINVAL)?;
        }
        Ok(Bytecode(bytes.to_vec()))
    }

    /// Whether it takes a socket.
    pub(super) fn takes(&self, subject: Subject<'_>, work: &mut Work) -> bool {
        let mut rest = &self.0[..];
        while let Some(operation) = Operation::at_start_of(rest) {
            work.step();
            let by = if holds(&operation, subject) { operation.yes } else { operation.no };
            match rest.get(by..) {
                // The check lets none stay where it is.
                Some(next) if by > 0 => rest = next,
                _ => return false,
            }
        }
        rest.is_empty()
    }
}

/// Where operations start, of every fourth byte of a program: they follow each other by where they go on.
fn starts(program: &[u8], work: &mut Work) -> Vec<bool> {
    let mut starts = vec![false; program.len().div_ceil(OP)];
    let mut at = 0;
    while let Some(operation) = program.get(at..).and_then(Operation::at_start_of) {
        work.step();
        starts[at / OP] = true;
        if operation.yes < OP || !operation.yes.is_multiple_of(OP) {
            break;
        }
        at += operation.yes;
    }
    starts
}

fn holds(operation: &Operation<'_>, subject: Subject<'_>) -> bool {
    let Subject { family, id, port_named } = subject;
    let condition = |address, port| operation.condition().is_some_and(|one| one.holds(family, address, port));
    match operation.code {
        JMP => false,
        LOCAL_AT_LEAST => id.local_port >= operation.port(),
        LOCAL_AT_MOST => id.local_port <= operation.port(),
        LOCAL_IS => id.local_port == operation.port(),
        PEER_AT_LEAST => id.peer_port >= operation.port(),
        PEER_AT_MOST => id.peer_port <= operation.port(),
        PEER_IS => id.peer_port == operation.port(),
        AUTO => !port_named,
        LOCAL_HOST => condition(&id.local, id.local_port),
        PEER_HOST => condition(&id.peer, id.peer_port),
        DEVICE => id.interface == operation.word(),
        // One group has all programs, as far as they are told.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sockeye_stack::Domain;

    fn op(code: u8, yes: u8, no: u16) -> Vec<u8> {
        let [low, high] = no.to_ne_bytes();
        vec![code, yes, low, high]
    }

    fn port(code: u8, port: u16) -> Vec<u8> {
        [op(code, 8, 12), op(0, 0, port)].concat()
    }

    fn host(code: u8, family: i32, prefix: u8, port: i32, address: &[u8]) -> Vec<u8> {
        let mut condition = vec![family as u8, prefix, 0, 0];
        condition.extend(port.to_ne_bytes());
        condition.extend(address);
        let len = (OP + condition.len()) as u8;
        [op(code, len, u16::from(len) + 4), condition].concat()
    }

    /// Whether a program takes 10.1.2.3:80 with the peer 10.1.2.4:5000.
    fn takes(program: &[u8]) -> Result<bool, Errno> {
        let addr = |text: &str| text.parse::<std::net::SocketAddr>().unwrap().into();
        let id = SocketIdentity::new(Domain::Inet, addr("10.1.2.3:80"), Some(addr("10.1.2.4:5000")));
        let mut work = Work::default();
        let code = Bytecode::new(program, &mut work)?;
        Ok(code.takes(Subject { family: 2, id: &id, port_named: true }, &mut work))
    }

    #[test]
    fn ports_are_compared() {
        for (code, at, taken) in [
            (LOCAL_IS, 80, true),
            (LOCAL_IS, 81, false),
            (PEER_IS, 5000, true),
            (LOCAL_AT_LEAST, 80, true),
            (LOCAL_AT_LEAST, 81, false),
            (LOCAL_AT_MOST, 79, false),
            (PEER_AT_LEAST, 4999, true),
            (PEER_AT_MOST, 4999, false),
        ] {
            assert_eq!(takes(&port(code, at)), Ok(taken), "{code} {at}");
        }
        // sport = 81 or dport = 5000, as ss writes it.
        let either = [op(LOCAL_IS, 8, 12), op(0, 0, 81), op(JMP, 4, 12), port(PEER_IS, 5000)].concat();
        assert_eq!(takes(&either), Ok(true));
    }

    #[test]
    fn addresses_are_compared_by_prefix() {
        assert_eq!(takes(&host(LOCAL_HOST, 2, 32, -1, &[10, 1, 2, 3])), Ok(true));
        assert_eq!(takes(&host(LOCAL_HOST, 2, 32, -1, &[10, 1, 2, 2])), Ok(false));
        assert_eq!(takes(&host(LOCAL_HOST, 2, 31, -1, &[10, 1, 2, 2])), Ok(true));
        assert_eq!(takes(&host(PEER_HOST, 2, 8, 5000, &[10, 0, 0, 0])), Ok(true));
        assert_eq!(takes(&host(PEER_HOST, 2, 8, 5001, &[10, 0, 0, 0])), Ok(false));
        assert_eq!(takes(&host(PEER_HOST, 0, 0, 5000, &[])), Ok(true));
        assert_eq!(takes(&host(PEER_HOST, 10, 0, -1, &[0; 16])), Ok(false));
        let id =
            SocketIdentity { local: *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03", ..Default::default() };
        let mapped = Subject { family: 10, id: &id, port_named: false };
        let mut work = Work::default();
        let code = Bytecode::new(&host(LOCAL_HOST, 2, 32, -1, &[10, 1, 2, 3]), &mut work).unwrap();
        assert!(code.takes(mapped, &mut work));
    }

    #[test]
    fn other_conditions_have_their_answers() {
        assert_eq!(takes(&op(NOP, 4, 0)), Ok(true));
        assert_eq!(takes(&op(AUTO, 4, 8)), Ok(false));
        assert_eq!(takes(&op(JMP, 4, 4)), Ok(true));
        assert_eq!(takes(&op(JMP, 4, 8)), Ok(false));
        assert_eq!(takes(&[op(DEVICE, 8, 12), vec![0; 4]].concat()), Ok(true));
        assert_eq!(takes(&[op(DEVICE, 8, 12), vec![1; 4]].concat()), Ok(false));
        assert_eq!(takes(&[op(CGROUP, 12, 16), vec![0; 8]].concat()), Ok(true));
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        for bad in [
            vec![],
            op(AUTO, 0, 8),
            op(AUTO, 4, 3),
            op(AUTO, 4, 12),
            op(AUTO, 8, 8),
            op(14, 4, 8),
            host(LOCAL_HOST, 2, 33, -1, &[10, 1, 2, 3]),
            host(LOCAL_HOST, 2, 32, -1, &[10, 1]),
            host(LOCAL_HOST, 3, 0, -1, &[]),
            // The refusal would lead into the middle of the second one.
            [op(LOCAL_IS, 8, 12), op(0, 0, 80), port(PEER_IS, 80)].concat(),
        ] {
            assert_eq!(takes(&bad), Err(Errno::EINVAL), "{bad:?}");
        }
        assert_eq!(takes(&[op(MARK, 12, 16), vec![0; 8]].concat()), Err(Errno::EPERM));
    }

    #[test]
    fn checking_takes_two_steps_for_an_operation() {
        for (count, no) in [(16, 4), (16_000, 4), (16_000, 32_000)] {
            let mut work = Work::default();
            // Jumps that are all taken last lead beyond the end, which refuses.
            let jumps: Vec<u8> = (0..count).flat_map(|at| op(JMP, 4, no.min(4 * (count - at) + 4))).collect();
            assert!(Bytecode::new(&jumps, &mut work).is_ok());
            assert_eq!(work.done(), 2 * usize::from(count), "{no}");
        }
    }

    proptest! {
        #[test]
        fn every_program_that_is_accepted_ends(words in proptest::collection::vec((0_u8..15, 0_u8..24, 0_u16..32), 0..12)) {
            let program: Vec<u8> = words.into_iter().flat_map(|(code, yes, no)| op(code, yes, no)).collect();
            let _ = takes(&program);
        }
    }
}
