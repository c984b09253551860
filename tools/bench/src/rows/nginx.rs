//! nginx for the rows: its files, and a server on the machine's loopback.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of the file that is downloaded; it has holes, so that no disk is measured.
const LARGE: u64 = 1 << 30;
/// Bytes of the file that is asked for again and again.
const SMALL: usize = 612;
/// How long nginx may take to start.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes what nginx needs to serve `small` and `large` at this port of 127.0.0.1, as `nginx.conf`.
pub(super) fn prepare(folder: &Path, port: u16) -> std::io::Result<()> {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path {}/{kind};", folder.display()));
    let config = format!(
        "worker_processes 2; pid {0}/nginx.pid; error_log {0}/error.log; daemon off;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n  {1}\n  \
         server {{ listen 127.0.0.1:{port}; root {0}; }}\n}}\n",
        folder.display(),
        temporary.join(" "),
    );
    fs::write(folder.join("nginx.conf"), config)?;
    fs::write(folder.join("small"), [b'x'; SMALL])?;
    let large = folder.join("large");
    fs::File::create(&large)?.set_len(LARGE)?;
    // So that the first who asks for it doesn't wait for the page cache.
    std::io::copy(&mut fs::File::open(&large)?, &mut Throwaway)?;
    #[cfg(unix)]
    {
        // nginx started as root serves as another user.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Takes bytes and forgets them. (Into `io::sink` the library would not even read them.)
struct Throwaway;

impl Write for Throwaway {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// nginx on the machine itself; stops when dropped.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    /// Goes when it does.
    _folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Starts it at a free port of 127.0.0.1.
    pub(super) fn start() -> Result<Server, String> {
        let failed = |error: std::io::Error| format!("can't prepare nginx: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let port = free.map_err(failed)?.port();
        prepare(folder.path(), port).map_err(failed)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(|error| format!("can't start nginx: {error}"))?;
        let mut server = Server { process, _folder: folder, port };
        server.wait().map(|()| server)
    }

    fn wait(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if Instant::now() > deadline || !matches!(self.process.try_wait(), Ok(None)) {
                return Err("nginx doesn't start".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // So that it ends its workers, too.
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().ok();
        self.process.wait().ok();
    }
}
