//! The names of message files: flags change nothing else, the server's own names are recognised, and a damaged one
//! is not believed.

use std::time::{Duration, UNIX_EPOCH};

use restante::maildir::name::{
    NameGenerator, flags, identity, info, max_host_len, wire_size_in_name, sort_key, sizes_in_name, with_flag, with_flags,
};

use super::owned;
use crate::{Target, bytes::Bytes};

/// This target.
pub const TARGET: Target = Target { name: "name", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    let name = NameGenerator::new("mx.test", 7).next(UNIX_EPOCH, 1).final_name(100, Some(103));
    let mut seeds = owned([
        &b"S1700000000.M5P7.host,S=5,W=6:2,FS"[..],
        b"D1700000000_1.7.host:2,",
        b"R!2,S;2,:2,:1,",
        b"x99999999999999999999.M99999999999999999999",
        b"\0",
    ]);
    seeds.push(format!("F{name}").into_bytes());
    seeds
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let flag = input.octet();
    flagged(input.0, flag);
    ours(data);
}

/// A file name that any program may have given.
fn flagged(name: &[u8], flag: u8) {
    assert!(name.starts_with(identity(name)));
    assert!(info(name).is_none_or(|at| identity(name).len() <= at), "flags are no part of what identifies");
    let (seconds, micros, rest) = sort_key(name);
    assert_eq!(rest, name);
    assert!(
        name.first().is_some_and(u8::is_ascii_digit)
            || (seconds == 0 && (micros == 0 || name.starts_with(b".M")))
    );
    let more = with_flag(name, flag);
    assert!(flags(&more).contains(&flag) && flags(name).iter().all(|had| flags(&more).contains(had)));
    let other = with_flags(name, &[flag, b'S', flag]);
    for changed in [&more, &other] {
        assert_eq!(identity(changed), identity(name));
        assert_eq!(with_flag(changed, flag), *changed, "a flag that is there is added again");
        assert_eq!(sizes_in_name(changed), sizes_in_name(name), "flags have nothing to do with sizes");
    }
    assert!(flags(&other).is_sorted() && flags(&other).len() <= 2);
}

/// A name of ours, and the same with one octet damaged.
fn ours(data: &[u8]) {
    let mut input = Bytes(data);
    let mut number = || u64::from_be_bytes([(); 8].map(|()| input.octet()));
    let (date, random, bytes, octets) = (number(), number(), number(), number());
    let (at, by, host) = (input.octet(), input.octet(), input.0);
    let in_host = |b: &u8| char::from(if b.is_ascii_alphanumeric() || b".-".contains(b) { *b } else { b'x' });
    let host: String = host.iter().take(max_host_len()).map(in_host).collect();
    let date = UNIX_EPOCH + Duration::from_micros(date);
    let name = NameGenerator::new(&host, 7).next(date, random).final_name(bytes, Some(octets));
    assert!(with_flags(name.as_bytes(), b"DFPRST").len() <= 255, "{name} is no name of a file");
    assert_eq!(sizes_in_name(name.as_bytes()), Some((bytes, octets)), "{name}");
    assert!(wire_size_in_name(name.as_bytes(), bytes).is_none_or(|told| told == octets));
    assert_eq!(wire_size_in_name(name.as_bytes(), bytes.wrapping_add(1)), None, "the file has changed");
    let mut damaged = name.into_bytes();
    let at = usize::from(at) % damaged.len();
    damaged[at] ^= by.max(1);
    assert!(sizes_in_name(&damaged).is_none_or(|told| told == (bytes, octets)), "damaged, and believed");
}
