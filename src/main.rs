//! The program: everything is in the library.

fn main() -> std::process::ExitCode {
    claims_etl::cli::main()
}
