//! The benchmarks as a program: `cargo run --release -p sockeye-bench -- --table`.

fn main() -> std::process::ExitCode {
    sockeye_bench::main()
}
