//! Many bytes and many connections, exact.

use crate::api::{
    Api, Asynchronous, Listener, Reader, Stream, Writer, assert_bytes, listener, pair, random_bytes,
    read_all, read_some,
};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) async fn megabytes_to_the_server<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(30, 8 << 20);
    let sent = data.clone();
    let sending = api.spawn(async move { client.write_all(&sent).await.unwrap() });
    assert_bytes(&read_all(&mut server).await, &data);
    sending.join().await;
}

pub(crate) async fn megabytes_to_the_client<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(31, 8 << 20);
    let sent = data.clone();
    let sending = api.spawn(async move { server.write_all(&sent).await.unwrap() });
    assert_bytes(&read_all(&mut client).await, &data);
    sending.join().await;
}

pub(crate) async fn odd_sizes_both_sides<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(32, 1_000_003);
    let sent = data.clone();
    let sending = api.spawn(async move {
        let mut rest = &sent[..];
        let mut size = 1;
        while !rest.is_empty() {
            size = size * 31 % 20_011;
            let piece = &rest[..size.min(rest.len())];
            client.write_all(piece).await.unwrap();
            rest = &rest[piece.len()..];
        }
    });
    let mut received = Vec::new();
    let mut buf = vec![0; 16_381];
    let mut size = 1;
    loop {
        size = size * 37 % 16_381;
        let len = server.read(&mut buf[..size]).await.unwrap();
        if len == 0 {
            break;
        }
        received.extend_from_slice(&buf[..len]);
    }
    assert_bytes(&received, &data);
    sending.join().await;
}

pub(crate) async fn an_echo_returns_everything<A: Api>(api: &A) {
    let (client, mut server) = pair(api).await;
    let echo = api.spawn(async move {
        let mut buf = vec![0; 30_000];
        let mut total = 0;
        loop {
            let len = server.read(&mut buf).await.unwrap();
            if len == 0 {
                return total;
            }
            server.write_all(&buf[..len]).await.unwrap();
            total += len;
        }
    });
    let data = random_bytes(33, 4 << 20);
    let sent = data.clone();
    let (mut reader, mut writer) = client.halves();
    let sending = api.spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).await.unwrap();
    assert_bytes(&back, &data);
    sending.join().await;
    assert_eq!(echo.join().await, data.len());
}

pub(crate) async fn many_connections_at_once<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let clients: Vec<_> = (0..40_u64)
        .map(|number| {
            let api = api.clone();
            api.clone().spawn(async move {
                let mut stream = api.connect(addr).await.unwrap();
                let data = random_bytes(number, 30_000);
                stream.write_all(&number.to_be_bytes()).await.unwrap();
                stream.write_all(&data).await.unwrap();
                stream.shutdown_write().await.unwrap();
                assert_bytes(&read_all(&mut stream).await, &data);
            })
        })
        .collect();
    let mut servers = Vec::new();
    for _ in 0..40 {
        let (mut stream, _) = listener.accept().await.unwrap();
        servers.push(api.spawn(async move {
            let number = u64::from_be_bytes(read_some(&mut stream, 8).await.try_into().unwrap());
            let data = read_all(&mut stream).await;
            assert_bytes(&data, &random_bytes(number, 30_000));
            stream.write_all(&data).await.unwrap();
            number
        }));
    }
    let mut numbers = BTreeSet::new();
    for server in servers {
        numbers.insert(server.join().await);
    }
    assert_eq!(numbers.len(), 40);
    for client in clients {
        client.join().await;
    }
}

pub(crate) async fn connections_in_a_row<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    for round in 0..100_u32 {
        let mut client = api.connect(addr).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(&round.to_be_bytes()).await.unwrap();
        drop(client);
        assert_eq!(read_all(&mut server).await, round.to_be_bytes());
    }
}

pub(crate) async fn connections_do_not_mix<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let client = api.connect(addr).await.unwrap();
        streams.push((client, listener.accept().await.unwrap().0));
    }
    for round in 0..10_u8 {
        for (number, (client, _)) in (0_u8..).zip(&mut streams) {
            client.write_all(&[number, round]).await.unwrap();
        }
        for (number, (_, server)) in (0_u8..).zip(&mut streams) {
            assert_eq!(read_some(server, 2).await, [number, round]);
        }
    }
}

pub(crate) async fn a_full_backlog_empties<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut clients = Vec::new();
    for number in 0..100_u8 {
        let mut client = api.connect(addr).await.unwrap();
        client.write_all(&[number]).await.unwrap();
        clients.push(client);
    }
    for number in 0..100_u8 {
        let (mut server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, clients[usize::from(number)].local_addr().unwrap());
        assert_eq!(read_some(&mut server, 1).await, [number]);
    }
}

pub(crate) async fn accepting_is_shared<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let listener = Arc::new(listener);
    let accepters: Vec<_> = (0..4)
        .map(|_| {
            let listener = Arc::clone(&listener);
            api.spawn(async move {
                let mut peers = Vec::new();
                for _ in 0..5 {
                    peers.push(listener.accept().await.unwrap().1);
                }
                peers
            })
        })
        .collect();
    let mut expected = BTreeSet::new();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = api.connect(addr).await.unwrap();
        expected.insert(client.local_addr().unwrap());
        clients.push(client);
    }
    let mut peers = BTreeSet::new();
    for accepter in accepters {
        peers.extend(accepter.join().await);
    }
    assert_eq!(peers, expected, "each is accepted once");
}

pub(crate) async fn a_chain_of_proxies<A: Api>(api: &A) {
    let (origin, mut to) = listener(api).await;
    let data = random_bytes(34, 500_000);
    let sent = data.clone();
    let serving = api.spawn(async move {
        let (mut stream, _) = origin.accept().await.unwrap();
        stream.write_all(&sent).await.unwrap();
    });
    let mut proxies = Vec::new();
    for _ in 0..3 {
        let (listener, addr) = listener(api).await;
        let (proxy, next) = (api.clone(), to);
        proxies.push(api.spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = proxy.connect(next).await.unwrap();
            let mut buf = vec![0; 10_000];
            loop {
                let len = far.read(&mut buf).await.unwrap();
                if len == 0 {
                    break;
                }
                near.write_all(&buf[..len]).await.unwrap();
            }
        }));
        to = addr;
    }
    let mut client = api.connect(to).await.unwrap();
    assert_bytes(&read_all(&mut client).await, &data);
    serving.join().await;
    for proxy in proxies {
        proxy.join().await;
    }
}

pub(crate) async fn copy_bidirectional_joins_two<A: Asynchronous>(api: &A) {
    let (mut left, mut left_end) = pair(api).await;
    let (mut right_end, mut right) = pair(api).await;
    let proxy =
        api.spawn(async move { tokio::io::copy_bidirectional(&mut left_end, &mut right_end).await.unwrap() });
    left.write_all(b"from the left").await.unwrap();
    left.shutdown_write().await.unwrap();
    assert_eq!(read_all(&mut right).await, b"from the left");
    right.write_all(b"right").await.unwrap();
    drop(right);
    assert_eq!(read_all(&mut left).await, b"right");
    assert_eq!(proxy.join().await, (13, 5));
}
