//! What the registry believes: a signed statement of who may do what for a few minutes, as Docker's registries have it
//! (a JSON web token). The registry knows the signer by a certificate of the signer's own, and not by the cluster's CA,
//! since every node has a certificate of that.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cluster::identity::Key;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::Holder;
use crate::{Error, Result, by_hand};

/// Who signs, as the registry's settings say.
pub const ISSUER: &str = "fence";
/// How long a token is good, in seconds; the registry takes it for a minute more, which makes five.
pub const LIFETIME: i64 = 240;
/// By how much it begins before it was made, for clocks that are behind.
const BACKDATED: i64 = 60;
/// The most things that are asked for at once, and the longest of them.
pub(crate) const MAX_SCOPES: usize = 32;
const MAX_SCOPE: usize = 512;

/// One thing that may be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

/// What was asked for, as clients write it: `repository:NAME:pull,push`.
pub fn asked(scopes: &[String]) -> Vec<Access> {
    let words = scopes.iter().flat_map(|scope| scope.split(' '));
    words.filter_map(one).take(MAX_SCOPES).collect()
}

fn one(scope: &str) -> Option<Access> {
    if scope.len() > MAX_SCOPE {
        return None;
    }
    let (kind, rest) = scope.split_once(':')?;
    // A name may have a registry's port in it.
    let (name, actions) = rest.rsplit_once(':')?;
    let actions = actions.split(',').map(str::to_owned).collect();
    Some(Access {
        kind: kind.to_owned(),
        name: name.to_owned(),
        actions,
    })
}

/// For which registry a token is, where it is asked for by `service`: the one at `location`, or the one that is run by hand.
pub fn audience<'a>(service: &str, location: &'a str) -> &'a str {
    match service {
        by_hand::SERVICE => by_hand::SERVICE,
        _ => location,
    }
}

/// Of what was asked, what this holder may do.
pub fn granted(asked: Vec<Access>, holder: &Holder) -> Vec<Access> {
    let may = |access: &Access, action: &str| match (access.kind.as_str(), action) {
        ("repository", "pull") => true,
        ("repository", "push" | "delete") => holder.may_push(),
        ("registry", "*") => access.name == "catalog" && holder.may_push(),
        _ => false,
    };
    let grant = |mut access: Access| {
        let actions = std::mem::take(&mut access.actions);
        access.actions = actions.into_iter().filter(|action| may(&access, action)).collect();
        access
    };
    let granted = asked.into_iter().map(grant);
    granted.filter(|access| !access.actions.is_empty()).collect()
}

/// The token that lets `holder` do this at the registry that is its [`audience`]; `certificate` (PEM) is the signer's.
pub fn sign(key: &Key, certificate: &str, holder: &Holder, audience: &str, access: &[Access]) -> Result<String> {
    let now = Timestamp::now().as_second();
    let der = x509_parser::pem::parse_x509_pem(certificate.as_bytes());
    let (_, block) = der.map_err(|reason| Error::failed("read the certificate of who signs tokens", reason))?;
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(block.contents)] });
    let claims = json!({
        "iss": ISSUER,
        "sub": holder.to_string(),
        "aud": audience,
        "iat": now,
        "nbf": now - BACKDATED,
        "exp": now + LIFETIME,
        "jti": Uuid::new_v4().to_string(),
        "access": access,
    });
    let statement = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = key
        .sign(statement.as_bytes())
        .map_err(Error::identity("sign a token of the registry"))?;
    Ok(format!("{statement}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// What a client is answered that asked for a token.
pub fn answer(token: &str) -> Value {
    json!({
        "token": token,
        "access_token": token,
        "expires_in": LIFETIME,
        "issued_at": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

fn encoded(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scopes: &[&str], holder: &str) -> Vec<String> {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let granted = granted(asked(&scopes), &Holder::of(holder).unwrap());
        let word = |access: &Access| format!("{}:{}:{}", access.kind, access.name, access.actions.join(","));
        granted.iter().map(word).collect()
    }

    #[test]
    fn a_token_is_for_the_registry_that_asks_and_for_no_other() {
        assert_eq!(audience("core:5000", "core:5000"), "core:5000");
        assert_eq!(audience(by_hand::SERVICE, "core:32768"), by_hand::SERVICE);
        for other in ["", "elsewhere:5000"] {
            assert_eq!(audience(other, "core:5000"), "core:5000");
        }
    }

    const NODE: &str = "node-00000000-0000-0000-0000-000000000001";

    #[test]
    fn a_node_pulls_and_does_nothing_else() {
        let all = ["repository:team/app:pull,push,delete", "registry:catalog:*"];
        assert_eq!(words(&all, NODE), ["repository:team/app:pull"]);
        assert!(words(&["repository:app:push"], NODE).is_empty());
        assert!(words(&["repository:app:*"], NODE).is_empty());
    }

    #[test]
    fn an_administrator_pushes_and_deletes() {
        let all = ["repository:a:pull,push,delete registry:catalog:*", "plugin:a:pull"];
        assert_eq!(
            words(&all, "admin-alice"),
            ["repository:a:pull,push,delete", "registry:catalog:*"]
        );
    }

    #[test]
    fn what_is_not_understood_is_not_granted() {
        let long = format!("repository:{}:pull", "a".repeat(1000));
        for odd in ["", "repository", "repository:a", ":::", &long] {
            assert!(words(&[odd], "admin-alice").is_empty(), "{odd}");
        }
        let many: Vec<String> = (0..1000).map(|n| format!("repository:a{n}:pull")).collect();
        assert_eq!(asked(&many).len(), MAX_SCOPES);
    }
}
