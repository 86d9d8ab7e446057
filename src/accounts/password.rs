//! Stored passwords: Argon2id, and the hashes from other servers (bcrypt, SHA-512-crypt, unsalted MD5), which are
//! replaced at the first right password.
//!
//! The rule: every check costs at least one run of Argon2id, for any stored hash and any result.

use std::{hint::black_box, str::FromStr};

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordVerifier, Version};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bcrypt::HashParts;
use md5::{Digest, Md5};
use sha_crypt::ShaCrypt;

use super::{Error, HashMemory};
use crate::command_hint::restante;

/// The cost of new hashes: 19 MiB and two passes, OWASP's recommendation.
const COST: Params = match Params::new(19_456, 2, 1, None) {
    Ok(cost) => cost,
    Err(_) => panic!("this cost is out of Argon2's range"),
};

/// The highest allowed cost of a hash from a file: KiB, passes, lanes.
const MAX_ARGON2: (u32, u32, u32) = (256 * 1024, 20, 16);
/// The same for bcrypt: the binary logarithm of its rounds.
const MAX_BCRYPT_COST: u32 = 14;
/// The same for SHA-512-crypt: rounds.
const MAX_SHA512_ROUNDS: u32 = 1_000_000;

/// Hashes a password with Argon2id and a random salt, as a PHC string.
pub fn hash(password: &[u8]) -> Result<String, Error> {
    hash_in(password, &mut HashMemory::default())
}

fn hash_in(password: &[u8], scratch: &mut HashMemory) -> Result<String, Error> {
    let (mut salt, mut out) = ([0; 16], [0; Params::DEFAULT_OUTPUT_LEN]);
    getrandom::fill(&mut salt).map_err(|error| Error::Hash(error.to_string()))?;
    let hashed = scratch.hash(&argon2id(Version::V0x13, COST), password, &salt, &mut out);
    hashed.ok_or_else(|| Error::Hash("not enough memory".into()))?;
    let (m, t, p) = (COST.m_cost(), COST.t_cost(), COST.p_cost());
    let [salt, out] = [&salt[..], &out].map(|octets| STANDARD_NO_PAD.encode(octets));
    Ok(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${out}"))
}

/// A parsed hash from the file.
pub(super) enum StoredHash {
    Argon2id(Box<PasswordHash>),
    Md5([u8; 16]),
    Bcrypt(String),
    Sha512(String),
    /// A stored value that no password matches, such as `!`.
    Locked,
}

/// The result of a check.
pub(super) enum HashMatch {
    Wrong,
    Right,
    /// Right, and this hash should replace the stored one.
    NeedsUpgrade(String),
}

impl StoredHash {
    pub(super) fn verify(&self, password: &[u8], scratch: &mut HashMemory) -> HashMatch {
        let right = match self {
            Self::Argon2id(hash) => {
                let right = argon2id_matches(hash, password, scratch).unwrap_or(false);
                return if right { HashMatch::Right } else { HashMatch::Wrong };
            }
            Self::Md5(digest) => constant_time_eq(&Md5::digest(password), digest),
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::Sha512(text) => ShaCrypt::SHA512.verify_password(password, &**text).is_ok(),
            Self::Locked => false,
        };
        if !right {
            dummy_verify(password, scratch);
            return HashMatch::Wrong;
        }
        hash_in(password, scratch).map_or(HashMatch::Right, HashMatch::NeedsUpgrade)
    }

    /// Whether it came from another server, so that the next login replaces it.
    pub(super) fn is_old(&self) -> bool {
        !matches!(self, Self::Argon2id(_) | Self::Locked)
    }

    /// Whether a check takes longer than that of an unknown user.
    pub(super) fn is_slow(&self) -> bool {
        match self {
            Self::Argon2id(hash) => Params::try_from(&**hash).is_ok_and(|cost| {
                cost.m_cost().saturating_mul(cost.t_cost()) > COST.m_cost().saturating_mul(COST.t_cost())
            }),
            Self::Bcrypt(_) | Self::Sha512(_) => true,
            Self::Md5(_) | Self::Locked => false,
        }
    }
}

fn argon2id_matches(hash: &PasswordHash, password: &[u8], scratch: &mut HashMemory) -> Option<bool> {
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let mut out = vec![0; expected.as_ref().len()];
    scratch.hash(&argon2id(version, Params::try_from(hash).ok()?), password, salt, &mut out)?;
    Some(constant_time_eq(&out, expected.as_ref()))
}

impl FromStr for StoredHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = without_scheme(text)?;
        if text.starts_with('!') {
            return Ok(Self::Locked);
        }
        if let Some(digest) = md5_digest(text) {
            return Ok(Self::Md5(digest));
        }
        if BCRYPT.iter().any(|kind| text.starts_with(kind)) {
            return bcrypt(text);
        }
        if text.starts_with(SHA512) {
            return sha512(text);
        }
        let hash = PasswordHash::new(text).ok().filter(|hash| {
            hash.algorithm.as_str() == "argon2id" && hash.salt.is_some() && hash.hash.is_some()
        });
        let hash = hash.ok_or_else(|| {
            let other = OTHER_CRYPT.iter().find(|(begin, _)| text.starts_with(begin));
            let what = match other {
                Some((_, scheme)) => format!("a hash of {scheme}, which is not understood"),
                None => "not a password hash".into(),
            };
            format!(
                "{what}: write \"!\", which locks the account, then {} (\"$argon2id$…\", bcrypt's \
                 \"$2b$…\", SHA-512-crypt's \"$6$…\" and the 32 hex digits of an MD5 are understood)",
                restante(&["user", "passwd", "NAME"])
            )
        })?;
        let cost = Params::try_from(&hash).map_err(|e| format!("not a usable Argon2id hash: {e}"))?;
        if cost.m_cost() > MAX_ARGON2.0 || cost.t_cost() > MAX_ARGON2.1 || cost.p_cost() > MAX_ARGON2.2 {
            let (m, t, p) = MAX_ARGON2;
            return Err(format!("this Argon2id hash costs more than m={m},t={t},p={p}"));
        }
        Ok(Self::Argon2id(Box::new(hash)))
    }
}

