//! Durations and sizes as people write them: "5m", "50 MiB".

use std::{fmt, str::FromStr, time::Duration};

/// A duration that reads and prints as people write it: "90s", "5m", "1h 30m".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map(Self).map_err(|e| {
            format!("{text:?} is not a duration ({e}): write it like \"30s\", \"5m\" or \"1h 30m\"")
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number of octets that reads and prints as people write it: "50 MiB", "64 KiB", "1000".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// A size in KiB (1,024 octets).
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// A size in MiB (1,048,576 octets).
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The size as a length in memory. A size that memory cannot address means no bound.
    pub fn as_len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[number.len()..];
        let factor = match unit {
            "" => Some(1),
            unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor),
        };
        factor
            .zip(number.trim_end().parse::<u64>().ok())
            .and_then(|(factor, n)| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is not a size: write it like \"50 MiB\", \"64 KiB\" or \"1000\" (octets)")
            })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = UNITS
            .into_iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(("B", 1));
        write!(f, "{} {name}", self.0 / factor)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Serializes a type that prints and parses as a text in the configuration.
macro_rules! text_in_configuration {
    ($type:ty, $form:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($form)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
    };
}

pub(crate) use text_in_configuration;

text_in_configuration!(Span, "a duration in quotes, like \"30s\" or \"5m\"");
text_in_configuration!(Size, "a size in quotes, like \"50 MiB\" or \"64 KiB\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_back_what_they_print() {
        for text in ["50 MiB", "1 GiB", "1500 B", "0 B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("2KiB".parse::<Size>().unwrap(), Size::kib(2));
        assert_eq!("1h 30m".parse::<Span>().unwrap(), Span::secs(5400));
        assert_eq!("1h 30m".parse::<Span>().unwrap().to_string(), "1h 30m");
    }

    #[test]
    fn a_bad_size_or_span_names_the_accepted_form() {
        for bad in ["", "MiB", "5 MB", "-1", "1.5 MiB", "99999999999 GiB", "5é"] {
            assert!(bad.parse::<Size>().unwrap_err().contains("50 MiB"), "{bad}");
        }
        assert!("5 parsecs".parse::<Span>().unwrap_err().contains("5m"));
    }
}
