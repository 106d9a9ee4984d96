//! Spoilt input for all here that reads bytes from outside: nothing panics, and what is let through is within its bounds.

use proptest::prelude::*;

use crate::accounts::Holder;
use crate::archive::File;
use crate::ignore::Ignore;
use crate::manifest::{DOCKER_IMAGE, DOCKER_INDEX, Held, Manifest, OCI_INDEX};
use crate::platform::Platform;
use crate::{names, token};

fn samples(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn manifests() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let part = format!(r#"{{"mediaType": "x", "size": 7, "digest": "{digest}"}}"#);
    let entry = format!(
        r#"{{"mediaType": "x", "size": 7, "digest": "{digest}", "platform": {{"architecture": "arm", "os": "linux", "variant": "v7"}}}}"#
    );
    samples(&[
        &format!(
            r#"{{"schemaVersion": 2, "mediaType": "{DOCKER_IMAGE}", "config": {part}, "layers": [{part}, {part}]}}"#
        ),
        &format!(r#"{{"schemaVersion": 2, "mediaType": "{DOCKER_INDEX}", "manifests": [{entry}, {part}]}}"#),
        &format!(r#"{{"schemaVersion": 2, "manifests": [{entry}]}}"#),
    ])
}

/// A tar file of two small parts and a link.
fn archive() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    std::fs::create_dir_all(top.join("blobs/sha256")).unwrap();
    std::fs::write(top.join("index.json"), r#"{"manifests": []}"#).unwrap();
    std::fs::write(top.join("blobs/sha256/aa"), "content").unwrap();
    std::os::unix::fs::symlink("blobs/sha256/aa", top.join("link")).unwrap();
    let tar = std::process::Command::new("tar")
        .arg("-C")
        .arg(&top)
        .args(["-cf", "-", "."])
        .output()
        .unwrap();
    assert!(tar.status.success());
    tar.stdout
}

proptest! {
    #[test]
    fn a_spoilt_manifest_is_read_or_refused(bytes in hostile::spoilt(manifests())) {
        for kind in [DOCKER_IMAGE, OCI_INDEX, ""] {
            if let Ok(held) = Held::read("x", kind, bytes.clone()) {
                let parts = match &held.manifest {
                    Manifest::Image { layers, .. } => layers.len(),
                    Manifest::Index { manifests } => manifests.len(),
                };
                prop_assert!(parts <= 512);
                prop_assert_eq!(&held.digest, &crate::manifest::digest(&bytes));
            }
        }
    }

    #[test]
    fn a_spoilt_scope_gives_a_node_nothing_but_pulls(text in hostile::spoilt_text(samples(&[
        "repository:team/app:pull,push", "registry:catalog:* repository:a:delete",
    ]))) {
        let node = Holder::Node(uuid::Uuid::from_u128(1));
        let granted = token::granted(token::asked(&[text]), &node);
        let said = serde_json::to_value(&granted).unwrap();
        for access in said.as_array().unwrap() {
            prop_assert_eq!(&access["actions"].as_array().unwrap().iter().filter(|action| *action != "pull").count(), &0);
            prop_assert_eq!(&access["type"], "repository");
        }
    }

    #[test]
    fn a_spoilt_name_of_an_account_is_one_or_nobodys(text in hostile::spoilt_text(samples(&[
        "node-00000000-0000-0000-0000-000000000001", "admin-alice",
    ]))) {
        if let Some(holder) = Holder::of(&text) {
            prop_assert_eq!(holder.to_string(), text);
        }
    }

    #[test]
    fn spoilt_names_platforms_and_patterns_are_read_or_refused(text in hostile::spoilt_text(samples(&[
        "core:5000/team/app:cpy-slim-arm64", "linux/arm/v7", "**/a*?b\n!x/y\n#c", "[a-c]\\*[^x]\n!**z/**",
    ]))) {
        if let Ok(name) = names::full(&text, "core:5000") {
            let _ = (names::platform(&name), names::repository(&name));
        }
        let _ = text.parse::<Platform>();
        if let Ok(ignore) = Ignore::read(text.as_bytes()) {
            ignore.is_out(b"a/b/c");
        }
    }
}

#[test]
fn a_spoilt_archive_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig::with_cases(64);
    proptest::test_runner::TestRunner::new(config)
        .run(&hostile::spoilt(vec![archive()]), |bytes| {
            std::fs::write(&path, &bytes).unwrap();
            runtime.block_on(async {
                if let Ok(file) = File::open(&path).await {
                    for name in ["index.json", "blobs/sha256/aa", "link", "../../etc/passwd"] {
                        let read = file.whole(name);
                        prop_assert!(read.is_err() || read.unwrap().len() <= bytes.len());
                        let _ = file.digest(name).await;
                    }
                }
                Ok(())
            })
        })
        .unwrap();
}
