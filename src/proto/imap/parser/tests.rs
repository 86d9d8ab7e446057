mod imap_codec_commands;

use proptest::prelude::*;

use super::*;
use crate::language::Language;
use crate::proto::{
    buffer::Inbox,
    folder::Folder,
    imap::{
        command::{Fetch, List, ListReturn, ListSelect, Search, SearchReturn, StatusItem},
        command_reader::{CommandReader, Input},
        fetch_item::{Body, BodyName, FetchItem, Section, SectionText},
        search_key::{Day, SearchKey},
        sequence_set::SequenceSet,
    },
};

/// The first command in the octets, as they come from a client that waits for no continuation.
fn raw(wire: &[u8]) -> Option<RawCommand> {
    let (mut inbox, mut reader) = (Inbox::default(), CommandReader::default());
    inbox.push(wire);
    loop {
        match reader.read(&mut inbox, 10_000, 10_000, None) {
            Input::Literal(announcement) => reader.accept_literal(announcement.octets),
            Input::Command(command) => return Some(command),
            _ => return None,
        }
    }
}

/// The command in a line, which has no tag here.
pub(crate) fn parsed(line: &str) -> Parsed<Command> {
    let raw = raw(format!("a {line}\r\n").as_bytes()).unwrap();
    let tagged = parse(&raw, Grammar::Exact).unwrap();
    assert_eq!(tagged.tag, b"a");
    tagged.command.unwrap_or_else(|| panic!("no command: {line}"))
}

/// The words for the mistake in a command.
fn mistake(parsed: Parsed<Command>) -> &'static str {
    parsed.map(|command| panic!("{command:?}")).unwrap_or_else(|expected| expected.text(Language::English))
}

fn set(text: &str) -> SequenceSet {
    SequenceSet::parse(text.as_bytes()).unwrap()
}

fn messages(text: &str, by_uid: bool) -> Messages {
    Messages { set: set(text), by_uid }
}

fn folder(name: &str) -> MailboxName {
    MailboxName::Folder(Folder::from_decoded(name).unwrap())
}

#[test]
fn commands_are_read_with_their_arguments() {
    let login =
        |user: &[u8], password: &[u8]| Command::Login { user: user.into(), password: Secret::new(password) };
    let select = |mailbox, read_only, condstore| Command::Select { mailbox, read_only, condstore };
    let append = |flags: &[&[u8]], date| {
        let flags = flags.iter().map(|flag| flag.to_vec()).collect();
        Command::Append(Append { mailbox: folder("Sent"), flags, date })
    };
    for (line, command) in [
        ("CAPABILITY", Command::Capability),
        ("noop", Command::Noop),
        ("LOGIN bob secret", login(b"bob", b"secret")),
        ("LOGIN \"bob\" \"a \\\"b\\\\ é\"", login(b"bob", "a \"b\\ é".as_bytes())),
        ("LOGIN {3}\r\nbob {4+}\r\na\r\nb", login(b"bob", b"a\r\nb")),
        ("LOGIN b]b \"\"", login(b"b]b", b"")),
        ("ID ()", Command::Id(vec![])),
        ("ID NIL", Command::Id(vec![])),
        (
            "ID (\"name\" \"x\" \"version\" NIL)",
            Command::Id(vec![(b"name".to_vec(), Some(b"x".to_vec())), (b"version".to_vec(), None)]),
        ),
        ("AUTHENTICATE plain", Command::Authenticate { mechanism: "PLAIN".into(), initial: None }),
        (
            "AUTHENTICATE PLAIN AGJvYgBh=",
            Command::Authenticate { mechanism: "PLAIN".into(), initial: Some(b"AGJvYgBh=".to_vec()) },
        ),
        ("ENABLE CONDSTORE utf8=accept", Command::Enable(vec!["CONDSTORE".into(), "UTF8=ACCEPT".into()])),
        ("SELECT inbox", select(MailboxName::Inbox, false, false)),
        ("EXAMINE \"Sent\" (CONDSTORE)", select(folder("Sent"), true, true)),
        ("SELECT {5}\r\nR&-D.", select(folder("R&D"), false, false)),
        ("SELECT a/b", select(MailboxName::parse(b"a/b"), false, false)),
        ("CREATE Sent (USE (\\Sent))", Command::Create(folder("Sent"), Some(b"\\Sent".to_vec()))),
        ("RENAME Sent \"Sent Items\"", Command::Rename(folder("Sent"), folder("Sent Items"))),
        ("STATUS inbox (MESSAGES uidnext)", {
            Command::Status(MailboxName::Inbox, vec![StatusItem::Messages, StatusItem::UidNext])
        }),
        ("EXPUNGE", Command::Expunge(None)),
        ("UID EXPUNGE 3:5", Command::Expunge(Some(set("3:5")))),
        ("COPY 1:* Sent", Command::Copy(messages("1:*", false), folder("Sent"))),
        ("UID MOVE 7 Sent", Command::Move(messages("7", true), folder("Sent"))),
        ("APPEND Sent {3}\r\nabc", append(&[], None)),
        ("APPEND Sent (\\Seen $Work) {3}\r\nabc", append(&[b"\\Seen", b"$Work"], None)),
        ("APPEND Sent () \" 7-Feb-1994 21:52:25 -0800\" {3+}\r\nabc", append(&[], Some(760_686_745))),
    ] {
        if let Command::Append(expected) = &command {
            let raw = raw(format!("a {line}\r\n").as_bytes()).unwrap();
            assert_eq!(append_head(&raw, Grammar::Exact), Some(Ok(expected.clone())), "{line}");
            continue;
        }
        assert_eq!(parsed(line), Ok(command), "{line}");
    }
}

