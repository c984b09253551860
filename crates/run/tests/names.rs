//! Names of the outside world, as the C library, dig and Python ask for them. A small name server on the
//! machine's loopback interface plays the outside.

mod common;

use common::{Lab, has};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

/// A name server with an address for every name that starts with `www`, and 100 texts (more than a datagram takes)
/// for `long.example`. It notes what it is asked.
struct Outside {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Outside {
    /// One that runs as long as the test's process.
    fn start() -> Outside {
        let (udp, tcp) = std::iter::repeat_with(|| {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            TcpListener::bind(udp.local_addr().unwrap()).map(|tcp| (udp, tcp))
        })
        .find_map(Result::ok)
        .unwrap();
        let outside = Outside { addr: udp.local_addr().unwrap(), asked: Arc::default() };
        let asked = Arc::clone(&outside.asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((len, from)) = udp.recv_from(&mut buffer) {
                let answer = answer(&buffer[..len], "udp", &asked);
                let bytes = answer.to_vec().unwrap();
                let cut = if bytes.len() > 512 { answer.truncate().to_vec().unwrap() } else { bytes };
                udp.send_to(&cut, from).unwrap();
            }
        });
        let asked = Arc::clone(&outside.asked);
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let mut len = [0; 2];
                stream.read_exact(&mut len).unwrap();
                let mut query = vec![0; u16::from_be_bytes(len).into()];
                stream.read_exact(&mut query).unwrap();
                let answer = answer(&query, "tcp", &asked).to_vec().unwrap();
                // In two pieces, as a network may bring it.
                let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                stream.write_all(&framed[..1]).unwrap();
                stream.write_all(&framed[1..]).unwrap();
            }
        });
        outside
    }

    /// How often something was asked, such as `udp A www.example.`.
    fn count(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == what).count()
    }

    /// A lab whose hosts ask it.
    fn lab(&self) -> Lab {
        let mut lab = Lab::new();
        lab.supervisor.forward_names(Some(&[self.addr])).unwrap();
        lab
    }
}

fn answer(query: &[u8], way: &str, asked: &Mutex<Vec<String>>) -> Message {
    let mut message = Message::from_bytes(query).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    let question = message.queries[0].clone();
    asked.lock().unwrap().push(format!("{way} {} {}", question.query_type(), question.name()));
    let data = match (question.name().to_ascii().as_str(), question.query_type()) {
        ("long.example.", RecordType::TXT) => {
            (0..100).map(|n| RData::TXT(TXT::new(vec![format!("text number {n}")]))).collect()
        }
        ("9.2.0.192.in-addr.arpa.", RecordType::PTR) => {
            vec![RData::PTR(PTR(Name::from_ascii("www.example.").unwrap()))]
        }
        (name, RecordType::A) if name.starts_with("www") => vec![RData::A(A([192, 0, 2, 9].into()))],
        (name, RecordType::AAAA) if name.starts_with("www") => {
            vec![RData::AAAA(AAAA("2001:db8::9".parse().unwrap()))]
        }
        _ => {
            message.metadata.response_code = ResponseCode::NXDomain;
            Vec::new()
        }
    };
    for data in data {
        message.add_answer(Record::from_rdata(question.name().clone(), 60, data));
    }
    message
}

#[test]
fn the_c_library_finds_names_of_the_outside_and_the_inside() {
    let outside = Outside::start();
    let mut lab = outside.lab();
    let client = lab.python(
        "b",
        "
import socket
def told(call, *args):
    try: return call(*args)
    except (socket.gaierror, socket.herror) as e: return 'unknown'
def addresses(name):
    return sorted({a[4][0] for a in socket.getaddrinfo(name, 80)})
for name in ['www.example', 'www.example', 'a', 'b.sockeye', 'nobody.example', 'x.local', 'x.sockeye']:
    print(name, told(addresses, name))
for address in ['192.0.2.9', '10.77.0.2', '10.77.9.9']:
    print(address, told(lambda: socket.gethostbyaddr(address)[0]))
",
    );
    assert_eq!(
        lab.output(client),
        "www.example ['192.0.2.9', '2001:db8::9']\n\
         www.example ['192.0.2.9', '2001:db8::9']\n\
         a ['10.77.0.2', 'fd77::2']\n\
         b.sockeye ['10.77.0.3', 'fd77::3']\n\
         nobody.example unknown\n\
         x.local unknown\n\
         x.sockeye unknown\n\
         192.0.2.9 www.example\n\
         10.77.0.2 a\n\
         10.77.9.9 unknown\n"
    );
    assert_eq!((outside.count("udp A www.example."), outside.count("udp AAAA www.example.")), (1, 1));
    assert_eq!(outside.count("udp PTR 9.2.0.192.in-addr.arpa."), 1);
    let asked = outside.asked.lock().unwrap();
    let leaked = asked
        .iter()
        .find(|what| [".local", ".sockeye", "10.in-addr.arpa"].iter().any(|inside| what.contains(inside)));
    assert_eq!(leaked, None);
}

#[test]
fn what_is_too_long_for_a_datagram_comes_by_a_stream() {
    const DIG: &str = "/usr/bin/dig";
    if !has(DIG) {
        return;
    }
    let outside = Outside::start();
    let mut lab = outside.lab();
    let dig = lab.start("b", &[DIG, "+short", "+nocookie", "long.example", "TXT"]);
    assert_eq!(lab.output(dig).lines().count(), 100);
    assert_eq!((outside.count("udp TXT long.example."), outside.count("tcp TXT long.example.")), (1, 1));
    // As a stream from the start: the answer is still known, and old enough for nothing but its name.
    let dig = lab.start("a", &[DIG, "+tcp", "+noall", "+answer", "LONG.example", "TXT"]);
    let output = lab.output(dig);
    assert_eq!(output.lines().count(), 100);
    assert!(output.starts_with("LONG.example."), "{output}");
    assert_eq!(outside.count("tcp TXT long.example."), 1);
}

#[test]
fn without_forwarding_there_is_no_outside() {
    let mut lab = Lab::new();
    let client = lab.python(
        "a",
        "
import socket
try: socket.getaddrinfo('www.example', 80)
except socket.gaierror as e: print(e.errno == socket.EAI_NONAME)
print(socket.gethostbyname('b.sockeye'))
",
    );
    assert_eq!(lab.output(client), "True\n10.77.0.3\n");
}

#[test]
fn a_name_server_that_is_not_there_is_passed_over() {
    let outside = Outside::start();
    // Nobody serves at a port that was just given back.
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut lab = Lab::new();
    lab.supervisor.forward_names(Some(&[nobody, outside.addr])).unwrap();
    let client = lab.python(
        "b",
        "
import socket, time
start = time.monotonic()
print(socket.gethostbyname('www.example'))
print('waited' if time.monotonic() - start > 1.9 else 'at once')
",
    );
    assert_eq!(lab.output(client), "192.0.2.9\nat once\n");
}
