//! Where Sockeye differs from the kernel by design. Everything else that differs is a bug.

/// A case that some implementations leave out.
pub(crate) struct Difference {
    /// `SUBJECT::CASE`.
    pub case: &'static str,
    /// The implementations.
    pub legs: &'static [&'static str],
    /// Why.
    #[expect(dead_code, reason = "for readers")]
    pub reason: &'static str,
}

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[];