#[test]
fn fetch_reads_every_item_and_section() {
    let body = |path: &[u32], text| Body {
        section: Section { path: path.to_vec(), text },
        partial: None,
        marks_seen: true,
        name: BodyName::Body,
    };
    let fields = |names: &[&str], is_except| SectionText::Fields {
        names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        is_except,
    };
    let fast = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size];
    for (items, expected) in [
        ("FLAGS", vec![FetchItem::Flags]),
        ("fast", fast.to_vec()),
        ("ALL", [&fast[..], &[FetchItem::Envelope]].concat()),
        ("FULL", [&fast[..], &[FetchItem::Envelope, FetchItem::Structure { extended: false }]].concat()),
        ("(UID MODSEQ BODYSTRUCTURE)", {
            vec![FetchItem::Uid, FetchItem::ModSeq, FetchItem::Structure { extended: true }]
        }),
        ("BODY[]", vec![FetchItem::Body(body(&[], SectionText::Whole))]),
        ("BODY.PEEK[1.2.MIME]", {
            vec![FetchItem::Body(Body { marks_seen: false, ..body(&[1, 2], SectionText::Mime) })]
        }),
        ("BODY[2.HEADER]", vec![FetchItem::Body(body(&[2], SectionText::Header))]),
        ("BODY[3]<0.65536>", {
            vec![FetchItem::Body(Body { partial: Some((0, 65_536)), ..body(&[3], SectionText::Whole) })]
        }),
        (
            "(BODY[HEADER.FIELDS (From \"To\")])",
            vec![FetchItem::Body(body(&[], fields(&["From", "To"], false)))],
        ),
        ("BODY[1.HEADER.FIELDS.NOT (To)]", vec![FetchItem::Body(body(&[1], fields(&["To"], true)))]),
        ("RFC822.HEADER", {
            let header = body(&[], SectionText::Header);
            vec![FetchItem::Body(Body { marks_seen: false, name: BodyName::Rfc822Header, ..header })]
        }),
        ("RFC822.SIZE", vec![FetchItem::Size]),
    ] {
        let expected = Fetch { messages: messages("1:*", true), items: expected, changed_since: None };
        assert_eq!(parsed(&format!("UID FETCH 1:* {items}")), Ok(Command::Fetch(expected)), "{items}");
    }
    let Ok(Command::Fetch(fetch)) = parsed("FETCH 1 (FLAGS) (CHANGEDSINCE 0)") else { panic!() };
    assert_eq!(fetch.changed_since, Some(0));
}

