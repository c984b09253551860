//! `sockeye local`: local sockets by hand, as netcat's `-U`, and how fast they are here.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use sockeye_local::{DEFAULT_RING, LocalDatagram, LocalListener, LocalStream};
use sockeye_run::EndSignals;

use crate::args::LocalCommand;
use crate::error::CliError;

/// How long each figure is measured.
const SPAN: Duration = Duration::from_millis(300);

pub(crate) fn run(command: &LocalCommand) -> Result<ExitCode, CliError> {
    match command {
        LocalCommand::Listen { path, datagram: true } => listen_to_datagrams(path),
        LocalCommand::Connect { path, datagram: true } => {
            send(path).map_err(|error| why_no_connection(path, &error))?;
            Ok(ExitCode::SUCCESS)
        }
        LocalCommand::Listen { path, datagram: false } => listen(path),
        LocalCommand::Connect { path, datagram: false } => {
            relay(LocalStream::connect(path).map_err(|error| why_no_connection(path, &error))?)
        }
        LocalCommand::Bench { path } => {
            let (listener, name) = bind(path, LocalListener::bind)?;
            bench(&listener, name).map_err(|error| about(path, &error))
        }
    }
}

/// Waits for one connection, for which the name was. Whoever ends it meanwhile finds no file left.
fn listen(path: &Path) -> Result<ExitCode, CliError> {
    let signals = EndSignals::hold()?;
    let (listener, name) = bind(path, LocalListener::bind)?;
    listener.set_nonblocking(true)?;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(about(path, &error)),
        }
        let mut sources = [PollFd::new(&listener, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        let _ = rustix::event::poll(&mut sources, None);
        if !sources[1].revents().is_empty() {
            drop(name);
            return Ok(signals.end());
        }
    };
    drop((name, signals, listener));
    relay(stream)
}

/// Until nobody reads what is printed, or it is ended.
fn listen_to_datagrams(path: &Path) -> Result<ExitCode, CliError> {
    let signals = EndSignals::hold()?;
    let (socket, name) = bind(path, LocalDatagram::bind)?;
    let also = name.clone();
    thread::spawn(move || {
        while rustix::event::poll(&mut [PollFd::new(&signals, PollFlags::IN)], None).is_err() {}
        drop(also);
        signals.end()
    });
    receive(&socket).map_err(|error| about(&name.path, &error))?;
    Ok(ExitCode::SUCCESS)
}

/// The file of a listener, removed at the end if it is that still.
#[derive(Clone)]
struct Name {
    path: PathBuf,
    file: Option<(u64, u64)>,
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.file.is_some() && self.file == file(&self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn file(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|file| (file.dev(), file.ino()))
}

fn is_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.file_type().is_socket())
}

fn bind<'a, T>(path: &'a Path, bind: impl FnOnce(&'a Path) -> io::Result<T>) -> Result<(T, Name), CliError> {
    let listener = bind(path).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse if is_socket(path) => told(path, "somebody listens there"),
        io::ErrorKind::AddrInUse => told(path, "what is there is no socket, and stays"),
        io::ErrorKind::NotFound => told(path, "there is no such folder to put a socket in"),
        io::ErrorKind::PermissionDenied => told(path, "permission denied: you may not make files there"),
        _ => about(path, &error),
    })?;
    Ok((listener, Name { path: path.to_owned(), file: file(path) }))
}

fn why_no_connection(path: &Path, error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused if is_socket(path) => {
            told(path, "nobody listens there; the file is left over")
        }
        io::ErrorKind::ConnectionRefused => told(path, "what is there is no socket"),
        io::ErrorKind::PermissionDenied => {
            told(path, "permission denied: to connect is to write to the file")
        }
        _ if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            told(path, "the socket there is of another type (see --datagram)")
        }
        _ => about(path, error),
    }
}

fn told(path: &Path, why: &str) -> CliError {
    CliError::failed(why).about(&path.display().to_string())
}

fn about(path: &Path, error: &io::Error) -> CliError {
    told(path, &error.to_string())
}

