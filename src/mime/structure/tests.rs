//! The scan on small messages, at its bounds, and in steps.

use proptest::prelude::*;

use super::*;

/// Each part as `depth type [body]`.
fn shape(message: &str) -> Vec<String> {
    shape_within(message, &MimeLimits::default())
}

fn shape_within(message: &str, limits: &MimeLimits) -> Vec<String> {
    let (parts, _) = scan(message.as_bytes(), limits);
    check(message.as_bytes(), &parts, limits);
    let row = |part: &Part| {
        let mark = match (part.content, part.role) {
            (_, Role::Preamble) => "preamble",
            (_, Role::Epilogue) => "epilogue",
            (_, Role::Rest) => "rest",
            (Content::Opaque, Role::Part) => "opaque",
            (Content::Leaf, Role::Part) => "leaf",
            (Content::Multipart, Role::Part) => {
                return format!("{} {}", part.depth, part.media_type.value);
            }
            (Content::Message, Role::Part) => return format!("{} message", part.depth),
        };
        let body = &message[part.body.clone()];
        format!("{} {mark} {} {body:?}", part.depth, part.media_type.value)
    };
    parts.iter().map(row).collect()
}

/// Ranges are inside those of the parent, in order, and do not overlap.
fn check(bytes: &[u8], parts: &[Part], limits: &MimeLimits) {
    assert!(parts.len() <= limits.parts.max(1), "{}", parts.len());
    let mut ends: Vec<usize> = vec![0; parts.len()];
    for (index, part) in parts.iter().enumerate() {
        assert!(part.header.start <= part.header.end && part.body.start <= part.body.end, "{part:?}");
        assert!(part.header.end <= part.body.start && part.body.end <= bytes.len(), "{part:?}");
        assert!(part.depth < limits.depth.max(1), "{part:?}");
        let Some(parent) = part.parent else {
            assert_eq!((index, part.header.start, part.body.end), (0, 0, bytes.len()));
            continue;
        };
        assert!(parent < index && !matches!(parts[parent].content, Content::Leaf | Content::Opaque));
        let outer = &parts[parent].body;
        assert!(outer.start <= part.header.start && part.body.end <= outer.end, "{part:?} in {outer:?}");
        assert!(ends[parent] <= part.header.start, "{part:?} overlaps its sibling");
        ends[parent] = part.body.end;
    }
}

const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\n\n";

#[test]
fn a_boundary_of_an_outer_multipart_ends_what_is_inside() {
    for (inside, expected) in [
        ("Content-Type: message/rfc822\n\nSubject: x\n", &["1 message", "2 leaf text/plain \"\""][..]),
        ("Content-Type: message/rfc822\n\nSubject: x\n\ny\n", &["1 message", "2 leaf text/plain \"y\""]),
        ("Content-Type: message/rfc822\n", &["1 message", "2 leaf text/plain \"\""]),
        ("Content-Type: message/rfc822\n\n", &["1 message", "2 leaf text/plain \"\""]),
        (
            "Content-Type: multipart/mixed; boundary=c\n\n--c\n\ny\n",
            &["1 multipart/mixed", "2 leaf text/plain \"y\""],
        ),
        ("Content-Type: multipart/mixed; boundary=c\n\nz\n", &["1 leaf multipart/mixed \"z\""]),
        ("Content-Type: multipart/mixed; boundary=c\n", &["1 leaf multipart/mixed \"\""]),
        ("Content-Type: image/png\n", &["1 leaf image/png \"\""]),
        ("", &["1 leaf text/plain \"\""]),
    ] {
        let message = format!("{MIXED}--b\n{inside}--b\nContent-Type: application/pdf\n\np\n--b--\n");
        let mut all = vec!["0 multipart/mixed"];
        all.extend(expected);
        all.push("1 leaf application/pdf \"p\"");
        assert_eq!(shape(&message), all, "{message}");
        let crlf = message.replace('\n', "\r\n");
        assert_eq!(shape(&crlf), all, "{crlf:?}");
    }
}

