//! Builds the [`Failure`]s that answer a request. Bounds their text: what a message quotes comes from outside, and
//! it has to fit a frame and the pipe between a new process and init.

use fence_init::protocol::{Failure, FailureKind};
use nix::errno::Errno;

/// The longest message, in bytes. Even with every character escaped in JSON it fits one atomic pipe write.
const MESSAGE_LIMIT: usize = 600;

/// A failure of this kind; a message that is too long is cut.
pub fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    let message = message.into();
    Failure {
        kind,
        message: cut(&message, MESSAGE_LIMIT).into(),
    }
}

/// The kernel refused what was attempted.
pub fn system(attempt: &str, errno: Errno) -> Failure {
    // Cut the attempt, not the reason.
    failure(
        FailureKind::System,
        format!("{}: {}", cut(attempt, MESSAGE_LIMIT / 2), reason(errno)),
    )
}

/// No such process, or none any more.
pub fn no_process(id: &str) -> Failure {
    failure(FailureKind::ProcessNotFound, format!("unknown process: {id}"))
}

/// What the kernel said, in the lower case that Garden's clients look for.
pub fn reason(errno: Errno) -> String {
    errno.desc().to_lowercase()
}

/// The first `limit` bytes of a text, or a little less so as not to cut through a character.
pub fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_between_characters_and_fit_an_atomic_write() {
        for text in ["é".repeat(5000), "\u{1}".repeat(5000), "x".into()] {
            let json = serde_json::to_vec(&failure(FailureKind::Invalid, text)).unwrap();
            assert!(json.len() < 4096, "{}", json.len());
        }
        let told = system(&"a/".repeat(5000), Errno::ENOENT);
        assert!(
            told.message.ends_with(": no such file or directory"),
            "{}",
            told.message
        );
    }
}
