//! A node's configuration carried to another node, with a description of what it ran.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tests::harness::{LIMIT, Node, OnTerminal, base_image};

type Story = anyhow::Result<()>;

/// The configuration in a document, whenever and wherever it was written.
fn tree(document: &str) -> Vec<&str> {
    let tree = document.lines().skip_while(|line| *line != "tree:");
    let tree = tree.take_while(|line| !line.starts_with("sealed:") && !line.starts_with("inventory:"));
    tree.filter(|line| !line.trim().starts_with("revision:")).collect()
}

#[test]
fn what_one_node_exports_another_imports_and_exports_the_same() -> Story {
    let (one, other) = (Node::fence_only(), Node::fence_only());
    one.kato(&["config", "set", "fence", "docker/image", &base_image()])
        .ok();
    one.kato(&["config", "set", "local", "fence/max_containers", "12"]).ok();
    one.kato(&["config", "set", "fence", "registry/password", "hunter2"])
        .ok();
    one.kato(&[
        "config",
        "set",
        "-j",
        "x",
        "/",
        r#"{"a": [1, 2.5, "on"], "b": {"c": {}}}"#,
    ])
    .ok();
    let container = [
        "container",
        "create",
        "--handle",
        "web",
        "-p",
        "8080",
        "-e",
        "TOKEN=hunter3",
    ];
    one.kato(&[&container[..], &["--property", "app=shop", "--start"]].concat())
        .ok();
    let file = one.root().join("backup.yml").display().to_string();
    let passphrase = one.root().join("passphrase").display().to_string();
    fs::write(&passphrase, "correct horse\n")?;
    let with = ["--passphrase-file", passphrase.as_str()];
    one.kato(&["data", "export", with[0], with[1], &file]).ok();
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let exported = fs::read_to_string(&file)?;
    for part in [
        "handle: web",
        "container_port: 8080",
        "app: shop",
        "memory_bytes:",
        "state: active",
        "sealed:",
    ] {
        assert!(exported.contains(part), "{part} in\n{exported}");
    }
    assert!(
        !exported.contains("hunter"),
        "in the open is neither a secret nor an environment:\n{exported}"
    );

    // The other node has ports of its own, so there is something to lose.
    let before = other.kato(&["config", "get", "-f"]).ok();
    let refused = other.kato(&["data", "import", with[0], with[1], &file]).expect_code(3);
    assert!(refused.err().contains("--force") && refused.out().contains("- fence ports/first"));
    assert_eq!(other.kato(&["config", "get", "-f"]).ok(), before);
    let done = other
        .kato(&["data", "import", with[0], with[1], "--force", &file])
        .expect_code(0);
    assert!(done.err().contains("Containers described: 1"), "{}", done.err());
    let again = other.kato(&["data", "export", with[0], with[1]]).ok();
    assert_eq!(tree(&again), tree(&exported));
    assert!(
        other.kato(&["container", "list", "-q"]).ok().is_empty(),
        "none was made"
    );
    assert_eq!(
        other
            .kato(&["config", "get", "--reveal", "fence", "registry/password"])
            .ok(),
        "hunter2\n"
    );
    assert!(!done.out().contains("hunter2") && !done.err().contains("hunter2"));
    Ok(())
}

#[test]
fn without_fence_the_configuration_is_exported_all_the_same() -> Story {
    let node = Node::fence_only();
    node.kato(&["container", "create", "--handle", "web"]).ok();
    node.stop_fence();
    let exported = node.kato(&["data", "export"]).expect_code(0);
    assert!(exported.out().contains("\ninventory: null\n"), "{}", exported.out());
    assert!(exported.err().contains("WARNING: The containers are not described"));
    node.start_fence();
    let exported = node.kato(&["data", "export"]).expect_code(0);
    assert!(
        exported.out().contains("handle: web") && exported.err().is_empty(),
        "{}",
        exported.err()
    );
    Ok(())
}

#[test]
fn a_passphrase_is_typed_on_the_terminal_and_not_shown() -> Story {
    let node = Node::fence_only();
    node.kato(&["config", "set", "fence", "registry/password", "hunter2"])
        .ok();
    let file = node.root().join("backup.yml").display().to_string();
    let typed = |args: &[&str], answers: &[(&str, &str)]| {
        let mut terminal = OnTerminal::start(&node.kato_command(args), 100, 30);
        for (question, answer) in answers {
            terminal.wait_for(question);
            terminal.type_in(&format!("{answer}\n"));
        }
        terminal.wait(LIMIT)
    };
    let (first, again) = ("New passphrase for the secrets:", "The same again:");
    let export = ["data", "export", "--with-secrets", &file];
    let (code, screen) = typed(&export, &[(first, "correct horse"), (again, "correct house")]);
    assert!(code == 3 && screen.contains("are not the same"), "{screen}");
    let (code, screen) = typed(&export, &[(first, "correct\u{3}")]);
    assert!(code == 1 && screen.contains("interrupted"), "{screen}");
    let (code, screen) = typed(&export, &[(first, "correct horse"), (again, "correct horse")]);
    assert!(code == 0 && !screen.contains("horse"), "{screen}");

    node.kato(&["config", "set", "fence", "registry/password", "other"])
        .ok();
    let (import, question) = (["data", "import", "--force", &file], "Passphrase of the secrets:");
    let (code, screen) = typed(&import, &[(question, "correct house")]);
    assert!(code == 3 && !screen.contains("house"), "{screen}");
    let revealed = ["config", "get", "--reveal", "fence", "registry/password"];
    assert_eq!(node.kato(&revealed).ok(), "other\n");
    let (code, screen) = typed(&import, &[(question, "correct horse")]);
    assert_eq!(code, 0, "{screen}");
    assert_eq!(node.kato(&revealed).ok(), "hunter2\n");
    Ok(())
}
