//! `cargo bench -p sockeye-bench`: the table, in the short mode unless told otherwise.

fn main() -> std::process::ExitCode {
    sockeye_bench::main()
}
