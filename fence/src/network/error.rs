//! What can go wrong with ports and rules.

/// The result of a network call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a port or a rule could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not run {program} (install the package {package})")]
    Missing {
        program: &'static str,
        package: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("could not run {program}")]
    Failed {
        program: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} gave no answer within {seconds} s")]
    TimedOut { program: &'static str, seconds: u64 },
    #[error("{program} refused: {reason}")]
    Refused { program: &'static str, reason: String },
    #[error("could not set {path}")]
    Setting {
        path: String,
        #[source]
        source: std::io::Error,
    },
}
