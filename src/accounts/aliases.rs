//! Addresses that lead to accounts: one to many, and catch-alls of a domain.
//!
//! The rule: an alias leads to accounts of ours, perhaps by other aliases, and nowhere else. Any other target is
//! refused when the file is read, with its place.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    sync::Arc,
};

use super::{account::address_key, without_domain::WithoutDomain};
use crate::{limits::MAX_LIST_LENGTH, proto::smtp::address::fold_domain};

/// The accounts to which aliases lead, by name. A catch-all is the alias of `@domain`. Aliases that lead to the same
/// accounts share one list of them: else 100,000 aliases of a list of 1,000 would hold 100,000,000 names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Aliases(Arc<Lists>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Lists {
    /// The accounts that some alias leads to.
    names: Vec<String>,
    /// Positions in `names`, in order and each once.
    lists: Vec<Arc<[u32]>>,
    /// The list of each alias.
    of: BTreeMap<String, usize>,
    without_domain: WithoutDomain,
}

/// A mistake in the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AliasError {
    pub(super) position: Position,
    pub(super) why: String,
}

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: usize,
    /// The character in the line, from 1.
    pub(super) column: usize,
}

impl Position {
    /// The place of a part of a line.
    fn locate(part: &str, line: usize, text: &str) -> Self {
        let before = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        Self { line, column: text.get(..before).map_or(0, |before| before.chars().count()) + 1 }
    }
}

/// One alias in the file.
struct Alias {
    position: Position,
    targets: Vec<Target>,
}

struct Target {
    position: Position,
    key: String,
    text: String,
}

