//! The rows of a command table. Each protocol has a table of its commands, from which it parses and refuses them; HELP and
//! the explanations of transcripts are made of the same rows.

/// One command of a protocol with the verbs `V` and the phases `P`.
#[derive(Debug)]
pub struct CommandSpec<V: 'static, P: 'static> {
    /// The command as a value, for the session to match.
    pub verb: V,
    /// Its name on the wire, in capitals.
    pub name: &'static str,
    /// The syntax, for refusals and for people.
    pub syntax: &'static str,
    /// The purpose of the command, for people.
    pub meaning: &'static str,
    /// The RFC sections that define it, the most important one first.
    pub rfc: &'static str,
    /// The phases in which the session accepts it.
    pub allowed: &'static [P],
}

/// A row, its fields in their order.
pub(super) const fn row<V, P>(
    verb: V,
    name: &'static str,
    syntax: &'static str,
    meaning: &'static str,
    rfc: &'static str,
    allowed: &'static [P],
) -> CommandSpec<V, P> {
    CommandSpec { verb, name, syntax, meaning, rfc, allowed }
}

impl<V, P> CommandSpec<V, P> {
    /// True if this is the row of a command with that name, in capitals or not.
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.name.as_bytes().eq_ignore_ascii_case(name)
    }

    /// The first RFC section of the row, abbreviated: `RFC 5321 4.1.1.2`.
    pub fn section(&self) -> String {
        let first = self.rfc.split([',', ';']).next().unwrap_or(self.rfc);
        let first = first.split(" and ").next().unwrap_or(first);
        first.replace(" sections ", " ").replace(" section ", " ")
    }

    /// The text of HELP for this command.
    pub fn help(&self) -> String {
        format!("{}\n{}\n{}", self.syntax, self.meaning, self.rfc)
    }
}
