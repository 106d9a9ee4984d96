//! Images: made, looked up, named, removed, and kept while a container needs them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use super::Bench;
use crate::{BuildSpec, ContainerSpec, Error, TarStream};

/// All promises about images.
pub async fn images(bench: Bench) {
    an_import_is_an_image(&bench).await;
    a_name_moves_to_another_image(&bench).await;
    what_is_not_there_is_not_found(&bench).await;
    what_is_no_name_is_refused(&bench).await;
    an_image_in_use_stays(&bench).await;
    a_broken_archive_makes_no_image(&bench).await;
    a_build_is_an_image(&bench).await;
    a_build_without_a_name_is_one_by_its_id(&bench).await;
    what_is_not_there_is_not_pushed(&bench).await;
}

/// A tar archive without any file: two blocks of zeros.
fn archive() -> TarStream {
    Box::pin(io::Cursor::new(vec![0; 1024]))
}

/// A tar archive of one small file.
fn one_file(name: &str, content: &str) -> TarStream {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content.as_bytes());
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    Box::pin(io::Cursor::new(archive))
}

async fn a_build_is_an_image(bench: &Bench) {
    let (engine, name) = (&bench.engine, bench.name("built:1"));
    let spec = BuildSpec {
        name: name.clone(),
        dockerfile: "Recipe".to_owned(),
        ..BuildSpec::default()
    };
    let recipe = format!("FROM {}\nLABEL io.fence.mark={}\n", bench.image, bench.id);
    let (said, mut lines) = mpsc::channel(64);
    let made = engine.build(&spec, one_file("Recipe", &recipe), said).await.unwrap();
    assert!(made.tags.contains(&name), "{made:?}");
    assert_eq!(engine.image(&name).await.unwrap().id, made.id);
    assert!(lines.recv().await.is_some_and(|line| line.starts_with("Step 1/")));
    engine.remove_image(&name).await.unwrap();
}

async fn a_build_without_a_name_is_one_by_its_id(bench: &Bench) {
    let engine = &bench.engine;
    let spec = BuildSpec {
        dockerfile: "Recipe".to_owned(),
        ..BuildSpec::default()
    };
    let recipe = format!("FROM {}\nLABEL io.fence.unnamed={}\n", bench.image, bench.id);
    let (said, _lines) = mpsc::channel(64);
    let made = engine.build(&spec, one_file("Recipe", &recipe), said).await.unwrap();
    assert_eq!(made.tags, Vec::<String>::new());
    assert_eq!(engine.image(&made.id.0).await.unwrap().id, made.id);
    engine.remove_image(&made.id.0).await.unwrap();
}

async fn what_is_not_there_is_not_pushed(bench: &Bench) {
    let (progress, _) = mpsc::channel(1);
    let name = format!("127.0.0.1:1/{}", bench.name("nothing:1"));
    let error = bench.engine.push(&name, None, progress).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
}

async fn an_import_is_an_image(bench: &Bench) {
    let (engine, name) = (&bench.engine, bench.name("import"));
    let made = engine.import(&name, archive()).await.unwrap();
    let tag = format!("{name}:latest");
    assert_eq!(made.tags, [tag.as_str()]);
    assert!(made.id.0.starts_with("sha256:"));
    assert_eq!(made.os, "linux");

    for key in [
        name.clone(),
        tag.clone(),
        made.id.0.clone(),
        made.id.0["sha256:".len()..][..12].to_owned(),
    ] {
        assert_eq!(engine.image(&key).await.unwrap(), made, "{key}");
    }
    let second = bench.name("second:2.0");
    engine.tag(&name, &second).await.unwrap();
    engine
        .tag(&made.id.0, &second)
        .await
        .expect("giving a name again is done already");
    assert_eq!(engine.image(&second).await.unwrap().id, made.id);
    let listed = engine
        .images()
        .await
        .unwrap()
        .into_iter()
        .find(|image| image.id == made.id)
        .unwrap();
    let mut tags = listed.tags;
    tags.sort();
    assert_eq!(tags, [tag, second.clone()]);
    assert_eq!((listed.created, listed.architecture), (made.created, made.architecture));

    engine.remove_image(&name).await.unwrap();
    engine
        .remove_image(&name)
        .await
        .expect("a second removal is done already");
    assert!(engine.image(&name).await.unwrap_err().is_not_found());
    assert_eq!(engine.image(&second).await.unwrap().id, made.id, "the other name stays");
    engine.remove_image(&second).await.unwrap();
    assert!(
        engine.image(&made.id.0).await.unwrap_err().is_not_found(),
        "without a name it is gone"
    );
}

