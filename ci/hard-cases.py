"""The cases of ci/hard-cases.sh: `hard-cases.py SOCKEYE [CASE…]`. Each runs in a network of its own, and where
that makes a difference in a named one too."""
import os, pty, re, select, shutil, signal, subprocess, sys, tempfile, termios, time

SOCKEYE = os.path.abspath(sys.argv[1])
FOLDER = os.path.dirname(os.path.abspath(__file__))
PYTHON, PROGRAMS = "/usr/bin/python3", FOLDER + "/programs.py"
work = tempfile.mkdtemp()
os.chmod(work, 0o700)
os.environ["XDG_RUNTIME_DIR"] = work
os.environ["MARK"] = mark = f"hard-cases-{os.getpid()}"
os.environ["PYTHONUNBUFFERED"] = "1"
NET = "hard"


def sockeye(*words):
    return [SOCKEYE, *words]


def under(host, program, *options):
    """A command: this program of programs.py on a host of the named network, or on a network of its own."""
    place = ["--net", NET, "--host", host] if host else []
    return sockeye("run", *place, *options, "--", PYTHON, PROGRAMS, *program)


def output(command, limit=30, status=0):
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    assert done.returncode == status, f"{command}: status {done.returncode}, not {status}: {done.stdout}{done.stderr}"
    return done.stdout


def start(command):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    process.command = command
    return process


def ends(process, limit=30, status=0):
    said, _ = process.communicate(timeout=limit)
    assert process.returncode == status, f"{process.command}: status {process.returncode}, not {status}: {said}"
    return said


def until(what, condition, limit=10):
    deadline = time.monotonic() + limit
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} didn't happen within {limit} s"
        time.sleep(0.02)
    return result


def there(path):
    until(path, lambda: os.path.exists(path))


def marked():
    """Our processes, but this one: each has the mark in its environment."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(pid) != os.getpid() and f"MARK={mark}".encode() in open(f"/proc/{pid}/environ", "rb").read().split(b"\0"):
                found[int(pid)] = open(f"/proc/{pid}/cmdline").read().replace("\0", " ").strip()
        except OSError:
            pass
    return {pid: command for pid, command in found.items() if command}


def children(pid):
    return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def supervisor_of(front):
    """Behind the process that was started stands a guard, behind that the supervisor. It may have started the
    network, too."""
    words = open(f"/proc/{front.pid}/cmdline").read()
    guard = next(child for child in children(front.pid) if open(f"/proc/{child}/cmdline").read() == words)
    return children(guard)[0]


def down():
    output(sockeye("down", NET))
    until("the end of all programs", lambda: not marked())
    assert not os.listdir(work + "/sockeye"), os.listdir(work + "/sockeye")


def scratch(name):
    path = tempfile.mkdtemp(prefix=name, dir=work)
    return path


def daemons():
    folder = scratch("daemons")
    output(under(None, ["daemon", "7000", folder + "/private"]), 10)
    until("the end of the daemon of a private network", lambda: not marked(), 5)
    output(under("a", ["daemon", "7000", folder + "/named"]), 5)
    assert "answered" in output(under("b", ["ask", "a", "7000"]))
    assert "answered" in output(under("a", ["ask", "127.0.0.1", "7000"]))
    listed = output(sockeye("ps", NET))
    assert re.search(r"LISTEN.*:7000", listed) and "daemon" in listed, listed
    down()


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command):
        self.said = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # As a login has them: what runs in a shell's background, or under nohup, ignores some.
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            os.environ.update(PS1="prompt> ", TERM="dumb", HISTFILE="")
            os.execvp(command[0], command)

    def expect(self, pattern, limit=10):
        deadline = time.monotonic() + limit
        while not (found := re.search(pattern, self.said)):
            left = deadline - time.monotonic()
            readable = left > 0 and select.select([self.fd], [], [], left)[0]
            assert readable, f"no {pattern!r} within {limit} s but {self.said!r}; {self.processes()}"
            try:
                self.said += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"no {pattern!r} but the end, behind {self.said!r}") from None
        self.said = self.said[found.end():]
        return found

    def processes(self):
        """Who is there, in which group, waits or is stopped where, and heeds which signals; the terminal's modes."""
        columns = "pid,ppid,pgid,tpgid,stat,wchan:16,blocked,ignored,pending,args"
        shown = subprocess.run(["ps", "-o", columns, "-g", str(self.pid)], capture_output=True, text=True).stdout
        return f"modes {termios.tcgetattr(self.fd)[:4]}\n{shown}"

    def type(self, text):
        # As a person would: a terminal forgets what was typed while it handled Ctrl-Z.
        time.sleep(0.2)
        os.write(self.fd, text.encode())

    def end(self):
        try:
            while select.select([self.fd], [], [], 10)[0]:
                os.read(self.fd, 4096)
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


