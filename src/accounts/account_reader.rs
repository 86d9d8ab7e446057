//! Reads one account of the file, and names the key of each wrong value in it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    account::Account,
    json_error::{in_plain_words, without_value},
};

/// Reads an account from an object.
pub(super) struct AccountReader;

impl<'de> DeserializeSeed<'de> for AccountReader {
    type Value = Account;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Account, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AccountReader {
    type Value = Account;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an account, like {\"password_hash\": \"…\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Account, A::Error> {
        Account::deserialize(MapAccessDeserializer::new(NamedKeys { map, key: String::new() }))
    }
}

/// The keys of an object, which are told with the mistakes of their values.
struct NamedKeys<A> {
    map: A,
    key: String,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for NamedKeys<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.map.next_key::<String>()? else { return Ok(None) };
        self.key = key;
        seed.deserialize(self.key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed).map_err(|error| {
            let why = in_plain_words(&without_value(&error.to_string()));
            A::Error::custom(format_args!("`{}`: {why}", self.key))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::accounts::UserFile;

    fn mistake(text: &str) -> String {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("users.json");
        std::fs::write(&path, text).unwrap();
        UserFile::at(path).users().unwrap_err().to_string()
    }

    #[test]
    fn h51_a_value_of_another_kind_is_told_with_its_key() {
        for (keys, why) in [
            (r#""password_hash": []"#, "`password_hash`: invalid type: sequence, expected a text in quotes"),
            (r#""password_hash": null"#, "`password_hash`: invalid type: null, expected a text in quotes"),
            (r#""inbox": 5"#, "`inbox`: invalid type: integer, expected a text in quotes"),
            (r#""inbox": ["x"]"#, "`inbox`: invalid type: sequence, expected a text in quotes"),
            (r#""disabled": 1"#, "`disabled`: invalid type: integer, expected true or false, without quotes"),
            (
                r#""disabled": []"#,
                "`disabled`: invalid type: sequence, expected true or false, without quotes",
            ),
            (r#""addresses": "c@d""#, "`addresses`: invalid type: string, expected a list in [ ]"),
            (r#""addresses": {}"#, "`addresses`: invalid type: map, expected a list in [ ]"),
            (r#""quota": []"#, "`quota`: write it like {\"bytes\""),
            (r#""quota": "1 GiB""#, "`quota`: write it like {\"bytes\""),
            (r#""quota": {"messages": "5"}"#, "`quota`: invalid type: string, expected a whole number"),
            (r#""quota": {"messages": []}"#, "`quota`: invalid type: sequence, expected a whole number"),
            (r#""quota": {"bytes": []}"#, "`quota`: invalid type: sequence, expected a size in quotes"),
            (r#""may_send_as": "*""#, "`may_send_as`: invalid type: string, expected a list in [ ]"),
            (r#""may_send_as": [[]]"#, "`may_send_as`: invalid type: sequence, expected a sender in quotes"),
            (r#""renamed_from": 1"#, "`renamed_from`: invalid type: integer, expected a text in quotes"),
            (r#""admin": "yes""#, "`admin`: invalid type: string, expected true or false"),
            (r#""sent_copy": {}"#, "`sent_copy`: invalid type: map, expected true or false"),
        ] {
            let hash = if keys.starts_with("\"password") { "" } else { r#""password_hash": "!", "# };
            let error = mistake(&format!("{{\"a@b\": {{{hash}{keys}}}}}"));
            assert!(error.contains(&format!("account \"a@b\": {why}")), "{keys}: {error}");
        }
        for list in [r#"["!"]"#, "[]"] {
            let error = mistake(&format!("{{\"a@b\": {list}}}"));
            assert!(error.contains("invalid type: sequence, expected an account, like"), "{list}: {error}");
        }
    }
}
