//! The program as it is shipped: one file that needs nothing of the image it runs in.

use std::path::PathBuf;

use fence_init::protocol::*;

use crate::container::*;
use crate::peer::*;

/// The shipped program.
fn shipped() -> PathBuf {
    let build = "cargo rustc -p fence-init --bin fence-init --profile init -- -C target-feature=+crt-static";
    let path = std::env::var_os("FENCE_INIT").map(PathBuf::from);
    let path = path.unwrap_or_else(|| panic!("set FENCE_INIT to the static program, built with: {build}"));
    assert!(path.is_file(), "{} is missing, build it with: {build}", path.display());
    path
}

/// The kinds of an ELF file's program headers (64 bits, little-endian).
fn program_headers(elf: &[u8]) -> Vec<u32> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "an ELF file of 64 bits, little-endian");
    let number = |at: usize, size: usize| {
        elf[at..at + size]
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count)
        .map(|index| u32::try_from(number(table + index * size, 4)).unwrap())
        .collect()
}

#[test]
fn it_names_no_interpreter() {
    const LOAD: u32 = 1;
    const INTERPRETER: u32 = 3;
    let kinds = program_headers(&std::fs::read(shipped()).unwrap());
    assert!(kinds.contains(&LOAD) && !kinds.contains(&INTERPRETER), "{kinds:?}");
}

#[test]
fn it_runs_in_an_image_that_holds_nothing() {
    let (container, mut fence) = Container::start_empty(&shipped());
    let refused = fence.try_spawn(program("none", "sh", &[])).unwrap_err();
    assert_eq!(refused.message, "exec \"sh\": executable file not found in $PATH");
    let refused = fence.try_spawn(SpawnSpec {
        tty: Some(WindowSize { columns: 0, rows: 0 }),
        ..program("tty", "sh", &[])
    });
    assert_eq!(refused.unwrap_err().kind, FailureKind::System);
    // The one program there is: it says that it is not the first.
    let process = fence.spawn(SpawnSpec {
        user: "1000:1000".into(),
        dir: "/made/here".into(),
        ..program("self", "/fence-init", &[])
    });
    assert!(fence.text(&process, Stream::Stderr).contains("first process"));
    assert_eq!(fence.exit(&process), Exit::Code(1));
    eventually("nothing else lives", || fence.list().1 == 0);
    assert!(container.path("made/here").is_dir());
}
