//! What went wrong, with an exit code.

use std::fmt;

/// The command failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub(crate) const USAGE: u8 = 2;
/// Something cannot be reached.
pub(crate) const NOT_REACHABLE: u8 = 3;

/// Why a command ends without its result. The text reads "what: why; next step".
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub(crate) code: u8,
    /// What went wrong.
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// A failure with `code`.
    pub(crate) fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    /// A failed command; `text` names the next step after a semicolon.
    pub(crate) fn failed(text: impl fmt::Display) -> Self {
        Self::new(FAILED, anyhow::Error::msg(text.to_string()))
    }

    /// A wrong command line.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(USAGE, anyhow::Error::msg(text.to_string()))
    }

    /// What and why, and the next step where the text has one.
    pub(crate) fn parts(&self) -> (String, Option<String>) {
        let text = self.error.to_string();
        match text.split_once("; ") {
            Some((what, next)) => (what.to_owned(), Some(next.to_owned())),
            None => (text, None),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FAILED, error)
    }
}

impl From<nesa_config::ConfigError> for Failure {
    fn from(error: nesa_config::ConfigError) -> Self {
        Self::new(USAGE, error)
    }
}

impl From<nesa_storage::Error> for Failure {
    fn from(error: nesa_storage::Error) -> Self {
        let code = match error {
            nesa_storage::Error::BadName { .. } => USAGE,
            _ => FAILED,
        };
        Self::new(code, error)
    }
}

impl From<nesa_storage::pull::Error> for Failure {
    fn from(error: nesa_storage::pull::Error) -> Self {
        use nesa_storage::pull::Error as E;
        let code = match error {
            E::NoClient { .. } | E::Package { .. } | E::Interrupted { .. } => NOT_REACHABLE,
            _ => FAILED,
        };
        Self::new(code, error)
    }
}

impl From<nesa_compile::CompileError> for Failure {
    fn from(error: nesa_compile::CompileError) -> Self {
        Self::new(FAILED, error)
    }
}

impl From<nesa_compile::decision::ImportError> for Failure {
    fn from(error: nesa_compile::decision::ImportError) -> Self {
        Self::new(FAILED, error)
    }
}

impl From<nesa_checkpoint::Error> for Failure {
    fn from(error: nesa_checkpoint::Error) -> Self {
        Self::new(FAILED, error)
    }
}

impl From<nesa_model::ModelError> for Failure {
    fn from(error: nesa_model::ModelError) -> Self {
        Self::new(FAILED, error)
    }
}

impl From<nesa_wallet::WalletError> for Failure {
    fn from(error: nesa_wallet::WalletError) -> Self {
        use nesa_wallet::WalletError as E;
        let code = match error {
            E::Name(_) | E::Short(_) | E::Readable(_) | E::Secret => USAGE,
            _ => FAILED,
        };
        Self::new(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_stands_apart() {
        let failure = Failure::failed("a.gguf: it is damaged; fetch it again");
        assert_eq!(
            failure.parts(),
            (
                "a.gguf: it is damaged".into(),
                Some("fetch it again".into())
            )
        );
        assert_eq!(Failure::failed("plain").parts(), ("plain".into(), None));
    }
}
