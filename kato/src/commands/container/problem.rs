//! Failures about containers, as they are printed: a handle that is not there with the nearest one that is, and
//! several containers done one after the other.

use crate::commands::Context;
use crate::error::{Error, Exit, Kind, Result};
use crate::fence_api::{self, Client, RefusalKind};

/// How alike a handle must be to be offered instead of one that is not there.
const NEAR: f64 = 0.6;

/// The error to print for what fence said about this container.
pub async fn explain(client: &Client, handle: &str, error: fence_api::Error) -> Error {
    let missing = error.refusal() == Some(RefusalKind::ContainerNotFound);
    // Fence's hints name no container.
    let hint = error.hint().unwrap_or_default().replace("HANDLE", handle);
    let shown = Error::from(error).hint(hint);
    if !missing {
        return shown;
    }
    // Only for the hint: without the list there is still the way to see it.
    let handles: Vec<String> = client
        .containers()
        .await
        .unwrap_or_default()
        .into_iter()
        .map(|container| container.handle)
        .collect();
    match nearest(handle, &handles) {
        Some(near) => shown.hint(format!("kato container list; the nearest handle is '{near}'")),
        None => shown.hint("kato container list"),
    }
}

fn nearest<'a>(given: &str, handles: &'a [String]) -> Option<&'a str> {
    let scored = handles
        .iter()
        .map(|handle| (strsim::normalized_damerau_levenshtein(given, handle), handle.as_str()));
    scored
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, handle)| handle)
}

/// Counts what was done to several containers and what was not.
#[derive(Debug, Default)]
pub struct Tally {
    done: usize,
    failed: Vec<Error>,
}

impl Tally {
    /// One more: its handle is printed when it is done.
    pub fn add(&mut self, context: &Context, handle: &str, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => {
                self.done += 1;
                context.ui.line(handle)
            }
            Err(error) => {
                self.failed.push(error);
                Ok(())
            }
        }
    }

    /// The end of the command. `done_to_them` is a word such as "stopped".
    pub fn finish(mut self, context: &Context, done_to_them: &str) -> Result<Exit> {
        let (all, kind) = (self.done + self.failed.len(), self.kind());
        if all == 1
            && let Some(error) = self.failed.pop()
        {
            return Err(error);
        }
        let Some(kind) = kind else {
            return Ok(Exit::Done);
        };
        let failed = self.failed.len();
        for error in self.failed {
            let error = error.for_command("", context.root.as_deref());
            context.ui.say(error.report().trim_end());
        }
        Err(Error::new(
            kind,
            format!("{failed} of {all} containers were not {done_to_them}"),
        ))
    }

    /// The kind of failure, where there is one.
    fn kind(&self) -> Option<Kind> {
        let first = self.failed.first()?.kind();
        let alike = self.failed.iter().all(|error| error.kind() == first);
        Some(match (self.done, alike) {
            (0, true) => first,
            (0, false) => Kind::Failed,
            _ => Kind::Partly,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(done: usize, failed: Vec<Error>) -> Option<Kind> {
        Tally { done, failed }.kind()
    }

    #[test]
    fn the_nearest_handle_is_found_where_one_is_near() {
        let handles = ["web-1".to_owned(), "worker".to_owned()];
        assert_eq!(nearest("web1", &handles), Some("web-1"));
        assert_eq!(nearest("database", &handles), None);
    }

    #[test]
    fn a_part_that_failed_has_its_own_code_and_all_alike_have_theirs() {
        let missing = || Error::not_found("x");
        assert_eq!(kind(2, vec![]), None);
        assert_eq!(kind(1, vec![missing()]), Some(Kind::Partly));
        assert_eq!(kind(0, vec![missing(), missing()]), Some(Kind::NotFound));
        assert_eq!(kind(0, vec![missing(), Error::failed("y")]), Some(Kind::Failed));
        assert_eq!(kind(0, vec![Error::unreachable("z")]), Some(Kind::Unreachable));
    }
}
