//! Where control sockets are, who may have them, and which process owns a name.
//!
//! The folder is `$XDG_RUNTIME_DIR/sockeye`, or `/run/user/UID/sockeye` where that variable is not set (by cron,
//! `su` or `sudo`, whose programs are to meet those of a login), or `/tmp/sockeye-UID` without such a directory:
//! so two users' networks of one name are two networks. It must be ours and closed to others. `NAME.lock` is locked (flock)
//! by the network's process as long as it lives; `NAME.sock` is its control socket, replaced when stale.

use rustix::fs::{FlockOperation, flock};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest name of a network.
const NAME_MAX: usize = 48;
/// Connections to the control socket that may wait.
const BACKLOG: i32 = 256;

/// Why a name has no place.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlaceError {
    /// A network can't be called so.
    BadName(String),
    /// The folder of control files can't be used.
    Folder(PathBuf, String),
    /// A file in it can't be used.
    File(PathBuf, io::Error),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaceError::BadName(name) => write!(
                f,
                "{name:?} can't be a network's name: use letters, digits, '-', '_' and '.', \
                 a letter or digit first, at most {NAME_MAX}"
            ),
            PlaceError::Folder(path, why) => {
                write!(f, "the folder of control files {} can't be used: {why}", path.display())
            }
            PlaceError::File(path, error) => write!(f, "can't use {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for PlaceError {}

/// The folder of this user's control files.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The one that this process's environment names; made if it is missing.
    pub fn of_this_user() -> Result<Folder, PlaceError> {
        Folder::at(Folder::path_of_this_user())
    }

    /// Where it is, or is to be.
    pub(crate) fn path_of_this_user() -> PathBuf {
        let user = rustix::process::geteuid().as_raw();
        let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let candidates = [named, Some(PathBuf::from(format!("/run/user/{user}")))];
        let runtime = candidates.into_iter().flatten().find(|path| is_ours(path).is_ok());
        runtime.map_or_else(|| PathBuf::from(format!("/tmp/sockeye-{user}")), |path| path.join("sockeye"))
    }

    fn at(path: PathBuf) -> Result<Folder, PlaceError> {
        let refused = |why: String| PlaceError::Folder(path.clone(), why);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(refused(error.to_string()));
            }
            _ => {}
        }
        is_ours(&path).map_err(refused)?;
        Ok(Folder(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The place of the network of this name.
    pub fn place(&self, name: &str) -> Result<Place, PlaceError> {
        let bad = || PlaceError::BadName(name.to_owned());
        let first = name.bytes().next().ok_or_else(bad)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.len() > NAME_MAX || !first.is_ascii_alphanumeric() || !name.bytes().all(fits) {
            return Err(bad());
        }
        let file = |ending: &str| self.0.join(format!("{name}.{ending}"));
        Ok(Place { name: name.to_owned(), socket: file("sock"), lock: file("lock") })
    }

    /// The names of all networks that have a control socket here, stale ones too.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| PathBuf::from(entry.file_name()))
            .filter(|path| path.extension() == Some(OsStr::new("sock")))
            .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
            .filter(|name| self.place(name).is_ok())
            .collect();
        names.sort();
        names
    }
}

/// Whether a folder is this user's and nobody else can enter it.
fn is_ours(path: &Path) -> Result<(), String> {
    let found = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !found.is_dir() {
        return Err("it is no folder; remove it".to_owned());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("it belongs to user {}; remove it", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!("others may enter it; run: chmod 700 {}", path.display()));
    }
    Ok(())
}

/// The files of one network.
#[derive(Clone, Debug)]
pub struct Place {
    name: String,
    socket: PathBuf,
    lock: PathBuf,
}

/// The right to be the network of a name, and its control socket. Dropping it gives both up.
#[derive(Debug)]
pub(crate) struct Ownership {
    place: Place,
    _lock: File,
    pub(crate) listener: OwnedFd,
}

impl Place {
    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Becomes the network of this name; none when another process is.
    pub(crate) fn own(&self) -> Result<Option<Ownership>, PlaceError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| PlaceError::File(path, error)
        };
        let Some(lock) = self.take_lock().map_err(failed(&self.lock))? else { return Ok(None) };
        // Whoever made the socket that is there has ended: it would have the lock.
        match fs::remove_file(&self.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PlaceError::File(self.socket.clone(), error));
            }
            _ => {}
        }
        let listener = self.listen().map_err(|error| PlaceError::File(self.socket.clone(), error))?;
        Ok(Some(Ownership { place: self.clone(), _lock: lock, listener }))
    }

    fn take_lock(&self) -> io::Result<Option<File>> {
        loop {
            let options = OpenOptions::new().read(true).write(true).create(true).mode(0o600).clone();
            let file = options.open(&self.lock)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // Its owner before may have removed the file after it was opened here.
            let still_there = fs::metadata(&self.lock).is_ok_and(|there| {
                file.metadata().is_ok_and(|ours| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
            });
            if still_there {
                return Ok(Some(file));
            }
        }
    }

    fn listen(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        bind(&socket, &SocketAddrUnix::new(&self.socket)?)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    }

    /// Connects to the network's control socket; none when there is no such network.
    pub(crate) fn connect(&self) -> io::Result<Option<OwnedFd>> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match connect(&socket, &SocketAddrUnix::new(&self.socket)?) {
            Ok(()) => Ok(Some(socket)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Ownership {
    /// What it is the right to.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        // In this order: who finds no socket may find the lock still taken, and tries again.
        fs::remove_file(&self.place.socket).ok();
        fs::remove_file(&self.place.lock).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path().join("sockeye")).unwrap();
        (scratch, folder)
    }

    #[test]
    fn one_process_at_a_time_owns_a_name() {
        let (_scratch, folder) = folder();
        let place = folder.place("demo").unwrap();
        assert!(place.connect().unwrap().is_none(), "there is no network yet");
        let owner = place.own().unwrap().expect("the name is free");
        assert!(place.own().unwrap().is_none(), "the name is taken");
        assert!(place.connect().unwrap().is_some());
        assert_eq!(folder.names(), ["demo"]);
        drop(owner);
        assert!(folder.names().is_empty(), "nothing stays");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(place.own().unwrap().is_some(), "the name is free again");
    }

    #[test]
    fn what_a_killed_network_left_is_replaced() {
        let (_scratch, folder) = folder();
        let place = folder.place("demo").unwrap();
        drop(place.listen().unwrap());
        File::create(&place.lock).unwrap();
        assert!(place.connect().unwrap().is_none(), "nobody is behind the socket");
        assert!(place.own().unwrap().is_some());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_scratch, folder) = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = Folder::at(folder.path().to_owned()).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        assert!(Folder::at(link).is_err(), "a link may lead anywhere");
    }

    #[test]
    fn names_stay_inside_their_folder() {
        let (_scratch, folder) = folder();
        for bad in ["", "..", "a/b", ".hidden", "-x", "ä", "a b", &"x".repeat(49)] {
            assert!(folder.place(bad).is_err(), "{bad}");
        }
        for good in ["demo", "a.b-c_d", "1"] {
            assert!(folder.place(good).is_ok(), "{good}");
        }
    }
}
