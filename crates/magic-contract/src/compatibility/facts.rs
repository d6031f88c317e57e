//! What the parts of a conjunction together say about a value: its types, its values, its bounds.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// One type of JSON per bit; numbers are whole or fractional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const OBJECT: Self = Self(1);
    pub(super) const ARRAY: Self = Self(2);
    pub(super) const STRING: Self = Self(4);
    pub(super) const NUMBER: Self = Self(8 | 16);
    const WHOLE: Self = Self(8);
    const FRACTIONAL: Self = Self(16);
    const BOOLEAN: Self = Self(32);
    const NULL: Self = Self(64);
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(127);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The types that a `type` names.
    pub(super) fn named(value: &Value) -> Self {
        match value {
            Value::Array(words) => words.iter().fold(Self::NONE, |all, word| {
                all.or(Self::of_word(word.as_str().unwrap_or_default()))
            }),
            word => Self::of_word(word.as_str().unwrap_or_default()),
        }
    }

    fn of_word(word: &str) -> Self {
        match word {
            "object" => Self::OBJECT,
            "array" => Self::ARRAY,
            "string" => Self::STRING,
            "number" => Self::NUMBER,
            "integer" => Self::WHOLE,
            "boolean" => Self::BOOLEAN,
            "null" => Self::NULL,
            _ => Self::NONE,
        }
    }

    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Object(_) => Self::OBJECT,
            Value::Array(_) => Self::ARRAY,
            Value::String(_) => Self::STRING,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Null => Self::NULL,
            Value::Number(number) => {
                let whole = number.as_f64().is_none_or(|value| value.fract() == 0.0);
                if whole { Self::WHOLE } else { Self::FRACTIONAL }
            }
        }
    }

    /// The names, one by one and in the plural.
    pub(super) fn words(self) -> Vec<(&'static str, &'static str)> {
        let mut words = Vec::new();
        let named = [
            (Self::STRING, "a string", "strings"),
            (Self::BOOLEAN, "a boolean", "booleans"),
            (Self::NULL, "null", "null"),
            (Self::OBJECT, "an object", "objects"),
            (Self::ARRAY, "a list", "lists"),
        ];
        if self.and(Self::NUMBER) == Self::NUMBER {
            words.push(("a number", "numbers"));
        } else if self.meets(Self::WHOLE) {
            words.push(("a whole number", "whole numbers"));
        } else if self.meets(Self::FRACTIONAL) {
            words.push(("a number with a fraction", "numbers with a fraction"));
        }
        for (types, one, many) in named {
            if self.meets(types) {
                words.push((one, many));
            }
        }
        words
    }
}

/// A finite list of values that all values of the conjunction are among, if one is given.
pub(super) fn listed<'v>(conjuncts: &[&'v Value]) -> Option<Vec<&'v Value>> {
    let lists = conjuncts.iter().filter_map(|schema| {
        let constant = schema.get("const").map(|value| vec![value]);
        let list = || Some(schema.get("enum")?.as_array()?.iter().collect());
        constant.or_else(list)
    });
    lists.min_by_key(Vec::len)
}

/// How two numbers compare, as far as that is certain.
pub(super) fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    let exact = |number: &Number| {
        let signed = number.as_i64().map(i128::from);
        signed.or_else(|| number.as_u64().map(i128::from))
    };
    if let (Some(one), Some(other)) = (exact(one), exact(other)) {
        return Some(one.cmp(&other));
    }
    // Beyond 2^53 a whole number may not survive the way into a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let (left, right) = (one.as_f64()?, other.as_f64()?);
    let rounded = |number: &Number, float: f64| exact(number).is_some() && float.abs() >= EXACT;
    if rounded(one, left) || rounded(other, right) {
        return None;
    }
    left.partial_cmp(&right)
}

/// Whether some part bounds numbers from below as strictly as this.
pub(super) fn is_bounded_below(conjuncts: &[&Value], least: &Number, exclusive: bool) -> bool {
    bounds(
        conjuncts,
        ["minimum", "exclusiveMinimum"],
        least,
        exclusive,
        Ordering::Greater,
    )
}

/// The same from above.
pub(super) fn is_bounded_above(conjuncts: &[&Value], most: &Number, exclusive: bool) -> bool {
    bounds(
        conjuncts,
        ["maximum", "exclusiveMaximum"],
        most,
        exclusive,
        Ordering::Less,
    )
}

fn bounds(
    conjuncts: &[&Value],
    [inclusive_word, exclusive_word]: [&str; 2],
    bound: &Number,
    exclusive: bool,
    stricter: Ordering,
) -> bool {
    conjuncts.iter().any(|schema| {
        let held = |word: &str, equal_is_enough: bool| {
            let given = schema.get(word).and_then(Value::as_number);
            let order = given.and_then(|given| compare(given, bound));
            order == Some(stricter) || (equal_is_enough && order == Some(Ordering::Equal))
        };
        held(inclusive_word, !exclusive) || held(exclusive_word, true)
    })
}

/// The largest count that some part gives for a keyword.
pub(super) fn largest(conjuncts: &[&Value], word: &str) -> Option<u64> {
    conjuncts
        .iter()
        .filter_map(|schema| count(schema, word))
        .max()
}

/// The smallest count that some part gives for a keyword.
pub(super) fn smallest(conjuncts: &[&Value], word: &str) -> Option<u64> {
    conjuncts
        .iter()
        .filter_map(|schema| count(schema, word))
        .min()
}

pub(super) fn count(schema: &Value, word: &str) -> Option<u64> {
    whole(schema.get(word)?)
}

/// A count, which may be written as `3.0`. Counts of schemas are at most 2^53.
pub(super) fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let text = format!("{:.0}", value.as_f64()?);
        text.parse().ok()
    })
}

/// The keyword of a schema, as an object.
pub(super) fn object<'v>(schema: &'v Value, word: &str) -> Option<&'v Map<String, Value>> {
    schema.get(word).and_then(Value::as_object)
}

/// The keyword of a schema, as a list.
pub(super) fn list<'v>(schema: &'v Value, word: &str) -> &'v [Value] {
    schema
        .get(word)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
