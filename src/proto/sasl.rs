//! SASL (RFC 4422), as far as both protocols need it: base64, the message of PLAIN, and the count of wrong
//! passwords.
//!
//! The rule: what a client says here is octets of a secret until proved otherwise. None of it is echoed, and
//! none of it is in an error.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{is_limit_reached, request::Secret};

/// Octets in a line of an exchange, its line end included (RFC 4954 section 4).
pub const LINE: usize = 12_288;

/// Whom the client says it is, and its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// How it says so: "PLAIN", "LOGIN", or "USER" for the commands of POP3.
    pub mechanism: &'static str,
    /// The name, which need not be that of anybody.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Why a response is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadResponse {
    /// It does not follow the grammar, or is longer than any name or password.
    Malformed,
    /// The user wants to be taken for somebody else, which nobody may.
    OtherIdentity,
}

impl Credentials {
    /// A name and a password as they came, each alone.
    pub fn new(mechanism: &'static str, user: Vec<u8>, password: Vec<u8>) -> Result<Self, BadResponse> {
        let good = (1..=USER).contains(&user.len())
            && (1..=PASSWORD).contains(&password.len())
            && !user.contains(&0)
            && !password.contains(&0);
        let user = String::from_utf8(user).ok().filter(|_| good).ok_or(BadResponse::Malformed)?;
        Ok(Self { mechanism, user, password: Secret::new(password) })
    }

    /// The message of PLAIN: identity, user and password with a NUL between them (RFC 4616 section 2). The
    /// identity is nothing, or the user.
    pub fn plain(message: &[u8]) -> Result<Self, BadResponse> {
        let parts: Vec<&[u8]> = message.split(|&b| b == 0).collect();
        let &[identity, user, password] = parts.as_slice() else { return Err(BadResponse::Malformed) };
        let credentials = Self::new("PLAIN", user.into(), password.into())?;
        let own = identity.is_empty() || identity == user;
        if own { Ok(credentials) } else { Err(BadResponse::OtherIdentity) }
    }
}

/// The octets of a base64 text with its padding, without blanks, and with nothing in the bits that do not
/// count (RFC 4648 section 3).
pub fn decode(text: &[u8]) -> Result<Vec<u8>, BadResponse> {
    STANDARD.decode(text).map_err(|_| BadResponse::Malformed)
}

/// The different wrong pairs of user and password that a connection has tried: a client that spends one typing
/// mistake on every mechanism and command has tried one.
#[derive(Debug, Default)]
pub struct FailedCredentials(Vec<(String, Secret)>);

impl FailedCredentials {
    /// Counts a pair, and says whether it was one too many. A limit of 0 is none.
    pub fn record(&mut self, user: String, password: Secret, limit: usize) -> bool {
        let pair = (user, password);
        if limit > 0 && !self.0.contains(&pair) {
            self.0.push(pair);
        }
        is_limit_reached(self.0.len(), limit)
    }

    /// Forgets them all, after a good one.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Octets in a name.
const USER: usize = 255;
/// Octets in a password.
const PASSWORD: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(message: &str) -> Result<(String, Secret), BadResponse> {
        Credentials::plain(message.as_bytes()).map(|said| (said.user, said.password))
    }

    #[test]
    fn t07_base64_is_strict() {
        assert_eq!(decode(b"AGJvYgBzZWNyZXQ=").as_deref(), Ok(&b"\0bob\0secret"[..]));
        assert_eq!(decode(b"").as_deref(), Ok(&b""[..]));
        for bad in [
            &b"!!!"[..],
            b"=",
            b"====",
            b"AGJvYgBzZWNyZXQ",
            b"AGJv YgBz",
            b"AGJv\rYgB",
            b"YQ=a",
            b"YR==",
            b"YWJ=",
            b"YQ==YQ==",
            b"YQ==\r\n",
            b" YQ==",
            b"YQ-_",
            b"\xff\xff\xff\xff",
            b"Y",
            b"YQ",
        ] {
            assert_eq!(decode(bad), Err(BadResponse::Malformed), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn t08_plain_has_two_nuls_a_user_and_a_password() {
        let bob = Ok(("bob".to_owned(), Secret::new("secret")));
        assert_eq!(plain("\0bob\0secret"), bob);
        assert_eq!(plain("bob\0bob\0secret"), bob);
        assert_eq!(plain("ann\0bob\0secret"), Err(BadResponse::OtherIdentity));
        for bad in ["", "bob", "bob\0secret", "\0bob\0sec\0ret", "\0\0secret", "\0bob\0", "\0\0"] {
            assert_eq!(plain(bad), Err(BadResponse::Malformed), "{bad:?}");
        }
        assert_eq!(Credentials::plain(b"\0b\xff\0secret"), Err(BadResponse::Malformed));
    }

    #[test]
    fn t14_nobody_has_a_name_or_password_that_long() {
        assert!(plain(&format!("\0{}\0{}", "u".repeat(255), "p".repeat(1024))).is_ok());
        for (user, password) in [(256, 1), (1, 1025)] {
            let message = format!("\0{}\0{}", "u".repeat(user), "p".repeat(password));
            assert_eq!(plain(&message), Err(BadResponse::Malformed));
        }
    }

    #[test]
    fn one_mistake_is_counted_once() {
        let mut wrong = FailedCredentials::default();
        let mut count = |user: &str, password: &str| wrong.record(user.into(), Secret::new(password), 3);
        assert!(!count("bob", "one") && !count("bob", "one") && !count("bob", "two") && !count("bob", "one"));
        assert!(count("ann", "one"), "the third different pair");
        assert!(!FailedCredentials::default().record("bob".into(), Secret::new("one"), 0));
    }
}
