"""Runs a command as on a kernel whose seccomp knows no user notification: seccomp(2) answers EINVAL."""
import ctypes, os, platform, struct, sys

NR_SECCOMP = {"x86_64": 317, "aarch64": 277}[platform.machine()]
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD, JEQ, RET = 0x20, 0x15, 0x06
ALLOW, ERRNO, EINVAL = 0x7FFF0000, 0x00050000, 22

program = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in [(LOAD, 0, 0, 0), (JEQ, 0, 1, NR_SECCOMP), (RET, 0, 0, ERRNO | EINVAL), (RET, 0, 0, ALLOW)]
)
buffer = ctypes.create_string_buffer(program)
fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, fprog, 0, 0)]:
    if libc.prctl(*arguments) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
