//! Invariants that hold for every input: one function for each reader of octets that others have written.
//!
//! The rule: a target panics when an invariant is broken, and for no other reason. It reads no clock, uses no
//! network beyond loopback, and leaves no file. `README.md` says how to run the targets.
#![forbid(unsafe_code)]

mod bytes;
mod dialogues;
mod scratch;
pub mod targets;

use std::{fs, io, path::Path};

/// One reader of octets.
pub struct Target {
    /// Its name, which is that of its program and of its directories.
    pub name: &'static str,
    /// Panics if an invariant is broken for these octets.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// The program of a target, for libFuzzer.
#[macro_export]
macro_rules! program {
    ($target:ident) => {
        // Nothing here names another target: a program has its own only.
        libfuzzer_sys::fuzz_target!(
            init: $crate::begin(&$crate::targets::$target::TARGET),
            |data: &[u8]| ($crate::targets::$target::TARGET.run)(data)
        );
    };
}

/// Puts the seeds of a target into its corpus.
pub fn begin(target: &Target) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    if let Err(error) = write_seeds(target, &corpus) {
        eprintln!("{}: {error}: it begins without seeds", corpus.display());
    }
}

fn write_seeds(target: &Target, corpus: &Path) -> io::Result<()> {
    fs::create_dir_all(corpus)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(corpus.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use targets::TARGETS;

    #[test]
    fn every_seed_and_every_input_that_once_failed_holds() {
        let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} begins with nothing", target.name);
            seeds.iter().for_each(|seed| (target.run)(seed));
            let Ok(files) = fs::read_dir(regressions.join(target.name)) else { continue };
            for file in files {
                let path = file.unwrap().path();
                println!("{}", path.display());
                (target.run)(&fs::read(path).unwrap());
            }
        }
    }

    #[test]
    fn every_target_has_a_program() {
        let manifest = include_str!("../Cargo.toml");
        for Target { name, .. } in TARGETS {
            let program = format!("name = \"{name}\"\npath = \"programs/{name}.rs\"");
            assert!(manifest.contains(&program), "{name} is missing in Cargo.toml");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }
}