/// Standard input goes to the other end, what comes from it to standard output, until both have ended or the other end is
/// closed.
fn relay(stream: LocalStream) -> Result<ExitCode, CliError> {
    let (is_over, over) = mpsc::channel();
    let (sender, is_sent) = (stream.try_clone()?, is_over.clone());
    thread::spawn(move || {
        // A peer that doesn't read any more may still say something.
        let _ = pass(&mut io::stdin().lock(), &mut &sender);
        let _ = sender.shutdown(Shutdown::Write);
        let _ = is_sent.send(());
    });
    match pass(&mut &stream, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    thread::spawn(move || {
        // Told of in any case: that the other end is closed, not only shut for writing.
        let _ = rustix::event::poll(&mut [PollFd::new(&stream, PollFlags::empty())], None);
        let _ = is_over.send(());
    });
    let _ = over.recv();
    Ok(ExitCode::SUCCESS)
}

/// Datagrams that come are printed, until nobody reads that; once one has come whose sender has a name, standard input goes
/// there, and only that sender is heard.
fn receive(socket: &LocalDatagram) -> io::Result<()> {
    let mut has_peer = false;
    loop {
        if !has_peer {
            let (_, from) = socket.peek_from(&mut [])?;
            // Who is gone by now gets no answer.
            if !from.is_unnamed() && socket.connect_addr(&from).is_ok() {
                has_peer = true;
                let socket = socket.try_clone()?;
                thread::spawn(move || pass(&mut io::stdin().lock(), &mut Datagrams(socket)));
            }
        }
        if !print(socket)? {
            return Ok(());
        }
    }
}

/// What is read is sent, and what is answered meanwhile is printed.
fn send(path: &Path) -> io::Result<()> {
    // A name of the kernel's choice, so that there can be answers.
    let socket = LocalDatagram::bind("")?;
    socket.connect(path)?;
    let answers = socket.try_clone()?;
    thread::spawn(move || while print(&answers).is_ok_and(|is_read| is_read) {});
    pass(&mut io::stdin().lock(), &mut Datagrams(socket))
}

/// Prints the next datagram; says whether anybody reads that.
fn print(socket: &LocalDatagram) -> io::Result<bool> {
    // The kernel's are no longer.
    let mut datagram = vec![0; 256 << 10];
    let count = socket.recv(&mut datagram)?;
    let mut output = io::stdout().lock();
    match output.write_all(&datagram[..count]).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        printed => printed.map(|()| true),
    }
}

/// Whatever is written at once is one datagram.
struct Datagrams(LocalDatagram);

impl Write for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes on what is read as soon as it is there.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count]).and_then(|()| to.flush())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Shared memory beside the kernel's carrier, by one listener at the path.
fn bench(listener: &LocalListener, name: Name) -> io::Result<ExitCode> {
    type Measure = fn(LocalStream, LocalStream) -> io::Result<f64>;
    let rows: [(&str, &str, Measure); 4] = [
        ("64 B writes", "Gbit/s", |to, from| throughput(to, &from, 64)),
        ("1 KiB writes", "Gbit/s", |to, from| throughput(to, &from, 1 << 10)),
        ("64 KiB writes", "Gbit/s", |to, from| throughput(to, &from, 64 << 10)),
        ("round trip, 1 B", "µs", round_trip),
    ];
    let mut connections = Vec::new();
    for _ in &rows {
        let ours = (LocalStream::connect_with(&name.path, DEFAULT_RING)?, listener.accept()?.0);
        let plain = LocalStream::from(std::os::unix::net::UnixStream::connect(&name.path)?);
        connections.push([ours, (plain, listener.accept()?.0)]);
    }
    // So that nothing is left of it if it is ended meanwhile.
    drop(name);
    println!("{:<28}{:>16}{:>16}", "", "shared memory", "kernel");
    for ((what, unit, measure), pairs) in rows.into_iter().zip(connections) {
        let [ours, plain] = pairs.map(|(to, from)| measure(to, from));
        println!("{what:<28}{:>16}{:>16}", format!("{:.2} {unit}", ours?), format!("{:.2} {unit}", plain?));
    }
    Ok(ExitCode::SUCCESS)
}

/// Gbit/s of writes of a size.
fn throughput(mut to: LocalStream, from: &LocalStream, size: usize) -> io::Result<f64> {
    thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let (bytes, start) = (vec![0; size], Instant::now());
            while start.elapsed() < SPAN {
                to.write_all(&bytes)?;
            }
            io::Result::Ok(())
        });
        let mut buffer = vec![0; 64 << 10];
        let (start, mut total) = (Instant::now(), 0);
        loop {
            match (&mut &*from).read(&mut buffer)? {
                0 => break,
                count => total += count,
            }
        }
        writing.join().map_err(|_| io::ErrorKind::Other)??;
        Ok(total as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9)
    })
}

/// Microseconds there and back.
fn round_trip(mut asking: LocalStream, answering: LocalStream) -> io::Result<f64> {
    let echo = thread::spawn(move || pass(&mut &answering, &mut &answering));
    let (start, mut rounds) = (Instant::now(), 0_u32);
    while start.elapsed() < SPAN {
        asking.write_all(&[0])?;
        asking.read_exact(&mut [0])?;
        rounds += 1;
    }
    let spent = start.elapsed();
    drop(asking);
    echo.join().map_err(|_| io::ErrorKind::Other)??;
    Ok(spent.as_secs_f64() * 1e6 / f64::from(rounds))
}