SHELL = ["bash", "--norc", "--noprofile", "-i"]


def shell_inside():
    for place in ([], ["--net", NET, "--host", "a"]):
        inner = Terminal(sockeye("run", *place, "--", *SHELL))
        inner.expect("prompt> ")
        inner.type("cat\n")
        inner.expect("cat")
        time.sleep(0.3)
        inner.type("\x1a")
        inner.expect(r"Stopped.*cat")
        inner.expect("prompt> ")
        inner.type("jobs\n")
        inner.expect(r"\[1\]\+\s+Stopped\s+cat")
        inner.type("fg\n")
        inner.expect(r"fg\r\ncat\r\n")
        inner.type("hello\n")
        inner.expect(r"hello\r\nhello")
        inner.type("\x03")
        inner.expect("prompt> ")
        inner.type("echo status=$?\n")
        inner.expect("status=130")
        inner.type(f"{PYTHON} {PROGRAMS} closes_all & wait $!\n")
        inner.expect("answered")
        inner.type("sleep 100 &\n")
        inner.expect(r"\[\d\] \d+")
        inner.type("jobs; kill %sleep; wait\n")
        inner.expect(r"Running\s+sleep 100")
        inner.expect("prompt> ")
        inner.type("exit 7\n")
        assert inner.end() == 7
    until("the end of all", lambda: not marked())


def stopped_and_continued(command):
    """What an outer shell shows of a program that copies its input."""
    outer = Terminal(SHELL)
    outer.expect("prompt> ")
    outer.type(command + "\n")
    outer.expect(re.escape(command))
    time.sleep(0.5)
    outer.type("one\n")
    outer.expect(r"one\r\none")
    outer.type("\x1a")
    outer.expect("Stopped")
    outer.expect("prompt> ")
    outer.type("echo status=$?; jobs\n")
    stopped = outer.expect(r"status=(\d+)\r\n")[1]
    outer.expect(r"\[1\]\+\s+Stopped")
    outer.type("fg\n")
    time.sleep(0.3)
    outer.type("two\n")
    outer.expect(r"two\r\ntwo")
    # In the background it stops when it reads.
    outer.type("\x1a")
    outer.expect("Stopped")
    outer.expect("prompt> ")
    outer.type("bg; sleep 0.5; jobs\n")
    outer.expect(r"\[1\]\+ .*&")
    background = outer.expect(r"\[1\]\+\s+(Stopped|Running)")[1]
    outer.expect("prompt> ")
    outer.type("fg\n")
    time.sleep(0.3)
    outer.said = ""
    outer.type("\x03")
    outer.expect(r"\^C(.|\n)*prompt> ")
    outer.type("echo status=$?\n")
    interrupted = outer.expect(r"status=(\d+)\r\n")[1]
    outer.type("exit\n")
    outer.end()
    return stopped, background, interrupted


