"""Kills at random moments: `kills.py SOCKEYE KILLS SEED`.

A named network is under load: servers, forking servers, daemons, and clients that give each operation a second.
Again and again a program, a supervisor (or its guard, or the process in front) or the network's process is
killed. Nothing may hang, the next program must run on the network at once, and at the end nothing of ours may be
left: no process and no file.
"""
import os, random, shutil, signal, subprocess, sys, tempfile, time

SOCKEYE, KILLS, SEED = os.path.abspath(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
FOLDER = os.path.dirname(os.path.abspath(__file__))
PYTHON, PROGRAMS = "/usr/bin/python3", FOLDER + "/programs.py"
NET = "kills"
work = tempfile.mkdtemp()
os.chmod(work, 0o700)
mark = f"kills-{os.getpid()}"
os.environ.update(XDG_RUNTIME_DIR=work, MARK=mark, PYTHONUNBUFFERED="1")
random.seed(SEED)

# Host and program.
LOAD = [
    ("server", ["killed_server", "7000"]),
    ("server", ["killed_forking_server", "7001"]),
    ("server", ["killed_daemon", "7002"]),
    ("one", ["killed_client", "server", "7000", work + "/hangs"]),
    ("one", ["killed_client", "server", "7001", work + "/hangs"]),
    ("two", ["killed_client", "server", "7002", work + "/hangs"]),
    ("two", ["killed_asker", "server", "7000", work + "/hangs"]),
    ("three", ["killed_udp_client", "server", "7000", work + "/hangs"]),
]


def start(host, program):
    command = [SOCKEYE, "run", "--net", NET, "--offline", "--host", host, "--", PYTHON, PROGRAMS, *program]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": open(work + "/errors", "a")}
    return subprocess.Popen(command, start_new_session=True, **quiet)


def marked():
    """Our processes, and their command lines: each has the mark in its environment."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = open(f"/proc/{pid}/environ", "rb").read().split(b"\0")
            if int(pid) != os.getpid() and f"MARK={mark}".encode() in environment:
                found[int(pid)] = open(f"/proc/{pid}/cmdline").read().replace("\0", " ").strip()
        except OSError:
            pass
    return {pid: command for pid, command in found.items() if command}


def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])


def until(what, condition, limit):
    deadline = time.monotonic() + limit
    while not (result := condition()):
        if time.monotonic() > deadline:
            return fail(f"{what} within {limit} s: {marked()}")
        time.sleep(0.01)
    return result


failures = []


def fail(text):
    failures.append(text)
    print(f"FAIL: {text}", flush=True)


def roles():
    """Our processes by what they are."""
    by_role = {"program": [], "front": [], "guard": [], "supervisor": [], "network": []}
    found = marked()
    for pid, command in found.items():
        try:
            if command.startswith(PYTHON):
                role = "program"
            elif f" network {NET}" in command:
                role = "network"
            else:
                # The front is ours; a daemon's is gone, and its guard is nobody's.
                above = parent(pid)
                if above == os.getpid():
                    role = "front"
                elif above not in found or parent(above) == os.getpid():
                    role = "guard"
                else:
                    role = "supervisor"
            by_role[role].append(pid)
        except OSError:
            pass
    return by_role


def next_run():
    """The next program runs on the network, within two seconds."""
    before = time.monotonic()
    try:
        done = subprocess.run([SOCKEYE, "run", "--net", NET, "--offline", "--", "true"], timeout=10, capture_output=True, text=True)
        took = time.monotonic() - before
        if done.returncode != 0 or took > 2:
            fail(f"the next run took {took:.1f} s, status {done.returncode}: {done.stderr}")
    except subprocess.TimeoutExpired:
        fail("the next run hangs")
        took = 10
    return took


counts, slowest, joining = {}, 0, []
processes = {}
began = time.monotonic()
try:
    while sum(counts.values()) < KILLS:
        for index, (host, program) in enumerate(LOAD):
            running = processes.get(index)
            if running is None or running.poll() is not None:
                # Each exits when its program does: ended, killed, or without a network.
                process = start(host, program)
                processes[process.pid] = processes[index] = process
        time.sleep(random.uniform(0, 0.4))
        by_role = roles()
        role = random.choice([role for role in by_role if by_role[role]] or ["none"])
        if role != "none":
            victim = random.choice(by_role[role])
            if random.random() < 0.3:
                # Somebody is just joining.
                joining.append(start("three", ["killed_asker", "server", "7000", work + "/hangs"]))
            try:
                os.kill(victim, signal.SIGKILL)
                counts[role] = counts.get(role, 0) + 1
            except OSError:
                pass
        slowest = max(slowest, next_run())
        for process in [each for each in joining if each.poll() is not None]:
            joining.remove(process)
        if len(joining) > 3:
            joining[0].terminate()
    took = time.monotonic() - began
    # The end: whoever is left is told to end, from outside, and the network ends by itself.
    subprocess.run([SOCKEYE, "down", NET], timeout=12, capture_output=True)
    for process in [*processes.values(), *joining]:
        if process.poll() is None:
            process.terminate()
    until("the end of all processes", lambda: not marked(), 8)
    next_run()
    until("the end of the last network", lambda: not marked(), 5)
    left = os.listdir(work + "/sockeye")
    if left:
        fail(f"files are left: {left}")
    hangs = open(work + "/hangs").read() if os.path.exists(work + "/hangs") else ""
    if hangs:
        fail(f"operations that took more than a second:\n{hangs}")
    print(f"{sum(counts.values())} kills in {took:.0f} s {counts}; the slowest next run {slowest:.2f} s; seed {SEED}")
finally:
    for pid in marked():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if failures and os.path.exists(work + "/errors"):
        print("".join(open(work + "/errors").readlines()[-20:]))
    shutil.rmtree(work)
sys.exit(bool(failures))
