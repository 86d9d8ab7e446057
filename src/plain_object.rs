//! Structs that are read from an object of JSON alone. A leaf: imports no other module of the crate.
//!
//! The rule: a list is no object. The derived readers of serde take one for the fields in their order, so that `[]` would be
//! an object whose keys all have their defaults.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Reads an object, which a mistake calls by this text: `a quota`.
pub(crate) struct ObjectOf<T> {
    expected: &'static str,
    of: PhantomData<T>,
}

impl<T> ObjectOf<T> {
    pub(crate) fn new(expected: &'static str) -> Self {
        Self { expected, of: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for ObjectOf<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectOf<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Point {
        x: u8,
        y: u8,
    }

    #[test]
    fn h51_a_list_is_no_object() {
        let read = |text: &str| {
            ObjectOf::<Point>::new("a point").deserialize(&mut serde_json::Deserializer::from_str(text))
        };
        assert_eq!(read("{\"y\":2}").unwrap(), Point { x: 0, y: 2 });
        for bad in ["[]", "[1,2]", "\"x\"", "1", "null"] {
            let told = read(bad).unwrap_err().to_string();
            assert!(told.contains("expected a point at line 1 column "), "{bad}: {told}");
        }
    }
}
