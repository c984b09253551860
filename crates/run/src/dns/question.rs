//! What a client asked, as it is asked outside, and what its answer must look like.

use super::response::opt_record;
use super::{HEADER_LEN, Transport, limit};
use hickory_proto::op::{Message, OpCode};
use hickory_proto::serialize::binary::BinEncodable;

/// Length of type and class, which follow the name.
const TYPE_AND_CLASS_LEN: usize = 4;

/// What changes an answer beside the question: RD, AD and CD of the header, whether there is an OPT record, and
/// its DO bit (RFC 6840 §5.7 and 5.9, RFC 3225).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    recursion: bool,
    authentic: bool,
    unchecked: bool,
    edns: bool,
    dnssec_ok: bool,
}

/// Names what is asked: askers with the same key get the same answer. Names compare without case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    question: Box<[u8]>,
    wish: Wish,
}

impl Key {
    /// How many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Key>() + self.question.len()
    }
}

/// Whether two questions are the same: names compare without case (RFC 4343), type and class don't.
pub(crate) fn same_question(a: &[u8], b: &[u8]) -> bool {
    match (a.split_last_chunk::<TYPE_AND_CLASS_LEN>(), b.split_last_chunk::<TYPE_AND_CLASS_LEN>()) {
        (Some((name, rest)), Some((other_name, other_rest))) => {
            rest == other_rest && name.eq_ignore_ascii_case(other_name)
        }
        _ => false,
    }
}

/// A client's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The client's number for it.
    pub(crate) id: u16,
    /// Name, type and class, as the client spells them.
    pub(crate) question: Box<[u8]>,
    /// The longest answer it takes.
    pub(crate) limit: usize,
    wish: Wish,
}

impl Asked {
    /// What this message asks; none where it is not a plain query with one question.
    pub(crate) fn from_message(message: &Message, transport: Transport) -> Option<Asked> {
        let ([question], OpCode::Query) = (message.queries.as_slice(), message.metadata.op_code) else {
            return None;
        };
        let edns = message.edns.as_ref();
        let wish = Wish {
            recursion: message.metadata.recursion_desired,
            authentic: message.metadata.authentic_data,
            unchecked: message.metadata.checking_disabled,
            edns: edns.is_some(),
            dnssec_ok: edns.is_some_and(|edns| edns.flags().dnssec_ok),
        };
        Some(Asked {
            id: message.metadata.id,
            question: question.to_bytes().ok()?.into(),
            limit: limit(message, transport),
            wish,
        })
    }

    /// What this has in common with others who ask the same.
    pub(crate) fn key(&self) -> Key {
        let mut question = self.question.clone();
        let name = question.len().saturating_sub(TYPE_AND_CLASS_LEN);
        // The lengths of labels are no letters.
        question[..name].make_ascii_lowercase();
        Key { question, wish: self.wish }
    }

    /// The type that is asked for.
    pub(crate) fn kind(&self) -> u16 {
        let kind = self.question.last_chunk::<TYPE_AND_CLASS_LEN>();
        kind.map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The query that asks it under this number. The client's EDNS options are between it and us.
    pub(crate) fn query(&self, id: u16) -> Vec<u8> {
        let opt = self.opt(0);
        let mut query = Vec::with_capacity(HEADER_LEN + self.question.len() + opt.len());
        query.extend_from_slice(&id.to_be_bytes());
        query.push(self.wish.recursion.into());
        query.push(u8::from(self.wish.authentic) << 5 | u8::from(self.wish.unchecked) << 4);
        query.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, self.wish.edns.into()]);
        query.extend_from_slice(&self.question);
        query.extend_from_slice(&opt);
        query
    }

    /// The OPT record that goes with it and with its answer; nothing without EDNS.
    pub(crate) fn opt(&self, code_high: u8) -> Vec<u8> {
        if self.wish.edns { opt_record(code_high, self.wish.dnssec_ok).to_vec() } else { Vec::new() }
    }
}
