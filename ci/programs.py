"""What ci/hard-cases.py and ci/kills.py run under sockeye: `programs.py NAME ARGUMENT…`.

Every operation has a limit of time, so that whatever hangs is a failure and not a hang of the check.
"""
import array, ctypes, errno, hashlib, os, select, signal, socket, struct, subprocess, sys, threading, time

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def touch(path):
    open(path, "w").close()


def wait_for(path, seconds=30):
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            sys.exit(f"{path} didn't come")
        time.sleep(0.01)


def serve(address, ready=None):
    """Echoes on TCP, in a thread for each connection."""
    listener = socket.create_server(address, backlog=256)
    if ready:
        touch(ready)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def serve_at(port, ready):
    serve(("0.0.0.0", int(port)), ready)


def echo(connection):
    try:
        while data := connection.recv(65536):
            connection.sendall(data)
    except OSError:
        pass
    connection.close()


def exchange(connection, text):
    connection.settimeout(10)
    connection.sendall(text)
    got = b""
    while len(got) < len(text):
        got += connection.recv(65536) or sys.exit("end of file")
    assert got == text, got


def ask(host, port):
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        exchange(connection, b"hello")
    print("answered")


def daemon(port, ready):
    """Leaves its parent and its session, as daemons do, and serves."""
    if os.fork():
        wait_for(ready)
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    serve(("0.0.0.0", int(port)), ready)


def closes_all():
    """Closes what it doesn't know, as careful programs do at their start, then uses sockets."""
    for fd in range(3, 1024):
        try:
            os.close(fd)
        except OSError:
            pass
    os.closerange(3, 65536)
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname(), timeout=10)
    server, peer = listener.accept()
    assert peer == client.getsockname()
    threading.Thread(target=echo, args=(server,), daemon=True).start()
    exchange(client, b"after closing all")
    print("answered")


def forks_while_parked(host, port):
    """While one thread waits in connect, another forks; then parent and child use what both have, and more."""
    address, results = (host, int(port)), {}
    shared = socket.socket()

    def connect():
        before = time.monotonic()
        shared.connect(address)
        results["waited"] = time.monotonic() - before

    thread = threading.Thread(target=connect)
    thread.start()
    time.sleep(0.1)
    assert not results, "the connection was there at once"
    turn, go = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with socket.create_connection(address, timeout=10) as own:
                talk(own, b"the child's own")
            os.read(turn, 1)
            talk(shared, b"the child on what it inherited")
            status = 0
        finally:
            os._exit(status)
    thread.join(10)
    assert results["waited"] > 0.2, results
    with socket.create_connection(address, timeout=10) as own:
        talk(own, b"the parent's own")
    talk(shared, b"the parent on what it shares")
    os.write(go, b"x")
    assert os.waitpid(child, 0)[1] == 0, "the child"
    print("answered")


def talk(connection, text):
    """An exchange with an echo server, or with the network's name server."""
    if connection.getpeername()[1] != 53:
        return exchange(connection, text)
    connection.settimeout(10)
    query = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"\x04host\x07sockeye\x00" + struct.pack("!2H", 1, 1)
    connection.sendall(struct.pack("!H", len(query)) + query)
    head = connection.recv(2, socket.MSG_WAITALL)
    answer = connection.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
    assert answer[:2] == query[:2] and answer[6:8] != b"\0\0", answer


def races_close(rounds):
    """One thread connects while another closes the descriptor and makes new sockets, which may get its number."""
    one, two = (socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2))

    def greet(listener, name):
        while True:
            connection, _ = listener.accept()
            connection.send(name)
            connection.close()

    for listener, name in ((one, b"one"), (two, b"two")):
        threading.Thread(target=greet, args=(listener, name), daemon=True).start()
    port = one.getsockname()[1]
    sockaddr = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1"))
    start, end, target, outcome = threading.Barrier(2), threading.Barrier(2), [0], [None]

    def connect():
        while True:
            start.wait()
            fd = target[0]
            if fd < 0:
                return
            outcome[0] = 0 if libc.connect(fd, sockaddr, len(sockaddr)) == 0 else ctypes.get_errno()
            end.wait()

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    counts = {}
    for round in range(int(rounds)):
        target[0] = socket.socket().detach()
        start.wait(10)
        for _ in range(round % 40):
            pass
        os.close(target[0])
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other = socket.create_connection(two.getsockname(), timeout=10)
        end.wait(10)
        counts[outcome[0]] = counts.get(outcome[0], 0) + 1
        assert outcome[0] in (0, errno.EBADF, errno.EISCONN), errno.errorcode[outcome[0]]
        assert other.recv(10, socket.MSG_WAITALL) == b"two"
        try:
            udp.getpeername()
            # The call came after the close, and was about the new socket: it says so.
            assert outcome[0] == 0, "another socket was connected than the one that the call was about"
        except OSError as error:
            assert error.errno == errno.ENOTCONN, error
        udp.close()
        other.close()
    target[0] = -1
    start.wait(10)
    print(f"raced {sum(counts.values())}", counts)


