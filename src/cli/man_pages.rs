//! `restante pages`: writes the manual pages and shell completions, from the definition of the command line
//! and the commented example configuration. `make install` and the package run it; it is hidden from users.

mod examples;
mod titles;
mod toml;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{
    Args, Command, ValueHint,
    builder::{PossibleValue, PossibleValuesParser},
};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::failure::Failure;
use crate::safe_file::{Directory, Durability};
use titles::{DOCUMENTS, MANUAL, NAME};

/// Write the manual pages and the shell completions.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct Arguments {
    /// Output directory: man1/, man5/, bash/, zsh/ and fish/
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the pages of the whole command line, `program`.
pub(super) fn run(arguments: &Arguments, program: &Command) -> Result<(), Failure> {
    let directory = &arguments.directory;
    write_all(directory, program)
        .map_err(|error| Failure::Other(format!("cannot write below {}: {error}", directory.display())))
}

fn write_all(directory: &Path, program: &Command) -> io::Result<()> {
    let mut command = program.clone().disable_help_subcommand(true);
    command.build();
    let man = directory.join("man1");
    for command in commands(&command) {
        write(&man, &format!("{}.1", page_name(command)), &page(command)?)?;
    }
    write(&directory.join("man5"), "restante.toml.5", toml::page().as_bytes())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let file = match shell {
            Shell::Zsh => "_restante",
            Shell::Fish => "restante.fish",
            _ => "restante", // the name that bash-completion looks for
        };
        let mut script = Vec::new();
        let mut shown = files_for_paths_only(visible(program));
        if shell == Shell::Fish {
            shown = quoted_for_fish(shown);
        }
        clap_complete::generate(shell, &mut shown, NAME, &mut script);
        write(&directory.join(shell.to_string()), file, &script)?;
    }
    Ok(())
}

/// A packager may run this as root in a user's directory, so no link there is followed.
fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    Directory::untrusted(directory)?.replace(name.as_ref(), 0o644, content, Durability::Cached)
}

/// Lists a command with all its visible sub-commands.
fn commands(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    [command].into_iter().chain(below.flat_map(commands)).collect()
}

/// The command line without hidden sub-commands, which a shell would propose.
fn visible(command: &Command) -> Command {
    let mut shown = command.clone();
    let hidden: Vec<String> = shown
        .get_subcommands()
        .filter(|below| below.is_hide_set())
        .map(|below| below.get_name().into())
        .collect();
    if hidden.is_empty() {
        return shown;
    }
    // clap can hide a sub-command but not remove it, so the visible ones are copied.
    let mut rest = Command::new(NAME).args(shown.get_arguments());
    for below in shown.get_subcommands_mut() {
        if !hidden.iter().any(|name| name == below.get_name()) {
            rest = rest.subcommand(below.clone());
        }
    }
    rest.version(env!("CARGO_PKG_VERSION"))
}

/// Keeps shells from proposing files where an argument takes no path.
fn files_for_paths_only(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_text = argument.get_action().takes_values()
                && argument.get_possible_values().is_empty()
                && argument.get_value_hint() == ValueHint::Unknown;
            if is_text { argument.value_hint(ValueHint::Other) } else { argument }
        })
        .mut_subcommands(files_for_paths_only)
}

/// clap_complete puts the descriptions of possible values between double quotes in fish, and escapes no double quote
/// in them. Typographic ones end no string.
fn quoted_for_fish(command: Command) -> Command {
    let quoted = |value: &PossibleValue| {
        let Some(help) = value.get_help() else { return value.clone() };
        let mut marks = ["\u{201c}", "\u{201d}"].into_iter().cycle();
        let replace =
            |c: char| if c == '"' { marks.next().unwrap_or_default().into() } else { c.to_string() };
        value.clone().help(help.to_string().chars().map(replace).collect::<String>())
    };
    command
        .mut_args(|argument| {
            let values = argument.get_possible_values();
            if values.is_empty() {
                return argument; // a parser of possible values would hide that it takes a path
            }
            argument.value_parser(PossibleValuesParser::new(values.iter().map(quoted)))
        })
        .mut_subcommands(quoted_for_fish)
}

