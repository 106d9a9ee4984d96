//! A registry that is run by hand, over the fake engine and a tree in memory: what is in its image, and which one is taken.

use std::sync::Arc;

use cluster::config::Name;
use cluster::identity::{Ca, Certificate};
use cluster::nodes::{DockerSettings, Kind, Membership, NodeFile, Paths, Role};
use cluster::store::memory::MemoryStore;
use engine::fake::{Fake, Step};

use super::*;
use crate::gc;

fn author() -> Author {
    Author {
        who: "test".to_owned(),
        command: "login".to_owned(),
    }
}

async fn core(root: &Path, fake: &Fake) -> Core {
    let paths = Paths::from_root(Some(root));
    std::fs::create_dir_all(paths.pki()).unwrap();
    let ca = Ca::load_or_make(&paths.pki()).unwrap();
    let mut node = NodeFile::micro(&Name::new("core").unwrap(), DockerSettings::default());
    node.kind = Kind::Cluster;
    node.roles = vec![Role::Base, Role::Core];
    node.cluster = Some(Membership {
        core: "127.0.0.1:8443".to_owned(),
        ca: ca.fingerprint().to_string(),
    });
    let core = Core::with_engine(&paths, node, Arc::new(MemoryStore::new()), Arc::new(fake.clone())).unwrap();
    core.record("endpoint", "127.0.0.1".into(), &author()).await.unwrap();
    core
}

#[tokio::test]
async fn its_image_has_a_key_of_its_own_and_the_doors_name_is_certified() {
    let (root, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    let core = core(root.path(), &fake).await;
    let program = Path::new("/bin/busybox");
    let named = pack_program(&core, "team/registry", program).await.unwrap();
    assert_eq!(named, "team/registry:latest");
    assert_eq!(fake.calls(Step::Build), 1);
    let doors = Certificate::load(&core.places.certificate()).unwrap();
    let configured = core.configured().await.unwrap();
    assert!(!is_used(&core, &configured), "it is none before it is said to be");
    let files = files(&core, &configured, "word").unwrap();
    let of = |name: &str| {
        let file = files.iter().find(|file| file.path.ends_with(name)).unwrap();
        assert_eq!(file.mode, 0o600, "{name}");
        String::from_utf8(file.content.clone()).unwrap()
    };
    let own = Certificate::from_pem(&of("tls.crt")).unwrap();
    assert_eq!(own.key, Key::from_pem(&of("tls.key")).unwrap().fingerprint());
    assert_ne!(own.key, doors.key);
    assert!(of("config.yml").contains(&format!("service: \"{SERVICE}\"")));
    assert!(of("token.crt").contains("BEGIN CERTIFICATE"));
}

#[tokio::test]
async fn what_can_be_no_registry_of_the_cluster_is_refused_before_anything_changes() {
    let (root, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    let core = core(root.path(), &fake).await;
    let refused = async |location: &str, words: &str| {
        let error = adopt(&core, location, &author()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        let location = core.configured().await.unwrap().location;
        assert_eq!(location, "");
    };
    refused("elsewhere:5000", "not a port of the cluster's endpoint 127.0.0.1").await;
    refused("127.0.0.1", "not a port of the cluster's endpoint").await;
    // Nothing answers there.
    refused("127.0.0.1:1", "does not answer").await;
    std::fs::write(core.places.config(), "").unwrap();
    refused("127.0.0.1:1", "has a registry that was set up").await;
    let by_digest = format!("registry@sha256:{}", "0".repeat(64));
    assert!(
        pack_program(&core, &by_digest, Path::new("/bin/busybox"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn it_is_forgotten_and_not_kept() {
    let (root, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    let core = core(root.path(), &fake).await;
    core.record("registry/location", "127.0.0.1:32768".into(), &author())
        .await
        .unwrap();
    assert!(is_used(&core, &core.configured().await.unwrap()));
    // The certificate that the door shows under its name is kept good, and nothing else is done.
    std::fs::create_dir_all(core.places.settings()).unwrap();
    assert!(apply::keep(&core).await.unwrap());
    assert!(!apply::keep(&core).await.unwrap());
    assert_eq!(fake.calls(Step::Create), 0);
    assert!(
        gc::collect(&core, false)
            .await
            .unwrap_err()
            .to_string()
            .contains("run by hand")
    );
    // It is taken from the cluster before another one is set up, and no images of an earlier one go in its place.
    let refused = apply::up(&core, None, &author(), |_| {}).await.unwrap_err();
    assert!(refused.to_string().contains("run by hand"), "{refused}");
    assert!(apply::down(&core, true, &author()).await.is_err());
    assert!(is_used(&core, &core.configured().await.unwrap()));
    assert_eq!(fake.calls(Step::Create), 0);
    let down = async || apply::down(&core, false, &author()).await.unwrap();
    assert_eq!(down().await, apply::Was::ByHand);
    assert_eq!(down().await, apply::Was::Nothing);
}
