//! Differences that are known and told in docs/compatibility.md: a sequence ends at one.

use crate::answer::Answer;
use crate::call::Call;

/// Whether this is a difference that stays, and why.
pub(crate) fn reason(_call: &Call, _ours: &Answer, _kernel: &Answer) -> Option<&'static str> {
    None
}
