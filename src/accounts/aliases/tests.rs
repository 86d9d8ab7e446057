use proptest::prelude::*;

use super::*;
use crate::clock::{assert_linear, cpu_time_of};

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
fn n27_the_targets_of_one_line_take_time_by_their_number() {
    // At ten times the size, 1 MiB of names in a line of 6 MiB. They differ, and lead to 900 accounts. The blanks cost a
    // reader little that goes through the line once, and much if it counts its characters anew for each name.
    assert_linear("targets in one line", 8_700, |count| {
        let targets: String = (0..count).map(|n| format!("{:60}user{n:06}, ", "")).collect();
        let text = format!("all: {targets}user1\n");
        let account = |key: &str| {
            let number: usize = key.strip_suffix("@example.test")?.strip_prefix("user")?.parse().ok()?;
            Some(format!("user{}@example.test", number % 900))
        };
        let domains = ["example.test".to_owned()];
        cpu_time_of(|| {
            let aliases = Aliases::read(&text, &domains, account).unwrap();
            assert_eq!(aliases.get("all@example.test").unwrap().len(), 900);
        })
    });
}

#[test]
fn n27_the_place_of_a_mistake_in_a_long_line_is_told() {
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
        ("x@far.test: ann", "line 1: x@far.test is not of ours: mail is taken for example.test, second.test"),
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

#[test]
fn n147_an_alias_is_found_beside_mistakes_in_other_lines() {
    let text = "sales bob\n\
                all: info@example.test, nobody@example.test,\n\
                \tinfo: bob\n\
                Info@Example.test: bob # info: of the first domain\n\
                info@second.test:\n\
                info@foreign.test: bob\n\
                *: bob\n";
    assert!(read(text).is_err());
    let domains = ["example.test".to_owned(), "second.test".to_owned()];
    for (name, line) in [
        ("info@example.test", Some(4)),
        ("info@second.test", Some(5)),
        ("@example.test", Some(7)),
        ("all@example.test", Some(2)),
        ("sales@example.test", None),
        ("info@foreign.test", None),
    ] {
        assert_eq!(Aliases::line_of(text, &domains, name), line, "{name}");
    }
}
