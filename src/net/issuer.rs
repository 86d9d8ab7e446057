//! The issuer of a certificate, and whether its own certificate stands in the same file.
//!
//! The rule: octets that cannot be read here give no warning. The library has checked the certificate already.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The issuer of a certificate that stands alone in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingIssuer {
    /// The common name of the issuer, or its organization.
    name: String,
    /// Whether another authority has certified the issuer, so that clients need its certificate. Without this, the
    /// issuer may be a root, which clients have.
    pub is_intermediate: bool,
    /// The file beside that of the certificate in which clients of ACME write both.
    full_chain: Option<PathBuf>,
}

impl MissingIssuer {
    /// The issuer of the certificate in that file, unless it signs itself, or one of the `others` there is its issuer's.
    pub(super) fn of<'a>(
        file: &Path,
        leaf: &[u8],
        others: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let leaf = Names::read(leaf)?;
        let is_issuer = |other: &[u8]| Names::read(other).is_some_and(|other| other.subject == leaf.issuer);
        if leaf.issuer == leaf.subject || others.into_iter().any(is_issuer) {
            return None;
        }
        let name = attribute(leaf.issuer, COMMON_NAME).or_else(|| attribute(leaf.issuer, ORGANIZATION));
        let is_root = leaf.issuer_of_issuer == Some(leaf.issuer);
        let is_intermediate = leaf.issuer_of_issuer.is_some() || leaf.has_address_of_issuer;
        let full_chain = file.with_file_name(FULL_CHAIN);
        Some(Self {
            name: name.unwrap_or_else(|| "its issuer".into()),
            is_intermediate,
            full_chain: Some(full_chain).filter(|full| *full != file && full.exists()),
        })
        .filter(|_| !is_root)
    }
}

/// The common name of a certificate without subjectAltName, which clients ignore (RFC 9525 section 6.3). It is empty if there
/// is none. `None` for a certificate with subjectAltName.
pub(super) fn common_name_alone(certificate: &[u8]) -> Option<String> {
    let names = Names::read(certificate)?;
    (!names.has_alternatives).then(|| attribute(names.subject, COMMON_NAME).unwrap_or_default())
}

impl fmt::Display for MissingIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "comes without the certificate of {:?}, which has signed it: ", self.name)?;
        f.write_str(if self.is_intermediate {
            "clients that do not have that one reject it; "
        } else {
            "right if that is a root that all clients trust; otherwise "
        })?;
        match &self.full_chain {
            Some(file) => write!(f, "name {} instead, which has both", file.display()),
            None => write!(f, "append it to the file (clients of ACME write both to {FULL_CHAIN})"),
        }
    }
}

/// The fields of a certificate about its issuer (RFC 5280 section 4.1).
struct Names<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    /// The issuer of the issuer's certificate, which some programs write beside its key (section 4.2.1.1).
    issuer_of_issuer: Option<&'a [u8]>,
    /// Whether there is an address for the certificate of the issuer (section 4.2.2.1). Public authorities write one.
    has_address_of_issuer: bool,
    /// Whether there is subjectAltName (section 4.2.1.6).
    has_alternatives: bool,
}

impl<'a> Names<'a> {
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let mut certificate = Elements(Elements(certificate).content(SEQUENCE)?);
        let mut fields = Elements(certificate.content(SEQUENCE)?);
        let mut first = fields.next()?;
        if first.tag == VERSION {
            first = fields.next()?;
        }
        // The serial number, then the algorithm of the signature.
        let (_, _) = (first, fields.next()?);
        let issuer = fields.next()?.whole;
        fields.next()?; // the dates
        let subject = fields.next()?.whole;
        let extensions = fields.find(|field| field.tag == EXTENSIONS);
        let extensions = extensions.and_then(|field| Elements(field.content).content(SEQUENCE));
        let mut names = Self {
            issuer,
            subject,
            issuer_of_issuer: None,
            has_address_of_issuer: false,
            has_alternatives: false,
        };
        for extension in Elements(extensions.unwrap_or_default()) {
            let mut parts = Elements(extension.content);
            let (Some(id), Some(value)) = (parts.next(), parts.last()) else { continue };
            match id.content {
                AUTHORITY_KEY_IDENTIFIER => names.issuer_of_issuer = directory_name(value.content),
                AUTHORITY_ACCESS => {
                    names.has_address_of_issuer = memchr::memmem::find(value.content, ISSUERS).is_some();
                }
                ALTERNATIVE_NAMES => names.has_alternatives = true,
                _ => {}
            }
        }
        Some(names)
    }
}

/// The name in the field `authorityCertIssuer`.
fn directory_name(identifier: &[u8]) -> Option<&[u8]> {
    let mut fields = Elements(Elements(identifier).content(SEQUENCE)?);
    let names = fields.find(|field| field.tag == CERT_ISSUER)?;
    let name = Elements(names.content).find(|name| name.tag == DIRECTORY_NAME)?;
    Some(name.content)
}