#[test]
fn store_reads_every_form() {
    for (arguments, change, silent, flags, unchanged_since) in [
        ("FLAGS (\\Seen)", FlagChange::Replace, false, vec!["\\Seen"], None),
        ("+flags.silent \\Deleted $x", FlagChange::Add, true, vec!["\\Deleted", "$x"], None),
        ("(UNCHANGEDSINCE 12) -FLAGS ()", FlagChange::Remove, false, vec![], Some(12)),
    ] {
        let flags = flags.into_iter().map(|flag| flag.as_bytes().to_vec()).collect();
        let store = Store { messages: messages("2", false), change, flags, silent, unchanged_since };
        assert_eq!(parsed(&format!("STORE 2 {arguments}")), Ok(Command::Store(store)), "{arguments}");
    }
}

#[test]
fn search_reads_nested_conditions() {
    let flag = |name: &str| SearchKey::Flag(name.as_bytes().to_vec());
    let not = |key| SearchKey::Not(Box::new(key));
    let text = |key: &str| key.as_bytes().to_vec();
    let day = Day { year: 2026, month: 2, day: 1 };
    for (line, key) in [
        ("ALL", SearchKey::All),
        ("UNSEEN 1:5", SearchKey::And(vec![not(flag("\\Seen")), SearchKey::Numbers(set("1:5"))])),
        ("OR SEEN (FROM bob NOT UID 3)", {
            let from = SearchKey::Header(text("FROM"), text("bob"));
            let both = SearchKey::And(vec![from, not(SearchKey::Uids(set("3")))]);
            SearchKey::Or(Box::new(flag("\\Seen")), Box::new(both))
        }),
        ("HEADER Message-ID \"\"", SearchKey::Header(text("Message-ID"), text(""))),
        (
            "BODY {3}\r\na b LARGER 12",
            SearchKey::And(vec![SearchKey::Body(text("a b")), SearchKey::Larger(12)]),
        ),
        ("SINCE 1-Feb-2026", SearchKey::Since(day)),
        ("SENTON \"1-feb-2026\"", SearchKey::SentOn(day)),
        ("KEYWORD $Work", flag("$Work")),
        ("MODSEQ \"/flags/\\\\draft\" all 7", SearchKey::ModSeq(7)),
    ] {
        let search = Search { by_uid: false, returned: None, charset: None, key };
        assert_eq!(parsed(&format!("SEARCH {line}")), Ok(Command::Search(search)), "{line}");
    }
    let Ok(Command::Search(search)) = parsed("UID SEARCH RETURN (MIN COUNT) CHARSET utf-8 SUBJECT x") else {
        panic!()
    };
    assert_eq!(search.returned, Some(vec![SearchReturn::Min, SearchReturn::Count]));
    assert_eq!((search.by_uid, search.charset.as_deref()), (true, Some("UTF-8")));
    let Ok(Command::Search(search)) = parsed("SEARCH RETURN () ALL") else { panic!() };
    assert_eq!(search.returned, Some(vec![SearchReturn::All]));
}

#[test]
fn list_reads_the_extended_forms() {
    let plain = List {
        is_lsub: false,
        select: vec![],
        reference: vec![],
        patterns: vec![b"*".to_vec()],
        returned: vec![],
        status: vec![],
    };
    for (line, list) in [
        ("LIST \"\" *", plain.clone()),
        ("LIST \"\" \"%\"", List { patterns: vec![b"%".to_vec()], ..plain.clone() }),
        ("LSUB \"\" Sent*", List { is_lsub: true, patterns: vec![b"Sent*".to_vec()], ..plain.clone() }),
        (
            "LIST (SUBSCRIBED) \"\" \"*\" RETURN (SPECIAL-USE)",
            List {
                select: vec![ListSelect::Subscribed],
                returned: vec![ListReturn::SpecialUse],
                ..plain.clone()
            },
        ),
        (
            "LIST \"\" (INBOX \"A*\") RETURN (CHILDREN STATUS (MESSAGES SIZE))",
            List {
                patterns: vec![b"INBOX".to_vec(), b"A*".to_vec()],
                returned: vec![ListReturn::Children],
                status: vec![StatusItem::Messages, StatusItem::Size],
                ..plain.clone()
            },
        ),
    ] {
        assert_eq!(parsed(line), Ok(Command::List(list)), "{line}");
    }
}

