"""Runs a command as where system calls are missing or refused, by a seccomp filter around it:

    python3 ci/without.py CALL[=ERRNO][,CALL[=ERRNO]…] COMMAND…

as in `without.py pidfd_getfd` (a container's filter: EPERM) or `without.py seccomp=EINVAL` (an old kernel).
"""
import ctypes, errno, os, platform, struct, sys

# Number on x86-64, number on aarch64, and the errno unless another one is asked for.
CALLS = {
    "landlock_create_ruleset": (444, 444, errno.ENOSYS),
    "pidfd_getfd": (438, 438, errno.EPERM),
    "process_vm_readv": (310, 270, errno.EPERM),
    "process_vm_writev": (311, 271, errno.EPERM),
    "seccomp": (317, 277, errno.EPERM),
}
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[platform.machine()]
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD, JEQ, RET = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE = 0, 4


def refused(argument):
    """(number, errno) of each call that is named."""
    for item in argument.split(","):
        name, _, word = item.partition("=")
        if name not in CALLS or word and not hasattr(errno, word):
            sys.exit(f"{item}: not one of {', '.join(CALLS)} with an errno's name behind =")
        x86_64, aarch64, usual = CALLS[name]
        yield aarch64 if platform.machine() == "aarch64" else x86_64, getattr(errno, word) if word else usual


if len(sys.argv) < 3:
    sys.exit(__doc__)
program = [(LOAD, 0, 0, ARCHITECTURE), (JEQ, 1, 0, AUDIT_ARCH), (RET, 0, 0, ALLOW), (LOAD, 0, 0, NUMBER)]
for number, error in refused(sys.argv[1]):
    program += [(JEQ, 0, 1, number), (RET, 0, 0, ERRNO | error)]
program.append((RET, 0, 0, ALLOW))

code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, fprog, 0, 0)]:
    if libc.prctl(*arguments) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[2], sys.argv[2:])
