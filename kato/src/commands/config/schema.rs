//! `kato config schema`: which keys are known. Needs no tree.

use clap::Args;
use cluster::config::schema::{ComponentSchema, Found, Key, Schema, docs};
use cluster::config::{Component, KeyPath, LOCAL, Target};
use serde_json::{Value, json};

use super::problem;
use crate::commands::Context;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs, Table, Tone};

/// List the known keys, or explain one
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config schema                            All known keys
  kato config schema fence docker/image         All that is known of one")]
pub struct SchemaArgs {
    #[command(flatten)]
    format: FormatArgs,
    /// Print the page docs/config-keys.md
    #[arg(long, conflicts_with_all = ["json", "yaml", "component"])]
    markdown: bool,
    /// Only this component's keys
    #[arg(value_name = "COMPONENT")]
    component: Option<String>,
    /// Only this key
    #[arg(value_name = "KEY-PATH", requires = "component")]
    path: Option<String>,
}

/// Print what is known.
pub fn run(context: &Context, args: &SchemaArgs) -> Result<Exit> {
    let schema = Schema::standard();
    if args.markdown {
        context.ui.bytes(docs::markdown(schema).as_bytes())?;
        return Ok(Exit::Done);
    }
    let (address, keys) = keys(schema, args)?;
    if args.component.as_deref() == Some(LOCAL) {
        context.ui.say(&format!(
            "{LOCAL} holds this node's own values, which go before the cluster's. The component comes first in the \
             key: kato config set {LOCAL} fence/max_containers 20"
        ));
    }
    let is_one = matches!(schema.find(&address), Found::Key(_));
    match (args.format.format(), is_one, keys.as_slice()) {
        (Format::Text, true, [(component, key)]) => context.ui.bytes(explained(component, key).as_bytes())?,
        (Format::Text, ..) => context.ui.table(&table(&keys))?,
        (format, true, [(component, key)]) => context.ui.document(format, &described(component, key))?,
        (format, ..) => {
            let all: Vec<Value> = keys.iter().map(|(component, key)| described(component, key)).collect();
            context.ui.document(format, &all)?;
        }
    }
    Ok(Exit::Done)
}

type Known = (&'static ComponentSchema, &'static Key);

/// The known keys that are meant: at least one.
fn keys(schema: &'static Schema, args: &SchemaArgs) -> Result<(KeyPath, Vec<Known>)> {
    let target = match &args.component {
        None => KeyPath::root(),
        Some(component) => {
            let component = Component::new(component).map_err(problem::key)?;
            let path = KeyPath::parse(args.path.as_deref().unwrap_or("/")).map_err(problem::key)?;
            if component.as_str() == LOCAL {
                path
            } else {
                Target::key(&component, &path).map_err(problem::key)?.address
            }
        }
    };
    let address = schema.canonical(&target);
    let all = schema
        .components()
        .flat_map(|component| component.keys.iter().map(move |key| (component, key)));
    let within = |known: &Known| known.0.address(known.1).is_some_and(|known| known.is_within(&address));
    let keys: Vec<Known> = all.filter(within).collect();
    if keys.is_empty() {
        return Err(unknown(schema, &address));
    }
    Ok((address, keys))
}

fn unknown(schema: &Schema, address: &KeyPath) -> Error {
    let words = |address: &KeyPath| match address.split_first() {
        Some((component, path)) if !path.is_root() => format!("{component} {path}"),
        _ => address.to_string(),
    };
    let hint = match schema.find(address) {
        Found::Unknown { near: Some(near) } => format!("kato config schema {}", words(&near)),
        _ => "kato config schema".to_owned(),
    };
    Error::not_found(format!("{} is not a known key", words(address))).hint(hint)
}

fn table(keys: &[Known]) -> Table {
    let mut table = Table::new(["component", "key", "type", "default", "applies", "what it is"]);
    for (component, key) in keys {
        let (default, applies) = ((key.default)().to_string(), key.applies.as_str());
        table.row(
            Tone::Plain,
            [component.name, key.path, key.kind.name(), &default, applies, key.help],
        );
    }
    table
}

fn explained(component: &ComponentSchema, key: &Key) -> String {
    let aliases: String = key.aliases.iter().map(|alias| format!(" (also {alias})")).collect();
    let secret = if key.secret { ", secret" } else { "" };
    format!(
        "{} {}{aliases}: {}\ntype: {}{secret}\ndefault: {}\naccepted: {}\napplies: {}\n",
        component.name,
        key.path,
        key.help,
        key.kind.name(),
        (key.default)(),
        key.kind.accepts(),
        key.applies.as_str(),
    )
}

fn described(component: &ComponentSchema, key: &Key) -> Value {
    json!({
        "component": component.name,
        "key": key.path,
        "aliases": key.aliases,
        "type": key.kind.name(),
        "default": (key.default)(),
        "accepted": key.kind.accepts(),
        "applies": key.applies.as_str(),
        "secret": key.secret,
        "help": key.help,
    })
}
