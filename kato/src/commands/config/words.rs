//! Changes and differences in words: which key, in which layer, which values.

use cluster::config::history::Unreadable;
use cluster::config::tree::Change;
use cluster::config::{Difference, KeyPath, Scope, Target};
use serde_json::Value;

use crate::error::Result;
use crate::ui::{Tone, Ui};

/// How much of a value fits a line that tells of a change, in characters.
const SHOWN: usize = 200;
/// How many changes that cannot be read are named one by one.
const MOST_UNREADABLE: usize = 10;

/// A key as commands take it, and whose it is.
pub fn key(scope: &Scope, path: &KeyPath) -> String {
    let target = Target {
        scope: scope.clone(),
        address: path.clone(),
        own: false,
    };
    target.to_string()
}

/// A change on one line: the key, the old value and the new one, each cut where it is long.
pub fn change(scope: &Scope, change: &Change) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or("(not set)".to_owned(), |value| cut(text(value)));
    format!(
        "{}: {} -> {}",
        key(scope, &change.path),
        value(&change.old),
        value(&change.new)
    )
}

/// Print a line for each old value and one for each new one.
pub fn differences(ui: &Ui, differences: &[Difference]) -> Result<()> {
    for Difference { scope, change } in differences {
        let key = key(scope, &change.path);
        if let Some(old) = &change.old {
            ui.tinted(Tone::Bad, &format!("- {key}: {}", text(old)))?;
        }
        if let Some(new) = &change.new {
            ui.tinted(Tone::Good, &format!("+ {key}: {}", text(new)))?;
        }
    }
    Ok(())
}

/// Warn of changes of which nothing else can be said.
pub fn unreadable(ui: &Ui, unreadable: &[Unreadable]) {
    for Unreadable {
        number,
        revision,
        reason,
    } in unreadable.iter().take(MOST_UNREADABLE)
    {
        ui.warn(&format!(
            "change {number} of the history (written at revision {revision}) cannot be read and is left out: {reason}"
        ));
    }
    if let more @ 1.. = unreadable.len().saturating_sub(MOST_UNREADABLE) {
        ui.warn(&format!("{more} more changes cannot be read and are left out"));
    }
}

/// A value on one line: text as it is where it cannot be taken for something else, all the rest as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && !text.starts_with('(')
        && !text.chars().any(char::is_control)
        && serde_json::from_str::<Value>(text).is_err()
}

fn cut(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_can_be_taken_for_no_other() {
        for (value, expected) in [
            (json!("exampleco/newimg:1"), "exampleco/newimg:1"),
            (json!("7"), "\"7\""),
            (json!(7), "7"),
            (json!(""), "\"\""),
            (json!("true"), "\"true\""),
            (json!("(not set)"), "\"(not set)\""),
            (json!("a\nb"), "\"a\\nb\""),
            (json!(["a", 1]), "[\"a\",1]"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(cut("é".repeat(SHOWN + 1)), format!("{}…", "é".repeat(SHOWN)));
        assert_eq!(cut("é".repeat(SHOWN)), "é".repeat(SHOWN));
    }
}
