//! What a registry says to who it does not know: where to get a token, and how that is asked for and answered. Pure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster::identity::Address;
use engine::RegistryAuth;
use http::{HeaderValue, Uri};
use serde::Deserialize;

use crate::{Error, Result};

/// `Bearer realm="https://…",service="…"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: String,
    service: String,
}

#[derive(Deserialize)]
struct Given {
    token: String,
}

impl Challenge {
    /// The one in this header.
    pub(super) fn of(header: &HeaderValue) -> Option<Challenge> {
        let text = header.to_str().ok()?.strip_prefix("Bearer ")?;
        let word = |name: &str| {
            let (_, rest) = text.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(word, _)| word.to_owned())
        };
        Some(Challenge {
            realm: word("realm")?,
            service: word("service").unwrap_or_default(),
        })
    }

    /// `realm` and `service`.
    pub(super) fn into_words(self) -> (String, String) {
        (self.realm, self.service)
    }

    /// Where one token for all of `scopes` is asked for. Never without TLS: the password goes there.
    pub(super) fn place(&self, scopes: &[String]) -> Result<(Address, String)> {
        let odd = || Error::failed("log in at the registry", format!("it names {:?} for that", self.realm));
        let uri: Uri = self.realm.parse().map_err(|_| odd())?;
        let host = uri
            .host()
            .filter(|_| uri.scheme_str() == Some("https"))
            .ok_or_else(odd)?;
        let at = format!("{host}:{}", uri.port_u16().unwrap_or(443));
        let mut path = format!("{}?service={}", uri.path(), escaped(&self.service));
        for scope in scopes.iter().filter(|scope| !scope.is_empty()) {
            path.push_str(&format!("&scope={}", escaped(scope)));
        }
        Ok((at.parse().map_err(|_| odd())?, path))
    }
}

/// The header by which an account says who it is.
pub(super) fn basic(account: &RegistryAuth) -> Result<HeaderValue> {
    let words = BASE64_STANDARD.encode(format!("{}:{}", account.username, account.password));
    secret(format!("Basic {words}"))
}

/// The header that shows the token in this answer.
pub(super) fn bearer(body: &[u8]) -> Result<HeaderValue> {
    // Nothing of the answer goes into a message.
    let given: Given =
        serde_json::from_slice(body).map_err(|_| Error::failed("log in at the registry", "the answer has no token"))?;
    secret(format!("Bearer {}", given.token))
}

fn secret(text: String) -> Result<HeaderValue> {
    let value = HeaderValue::try_from(text);
    let mut value =
        value.map_err(|_| Error::failed("log in at the registry", "the account cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(text: &str) -> Option<Challenge> {
        Challenge::of(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn a_challenge_says_where_a_token_is() {
        let known = challenge(r#"Bearer realm="https://core:8443/v1/registry/token",service="core:5000",scope="x""#);
        let scopes = ["repository:a/b:pull,push".to_owned(), "repository:c:pull".to_owned()];
        let (at, path) = known.as_ref().unwrap().place(&scopes).unwrap();
        assert_eq!(at.to_string(), "core:8443");
        assert_eq!(
            path,
            "/v1/registry/token?service=core%3A5000&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull"
        );
        let (_, path) = known.unwrap().place(&[String::new()]).unwrap();
        assert_eq!(path, "/v1/registry/token?service=core%3A5000");
        assert_eq!(challenge("Basic realm=\"x\""), None);
    }

    #[test]
    fn a_password_goes_nowhere_without_tls() {
        for realm in ["http://core:8443/x", "core", "ftp://core/x", ""] {
            let challenge = challenge(&format!("Bearer realm=\"{realm}\"")).unwrap();
            assert!(challenge.place(&[]).is_err(), "{realm}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let account = RegistryAuth {
            username: "u".to_owned(),
            password: "p".to_owned(),
        };
        assert!(format!("{:?}", basic(&account).unwrap()).contains("Sensitive"));
        assert!(format!("{:?}", bearer(br#"{"token": "t"}"#).unwrap()).contains("Sensitive"));
        let error = bearer(br#"{"tokem": "hidden"}"#).unwrap_err();
        assert!(!error.to_string().contains("hidden"));
    }
}
