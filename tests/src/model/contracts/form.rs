//! The form of the commands that only contracts have, read from JSON without the program's reader.

use serde_json::{Map, Value};

use super::Refused;

/// The fields of one command, each taken once; what is left at the end is unknown.
#[derive(Clone, Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(map: Map<String, Value>) -> Self {
        // `null` counts as absent.
        Self(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
        )
    }

    pub(super) fn end(self) -> Result<(), Refused> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err("bad_field")
        }
    }

    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field)
    }

    pub(super) fn name(&mut self, field: &str) -> Result<String, Refused> {
        self.name_or_none(field)?.ok_or("missing_field")
    }

    pub(super) fn name_or_none(&mut self, field: &str) -> Result<Option<String>, Refused> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) if (1..=64).contains(&text.len()) => Ok(Some(text)),
            Some(_) => Err("bad_field"),
        }
    }

    pub(super) fn int(&mut self, field: &str, low: i64, high: i64) -> Result<i64, Refused> {
        self.int_or_none(field, low, high)?.ok_or("missing_field")
    }

    pub(super) fn int_or(
        &mut self,
        field: &str,
        low: i64,
        high: i64,
        default: i64,
    ) -> Result<i64, Refused> {
        Ok(self.int_or_none(field, low, high)?.unwrap_or(default))
    }

    pub(super) fn int_or_none(
        &mut self,
        field: &str,
        low: i64,
        high: i64,
    ) -> Result<Option<i64>, Refused> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) if (low..=high).contains(&number) => Ok(Some(number)),
                _ => Err("bad_field"),
            },
        }
    }

    pub(super) fn word(&mut self, field: &str, words: &[&str]) -> Result<Option<usize>, Refused> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let at = words.iter().position(|word| *word == text);
                at.map(Some).ok_or("bad_field")
            }
            Some(_) => Err("bad_field"),
        }
    }

    pub(super) fn flag(&mut self, field: &str, default: bool) -> Result<bool, Refused> {
        match self.take(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err("bad_field"),
        }
    }

    pub(super) fn names(
        &mut self,
        field: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, Refused> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Array(values)) if values.len() <= most => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) if (1..=64).contains(&text.len()) => Ok(text),
                    _ => Err("bad_field"),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err("bad_field"),
        }
    }

    pub(super) fn object(&mut self, field: &str) -> Result<Option<Self>, Refused> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self::new(map))),
            Some(_) => Err("bad_field"),
        }
    }

    pub(super) fn objects(&mut self, field: &str) -> Result<Option<Vec<Self>>, Refused> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Array(values)) => values
                .into_iter()
                .map(|value| match value {
                    Value::Object(map) => Ok(Self::new(map)),
                    _ => Err("bad_field"),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err("bad_field"),
        }
    }

    /// The members that are left, in the order of their names.
    pub(super) fn rest(self) -> Vec<(String, Value)> {
        self.0.into_iter().collect()
    }
}
