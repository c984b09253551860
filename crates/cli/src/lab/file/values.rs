//! Values of a lab file as their writer means them: tables are no arrays, and what is wrong is told with its remedy.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A structure that is written as a table. Serde's own would be read from an array of its fields' values too.
pub(super) struct Table<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Table<T>, D::Error> {
        struct Only<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, as in { key = value }")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Only(PhantomData)).map(Table)
    }
}

/// Reads a [`Table`].
pub(super) fn table<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Table::deserialize(deserializer).map(|Table(value)| value)
}

/// Reads the value of a key; what is no such value is told with the form it should have.
pub(super) fn worded<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
    key: &str,
    form: &str,
) -> Result<T, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    let shown = value.to_string();
    value.try_into().map_err(|_| D::Error::custom(format!("{key} is {shown}: write {form}")))
}
