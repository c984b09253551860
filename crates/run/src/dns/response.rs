//! An answer of another name server, as it is kept and handed on.
//!
//! The answer stays the bytes that came: record types that nobody here knows pass as they are. [`Response::parse`]
//! walks over them once (RFC 1035 §4.1), so that whoever is given them can rely on their form, and notes where
//! the TTLs stand. The OPT record belongs to one hop only (RFC 6891 §6.2.1), so it is cut off, and who asked with
//! one gets one of ours.

use super::question::Asked;
use super::{HEADER_LEN, UDP_MAX};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

/// The longest that an answer is kept, and the longest that one is kept which says that there is nothing.
const POSITIVE_MAX: Duration = Duration::from_hours(1);
const NEGATIVE_MAX: Duration = Duration::from_mins(15);
/// What a record has between its name and its data: type, class, TTL, length of the data.
const RECORD_HEAD_LEN: usize = 10;
/// What an SOA record has behind its two names.
const SOA_NUMBERS_LEN: usize = 20;

const TYPE_A: u16 = 1;
const TYPE_SOA: u16 = 6;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const TYPE_ANY: u16 = 255;

const NO_ERROR: u16 = 0;
const SERV_FAIL: u16 = 2;
const NX_DOMAIN: u16 = 3;
const NOT_IMP: u16 = 4;
const REFUSED: u16 = 5;

/// Bits of the header's flags.
const FLAG_RESPONSE: u8 = 0x80;
const FLAG_AUTHORITATIVE: u8 = 0x04;
const FLAG_TRUNCATED: u8 = 0x02;
const OP_CODE: u8 = 0x78;

/// A whole answer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The message up to its OPT record.
    bytes: Vec<u8>,
    question_end: usize,
    /// Where the TTLs stand.
    ttls: Vec<u16>,
    /// With the high bits, which come in the OPT record.
    code: u16,
    lifetime: Duration,
}

impl Response {
    /// Reads an answer to one question, at most 65,535 bytes long; none if it is no such thing. Of a truncated
    /// one nothing but the question is kept: it may end anywhere.
    pub(crate) fn parse(message: &[u8]) -> Option<Response> {
        let header = message.first_chunk::<HEADER_LEN>()?;
        let is_answer = header[2] & (FLAG_RESPONSE | OP_CODE) == FLAG_RESPONSE;
        if !is_answer || message.len() > usize::from(u16::MAX) || count(header, 0) != 1 {
            return None;
        }
        let question_end = skip_name(message, HEADER_LEN)?.checked_add(4)?;
        message.get(..question_end)?;
        let mut response = Response {
            bytes: Vec::new(),
            question_end,
            ttls: Vec::new(),
            code: (header[3] & 0xf).into(),
            lifetime: Duration::ZERO,
        };
        if header[2] & FLAG_TRUNCATED != 0 {
            response.bytes = message[..question_end].to_vec();
            response.bytes[6..HEADER_LEN].fill(0);
            return Some(response);
        }
        let (end, additionals) = response.walk(message)?;
        response.bytes = message[..end].to_vec();
        response.bytes[10..HEADER_LEN].copy_from_slice(&additionals.to_be_bytes());
        Some(response)
    }

    /// Whether these bytes answer the query with this id with no more than a header that says that it failed.
    pub(crate) fn is_bare_failure(message: &[u8], id: u16) -> bool {
        message.first_chunk::<HEADER_LEN>().is_some_and(|header| {
            header[..2] == id.to_be_bytes()
                && header[2] & FLAG_RESPONSE != 0
                && header[3] & 0xf != 0
                && count(header, 0) == 0
        })
    }

