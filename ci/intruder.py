"""Tries to speak to a network's control socket, of which it must get refusals and nothing else:
`intruder.py SOCKET [SOCKEYE]`. With a second argument, also by that command, from a process that has left its
parents, and from a thread that outlives the first one."""
import ctypes, os, socket, subprocess, sys, threading

path, sockeye = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
REFUSED, DOWN = 0, b"\x0a"


def attempt(who):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    connection.settimeout(5)
    for message in (b"sockeye 0.1.0\n", b"\x08", DOWN):
        try:
            connection.send(message)
        except OSError:
            break
    answers = []
    while True:
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            # What was said before the reset stands behind it.
            continue
        if not answer:
            break
        answers.append(answer)
    assert answers and all(answer[0] == REFUSED for answer in answers), f"{who}: {answers}"
    print(who, *(answer[2:].decode(errors="replace") for answer in answers))


attempt("directly")
if sockeye:
    for words in (["ps", "demo"], ["down", "demo"], ["publish", "demo", "18080:80"], ["unpublish", "demo", "18080:80"]):
        done = subprocess.run([sockeye, *words], capture_output=True, text=True, timeout=10)
        assert done.returncode != 0 and "under sockeye" in done.stderr, f"{words}: {done}"
    # As a daemon.
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        attempt("as a daemon")
        os.write(write, b"x")
        os._exit(0)
    os.close(write)
    os.wait()
    assert os.read(read, 1) == b"x", "the daemon's attempt"
    # In a flood, most of which doesn't wait for an answer.
    for _ in range(500):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(path)
    attempt("behind a flood")
    # From a thread that is left when the first one has ended.
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(read)

        def last():
            import time
            time.sleep(0.2)
            try:
                attempt("from the last thread")
                os.write(write, b"x")
            finally:
                os._exit(0)

        threading.Thread(target=last).start()
        ctypes.CDLL(None).pthread_exit(None)
    os.close(write)
    assert os.read(read, 1) == b"x", "the last thread's attempt"
print("refused")