async fn a_name_moves_to_another_image(bench: &Bench) {
    let (engine, name) = (&bench.engine, bench.name("moved:1"));
    let first = engine.import(&name, archive()).await.unwrap();
    engine.tag(&bench.image, &name).await.unwrap();
    assert_ne!(engine.image(&name).await.unwrap().id, first.id);
    let nameless = engine
        .image(&first.id.0)
        .await
        .expect("an image without a name can be found by id");
    assert!(nameless.tags.is_empty(), "{nameless:?}");
    engine.remove_image(&first.id.0).await.unwrap();
    engine.remove_image(&name).await.unwrap();
    assert!(engine.image(&bench.image).await.is_ok(), "only the name is gone");
}

async fn what_is_not_there_is_not_found(bench: &Bench) {
    let (engine, absent) = (&bench.engine, bench.name("absent:1"));
    for error in [
        engine.image(&absent).await.unwrap_err(),
        engine
            .image(&format!("sha256:{}", super::nobody().0))
            .await
            .unwrap_err(),
        engine.tag(&absent, &bench.name("other")).await.unwrap_err(),
    ] {
        assert!(error.is_not_found(), "{error:?}");
    }
    engine
        .remove_image(&absent)
        .await
        .expect("what is gone is removed already");
}

async fn what_is_no_name_is_refused(bench: &Bench) {
    let engine = &bench.engine;
    for bad in ["", "No Name", "../../containers/json", "x?force=1", "a:b:c"] {
        let progress = mpsc::channel(1).0;
        for error in [
            engine.image(bad).await.unwrap_err(),
            engine.tag(&bench.image, bad).await.unwrap_err(),
            engine.tag(bad, &bench.name("other")).await.unwrap_err(),
            engine.remove_image(bad).await.unwrap_err(),
            engine.import(bad, archive()).await.unwrap_err(),
            engine.pull(bad, None, progress).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Refused { .. }), "{bad:?}: {error:?}");
        }
    }
}

async fn an_image_in_use_stays(bench: &Bench) {
    let (engine, name) = (&bench.engine, bench.name("used:1"));
    let made = engine.import(&name, archive()).await.unwrap();
    let spec = ContainerSpec {
        image: name.clone(),
        ..bench.spec()
    };
    let id = engine.create(&bench.name("user"), &spec).await.unwrap();
    for key in [&name, &made.id.0] {
        let error = engine.remove_image(key).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{key}: {error:?}");
    }
    assert_eq!(engine.image(&name).await.unwrap().id, made.id);
    engine.remove(&id).await.unwrap();
    engine.remove_image(&name).await.unwrap();
}

async fn a_broken_archive_makes_no_image(bench: &Bench) {
    let (engine, name) = (&bench.engine, bench.name("broken:1"));
    let error = engine.import(&name, Box::pin(Unreadable)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Failed { reason, .. } if reason.contains("the disk is gone")),
        "{error:?}"
    );
    assert!(engine.image(&name).await.unwrap_err().is_not_found());
}

/// An archive on a disk that fails.
struct Unreadable;

impl AsyncRead for Unreadable {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("the disk is gone")))
    }
}
