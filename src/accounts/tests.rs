//! Lookups of addresses, and logins.

use super::*;

fn accounts(file: &str) -> Accounts {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.json");
    std::fs::write(&path, file).unwrap();
    let domains = vec!["example.test".into(), "second.test".into()];
    Sources { users: path, aliases: None, domains, ..Sources::default() }.load().unwrap()
}

/// The password of every account is "sesame".
const MD5: &str = r#""password_hash": "c8dae1c50e092f3d877192fc555b1dcf""#;

fn people() -> Accounts {
    accounts(&format!(
        r#"{{"Bob@example.test": {{{MD5}}}, "alice@example.test": {{{MD5}}},
             "bob+x@example.test": {{{MD5}, "inbox": "bobs-x"}}, "carl@second.test": {{{MD5}}},
             "old@gone.test": {{{MD5}}}}}"#
    ))
}

fn lookup(accounts: &Accounts, address: &str) -> String {
    match accounts.lookup(&Address::parse(address).unwrap()) {
        Lookup::Local(to) => {
            let to = to.iter().map(|Destination { mailbox, folder }| match folder {
                Some(folder) => mailbox.in_folder(folder).to_string(),
                None => mailbox.to_string(),
            });
            to.collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn addresses_are_found_without_regard_to_case_or_tag() {
    let accounts = people();
    for (address, mailbox) in [
        ("bob@example.test", "bob@example.test"),
        ("BOB@Example.Test", "bob@example.test"),
        ("bob+anything!@example.test", "bob@example.test"),
        ("bob+x@example.test", "bobs-x"),
        ("bob+x+y@example.test", "bob@example.test/.x+y"),
        ("carl@second.test", "carl@second.test"),
        ("carl@example.test", "Unknown"),
        ("+bob@example.test", "Unknown"),
        ("\"bob@example.test\"@example.test", "Unknown"),
        ("bob", "bob@example.test"),
        ("carl", "Unknown"),
        ("bob@far.test", "Foreign"),
        ("bob@sub.example.test", "Foreign"),
        ("bob@[127.0.0.1]", "Foreign"),
        ("old@gone.test", "Foreign"),
    ] {
        assert_eq!(lookup(&accounts, address), mailbox, "{address}");
    }
}

/// Accounts with these users and aliases.
fn office(users: &str, aliases: &str) -> Accounts {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    std::fs::write(path("users.json"), users).unwrap();
    std::fs::write(path("aliases"), aliases).unwrap();
    let domains = vec!["example.test".into(), "second.test".into()];
    Sources { users: path("users.json"), aliases: Some(path("aliases")), domains, ..Sources::default() }
        .load()
        .unwrap()
}

#[test]
fn an_address_leads_to_an_account_by_name_alias_tag_or_catch_all() {
    let accounts = office(
        &format!(
            r#"{{"bob@example.test": {{{MD5}, "addresses": ["Robert@Second.test"], "inbox": "shared"}},
                 "ann@example.test": {{{MD5}}}, "eve@example.test": {{{MD5}, "inbox": "shared"}}}}"#
        ),
        "all: ann, bob, eve\n@second.test: ann\nsales+eu: bob\nsales: ann\n",
    );
    for (address, mailboxes) in [
        ("robert@second.test", "shared"),
        ("robert+Sent@second.test", "shared/.Sent"),
        ("robert@example.test", "Unknown"),
        ("ALL@example.test", "ann@example.test shared"),
        ("all+lists@example.test", "ann@example.test/.lists shared/.lists"),
        ("sales+eu@example.test", "shared"),
        ("sales+us@example.test", "ann@example.test/.us"),
        ("\"ann+../eve\"@example.test", "ann@example.test"),
        ("ann+@example.test", "ann@example.test"),
        ("anybody@second.test", "ann@example.test"),
        ("any.body+x@second.test", "ann@example.test"),
        ("anybody%far.test@second.test", "Unknown"),
        ("far.test!anybody@second.test", "Unknown"),
        ("\"anybody@far.test\"@second.test", "Unknown"),
        ("anybody@example.test", "Unknown"),
        ("anybody@far.test", "Foreign"),
    ] {
        assert_eq!(lookup(&accounts, address), mailboxes, "{address}");
    }
}

#[test]
fn an_alias_file_that_is_missing_or_wrong_is_named_with_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    std::fs::write(path("users.json"), "{}").unwrap();
    let sources = Sources {
        users: path("users.json"),
        aliases: Some(path("aliases")),
        domains: vec!["a.test".into()],
        ..Sources::default()
    };
    let error = || sources.load().unwrap_err().to_string();
    assert!(error().starts_with(&format!("cannot read {}: ", path("aliases").display())), "{}", error());
    std::fs::write(path("aliases"), "# none\nx: y\n").unwrap();
    let place =
        format!("{}, line 2, column 4: there is no account and no alias y", path("aliases").display());
    assert_eq!(error(), place);
}

