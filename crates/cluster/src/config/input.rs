//! What an administrator typed, read as a value. Pure.

use serde_json::Value;

use super::schema::kind::type_name;
use super::schema::{Found, Schema};
use super::target::Target;
use super::{Error, Result};

/// The largest text that is read as a value, in bytes.
pub const MAX_INPUT: usize = 1024 * 1024;

/// How the text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As the key's type, else as a list or map of JSON, else as text.
    Assumed,
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The value.
    pub value: Value,
    /// The type that was assumed, where none was given.
    pub assumed: Option<&'static str>,
}

/// Read `text` as the value of `target`.
pub fn read(schema: &Schema, target: &Target, text: &str, format: Format) -> Result<Read> {
    if text.len() > MAX_INPUT {
        return Err(Error::TooMuch {
            limit: MAX_INPUT,
            what: "bytes in one value",
        });
    }
    match format {
        Format::Assumed => assume(schema, target, text),
        Format::Json => given(target, "JSON", serde_json::from_str(text)),
        Format::Yaml => given(target, "YAML", yaml_serde::from_str(text)),
    }
}

/// Read `text` as an entry of the list at `target`.
pub fn read_entry(target: &Target, text: &str, format: Format) -> Result<Read> {
    // No schema: the keys it knows say what the list is, not what is in it.
    read(&Schema::NONE, target, text, format)
}

/// What an entry of a list may be that was typed as `text`: where no type is given, text, or what it is as JSON.
pub fn read_candidates(target: &Target, text: &str, format: Format) -> Result<Vec<Value>> {
    let read = read_entry(target, text, format)?;
    let mut candidates = vec![read.value];
    if format == Format::Assumed
        && let Ok(value) = serde_json::from_str(text)
    {
        candidates.push(value);
    }
    Ok(candidates)
}

fn given<E>(target: &Target, format: &'static str, read: std::result::Result<Value, E>) -> Result<Read>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let value = read.map_err(|source| Error::Parse {
        target: target.clone(),
        format,
        source: source.into(),
    })?;
    Ok(Read { value, assumed: None })
}

fn assume(schema: &Schema, target: &Target, text: &str) -> Result<Read> {
    let value = match schema.find(&target.address) {
        Found::Key(key) => key.kind.assume(text).ok_or_else(|| Error::Refused {
            target: target.clone(),
            reason: format!("{} is not of type {}", quoted(text), key.kind.name()),
            accepts: key.kind.accepts(),
        })?,
        Found::Group | Found::Unknown { .. } => match serde_json::from_str(text) {
            Ok(value @ (Value::Array(_) | Value::Object(_))) => value,
            _ => Value::from(text),
        },
    };
    Ok(Read {
        assumed: Some(type_name(&value)),
        value,
    })
}

/// The beginning of what was typed, for an error.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KeyPath, Name};
    use serde_json::json;

    fn target(component: &str, path: &str) -> Target {
        Target::key(&Name::new(component).unwrap(), &KeyPath::parse(path).unwrap()).unwrap()
    }

    fn assumed(component: &str, path: &str, text: &str) -> (Value, &'static str) {
        let read = read(Schema::standard(), &target(component, path), text, Format::Assumed).unwrap();
        (read.value, read.assumed.unwrap())
    }

    #[test]
    fn a_known_key_gives_the_type() {
        assert_eq!(assumed("fence", "max_containers", "7"), (json!(7), "integer"));
        assert_eq!(assumed("fence", "docker/privileged", "true"), (json!(true), "boolean"));
        assert_eq!(assumed("fence", "docker/image", "a:1"), (json!("a:1"), "string"));
        assert_eq!(
            assumed("fence", "docker/images", r#"["a","b"]"#),
            (json!(["a", "b"]), "struct")
        );
        assert_eq!(assumed("cluster", "name", "{}"), (json!("{}"), "string"));
    }

    #[test]
    fn elsewhere_lists_and_maps_of_json_are_structs_and_the_rest_is_text() {
        assert_eq!(assumed("x", "y", r#"{"a": [1]}"#), (json!({"a": [1]}), "struct"));
        assert_eq!(assumed("x", "y", "[1"), (json!("[1"), "string"));
        assert_eq!(assumed("x", "y", "3306"), (json!("3306"), "string"));
        assert_eq!(assumed("x", "y", "true"), (json!("true"), "string"));
    }

    #[test]
    fn text_that_is_not_of_the_keys_type_is_refused_with_what_is_accepted() {
        let error = read(
            Schema::standard(),
            &target("fence", "max_containers"),
            "many",
            Format::Assumed,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "fence max_containers refuses the value: \"many\" is not of type integer; \
             accepted: a whole number from 1 to 100000"
        );
    }

    #[test]
    fn a_given_type_is_not_assumed() {
        let one = read(Schema::standard(), &target("x", "y"), "\"2.6\"", Format::Json).unwrap();
        assert_eq!(
            one,
            Read {
                value: json!("2.6"),
                assumed: None
            }
        );
        let two = read(Schema::standard(), &target("x", "y"), "- a\n- 1\n", Format::Yaml).unwrap();
        assert_eq!(
            two,
            Read {
                value: json!(["a", 1]),
                assumed: None
            }
        );
        assert!(read(Schema::standard(), &target("x", "y"), "{", Format::Json).is_err());
        assert!(read(Schema::standard(), &target("x", "y"), "{", Format::Yaml).is_err());
    }

    #[test]
    fn an_entry_to_take_out_can_be_a_number() {
        assert_eq!(
            read_candidates(&target("x", "y"), "25", Format::Assumed).unwrap(),
            [json!("25"), json!(25)]
        );
        assert_eq!(
            read_candidates(&target("x", "y"), "25", Format::Json).unwrap(),
            [json!(25)]
        );
    }
}