/// The name of a page: `restante-user-add`.
fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(NAME)
}

/// The words of a command: `user add`.
fn words(command: &Command) -> &str {
    command.get_bin_name().and_then(|name| name.strip_prefix(NAME)).unwrap_or_default().trim_start()
}

/// The manual page of a command.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .title(page_name(command))
        .source(concat!("restante ", env!("CARGO_PKG_VERSION")))
        .manual(MANUAL);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    let usage = command.clone().render_usage().to_string();
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]).text([bold(usage.trim_start_matches("Usage: "))]);
    synopsis.to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let mut rest = Roff::new();
    let below: Vec<&Command> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    if !below.is_empty() {
        rest.control("SH", ["COMMANDS"]);
        for below in below {
            rest.control("TP", []).text([bold(format!("{}(1)", page_name(below)))]);
            rest.text([roman(below.get_about().map(ToString::to_string).unwrap_or_default())]);
        }
    }
    let (examples, exits) = (examples::of(words(command)), examples::exits_of(words(command)));
    if !examples.is_empty() {
        rest.control("SH", ["EXAMPLES"]);
    }
    for (what, shell) in examples {
        rest.control("PP", []).text([roman(*what)]);
        rest.control("PP", []).control("RS", ["4"]).control("nf", []);
        shell.lines().for_each(|line| {
            rest.text([bold(line)]);
        });
        rest.control("fi", []).control("RE", []);
    }
    rest.control("SH", ["EXIT STATUS"]);
    for (code, what) in exits {
        rest.control("TP", []).text([bold(*code)]).text([roman(*what)]);
    }
    rest.control("SH", ["SEE ALSO"]).text([roman(see_also(command))]);
    rest.to_writer(&mut text)?;
    Ok(text)
}

fn see_also(command: &Command) -> String {
    let parent = page_name(command).rsplit_once('-').map(|(parent, _)| format!("{parent}(1), "));
    format!("{}restante.toml(5). The whole manual is in {DOCUMENTS}.", parent.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli;

    fn program() -> Command {
        cli::Arguments::command()
    }

    #[test]
    fn every_command_has_a_page_with_examples_and_exit_codes() {
        let directory = tempfile::tempdir().unwrap();
        write_all(directory.path(), &program()).unwrap();
        let mut command = program().disable_help_subcommand(true);
        command.build();
        for command in commands(&command) {
            let path = directory.path().join("man1").join(format!("{}.1", page_name(command)));
            let page = fs::read_to_string(path).unwrap();
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "\"EXIT STATUS\"", "\"SEE ALSO\""]
            {
                assert!(
                    page.contains(&format!(".SH {section}\n")),
                    "`restante {}` has no {section}: src/cli/man_pages/examples.rs",
                    words(command)
                );
            }
            for (_, shell) in examples::of(words(command)) {
                assert!(shell.contains(command.get_bin_name().unwrap_or(NAME)), "{shell:?}");
            }
        }
        for name in examples::commands() {
            assert!(commands(&command).iter().any(|command| words(command) == name), "no command `{name}`");
        }
    }

    #[test]
    fn shells_propose_what_is_there_and_nothing_that_is_hidden() {
        let directory = tempfile::tempdir().unwrap();
        write_all(directory.path(), &program()).unwrap();
        for file in ["bash/restante", "zsh/_restante", "fish/restante.fish"] {
            let script = fs::read_to_string(directory.path().join(file)).unwrap();
            for word in ["serve", "check", "passwd", "password-stdin", "ports-file"] {
                assert!(script.contains(word), "{word} is not in {file}");
            }
            assert!(!script.contains("pages"), "{file}");
        }
    }
}