#[test]
fn a_disabled_account_gets_mail_and_lets_nobody_in() {
    let accounts = office(&format!(r#"{{"bob@example.test": {{{MD5}, "disabled": true}}}}"#), "");
    assert_eq!(lookup(&accounts, "bob@example.test"), "bob@example.test");
    for user in ["bob", "bob@example.test", "bob+Sent"] {
        assert_eq!(
            accounts.credential(user).verify(b"sesame", &mut HashMemory::default()),
            Verdict::Wrong,
            "{user}"
        );
    }
}

#[test]
fn any_address_of_an_account_logs_in() {
    let accounts = office(
        &format!(r#"{{"bob@example.test": {{{MD5}, "addresses": ["Rob@second.test"]}}}}"#),
        "x: bob\n",
    );
    assert_eq!(accounts.credential("rob@Second.test").user, "bob@example.test");
    assert_eq!(accounts.credential("rob+Sent@second.test").user, "bob@example.test");
    assert_eq!(accounts.credential("x").mailbox, None);
}

#[test]
fn who_sends_uses_an_address_whose_mail_comes_here_or_one_that_was_allowed() {
    let accounts = office(
        &format!(
            r#"{{"ann@example.test": {{{MD5}, "addresses": ["a@second.test"]}},
                 "bob@example.test": {{{MD5}, "may_send_as": ["Ann@example.test", "*@far.test"]}},
                 "root@example.test": {{{MD5}, "may_send_as": ["*"]}},
                 "one@example.test": {{{MD5}, "inbox": "shared", "may_send_as": ["*"], "sent_copy": false,
                                      "quota": {{"bytes": "1 MiB"}}}},
                 "two@example.test": {{{MD5}, "inbox": "shared",
                                      "quota": {{"bytes": "2 MiB", "messages": 5}}}}}}"#
        ),
        "team: ann, bob\n",
    );
    let mailbox = |user: &str| accounts.credential(user).mailbox.unwrap();
    for (user, allowed, refused) in [
        (
            "ann",
            &["ann@example.test", "ANN+x@example.test", "A@second.test", "team@example.test"][..],
            &["bob@example.test", "ann@second.test", "ann@far.test"][..],
        ),
        (
            "bob",
            &["bob@example.test", "ann@example.test", "anybody@far.test"],
            &["a@second.test", "x@y.test"],
        ),
        ("root", &["anybody@anywhere.test", "ann@example.test"], &[]),
        ("two", &["one@example.test", "two@example.test"], &["ann@example.test"]),
        ("one", &["one@example.test"], &["ann@example.test"]),
        ("bob+Sent", &["bob@example.test", "x@far.test"], &["x@y.test"]),
    ] {
        let may = |from: &&&str| accounts.may_send_as(&mailbox(user), &Address::parse(from).unwrap());
        assert_eq!(allowed.iter().filter(|from| !may(from)).count(), 0, "{user} {allowed:?}");
        assert_eq!(refused.iter().filter(may).count(), 0, "{user} {refused:?}");
    }
    let quota = |user| accounts.quota(&mailbox(user));
    assert_eq!(quota("one"), Quota { octets: Some(1 << 20), messages: Some(5) });
    assert_eq!(quota("ann"), Quota::default());
    assert!(accounts.wants_sent_copy(&mailbox("ann")) && !accounts.wants_sent_copy(&mailbox("two")));
}

#[test]
fn w08_every_place_reads_an_address_in_the_same_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let users = format!(
        r#"{{"Jörg@BÜCHER.test": {{{MD5}, "addresses": ["o'Neil@xn--bcher-kva.test"], "may_send_as": ["ÜBER@far.test"]}},
             "\"a..b\"@bücher.test": {{{MD5}}}, "bob@bücher.test": {{{MD5}, "inbox": "bob"}}}}"#
    );
    std::fs::write(path("users.json"), users).unwrap();
    std::fs::write(path("aliases"), "Größe: JÖRG\n@second.test: \"bob\"@xn--BCHER-kva.test\n").unwrap();
    let domains = vec!["xn--bcher-kva.test".into(), "second.test".into()];
    let accounts =
        Sources { users: path("users.json"), aliases: Some(path("aliases")), domains, ..Sources::default() }
            .load()
            .unwrap();
    let jörg = "j%c3%b6rg@xn--bcher-kva.test";
    for (address, mailbox) in [
        ("jörg@bücher.test", jörg),
        ("JO\u{308}RG@xn--bcher-kva.TEST", jörg),
        ("\"jörg\"@bu\u{308}cher.test", jörg),
        ("jörg", jörg),
        ("O'NEIL@bücher.test", jörg),
        ("a..b@bücher.test", "a..b@xn--bcher-kva.test"),
        ("\"A..B\"@bücher.test", "a..b@xn--bcher-kva.test"),
        ("\"Bob\"@bücher.test", "bob"),
        ("BOB+Sent@bücher.test", "bob/.Sent"),
    ] {
        assert_eq!(lookup(&accounts, address), mailbox, "mail to {address}");
        let login = accounts.credential(address).mailbox.map(|mailbox| mailbox.to_string());
        assert_eq!(login.as_deref(), Some(mailbox), "login of {address}");
    }
    assert_eq!(lookup(&accounts, "größe@bücher.test"), jörg);
    assert_eq!(lookup(&accounts, "anybody@second.test"), "bob");
    assert_eq!(lookup(&accounts, "jorg@bücher.test"), "Unknown");
    let user = Mailbox::named(jörg).unwrap();
    assert!(accounts.may_send_as(&user, &Address::parse("über@far.test").unwrap()));
    let domains = ["xn--bcher-kva.test".to_owned()];
    assert_eq!(canonical_name("JÖRG@bücher.test", &domains), "jörg@xn--bcher-kva.test");
    assert_eq!(canonical_name("JÖRG", &domains), "jörg@xn--bcher-kva.test");
    assert_eq!(account_name("Jo\u{308}rg@BÜCHER.test", &domains).unwrap(), "jörg@xn--bcher-kva.test");
    assert_eq!(account_name("\"A..B\"@bücher.test", &domains).unwrap(), "\"a..b\"@xn--bcher-kva.test");
    assert!(account_name("a..b@bücher.test", &domains).unwrap_err().to_string().contains("\"a..b\"@"));
}

