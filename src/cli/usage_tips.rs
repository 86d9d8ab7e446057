//! Tips for mistakes of the command line that its parser does not know: the option of another program or command, a value
//! that needs an `=` before it, and a text or address without an option.
//!
//! The rule: a tip has the words to type.

use clap::{
    Command,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

use crate::command_hint::shell_quoted;

/// A tip for a mistake. The French text is empty for a command that speaks English alone.
#[derive(Debug)]
pub(super) struct Tip {
    pub(super) english: String,
    #[cfg_attr(not(feature = "tools"), allow(dead_code, reason = "the daemon speaks English alone"))]
    pub(super) french: &'static str,
}

/// The tip for a mistake. `words`: the command line without the name of the program.
pub(super) fn tip(error: &Error, program: &Command, words: &[String]) -> Option<Tip> {
    let command = words.first()?;
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else { return None };
    let is_option = typed.starts_with('-');
    match error.kind() {
        ErrorKind::UnknownArgument if is_option => option_of_another(command, typed),
        ErrorKind::UnknownArgument => {
            missing_equals(program.find_subcommand(command)?, typed, words).or_else(|| text_alone(command))
        }
        ErrorKind::InvalidValue if !is_option => text_alone(command),
        _ => None,
    }
}

/// The option of this command that has the meaning of an option of another program or command.
fn option_of_another(command: &str, typed: &str) -> Option<Tip> {
    let is_meant = |row: &&Row| row.0 == command && row.1.contains(&typed);
    let (_, _, english, french) = *OF_OTHERS.iter().find(is_meant)?;
    Some(Tip { english: english.into(), french })
}

/// The option with its value, if the value must stand after an `=`, because the option may have none.
fn missing_equals(command: &Command, typed: &str, words: &[String]) -> Option<Tip> {
    let options: Vec<String> = command
        .get_arguments()
        .filter(|argument| argument.is_require_equals_set())
        .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
        .collect();
    let pair = words.windows(2).find(|pair| pair[1] == typed && options.contains(&pair[0]))?;
    let english = format!("the value stands after a `=`: {}={}", pair[0], shell_quoted(typed));
    Some(Tip { english, french: "" })
}

/// The options for a text or an address that stands alone.
fn text_alone(command: &str) -> Option<Tip> {
    (command == "send").then(|| Tip {
        english: "write each recipient with --to, and the text with --body, in quotation marks: --to bob@example.test \
                  --body 'Hello Bob'"
            .into(),
        french: "écrivez chaque destinataire avec --to, et le texte avec --body, entre guillemets : --to bob@example.test \
                 --body 'Bonjour Bob'",
    })
}

/// A command, options of others, and the tip in English and French.
type Row = (&'static str, &'static [&'static str], &'static str, &'static str);

const OF_OTHERS: &[Row] = &[
    (
        "dev",
        &["--port", "--ports", "-p", "-P"],
        "each protocol has an option for its port: --smtp 2525, --pop3 1110, --imap 1143, --http 8025",
        "",
    ),
    (
        "dev",
        &["--address", "--bind", "--ip", "--server"],
        "the address has the option --listen, and each port that of its protocol: --listen 127.0.0.1 --smtp 2525",
        "",
    ),
    (
        "dev",
        &["--dir", "--directory", "--maildir", "--mail", "--data"],
        "the directory for the mailboxes has the option --spool: --spool ./spool",
        "",
    ),
    (
        "serve",
        &["--port", "--listen", "--smtp", "--pop3", "--imap", "--http", "--tls", "--spool"],
        "the configuration has the ports, the certificate and the spool: name it with --config FILE; `restante dev` has options for \
         them",
        "",
    ),
    (
        "client",
        &["--server", "--host", "--port", "--address"],
        "each server has an option: --smtp HOST:PORT to send mail to, and --pop3 HOST:PORT or --imap HOST:PORT to read it from",
        "chaque serveur a son option : --smtp HÔTE:PORT pour envoyer, et --pop3 HÔTE:PORT ou --imap HÔTE:PORT pour lire",
    ),
    (
        "client",
        &["--auth", "--login", "--name"],
        "the login name has the option --user: --user ann@example.test",
        "le nom de connexion a l'option --user : --user ann@example.test",
    ),
    (
        "send",
        &["--host", "--port", "--smtp", "--address"],
        "the server has the option --server: --server mx.example.test:25, or --server 2525 for a port of this machine",
        "le serveur a l'option --server : --server mx.example.test:25, ou --server 2525 pour un port de cette machine",
    ),
    (
        "send",
        &["--user", "--login", "--name"],
        "the login name has the option --auth: --auth ann@example.test",
        "le nom de connexion a l'option --auth : --auth ann@example.test",
    ),
    (
        "send",
        &["--password", "--pass"],
        "other users can see a command line: put the password into a file for --password-file, or into RESTANTE_PASSWORD",
        "les autres utilisateurs voient une ligne de commande : mettez le mot de passe dans un fichier pour --password-file, ou \
         dans RESTANTE_PASSWORD",
    ),
    (
        "send",
        &["--text", "--message", "--msg", "-m"],
        "the text has the option --body: --body 'Hello Bob'",
        "le texte a l'option --body : --body 'Bonjour Bob'",
    ),
];

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Arguments;

    fn tip_for(words: &[&str]) -> Option<Tip> {
        let error = Arguments::try_parse_from([&["restante"][..], words].concat()).unwrap_err();
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        tip(&error, &Arguments::command(), &words)
    }

    #[test]
    fn u120_a_mistake_is_told_with_the_option_that_is_meant() {
        for (words, told) in [
            (&["dev", "--port", "2600"][..], "--smtp 2525"),
            (&["dev", "--port=2600"], "--smtp 2525"),
            (&["dev", "-p", "2600"], "--smtp 2525"),
            (&["dev", "--maildir", "x"], "--spool ./spool"),
            (&["serve", "--port", "25"], "name it with --config FILE; `restante dev` has options for them"),
            (&["dev", "--transcripts", "foo"], "after a `=`: --transcripts=foo"),
            (&["dev", "--smtp", "0", "--tls", "my certificates"], "after a `=`: --tls='my certificates'"),
        ] {
            let tip = tip_for(words).unwrap_or_else(|| panic!("{words:?}"));
            assert!(tip.english.contains(told), "{words:?}: {}", tip.english);
        }
        for words in [&["dev", "foo"][..], &["dev", "--nonsense"], &["dev", "--tls=x", "foo"], &["devv"], &[]]
        {
            assert!(tip_for(words).is_none(), "{words:?}");
        }
    }

    #[test]
    fn no_tip_is_for_an_option_that_is_there() {
        let program = Arguments::command();
        for (command, options, _, _) in OF_OTHERS {
            let Some(command) = program.find_subcommand(command) else { continue };
            for argument in command.get_arguments() {
                let names = argument.get_long_and_visible_aliases().unwrap_or_default();
                assert!(!names.iter().any(|name| options.contains(&&*format!("--{name}"))), "{names:?}");
            }
        }
    }
}