/// The value of an attribute of a name (section 4.1.2.4).
fn attribute(name: &[u8], id: &[u8]) -> Option<String> {
    let sets = Elements(Elements(name).content(SEQUENCE)?);
    let pairs = sets.flat_map(|set| Elements(set.content)).map(|pair| Elements(pair.content));
    let mut found = pairs.filter_map(|mut pair| Some((pair.next()?.content, pair.next()?.content)));
    let (_, value) = found.find(|(kind, _)| *kind == id)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// The elements of DER (X.690 section 10), one after another, up to the first that is cut off.
struct Elements<'a>(&'a [u8]);

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// The element with its tag and length.
    whole: &'a [u8],
}

impl<'a> Elements<'a> {
    /// The content of the next element, if it has that tag.
    fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // A certificate of more than 16 MiB is larger than the file may be.
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some(Element { tag, content, whole })
    }
}

const FULL_CHAIN: &str = "fullchain.pem";
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const CERT_ISSUER: u8 = 0xa1;
const DIRECTORY_NAME: u8 = 0xa4;
/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.4.10.
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
/// 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.29.35.
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
/// 1.3.6.1.5.5.7.1.1.
const AUTHORITY_ACCESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
/// The element 1.3.6.1.5.5.7.48.2, `caIssuers`.
const ISSUERS: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;

    type Authority = Issuer<'static, KeyPair>;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(["mx.example.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        params
    }

    fn signed(params: CertificateParams, by: Option<&Authority>) -> (Vec<u8>, Authority) {
        let key = KeyPair::generate().unwrap();
        let signed = match by {
            Some(authority) => params.signed_by(&key, authority),
            None => params.self_signed(&key),
        };
        (signed.unwrap().der().to_vec(), Issuer::new(params, key))
    }

    fn authority(name: &str, by: Option<&Authority>) -> (Vec<u8>, Authority) {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        signed(params, by)
    }

    /// An element of DER.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let long: &[u8] = if length < 0x80 { &[] } else { &[0x81] };
        [&[tag], long, &[length], content].concat()
    }

    #[test]
    fn n67_the_issuer_of_a_certificate_is_in_the_file_or_is_named() {
        let (root, by_root) = authority("Some Root", None);
        let (intermediate, by_intermediate) = authority("Some R3", Some(&by_root));
        let file = Path::new("certificate.pem");
        let missing = |leaf: &[u8], others: &[&[u8]]| MissingIssuer::of(file, leaf, others.iter().copied());
        let (alone, _) = signed(params("mx"), None);
        assert_eq!(missing(&alone, &[]), None, "it signs itself");
        assert_eq!(missing(&root, &[]), None, "it signs itself, and others");

        let (leaf, _) = signed(params("mx"), Some(&by_intermediate));
        assert_eq!(missing(&leaf, &[&root, &intermediate]), None);
        let found = missing(&leaf, &[&root]).unwrap();
        assert!(found.to_string().contains("\"Some R3\"") && !found.is_intermediate, "{found:?}");

        // Public authorities write an address; some programs write the issuer's own issuer.
        let address = [ISSUERS, &element(0x86, b"http://r3.example.test/")].concat();
        let address = element(SEQUENCE, &element(SEQUENCE, &address));
        let named = |name: &[u8]| element(SEQUENCE, &element(CERT_ISSUER, &element(DIRECTORY_NAME, name)));
        let (names_of_root, names_of_intermediate) = (Names::read(&root), Names::read(&leaf));
        let (root_name, own_issuer) = (names_of_root.unwrap().subject, names_of_intermediate.unwrap().issuer);
        for (id, value, expected) in [
            (&[1, 3, 6, 1, 5, 5, 7, 1, 1][..], address, Some(true)),
            (&[2, 5, 29, 35], named(root_name), Some(true)),
            (&[2, 5, 29, 35], named(own_issuer), None),
        ] {
            let mut params = params("mx");
            params.custom_extensions.push(CustomExtension::from_oid_content(id, value));
            let (leaf, _) = signed(params, Some(&by_intermediate));
            assert_eq!(missing(&leaf, &[]).map(|found| found.is_intermediate), expected, "{id:?}");
        }
    }

    #[test]
    fn n67_damaged_octets_say_nothing() {
        let (_, by_root) = authority("Some Root", None);
        let (leaf, _) = signed(params("mx"), Some(&by_root));
        for end in 0..leaf.len() {
            assert_eq!(MissingIssuer::of(Path::new("c.pem"), &leaf[..end], []), None, "{end}");
        }
        for at in 0..leaf.len() {
            let mut odd = leaf.clone();
            odd[at] ^= 0x85;
            MissingIssuer::of(Path::new("c.pem"), &odd, [&leaf[..]]);
        }
    }
}
