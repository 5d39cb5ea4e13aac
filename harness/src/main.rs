//! `kata-qualify`: proves what each distro offers Kata Containers.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::cli::main()
}
