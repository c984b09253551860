//! Reading and writing: order, pieces, ends of file, half-closed connections.

use crate::api::{
    Api, Blocking, BlockingStream, Reader, Stream, Writer, assert_bytes, kind, pair, random_bytes, read_all,
    read_some,
};
use std::io::{ErrorKind, IoSlice};

pub(crate) async fn bytes_arrive_in_order<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(1, 3000);
    for piece in data.chunks(7) {
        client.write_all(piece).await.unwrap();
    }
    assert_bytes(&read_some(&mut server, data.len()).await, &data);
}

pub(crate) async fn a_read_takes_what_fits<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"abcdefg").await.unwrap();
    let mut all = Vec::new();
    while all.len() < 7 {
        let mut buf = [0; 3];
        let len = server.read(&mut buf).await.unwrap();
        assert!((1..=3).contains(&len));
        all.extend_from_slice(&buf[..len]);
    }
    assert_eq!(all, b"abcdefg");
}

pub(crate) async fn a_read_does_not_wait_for_a_full_buffer<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"abc").await.unwrap();
    let mut buf = [9; 100];
    assert_eq!(server.read(&mut buf).await.unwrap(), 3);
    assert_eq!(&buf[..4], b"abc\x09", "the rest of the buffer is untouched");
}

pub(crate) async fn the_end_of_file_stays<A: Api>(api: &A) {
    let (client, mut server) = pair(api).await;
    drop(client);
    for _ in 0..3 {
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    }
}

pub(crate) async fn data_before_the_end_is_read_first<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"last words").await.unwrap();
    drop(client);
    assert_eq!(read_all(&mut server).await, b"last words");
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn a_half_closed_connection_answers<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown_write().await.unwrap();
    assert_eq!(read_all(&mut server).await, b"question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    assert_eq!(read_all(&mut client).await, b"answer");
}

pub(crate) async fn the_server_may_end_first<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    server.shutdown_write().await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.write_all(b"goes on").await.unwrap();
    client.shutdown_write().await.unwrap();
    assert_eq!(read_all(&mut server).await, b"goes on");
}

pub(crate) async fn megabytes_pass_a_half_closed_connection<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.shutdown_write().await.unwrap();
    let data = random_bytes(2, 2 << 20);
    let sent = data.clone();
    let sending = api.spawn(async move { server.write_all(&sent).await.unwrap() });
    assert_bytes(&read_all(&mut client).await, &data);
    sending.join().await;
}

pub(crate) async fn a_write_after_shutdown_is_a_broken_pipe<A: Api>(api: &A) {
    let (mut client, _server) = pair(api).await;
    client.shutdown_write().await.unwrap();
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
    assert_eq!(kind(client.write_all(b"x").await), ErrorKind::BrokenPipe);
}

pub(crate) async fn writing_nothing_does_nothing<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    assert_eq!(client.write(b"").await.unwrap(), 0);
    client.write_all(b"").await.unwrap();
    client.write_all(b"a").await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
}

pub(crate) async fn reading_into_nothing_takes_nothing<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"a").await.unwrap();
    assert_eq!(server.peek(&mut [0; 1]).await.unwrap(), 1);
    assert_eq!(server.read(&mut []).await.unwrap(), 0);
    assert_eq!(read_some(&mut server, 1).await, b"a");
}

pub(crate) async fn flush_has_nothing_to_do<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.flush().await.unwrap();
    client.write_all(b"a").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(read_some(&mut server, 1).await, b"a");
}

pub(crate) async fn read_exact_tells_an_early_end<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"abc").await.unwrap();
    drop(client);
    assert_eq!(kind(server.read_exact(&mut [0; 4]).await), ErrorKind::UnexpectedEof);
}

pub(crate) async fn read_exact_collects_pieces<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let reading = api.spawn(async move { read_some(&mut server, 6).await });
    for piece in [&b"ab"[..], b"cd", b"ef"] {
        client.write_all(piece).await.unwrap();
    }
    assert_eq!(reading.join().await, b"abcdef");
}

