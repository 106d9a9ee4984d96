//! The daemon's fault points, as its sources list them, and what load comes by them.

use std::fs;

use crate::harness::workspace;

/// What the clients should do more of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Favour {
    pub deed: Option<Deed>,
    pub ports: Ports,
    pub image: Image,
    /// There have to be containers before, since the daemon never comes to make any.
    pub populated: bool,
    /// The last time that the point may be passed before it is fatal.
    pub hits: u64,
}

/// Something that a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Create,
    Destroy,
    Run,
    Sleep,
    Start,
    StartInVain,
    Stop,
    NetIn,
    Property,
}

/// All deeds, for the load that is the same everywhere.
pub const DEEDS: [Deed; 9] = [
    Deed::Create,
    Deed::Destroy,
    Deed::Run,
    Deed::Sleep,
    Deed::Start,
    Deed::StartInVain,
    Deed::Stop,
    Deed::NetIn,
    Deed::Property,
];

/// Whether containers get ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    #[default]
    Some,
    All,
    None,
}

/// What happens to the configured image meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Image {
    #[default]
    Changes,
    /// All the time.
    Restless,
    Missing,
}

/// Operations that no load leads to: what comes back after the machine was started anew is told in stories of its own.
const BEYOND_LOAD: &[&str] = &["comeback/", "pea/"];

/// Every point that the load leads to, in the order of the sources.
pub fn all() -> Vec<String> {
    let path = workspace().join("fence/src/fault.rs");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()));
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix("(\""));
    let names = rows.filter_map(|row| Some(row.split_once("\", \"")?.0.to_owned()));
    let is_within = |name: &String| name.contains('/') && !BEYOND_LOAD.iter().any(|beyond| name.starts_with(beyond));
    names.filter(is_within).collect()
}

/// What load leads the daemon to this point.
pub fn favour(point: &str) -> Favour {
    let (operation, step) = point.split_once('/').unwrap_or((point, ""));
    let mut favour = Favour {
        hits: 2,
        ..Favour::default()
    };
    favour.deed = match (operation, step) {
        ("create" | "boot", _) => Some(Deed::Create),
        ("destroy", _) | ("inventory", "removing" | "removed") => Some(Deed::Destroy),
        ("start", "undone") => Some(Deed::StartInVain),
        ("start", _) => Some(Deed::Start),
        ("stop", _) => Some(Deed::Stop),
        ("run", _) => Some(Deed::Run),
        ("inventory", _) => Some(Deed::Property),
        ("ports" | "rules", _) => Some(Deed::NetIn),
        _ => None,
    };
    favour.ports = match point {
        "create/ports-taken" | "create/rules-applied" | "destroy/rules-removed" => Ports::All,
        "rules/cleared" => Ports::None,
        _ => Ports::Some,
    };
    favour.image = match point {
        "image/pulling" => Image::Missing,
        _ if operation == "image" => Image::Restless,
        _ => Image::Changes,
    };
    favour.populated = operation == "adopt";
    favour.hits = match operation {
        "adopt" | "compare" => 1,
        "run" | "inventory" => 6,
        _ if favour.ports == Ports::None || favour.image == Image::Missing => 1,
        _ => 2,
    };
    favour
}
