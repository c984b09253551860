//! Async streams in two halves.

use crate::api::{
    AsyncReader, AsyncStream, AsyncWriter, Asynchronous, Reader, Stream, Writer, assert_bytes, kind, pair,
    random_bytes, read_all, read_some,
};
use std::io::ErrorKind;

pub(crate) async fn borrowed_halves_work_at_once<A: Asynchronous>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(80, 1 << 20);
    let echo = api.spawn(async move {
        let (mut reader, mut writer) = AsyncStream::split(&mut server);
        tokio::io::copy(&mut reader, &mut writer).await.unwrap()
    });
    let mut back = vec![0; data.len()];
    {
        let (mut reader, mut writer) = AsyncStream::split(&mut client);
        let (written, read) = tokio::join!(
            tokio::io::AsyncWriteExt::write_all(&mut writer, &data),
            tokio::io::AsyncReadExt::read_exact(&mut reader, &mut back)
        );
        written.unwrap();
        assert_eq!(read.unwrap(), data.len());
    }
    assert_bytes(&back, &data);
    client.shutdown_write().await.unwrap();
    assert_eq!(echo.join().await, data.len() as u64);
}

pub(crate) async fn a_borrowed_split_ends_nothing<A: Asynchronous>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    drop(AsyncStream::split(&mut client));
    client.write_all(b"whole").await.unwrap();
    assert_eq!(read_some(&mut server, 5).await, b"whole");
}

pub(crate) async fn owned_halves_work_in_two_tasks<A: Asynchronous>(api: &A) {
    let (client, mut server) = pair(api).await;
    let (mut reader, mut writer) = client.halves();
    let writing = api.spawn(async move {
        Writer::write_all(&mut writer, b"question").await.unwrap();
        Writer::shutdown(&mut writer).await.unwrap();
    });
    assert_eq!(read_all(&mut server).await, b"question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    let mut answer = Vec::new();
    Reader::read_to_end(&mut reader, &mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    writing.join().await;
}

pub(crate) async fn a_dropped_writer_ends_its_direction<A: Asynchronous>(api: &A) {
    let (client, mut server) = pair(api).await;
    let (mut reader, writer) = client.halves();
    drop(writer);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    server.write_all(b"back").await.unwrap();
    drop(server);
    let mut back = Vec::new();
    Reader::read_to_end(&mut reader, &mut back).await.unwrap();
    assert_eq!(back, b"back");
}

pub(crate) async fn a_forgotten_writer_ends_nothing<A: Asynchronous>(api: &A) {
    let (client, server) = pair(api).await;
    let (mut reader, writer) = client.halves();
    writer.forget();
    assert_eq!(kind(server.try_read(&mut [0; 8])), ErrorKind::WouldBlock);
    let mut server = server;
    server.write_all(b"back").await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(Reader::read(&mut reader, &mut buf).await.unwrap(), 4);
    drop(reader);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0, "the last half closes");
}

pub(crate) async fn a_dropped_reader_leaves_the_writer<A: Asynchronous>(api: &A) {
    let (client, mut server) = pair(api).await;
    let (reader, mut writer) = client.halves();
    drop(reader);
    Writer::write_all(&mut writer, b"alone").await.unwrap();
    assert_eq!(read_some(&mut server, 5).await, b"alone");
    drop(writer);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn halves_reunite<A: Asynchronous>(api: &A) {
    let (client, mut server) = pair(api).await;
    let local = client.local_addr().unwrap();
    let (reader, writer) = client.halves();
    let mut client = <A::Stream as AsyncStream>::reunite(reader, writer).ok().unwrap();
    assert_eq!(client.local_addr().unwrap(), local);
    client.write_all(b"one").await.unwrap();
    assert_eq!(read_some(&mut server, 3).await, b"one");
    server.write_all(b"again").await.unwrap();
    assert_eq!(read_some(&mut client, 5).await, b"again");
}

pub(crate) async fn strangers_do_not_reunite<A: Asynchronous>(api: &A) {
    let (one, mut one_server) = pair(api).await;
    let (two, mut two_server) = pair(api).await;
    let ((one_reader, one_writer), (two_reader, two_writer)) = (one.halves(), two.halves());
    let (one_reader, two_writer) = <A::Stream as AsyncStream>::reunite(one_reader, two_writer).err().unwrap();
    let mut one = <A::Stream as AsyncStream>::reunite(one_reader, one_writer).ok().unwrap();
    let mut two = <A::Stream as AsyncStream>::reunite(two_reader, two_writer).ok().unwrap();
    one.write_all(b"one").await.unwrap();
    two.write_all(b"two").await.unwrap();
    assert_eq!(read_some(&mut one_server, 3).await, b"one");
    assert_eq!(read_some(&mut two_server, 3).await, b"two");
}

pub(crate) async fn halves_know_their_addresses<A: Asynchronous>(api: &A) {
    let (client, _server) = pair(api).await;
    let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let (reader, writer) = client.halves();
    assert_eq!((reader.local_addr().unwrap(), reader.peer_addr().unwrap()), (local, peer));
    assert_eq!((writer.local_addr().unwrap(), writer.peer_addr().unwrap()), (local, peer));
}

pub(crate) async fn halves_peek_and_try<A: Asynchronous>(api: &A) {
    let (client, server) = pair(api).await;
    let ((_client_reader, writer), (mut reader, _server_writer)) = (client.halves(), server.halves());
    assert_eq!(kind(reader.try_read(&mut [0; 8])), ErrorKind::WouldBlock);
    writer.writable().await.unwrap();
    assert_eq!(writer.try_write(b"try").unwrap(), 3);
    reader.readable().await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(AsyncReader::peek(&mut reader, &mut buf).await.unwrap(), 3);
    assert_eq!(reader.try_read(&mut buf).unwrap(), 3);
    assert_eq!(&buf[..3], b"try");
}