#[test]
fn mail_for_postmaster_always_arrives() {
    let ways = ["postmaster", "PostMaster@example.test", "postmaster@second.test"];
    for (users, mailboxes) in [
        (&["bob@example.test", "alice@example.test"][..], ["alice@example.test"; 3]),
        (&["alice@example.test", "postmaster@example.test"], ["postmaster@example.test"; 3]),
        (
            &["postmaster@example.test", "postmaster@second.test"],
            ["postmaster@example.test", "postmaster@example.test", "postmaster@second.test"],
        ),
        (&[], ["Unknown"; 3]),
    ] {
        let entries: Vec<_> = users.iter().map(|user| format!("{user:?}: {{{MD5}}}")).collect();
        let accounts = accounts(&format!("{{{}}}", entries.join(",")));
        assert_eq!(ways.map(|way| lookup(&accounts, way)), mailboxes, "{users:?}");
    }
    assert_eq!(lookup(&people(), "postmaster@far.test"), "Foreign");
}

#[test]
fn w09_in_an_open_house_every_address_has_a_mailbox() {
    let accounts = Accounts::accept_all(&["localhost".into()]);
    for (address, mailbox) in [
        ("Who@Ever.test", "who@ever.test"),
        ("who+tag@ever.test", "who@ever.test/.tag"),
        ("who", "who@localhost"),
        ("postmaster", "postmaster@localhost"),
        ("a_b=c-d.e@x", "a_b=c-d.e@x"),
        ("+tag@ever.test", "Unknown"),
        ("\"\"@ever.test", "Unknown"),
        ("-rf@ever.test", "%2drf@ever.test"),
        ("\".hidden\"@ever.test", "%2ehidden@ever.test"),
        ("\"../x\"@ever.test", "%2e.%2fx@ever.test"),
        ("\"a@b\"@ever.test", "a%40b@ever.test"),
        ("O'Brien@ever.test", "o%27brien@ever.test"),
        ("jo\u{308}rg@Bücher.test", "j%c3%b6rg@xn--bcher-kva.test"),
        ("who+ta/g@ever.test", "who@ever.test"),
        ("who@[127.0.0.1]", "who@%5b127.0.0.1%5d"),
    ] {
        assert_eq!(lookup(&accounts, address), mailbox, "{address}");
    }
}