def shell_outside():
    native = stopped_and_continued("cat")
    for place in ("", f"--net {NET} --host a "):
        shown = stopped_and_continued(f"{SOCKEYE} run {place}-- cat")
        assert shown == native, f"{shown}, natively {native}"
    assert native[0] == "148" and native[2] == "130", native
    until("the end of all", lambda: not marked())


def suspended_shell_ended():
    """The end of the network of a suspended shell leaves the terminal to the shell outside."""
    outside = Terminal(SHELL)
    outside.expect("prompt> ")
    outside.type(f"{SOCKEYE} run --net suspended -- {' '.join(SHELL)}\n")
    outside.expect("prompt> ")
    outside.type("suspend\n")
    outside.expect("Stopped")
    outside.expect("prompt> ")
    output(sockeye("down", "suspended"))
    outside.type("echo ali''ve\n")
    outside.expect("alive")
    outside.type("wait; echo sta''tus $?\n")
    outside.expect("status")
    outside.type("exit\n")
    outside.end()
    until("the end of all", lambda: not marked())


def all_closed():
    for host in (None, "a"):
        assert "answered" in output(under(host, ["closes_all"]))


def fork_while_parked():
    slow = ["--link", "delay 300ms"]
    assert "answered" in output(under(None, ["forks_while_parked", "10.77.0.1", "53"], *slow))
    folder = scratch("fork")
    server = start(under("server", ["serve_at", "7000", folder + "/ready"]))
    there(folder + "/ready")
    assert "answered" in output(under("slow", ["forks_while_parked", "server", "7000"], *slow))
    server.terminate()
    ends(server, status=-signal.SIGTERM)


def setuid_helper():
    helper = FOLDER + "/setuid-id"
    if not os.path.exists(helper):
        return
    own = str(os.geteuid())
    for place in ([], ["--net", NET]):
        assert output(sockeye("run", *place, "--", helper, "-u")).strip() == own, "no rights are gained"
        if own == "0":
            # What root starts may become another user, and that one's helpers gain rights.
            as_user = ["setpriv", "--reuid", "sockeye-ci", "--clear-groups", helper, "-u"]
            natively = output(as_user)
            assert output(sockeye("run", *place, "--", *as_user)) == natively, natively
            # A file system without setuid would make nothing of this.
            assert natively.strip() == "0", natively


def close_against_connect():
    for host in (None, "a"):
        print("   ", output(under(host, ["races_close", "3000"]), 60).strip())


def passed_descriptors():
    assert "answered" in output(under(None, ["passes_within", scratch("pass") + "/socket", "7000"]))
    path = scratch("pass") + "/socket"
    getter = start(under("a", ["gets_sockets", path, "4"]))
    there(path)
    before = time.monotonic()
    assert "sent" in output(under("a", ["sends_sockets", path, "7000"]))
    took = time.monotonic() - before
    assert took < 3, f"who has passed its sockets on takes {took:.1f} s to end"
    there(path + ".ready")
    for _ in range(2):
        assert "answered" in output(under("b", ["ask", "a", "7000"]))
    assert "answered" in output(under("a", ["uses_passed", "127.0.0.1", "7000"]))
    assert "used" in ends(getter)


def stopped_programs():
    folder = scratch("stopped")
    server = start(under("server", ["sends_much", "7000", folder]))
    there(folder + "/listening")
    client = start(under("client", ["gets_much", "server", "7000", folder]))
    there(folder + "/connected")
    child = int(open(folder + "/child").read())
    os.kill(child, signal.SIGSTOP)
    open(folder + "/go", "w").close()
    sent = lambda: int(open(folder + "/sent").read()) if os.path.exists(folder + "/sent") else 0
    until("the first bytes", sent)
    time.sleep(1)
    held = sent()
    time.sleep(0.5)
    assert sent() == held < 10_000_000, f"{held} bytes are on their way to a program that is stopped"
    os.kill(child, signal.SIGCONT)
    assert "got" in ends(client) and "sent" in ends(server)

    folder = scratch("stopped")
    server = start(under("server", ["stopped_server", "7001", folder]))
    there(folder + "/listening")
    there(folder + "/child")
    child = int(open(folder + "/child").read())
    os.kill(child, signal.SIGSTOP)
    clients = start(under("client", ["waits_in_line", "server", "7001", folder]))
    there(folder + "/in-line")
    os.kill(child, signal.SIGCONT)
    assert "answered" in ends(clients)
    server.terminate()
    ends(server, status=-signal.SIGTERM)


