//! Faults by chance, as values: the triggers of Mailpit's "chaos". `fault_injection` asks for the faults, and the web API sets
//! them.
//!
//! The rule: a trigger decides nothing by itself. Its caller draws the number.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeSeed};

use crate::{near_name::nearest, plain_object::ObjectOf};

/// The triggers of a server. Those of a new server never fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Chaos {
    sender: Trigger,
    recipient: Trigger,
    authentication: Trigger,
}

/// The chance of a fault, and its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Trigger {
    /// The code of the reply, from 400 to 599.
    error_code: u16,
    /// In percent.
    probability: u8,
}

/// The commands that fail by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChaosPoint {
    /// MAIL.
    Sender,
    /// RCPT.
    Recipient,
    /// AUTH.
    Authentication,
}

impl Chaos {
    /// Reads the triggers of a request. Those that it leaves out never fire, and a code that it leaves out is the usual one.
    ///
    /// # Errors
    /// Returns a sentence that says what to correct.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        // A list would be read as the fields of the object in their order.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        if !is_object {
            return Err(NO_TRIGGERS.into());
        }
        let given = serde_json::from_slice(body).map_err(|error| not_triggers(&error))?;
        let Given { sender, recipient, authentication } = given;
        let usual = Self::default();
        Ok(Self {
            sender: usual.sender.changed("Sender", sender)?,
            recipient: usual.recipient.changed("Recipient", recipient)?,
            authentication: usual.authentication.changed("Authentication", authentication)?,
        })
    }

    /// The code of the reply if a command fails now. `draw` returns a number below 100; it is called only if the command
    /// may fail.
    pub fn fault(&self, at: ChaosPoint, draw: impl FnOnce() -> u8) -> Option<u16> {
        let Trigger { error_code, probability } = match at {
            ChaosPoint::Sender => self.sender,
            ChaosPoint::Recipient => self.recipient,
            ChaosPoint::Authentication => self.authentication,
        };
        (probability > 0 && draw() < probability).then_some(error_code)
    }
}

impl Default for Chaos {
    fn default() -> Self {
        let never = |error_code| Trigger { error_code, probability: 0 };
        Self { sender: never(451), recipient: never(451), authentication: never(535) }
    }
}

impl Trigger {
    fn changed(self, name: &str, given: Option<GivenTrigger>) -> Result<Self, String> {
        let GivenTrigger { error_code, probability } = given.unwrap_or_default();
        let error_code = match error_code {
            0 => self.error_code,
            400..=599 => u16::try_from(error_code).unwrap_or(self.error_code),
            _ => return Err(format!("{name}.ErrorCode: write a code from 400 to 599")),
        };
        match u8::try_from(probability).ok().filter(|percent| *percent <= 100) {
            Some(probability) => Ok(Self { error_code, probability }),
            None => Err(format!("{name}.Probability: write a number of percent, from 0 to 100")),
        }
    }
}

/// The body of a request. A mistyped name is refused: a test must not believe that commands fail where none does.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
struct Given {
    #[serde(alias = "sender", deserialize_with = "trigger")]
    sender: Option<GivenTrigger>,
    #[serde(alias = "recipient", deserialize_with = "trigger")]
    recipient: Option<GivenTrigger>,
    #[serde(alias = "authentication", deserialize_with = "trigger")]
    authentication: Option<GivenTrigger>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "PascalCase")]
struct GivenTrigger {
    #[serde(alias = "errorCode", alias = "errorcode")]
    error_code: i64,
    #[serde(alias = "probability")]
    probability: i64,
}

/// Reads a trigger, or `null`.
fn trigger<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<GivenTrigger>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Plain(#[serde(deserialize_with = "object")] GivenTrigger);
    fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GivenTrigger, D::Error> {
        ObjectOf::new("a trigger").deserialize(deserializer)
    }
    Ok(Option::<Plain>::deserialize(deserializer)?.map(|Plain(given)| given))
}

/// The refusal of a body that serde does not read: it names an unknown key, with the one that is meant, or the place.
fn not_triggers(error: &serde_json::Error) -> String {
    let told = error.to_string();
    let unknown = told.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected"));
    let Some((typed, _)) = unknown.filter(|(typed, _)| typed.chars().count() <= MAX_KEY) else {
        let (line, column) = (error.line(), error.column());
        return match error.is_data() {
            true => format!(
                "Line {line}, column {column} has another key or value. {NO_TRIGGERS}, which are numbers"
            ),
            false => format!("{NO_TRIGGERS}, because this is no JSON: {told}"),
        };
    };
    match nearest(typed, KEYS) {
        Some(meant) => format!("The body has the key {typed:?} (did you mean {meant:?}?)"),
        None => format!("The body has the unknown key {typed:?}. {NO_TRIGGERS}"),
    }
}

