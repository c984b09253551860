//! The comparison with the kernel as a program: `cargo xtask kernel`.

fn main() -> std::process::ExitCode {
    sockeye_kernel::main()
}
