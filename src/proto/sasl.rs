//! SASL (RFC 4422) for both protocols: base64, the PLAIN message, and the count of wrong passwords.
//!
//! The rule: octets from the client are a secret until proved otherwise. They appear in no reply and in no
//! error.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{is_limit_reached, request::Secret};

/// The longest line of an exchange, its line end included, in octets (RFC 4954 section 4).
pub const LINE: usize = 12_288;

/// A user name and password from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The mechanism: "PLAIN", "LOGIN", or "USER" for the POP3 commands.
    pub mechanism: &'static str,
    /// The name, which may belong to no user.
    pub user: String,
    /// The password, not yet checked.
    pub password: Secret,
}

/// The reason for refusing a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadResponse {
    /// It does not follow the grammar, or exceeds the length of any name or password.
    Malformed,
    /// The user asks to act as another user, which this server never allows.
    OtherIdentity,
}

impl Credentials {
    /// Credentials from a name and a password that arrived separately.
    pub fn new(mechanism: &'static str, user: Vec<u8>, password: Vec<u8>) -> Result<Self, BadResponse> {
        let good = (1..=USER).contains(&user.len())
            && password.len() <= PASSWORD
            && !user.contains(&0)
            && !password.contains(&0);
        let user = String::from_utf8(user).ok().filter(|_| good).ok_or(BadResponse::Malformed)?;
        Ok(Self { mechanism, user, password: Secret::new(password) })
    }

    /// Parses a PLAIN message: identity, user and password, separated by NUL (RFC 4616 section 2). The
    /// identity must be empty or equal to the user.
    pub fn plain(message: &[u8]) -> Result<Self, BadResponse> {
        let parts: Vec<&[u8]> = message.split(|&b| b == 0).collect();
        let &[identity, user, password] = parts.as_slice() else { return Err(BadResponse::Malformed) };
        // Its password has at least one octet, unlike that of PASS, LOGIN and Basic.
        if password.is_empty() {
            return Err(BadResponse::Malformed);
        }
        let credentials = Self::new("PLAIN", user.into(), password.into())?;
        let own = identity.is_empty() || identity == user;
        if own { Ok(credentials) } else { Err(BadResponse::OtherIdentity) }
    }
}

/// Decodes base64. Padding is required; blanks and nonzero unused bits are refused (RFC 4648 section 3).
pub fn decode(text: &[u8]) -> Result<Vec<u8>, BadResponse> {
    STANDARD.decode(text).map_err(|_| BadResponse::Malformed)
}

/// The distinct wrong pairs of user and password that a connection has tried. A client that tries one
/// mistyped password with every mechanism and command counts as one attempt.
#[derive(Debug, Default)]
pub struct FailedCredentials(Vec<(String, Secret)>);

impl FailedCredentials {
    /// Records a pair, and returns true if the limit is reached. The limit 0 means no limit.
    pub fn record(&mut self, user: String, password: Secret, limit: usize) -> bool {
        let pair = (user, password);
        if limit > 0 && !self.0.contains(&pair) {
            self.0.push(pair);
        }
        is_limit_reached(self.0.len(), limit)
    }

    /// Forgets all pairs, after a successful login.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The longest user name, in octets.
const USER: usize = 255;
/// The longest password, in octets.
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
    fn n62_an_empty_password_is_checked_where_the_protocol_has_one() {
        let basic = Credentials::new("BASIC", b"bob".to_vec(), Vec::new());
        assert_eq!(basic.map(|said| said.password), Ok(Secret::new("")));
        assert_eq!(plain("\0bob\0"), Err(BadResponse::Malformed));
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