#[test]
fn boundaries_are_found_however_they_are_written() {
    for (message, expected) in [
        // Blanks after it, text after the last one, no last one, a text before the first.
        (
            "boundary=b\n\na notice in Mime format\n--b \t\n\none\n--b\n\ntwo\n--b-- bye\n",
            &["one", "two"][..],
        ),
        ("boundary=b\n\n--b\n\none\n--b\n\ntwo", &["one", "two"]),
        ("boundary=b\n\nzero\n--b\n\none\n--b--\n", &["zero", "one"]),
        ("boundary=\"b \"\n\n--b\n\none\n--b--\n", &["one"]),
        ("boundary*0=\"b\"; boundary*1=\"c\"\n\n--bc\n\none\n--bc--\n", &["one"]),
        // After the last boundary, another part.
        ("boundary=b\n\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n", &["one", "two"]),
        ("boundary=b\n\n--b\n\none\n--b--\nfooter\n", &["one", "footer\n"]),
        // No boundary in the header, or another than in the text.
        ("x=y\n\n--b\n\none\n--b\n\ntwo\n--b--\n", &["one", "two"]),
        ("boundary=never\n\ntext\n", &["text\n"]),
        // No empty line between the header and the boundary.
        ("boundary=b\n--b\n\none\n--b--\n", &["one"]),
        // The boundary of one is the begin of another's.
        (
            "boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b1\n\n--b1\n\none\n--b1--\n--b\n\ntwo\n--b--\n",
            &["one", "two"],
        ),
        // Both have the same.
        (
            "boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n",
            &["one", "two"],
        ),
    ] {
        let message = format!("Content-Type: multipart/mixed; {message}");
        let (parts, _) = scan(message.as_bytes(), &MimeLimits::default());
        check(message.as_bytes(), &parts, &MimeLimits::default());
        let leaves = parts.iter().filter(|part| part.content == Content::Leaf);
        let bodies: Vec<_> = leaves.map(|part| &message[part.body.clone()]).collect();
        assert_eq!(bodies, expected, "{message}");
    }
}

#[test]
fn a_header_ends_where_no_field_follows() {
    for (message, header, body) in [
        ("A: b\n\nbody\n", "A: b\n", "body\n"),
        ("\nbody\n", "", "body\n"),
        ("no header\nat all\n", "", "no header\nat all\n"),
        ("no header\n\nat all\n", "", "no header\n\nat all\n"),
        ("A: b\nno field\n\nbody\n", "A: b\n", "no field\n\nbody\n"),
        ("no field\nA: b\n\nbody\n", "no field\nA: b\n", "body\n"),
        ("A: b\n c\n\td\n\nbody\n", "A: b\n c\n\td\n", "body\n"),
        (" folded\nA: b\n\nbody\n", " folded\nA: b\n", "body\n"),
        (
            "From a@b Thu Jan  1 00:00:00 2026\nA: b\n\nbody\n",
            "From a@b Thu Jan  1 00:00:00 2026\nA: b\n",
            "body\n",
        ),
        ("From now on\n", "", "From now on\n"),
        ("A: b\n", "A: b\n", ""),
        ("A: b", "A: b", ""),
        ("", "", ""),
    ] {
        let (parts, _) = scan(message.as_bytes(), &MimeLimits::default());
        check(message.as_bytes(), &parts, &MimeLimits::default());
        let part = &parts[0];
        assert_eq!(
            (&message[part.header.clone()], &message[part.body.clone()]),
            (header, body),
            "{message:?}"
        );
    }
}

