//! The types a known key can have: how text without a type is read, what is checked, what is accepted in words. Pure.

use serde_json::Value;

use super::image;

/// The most names in a list of images.
const MAX_IMAGES: usize = 16;

/// Which values a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// true or false.
    Boolean,
    /// A whole number within limits.
    Integer { min: i64, max: i64 },
    /// As `Integer`, or 0, which means something of its own.
    ZeroOrInteger { min: i64, max: i64 },
    /// Text with a check; `accepts` says in words what passes.
    Text {
        check: fn(&str) -> Result<(), String>,
        accepts: &'static str,
    },
    /// An image name, or an ordered list of them: the first is the default, the others are fallbacks.
    Images,
}

impl Kind {
    /// The type in a word or two, for tables.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Integer { .. } | Kind::ZeroOrInteger { .. } => "integer",
            Kind::Text { .. } => "string",
            Kind::Images => "image or list of images",
        }
    }

    /// What is accepted, in words.
    pub fn accepts(&self) -> String {
        match self {
            Kind::Boolean => "true or false".to_owned(),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::ZeroOrInteger { min, max } => format!("0, or a whole number from {min} to {max}"),
            Kind::Text { accepts, .. } => (*accepts).to_owned(),
            Kind::Images => format!(
                "an image name such as registry.example.com:5000/team/image:tag, or a list of 1 to {MAX_IMAGES} of them"
            ),
        }
    }

    /// Read text that was given without a type. `None`: the text has no value of this type.
    pub fn assume(&self, text: &str) -> Option<Value> {
        match self {
            Kind::Boolean => text.parse().ok().map(Value::Bool),
            Kind::Integer { .. } | Kind::ZeroOrInteger { .. } => text.parse::<i64>().ok().map(Value::from),
            Kind::Text { .. } => Some(Value::from(text)),
            Kind::Images => match serde_json::from_str(text) {
                Ok(list @ Value::Array(_)) => Some(list),
                _ => Some(Value::from(text)),
            },
        }
    }

    /// Say why a value is refused.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        match (self, value) {
            (Kind::Boolean, Value::Bool(_)) => Ok(()),
            (Kind::ZeroOrInteger { .. }, Value::Number(number)) if number.as_i64() == Some(0) => Ok(()),
            (Kind::Integer { min, max } | Kind::ZeroOrInteger { min, max }, Value::Number(number)) => {
                match number.as_i64() {
                    Some(number) if number < *min => Err(format!("{number} is too small")),
                    Some(number) if number > *max => Err(format!("{number} is too large")),
                    Some(_) => Ok(()),
                    None => Err(format!("{number} is not a whole number that fits")),
                }
            }
            (Kind::Text { check, .. }, Value::String(text)) => check(text),
            (Kind::Images, Value::String(name)) => image::check(name),
            (Kind::Images, Value::Array(names)) => check_images(names),
            (_, other) => Err(format!("a value of type {} is not taken here", type_name(other))),
        }
    }
}

/// The name of a value's type, as warnings and refusals have it.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) | Value::Object(_) => "struct",
    }
}

fn check_images(names: &[Value]) -> Result<(), String> {
    if names.is_empty() || names.len() > MAX_IMAGES {
        return Err(format!("a list of {} images is not taken here", names.len()));
    }
    for (place, name) in names.iter().enumerate() {
        let Value::String(text) = name else {
            return Err(format!(
                "entry {} of the list is of type {}",
                place + 1,
                type_name(name)
            ));
        };
        image::check(text).map_err(|reason| format!("entry {} of the list: {reason}", place + 1))?;
        if names[..place].contains(name) {
            return Err(format!("{text} is in the list twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_without_a_type_takes_the_keys_type() {
        let integer = Kind::Integer { min: 0, max: 9 };
        assert_eq!(integer.assume("7"), Some(json!(7)));
        assert_eq!(integer.assume("seven"), None);
        assert_eq!(Kind::Boolean.assume("true"), Some(json!(true)));
        assert_eq!(Kind::Boolean.assume("yes"), None);
        assert_eq!(Kind::Images.assume("a:1"), Some(json!("a:1")));
        assert_eq!(Kind::Images.assume(r#"["a","b"]"#), Some(json!(["a", "b"])));
    }

    #[test]
    fn values_outside_the_limits_are_refused() {
        let integer = Kind::Integer { min: 1, max: 9 };
        assert_eq!(integer.check(&json!(1)), Ok(()));
        for value in [json!(0), json!(10), json!(1.5), json!("1"), json!(u64::MAX), json!([1])] {
            assert!(integer.check(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn zero_may_stand_apart_from_the_limits() {
        let integer = Kind::ZeroOrInteger { min: 8, max: 9 };
        for value in [json!(0), json!(8), json!(9)] {
            assert_eq!(integer.check(&value), Ok(()), "{value}");
        }
        for value in [json!(-1), json!(1), json!(7), json!(10), json!("0")] {
            assert!(integer.check(&value).is_err(), "{value}");
        }
        assert_eq!(integer.assume("0"), Some(json!(0)));
    }

    #[test]
    fn a_list_of_images_is_checked_name_by_name() {
        assert_eq!(Kind::Images.check(&json!(["a", "b:1"])), Ok(()));
        for value in [
            json!([]),
            json!(["a", 1]),
            json!(["a", "B"]),
            json!(["a", "a"]),
            json!({"a": 1}),
            json!("A B"),
        ] {
            assert!(Kind::Images.check(&value).is_err(), "{value}");
        }
    }
}
