//! `sockeye local`: local sockets by hand, as netcat's `-U`, and how fast they are here.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use sockeye_local::{LocalDatagram, LocalListener, LocalStream};

use crate::args::LocalCommand;
use crate::error::CliError;

/// How long each figure is measured.
const SPAN: Duration = Duration::from_millis(300);

pub(crate) fn run(command: &LocalCommand) -> Result<ExitCode, CliError> {
    match command {
        LocalCommand::Listen { path, datagram: true } => {
            receive(path).map_err(|error| about(path, &error))?;
            Ok(ExitCode::SUCCESS)
        }
        LocalCommand::Connect { path, datagram: true } => {
            send(path).map_err(|error| about(path, &error))?;
            Ok(ExitCode::SUCCESS)
        }
        LocalCommand::Listen { path, datagram: false } => {
            let listener = LocalListener::bind(path).map_err(|error| about(path, &error))?;
            let accepted = listener.accept();
            // The name was for one connection.
            let _ = std::fs::remove_file(path);
            relay(accepted.map_err(|error| about(path, &error))?.0)
        }
        LocalCommand::Connect { path, datagram: false } => {
            relay(LocalStream::connect(path).map_err(|error| about(path, &error))?)
        }
        LocalCommand::Bench { path } => {
            let done = bench(path);
            let _ = std::fs::remove_file(path);
            done.map_err(|error| about(path, &error))
        }
    }
}

fn about(path: &Path, error: &io::Error) -> CliError {
    CliError::failed(error.to_string()).about(&path.display().to_string())
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
fn receive(path: &Path) -> io::Result<()> {
    let socket = LocalDatagram::bind(path)?;
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
        if !print(&socket)? {
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
fn bench(path: &Path) -> io::Result<ExitCode> {
    let listener = LocalListener::bind(path)?;
    println!("{:<28}{:>16}{:>16}", "", "shared memory", "kernel");
    let row = |name: &str, unit: &str, measure: &dyn Fn(LocalStream, LocalStream) -> io::Result<f64>| {
        let ours = LocalStream::connect(path)?;
        let ours = measure(ours, listener.accept()?.0)?;
        let plain = LocalStream::from(std::os::unix::net::UnixStream::connect(path)?);
        let plain = measure(plain, listener.accept()?.0)?;
        println!("{name:<28}{:>16}{:>16}", format!("{ours:.2} {unit}"), format!("{plain:.2} {unit}"));
        io::Result::Ok(())
    };
    for (name, size) in [("64 B writes", 64), ("1 KiB writes", 1 << 10), ("64 KiB writes", 64 << 10)] {
        row(name, "Gbit/s", &|to, from| throughput(to, &from, size))?;
    }
    row("round trip, 1 B", "µs", &round_trip)?;
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