def sends_sockets(path, port):
    """Passes a listener, a connection and a datagram socket to whoever listens at `path`."""
    listener = socket.create_server(("0.0.0.0", int(port)))
    inner = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(inner.getsockname(), timeout=10)
    server, _ = inner.accept()
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", int(port)))
    names = repr((listener.getsockname(), client.getsockname(), server.getsockname(), udp.getsockname()))
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(path)
    socket.send_fds(channel, [names.encode()], [each.fileno() for each in (listener, client, server, udp)])
    for each in (listener, client, server, udp, inner):
        each.close()
    print("sent")


def gets_sockets(path, clients):
    """Uses sockets that another program made and passed, which may have ended since."""
    channel = socket.socket(socket.AF_UNIX)
    channel.bind(path + ".new")
    channel.listen()
    os.rename(path + ".new", path)
    connection, _ = channel.accept()
    text, fds, _, _ = socket.recv_fds(connection, 4096, 4)
    names = eval(text)
    assert connection.recv(1) == b""
    listener, client, server, udp = (socket.socket(fileno=fd) for fd in fds)
    for each, name in zip((listener, client, server, udp), names):
        assert each.getsockname() == name, (each.getsockname(), name)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_DGRAM
    assert server.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    assert client.getpeername() == server.getsockname() and server.getpeername() == client.getsockname()
    for side, other in ((client, server), (server, client)):
        side.settimeout(10)
        side.sendall(b"x" * 100000)
        # A socket with a timeout does not block, so MSG_WAITALL would wait for nothing.
        left = 100000
        while left > 0:
            left -= len(other.recv(left)) or sys.exit("end of file")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    touch(path + ".ready")
    for _ in range(int(clients)):
        accepted, _ = listener.accept()
        exchanged = accepted.recv(5, socket.MSG_WAITALL)
        accepted.sendall(exchanged)
        accepted.close()
    udp.settimeout(10)
    data, source = udp.recvfrom(100)
    udp.sendto(data, source)
    print("used")


def passes_within(path, port):
    """Both sides of the above, and their clients, in one network."""
    getter = subprocess.Popen([sys.executable, __file__, "gets_sockets", path, "2"])
    wait_for(path)
    subprocess.run([sys.executable, __file__, "sends_sockets", path, port], check=True, timeout=20)
    wait_for(path + ".ready")
    uses_passed("127.0.0.1", port)
    assert getter.wait(10) == 0
    print("answered")


def uses_passed(host, port):
    for _ in range(2):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            exchange(connection, b"hello")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(10)
    udp.sendto(b"datagram", (host, int(port)))
    assert udp.recvfrom(100)[0] == b"datagram"
    print("answered")


MANY = 10_000_000


