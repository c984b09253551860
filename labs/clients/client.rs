//! A static client in Rust, on std alone: fetches `http://HOST:PORT/PATH`, writes the body to a file.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

fn main() -> Result<(), Box<dyn Error>> {
    let [_, authority, path, file] = std::env::args().collect::<Vec<_>>().try_into().map_err(|_| "usage: rust-client HOST:PORT PATH FILE")?;
    let mut stream = TcpStream::connect(&*authority)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {authority}\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let body = response.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no header in the response")? + 4;
    std::fs::write(file, &response[body..])?;
    println!("{} bytes from {}", response.len() - body, stream.peer_addr()?);
    Ok(())
}
