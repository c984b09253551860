//! Who is at the other end.

/// A process as the kernel knows it, at the time when its socket was connected or began to listen.
///
/// ```
/// let (stream, _other) = sockeye_local::LocalStream::pair()?;
/// assert_eq!(stream.peer_cred()?.pid, Some(std::process::id()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The process; none if it has no number in this one's namespace.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}