impl Aliases {
    /// Reads a text of lines like `sales@example.test: ann, bob@example.test`. A name without a domain is in the first
    /// one of `domains`; a line that begins with a blank continues the line before. `account` returns the account of an
    /// address.
    pub(super) fn read(
        text: &str,
        domains: &[String],
        account: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, AliasError> {
        Self::read_within(MAX_TOTAL_ACCOUNTS, text, domains, &account)
    }

    fn read_within(
        max_total: usize,
        text: &str,
        domains: &[String],
        account: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, AliasError> {
        let mut without_domain = WithoutDomain::default();
        let aliases = parse(text, domains, account, &mut without_domain)?;
        let mut leading = AliasExpansion {
            aliases: &aliases,
            account,
            numbers: HashMap::new(),
            list_numbers: HashMap::new(),
            total: 0,
            max_total,
            found: Lists { without_domain, ..Lists::default() },
        };
        for (key, alias) in &aliases {
            leading.expand(key, alias, &mut Vec::new())?;
        }
        Ok(Self(Arc::new(leading.found)))
    }

    /// The line of the alias with that key, in a text that may have mistakes in other lines.
    pub(super) fn line_of(text: &str, domains: &[String], wanted: &str) -> Option<usize> {
        (1..).zip(text.lines()).filter(|(_, text)| !text.starts_with([' ', '\t'])).find_map(|(line, text)| {
            let text = text.split(unquoted('#')).next().unwrap_or_default();
            let (name, _) = text.split_once(unquoted(':'))?;
            (key(name.trim(), domains, true).ok()? == wanted).then_some(line)
        })
    }

    /// The list that an address leads to: its number.
    pub(super) fn list(&self, key: &str) -> Option<usize> {
        self.0.of.get(key).copied()
    }

    /// The list that mail for everybody else of a domain goes to.
    pub(super) fn catch_all(&self, domain: &str) -> Option<usize> {
        self.list(&format!("@{domain}"))
    }

    pub(super) fn without_domain(&self) -> &WithoutDomain {
        &self.0.without_domain
    }

    /// The accounts that some alias leads to.
    pub(super) fn names(&self) -> &[String] {
        &self.0.names
    }

    /// The lists by their numbers: positions in the names, in order.
    pub(super) fn lists(&self) -> &[Arc<[u32]>] {
        &self.0.lists
    }

    #[cfg(test)]
    fn get(&self, key: &str) -> Option<Vec<&str>> {
        self.list(key).map(|list| self.names_of(list))
    }

    #[cfg(test)]
    fn names_of(&self, list: usize) -> Vec<&str> {
        let mut names: Vec<_> =
            self.lists()[list].iter().map(|at| self.names()[*at as usize].as_str()).collect();
        names.sort_unstable();
        names
    }
}

fn parse(
    text: &str,
    domains: &[String],
    account: &dyn Fn(&str) -> Option<String>,
    without_domain: &mut WithoutDomain,
) -> Result<BTreeMap<String, Alias>, AliasError> {
    let mut aliases = BTreeMap::<String, Alias>::new();
    let mut last: Option<String> = None;
    for (line, text) in (1..).zip(text.lines()) {
        let wrong_at =
            |part: &str, why: String| AliasError { position: Position::locate(part, line, text), why };
        let text = text.split(unquoted('#')).next().unwrap_or_default();
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |why: String| wrong_at(text.trim(), why);
        let goes_on = text.starts_with([' ', '\t']);
        let targets = if goes_on {
            text
        } else {
            let Some((name, targets)) = text.split_once(unquoted(':')) else {
                return Err(wrong(format!("{:?} is no alias: write {EXPECTED_SYNTAX}", text.trim())));
            };
            let key = key(name.trim(), domains, true).map_err(wrong)?;
            without_domain.add(name.trim(), line);
            if let Some(name) = account(&key) {
                return Err(wrong(format!("{key} is an address of the account {name} already")));
            }
            let place = Position::locate(name, line, text);
            match aliases.entry(key.clone()) {
                Entry::Vacant(vacant) => vacant.insert(Alias { position: place, targets: Vec::new() }),
                Entry::Occupied(other) => {
                    return Err(wrong(format!("{key} is in line {} already", other.get().position.line)));
                }
            };
            last = Some(key);
            targets
        };
        let Some(alias) = last.as_ref().and_then(|key| aliases.get_mut(key)) else {
            return Err(wrong(format!("it goes on with nothing: write {EXPECTED_SYNTAX}")));
        };
        // The count of characters continues from the target before, because a line may have 100,000 of them.
        let (mut last, mut place) = (text, Position { line, column: 1 });
        for target in targets.split(unquoted(',')).map(str::trim).filter(|target| !target.is_empty()) {
            place.column += Position::locate(target, line, last).column - 1;
            last = &text[target.as_ptr().addr() - text.as_ptr().addr()..];
            let key = key(target, domains, false).map_err(|why| AliasError { position: place, why })?;
            without_domain.add(target, line);
            alias.targets.push(Target { position: place, key, text: target.to_owned() });
        }
    }
    match aliases.iter().find(|(_, alias)| alias.targets.is_empty()) {
        Some((key, alias)) => Err(AliasError {
            position: alias.position,
            why: format!("{key} leads nowhere: write {EXPECTED_SYNTAX}"),
        }),
        None => Ok(aliases),
    }
}

/// A pattern for one pass over a line: `wanted` outside quotes, because a quoted name may have any character.
fn unquoted(wanted: char) -> impl FnMut(char) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    move |c| {
        let is_wanted = !is_quoted && c == wanted;
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && c == '\\' {
            is_escaped = true;
        } else if c == '"' {
            is_quoted = !is_quoted;
        }
        is_wanted
    }
}

/// The key of an address of ours; also `@domain` if a catch-all is allowed.
fn key(text: &str, domains: &[String], catch_all: bool) -> Result<String, String> {
    let ours = |domain: &str| domains.iter().any(|ours| ours == domain);
    // `*@domain` is how `may_send_as` and other servers write it, and `*` is that of the first domain, as `bob` is `bob@` it.
    let first = domains.first().map_or("localhost", String::as_str);
    let any =
        if text == "*" { Some(first) } else { text.strip_prefix("*@").or_else(|| text.strip_prefix('@')) };
    let key = match any {
        Some(domain) if catch_all => fold_domain(domain).ok().map(|domain| format!("@{domain}")),
        Some(_) => None,
        None if text.contains('@') => address_key(text),
        None => address_key(&format!("{text}@{first}")),
    };
    let key = key.ok_or_else(|| format!("{text:?} is not a mail address: write {EXPECTED_SYNTAX}"))?;
    match key.rsplit_once('@') {
        Some((_, domain)) if ours(domain) => Ok(key),
        _ => Err(format!(
            "{text} is not of ours: mail is taken for {} only, and not sent on to other servers",
            domains.join(", ")
        )),
    }
}

/// Follows aliases to their accounts.
struct AliasExpansion<'a> {
    aliases: &'a BTreeMap<String, Alias>,
    account: &'a dyn Fn(&str) -> Option<String>,
    /// The position of each account in the names that were found.
    numbers: HashMap<String, u32>,
    /// The number of each list that was found.
    list_numbers: HashMap<Arc<[u32]>, usize>,
    /// Accounts in all lists together.
    total: usize,
    max_total: usize,
    found: Lists,
}