/// The hash after the name of its scheme in braces, as Dovecot writes it.
fn without_scheme(text: &str) -> Result<&str, String> {
    let Some((scheme, hash)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Ok(text);
    };
    let is = |name: &&&str| name.eq_ignore_ascii_case(scheme);
    if KNOWN_SCHEMES.iter().any(|name| is(&name)) {
        return Ok(hash);
    }
    // Only a name of the list is printed: the braces may belong to a password in clear text.
    let Some(other) = OTHER_SCHEMES.iter().find(is) else { return Ok(text) };
    Err(format!(
        "the scheme {{{other}}} is not understood: {} are; write \"!\" instead, then {}",
        KNOWN_SCHEMES.map(|name| format!("{{{name}}}")).join(", "),
        restante(&["user", "passwd", "NAME"])
    ))
}

fn bcrypt(text: &str) -> Result<StoredHash, String> {
    let parts: HashParts = text.parse().map_err(|e| format!("not a usable bcrypt hash: {e}"))?;
    match parts.get_cost() {
        4..=MAX_BCRYPT_COST => Ok(StoredHash::Bcrypt(text.to_owned())),
        cost => Err(format!("this bcrypt hash has the cost {cost}: from 4 to {MAX_BCRYPT_COST} is accepted")),
    }
}

/// `$6$`, perhaps `rounds=N$`, a salt, `$`, and 64 octets in 86 characters.
fn sha512(text: &str) -> Result<StoredHash, String> {
    let rest = &text[SHA512.len()..];
    let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|rest| rest.split_once('$')) {
        Some((rounds, rest)) => (rounds.parse().ok(), rest),
        None => (Some(5000), rest),
    };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b));
    let whole = rest.split_once('$').is_some_and(|(salt, hash)| {
        (1..=16).contains(&salt.len()) && hash.len() == 86 && plain(salt) && plain(hash)
    });
    match rounds {
        Some(1000..=MAX_SHA512_ROUNDS) if whole => Ok(StoredHash::Sha512(text.to_owned())),
        _ => Err(format!(
            "not a usable SHA-512-crypt hash: \"$6$SALT$…\", of 1000 to {MAX_SHA512_ROUNDS} rounds"
        )),
    }
}

fn argon2id(version: Version, cost: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, version, cost)
}

/// Takes the time of a check.
pub(super) fn dummy_verify(password: &[u8], scratch: &mut HashMemory) {
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon2 = argon2id(Version::V0x13, COST);
    let _ = black_box(scratch.hash(&argon2, password, b"takes time alone", &mut out)); // nobody needs it
    black_box(out);
}

fn md5_digest(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut digest = [0; 16];
    for (octet, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *octet = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(digest)
}

/// Compares in a time that does not depend on the position of the difference.
fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && black_box(a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b))) == 0
}

