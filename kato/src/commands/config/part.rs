//! Which part of the tree is meant: all of it, a component or a key, in all layers or in one.

use clap::Args;
use cluster::config::{Config, LOCAL, Part, Schema};

use super::{ScopeArgs, target};
use crate::commands::Context;
use crate::error::Result;

/// The part that is meant.
#[derive(Args, Debug)]
pub struct PartArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Only this component; local is this node's own values
    #[arg(value_name = "COMPONENT")]
    component: Option<String>,
    /// Only this key and what is below it
    #[arg(value_name = "KEY-PATH")]
    path: Option<String>,
}

impl PartArgs {
    /// What is meant, of all layers unless one is named.
    pub async fn part(&self, context: &Context, config: &Config) -> Result<Part> {
        let scope = self.scope.scope()?;
        self.scope.warn_if_absent(context, config).await;
        let Some(component) = &self.component else {
            return Ok(Part {
                scope,
                address: Default::default(),
            });
        };
        let path = self.path.as_deref().unwrap_or("/");
        let target = target(config.node(), scope.clone(), component, path)?;
        let scope = if component == LOCAL { Some(target.scope) } else { scope };
        Ok(Part {
            scope,
            address: Schema::standard().canonical(&target.address),
        })
    }

    /// As it was given, for the record of a change.
    pub fn given(&self) -> String {
        let words = [&self.component, &self.path].into_iter().flatten();
        let words: String = words.map(|word| format!(" {word}")).collect();
        format!("{}{words}", self.scope.given())
    }
}
