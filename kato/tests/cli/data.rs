//! `kato data`: a document that another node takes in, and every one that is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::config::{config, node, printed, unchanged};
use crate::harness::{Machine, Ran};

fn data(machine: &Machine, verb: &str, options: &[&str], file: &Path) -> Ran {
    let file = file.display().to_string();
    machine.kato(
        ["data", verb]
            .into_iter()
            .chain(options.iter().copied())
            .chain([file.as_str()]),
    )
}

/// A node on which something is set in two layers.
fn changed() -> Machine {
    let node = node();
    printed(config(&node, "set fence docker/image ours:1"));
    printed(config(&node, "set local fence/max_containers 8"));
    printed(config(&node, "set fence registry/password hunter2"));
    node
}

/// A passphrase, in a file.
fn passphrase(node: &Machine, text: &str) -> String {
    let file = node.root().join("passphrase");
    fs::write(&file, format!("{text}\n")).expect("a file");
    file.display().to_string()
}

/// The configuration's part of a document, whenever it was written; what is encrypted is never the same.
fn tree(document: &str) -> String {
    let lines = document.lines().skip_while(|line| *line != "tree:");
    lines
        .filter(|line| !line.starts_with("  salt:") && !line.starts_with("  sealed:"))
        .filter(|line| !line.contains("revision:"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_document_has_all_layers_and_no_secrets_unless_they_are_asked_for() {
    let node = changed();
    let exported = node.kato(["data", "export"]);
    insta::assert_snapshot!(tree(&printed(exported)), @"
    tree:
      secrets: left-out
      cluster:
        fence:
          docker:
            image: ours:1
      realms: {}
      nodes:
        one:
          fence:
            max_containers: 8
    inventory: null
    ");
    let stderr = node.kato(["data", "export", "-"]).stderr();
    assert!(
        stderr.contains("WARNING: The containers are not described: cannot reach fence"),
        "{stderr}"
    );
    assert!(stderr.contains("Secrets left out: 1; --with-secrets"), "{stderr}");
    insta::assert_snapshot!(node.kato(["data", "export", "--with-secrets"]), @"
    exit: 3
    ---- stderr
    kato: the secrets need a passphrase, and there is no terminal to ask for it
    hint: --passphrase-file FILE
    ");
    let file = passphrase(&node, "correct horse");
    let sealed = node.kato(["data", "export", "--passphrase-file", &file]);
    assert!(
        sealed.stdout().contains("\nsealed:\n") && sealed.stdout().contains("  count: 1\n"),
        "{sealed}"
    );
    assert!(
        !sealed.stdout().contains("hunter2") && !sealed.stdout().contains("password:"),
        "{sealed}"
    );
    assert!(!sealed.stderr().contains("left out"), "{sealed}");
    let piped = node.kato_reading(b"correct horse\n", ["data", "export", "--passphrase-file", "-"]);
    assert_eq!(tree(&piped.stdout()), tree(&sealed.stdout()));
    for wrong in ["short", &"x".repeat(2000)] {
        let file = passphrase(&node, wrong);
        let refused = node.kato(["data", "export", "--passphrase-file", &file]);
        assert_eq!((refused.code(), refused.stdout().as_str()), (3, ""));
    }
    assert_eq!(node.kato(["data", "export", "--passphrase-file", "/nowhere"]).code(), 4);
}

#[test]
fn a_wrong_passphrase_changes_nothing() {
    let (one, other) = (changed(), node());
    let file = one.root().join("backup.yml");
    let right = passphrase(&one, "correct horse");
    printed(data(&one, "export", &["--passphrase-file", &right], &file));
    let wrong = passphrase(&other, "correct house");
    insta::assert_snapshot!(unchanged(&other, || data(&other, "import", &["--passphrase-file", &wrong], &file)), @"
    exit: 3
    ---- stderr
    kato: the passphrase is not the one of this document, or the document is damaged
    ");
    insta::assert_snapshot!(unchanged(&other, || data(&other, "import", &[], &file)), @"
    exit: 3
    ---- stderr
    kato: the secrets need a passphrase, and there is no terminal to ask for it
    hint: --passphrase-file FILE, or --without-secrets
    ");
    let document = fs::read_to_string(&file).expect("a file");
    let costly = other.root().join("costly.yml");
    fs::write(&costly, document.replace("memory_kib: 65536", "memory_kib: 4294967295")).expect("a file");
    let refused = unchanged(&other, || {
        data(&other, "import", &["--passphrase-file", &right], &costly)
    });
    assert!(refused.code() == 3 && refused.stderr().contains("bounds"), "{refused}");
    let both = other.kato(["data", "import", "--passphrase-file", "-", "-"]);
    assert_eq!(both.code(), 2);
    let without = data(&other, "import", &["--without-secrets"], &file);
    assert!(
        without.code() == 0 && !without.stdout().contains("password"),
        "{without}"
    );
}

#[test]
fn a_file_is_for_its_owner_alone_and_not_overwritten() {
    let node = changed();
    let file = node.root().join("backup.yml");
    let first = data(&node, "export", &[], &file);
    assert!(first.stdout().is_empty() && first.code() == 0, "{first}");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let before = fs::read(&file).expect("a file");
    insta::assert_snapshot!(data(&node, "export", &[], &file), @"
    exit: 3
    ---- stderr
    kato: <root>/backup.yml is there already
    hint: replace it with --force
    ");
    assert_eq!(fs::read(&file).expect("a file"), before);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    assert_eq!(data(&node, "export", &["--force"], &file).code(), 0);
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let link = node.root().join("link.yml");
    symlink(&file, &link).expect("a link");
    for odd in [node.root(), &link] {
        let refused = data(&node, "export", &["--force"], odd);
        assert!(
            refused.code() == 3 && refused.stderr().contains("is not a file"),
            "{refused}"
        );
    }
    assert_eq!(
        data(&node, "export", &[], &node.root().join("no/such/directory/file")).code(),
        1
    );
}

#[test]
fn what_was_exported_is_the_same_on_another_node() {
    let (one, other) = (changed(), node());
    let file = one.root().join("backup.yml");
    let pass = passphrase(&one, "correct horse");
    let with = ["--passphrase-file", pass.as_str()];
    printed(data(&one, "export", &with, &file));
    insta::assert_snapshot!(unchanged(&other, || data(&other, "import", &[with[0], with[1], "--dry-run"], &file)), @"
    exit: 0
    ---- stdout
    + fence docker/image: ours:1
    + fence registry/password: [redacted]
    + fence max_containers of node one: 8
    ---- stderr
    WARNING: fence registry/password is not a known key
    This would be changed; nothing was
    ");
    insta::assert_snapshot!(data(&other, "import", &with, &file), @"
    exit: 0
    ---- stdout
    + fence docker/image: ours:1
    + fence registry/password: [redacted]
    + fence max_containers of node one: 8
    ---- stderr
    WARNING: fence registry/password is not a known key
    The configuration is at revision 1 now
    ");
    let again = printed(other.kato(["data", "export", with[0], with[1]]));
    assert_eq!(tree(&again), tree(&fs::read_to_string(&file).expect("a file")));
    insta::assert_snapshot!(unchanged(&other, || data(&other, "import", &with, &file)), @"
    exit: 0
    ---- stderr
    WARNING: fence registry/password is not a known key
    Nothing to do: the configuration is as the document says
    ");
    let history = config(&other, "history -j").json();
    assert_eq!(
        history.as_array().map(Vec::len),
        Some(2),
        "a record for each layer: {history}"
    );
    assert_eq!(history[0]["revision"], history[1]["revision"]);
}

#[test]
fn what_is_set_is_shown_and_kept_unless_forced() {
    let (one, other) = (changed(), node());
    let document = printed(one.kato(["data", "export"]));
    printed(config(&other, "set fence docker/image theirs:1"));
    printed(config(&other, "set fence registry/password secret"));
    printed(config(&other, "set fence ports/first 60000"));
    let import = |options: &[&str]| {
        let args = ["data", "import"]
            .into_iter()
            .chain(options.iter().copied())
            .chain(["-"]);
        other.kato_reading(document.as_bytes(), args)
    };
    insta::assert_snapshot!(unchanged(&other, || import(&[])), @"
    exit: 3
    ---- stdout
    - fence docker/image: theirs:1
    + fence docker/image: ours:1
    - fence ports/first: 60000
    + fence max_containers of node one: 8
    ---- stderr
    kato: 2 of the values that are set would be replaced or removed
    hint: do so with --force; --dry-run shows what would be changed
    ");
    insta::assert_snapshot!(import(&["--force"]), @"
    exit: 0
    ---- stdout
    - fence docker/image: theirs:1
    + fence docker/image: ours:1
    - fence ports/first: 60000
    + fence max_containers of node one: 8
    ---- stderr
    The configuration is at revision 4 now
    Some of it applies after: kato process restart fence
    ");
    assert_eq!(printed(config(&other, "get fence docker/image")), "ours:1\n");
    assert_eq!(
        printed(config(&other, "get --reveal fence registry/password")),
        "secret\n",
        "left out, so it stays"
    );
    // The way back is the history's.
    printed(config(&other, "rollback 3"));
    assert_eq!(printed(config(&other, "get fence docker/image")), "theirs:1\n");
}

#[test]
fn a_bad_document_changes_nothing_and_is_told() {
    let (one, other) = (changed(), node());
    let good = printed(one.kato(["data", "export"]));
    for (document, code, expected) in [
        (String::new(), 3, "this is no document of kato data export"),
        ("a: [".to_owned(), 3, "this is no document of kato data export"),
        (
            good.replace("version: 1", "version: 7"),
            3,
            "the document has version 7, and this kato knows versions up to 1",
        ),
        (
            good.replace("image: ours:1", "image: Not An Image"),
            3,
            "fence docker/image refuses the value",
        ),
        (
            good.replace("max_containers: 8", "max_containers: x"),
            3,
            "fence max_containers of node one refuses the value",
        ),
        (
            good.replace("max_containers: 8", "max_containers: 8\n        max_containers: 9"),
            3,
            "duplicate",
        ),
        (format!("{good}more: 1\n"), 3, "unknown field `more`"),
    ] {
        let refused = unchanged(&other, || {
            other.kato_reading(document.as_bytes(), ["data", "import", "--force", "-"])
        });
        assert!(
            refused.code() == code && refused.stderr().contains(expected),
            "{expected}: {refused}"
        );
        assert!(refused.stdout().is_empty(), "{refused}");
    }
    let large = other.root().join("large.yml");
    fs::File::create(&large)
        .and_then(|file| file.set_len(17 << 20))
        .expect("a file");
    insta::assert_snapshot!(data(&other, "import", &[], &large), @"
    exit: 3
    ---- stderr
    kato: a document has at most 16777216 bytes
    ");
    fs::write(&large, [0xff, 0xfe]).expect("a file");
    assert!(
        data(&other, "import", &[], &large)
            .stderr()
            .contains("the document is not text")
    );
    insta::assert_snapshot!(data(&other, "import", &[], &other.root().join("nothing.yml")), @"
    exit: 4
    ---- stderr
    kato: could not read <root>/nothing.yml: No such file or directory (os error 2)
    ");
    assert_eq!(other.kato(["data", "import"]).code(), 2);
}

#[test]
fn what_is_too_much_for_one_step_is_carried_in_parts_when_asked() {
    let (one, other) = (node(), node());
    for component in ["x", "y", "z"] {
        let keys: Vec<String> = (0..90).map(|key| format!("\"k{key}\":{key}")).collect();
        printed(config(
            &one,
            &format!("set --json {component} / {{{}}}", keys.join(",")),
        ));
    }
    let file = one.root().join("backup.yml");
    let exported = data(&one, "export", &[], &file);
    let expected = "WARNING: The document has 270 keys; kato data import takes more than 110 only with --in-parts";
    assert!(exported.stderr().contains(expected), "{exported}");
    insta::assert_snapshot!(unchanged(&other, || data(&other, "import", &[], &file)), @"
    exit: 3
    ---- stderr
    kato: more than 110 changed keys in one command are not possible
    hint: take it in with --in-parts, in several steps
    ");
    assert_eq!(data(&other, "import", &["--dry-run"], &file).code(), 3);
    let planned = unchanged(&other, || data(&other, "import", &["--in-parts", "--dry-run"], &file));
    let done = data(&other, "import", &["--in-parts"], &file);
    assert_eq!((done.code(), done.stdout()), (0, planned.stdout()), "{done}");
    assert!(
        done.stderr().contains("The configuration is at revision 3 now"),
        "{done}"
    );
    let all = |machine: &Machine| tree(&machine.kato(["data", "export"]).stdout());
    assert_eq!(all(&other), all(&one));
    let again = data(&other, "import", &["--in-parts"], &file);
    assert!(again.stderr().contains("Nothing to do"), "{again}");
    // The way back is as long.
    insta::assert_snapshot!(config(&other, "rollback 0"), @"
    exit: 3
    ---- stderr
    kato: more than 110 changed keys in one command are not possible
    hint: a part at a time: kato config rollback 0 COMPONENT KEY-PATH
    ");
    assert_eq!(config(&other, "rollback 0 y").code(), 0);
}