#[test]
fn in_an_open_house_any_password_opens_the_mailbox_that_mail_goes_to() {
    let accounts = Accounts::accept_all(&["localhost".into()]);
    for (user, mailbox) in [("Who@Ever.test", "who@ever.test"), ("who", "who@localhost")] {
        let credential = accounts.credential(user);
        assert_eq!(
            credential.verify(b"", &mut HashMemory::default()),
            Verdict::Right(Mailbox::named(mailbox).unwrap()),
            "{user}"
        );
    }
    let (who, other) = (Mailbox::named("who@ever.test").unwrap(), Address::parse("other@far.test").unwrap());
    assert!(accounts.may_send_as(&who, &other), "as without a login");
    assert_eq!(accounts.credential("").verify(b"x", &mut HashMemory::default()), Verdict::Wrong);
}

#[test]
fn a_folder_is_opened_with_the_password_of_its_owner() {
    let opened = |accounts: &Accounts, user: &str| match accounts
        .credential(user)
        .verify(b"sesame", &mut HashMemory::default())
    {
        Verdict::Right(mailbox) | Verdict::RightUpgraded { mailbox, .. } => mailbox.to_string(),
        Verdict::Wrong => "wrong".into(),
    };
    let (listed, everybody) = (people(), Accounts::accept_all(&["localhost".into()]));
    for (user, mailbox) in [
        ("bob+Sent@example.test", "bob@example.test/.Sent"),
        ("BOB+Sent", "bob@example.test/.Sent"),
        ("bob+Archive.2026", "bob@example.test/.Archive.2026"),
        ("bob+Entwürfe", "bob@example.test/.Entw&APw-rfe"),
        ("bob+x@example.test", "bobs-x"), // an account of its own
        ("bob+X", "bobs-x"),
        ("carl+a+b@Second.test", "carl@second.test/.a+b"),
    ] {
        assert_eq!(opened(&listed, user), mailbox, "{user}");
    }
    for user in ["bob+", "bob+..", "bob+../alice@example.test", "bob+.Sent", "+Sent", "nobody+Sent"] {
        assert_eq!(opened(&listed, user), "wrong", "{user}");
        assert_eq!(listed.credential(user).mailbox, None, "{user}");
    }
    assert_eq!(opened(&everybody, "who+Sent@Ever.test"), "who@ever.test/.Sent");
    assert_eq!(listed.credential("bob+Sent").verify(b"Sesame", &mut HashMemory::default()), Verdict::Wrong);
    assert_eq!(listed.credential("bob+Sent").user, "bob@example.test");
}

