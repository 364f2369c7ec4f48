//! Names of values: those of a column, and in a condition the values that names stand for.
//!
//! In: an expression, and the fields that know what their values are called. Out: a table, or numbers.

use spile_core::error::Error;
use spile_core::names::ValueNames;
use spile_core::spec::{Context, Expr, PathStep};

use super::access::{Access, Fields, Leaf};

/// So many names are listed where none is near.
const SHOWN: usize = 12;

/// The names that the values of an expression have.
pub(super) fn of(expr: &Expr, fields: &dyn Fields) -> ValueNames {
    match expr {
        Expr::Field { path } => match fields.resolve(path) {
            Ok(Access::Ctx { size, signed, .. }) => fields.names(path).fitted(size, signed),
            Ok(Access::Read { leaf: Leaf::Int { size, signed } | Leaf::Bits { size, signed, .. }, .. }) => {
                fields.names(path).fitted(size, signed)
            }
            _ => ValueNames::default(),
        },
        Expr::Context { name: Context::Error } => ValueNames::of_errors(),
        _ => ValueNames::default(),
    }
}

/// The numbers that `choices` stand for, if what they are compared with is a number whose values have names.
pub(super) fn values(expr: &Expr, choices: &[Vec<u8>], fields: &dyn Fields) -> Result<Option<Vec<i128>>, Error> {
    let names = of(expr, fields);
    if names.is_empty() {
        return Ok(None);
    }
    let value = |choice: &Vec<u8>| {
        let name = String::from_utf8_lossy(choice);
        names.value(&name).ok_or_else(|| unknown(expr, &name, &names))
    };
    choices.iter().map(value).collect::<Result<_, _>>().map(Some)
}

fn unknown(expr: &Expr, name: &str, names: &ValueNames) -> Error {
    let near = names.nearest(name);
    let hint = if near.is_empty() {
        let some: Vec<&str> = names.iter().map(|(_, name)| name).take(SHOWN).collect();
        format!("; they are called {}{}", some.join(", "), if names.iter().count() > SHOWN { " …" } else { "" })
    } else {
        format!("; did you mean {}?", near.join(" or "))
    };
    Error::FieldNotFound { message: format!("no value of {} is called {name:?}{hint}", said(expr)) }
}

fn said(expr: &Expr) -> String {
    match expr {
        Expr::Field { path } => path.iter().fold("arg".into(), |said, step| match step {
            PathStep::Name(name) => format!("{said}.{name}"),
            PathStep::Index(index) => format!("{said}[{index}]"),
        }),
        _ => "error".into(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// `state` is an enumeration of one unsigned byte, `count` is none.
    struct Named;

    impl Fields for Named {
        fn resolve(&self, _: &[PathStep]) -> Result<Access, Error> {
            Ok(Access::Ctx { offset: 8, size: 1, signed: false })
        }

        fn names(&self, path: &[PathStep]) -> ValueNames {
            let is_named = path == [PathStep::Name("state".into())];
            let values = [(1, "TCP_ESTABLISHED"), (2, "TCP_SYN_SENT"), (-1, "TCP_ANY")];
            ValueNames::new(values.into_iter().filter(|_| is_named).map(|(value, name)| (value, name.into())))
        }

        fn all(&self) -> Vec<(String, Vec<PathStep>)> {
            Vec::new()
        }
    }

    fn field(name: &str) -> Expr {
        Expr::Field { path: vec![PathStep::Name(name.into())] }
    }

    fn choices(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn names_stand_for_numbers() {
        let found = values(&field("state"), &choices(&["TCP_SYN_SENT", "TCP_ANY"]), &Named).unwrap();
        assert_eq!(found, Some(vec![2, 255]));
        assert_eq!(values(&field("count"), &choices(&["x"]), &Named).unwrap(), None);
        let error = Expr::Context { name: Context::Error };
        assert_eq!(values(&error, &choices(&["ENOENT"]), &Named).unwrap(), Some(vec![2]));
    }

    #[test]
    fn an_unknown_name_has_neighbours() {
        for (expr, name, words) in [
            (
                field("state"),
                "TCP_SYN_SEND",
                "no value of arg.state is called \"TCP_SYN_SEND\"; did you mean TCP_SYN_SENT",
            ),
            (field("state"), "x", "; they are called TCP_ESTABLISHED, TCP_SYN_SENT, TCP_ANY"),
            (
                Expr::Context { name: Context::Error },
                "ENOEN",
                "no value of error is called \"ENOEN\"; did you mean ENOENT",
            ),
            (Expr::Context { name: Context::Error }, "x", "EAGAIN, ENOMEM …"),
        ] {
            let error = values(&expr, &choices(&[name]), &Named).unwrap_err();
            assert!(matches!(&error, Error::FieldNotFound { message } if message.contains(words)), "{error:?}");
        }
    }
}