def sends_much(port, folder):
    """Sends ten million bytes to one client; what it has sent so far stands in a file."""
    listener = socket.create_server(("0.0.0.0", int(port)))
    touch(folder + "/listening")
    connection, _ = listener.accept()
    data = memoryview(bytes(range(250)) * (MANY // 250))
    sent = 0
    while sent < MANY:
        sent += connection.send(data[sent : sent + 65536])
        with open(folder + "/sent.new", "w") as file:
            file.write(str(sent))
        os.rename(folder + "/sent.new", folder + "/sent")
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(30)
    assert connection.recv(1) == b""
    print("sent")


def gets_much(host, port, folder):
    """A child gets them, whose number stands in a file: it will be stopped."""
    child = os.fork()
    if child == 0:
        connection = socket.create_connection((host, int(port)), timeout=30)
        touch(folder + "/connected")
        wait_for(folder + "/go")
        digest, total = hashlib.sha256(), 0
        while data := connection.recv(65536):
            digest.update(data)
            total += len(data)
        right = hashlib.sha256(bytes(range(250)) * (MANY // 250)).digest()
        os._exit(0 if total == MANY and digest.digest() == right else 1)
    with open(folder + "/child.new", "w") as file:
        file.write(str(child))
    os.rename(folder + "/child.new", folder + "/child")
    assert os.waitpid(child, 0)[1] == 0
    print("got")


def stopped_server(port, folder):
    """A child listens, and is stopped before anybody comes."""
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        listener = socket.create_server(("0.0.0.0", int(port)), backlog=8)
        touch(folder + "/listening")
        while True:
            connection, _ = listener.accept()
            echo(connection)
    with open(folder + "/child.new", "w") as file:
        file.write(str(child))
    os.rename(folder + "/child.new", folder + "/child")
    signal.pause()


def waits_in_line(host, port, folder):
    """Eight connections to a server that is stopped come about, and are served when it goes on."""
    line = [socket.create_connection((host, int(port)), timeout=10) for _ in range(8)]
    for connection in line:
        connection.sendall(b"hello")
    touch(folder + "/in-line")
    for connection in line:
        connection.settimeout(20)
        assert connection.recv(5, socket.MSG_WAITALL) == b"hello"
        connection.close()
    print("answered")


def pings(host, port, seconds, limit="1"):
    """Exchanges on one connection; prints how many, and that none took longer than `limit`."""
    connection = socket.create_connection((host, int(port)), timeout=10)
    deadline, count = time.monotonic() + float(seconds), 0
    while time.monotonic() < deadline:
        before = time.monotonic()
        exchange(connection, b"ping")
        took = time.monotonic() - before
        assert took < float(limit), f"an exchange took {took:.1f} s"
        count += 1
    print(f"exchanges {count}")


def counts(port, ready):
    """Counts the bytes of one connection."""
    listener = socket.create_server(("0.0.0.0", int(port)))
    touch(ready)
    connection, _ = listener.accept()
    connection.settimeout(10)
    total = 0
    while data := connection.recv(65536):
        total += len(data)
    print(total)


def writes_and_ends(host, port):
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(b"x" * 3_000_000)


def udp_echo(port, ready):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", int(port)))
    touch(ready)
    while True:
        data, source = udp.recvfrom(2048)
        udp.sendto(data, source)


def both_echo(port, ready):
    threading.Thread(target=udp_echo, args=(port, ready + ".udp"), daemon=True).start()
    wait_for(ready + ".udp")
    serve(("0.0.0.0", int(port)), ready)


def short_lived(host, port, count, folder):
    """So many processes, each of which does one exchange; first some, to warm up."""
    def run(total):
        running = failed = 0
        for number in range(total):
            if os.fork() == 0:
                status = 1
                try:
                    if number % 2:
                        with socket.create_connection((host, int(port)), timeout=10) as connection:
                            exchange(connection, b"tcp")
                    else:
                        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                            udp.settimeout(10)
                            udp.sendto(b"udp", (host, int(port)))
                            assert udp.recvfrom(10)[0] == b"udp"
                    status = 0
                finally:
                    os._exit(status)
            running += 1
            while running > 8 or (running and number == total - 1):
                failed += os.wait()[1] != 0
                running -= 1
        return failed

    failed = run(1000)
    touch(folder + "/warm")
    wait_for(folder + "/measured")
    failed += run(int(count))
    touch(folder + "/done")
    wait_for(folder + "/end")
    print(f"failed {failed}")


def gone(error):
    """Whether the network or the supervisor has ended: then a program has nothing left to do."""
    return error.errno in (errno.ENETDOWN, errno.ENOSYS)


def killed_server(port):
    """Echoes on TCP and UDP until the network ends."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", int(port)))
    listener = socket.create_server(("0.0.0.0", int(port)), backlog=64)

    def answer():
        while True:
            data, source = udp.recvfrom(2048)
            udp.sendto(data, source)

    for work in (answer, lambda: accept_all(listener)):
        threading.Thread(target=ends_all, args=(work,), daemon=True).start()
    signal.pause()


def ends_all(work):
    try:
        work()
    finally:
        os._exit(1)


def accept_all(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def killed_forking_server(port):
    """A process for each connection; they heed no SIGTERM and know nothing of each other."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.create_server(("0.0.0.0", int(port)), backlog=64)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            listener.close()
            echo(connection)
            os._exit(0)
        connection.close()


def killed_daemon(port):
    """Serves from a session of its own; a child of it does nothing and heeds nothing."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    ends_all(lambda: accept_all(socket.create_server(("0.0.0.0", int(port)), backlog=64)))


def within_a_second(hangs, what, operation):
    """Does it; says whether it was done, and writes down if that took too long. Ends without a network."""
    before = time.monotonic()
    try:
        operation()
        done = True
    except OSError as error:
        done = False
        if gone(error):
            os._exit(1)
    took = time.monotonic() - before
    if took > 1:
        with open(hangs, "a") as file:
            file.write(f"{what} took {took:.2f} s\n")
    return done


LIMIT = 1.5


def killed_client(host, port, hangs):
    """Exchanges on one connection until it breaks, then on the next."""
    while True:
        connection = socket.socket()
        connection.settimeout(LIMIT)
        if within_a_second(hangs, "connect", lambda: connection.connect((host, int(port)))):
            while within_a_second(hangs, "an exchange", lambda: ping(connection)):
                pass
        connection.close()
        time.sleep(0.02)


def ping(connection):
    connection.sendall(b"PING\r\n")
    left = 6
    while left > 0:
        got = len(connection.recv(left))
        if got == 0:
            raise ConnectionResetError(errno.ECONNRESET, "end of file")
        left -= got


def killed_asker(host, port, hangs):
    """Asks in processes of their own, as a loop of curl does."""
    while True:
        child = os.fork()
        if child == 0:
            connection = socket.socket()
            connection.settimeout(LIMIT)
            done = within_a_second(hangs, "asking", lambda: (connection.connect((host, int(port))), ping(connection)))
            os._exit(0 if done else 2)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1:
            os._exit(1)
        time.sleep(0.01)


def killed_udp_client(host, port, hangs):
    """A datagram may be lost, but no call may take longer than it says."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.settimeout(0.5)

        def exchange():
            udp.sendto(b"datagram", (host, int(port)))
            udp.recvfrom(100)

        within_a_second(hangs, "a datagram", exchange)
        udp.close()
        time.sleep(0.01)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
