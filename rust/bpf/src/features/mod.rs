//! What works here. In: nothing. Out: a [`Feature`] each, really tried wherever trying is harmless.
//!
//! Nothing is concluded from a version number: a kernel may have a feature back-ported, configured out or locked down.

mod settings;
mod trials;

use spile_core::error::Error;

/// Something that the kernel or a privilege makes possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub feature: &'static str,
    /// Whether it is there.
    pub works: bool,
    /// What was tried or found.
    pub detail: String,
    /// What is lost without it.
    pub cost: &'static str,
}

impl Feature {
    fn tried(feature: &'static str, cost: &'static str, outcome: Result<String, Error>) -> Self {
        let works = outcome.is_ok();
        Self { feature, works, detail: outcome.unwrap_or_else(|error| error.to_string()), cost }
    }
}

/// All of them: privileges first, then what a session can't do without, then what it can.
pub fn probe() -> Vec<Feature> {
    let mut features = settings::privileges();
    features.extend(trials::all());
    features.extend(settings::sysctls());
    features
}
