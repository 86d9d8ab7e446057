use super::*;

fn parsed(list: &str) -> Vec<(Option<String>, Option<String>, bool)> {
    parse(list.as_bytes()).into_iter().map(|one| (one.name, one.address, one.well_formed)).collect()
}

#[test]
fn a_list_is_read_as_the_rfc_has_it() {
    for (list, expected) in [
        ("bob@b.test", &[("", "bob@b.test")][..]),
        ("Élodie D. <e@b.test>, bob@b.test", &[("Élodie D.", "e@b.test"), ("", "bob@b.test")]),
        ("\"Doe, John\" <j@b.test>", &[("Doe, John", "j@b.test")]),
        ("\"J. \\\"x\\\" D\" < j@b.test >", &[("J. \"x\" D", "j@b.test")]),
        ("=?utf-8?q?Zo=C3?= =?utf-8?q?=AB?= Q <z@b.test>", &[("Zoë Q", "z@b.test")]),
        ("=?utf-8?q?Doe,_J?= <j@b.test>", &[("Doe, J", "j@b.test")]),
        ("=?utf-8?q?Doe, J?= <j@b.test>", &[("Doe, J", "j@b.test")]),
        ("\"=?utf-8?q?Zo=C3=AB?=\" <z@b.test>", &[("Zoë", "z@b.test")]),
        ("z@b.test (Zoë (the one))", &[("Zoë (the one)", "z@b.test")]),
        ("z@b.test (=?utf-8?q?Zo=C3=AB?=)", &[("Zoë", "z@b.test")]),
        ("z@b.test <z@b.test>", &[("z@b.test", "z@b.test")]),
        ("Zoë (x) <z@b.test> (y)", &[("Zoë", "z@b.test")]),
        ("\"a b\"@c.test, <\"a,>b\"@c.test>", &[("", "\"a b\"@c.test"), ("", "\"a,>b\"@c.test")]),
        ("x@[IPv6:::1], y@[192.0.2.1]", &[("", "x@[IPv6:::1]"), ("", "y@[192.0.2.1]")]),
        ("<@a.test,@b.test:user@c.test>", &[("", "user@c.test")]),
        ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", &[("Pete", "pete@silly.test")]),
        ("<ann (x)@ (y > z) b.test>, <(x)c@d.test>", &[("", "ann@b.test"), ("", "c@d.test")]),
        ("ann (x)@ (y) b.test, c @ d.test", &[("x y", "ann@b.test"), ("", "c@d.test")]),
        (
            "friends: a@b.test, C <c@d.test>;, e@f.test",
            &[("", "a@b.test"), ("C", "c@d.test"), ("", "e@f.test")],
        ),
        ("a@b.test,, ,c@d.test,", &[("", "a@b.test"), ("", "c@d.test")]),
        ("a@b.test; c@d.test", &[("", "a@b.test"), ("", "c@d.test")]),
        ("", &[]),
        (" , ;", &[]),
    ] {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let expected: Vec<_> =
            expected.iter().map(|(name, address)| (some(name), some(address), true)).collect();
        assert_eq!(parsed(list), expected, "{list}");
    }
}

#[test]
fn an_entry_that_is_none_is_marked_and_no_address_is_made_up() {
    for (list, expected) in [
        ("<ann@far.test> <bob@b.test>", &[("", "ann@far.test"), ("", "bob@b.test")][..]),
        ("ann@far.test bob@b.test", &[("ann@far.test bob@b.test", "")]),
        ("Bob bob@b.test", &[("Bob", "bob@b.test")]),
        ("a b@c", &[("a", "b@c")]),
        ("ann@ bob@b.test", &[("ann@ bob@b.test", "")]),
        ("<a (b@c.test>, d@e.test", &[("", "a (b@c.test"), ("", "d@e.test")]),
        ("<a@b.test> c", &[("c", "a@b.test")]),
        ("<a@b.test", &[("", "a@b.test")]),
        ("<a@b.test <c@d.test>", &[("", "a@b.test"), ("", "c@d.test")]),
        ("a@b.test>", &[("", "a@b.test")]),
        ("\"Bob <b@c.test>", &[("Bob <b@c.test>", "")]),
        ("(Bob b@c.test", &[("Bob b@c.test", "")]),
        ("Bob <>", &[("Bob", "")]),
        ("ann@a.test <bob@b.test>", &[("ann@a.test", "bob@b.test")]),
        ("a@b.test,<>", &[("", "a@b.test"), ("", "")]),
        ("undisclosed-recipients:;", &[("undisclosed-recipients", "")]),
        ("a@b.test: c@d.test;", &[("", "c@d.test")]),
        ("two words", &[("two words", "")]),
        ("<two words@c.test>", &[("", "two words@c.test")]),
        ("<a@b@c.test>", &[("", "a@b@c.test")]),
        ("a@b@c.test", &[("", "a@b@c.test")]),
        ("<b@x \"a b\"@c (x), d]>", &[("", "b@x \"a b\"@c  , d]")]),
        ("<a@b\u{6}c>", &[("", "a@b\u{6}c")]),
        ("<\"a\"b@c.test>", &[("", "\"a\"b@c.test")]),
        ("mailto:b@c.test", &[("", "b@c.test")]),
        ("friends: a@b.test, c@d.test", &[("", "a@b.test"), ("", "c@d.test")]),
        ("a: b: c@d.test;", &[("", "c@d.test")]),
    ] {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let expected: Vec<_> = expected.iter().map(|(name, address)| (some(name), some(address))).collect();
        let found = parsed(list);
        assert!(found.iter().any(|(.., well_formed)| !well_formed), "{list}");
        let found: Vec<_> = found.into_iter().map(|(name, address, _)| (name, address)).collect();
        assert_eq!(found, expected, "{list}");
    }
    assert_eq!(parsed("root"), [(Some("root".into()), None, true)]);
}
