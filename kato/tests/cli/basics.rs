//! What holds for every command: help, usage errors, completion, manual pages, a reader that goes away.

use std::io::Read;
use std::process::Stdio;

use crate::harness::Machine;

#[test]
fn a_command_that_does_not_exist_is_wrong_usage_and_names_the_nearest() {
    insta::assert_snapshot!(Machine::new().kato(["completio"]), @"
    exit: 2
    ---- stderr
    error: unrecognized subcommand 'completio'

      tip: a similar subcommand exists: 'completion'

    Usage: kato [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn completion_scripts_exist_for_three_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Machine::new().kato(["completion", shell]);
        assert_eq!(ran.code(), 0, "{ran}");
        assert!(ran.stdout().contains("KATO_COMPLETE"), "{ran}");
    }
}

#[test]
fn the_manual_has_a_page_for_kato_and_for_each_command() {
    let machine = Machine::new();
    let directory = machine.root().join("man1");
    let ran = machine.kato(["man".as_ref(), directory.as_os_str()]);
    assert_eq!(ran.to_string(), "exit: 0\n");
    for page in ["kato.1", "kato-config-set.1", "kato-container-run.1"] {
        assert!(directory.join(page).is_file(), "{page} is missing");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let mut child = Machine::new()
        .command(["completion", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kato starts");
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("stderr is piped")
        .read_to_string(&mut said)
        .expect("stderr is text");
    assert_eq!(said, "");
    assert_eq!(child.wait().expect("kato ends").code(), Some(0));
}