const KEYS: [&str; 5] = ["Sender", "Recipient", "Authentication", "ErrorCode", "Probability"];
/// Characters of the longest key that is compared and shown.
const MAX_KEY: usize = 40;
const NO_TRIGGERS: &str =
    "Write a JSON object of Sender, Recipient and Authentication, each with ErrorCode and Probability";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_fires_as_often_as_its_percentage() {
        let chaos =
            Chaos::parse(br#"{"Sender":{"ErrorCode":452,"Probability":5},"Recipient":{"Probability":100}}"#);
        let chaos = chaos.unwrap();
        let fired = |at| (0..100).filter(|number| chaos.fault(at, || *number).is_some()).count();
        assert_eq!(fired(ChaosPoint::Sender), 5);
        assert_eq!(fired(ChaosPoint::Recipient), 100);
        assert_eq!(chaos.fault(ChaosPoint::Authentication, || panic!("no number is needed")), None);
        assert_eq!(chaos.fault(ChaosPoint::Sender, || 4), Some(452));
        assert_eq!(chaos.fault(ChaosPoint::Recipient, || 99), Some(451));
    }

    #[test]
    fn triggers_are_written_as_mailpit_writes_them() {
        assert_eq!(
            serde_json::to_string(&Chaos::default()).unwrap(),
            "{\"Sender\":{\"ErrorCode\":451,\"Probability\":0},\"Recipient\":{\"ErrorCode\":451,\"Probability\":0},\
             \"Authentication\":{\"ErrorCode\":535,\"Probability\":0}}"
        );
        assert_eq!(Chaos::parse(b"{}"), Ok(Chaos::default()));
        assert_eq!(Chaos::parse(b"{\"Sender\":null}"), Ok(Chaos::default()));
        let lower = Chaos::parse(br#"{"recipient":{"errorCode":452,"probability":100}}"#).unwrap();
        assert_eq!(lower.fault(ChaosPoint::Recipient, || 0), Some(452));
    }

    #[test]
    fn v133_a_trigger_or_key_that_cannot_be_is_refused_with_its_name() {
        for (body, told) in [
            (r#"{"Sender":{"ErrorCode":250}}"#, "Sender.ErrorCode: write a code from 400 to 599"),
            (r#"{"Recipient":{"ErrorCode":600}}"#, "Recipient.ErrorCode: write a code from 400 to 599"),
            (
                r#"{"Authentication":{"Probability":101}}"#,
                "Authentication.Probability: write a number of percent, from 0 to 100",
            ),
            (
                r#"{"Sender":{"Probability":-1}}"#,
                "Sender.Probability: write a number of percent, from 0 to 100",
            ),
        ] {
            assert_eq!(Chaos::parse(body.as_bytes()), Err(told.to_owned()), "{body}");
        }
        for (bad, told) in [
            (
                "{\"Reciptient\":{}}",
                "The body has the key \"Reciptient\" (did you mean \"Recipient\"?)".to_owned(),
            ),
            (
                "{\"Sender\":{\"errorcod\":1}}",
                "The body has the key \"errorcod\" (did you mean \"ErrorCode\"?)".into(),
            ),
            ("{\"x\":{}}", format!("The body has the unknown key \"x\". {NO_TRIGGERS}")),
        ] {
            assert_eq!(Chaos::parse(bad.as_bytes()), Err(told), "{bad}");
        }
        for bad in [
            "",
            "[]",
            "{\"Recipent\":{}}",
            "{\"Sender\":{\"Percent\":1}}",
            "{\"Sender\":1}",
            "{\"Sender\":{\"ErrorCode\":\"452\"}}",
            "{",
        ] {
            assert!(Chaos::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn v137_a_value_of_a_wrong_kind_is_told_with_its_place() {
        for (bad, told) in [
            ("{\"Sender\":[452,5]}", "Line 1, column 10 has another key or value. Write a JSON object"),
            ("{\"Sender\":1}", "Line 1, column 11 has another key or value. Write a JSON object"),
            (
                "{\"Sender\":{\"ErrorCode\":\"452\"}}",
                "Line 1, column 28 has another key or value. Write a JSON object",
            ),
            ("{\"Sender\":{},}", "because this is no JSON: trailing comma at line 1 column 14"),
            ("{", "because this is no JSON: EOF while parsing an object at line 1 column 1"),
        ] {
            let refusal = Chaos::parse(bad.as_bytes()).unwrap_err();
            assert!(refusal.contains(NO_TRIGGERS) && refusal.contains(told), "{bad}: {refusal}");
        }
    }
}
