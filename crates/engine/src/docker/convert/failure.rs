//! What a failed request means, in our words.

use std::error::Error as _;

use bollard::errors::Error as Cause;

use super::super::Call;
use super::super::transport::Fault;
use crate::{Error, ImageName};

/// What a failed request means.
pub(in crate::docker) fn error(call: &Call, endpoint: &str, cause: Cause) -> Error {
    let attempt = call.attempt.clone();
    match cause {
        Cause::DockerResponseServerError { status_code, message } => refusal(call, endpoint, status_code, message),
        Cause::DockerStreamError { error } if is_full(&error) => Error::Full { attempt, reason: error },
        Cause::DockerStreamError { error } => Error::Failed { attempt, reason: error },
        cause => match fault(&cause) {
            Some(Fault::TooOld(_)) => Error::Refused {
                attempt,
                reason: root_message(&cause),
            },
            Some(Fault::TooLarge | Fault::NoVersion) => Error::Failed {
                attempt,
                reason: root_message(&cause),
            },
            None if is_connection(&cause) => Error::Unavailable {
                attempt,
                endpoint: endpoint.to_owned(),
                reason: root_message(&cause),
            },
            None => Error::Failed {
                attempt,
                reason: root_message(&cause),
            },
        },
    }
}

fn refusal(call: &Call, endpoint: &str, status: u16, message: String) -> Error {
    let attempt = call.attempt.clone();
    let unavailable = |reason| Error::Unavailable {
        attempt: call.attempt.clone(),
        endpoint: endpoint.to_owned(),
        reason,
    };
    match status {
        _ if is_full(&message) => Error::Full {
            attempt,
            reason: message,
        },
        // Docker also answers 404 for what a container needs, such as a network; that is not "no such container".
        404 if is_missing(&message) => Error::NotFound {
            what: call.what.clone(),
        },
        409 => Error::Conflict {
            attempt,
            reason: message,
        },
        503 => unavailable(message),
        500 if is_containerd_away(&message) => unavailable(message),
        400..=499 | 501 => Error::Refused {
            attempt,
            reason: message,
        },
        _ => Error::Failed {
            attempt,
            reason: message,
        },
    }
}

fn is_missing(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("no such container") || message.contains("no such image")
}

/// In the kernel's words, or in those of a file system with quotas.
fn is_full(message: &str) -> bool {
    message.contains("no space left on device") || message.contains("disk quota exceeded")
}

/// dockerd answers, but what it runs containers with does not.
fn is_containerd_away(message: &str) -> bool {
    message.contains("containerd.sock") || message.contains("code = Unavailable")
}

/// What a failed pull means. Docker passes on what the registry said as text alone, often with status 500 or in the
/// middle of the progress.
pub(in crate::docker) fn pull_error(call: &Call, endpoint: &str, image: &ImageName, cause: Cause) -> Error {
    let message = match &cause {
        Cause::DockerResponseServerError { message, .. } => message,
        Cause::DockerStreamError { error } => error,
        _ => return error(call, endpoint, cause),
    };
    let (attempt, reason) = (call.attempt.clone(), message.clone());
    // The image's own name stands in most messages, and must not be read as one of the words.
    let path = image
        .registry()
        .and_then(|registry| image.repository().strip_prefix(registry));
    let message = message.replace(path.unwrap_or(image.repository()), "").to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&NO_ACCESS) {
        Error::Refused { attempt, reason }
    } else if says(&REGISTRY_AWAY) {
        Error::RegistryUnavailable { attempt, reason }
    } else if says(&NOT_IN_REGISTRY) {
        Error::NotFound {
            what: format!("{} in its registry", call.what),
        }
    } else if says(&UNSUITABLE) {
        Error::Refused { attempt, reason }
    } else {
        error(call, endpoint, cause)
    }
}

const NO_ACCESS: [&str; 4] = [
    "unauthorized",
    "no basic auth credentials",
    "access denied",
    "authentication required",
];
const NOT_IN_REGISTRY: [&str; 4] = ["manifest unknown", "name unknown", "not found", "does not exist"];
const UNSUITABLE: [&str; 2] = ["no matching manifest", "http response to https client"];
const REGISTRY_AWAY: [&str; 14] = [
    "connection refused",
    "connection reset",
    "no such host",
    "server misbehaving",
    "name resolution",
    "i/o timeout",
    "handshake timeout",
    "client.timeout",
    "unreachable",
    "no route to host",
    "unexpected http status: 5",
    "service unavailable",
    "toomanyrequests",
    ": eof",
];

/// What the transport found wrong, wherever in the chain of causes.
fn fault(cause: &Cause) -> Option<&Fault> {
    if let Cause::IOError { err } = cause {
        return err.get_ref()?.downcast_ref();
    }
    let mut source = cause.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.get_ref()?.downcast_ref();
        }
        source = error.source();
    }
    None
}

fn is_connection(cause: &Cause) -> bool {
    match cause {
        Cause::IOError { .. } | Cause::SocketNotFoundError(_) => true,
        Cause::HyperResponseError { err } => !err.is_user(),
        _ => false,
    }
}

/// The innermost message: the outer ones only say that a request failed.
fn root_message(cause: &Cause) -> String {
    let mut message = cause.to_string();
    let mut source = cause.source();
    while let Some(error) = source {
        message = error.to_string();
        source = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(status_code: u16, message: &str) -> String {
        let name: ImageName = "127.0.0.1:5000/unauthorized/not-found:1".parse().unwrap();
        let cause = match status_code {
            200 => Cause::DockerStreamError {
                error: message.to_owned(),
            },
            _ => Cause::DockerResponseServerError {
                status_code,
                message: message.to_owned(),
            },
        };
        format!(
            "{:?}",
            pull_error(&Call::new("pull", format!("image {name}")), "socket", &name, cause)
        )
    }

    #[test]
    fn what_a_registry_said_decides_what_a_failed_pull_means() {
        let away = r#"Get "http://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused"#;
        let head = r#"Head "http://127.0.0.1:5000/v2/unauthorized/not-found/manifests/1":"#;
        for (status, message, expected) in [
            (500, away.to_owned(), "RegistryUnavailable"),
            (
                200,
                "received unexpected HTTP status: 503 Service Unavailable".to_owned(),
                "RegistryUnavailable",
            ),
            (
                500,
                "Get https://x/v2/: dial tcp: lookup x: no such host".to_owned(),
                "RegistryUnavailable",
            ),
            (
                200,
                "toomanyrequests: You have reached your pull rate limit".to_owned(),
                "RegistryUnavailable",
            ),
            (500, format!("{head} no basic auth credentials"), "Refused"),
            (
                404,
                "pull access denied for x, repository does not exist or may require 'docker login'".to_owned(),
                "Refused",
            ),
            (
                404,
                "no matching manifest for linux/amd64 in the manifest list entries".to_owned(),
                "Refused",
            ),
            (
                404,
                "manifest for 127.0.0.1:5000/unauthorized/not-found:1 not found".to_owned(),
                "NotFound",
            ),
            (
                200,
                format!("{head} name unknown: repository name not known to registry"),
                "NotFound",
            ),
            (500, "no space left on device".to_owned(), "Full"),
            (500, format!("{head} something else"), "Failed"),
            (400, "invalid reference format".to_owned(), "Refused"),
        ] {
            let error = pulled(status, &message);
            assert!(error.starts_with(expected), "{status} {message}: {error}");
        }
    }
}
