//! The status as people read it: the processes as a table, the rest as a line each, what is wrong at the end.

use super::model::Node;
use super::whole::Cluster;
use crate::commands::process;
use crate::error::Result;
use crate::fence_api::wire::ImageStatus;
use crate::ui::{Ui, plain};

/// Print the status of a node, and of its cluster where there are others.
pub fn print(ui: &Ui, node: &Node, cluster: &Cluster) -> Result<()> {
    let line = |text: &str| ui.line(&plain(text));
    let roles = node.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ");
    line(&format!("{} ({roles})", node.node))?;
    line("")?;
    ui.table(&process::table(&node.processes))?;
    line("")?;
    for (name, value) in facts(node) {
        line(&format!("{name:<11} {value}"))?;
    }
    line(&format!("{:<11} {}", "cluster", cluster.facts()))?;
    line("")?;
    if cluster.nodes.len() > 1 {
        ui.table(&cluster.table())?;
        line("")?;
    }
    for warning in &node.warnings {
        line(&format!("note: {warning}"))?;
    }
    if node.problems.is_empty() {
        return line("All is in order.");
    }
    line("Not in order:")?;
    for problem in &node.problems {
        line(&format!("- {}", problem.problem))?;
        if !problem.hint.is_empty() {
            line(&format!("  hint: {}", problem.hint))?;
        }
    }
    Ok(())
}

/// Of a node without containers there is nothing to say of what is for them.
fn facts(node: &Node) -> Vec<(&'static str, String)> {
    let Some(of_containers) = &node.image else {
        return vec![("config", format!("revision {}", said(node.config.latest)))];
    };
    vec![
        ("image", image(of_containers)),
        ("config", config(node.config.revision, node.config.latest)),
        ("engine", engine(node)),
        ("containers", containers(node)),
    ]
}

fn image(image: &ImageStatus) -> String {
    let configured = if image.configured.is_empty() {
        "unknown".to_owned()
    } else {
        image.configured.join(", ")
    };
    let state = match (image.state.as_str(), image.progress.as_str()) {
        ("", _) => String::new(),
        (state, "") => format!(", {state}"),
        (state, progress) => format!(", {state} {progress}"),
    };
    match image.in_use.as_str() {
        // Fence did not say.
        "" if image.state.is_empty() => format!("{configured} (in use: unknown)"),
        "" => format!("{configured} (none in use{state})"),
        in_use => format!("{configured} (in use: {in_use}{state})"),
    }
}

fn config(in_use: Option<u64>, latest: Option<u64>) -> String {
    format!("revision {} in use, {} latest", said(in_use), said(latest))
}

fn said(revision: Option<u64>) -> String {
    revision.map_or_else(|| "unknown".to_owned(), |revision| revision.to_string())
}

fn engine(node: &Node) -> String {
    let Some(view) = &node.engine else {
        return "unknown".to_owned();
    };
    let engine = &view.engine;
    if engine.state == "ok" {
        format!("{} {}", engine.name, engine.version)
    } else {
        engine.state.clone()
    }
}

fn containers(node: &Node) -> String {
    let Some(counts) = &node.containers else {
        return "unknown".to_owned();
    };
    let lost = if counts.lost > 0 {
        format!(", {} lost", counts.lost)
    } else {
        String::new()
    };
    format!(
        "{} active, {} stopped{lost}, {} of at most {}",
        counts.active, counts.stopped, counts.total, counts.max
    )
}
