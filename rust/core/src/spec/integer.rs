//! Integer literals from JSON.
//!
//! In: a JSON number inside a tagged tree, which serde buffers and can't give back as an `i128`. Out: that `i128`, or words
//! that say what a literal may be. Which of them a spec may use is for [`verify`](super::verify) to say.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// One literal.
pub(super) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    deserializer.deserialize_any(One)
}

/// A list of literals.
pub(super) fn many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i128>, D::Error> {
    deserializer.deserialize_seq(Many)
}

struct One;

impl Visitor<'_> for One {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer within -2^63 … 2^64 - 1")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i128, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i128, E> {
        Ok(value.into())
    }
}

struct Literal(i128);

impl<'de> de::Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one(deserializer).map(Literal)
    }
}

struct Many;

impl<'de> Visitor<'de> for Many {
    type Value = Vec<i128>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of integers within -2^63 … 2^64 - 1")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<i128>, A::Error> {
        let mut values = Vec::new();
        while let Some(Literal(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use crate::spec::{Condition, Expr, UnaryOperator};

    fn nested(value: i128) -> Expr {
        Expr::Unary { operator: UnaryOperator::Negate, operand: Box::new(Expr::Int { value }) }
    }

    #[test]
    fn literals_come_back_from_a_nested_tree() {
        for value in [-(1 << 63), -1, 0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1] {
            let text = serde_json::to_string(&nested(value)).expect("it writes");
            assert_eq!(serde_json::from_str::<Expr>(&text).expect("it reads"), nested(value), "{text}");
            let condition =
                Condition::Not { term: Box::new(Condition::IsIn { value: nested(value), choices: vec![value; 2] }) };
            let text = serde_json::to_string(&condition).expect("it writes");
            assert_eq!(serde_json::from_str::<Condition>(&text).expect("it reads"), condition, "{text}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for text in ["1.5", "18446744073709551616", "-9223372036854775809", "\"1\"", "null"] {
            let error = serde_json::from_str::<Expr>(&format!(r#"{{"op": "int", "value": {text}}}"#)).expect_err(text);
            assert!(error.to_string().contains("expected an integer within"), "{error}");
        }
    }
}