#[test]
fn a_mistake_is_named() {
    for (line, expected) in [
        ("NOOP now", "the end of the line"),
        ("NOOP ", "the end of the line"),
        ("LOGIN", "a blank and the next argument"),
        ("LOGIN bob", "a blank and the next argument"),
        ("LOGIN  bob x", "a user name"),
        ("LOGIN \"bob x", "the end of a quoted string"),
        ("LOGIN \"b\\ob\" x", "a quotation mark or backslash after a backslash"),
        ("LOGIN ~{3}\r\nbob x", "a blank and the next argument"),
        ("LOGIN {3}\r\nb\0b x", "a literal without NUL"),
        ("LOGIN {3} x", "a literal at the end of the line"),
        ("LOGIN (bob) x", "a user name"),
        ("SELECT INBOX (QRESYNC)", "CONDSTORE as the only parameter"),
        ("FETCH 0 FLAGS", "a set of numbers like 1:3,7"),
        ("FETCH 1 ()", "an item to fetch"),
        ("FETCH 1 (ALL)", "an item to fetch that this server has"),
        ("FETCH 1 BODY[MIME]", "a section that messages have"),
        ("FETCH 1 BODY[0]", "the number of a part"),
        ("FETCH 1 BODY[1.]", "a section that messages have"),
        ("FETCH 1 BODY[]<0.0>", "a number of octets above 0"),
        ("FETCH 1 BODY[HEADER.FIELDS ()]", "the name of a header field"),
        ("FETCH 1 (FLAGS", "a closing parenthesis"),
        ("FETCH 1 (FLAGS UID", "a closing parenthesis"),
        ("FETCH 1 (BODY[]", "a closing parenthesis"),
        ("FETCH 1 (", "a closing parenthesis"),
        ("FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT]", "a closing parenthesis"),
        ("FETCH 1 FLAGS UID", "several items in one pair of parentheses, as in (FLAGS UID)"),
        ("FETCH 1 (FLAGS) (UID)", "several items in one pair of parentheses, as in (FLAGS UID)"),
        ("FETCH 1 FLAGS (CHANGEDSINC 5)", "(CHANGEDSINCE number)"),
        ("FETCH 1 FLAGS ()", "(CHANGEDSINCE number)"),
        ("FETCH 1 BINARY[1]", "an item to fetch that this server has"),
        ("STORE 1 FLAGS", "a blank and the next argument"),
        ("STORE 1 %FLAGS (\\Seen)", "FLAGS, +FLAGS or -FLAGS"),
        ("SEARCH", "a blank and the next argument"),
        ("SEARCH FROM", "a blank and the next argument"),
        ("SEARCH (SEEN", "a closing parenthesis"),
        ("SEARCH SEEN world", "a condition that this server has"),
        (
            "SEARCH SUBJECT hello world",
            "a condition that this server has, or quotation marks around a text with a blank",
        ),
        ("SEARCH SINCE 32-Feb-2026", "a day like 1-Feb-1994"),
        ("SEARCH SINCE 2026-02-01", "a day like 1-Feb-1994"),
        ("LIST (RECURSIVEMATCH) \"\" *", "SUBSCRIBED or SPECIAL-USE beside RECURSIVEMATCH"),
        ("STATUS INBOX (RECENTLY)", "an item of STATUS that this server has"),
        ("CREATE x (USE (\\Sent \\Drafts))", "(USE (\\Use)) with one special use"),
    ] {
        assert_eq!(mistake(parsed(line)), expected, "{line}");
    }
    for date in ["7-Feb-1994 21:52:25 -0800", "1994-02-07 21:52:25 -0800", "31-Feb-1994 21:52:25 -0800"] {
        let raw = raw(format!("a APPEND x \"{date}\" {{1}}\r\nx\r\n").as_bytes()).unwrap();
        assert_eq!(append_head(&raw, Grammar::Exact), Some(Err(expected::DATE_TIME)));
    }
}