    /// Walks over the records; returns where those that are kept end, and how many are additional ones.
    fn walk(&mut self, message: &[u8]) -> Option<(usize, u16)> {
        let mut at = self.question_end;
        let mut least = None;
        let mut negative = None;
        let mut kept = None;
        let wanted = u16::from_be_bytes([message[at - 4], message[at - 3]]);
        let mut found = wanted == TYPE_ANY;
        for section in 1..=3 {
            for number in 0..count(message, section) {
                let record = RecordAt::read(message, at)?;
                if record.kind == TYPE_OPT {
                    // RFC 6891 §6.1.1: one, in the additional section. What follows it there goes along.
                    if section != 3 || kept.is_some() {
                        return None;
                    }
                    kept = Some((at, number));
                    self.code |= u16::from(message[record.ttl_at]) << 4;
                } else if kept.is_none() {
                    self.ttls.push(record.ttl_at as u16);
                    let ttl = record.ttl(message);
                    if section == 1 {
                        found |= record.kind == wanted;
                        least = Some(least.unwrap_or(ttl).min(ttl));
                    } else if section == 2 && record.kind == TYPE_SOA {
                        negative = Some(record.soa_minimum(message)?.min(ttl));
                    }
                }
                at = record.data.end;
            }
        }
        // RFC 2308 §5: without an SOA record, that there is nothing SHOULD NOT be kept.
        let holds = match self.code {
            NO_ERROR => (found && least.is_some()) || negative.is_some(),
            NX_DOMAIN => negative.is_some(),
            _ => false,
        };
        if holds {
            self.lifetime = lifetime(least, negative);
        }
        Some(kept.unwrap_or((at, count(message, 3))))
    }

    /// The transaction's number.
    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// The question, with name, type and class.
    pub(crate) fn question(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..self.question_end]
    }

    /// Whether there was more to say than had room.
    pub(crate) fn is_truncated(&self) -> bool {
        self.bytes[2] & FLAG_TRUNCATED != 0
    }

    /// Whether the server could not answer, while another one might.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self.code, SERV_FAIL | NOT_IMP | REFUSED)
    }

    /// Whether one of its addresses is in one of these subnets.
    pub(crate) fn leads_into(&self, subnets: &[(IpAddr, u8)]) -> bool {
        let mut at = self.question_end;
        let records_max = (1..=3).map(|section| usize::from(count(&self.bytes, section))).sum();
        let records = std::iter::from_fn(|| {
            let record = RecordAt::read(&self.bytes, at)?;
            at = record.data.end;
            Some(record)
        });
        records
            .take(records_max)
            .filter_map(|record| record.address(&self.bytes))
            .any(|address| subnets.iter().any(|&(first, prefix)| is_in(address, first, prefix)))
    }

    /// Takes all records out: the name exists, and has nothing of what was asked for. That is not kept.
    pub(crate) fn empty(&mut self) {
        self.bytes.truncate(self.question_end);
        self.bytes[6..HEADER_LEN].fill(0);
        self.ttls.clear();
        self.lifetime = Duration::ZERO;
    }

    /// How long it may be kept; zero: not at all.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// How many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + size_of::<u16>() * self.ttls.len()
    }

    /// The answer to `asked`, which asks this answer's question in whatever case, after it was kept for `age`.
    pub(crate) fn answer(&self, asked: &Asked, age: Duration) -> Vec<u8> {
        let mut answer = self.bytes.clone();
        let age = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        for &at in &self.ttls {
            let at = usize::from(at);
            if let Some(ttl) = answer.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *ttl = plain_ttl(*ttl).saturating_sub(age).to_be_bytes();
            }
        }
        // Who passes on what others know speaks with no authority, and says so.
        answer[2] &= !(FLAG_AUTHORITATIVE | FLAG_TRUNCATED);
        complete(answer, asked, self.code, self.question_end)
    }
}

/// The answer that says no more than `code`.
pub(crate) fn failure(asked: &Asked, code: u16) -> Vec<u8> {
    let mut answer = asked.query(asked.id);
    answer.truncate(HEADER_LEN + asked.question.len());
    // RA: recursion is on offer.
    answer[2] |= FLAG_RESPONSE;
    answer[3] = answer[3] & 0x10 | 0x80 | (code & 0xf) as u8;
    answer[6..HEADER_LEN].fill(0);
    let end = answer.len();
    complete(answer, asked, code, end)
}

/// SERVFAIL: nobody could be asked.
pub(crate) fn server_failure(asked: &Asked) -> Vec<u8> {
    failure(asked, SERV_FAIL)
}

/// REFUSED: we don't do that.
pub(crate) fn refusal(asked: &Asked) -> Vec<u8> {
    failure(asked, REFUSED)
}

/// Makes an answer the asker's: number and spelling of the question, its OPT record, at most its limit.
fn complete(mut answer: Vec<u8>, asked: &Asked, code: u16, question_end: usize) -> Vec<u8> {
    answer[..2].copy_from_slice(&asked.id.to_be_bytes());
    answer[HEADER_LEN..question_end].copy_from_slice(&asked.question);
    let opt = asked.opt((code >> 4) as u8);
    if answer.len() + opt.len() > asked.limit {
        answer.truncate(question_end);
        answer[2] |= FLAG_TRUNCATED;
        answer[6..HEADER_LEN].fill(0);
    }
    if !opt.is_empty() {
        let additionals = count(&answer, 3).saturating_add(1);
        answer[10..HEADER_LEN].copy_from_slice(&additionals.to_be_bytes());
        answer.extend_from_slice(&opt);
    }
    answer
}

