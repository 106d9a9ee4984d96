//! What a shell is told that can follow on kato's command line: by bash itself, with the script that kato prints.

use std::path::Path;
use std::process::Command;

use crate::cluster::{alive, with_a_dead_one};
use crate::harness::Machine;

/// Completes its arguments as bash does when TAB is pressed after them.
const BASH: &str = r#"
    source <(kato completion bash)
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
    _clap_complete_kato kato "${!#}"
    printf '%s\n' "${COMPREPLY[@]}"
"#;

/// What is offered for the last word of the line, which may be empty, options only where one is begun; nobody is complained to.
fn offered(machine: &Machine, line: &str) -> Vec<String> {
    let kato = machine.command([""; 0]);
    let directory = Path::new(kato.get_program()).parent().expect("kato is in a directory");
    let path = std::env::var("PATH").expect("a path");
    let output = Command::new("bash")
        .args(["-c", BASH, "bash"])
        .args(line.split(' '))
        .env("PATH", format!("{}:{path}", directory.display()))
        .env("KATO_ROOT", machine.root())
        .current_dir(machine.root())
        .output()
        .expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    let said = String::from_utf8_lossy(&output.stdout);
    let is_option = |word: &str| word.starts_with('-');
    let begun = is_option(line.rsplit(' ').next().unwrap_or_default());
    let all = said
        .lines()
        .filter(|offer| !offer.is_empty() && (begun || !is_option(offer)));
    all.map(str::to_owned).collect()
}

#[test]
fn commands_options_and_names_of_nodes_and_realms_are_offered() {
    let node = alive();
    with_a_dead_one(&node);
    assert_eq!(node.kato("realm create eu").code(), 0);
    let offered = |line: &str| offered(&node.0, line);
    assert!(offered("kato node re").contains(&"retire".to_owned()));
    assert!(offered("kato node list --js").contains(&"--json".to_owned()));
    for line in [
        "kato config get -n ",
        "kato process restart -n ",
        "kato node remove ",
        "kato node retire --node ",
    ] {
        assert_eq!(offered(line), ["one", "two"], "{line}");
    }
    assert_eq!(offered("kato status -n t"), Vec::<String>::new());
    assert_eq!(offered("kato role add -n t"), ["two"]);
    assert_eq!(offered("kato realm show "), ["default", "eu"]);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let line = format!("kato --root {} node unpair ", elsewhere.path().display());
    assert_eq!(offered(&line), Vec::<String>::new());
}

#[test]
fn nothing_is_offered_and_nothing_said_where_there_is_no_node() {
    let machine = Machine::new();
    assert_eq!(offered(&machine, "kato node remove "), Vec::<String>::new());
    let mut asked = machine.command(["--", "kato", "node", "remove", ""]);
    let output = asked.env("KATO_COMPLETE", "no shell").output().expect("kato runs");
    assert!(
        output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}
