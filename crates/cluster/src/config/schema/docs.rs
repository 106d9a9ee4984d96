//! The page `docs/config-keys.md`, written from the schema, so that it cannot differ from it. Pure.

use std::fmt::Write;

use super::{ComponentSchema, Key, Schema};

/// The whole page.
pub fn markdown(schema: &Schema) -> String {
    let mut page = String::from(
        "# Config keys\n\n\
         Written by `kato config schema --markdown`; change the schema in `crates/cluster`, not this page.\n\n\
         Set a key for all nodes with `kato config set COMPONENT KEY VALUE`, for this node alone with\n\
         `kato config set local COMPONENT/KEY VALUE`. *live*: a change applies at once. *needs restart*: it applies when the\n\
         component's process starts the next time (`kato process restart COMPONENT`).\n",
    );
    for component in schema.components() {
        section(&mut page, component);
    }
    page.push_str(
        "\n## `local`\n\nThis node's own values of the keys above, which go before the realm's and the cluster's; the component\n\
         comes first in the path: `local fence/docker/image`.\n",
    );
    page
}

fn section(page: &mut String, component: &ComponentSchema) {
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## `{}`\n\n{}\n\n| key | type | default | accepted | applies | |\n|---|---|---|---|---|---|\n",
        component.name,
        capitalised(component.help)
    );
    for key in component.keys {
        row(page, key);
    }
}

fn row(page: &mut String, key: &Key) {
    let aliases: String = key.aliases.iter().map(|alias| format!(" (also `{alias}`)")).collect();
    let secret = if key.secret { ", secret" } else { "" };
    let _ = writeln!(
        page,
        "| `{}`{aliases} | {}{secret} | `{}` | {} | {} | {} |",
        key.path,
        key.kind.name(),
        (key.default)(),
        key.kind.accepts(),
        key.applies.as_str(),
        key.help,
    );
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).chain(['.']).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_one_the_schema_gives() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config-keys.md");
        let shipped = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            shipped == markdown(Schema::standard()),
            "docs/config-keys.md differs from the schema; write it anew with: \
             cargo run -p kato -- config schema --markdown > docs/config-keys.md"
        );
    }
}