/// Schemes of Dovecot whose hashes are understood.
const KNOWN_SCHEMES: [&str; 5] = ["ARGON2ID", "BLF-CRYPT", "SHA512-CRYPT", "CRYPT", "PLAIN-MD5"];
/// Its others.
const OTHER_SCHEMES: [&str; 28] = [
    "ARGON2I",
    "CLEAR",
    "CLEARTEXT",
    "CRAM-MD5",
    "DES-CRYPT",
    "DIGEST-MD5",
    "HMAC-MD5",
    "LANMAN",
    "LDAP-MD5",
    "MD5",
    "MD5-CRYPT",
    "NTLM",
    "OTP",
    "PBKDF2",
    "PLAIN",
    "PLAIN-MD4",
    "RPA",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA256-CRYPT",
    "SHA512",
    "SMD5",
    "SSHA",
    "SSHA256",
    "SSHA512",
];
/// Beginnings of the hashes of other schemes (crypt(5)), and the names of those.
const OTHER_CRYPT: [(&str, &str); 11] = [
    ("$y$", "yescrypt"),
    ("$gy$", "gost-yescrypt"),
    ("$7$", "scrypt"),
    ("$scrypt$", "scrypt"),
    ("$5$", "SHA-256-crypt"),
    ("$1$", "MD5 crypt"),
    ("$apr1$", "MD5 crypt, in the form of Apache"),
    ("$sha1$", "SHA-1 crypt"),
    ("$argon2i$", "Argon2i"),
    ("$argon2d$", "Argon2d"),
    ("$pbkdf2", "PBKDF2"),
];
const BCRYPT: [&str; 3] = ["$2a$", "$2b$", "$2y$"];
const SHA512: &str = "$6$";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESAME: &str = "c8dae1c50e092f3d877192fc555b1dcf";

    fn verify(stored: &str, password: &str) -> HashMatch {
        stored.parse::<StoredHash>().unwrap().verify(password.as_bytes(), &mut HashMemory::default())
    }

    #[test]
    fn memory_that_was_used_before_changes_no_result() {
        let costs = [(64, 1, 1), (19_456, 2, 1), (1024, 3, 4), (64, 2, 1), (40_000, 1, 1)];
        let mut scratch = HashMemory::default();
        for (n, (m, t, p)) in costs.into_iter().enumerate() {
            let argon2 = argon2id(Version::V0x13, Params::new(m, t, p, None).unwrap());
            let theirs: PasswordHash = argon2::PasswordHasher::hash_password(&argon2, b"sesame").unwrap();
            let stored: StoredHash = theirs.to_string().parse().unwrap();
            assert!(matches!(stored.verify(b"sesame", &mut scratch), HashMatch::Right), "{n}");
            assert!(matches!(stored.verify(b"Sesame", &mut scratch), HashMatch::Wrong), "{n}");
            assert_eq!(scratch.is_empty(), m == 40_000, "what a dear one takes is not kept");
        }
        let ours = hash_in(b"sesame", &mut scratch).unwrap();
        let verified =
            argon2id(Version::V0x13, COST).verify_password(b"sesame", &PasswordHash::new(&ours).unwrap());
        assert!(verified.is_ok());
    }

    #[test]
    fn what_takes_longer_than_a_user_who_is_not_there_is_known() {
        for (stored, slow) in [
            (&*hash(b"x").unwrap(), false),
            (SESAME, false),
            ("!", false),
            ("$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O", true),
            ("$argon2id$v=19$m=65536,t=3,p=4$c29tZSBzYWx0IQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g", true),
        ] {
            assert_eq!(stored.parse::<StoredHash>().unwrap().is_slow(), slow, "{stored}");
        }
    }

    #[test]
    fn a_hash_fits_its_password_alone_and_no_two_are_alike() {
        let sesame = hash(b"sesame").unwrap();
        assert!(sesame.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{sesame}");
        assert_ne!(sesame, hash(b"sesame").unwrap());
        assert!(matches!(verify(&sesame, "sesame"), HashMatch::Right));
        for wrong in ["", "Sesame", "sesame\0", "sesam"] {
            assert!(matches!(verify(&sesame, wrong), HashMatch::Wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_hash_of_another_cost_is_checked_at_its_own() {
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 2, None).unwrap());
        let cheap: PasswordHash = argon2::PasswordHasher::hash_password(&cheap, b"sesame").unwrap();
        assert!(matches!(verify(&cheap.to_string(), "sesame"), HashMatch::Right));
        assert!(matches!(verify(&cheap.to_string(), "other"), HashMatch::Wrong));
    }

    #[test]
    fn an_md5_is_understood_in_any_case_and_replaced() {
        for stored in [SESAME, &SESAME.to_uppercase()] {
            let HashMatch::NeedsUpgrade(new) = verify(stored, "sesame") else {
                panic!("{stored} is not upgraded")
            };
            assert!(matches!(verify(&new, "sesame"), HashMatch::Right));
            assert!(matches!(verify(stored, "wrong"), HashMatch::Wrong));
        }
    }

    #[test]
    fn hashes_of_other_servers_are_understood_and_replaced() {
        // As crypt(3) of glibc writes them for "sesame".
        for stored in [
            "$6$saltstring$zw6YcBRuwlGueZoWIkK6CRJbQmJbhVf1zPxCfDBsJpbBlxfJ610F8Vp0i93QFh0AmoYe0z/GrJISxBfRQSsGe1",
            "$6$rounds=1000$abcdefgh$1WhD5NSPfUW3vvjZt0oAl77wZvqZB/nJcOoNyFB4UHH98F.JCFg5bmMLyU4dXf5WU9tCX9pTKt8vIYOpqoRCm0",
            "$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O",
            "$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O",
        ] {
            let HashMatch::NeedsUpgrade(new) = verify(stored, "sesame") else {
                panic!("{stored} is not upgraded")
            };
            assert!(new.starts_with("$argon2id$") && matches!(verify(&new, "sesame"), HashMatch::Right));
            for wrong in ["", "Sesame", "sesame\0"] {
                assert!(matches!(verify(stored, wrong), HashMatch::Wrong), "{stored} {wrong:?}");
            }
        }
    }

    #[test]
    fn n14_schemes_of_dovecot_in_front_of_a_known_hash_are_taken_off_and_others_named() {
        let sha512 = "$6$rounds=1000$abcdefgh$1WhD5NSPfUW3vvjZt0oAl77wZvqZB/nJcOoNyFB4UHH98F.JCFg5bmMLyU4dXf5WU9tCX9pTKt8vIYOpqoRCm0";
        let bcrypt = "$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O";
        for stored in [
            format!("{{SHA512-CRYPT}}{sha512}"),
            format!("{{sha512-crypt}}{sha512}"),
            format!("{{CRYPT}}{sha512}"),
            format!("{{BLF-CRYPT}}{bcrypt}"),
            format!("{{ARGON2ID}}{}", hash(b"sesame").unwrap()),
            format!("{{PLAIN-MD5}}{SESAME}"),
        ] {
            assert!(!matches!(verify(&stored, "sesame"), HashMatch::Wrong), "{stored}");
            assert!(matches!(verify(&stored, "Sesame"), HashMatch::Wrong), "{stored}");
        }
        let refused = |stored: &str| stored.parse::<StoredHash>().err().unwrap();
        assert!(refused("{SSHA}abcd").starts_with("the scheme {SSHA} is not understood: {ARGON2ID}, "));
        let told = refused("{secret}word");
        assert!(told.starts_with("not a password hash") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn n140_a_hash_of_another_scheme_is_told_with_its_name() {
        for (stored, told) in [
            ("$y$j9T$c2FsdA$aGFzaA", "a hash of yescrypt, which is not understood: write \"!\""),
            ("$1$salt$hash", "a hash of MD5 crypt, which is not understood"),
            ("{CRYPT}$5$salt$hash", "a hash of SHA-256-crypt, which"),
            ("$x$y", "not a password hash"),
        ] {
            let why = stored.parse::<StoredHash>().err().unwrap();
            assert!(why.starts_with(told), "{told:?} is not in {why:?}");
        }
    }

    #[test]
    fn a_locked_account_has_no_password() {
        for locked in ["!", "!c8dae1c50e092f3d877192fc555b1dcf"] {
            for password in ["sesame", "", "!"] {
                assert!(matches!(verify(locked, password), HashMatch::Wrong));
            }
        }
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused() {
        let costly = |cost: &str| format!("$argon2id$v=19${cost}$c29tZSBzYWx0IQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g");
        assert!(costly("m=262144,t=20,p=16").parse::<StoredHash>().is_ok());
        for bad in [
            "",
            "sesame",
            &SESAME[1..],
            "g8dae1c50e092f3d877192fc555b1dcf",
            "é8dae1c50e092f3d877192fc555b1dcf",
            "$argon2id$",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZSBzYWx0IQ",
            "$1$salt$hash",
            "$2b$15$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O",
            "$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9",
            "$2x$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O",
            "$6$salt$short",
            &format!("$6$rounds=1000001$salt${}", "a".repeat(86)),
            &format!("$6$rounds=x$salt${}", "a".repeat(86)),
            &format!("$6${}${}", "s".repeat(17), "a".repeat(86)),
            &format!("$6$salt${}", "a".repeat(85) + "é"),
            &costly("m=64,t=1,p=1").replace("argon2id", "argon2i"),
            &costly("m=262145,t=1,p=1"),
            &costly("m=64,t=21,p=1"),
            &costly("m=4096,t=1,p=17"),
            &costly("m=4294967295,t=4294967295,p=1"),
            &costly("m=1,t=1,p=1"),
        ] {
            assert!(bad.parse::<StoredHash>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(kind in "|\\$6\\$|\\$2b\\$|\\$argon2id\\$", text in "([a-z0-9$=é,./]|rounds=|v=19){0,90}") {
            let text = kind + &text;
            if let Err(why) = text.parse::<StoredHash>() {
                prop_assert!(!why.is_empty());
            }
        }
    }
}