impl<'a> AliasExpansion<'a> {
    /// Returns the number of the list that the alias leads to. `on` is the way here.
    fn expand(&mut self, key: &'a str, alias: &'a Alias, on: &mut Vec<&'a str>) -> Result<usize, AliasError> {
        if let Some(list) = self.found.of.get(key) {
            return Ok(*list);
        }
        on.push(key);
        let (mut names, mut seen, mut taken) = (HashSet::new(), HashSet::new(), HashSet::new());
        for Target { position: place, key: target, text } in &alias.targets {
            if !seen.insert(target) {
                continue;
            }
            if names.len() > MAX_LIST_LENGTH {
                break;
            }
            let wrong = |why: String| AliasError { position: *place, why };
            if let Some(name) = (self.account)(target) {
                names.insert(self.number(name));
                continue;
            }
            let Some((target, next)) = self.aliases.get_key_value(target) else {
                return Err(wrong(format!("there is no account and no alias {text}")));
            };
            if let Some(from) = on.iter().position(|passed| passed == target) {
                let circle = [&on[from..], &[target.as_str()]].concat().join(" -> ");
                return Err(wrong(format!("it leads round in a circle: {circle}")));
            }
            if on.len() >= MAX_DEPTH {
                return Err(wrong(format!("more than {MAX_DEPTH} aliases, one behind the other")));
            }
            let list = self.expand(target, next, on)?;
            if taken.insert(list) {
                names.extend(self.found.lists[list].iter().copied());
            }
        }
        let too_many = |most: usize, who: &str| {
            Err(AliasError { position: alias.position, why: format!("{who} to more than {most} accounts") })
        };
        if names.len() > MAX_LIST_LENGTH {
            return too_many(MAX_LIST_LENGTH, &format!("{key} leads"));
        }
        let mut names: Vec<u32> = names.into_iter().collect();
        names.sort_unstable();
        let list = self.intern(names);
        if self.total > self.max_total {
            return too_many(self.max_total, "up to here all different aliases together lead");
        }
        on.pop();
        self.found.of.insert(key.to_owned(), list);
        Ok(list)
    }

    fn number(&mut self, name: String) -> u32 {
        let next = self.found.names.len() as u32; // fewer than the octets of the file
        *self.numbers.entry(name).or_insert_with_key(|name| {
            self.found.names.push(name.clone());
            next
        })
    }

    /// The number of that list, which is kept once.
    fn intern(&mut self, names: Vec<u32>) -> usize {
        if let Some(list) = self.list_numbers.get(names.as_slice()) {
            return *list;
        }
        self.total += names.len();
        let (names, list) = (Arc::<[u32]>::from(names), self.found.lists.len());
        self.found.lists.push(Arc::clone(&names));
        self.list_numbers.insert(names, list);
        list
    }
}

const EXPECTED_SYNTAX: &str =
    "\"name@domain: account@domain, account@domain\", or \"@domain: account@domain\" for the rest";
/// Length of the longest chain of aliases.
const MAX_DEPTH: usize = 16;
/// Accounts in all lists that differ: 32 MiB of memory.
const MAX_TOTAL_ACCOUNTS: usize = 8 << 20;

#[cfg(test)]
mod tests;
