//! Every way in which spile's Rust side can fail, in one enum that the Python side maps in one match.

use thiserror::Error as ThisError;

/// An error of spile's.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The description asks for something wrong; `path` says where, as in `probes[0].capture.fields[1].expr`.
    #[error("{message}{}", at(path))]
    Spec {
        /// Into the spec.
        path: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// No such tracepoint, timer or function.
    #[error("{message}")]
    ProbeNotFound {
        /// What was asked for, the nearest names, and the reason.
        message: String,
    },
    /// The probe has no such field.
    #[error("{message}")]
    FieldNotFound {
        /// What was asked for, and the nearest names.
        message: String,
    },
    /// This kernel or engine can't.
    #[error("{message}")]
    Unsupported {
        /// Which feature, and what works all the same.
        message: String,
    },
    /// A privilege is missing.
    #[error("{message}")]
    Privilege {
        /// Which, and for what.
        message: String,
    },
    /// The kernel refused something that spile made; `log` is its own account.
    #[error("{message}")]
    Engine {
        /// What was refused.
        message: String,
        /// The verifier's log, or nothing.
        log: String,
    },
    /// A stream holds something that can't be an event.
    #[error("at byte {offset}: {message}")]
    Stream {
        /// From the beginning of the stream.
        offset: u64,
        /// What is wrong there.
        message: String,
    },
    /// A recording can't be read, or written on.
    #[error("at byte {offset}: {message}")]
    Recording {
        /// From the beginning of the file.
        offset: u64,
        /// What is wrong there, and what could be saved.
        message: String,
    },
    /// More than one thing is wrong; all of it at once.
    #[error("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several {
        /// At least two.
        errors: Vec<Error>,
    },
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" (at {path})") }
}

impl Error {
    /// An error in the spec.
    pub fn spec(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Spec { path: path.into(), message: message.into() }
    }

    /// One error of all: none for none, itself for one.
    pub fn all(mut errors: Vec<Self>) -> Option<Self> {
        if errors.len() > 1 { Some(Self::Several { errors }) } else { errors.pop() }
    }

    /// The kernel refused, without a log.
    pub fn engine(message: impl Into<String>) -> Self {
        Self::Engine { message: message.into(), log: String::new() }
    }
}
