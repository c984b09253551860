//! Several buffers in one call.

use crate::api::{
    Api, AsyncStream, Asynchronous, Stream, assert_bytes, pair, random_bytes, read_all, read_some,
};
use std::io::{ErrorKind, IoSlice, IoSliceMut};

pub(crate) async fn slices_are_joined<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b"cde"), IoSlice::new(b"f")];
    assert_eq!(client.write_vectored(&slices).await.unwrap(), 6);
    assert_eq!(read_some(&mut server, 6).await, b"abcdef");
}

pub(crate) async fn empty_slices_add_nothing<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let slices = [IoSlice::new(b""), IoSlice::new(b"x"), IoSlice::new(b""), IoSlice::new(b"y")];
    assert_eq!(client.write_vectored(&slices).await.unwrap(), 2);
    assert_eq!(client.write_vectored(&[]).await.unwrap(), 0);
    assert_eq!(client.write_vectored(&[IoSlice::new(b"")]).await.unwrap(), 0);
    drop(client);
    assert_eq!(read_all(&mut server).await, b"xy");
}

pub(crate) async fn more_slices_than_the_kernel_takes<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(7, 3000);
    let mut slices: Vec<IoSlice<'_>> = data.chunks(1).map(IoSlice::new).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let written = client.write_vectored(rest).await.unwrap();
        assert!((1..=rest.len()).contains(&written));
        rest = &mut rest[written..];
    }
    drop(client);
    assert_bytes(&read_all(&mut server).await, &data);
}

pub(crate) async fn large_slices_are_written_in_part_or_whole<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(8, 6 << 20);
    let sent = data.clone();
    let writing = api.spawn(async move {
        let (one, two) = sent.split_at(2_500_000);
        let mut slices = [IoSlice::new(one), IoSlice::new(two)];
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = client.write_vectored(rest).await.unwrap();
            IoSlice::advance_slices(&mut rest, written);
        }
    });
    assert_bytes(&read_all(&mut server).await, &data);
    writing.join().await;
}

pub(crate) async fn buffers_are_filled_in_order<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"abcdefg").await.unwrap();
    let (mut one, mut two, mut three) = ([0; 2], [0; 3], [9; 4]);
    let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two), IoSliceMut::new(&mut three)];
    assert_eq!(server.read_vectored(&mut bufs).await.unwrap(), 7);
    assert_eq!((&one, &two, &three), (b"ab", b"cde", b"fg\x09\x09"));
}

pub(crate) async fn empty_buffers_are_passed_over<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"abc").await.unwrap();
    let (mut one, mut two) = ([0; 2], [0; 1]);
    let mut bufs = [IoSliceMut::new(&mut []), IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(server.read_vectored(&mut bufs).await.unwrap(), 3);
    assert_eq!((&one, &two), (b"ab", b"c"));
}

pub(crate) async fn a_vectored_read_sees_the_end<A: Api>(api: &A) {
    let (client, mut server) = pair(api).await;
    drop(client);
    let (mut one, mut two) = ([0; 2], [0; 2]);
    let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(server.read_vectored(&mut bufs).await.unwrap(), 0);
}

pub(crate) async fn tries_take_several_buffers<A: Asynchronous>(api: &A) {
    let (client, server) = pair(api).await;
    client.writable().await.unwrap();
    assert_eq!(client.try_write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cd")]).unwrap(), 4);
    server.readable().await.unwrap();
    let (mut one, mut two) = ([0; 3], [0; 3]);
    let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(server.try_read_vectored(&mut bufs).unwrap(), 4);
    assert_eq!((&one, &two), (b"abc", b"d\0\0"));
    let mut bufs = [IoSliceMut::new(&mut one)];
    assert_eq!(server.try_read_vectored(&mut bufs).unwrap_err().kind(), ErrorKind::WouldBlock);
}

pub(crate) async fn vectored_writes_are_announced<A: Asynchronous>(api: &A) {
    let (client, _server) = pair(api).await;
    assert!(tokio::io::AsyncWrite::is_write_vectored(&client));
}