/// How long an answer may be kept: for the least TTL of its records, and for as long as the SOA record says
/// that there will be nothing (RFC 2308 §5).
fn lifetime(least: Option<u32>, negative: Option<u32>) -> Duration {
    let seconds = |ttl: u32| Duration::from_secs(ttl.into());
    let positive = least.map(|ttl| seconds(ttl).min(POSITIVE_MAX));
    let negative = negative.map(|ttl| seconds(ttl).min(NEGATIVE_MAX));
    [positive, negative].into_iter().flatten().min().unwrap_or(Duration::ZERO)
}

/// Where the parts of a record stand.
struct RecordAt {
    kind: u16,
    ttl_at: usize,
    data: Range<usize>,
}

impl RecordAt {
    fn read(message: &[u8], at: usize) -> Option<RecordAt> {
        let head_at = skip_name(message, at)?;
        let head = message.get(head_at..)?.first_chunk::<RECORD_HEAD_LEN>()?;
        let data_at = head_at + RECORD_HEAD_LEN;
        let data = data_at..data_at + usize::from(u16::from_be_bytes([head[8], head[9]]));
        message.get(data.clone())?;
        Some(RecordAt { kind: u16::from_be_bytes([head[0], head[1]]), ttl_at: head_at + 4, data })
    }

    fn ttl(&self, message: &[u8]) -> u32 {
        message.get(self.ttl_at..).and_then(|rest| rest.first_chunk()).map_or(0, |ttl| plain_ttl(*ttl))
    }

    /// The address of an A or AAAA record; an IPv4 one in IPv6's clothes is the IPv4 one.
    fn address(&self, message: &[u8]) -> Option<IpAddr> {
        let data = &message[self.data.clone()];
        match self.kind {
            TYPE_A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            TYPE_AAAA => <[u8; 16]>::try_from(data).ok().map(|data| IpAddr::from(data).to_canonical()),
            _ => None,
        }
    }

    /// The last of an SOA record's numbers.
    fn soa_minimum(&self, message: &[u8]) -> Option<u32> {
        let data = &message[self.data.clone()];
        // Two names have a byte each at least.
        (data.len() >= SOA_NUMBERS_LEN + 2).then(|| data.last_chunk().map(|last| plain_ttl(*last)))?
    }
}

/// Whether an address is in a subnet.
fn is_in(address: IpAddr, first: IpAddr, prefix: u8) -> bool {
    match (address, first) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix.into(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix.into(),
        _ => false,
    }
}

/// RFC 2181 §8: a TTL with the highest bit set is zero.
fn plain_ttl(bytes: [u8; 4]) -> u32 {
    let ttl = u32::from_be_bytes(bytes);
    if ttl >> 31 == 0 { ttl } else { 0 }
}

/// A count of the header: 0 questions, 1 answers, 2 authorities, 3 additionals.
fn count(message: &[u8], section: usize) -> u16 {
    u16::from_be_bytes([message[4 + 2 * section], message[5 + 2 * section]])
}

/// Where the name ends that starts here. A pointer must point back, or a reader could follow it for ever.
fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    const NAME_MAX: usize = 255;
    let mut at = start;
    loop {
        let len = usize::from(*message.get(at)?);
        match len >> 6 {
            0 if len == 0 => return Some(at + 1),
            0 => at += 1 + len,
            3 => {
                let target = (len & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                return (HEADER_LEN..start).contains(&target).then_some(at + 2);
            }
            _ => return None,
        }
        if at - start >= NAME_MAX {
            return None;
        }
    }
}

/// An OPT record: what we can take, and the bits that a hop's partner must know (RFC 6891 §6.1.2).
pub(crate) fn opt_record(code_high: u8, dnssec_ok: bool) -> [u8; 11] {
    let [kind_high, kind_low] = TYPE_OPT.to_be_bytes();
    let [size_high, size_low] = UDP_MAX.to_be_bytes();
    let flags = if dnssec_ok { 0x80 } else { 0 };
    [0, kind_high, kind_low, size_high, size_low, code_high, 0, flags, 0, 0, 0]
}

#[cfg(test)]
pub(super) mod tests;
