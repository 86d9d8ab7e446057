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
    let any = format!("*@{first}");
    let text = if text == "*" { &any } else { text };
    let key = match text.strip_prefix("*@").or_else(|| text.strip_prefix('@')) {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Aliases, String> {
        let domains = ["example.test".to_owned(), "second.test".to_owned()];
        let account = |key: &str| {
            let names = ["ann@example.test", "bob@example.test", "carl@second.test"];
            let key = if key == "a.n@example.test" { "ann@example.test" } else { key };
            names.contains(&key).then(|| key.to_owned())
        };
        Aliases::read(text, &domains, account)
            .map_err(|mistake| format!("line {}: {}", mistake.position.line, mistake.why))
    }

    #[test]
    fn an_alias_leads_to_accounts_by_other_aliases_and_to_each_once() {
        let aliases = read(
            "# Who reads what.\n\
             Sales@Example.test: ann, bob@example.test   # two of them\n\
             \n\
             all: sales, carl@second.test,\n\
             \tA.N@EXAMPLE.test\n\
             @second.test: all\n\
             postmaster: bob\n\
             *: ann\n",
        )
        .unwrap();
        let all = ["ann@example.test", "bob@example.test", "carl@second.test"];
        assert_eq!(aliases.get("sales@example.test").unwrap(), &all[..2]);
        assert_eq!(aliases.get("all@example.test").unwrap(), &all);
        assert_eq!(aliases.get("@second.test").unwrap(), &all);
        assert_eq!(aliases.catch_all("second.test"), aliases.list("all@example.test"), "one list");
        assert_eq!(aliases.get("postmaster@example.test").unwrap(), &all[1..2]);
        assert_eq!(aliases.list("all@second.test"), None);
        assert_eq!(aliases.get("@example.test").unwrap(), &all[..1], "of the first domain");
    }

    /// Counting each column from the start of the line, and copying a set for each, took 1.9 s and more.
    #[test]
    fn w08_a_quoted_name_may_have_the_characters_that_separate_names() {
        let aliases = read(
            "\"c:d\": bob # \"a comment\n\
             \"#x\"@example.test: ann, bob\n\
             \"q\\\",r\": ann\n\
             all: \"c:d\", \"#x\"@example.test,\"q\\\",r\"\n",
        )
        .unwrap();
        assert_eq!(aliases.get("c:d@example.test").unwrap(), ["bob@example.test"]);
        assert_eq!(aliases.get("#x@example.test").unwrap(), ["ann@example.test", "bob@example.test"]);
        assert_eq!(aliases.get("q\",r@example.test").unwrap(), ["ann@example.test"]);
        assert_eq!(aliases.get("all@example.test").unwrap(), ["ann@example.test", "bob@example.test"]);
    }

    #[test]
    fn n27_a_hundred_thousand_targets_take_time_by_their_number() {
        let inner: String = (0..900).map(|n| format!("user{n},")).collect();
        let many = "inner, bob, ".repeat(50_000);
        let text = format!("inner: {inner}\nall: {many}ann\nwrong: {many}é, joe\n");
        let account = |key: &str| {
            key.strip_suffix("@example.test")
                .filter(|name| *name != "inner" && *name != "joe")
                .map(|_| key.to_owned())
        };
        let domains = ["example.test".to_owned()];
        let good = &text[..text.find("wrong").unwrap()];
        let aliases =
            Aliases::read(good, &domains, |key| account(key).filter(|key| !key.starts_with("all@"))).unwrap();
        assert_eq!(aliases.get("all@example.test").unwrap().len(), 902);
        let mistake = Aliases::read(&text, &domains, |key| {
            account(key).filter(|key| !key.starts_with("all@") && !key.starts_with("wrong@"))
        });
        let column = "wrong: ".len() + many.len() + "é, ".chars().count() + 1;
        assert_eq!(mistake.unwrap_err().position, Position { line: 3, column });
    }

    /// Accounts in memory for so many aliases that lead to the same ones, each in its own words.
    fn held_for(aliases: usize) -> usize {
        let inner: String = (0..1000).map(|n| format!("user{n},")).collect();
        let mut text = format!("inner: {inner}\n");
        for n in 0..aliases {
            text += &match n % 3 {
                0 => format!("a{n}: inner\n"),
                1 => format!("a{n}: user7, inner, user999\n"),
                _ => format!("a{n}: a{}, user1\n", n - 1),
            };
        }
        let account = |key: &str| key.starts_with("user").then(|| key.to_owned());
        let aliases = Aliases::read(&text, &["example.test".to_owned()], account).unwrap();
        aliases.names().len() + aliases.lists().iter().map(|list| list.len()).sum::<usize>()
    }

    #[test]
    fn aliases_that_lead_to_the_same_accounts_share_them() {
        assert_eq!((held_for(3), held_for(600)), (2000, 2000));
    }

    #[test]
    fn lists_that_differ_have_a_bound_together() {
        let text: String = (0..10).map(|n| format!("a{n}: x{n}, inner\nb{n}: a{n}\n")).collect();
        let text = format!("inner: u1, u2\n{text}");
        let read = |most| {
            let account = |key: &str| key.starts_with(['u', 'x']).then(|| key.to_owned());
            Aliases::read_within(most, &text, &["example.test".to_owned()], &account)
        };
        assert!(read(32).is_ok());
        let mistake = read(31).unwrap_err();
        assert_eq!(mistake.why, "up to here all different aliases together lead to more than 31 accounts");
        assert_eq!(mistake.position.line, 20);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_column() {
        for (text, line, column) in [
            ("sales ann", 1, 1),
            ("\n  ann", 2, 3),
            ("sales:", 1, 1),
            ("x: ann, é@far.test", 1, 9),
            ("x: ann,\n\tbob, joe # who", 2, 7),
            ("u: v\nv:  u", 2, 5),
        ] {
            let mistake = Aliases::read(text, &["example.test".into()], |key| {
                ["ann@example.test", "bob@example.test"].contains(&key).then(|| key.to_owned())
            });
            assert_eq!(mistake.unwrap_err().position, Position { line, column }, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let chain: String = (0..=16).map(|n| format!("a{n}: a{}\n", n + 1)).collect();
        for (text, told) in [
            ("sales ann", "line 1: \"sales ann\" is no alias: write \"name@domain: account@domain"),
            ("\n  ann", "line 2: it goes on with nothing"),
            ("sales:\n#\nx: ann", "line 1: sales@example.test leads nowhere"),
            ("sales: ann\nSALES: bob", "line 2: sales@example.test is in line 1 already"),
            ("ann: bob", "line 1: ann@example.test is an address of the account ann@example.test already"),
            ("a.n: bob", "line 1: a.n@example.test is an address of the account ann@example.test already"),
            ("a b: ann", "line 1: \"a b\" is not a mail address"),
            (
                "x@far.test: ann",
                "line 1: x@far.test is not of ours: mail is taken for example.test, second.test",
            ),
            ("x: ann,\n joe@far.test", "line 2: joe@far.test is not of ours"),
            ("x: ann,\n joe", "line 2: there is no account and no alias joe"),
            ("x: @second.test", "line 1: \"@second.test\" is not a mail address"),
            ("x: |/bin/sh", "line 1: there is no account and no alias |/bin/sh"),
            ("x: /etc/passwd", "line 1: there is no account and no alias /etc/passwd"),
            ("x: x", "line 1: it leads round in a circle: x@example.test -> x@example.test"),
            (
                "u: ann, v\nv: w\nw: ann, v",
                "line 3: it leads round in a circle: v@example.test -> w@example.test -> v@example.test",
            ),
            (&format!("{chain}a17: ann"), "more than 16 aliases"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(told) || error.contains("more than 16"), "{told:?} is not {error:?}");
            assert!(error.contains("more than 16") == told.contains("more than 16"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "([a-c@:, \t\n#é|]|bob|ann|@second\\.test){0,60}") {
            if let Ok(aliases) = read(&text) {
                prop_assert!(aliases.lists().iter().all(|names| !names.is_empty()), "{:?}", aliases);
            }
        }
    }
}