pub(crate) async fn a_read_waits_for_data<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let reading = api.spawn(async move {
        let mut buf = [0; 8];
        let len = server.read(&mut buf).await.unwrap();
        buf[..len].to_vec()
    });
    client.write_all(b"late").await.unwrap();
    assert_eq!(reading.join().await, b"late");
}

pub(crate) async fn a_close_ends_a_read<A: Api>(api: &A) {
    let (client, mut server) = pair(api).await;
    let reading = api.spawn(async move { server.read(&mut [0; 8]).await.unwrap() });
    drop(client);
    assert_eq!(reading.join().await, 0);
}

pub(crate) async fn a_write_waits_for_a_reader<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(3, 6 << 20);
    let sent = data.clone();
    let writing = api.spawn(async move {
        client.write_all(&sent).await.unwrap();
        client
    });
    let mut first = vec![0; 10];
    server.read_exact(&mut first).await.unwrap();
    assert_eq!(first, data[..10]);
    let rest = read_some(&mut server, data.len() - 10).await;
    assert_bytes(&rest, &data[10..]);
    drop(writing.join().await);
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
}

pub(crate) async fn questions_and_answers_alternate<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let answering = api.spawn(async move {
        let mut count = 0_u32;
        let mut number = [0; 4];
        while server.read_exact(&mut number).await.is_ok() {
            let answer = u32::from_be_bytes(number).wrapping_mul(2_654_435_761);
            server.write_all(&answer.to_be_bytes()).await.unwrap();
            count += 1;
        }
        count
    });
    for question in 0..500_u32 {
        client.write_all(&question.to_be_bytes()).await.unwrap();
        let answer = read_some(&mut client, 4).await;
        assert_eq!(answer, question.wrapping_mul(2_654_435_761).to_be_bytes());
    }
    drop(client);
    assert_eq!(answering.join().await, 500);
}

pub(crate) async fn both_directions_flow_at_once<A: Api>(api: &A) {
    let (client, server) = pair(api).await;
    let (up, down) = (random_bytes(4, 3_000_001), random_bytes(5, 2_999_999));
    let mut tasks = Vec::new();
    let mut received = Vec::new();
    for (stream, data) in [(client, up.clone()), (server, down.clone())] {
        let (mut reader, mut writer) = stream.halves();
        tasks.push(api.spawn(async move {
            writer.write_all(&data).await.unwrap();
            writer.shutdown().await.unwrap();
        }));
        received.push(api.spawn(async move {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await.unwrap();
            bytes
        }));
    }
    for task in tasks {
        task.join().await;
    }
    let mut received = received.into_iter();
    assert_bytes(&received.next().unwrap().join().await, &down);
    assert_bytes(&received.next().unwrap().join().await, &up);
}

pub(crate) async fn single_bytes_arrive<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.set_nodelay(true).unwrap();
    let data = random_bytes(6, 2000);
    for byte in &data {
        assert_eq!(client.write(&[*byte]).await.unwrap(), 1);
    }
    drop(client);
    assert_bytes(&read_all(&mut server).await, &data);
}

pub(crate) async fn shared_references_read_and_write<A: Blocking>(api: &A) {
    let (client, server) = pair(api).await;
    assert_eq!(client.write_shared(b"shared").unwrap(), 6);
    let mut buf = [0; 16];
    assert_eq!(server.read_shared(&mut buf).unwrap(), 6);
    assert_eq!(&buf[..6], b"shared");
}

/// As the kernel does it: a write that may wait is done when all of it is taken.
pub(crate) async fn a_blocking_write_takes_everything<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(7, 5_000_011);
    let sent = data.clone();
    let writing = api.spawn(async move {
        let one = client.write(&sent[..4_000_000]).await.unwrap();
        let slices = [IoSlice::new(&sent[4_000_000..4_000_100]), IoSlice::new(&sent[4_000_100..])];
        (one, client.write_vectored(&slices).await.unwrap())
    });
    assert_bytes(&read_all(&mut server).await, &data);
    assert_eq!(writing.join().await, (4_000_000, 1_000_011));
}
