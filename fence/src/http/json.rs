//! JSON in and out, as lenient and as exact as Garden's clients need it.
//!
//! In: as Go's decoder does, keys in any case, unknown ones ignored, `null` for anything, and nothing after the first
//! value looked at. Out: every value ends in a line feed. The types themselves are in each face's `wire`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde_json::{Map, Value};

use super::body::{BODY_TIMEOUT, BodyError, MAX_BODY};

/// Why a request's JSON cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("could not read the request's JSON: {0}")]
    Decode(serde_json::Error),
}

/// An answer: the value and a line feed.
pub(super) struct Json<T>(pub(super) T);

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], line(&self.0)).into_response()
    }
}

/// An answer with another status than 200.
pub(super) fn with_status(status: StatusCode, value: &impl serde::Serialize) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], line(value)).into_response()
}

/// A value in one line.
pub(super) fn line(value: &impl serde::Serialize) -> Vec<u8> {
    // Fails only for maps whose keys are no strings and for types that refuse; the wire types are neither.
    let mut line = serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
    line.push(b'\n');
    line
}

/// The value in the body of an ordinary request.
pub(super) async fn read<T: DeserializeOwned + Default>(body: Body) -> Result<T, JsonError> {
    decode(&read_bytes(body).await?)
}

/// The list in the body of an ordinary request.
pub(super) async fn read_list<T: DeserializeOwned>(body: Body) -> Result<Vec<T>, JsonError> {
    let value = first_value(&read_bytes(body).await?)?;
    from_value(value).map_err(JsonError::Decode)
}

/// As [`read`], with the default where there is no body at all.
pub(super) async fn read_if_any<T: DeserializeOwned + Default>(body: Body) -> Result<T, JsonError> {
    let bytes = read_bytes(body).await?;
    if bytes.trim_ascii().is_empty() {
        Ok(T::default())
    } else {
        decode(&bytes)
    }
}

async fn read_bytes(body: Body) -> Result<Bytes, BodyError> {
    let reading = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(error)) => Err(BodyError::Read(std::io::Error::other(error))),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// The first value in `bytes`; `null` is the type's default.
pub(super) fn decode<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, JsonError> {
    let value = first_value(bytes)?;
    if value.is_array() {
        // The types would take a list for their members in order, which no client means.
        let error = serde_json::Error::custom("it is a list, and not an object");
        return Err(JsonError::Decode(error));
    }
    from_value(value).map_err(JsonError::Decode)
}

fn first_value(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = String::from_utf8_lossy(bytes);
    let first = serde_json::Deserializer::from_str(&text).into_iter::<Value>().next();
    first
        .unwrap_or_else(|| Err(serde_json::Error::custom("it is empty")))
        .map_err(JsonError::Decode)
}

/// A value already parsed, to a wire type.
pub(super) fn from_value<T: DeserializeOwned + Default>(value: Value) -> Result<T, serde_json::Error> {
    match value {
        Value::Null => Ok(T::default()),
        value => serde_json::from_value(normalise(value)),
    }
}

/// Keys to the lower case in which every wire type has them, and `null` members away. What clients name themselves,
/// the keys of `properties`, stays as it is.
fn normalise(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut normal = Map::with_capacity(members.len());
            for (key, value) in members {
                let key = key.to_ascii_lowercase();
                let value = if key == "properties" {
                    user_map(value)
                } else {
                    normalise(value)
                };
                if !value.is_null() {
                    normal.insert(key, value);
                }
            }
            Value::Object(normal)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(normalise).collect()),
        other => other,
    }
}

fn user_map(value: Value) -> Value {
    let Value::Object(mut members) = value else {
        return value;
    };
    for value in members.values_mut().filter(|value| value.is_null()) {
        *value = Value::String(String::new());
    }
    Value::Object(members)
}

/// For lists in wire types: an item that is `null` is the type's default.
pub(super) fn items<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let items = Vec::<Option<T>>::deserialize(deserializer)?;
    Ok(items.into_iter().map(Option::unwrap_or_default).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Sample {
        path: String,
        count: u64,
        #[serde(deserialize_with = "items")]
        args: Vec<String>,
        properties: BTreeMap<String, String>,
        inner: Option<Box<Sample>>,
    }

    fn sample(text: &str) -> Sample {
        decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_are_taken_in_any_case_and_unknown_ones_ignored() {
        let found = sample(r#"{"Path":"ls","COUNT":3,"other":[1],"Inner":{"pATH":"x"}}"#);
        assert_eq!((found.path.as_str(), found.count), ("ls", 3));
        assert_eq!(found.inner.unwrap().path, "x");
    }

    #[test]
    fn null_is_taken_for_anything() {
        assert_eq!(sample("null"), Sample::default());
        let found = sample(r#"{"path":null,"count":null,"args":["a",null],"properties":null,"inner":null}"#);
        assert_eq!(
            found,
            Sample {
                args: vec!["a".into(), String::new()],
                ..Sample::default()
            }
        );
        assert_eq!(sample(r#"{"properties":{"k":null}}"#).properties["k"], "");
    }

    #[test]
    fn what_a_client_named_itself_keeps_its_case() {
        let found = sample(r#"{"Properties":{"Key":"V","key":"v"}}"#);
        assert_eq!(found.properties.len(), 2);
        assert_eq!(found.properties["Key"], "V");
    }

    #[test]
    fn only_the_first_value_counts() {
        assert_eq!(sample("{\"path\":\"a\"}\n{\"path\":\"b\"} nonsense").path, "a");
        assert_eq!(decode::<u64>(b"300000000000\n").unwrap(), 300_000_000_000);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_marked() {
        assert_eq!(decode::<Sample>(b"{\"path\":\"a\xff\"}").unwrap().path, "a\u{fffd}");
    }

    #[test]
    fn what_cannot_be_decoded_says_why() {
        let error = |text: &str| decode::<Sample>(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error(""), "could not read the request's JSON: it is empty");
        assert!(error("{").contains("EOF"));
        assert!(error(r#"{"path":1}"#).contains("invalid type"));
        assert!(error(&"[".repeat(1000)).contains("recursion limit"));
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let body = Body::from(vec![b' '; MAX_BODY + 1]);
        assert!(matches!(
            read::<Sample>(body).await,
            Err(JsonError::Body(BodyError::TooLarge))
        ));
        assert_eq!(read_if_any::<Sample>(Body::empty()).await.unwrap(), Sample::default());
        assert!(read::<Sample>(Body::empty()).await.is_err());
    }

    #[test]
    fn a_line_ends_in_a_line_feed() {
        assert_eq!(line(&serde_json::json!({})), b"{}\n");
    }
}
