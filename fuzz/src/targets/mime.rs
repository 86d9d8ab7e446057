//! The MIME reader: parts nest and lie within the message, nothing is lost, and every value is bounded by its input.

use restante::mime::{
    Content, MimeLimits, Message, address, charset, date::Date, encoded_word, file_name, html, parameters::Parameterised,
    transfer_encoding::TransferEncoding, view::View,
};

use super::owned;
use crate::{Target, bytes::Bytes};

/// This target.
pub const TARGET: Target = Target { name: "mime", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        &b"\x00Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\n \n--c\n\
           Content-Type: text/html; charset=iso-2022-jp\n\n<ul><li><a href=x>\x1b$B\n--c--\n--b\nContent-Type: message/rfc822\n\n\
           Subject: inner\n--b\nContent-Type: application/pdf; name*0*=utf-8''%C3; name*1*=%A9\n\
           Content-Transfer-Encoding: \"base64\" (x)\n\naGFs\n!!!\nbG8=\n--b-- \nfooter\n"[..],
        b"\x01no header\n\nContent-Type: multipart/digest\n--x\n\n--x--\n",
        b"\x02Content-Type: multipart/mixed; boundary=b\n--b\nno field\nContent-Type: message/rfc822\n\n--b\r\n\r\n--b--",
        b"\x03Bob <b@c.test>, \"a b\"@c (x), friends: =?utf-8?q?=C3?= =?utf-8?b?qQ?= <@r:u@[IPv6:::1]>;, <one> <two>",
        b"\x03Sat (x), 3 Jan 26 08:00 +0100",
        b"\x03attachment; filename*1*=%A9; filename*0*=utf-8''caf%C3; filename=\"=?gb2312?b?xOM=?=\"",
        "\x03- .zshenv\u{202e}/..\\~ -rf".as_bytes(),
        b"\x04<table><tr><td>a<td>b</table><pre>\n x\n</pre><ol start=9><li>c<blockquote>d<br><a href=u>e &euro;",
        b"\x05gb18030\n\xc4\xe3\x81\x30",
    ])
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let kind = input.octet();
    let data = input.0;
    match kind % 6 {
        0 => message(data, &MimeLimits::default()),
        1 => message(data, &MimeLimits { parts: 3, depth: 2, header: 40 }),
        2 => message(data, &MimeLimits { parts: 0, depth: 0, header: 0 }),
        3 => field(data),
        4 => is_bounded(&html::to_text(&String::from_utf8_lossy(data)), 3 * data.len()),
        _ => {
            let end = data.iter().position(|octet| *octet == b'\n').unwrap_or(0);
            let name = String::from_utf8_lossy(&data[..end]);
            is_bounded(&charset::decode(&data[end..], Some(&name)), data.len());
        }
    }
}

fn message(data: &[u8], limits: &MimeLimits) {
    let message = Message::parse(data, limits);
    let parts = message.parts();
    assert!(parts.len() <= limits.parts.max(1));
    let mut ends = vec![0; parts.len()];
    let mut leaves = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        assert!(part.header.start <= part.header.end && part.header.end <= part.body.start, "{part:?}");
        assert!(part.body.start <= part.body.end && part.body.end <= data.len(), "{part:?}");
        assert!(part.depth < limits.depth.max(1), "{part:?}");
        assert!(message.octets(part).len() <= part.body.len(), "{part:?}");
        if matches!(part.content, Content::Leaf | Content::Opaque) {
            leaves.push(index);
        }
        let Some(parent) = part.parent else {
            assert!(index == 0 && part.header.start == 0 && part.body.end == data.len());
            continue;
        };
        assert!(parent < index && matches!(parts[parent].content, Content::Multipart | Content::Message));
        let outer = &parts[parent].body;
        assert!(outer.start <= part.header.start && part.body.end <= outer.end, "{part:?} in {outer:?}");
        assert!(ends[parent] <= part.header.start, "{part:?} overlaps its sibling");
        ends[parent] = part.body.end;
        is_bounded(&message.save_name(part, 1), 255);
    }
    let view = View::of(&message);
    is_bounded(&view.text, 3 * data.len());
    // A part that is not listed is shown, blank, or inside a part that is listed.
    let is_inside = |mut index: usize| {
        while let Some(parent) = parts[index].parent {
            index = parent;
            if parts[index].content == Content::Message && view.listed.contains(&index) {
                return true;
            }
        }
        false
    };
    for index in leaves {
        let part = &parts[index];
        assert!(
            view.listed.contains(&index) || part.is_text() || part.is_html() || is_inside(index),
            "part {index} is lost: {part:?}"
        );
    }
    let header = message.header();
    for name in ["From", "To", "Subject", "X"] {
        let all: usize = header.addresses(name).iter().flatten().map(|one| one.address.as_deref().map_or(0, str::len)).sum();
        assert!(all <= 3 * data.len());
        is_bounded(&header.text(name).unwrap_or_default(), data.len());
    }
    header.date().iter().for_each(is_date);
    assert!(header.message_ids("References").iter().map(String::len).sum::<usize>() <= data.len());
}

fn field(data: &[u8]) {
    for one in address::parse(data) {
        let [name, address] = [one.name, one.address].map(Option::unwrap_or_default);
        is_bounded(&name, data.len());
        is_bounded(&address, data.len());
        // Both parts of an address stand in the text; comments and blanks may stand beside its `@`.
        if data.is_ascii() && one.well_formed {
            let text = String::from_utf8_lossy(data);
            let (local, domain) = address.rsplit_once('@').unwrap_or((address.as_str(), ""));
            assert!(text.contains(local) && text.contains(domain), "{address:?} is not in {text:?}");
        }
    }
    Date::parse(data).iter().for_each(is_date);
    is_bounded(&encoded_word::decode(data), data.len());
    let parsed = Parameterised::parse(data);
    for name in ["filename", "name", "boundary", "charset"] {
        is_bounded(&parsed.text(name).unwrap_or_default(), data.len());
    }
    TransferEncoding::parse(data);
    for encoding in [TransferEncoding::Base64, TransferEncoding::QuotedPrintable] {
        assert!(encoding.decode(data).len() <= data.len());
    }
    let text = String::from_utf8_lossy(data);
    if let Some(name) = file_name::clean(&text) {
        assert!(!name.contains(['/', '\\']) && !name.starts_with(['.', '-', '~', ' ']), "{name:?}");
        assert_eq!(file_name::clean(&name).as_deref(), Some(&*name), "it is clean only the second time");
    }
}

fn is_date(date: &Date) {
    let again = Date::from_seconds(date.seconds() + i64::from(date.offset));
    // A leap second is the first one of the next minute.
    assert!(date.second == 60 || (again.year, again.month, again.day) == (date.year, date.month, date.day), "{date:?}");
}

/// Each octet can become one character of up to three, and layout adds lines, marks and indentation.
fn is_bounded(text: &str, octets: usize) {
    assert!(text.len() <= 16 * octets + 1024, "{} octets of {octets}", text.len());
}