#[test]
fn an_old_hash_is_upgraded_once() {
    let mut accounts = people();
    let bob = Mailbox::named("bob@example.test").unwrap();
    for user in ["bob@example.test", "BOB@example.test", "bob"] {
        assert_eq!(
            accounts.credential(user).verify(b"Sesame", &mut HashMemory::default()),
            Verdict::Wrong,
            "{user}"
        );
    }
    let credential = accounts.credential("Bob");
    assert_eq!(credential.hash_on_file(), "c8dae1c50e092f3d877192fc555b1dcf");
    let verdict = credential.verify(b"sesame", &mut HashMemory::default());
    let Verdict::RightUpgraded { mailbox, user, old_hash, hash } = verdict else { panic!("{verdict:?}") };
    assert_eq!((&mailbox, &*user), (&bob, "bob@example.test"));
    // A password that was changed during the check is not replaced by the old one.
    accounts.update_hash(&user, "another", hash.clone());
    assert_eq!(accounts.credential("bob").hash_on_file(), old_hash);
    accounts.update_hash(&user, &old_hash, hash);
    assert_eq!(accounts.credential("bob").verify(b"sesame", &mut HashMemory::default()), Verdict::Right(bob));
    assert_eq!(accounts.credential("bob").verify(b"Sesame", &mut HashMemory::default()), Verdict::Wrong);
}

#[test]
fn users_who_do_not_exist_are_checked_and_refused() {
    let accounts = people();
    for user in ["nobody@example.test", "carl", "nobody+tag@example.test", "../bob@example.test", "", "@"] {
        let credential = accounts.credential(user);
        assert_eq!(credential.mailbox, None, "{user}");
        assert_eq!(credential.verify(b"sesame", &mut HashMemory::default()), Verdict::Wrong, "{user}");
    }
}

#[test]
fn hashes_do_not_print() {
    let accounts = people();
    for printed in [format!("{accounts:?}"), format!("{:?}", accounts.credential("bob"))] {
        assert!(printed.contains("bob@example.test") && !printed.contains("c8dae1"), "{printed}");
    }
}

#[test]
fn a_new_account_needs_an_address_of_ours_that_can_be_a_mailbox() {
    let ours = ["example.test".to_owned(), "second.test".to_owned()];
    assert_eq!(account_name("New.User+x@Second.test", &ours).unwrap(), "new.user+x@second.test");
    assert_eq!(account_name("New", &ours).unwrap(), "new@example.test");
    for (bad, why) in [
        ("new@far.test", "example.test, second.test only"),
        ("new@", "not a mail address"),
        ("a@b@example.test", "not a mail address"),
        ("../new@example.test", "against RFC 5321"),
        ("\"\"@example.test", "something must stand before the @"),
    ] {
        let error = account_name(bad, &ours).unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:?}")) && error.contains(why), "{error}");
    }
}

#[test]
fn n74_an_address_has_a_tag_unless_an_account_or_alias_has_the_whole_name() {
    let tagged = |accounts: &Accounts, address: &str| {
        let tagged = accounts.tagged(&Address::parse(address).unwrap());
        tagged.map(|address| address.as_str().to_owned())
    };
    let people = people();
    for (address, expected) in [
        ("Bob+News@Example.test", Some("bob+news@example.test")),
        ("bob+news", Some("bob+news@example.test")),
        ("\"bob+a..b\"@example.test", Some("\"bob+a..b\"@example.test")),
        ("bob+x+y@example.test", Some("bob+x+y@example.test")),
        ("bob+x@example.test", None),
        ("bob@example.test", None),
        ("nobody+x@example.test", None),
        ("bob+news@far.test", None),
    ] {
        assert_eq!(tagged(&people, address).as_deref(), expected, "{address}");
    }
    let house = Accounts::accept_all(&["localhost".into()]);
    assert_eq!(tagged(&house, "Ann+a").as_deref(), Some("ann+a@localhost"));
    assert_eq!(tagged(&house, "ann@x.test"), None);
}
