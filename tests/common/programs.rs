//! Programs that a test runs to their end.

use std::{
    env,
    ffi::OsString,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// The output of a program, followed by its messages.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Runs a program that can read `input`, and must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // not every program reads it
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    output
}

/// The interpreter of Python, perhaps that of an environment with further packages.
pub(crate) fn python() -> OsString {
    env::var_os("RESTANTE_PYTHON").unwrap_or_else(|| "python3".into())
}

/// The path of Chromium, if it is installed.
pub(crate) fn chromium() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let files = env::split_paths(&path)
        .flat_map(|directory| ["chromium", "chromium-browser"].map(|name| directory.join(name)));
    files.into_iter().find(|file| file.is_file())
}
