//! The program: everything is in the library.
#![deny(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    restante::cli::main()
}