#[test]
fn conditions_are_bounded_in_depth_and_number() {
    let deep = |depth: usize| format!("SEARCH {}ALL{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parsed(&deep(49)).is_ok());
    assert_eq!(parsed(&deep(50)), Err(expected::SMALLER_CONDITION));
    assert_eq!(parsed(&format!("SEARCH {}ALL", "NOT ".repeat(50))), Err(expected::SMALLER_CONDITION));
    let wide = |keys: usize| format!("SEARCH{}", " ALL".repeat(keys));
    assert!(parsed(&wide(1000)).is_ok());
    assert_eq!(parsed(&wide(1001)), Err(expected::SMALLER_CONDITION));
}

#[test]
fn blanks_may_be_doubled_if_the_syntax_is_forgiving() {
    let raw = raw(b"a  FETCH 1  (FLAGS  UID )  (CHANGEDSINCE  3) \r\n").unwrap();
    assert!(matches!(parse(&raw, Grammar::Forgiving).unwrap().command, Some(Ok(Command::Fetch(_)))));
    assert!(!matches!(parse(&raw, Grammar::Exact).unwrap().command, Some(Ok(_))));
}

#[test]
fn y127_blanks_may_stand_within_parentheses_if_the_syntax_is_forgiving() {
    for line in [
        "ID ( \"name\" \"x\" )",
        "ID ( )",
        "STORE 1 FLAGS ( \\Seen )",
        "SEARCH ( OR ( SEEN ) FLAGGED ) ALL",
        "SEARCH RETURN ( MIN ) ALL",
        "FETCH 1 ( FLAGS ) ( CHANGEDSINCE 3 )",
        "LIST ( SUBSCRIBED ) \"\" ( a b ) RETURN ( STATUS ( MESSAGES ) )",
    ] {
        let raw = raw(format!("a {line}\r\n").as_bytes()).unwrap();
        assert!(matches!(parse(&raw, Grammar::Forgiving).unwrap().command, Some(Ok(_))), "{line}");
        assert!(matches!(parse(&raw, Grammar::Exact).unwrap().command, Some(Err(_))), "{line}");
    }
}

#[test]
fn a_line_without_a_tag_or_command_is_told_from_an_unknown_command() {
    let tagged = |line: &[u8]| parse(&raw(line).unwrap(), Grammar::Exact);
    assert_eq!(tagged(b"\r\n"), Err(TagMistake::Missing));
    assert_eq!(tagged(b" NOOP\r\n"), Err(TagMistake::Missing));
    assert_eq!(tagged(b"a1\r\n").unwrap().command, Some(Err(expected::ARGUMENT)));
    let unknown = tagged(b"a1 XLIST \"\" *\r\n").unwrap();
    assert_eq!((unknown.name.as_str(), unknown.command), ("XLIST", None));
    let unknown = tagged(b"a1 uid idle\r\n").unwrap();
    assert_eq!((unknown.name.as_str(), unknown.command), ("UID IDLE", None));
}

#[test]
fn y203_a_tag_with_an_octet_that_no_tag_has_is_never_cut() {
    for (line, octet) in [
        ("d+4 NOOP", b'+'),
        ("d{ NOOP", b'{'),
        ("* NOOP", b'*'),
        ("d\tNOOP", b'\t'),
        ("d(", b'('),
        ("\u{e9} NOOP", 0xc3),
        ("d\u{e9} FETCH", 0xc3),
    ] {
        let raw = raw(format!("{line}\r\n").as_bytes()).unwrap();
        assert_eq!(parse(&raw, Grammar::Forgiving), Err(TagMistake::Forbidden(octet)), "{line}");
        assert_eq!(begun_tag(&raw), Err(TagMistake::Forbidden(octet)), "{line}");
    }
}

#[test]
fn y200_only_literals_have_octets_beyond_ascii_if_the_grammar_is_strict() {
    for (line, literals) in [
        ("LOGIN bobé x", "LOGIN {5}\r\nbobé x"),
        ("LOGIN bob \"é\"", "LOGIN bob {2+}\r\né"),
        ("SELECT Entwürfe", "SELECT {9}\r\nEntwürfe"),
        ("LIST \"\" é*", "LIST \"\" {3}\r\né*"),
        ("LIST \"é\" *", "LIST {2}\r\né *"),
        ("RENAME a \"\\\"é\"", "RENAME a {3}\r\n\"é"),
        ("SEARCH SUBJECT é", "SEARCH CHARSET UTF-8 SUBJECT {2}\r\né"),
        ("SEARCH NOT (TEXT \"xé\")", "SEARCH CHARSET UTF-8 NOT (TEXT {3}\r\nxé)"),
        ("FETCH 1 BODY[HEADER.FIELDS (é)]", "FETCH 1 BODY[HEADER.FIELDS ({2}\r\né)]"),
        ("ID (\"name\" \"é\")", "ID (\"name\" {2}\r\né)"),
    ] {
        let command = |line: &str, grammar| {
            let raw = raw(format!("a {line}\r\n").as_bytes()).unwrap();
            parse(&raw, grammar).unwrap().command.unwrap()
        };
        assert_eq!(command(line, Grammar::Strict), Err(expected::ASCII), "{line}");
        assert!(command(line, Grammar::Exact).is_ok(), "{line}");
        assert!(command(literals, Grammar::Strict).is_ok(), "{literals}");
    }
}

#[test]
fn w25_lists_signs_and_days_that_are_outside_of_the_grammar_are_refused() {
    let command = |line: &str| {
        let raw = raw(format!("a {line}\r\n").as_bytes()).unwrap();
        parse(&raw, Grammar::Forgiving).unwrap().command.unwrap()
    };
    for (line, mistake) in [
        ("STORE 1 +-FLAGS (\\Seen)", expected::STORE_ITEM),
        ("STORE 1 --FLAGS (\\Seen)", expected::STORE_ITEM),
        ("SELECT INBOX ()", expected::PARAMETER),
        ("LIST \"\" ()", expected::PATTERN),
        ("SEARCH ON 001-Feb-1994", expected::DAY),
        ("SEARCH MODSEQ \"/flags/\\\\draft\" any 5", expected::FLAG_SCOPE),
    ] {
        assert_eq!(command(line), Err(mistake), "{line}");
    }
    for line in
        ["STORE 1 -FLAGS (\\Seen)", "SELECT INBOX (CONDSTORE)", "LIST () \"\" (a b)", "SEARCH ON 01-Feb-1994"]
    {
        assert!(command(line).is_ok(), "{line}");
    }
}

#[test]
fn append_is_known_before_its_message_arrives() {
    let begun = |text: &str, literals: Vec<(usize, Vec<u8>)>| RawCommand { text: text.into(), literals };
    let of = |raw: &RawCommand| append_head(raw, Grammar::Exact);
    assert!(matches!(of(&begun("a APPEND Sent {3}", vec![])), Some(Ok(_))));
    assert_eq!(of(&begun("a APPEND {4}", vec![])), None, "the name of the mailbox");
    assert!(matches!(of(&begun("a APPEND {4} {3}", vec![(12, b"Sent".to_vec())])), Some(Ok(_))));
    assert_eq!(of(&begun("a LOGIN {3}", vec![])), None);
    assert_eq!(of(&begun("a APPEND Sent x {3}", vec![])), Some(Err(expected::MESSAGE)));
}

/// Pieces of commands, right and wrong.
const PIECES: [&[u8]; 19] = [
    b" ",
    b"(",
    b")",
    b"\"",
    b"\\",
    b"{1}\r\nx",
    b"[",
    b"]",
    b"<",
    b"0.1>",
    b"1:*",
    b"BODY",
    b"FLAGS",
    b"NOT",
    b"OR",
    b"HEADER.FIELDS",
    b"\xff",
    b"NIL",
    b"%",
];

proptest! {
    #[test]
    fn any_octets_are_parsed_or_refused(
        name in "(LOGIN|FETCH|SEARCH|STORE|LIST|ID|STATUS|APPEND|UID FETCH|CREATE|[A-Z]{1,8})",
        rest in proptest::collection::vec(
            proptest::sample::select(&PIECES), 0..20),
        grammar in proptest::sample::select(&[Grammar::Forgiving, Grammar::Exact, Grammar::Strict][..]),
    ) {
        let wire = [b"a ", name.as_bytes(), &rest.concat(), b"\r\n"].concat();
        if let Some(raw) = raw(&wire) {
            let _ = (parse(&raw, grammar), append_head(&raw, grammar));
        }
    }
}