#[test]
fn bounds_leave_one_part_whole() {
    let parts = "--b\n\nx\n".repeat(5);
    let message = format!("{MIXED}{parts}--b--\n");
    let limits = MimeLimits { parts: 3, ..MimeLimits::default() };
    assert_eq!(
        shape_within(&message, &limits),
        [
            "0 multipart/mixed".to_owned(),
            "1 leaf text/plain \"x\"".to_owned(),
            format!(
                "1 rest application/octet-stream {:?}",
                format!("\nx\n{}--b--\n", "--b\n\nx\n".repeat(3))
            ),
        ]
    );
    let closing = format!("{MIXED}--b\n\nx\n--b--\n1\n--b--\n2\n--b--\n3\n");
    assert_eq!(
        shape_within(&closing, &limits),
        [
            "0 multipart/mixed",
            "1 leaf text/plain \"x\"",
            "1 rest application/octet-stream \"1\\n--b--\\n2\\n--b--\\n3\\n\"",
        ]
    );
    let forwarded = format!("{MIXED}--b\nContent-Type: message/rfc822\n\nSubject: x\n\n1\n--b\n\n2\n--b--\n");
    assert_eq!(shape_within(&forwarded, &limits)[1], "1 opaque message/rfc822 \"Subject: x\\n\\n1\"");
    let deep: String =
        (0..9).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
    let shown = shape_within(&deep, &MimeLimits { depth: 3, ..MimeLimits::default() });
    assert_eq!(shown[..2], ["0 multipart/mixed", "1 multipart/mixed"]);
    assert!(
        shown.len() == 3 && shown[2].starts_with("2 opaque multipart/mixed \"--b2\\nContent-Type"),
        "{shown:?}"
    );
    let long = format!("X: {}\nContent-Type: image/png\n\nbody", "x".repeat(100));
    assert_eq!(
        shape_within(&long, &MimeLimits { header: 50, ..MimeLimits::default() }),
        ["0 leaf text/plain \"body\""]
    );
}

#[test]
fn a_digest_is_of_messages() {
    let message = "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\n\n1\n--b\nContent-Type: text/plain\n\n2\n--b--";
    assert_eq!(
        shape(message),
        ["0 multipart/digest", "1 message", "2 leaf text/plain \"1\"", "1 leaf text/plain \"2\""]
    );
}

/// Messages that make a careless reader slow, at two sizes: the number of steps grows as the size does.
#[test]
fn the_number_of_steps_is_linear() {
    let nested = |n: usize| -> String {
        (0..n).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect()
    };
    let kinds: [(&str, &dyn Fn(usize) -> String); 8] = [
        ("nested messages", &|n| "Content-Type: message/rfc822\n\n".repeat(n)),
        ("nested multiparts", &nested),
        ("parts", &|n| format!("{MIXED}{}", "--b\n\nx\n".repeat(n))),
        ("hyphens", &|n| format!("{MIXED}{}", "--x\n".repeat(n))),
        ("no header", &|n| "no field\n".repeat(n)),
        ("no header with hyphens", &|n| "--\n".repeat(n)),
        ("no empty line", &|n| "Content-Type: multipart/mixed; boundary=b\n--b\n".repeat(n)),
        ("text after each field", &|n| "A: b\nno field\n".repeat(n)),
    ];
    for (name, kind) in kinds {
        let steps = |n| {
            let message = kind(n);
            let (parts, steps) = scan(message.as_bytes(), &MimeLimits::default());
            check(message.as_bytes(), &parts, &MimeLimits::default());
            (steps, message.len() as u64)
        };
        let ((few, small), (many, large)) = (steps(10_000), steps(100_000));
        assert!(many <= few.max(1) * 11 && small * 9 <= large, "{name}: {few} steps, then {many}");
        let deepest = MimeLimits::default().depth as u64;
        assert!(many <= large * (deepest + 3), "{name}: {many} steps for {large} octets");
    }
}

proptest! {
    #[test]
    fn any_octets_make_parts_that_nest(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let message = pieces.concat();
        for limits in [MimeLimits::default(), MimeLimits { parts: 4, depth: 3, header: 20 }, MimeLimits { parts: 1, depth: 1, header: 0 }] {
            let (parts, steps) = scan(message.as_bytes(), &limits);
            check(message.as_bytes(), &parts, &limits);
            prop_assert!(steps <= (message.len() as u64 + 1) * (limits.depth as u64 + 3));
        }
    }
}

const PIECES: &[&str] = &[
    "--a\n",
    "--b\n",
    "--a--\n",
    "--b--\r\n",
    "\n",
    "\r\n",
    "text\n",
    "\r",
    " folded\n",
    "X: y\n",
    "x",
    "--",
    "-- \n",
    "Content-Type: multipart/mixed; boundary=a\n",
    "Content-Type: multipart/digest; boundary=b\n",
    "\0",
    "Content-Type: message/rfc822\n",
    "Content-Type: multipart/mixed\n",
    "Content-Type: text/html\n",
    "From x 1:2\n",
];
