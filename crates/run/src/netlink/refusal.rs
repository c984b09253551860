//! Why a request is refused: an errno, and for who set `NETLINK_EXT_ACK` what Linux says about it.

use sockeye_posix::Errno;

/// `NLMSGERR_ATTR_MSG` and `NLMSGERR_ATTR_MISS_TYPE` of `linux/netlink.h`.
const MESSAGE: u16 = 1;
const MISSING: u16 = 5;

/// An error in answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) errno: Errno,
    hint: Hint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    None,
    /// A sentence.
    Says(&'static str),
    /// The attribute that the request lacks.
    Lacks(u16),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal { errno, hint: Hint::None }
    }
}

impl Refusal {
    /// An errno with a sentence.
    pub(super) const fn says(errno: Errno, sentence: &'static str) -> Refusal {
        Refusal { errno, hint: Hint::Says(sentence) }
    }

    /// EINVAL for want of an attribute.
    pub(super) const fn lacks(attribute: u16) -> Refusal {
        Refusal { errno: Errno::EINVAL, hint: Hint::Lacks(attribute) }
    }

    /// The attributes that tell more, padded; none if the errno is all there is to tell.
    pub(super) fn attributes(&self) -> Vec<u8> {
        match self.hint {
            Hint::None => Vec::new(),
            Hint::Says(sentence) => attribute(MESSAGE, &[sentence.as_bytes(), &[0]].concat()),
            Hint::Lacks(kind) => attribute(MISSING, &u32::from(kind).to_ne_bytes()),
        }
    }
}

/// A `struct nlattr` with its value.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = 4 + value.len() as u16;
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