def last_words():
    """What a program has written when it ends arrives, also over a slow link."""
    folder = scratch("last")
    for host in ("a", "slow"):
        server = start(under("server", ["counts", "7000", folder + "/ready-" + host]))
        there(folder + "/ready-" + host)
        slow = ["--link", "delay 20ms rate 40mbit"] if host == "slow" else []
        output(under(host, ["writes_and_ends", "server", "7000"], *slow))
        assert ends(server).strip() == "3000000"


def stopped_supervisor():
    folder = scratch("supervisor")
    server = start(under("server", ["both_echo", "7000", folder + "/ready"]))
    there(folder + "/ready")
    stopped = start(under("stopped", ["pings", "server", "7000", "3", "10"]))
    time.sleep(0.5)
    supervisor = supervisor_of(stopped)
    os.kill(supervisor, signal.SIGSTOP)
    assert "exchanges" in output(under("client", ["pings", "server", "7000", "2"]))
    for _ in range(20):
        output(under("client", ["ask", "server", "7000"]), 5)
    os.kill(supervisor, signal.SIGCONT)
    assert "exchanges" in ends(stopped)
    server.terminate()
    ends(server, status=-signal.SIGTERM)


def footprint(pid):
    pages = int(open(f"/proc/{pid}/statm").read().split()[1])
    return len(os.listdir(f"/proc/{pid}/fd")), pages * os.sysconf("SC_PAGESIZE") // 1024


def ten_thousand():
    folder = scratch("many")
    server = start(under("server", ["both_echo", "7000", folder + "/ready"]))
    there(folder + "/ready")
    client = start(under("client", ["short_lived", "server", "7000", os.environ.get("MANY", "10000"), folder]))
    until("the first thousand", lambda: os.path.exists(folder + "/warm"), 60)
    network = next(pid for pid, command in marked().items() if f" network {NET}" in command)
    measured = {"supervisor": supervisor_of(client), "its server's": supervisor_of(server), "network": network}
    before = {name: footprint(pid) for name, pid in measured.items()}
    started = time.monotonic()
    open(folder + "/measured", "w").close()
    until("the last of them", lambda: os.path.exists(folder + "/done"), 240)
    took = time.monotonic() - started
    time.sleep(0.5)
    after = {name: footprint(pid) for name, pid in measured.items()}
    print(f"    {took:.1f} s; descriptors and KiB before {before}, after {after}")
    open(folder + "/end", "w").close()
    assert "failed 0" in ends(client)
    for name in measured:
        assert after[name][0] <= before[name][0] + 8, f"{name}: {before[name]} → {after[name]} descriptors"
        assert after[name][1] <= before[name][1] + 8192, f"{name}: {before[name]} → {after[name]} KiB"
    server.terminate()
    ends(server, status=-signal.SIGTERM)


CASES = [
    daemons, shell_inside, shell_outside, suspended_shell_ended, all_closed, fork_while_parked, setuid_helper,
    close_against_connect, passed_descriptors, last_words, stopped_programs, stopped_supervisor, ten_thousand,
]

try:
    for case in CASES:
        if sys.argv[2:] and case.__name__ not in sys.argv[2:]:
            continue
        before = time.monotonic()
        case()
        until("the end of all", lambda: not marked(), 12)
        print(f"  {case.__name__}: {time.monotonic() - before:.1f} s", flush=True)
    print(f"{len(CASES)} hard cases as user {os.geteuid()}")
finally:
    for pid in marked():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    shutil.rmtree(work)
