//! How values are printed: a scalar bare, lists and maps as YAML, or as asked for.

use cluster::config::{KeyPath, LOCAL, Target, Tree};
use serde_json::Value;

use crate::error::Result;
use crate::ui::{Format, Ui};

/// Print a value for people and scripts alike: a scalar alone on its line, everything else as YAML.
pub fn plain(ui: &Ui, value: &Value) -> Result<()> {
    match value {
        Value::String(text) => ui.text(text),
        Value::Bool(_) | Value::Number(_) | Value::Null => ui.line(&value.to_string()),
        Value::Array(_) | Value::Object(_) => ui.document(Format::Yaml, value),
    }
}

/// Print a line of path and value for each leaf.
pub fn flat(ui: &Ui, target: &Target, leaves: &Tree) -> Result<()> {
    let above = if target.own { format!("/{LOCAL}") } else { String::new() };
    let line = |(path, value): (&KeyPath, &Value)| format!("{above}/{} {}\n", path.as_str(), on_one_line(value));
    let lines: String = leaves.within(&target.address).map(line).collect();
    ui.bytes(lines.as_bytes())
}

/// Text as it is unless it would break the line, everything else as JSON.
fn on_one_line(value: &Value) -> String {
    match value {
        Value::String(text) if !text.chars().any(char::is_control) => text.clone(),
        other => other.to_string(),
    }
}
