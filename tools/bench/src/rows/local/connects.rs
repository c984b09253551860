//! Connections that are made and ended.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use sockeye_local::{LocalListener, LocalStream};

use crate::row::{Figure, Row};

const CONNECTIONS: u32 = 5_000;

pub(super) fn rows() -> [Row; 2] {
    [connects("local, connect and accept", 0), connects("local, connect for one question", 1)]
}

/// Connections that are made, accepted and closed, with so many questions of a byte and their answers in between.
fn connects(name: &'static str, questions: usize) -> Row {
    let folder = Rc::new(tempfile::tempdir().ok());
    let theirs = Rc::clone(&folder);
    Row {
        name,
        unit: "/s",
        peer: "AF_UNIX",
        goal: 0.5,
        smaller: false,
        ours: Box::new(move || {
            let path = folder.as_ref().as_ref().ok_or("no folder")?.path().join("ours");
            let listener = LocalListener::bind(&path).map_err(|error| error.to_string())?;
            connects_per_second(&listener, &path, questions)
        }),
        theirs: Box::new(move || {
            let path = theirs.as_ref().as_ref().ok_or("no folder")?.path().join("theirs");
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).map_err(|error| error.to_string())?;
            per_second(|| {
                let mut client = UnixStream::connect(&path)?;
                let (mut server, _) = listener.accept()?;
                ask(&mut client, &mut server, questions)
            })
        }),
    }
}

pub(super) fn connects_per_second(listener: &LocalListener, path: &Path, questions: usize) -> Figure {
    per_second(|| {
        let mut client = LocalStream::connect(path)?;
        let (mut server, _) = listener.accept()?;
        ask(&mut client, &mut server, questions)
    })
}

fn ask(
    client: &mut (impl Read + Write),
    server: &mut (impl Read + Write),
    questions: usize,
) -> std::io::Result<()> {
    for _ in 0..questions {
        client.write_all(&[1])?;
        server.read_exact(&mut [0])?;
        server.write_all(&[2])?;
        client.read_exact(&mut [0])?;
    }
    Ok(())
}

fn per_second(mut connect: impl FnMut() -> std::io::Result<()>) -> Figure {
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        connect().map_err(|error| error.to_string())?;
    }
    Ok(f64::from(CONNECTIONS) / start.elapsed().as_secs_f64())
}
